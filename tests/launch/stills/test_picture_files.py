from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.launch.stills.picture_files import GROUND, PictureError, contact_sheet, write_rgb

LUMA = np.full((96, 128), 200, np.uint8)
RED = np.zeros((48, 64, 3), np.uint8)
RED[..., 0] = 255


def test_pictures_stand_side_by_side_in_their_own_colors() -> None:
    sheet = contact_sheet([[("input", LUMA), ("output", RED)]], cell_width=240)
    assert sheet.dtype == np.uint8
    assert np.any((sheet[:, :250] == 200).all(axis=2), axis=1).sum() == 180
    assert ((sheet == (255, 0, 0)).all(axis=2)).sum() == 240 * 180
    assert not (sheet[:, :250] == (255, 0, 0)).all(axis=2).any()


def test_titles_and_heading_stand_above() -> None:
    bare = contact_sheet([[("", LUMA)]], cell_width=240)
    titled = contact_sheet([[("night", LUMA)]], cell_width=240)
    headed = contact_sheet([[("night", LUMA)]], cell_width=240, heading="irchroma demo")
    assert len(bare) < len(titled) < len(headed)
    assert titled[: len(titled) - 190].max() > 200
    assert np.array_equal(headed[-len(titled) :], titled)


def test_rows_may_differ_in_length_and_pictures_in_shape() -> None:
    sheet = contact_sheet([[("a", LUMA)], [("b", LUMA), ("c", RED[:20]), ("d", LUMA[:, :40])], []])
    assert sheet.shape[1] > 3 * 480
    corner = sheet[60:200, 600:]  # beside the first row's only picture
    assert (corner == GROUND).all()


@pytest.mark.parametrize("cell_width", [16, 33, 1000])
def test_any_cell_width_and_a_long_title_do(cell_width: int) -> None:
    sheet = contact_sheet([[("a title that does not fit " * 9, LUMA)]], cell_width=cell_width)
    assert sheet.shape[1] == cell_width + 2 * max(4, round(cell_width / 40))


def test_no_pictures_give_an_empty_sheet() -> None:
    assert contact_sheet([]).size > 0


def test_a_long_title_runs_over_pictures_without_one() -> None:
    title = "0042: PSNR 17.6 dB, SSIM 0.58, hue agreement 0.75"
    alone = contact_sheet([[(title, LUMA), ("x", RED)]], cell_width=200)
    shared = contact_sheet([[(title, LUMA), ("", RED)]], cell_width=200)
    # letters in the gap between the pictures, where the title goes on
    assert alone[:20, 206:209].max() < 60 < shared[:20, 195:300].max()


def test_many_rows_go_on_in_blocks_of_like_height() -> None:
    rows = [[(str(number), LUMA), ("", RED)] for number in range(23)]
    one = contact_sheet(rows, cell_width=100, tallest_px=100_000)
    several = contact_sheet(rows, cell_width=100, tallest_px=700)
    assert several.shape[1] == 4 * one.shape[1]
    assert len(several) < 800
    red = (several == (255, 0, 0)).all(axis=2).sum()
    assert red == (one == (255, 0, 0)).all(axis=2).sum()


def test_a_pipe_s_reader_gets_the_whole_picture_every_time(tmp_path: Path) -> None:
    pipe, noise = tmp_path / "pipe.png", np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    os.mkfifo(pipe)
    for _ in range(30):
        got: list[bytes] = []
        reader = threading.Thread(target=lambda got=got: got.append(pipe.read_bytes()), daemon=True)
        reader.start()
        write_rgb(pipe, noise)
        reader.join(10)
        assert np.array_equal(cv2.imdecode(np.frombuffer(got[0], np.uint8), 1)[..., ::-1], noise)


def read(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture(params=["busy", "read-only"])
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file of a container's that lies elsewhere, in a folder that can be written to or not."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere.png"
    place.mkdir()
    elsewhere.write_bytes(b"old")
    target = place / "out.png"
    steps = [["mount", "-t", "tmpfs", "none", str(place)], ["touch", str(target)]]
    steps += [["mount", "--bind", str(elsewhere), str(target)]]
    if request.param == "read-only":
        steps += [["mount", "-o", "remount,ro", str(place)]]
    mounts: list[str] = []
    try:
        for step in steps:
            if subprocess.run(step, capture_output=True, check=False).returncode:
                pytest.skip("no file system can be mounted here")
            if step[0] == "mount" and "remount,ro" not in step:
                mounts.append(step[-1])
        yield target
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount], check=True)


def test_a_file_that_cannot_be_replaced_but_written_to_is(mounted: Path) -> None:
    write_rgb(mounted, RED)
    assert np.array_equal(read(mounted), RED)
    assert list(mounted.parent.iterdir()) == [mounted]


def test_so_is_one_in_another_user_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write to any folder: the refusal is made up."""
    target = tmp_path / "out.png"
    write_rgb(target, RED[:9])
    whole = Path.write_bytes

    def refused(path: Path, data: bytes) -> int:
        if not path.exists():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", refused)
    write_rgb(target, RED)
    assert np.array_equal(read(target), RED)
    with pytest.raises(PictureError, match="Permission denied"):
        write_rgb(tmp_path / "new.png", RED)


@pytest.mark.parametrize("stem", ["n" * 251, "\N{BLACK SUN WITH RAYS}" * 83], ids=["letters", "suns"])
def test_the_longest_name_can_be_written(stem: str, tmp_path: Path) -> None:
    for _ in range(2):
        write_rgb(tmp_path / f"{stem}.png", RED)
    assert np.array_equal(read(tmp_path / f"{stem}.png"), RED)
    assert [path.stem for path in tmp_path.iterdir()] == [stem]

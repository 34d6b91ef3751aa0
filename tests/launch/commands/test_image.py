"""`irchroma image`: pictures of every kind in, pictures out, and one clear line for what cannot be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines import catalog
from irchroma.engines.measures.metrics import psnr
from irchroma.engines.network.network import RUNTIMES, installed
from irchroma.launch.cli import main


def ramp(size: tuple[int, int] = (48, 64), depth: type = np.uint8) -> NDArray[np.uint8]:
    top = 255 if depth == np.uint8 else 9000
    low = 0 if depth == np.uint8 else 8000
    return np.tile(np.linspace(low, top, size[1]), (size[0], 1)).astype(depth)


def test_a_folder_comes_out_with_its_stems_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in", tmp_path / "made" / "out"
    source.mkdir()
    cv2.imwrite(str(source / "a.png"), ramp())
    cv2.imwrite(str(source / "b.JPG"), ramp((31, 17)))
    cv2.imwrite(str(source / "c.tiff"), ramp((20, 40), np.uint16))
    cv2.imwrite(str(source / "d.png"), cv2.cvtColor(ramp((16, 16)), cv2.COLOR_GRAY2BGR))
    np.save(source / "e.npy", ramp((24, 32), np.uint16))
    (source / ".hidden.png").touch()
    (source / "notes.txt").touch()
    assert main(["image", str(source), str(target), "--engine", "palette:ironbow"]) == 0
    sizes = {path.name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape for path in target.iterdir()}
    assert sizes == {
        "a.png": (48, 64, 3),
        "b.JPG": (31, 17, 3),
        "c.png": (20, 40, 3),
        "d.png": (16, 16, 3),
        "e.png": (24, 32, 3),
    }
    assert "5 pictures, palette ironbow" in capsys.readouterr().out


def test_what_was_taken_for_something_is_said_with_the_first_picture_s_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    cv2.imwrite(str(source / "a.tiff"), ramp((40, 64), np.uint16))
    cv2.imwrite(str(source / "b.png"), ramp())
    cv2.imwrite(str(source / "c.png"), cv2.cvtColor(ramp(), cv2.COLOR_GRAY2BGR))
    photograph = np.zeros((48, 64, 3), np.uint8)
    photograph[:24], photograph[24:] = (230, 140, 60), (30, 120, 20)
    for name in ("d", "e"):
        cv2.imwrite(str(source / f"{name}.png"), photograph)
    assert main(["image", str(source), str(tmp_path / "out"), "--threads", "1", "--size", "fast"]) == 0
    told = capsys.readouterr().out
    assert "a.tiff: 16-bit counts were taken for thermal; --engine nir says otherwise" in told
    assert "2 pictures, the first d.png: in color already; its brightness was taken for infrared" in told
    assert main(["image", str(source / "a.tiff"), str(tmp_path / "a.png"), "--engine", "gray"]) == 0
    assert "taken for" not in capsys.readouterr().out


def test_a_picture_whose_name_can_be_written_keeps_it_beside_others_of_its_stem(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    widths = {"a.bmp": 10, "a.png": 20, "a.tif": 30, "a.tif.png": 40, "b.tif": 50}
    for name, width in widths.items():
        cv2.imwrite(str(source / name), ramp((16, width)))
    assert main(["image", str(source), str(target), "--engine", "gray"]) == 0
    assert {path.name: cv2.imread(str(path)).shape[1] for path in target.iterdir()} == {
        "a.bmp.png": 10,
        "a.png": 20,
        "a.tif.png.png": 30,
        "a.tif.png": 40,
        "b.png": 50,
    }


def test_a_name_with_a_slash_behind_it_is_a_folder_that_is_made(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), ramp())
    assert main(["image", str(tmp_path / "a.png"), f"{tmp_path}/new/color/", "--engine", "gray"]) == 0
    assert [path.name for path in (tmp_path / "new" / "color").iterdir()] == ["a.png"]


def test_what_a_folder_holds_besides_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    (source / "night").mkdir(parents=True)
    cv2.imwrite(str(source / "a.png"), ramp())
    for name in ("b.gif", "notes.txt", "z.txt", ".hidden"):
        (source / name).touch()
    assert main(["image", str(source), str(tmp_path / "out"), "--engine", "gray"]) == 0
    left = "left out what is no picture, or lies in a folder: night/, b.gif, notes.txt, and 1 more"
    assert left in capsys.readouterr().out
    assert main(["image", str(source / "night"), str(tmp_path / "out"), "--engine", "gray"]) == 1


def test_16_bit_counts_are_tone_mapped_to_the_whole_range(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "counts.png"), ramp((40, 256), np.uint16))
    target = tmp_path / "out.png"
    assert main(["image", str(tmp_path / "counts.png"), str(target), "--engine", "gray"]) == 0
    gray = cv2.imread(str(target), cv2.IMREAD_GRAYSCALE)
    assert gray.min() < 20
    assert gray.max() > 215


def test_gray_gives_the_luma_back_exactly(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), ramp())
    assert main(["image", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--engine", "gray"]) == 0
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"))[..., 1], ramp())


def test_damaged_pictures_are_named_and_the_others_are_done(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    cv2.imwrite(str(source / "good.png"), ramp())
    (source / "broken.png").write_bytes((source / "good.png").read_bytes()[:40])
    (source / "empty.jpg").touch()
    assert main(["image", str(source), str(target), "--engine", "gray"]) == 1
    assert [path.name for path in target.iterdir()] == ["good.png"]
    told, failed = capfd.readouterr()
    assert told == f"{target}: 1 picture, gray, 2 of 3 could not be colored\n"
    lines = failed.splitlines()
    assert len(lines) == 2
    assert all("damaged, empty or not a picture" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.png", "out.png"], "no such file or folder"),
        (["empty", "out"], "no pictures in it"),
        (["a.png", "out.gif"], "expected an existing folder or a name ending in .png"),
        (["a.png", "a.png"], "would overwrite the input"),
        (["folder", "a.png"], "is a file; pictures of a folder need a folder"),
        (["folder", "out.png"], "out.png: is a picture's name; pictures of a folder need a folder"),
        (["a.png", "a.png/"], "is a file; pictures of a folder need a folder"),
        (["a.png", "out.png", "--engine", "palette:mauve"], "mauve"),
        (["a.png", "out.png", "--engine", "nri"], "unknown engine"),
        (["a.png", "out.png", "--engine", "nir", "--runtime", "tensorflow"], "unknown runtime"),
        (["a.png", "out.png", "--chroma-limit", "-3"], "chroma limit"),
        (["a.png", "out.png", "--reference", "day.jpg"], "no color reference at day.jpg"),
        (["float.tiff", "out.png", "--engine", "gray"], "float32 samples"),
        (["clip.mp4", "out.png", "--engine", "gray"], "is a video, expected a picture: irchroma run colors"),
        (["pipe.png", "out.png", "--engine", "gray"], "is no file, expected a picture or a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if "tensorflow" in arguments and not catalog.weights_path("nir", "best").is_file():
        pytest.skip("weights of nir best are not here")
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "folder"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "folder/b.png"):
        cv2.imwrite(name, ramp())
    cv2.imwrite("float.tiff", ramp().astype(np.float32))
    Path("clip.mp4").touch()
    os.mkfifo("pipe.png")
    assert main(["image", *arguments]) == 1
    errors = capfd.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_a_full_disk_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    disk, pictures = tmp_path / "disk", tmp_path / "in"
    for folder in (disk, pictures):
        folder.mkdir()
    for number in range(9):
        noise = np.random.default_rng(number).integers(0, 256, (300, 300), np.uint8)
        cv2.imwrite(str(pictures / f"{number}.png"), noise)
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        assert main(["image", str(pictures), str(disk / "out"), "--engine", "palette:ironbow"]) == 1
        written = len(list((disk / "out").iterdir()))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    said, left = capfd.readouterr().err.splitlines()
    assert "No space left on device" in said
    assert 0 < written < 9
    assert left == f"irchroma image: {9 - written} pictures are left"


def test_a_picture_that_cannot_be_written_leaves_the_one_that_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    cv2.imwrite(str(tmp_path / "old.png"), ramp())
    cv2.imwrite(str(tmp_path / "new.png"), np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8))
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    target = disk / "out.png"
    try:
        assert main(["image", str(tmp_path / "old.png"), str(target), "--engine", "gray"]) == 0
        before = target.read_bytes()
        assert main(["image", str(tmp_path / "new.png"), str(target), "--engine", "gray"]) == 1
        assert [path.name for path in disk.iterdir()] == ["out.png"]
        assert target.read_bytes() == before
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert "No space left on device" in capfd.readouterr().err


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), ramp())
    link, pipe = tmp_path / "link.png", tmp_path / "pipe.png"
    link.symlink_to(tmp_path / "real.png")
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        for target in (link, pipe):
            assert main(["image", str(tmp_path / "a.png"), str(target), "--engine", "gray"]) == 0
        assert reader.stdout is not None
        assert reader.stdout.read() == (tmp_path / "real.png").read_bytes()
    assert link.is_symlink()
    assert pipe.is_fifo()


def test_a_neural_engine_colors_a_picture_at_its_own_size(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    if not catalog.weights_path("nir", "fast").is_file():
        pytest.skip("weights of nir fast are not here")
    luma = np.random.default_rng(1).integers(40, 200, (75, 101), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.GaussianBlur(luma, (0, 0), 3))
    out = tmp_path / "b.png"
    assert main(["image", str(tmp_path / "a.png"), str(out), "--engine", "nir:fast", "--mode", "chroma"]) == 0
    assert cv2.imread(str(out)).shape == (75, 101, 3)


def test_every_picture_gets_the_reference_that_suits_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("voyager", reason="libraries are searched with voyager")
    if not any(map(installed, RUNTIMES)):
        pytest.skip("no runtime is installed")
    library, source = str(tmp_path / "library"), tmp_path / "in"
    source.mkdir()
    for seed in range(4):
        rgb, infrared = daytime_scene.draw(seed)
        cv2.imwrite(str(tmp_path / f"day{seed}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        assert main(["references", "add", str(tmp_path / f"day{seed}.png"), "--library", library]) == 0
        if seed < 2:
            cv2.imwrite(str(source / f"{seed}.png"), infrared)
    noise = np.random.default_rng(0).integers(0, 255, (12, 16), dtype=np.uint8)
    cv2.imwrite(str(source / "unlike.png"), cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC))
    words = ["image", str(source), "", "--engine", "nir:fast", "--threads", "1"]
    for folder, more in (("without", []), ("with", ["--reference", "auto", "--references", library])):
        words[2] = str(tmp_path / folder)
        assert main([*words, *more]) == 0
    assert "without a reference, as nothing in the library is alike enough" in capsys.readouterr().out

    def psnr_of(folder: str, seed: int) -> float:
        made = cv2.imread(str(tmp_path / folder / f"{seed}.png"))
        return psnr(made, cv2.imread(str(tmp_path / f"day{seed}.png")))

    for seed in range(2):
        assert psnr_of("with", seed) > psnr_of("without", seed) + 5
    unlike = [cv2.imread(str(tmp_path / folder / "unlike.png")) for folder in ("without", "with")]
    np.testing.assert_array_equal(*unlike)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--references", "somewhere"], "--references is the library of --reference auto"),
        (
            ["--reference", "auto", "--references", "somewhere"],
            "there is no library of references in somewhere",
        ),
    ],
)
def test_a_library_that_is_not_there_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), ramp())
    assert main(["image", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--engine", "nir", *words]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err

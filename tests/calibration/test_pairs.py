from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import texture

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.pairs import PAIRS, PairCollector, laid_on
from irchroma.launch.cli import main
from irchroma.launch.commands.calibrate.color import collect
from irchroma.stream.frame import Frame

SECOND = 1_000_000_000
SIZE = (240, 320)


def gray(seed: int = 1) -> NDArray[np.uint8]:
    return texture(SIZE, 20, 235, seed=seed, scale=6).astype(np.uint8)


def colored(luma: NDArray[np.uint8], shift_px: int = 0) -> NDArray[np.uint8]:
    moved = np.roll(luma, shift_px, axis=1)
    return np.dstack([moved, moved // 2 + 60, 255 - moved]).astype(np.uint8)


def frame(pixels: NDArray[np.uint8], at_s: float) -> Frame:
    return Frame(pixels=pixels, pts_ns=round(at_s * SECOND))


def run(collector: PairCollector, states: list[bool], seed_of_color: int = 1) -> None:
    """Ten frames a second; True is a second in color."""
    for second, in_color in enumerate(states):
        for tenth in range(10):
            pixels = colored(gray(seed_of_color)) if in_color else gray()
            collector.look(frame(pixels, second + tenth / 10), in_color)
    collector.close()


@pytest.mark.parametrize("dawn", [False, True])
def test_a_switch_gives_pairs_that_lie_on_each_other(tmp_path: Path, dawn: bool) -> None:
    collector = PairCollector(tmp_path)
    run(collector, [dawn is not True] * 8 + [dawn] * 6)
    names = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert 1 <= collector.written == len(names) <= PAIRS
    assert names == sorted(path.name for path in (tmp_path / "rgb").iterdir())
    for name in names:
        infrared = cv2.imread(str(tmp_path / "ir" / name), cv2.IMREAD_UNCHANGED)
        color = cv2.imread(str(tmp_path / "rgb" / name))
        assert infrared.ndim == 2
        assert np.abs(color[..., 2].astype(int) - infrared).mean() < 3


def test_another_scene_after_the_switch_is_left_out(tmp_path: Path) -> None:
    collector = PairCollector(tmp_path)
    run(collector, [True] * 8 + [False] * 6, seed_of_color=9)
    assert collector.written == 0
    assert collector.refused > 0
    assert not list((tmp_path / "ir").iterdir())


def test_a_camera_that_cannot_decide_gives_pairs_of_one_switch_a_minute(tmp_path: Path) -> None:
    collector = PairCollector(tmp_path)
    run(collector, ([True] * 8 + [False] * 8) * 2)
    assert 1 <= collector.written <= PAIRS


def test_a_camera_that_stays_as_it_is_gives_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collector = PairCollector(tmp_path)
    with caplog.at_level(logging.INFO):
        run(collector, [False] * 12)
        collector.close()
    assert collector.written == collector.refused == 0
    assert caplog.text.count("never changed between infrared and color") == 1


def test_counts_give_none_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collector = PairCollector(tmp_path)
    for number in range(9):
        collector.look(Frame(np.full((24, 32), 7000, np.uint16), number * 10**9), False)
    collector.close()
    assert [record.message for record in caplog.records] == [
        "counts have no color: no pairs are gathered of them"
    ]


def test_a_color_picture_that_lies_beside_is_laid_right() -> None:
    found = laid_on(gray(), colored(gray(), shift_px=5))
    assert found is not None
    infrared, rgb = found
    inner = np.s_[20:-20, 20:-20]
    off = np.abs(np.roll(gray(), 5, axis=1).astype(int) - gray())[inner].mean()
    assert np.abs(rgb[..., 0].astype(int) - infrared)[inner].mean() < 0.4 * off


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibrationError, match="cannot be written"):
        PairCollector(tmp_path / "file")


@pytest.mark.gst
def test_a_run_gathers_pairs_where_its_camera_switches(tmp_path: Path) -> None:
    clip, folder = tmp_path / "dusk.avi", tmp_path / "pairs"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, SIZE[::-1])
    for number in range(75):  # 8 seconds in color, 7 in infrared
        picture = colored(gray()) if number < 40 else np.dstack([gray()] * 3)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    command = ["run", str(clip), "--to", "null", "--engine", "gray", "--collect", str(folder)]
    assert main(command) == 0
    assert list((folder / "ir").glob("*.png"))
    assert len(list((folder / "ir").glob("*.png"))) == len(list((folder / "rgb").glob("*.png")))


@pytest.mark.gst
def test_a_recording_without_pairs_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(CalibrationError, match="no pairs in"):
        collect("test:nir?size=96x64&frames=9", tmp_path / "pairs")
    assert "nothing gathered" not in caplog.text

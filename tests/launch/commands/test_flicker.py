"""The flicker command on small videos made here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.launch.cli import main


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    """Motion JPEG in AVI: every frame on its own, so a still video stays still."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.resize(
        rng.integers(40, 200, (6, 8, 3)).astype(np.uint8), (128, 96), interpolation=cv2.INTER_CUBIC
    )


def test_json_is_all_that_is_shown_where_it_is_asked_for(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["flicker", str(write_video(tmp_path / "still.avi", [picture] * 3)), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["frames"] == 3
    assert "CDC" in shown.err
    assert not Path("-").exists()


def test_a_still_video_is_reported_as_still(tmp_path: Path, picture: np.ndarray) -> None:
    video = write_video(tmp_path / "still.avi", [picture] * 8)
    assert main(["flicker", str(video), "--json", str(tmp_path / "f.json")]) == 0
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["frames"] == 8
    assert report["cdc"] == 0
    assert report["static_ab"] == 0
    assert report["warping_error"] is None


def test_flicker_against_a_steady_reference_is_seen_by_every_measure(
    tmp_path: Path, picture: np.ndarray
) -> None:
    other = np.clip(picture + np.array([0, 0, 30], np.int16), 0, 255).astype(np.uint8)
    video = write_video(tmp_path / "flicker.avi", [picture, other] * 4)
    still = write_video(tmp_path / "still.avi", [picture] * 8)
    files = ["--json", str(tmp_path / "f.json")]
    assert main(["flicker", str(video), "--reference", str(still), "--input", str(still), *files]) == 0
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["static_ab"] > 3
    assert report["cdc"] > 0.005
    assert report["warping_error"] > 100 * max(report["reference_warping_error"], 1e-6)
    assert report["reference_cdc"] == 0
    assert len(report["series"]["warping_error"]) == 8


@pytest.mark.parametrize("make", ["absent", "text", "empty", "one frame"])
def test_a_video_that_cannot_be_measured_gives_one_clear_line(
    make: str, tmp_path: Path, picture: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "video.avi"
    if make == "text":
        video.write_text("not a video\n" * 50)
    elif make == "empty":
        video.write_bytes(b"")
    elif make == "one frame":
        write_video(video, [picture])
    assert main(["flicker", str(video)]) == 1
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "video.avi" in said[0]


def test_a_reference_that_ends_early_is_refused(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "long.avi", [picture] * 6)
    short = write_video(tmp_path / "short.avi", [picture] * 3)
    assert main(["flicker", str(video), "--reference", str(short)]) == 1
    assert "short.avi ends at frame 3" in capsys.readouterr().err


def test_an_input_of_another_shape_is_refused_and_one_of_another_size_is_not(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "video.avi", [picture] * 4)
    small = write_video(tmp_path / "small.avi", [picture[::2, ::2].copy()] * 4)
    other = write_video(tmp_path / "other.avi", [picture[:48].copy()] * 4)
    assert main(["flicker", str(video), "--input", str(small)]) == 0
    assert main(["flicker", str(video), "--input", str(other)]) == 1
    assert "other.avi is 128x48 and what is measured 128x96: expected the same" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["flicker", str(tmp_path / "not-looked-for"), "--json", str(tmp_path / "nowhere/f.json")]) == 1
    )
    assert "nowhere/f.json" in capsys.readouterr().err

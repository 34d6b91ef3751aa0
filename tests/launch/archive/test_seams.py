"""The bench of archives says what differs, and that nothing does where an archive is one run's."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.launch.archive.seams import difference
from irchroma.launch.cli import main

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]


def written(path: Path, levels: list[int]) -> Path:
    file = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 10, (64, 48))
    for level in levels:
        file.write(np.full((48, 64, 3), level, np.uint8))
    file.release()
    return path


def test_a_difference_and_a_missing_picture_are_told(tmp_path: Path) -> None:
    one = written(tmp_path / "one.mkv", [10, 20, 30, 40])
    told = difference(written(tmp_path / "other.mkv", [10, 27, 30]), one)
    assert (told["frames"], told["frames_of_one_run"], told["same_times"]) == (3, 4, False)
    assert told["most_codes"] >= 5
    assert difference(one, one) == {
        "frames": 4,
        "frames_of_one_run": 4,
        "same_times": True,
        "most_codes": 0,
        "frames_that_differ": 0,
    }


def test_the_bench_finds_one_run_s_pictures_though_a_worker_is_killed(tmp_path: Path) -> None:
    words = ["--engine", "palette:ironbow", "--size", "64x48", "--seconds", "8", "--segment-length", "4"]
    path = tmp_path / "archive.json"
    assert main(["bench", "archive", *words, "--json", str(path)]) == 0
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["again"]["untouched"]
    for key in ("one_worker", "several_workers", "one_of_them_killed"):
        assert told[key]["from_one_run"]["frames"] == told[key]["from_one_run"]["frames_of_one_run"] == 80
        assert told[key]["from_one_run"]["same_times"]
        assert told[key]["from_one_run"]["most_codes"] <= 1
    assert told["one_of_them_killed"]["failed_attempts"] == 1

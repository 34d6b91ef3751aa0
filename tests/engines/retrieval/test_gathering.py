"""A camera's own pictures by day become references of its nights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval import gathering
from irchroma.engines.retrieval.gathering import DayPictures, Rgb
from irchroma.engines.retrieval.library import ReferenceLibrary

SECOND_NS = 1_000_000_000


def first(samples: list[Rgb], name: str) -> Reference:
    return Reference(samples[0], np.full(samples[0].shape[:2], 255, np.uint8), name)


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DayPictures:
    for name, value in (("SAMPLE_S", 2.0), ("SAMPLES", 3), ("EVERY_S", 60.0), ("KEPT", 2)):
        monkeypatch.setattr(gathering, name, value)
    return DayPictures(ReferenceLibrary(tmp_path, make=True), "door", first)  # type: ignore[arg-type]


def test_a_few_frames_make_one_picture_now_and_then(days: DayPictures) -> None:
    rgb, _ = daytime_scene.draw(2)
    complete = [second for second in range(140) if days.sample(rgb, second * SECOND_NS) is not None]
    assert complete == [4, 64, 124]


def test_a_gray_frame_is_none_and_a_clock_that_goes_back_begins_anew(days: DayPictures) -> None:
    rgb, infrared = daytime_scene.draw(2)
    night = np.repeat(infrared[..., None], 3, axis=2)
    assert all(days.sample(night, second * SECOND_NS) is None for second in range(30))
    assert days.sample(rgb, 100 * SECOND_NS) is None
    for second, complete in ((1, False), (3, False), (5, True)):
        assert (days.sample(rgb, second * SECOND_NS) is not None) == complete


def test_what_looks_the_same_is_kept_once_and_the_oldest_leaves(days: DayPictures) -> None:
    scenes = [daytime_scene.draw(seed)[0] for seed in range(3)]
    with days.library.changing():
        days.library.add(first([daytime_scene.draw(7)[0]], "a picture of the user's"))
    assert days.keep([scenes[0]]) is not None
    assert days.keep([scenes[0]]) is None
    days.keep([scenes[1]])
    days.keep([scenes[2]])
    again = ReferenceLibrary(days.library.folder)
    assert sorted(entry.source for entry in again.entries) == [
        "a picture of the user's",
        "door by day",
        "door by day",
    ]
    kept = {entry.tiny.tobytes() for entry in again.entries}
    assert days.keep([scenes[2]]) is None
    assert kept == {entry.tiny.tobytes() for entry in days.library.entries}


def test_large_pictures_are_reduced(days: DayPictures) -> None:
    large = np.asarray(daytime_scene.draw(2)[0].repeat(8, 0).repeat(8, 1))
    for second in (0, 2):
        assert days.sample(large, second * SECOND_NS) is None
    found = days.sample(large, 4 * SECOND_NS)
    assert found is not None
    assert max(found[0].shape) == 1280

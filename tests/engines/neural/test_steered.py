"""Color by references, made for some of a live video's frames and carried along in the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines.neural import pace
from irchroma.engines.neural.ladder import Rung
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.neural.steered import SteeredColor
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.reference.steering import ReferenceOptions, ReferenceSteering
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import pixel_grid
from irchroma.engines.temporal.stage import TemporalStage

SECOND_NS = 1_000_000_000
STILL = Observation(needs_color=True, cut=False, held=False)
Color = tuple[NDArray[np.float32], NDArray[np.float32], bool]


def made(color_every: int = 1) -> tuple[SteeredColor, NDArray[np.uint8]]:
    """Over a scene whose picture by day is its reference."""
    rgb, infrared = daytime_scene.draw(3)
    reference = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "scene.png")
    return SteeredColor(
        ReferenceSteering(ReferenceOptions(Path("scene.png")), [reference]), color_every
    ), infrared


def color_of(infrared: NDArray[np.uint8]) -> Color:
    """What a network without an idea says, at half the size."""
    height, width = infrared.shape[0] // 2, infrared.shape[1] // 2
    ycc = np.zeros((height, width, 3), np.float32)
    ycc[..., 0] = cv2.resize(infrared, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)
    return ycc, np.full((height, width), 0.3, np.float32), True


def half(infrared: NDArray[np.uint8]) -> tuple[int, int]:
    return infrared.shape[0] // 2, infrared.shape[1] // 2


@pytest.mark.parametrize(
    ("rate", "color_every", "each"), [(30, 1, 2), (30, 3, 3), (30, 4, 4), (15, 1, 1), (60, 1, 4)]
)
def test_a_steered_frame_stands_for_as_many_as_an_answer_does_and_for_two_at_30(
    rate: int, color_every: int, each: int
) -> None:
    steered, infrared = made(color_every)
    news = [
        steered.live(STILL, infrared, color_of(infrared), half(infrared), number * SECOND_NS // rate).news
        for number in range(9)
    ]
    assert news == [number % each == 0 for number in range(9)]


@pytest.mark.parametrize(
    "seen", [replace(STILL, cut=True), replace(STILL, gain_jump=True), replace(STILL, active=0.9)]
)
def test_what_is_not_the_frame_before_moved_is_steered_anew(seen: Observation) -> None:
    steered, infrared = made()
    for number in range(4):
        frame = steered.live(seen, infrared, color_of(infrared), half(infrared), number * SECOND_NS // 30)
        assert frame.news


def test_in_a_scene_that_stands_still_a_carried_frame_is_the_steered_one() -> None:
    steered, infrared = made()
    first, second = (
        steered.live(STILL, infrared, color_of(infrared), half(infrared), at) for at in (0, SECOND_NS // 30)
    )
    assert (first.news, second.news) == (True, False)
    np.testing.assert_array_equal(second.ycc, first.ycc)
    np.testing.assert_array_equal(second.confidence, first.confidence)
    assert first.scenery is not None
    assert second.scenery is not None
    planes = [np.full(size, 90, np.uint8) for size in (infrared.shape, half(infrared), half(infrared))]
    behind = [one.scenery.put_behind_video(*(plane.copy() for plane in planes)) for one in (first, second)]
    for one, other in zip(*behind, strict=True):
        np.testing.assert_array_equal(other, one)
    first.ycc[:] = 0.0  # the caller's to write to
    assert second.ycc.any()


def test_a_person_who_walks_takes_the_place_that_is_left_to_the_network_along() -> None:
    steered, infrared = made()
    with_person = infrared.copy()
    cv2.rectangle(with_person, (100, 90), (124, 150), 250, -1)
    size = half(infrared)
    first = steered.live(STILL, with_person, color_of(with_person), size, 0)
    assert first.scenery is not None
    assert first.scenery.share[120, 112] < 0.2 < first.scenery.share[120, 150]
    full, small = (
        (np.s_[0 : of[0], 0 : of[1]], pixel_grid(of) - np.float32((by, 0)))
        for of, by in (((infrared.shape[0], infrared.shape[1]), 40), (size, 20))
    )
    moved = replace(STILL, area=full[0], source=full[1], half_area=small[0], half_source=small[1])
    second = steered.live(moved, with_person, color_of(with_person), size, SECOND_NS // 30)
    assert second.scenery is not None
    assert not second.news
    assert second.scenery.share[120, 152] < 0.2 < second.scenery.share[120, 112]
    assert second.ycc[60, 76, 3] < 0.2 < second.ycc[60, 56, 3]


def test_where_no_reference_is_of_the_scene_every_frame_has_the_networks_color() -> None:
    rgb, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(8)
    reference = Reference(other, np.full(rgb.shape[:2], 255, np.uint8), "other.png")
    steered = SteeredColor(ReferenceSteering(ReferenceOptions(Path("other.png")), [reference]))
    stage = TemporalStage()
    for number in range(3):
        pts_ns = number * SECOND_NS // 30
        ycc, confidence, _ = color_of(infrared)
        color = ycc + np.float32(0.01 * number), confidence, number == 1
        found = steered.live(stage.observe(infrared, pts_ns), infrared, color, half(infrared), pts_ns)
        assert found.scenery is None
        assert found.ycc.shape[2] == 3
        np.testing.assert_array_equal(found.ycc, color[0])
        assert found.news == (number == 1)


def test_a_run_s_pace_counts_what_steering_takes_and_that_it_is_seldom_live() -> None:
    live = NeuralOptions(engine="thermal", beside=True)
    steered = replace(live, reference=AUTO)
    file = replace(steered, beside=False)

    def busy(options: NeuralOptions, color_every: int) -> float:
        demand = pace.Demand(options, (512, 640), 30.0)
        measured = pace.Pace(demand, 16.0, 16.0, 9.0, 4.0, 3.4, 2, "measured just now")
        return measured.busy(Rung("fast", 192, color_every))

    assert busy(steered, 2) > 1.2 * busy(live, 2)
    assert busy(file, 2) > busy(steered, 2)
    # The network's call is no more at every second frame than at every fourth: the rest is geometry's.
    without = busy(live, 2) - busy(live, 4)
    assert busy(steered, 2) - busy(steered, 4) > without

"""Color by references, made for some of a live video's frames and carried along in the others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.neural.steered import SteeredColor, steered_every
from irchroma.engines.reference.overlay import Laying
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.reference.steering import BELIEVED_PX, ReferenceOptions, ReferenceSteering
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
    assert steered_every(color_every, 1 / rate) == each


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


def panned(
    rgb: NDArray[np.uint8], infrared: NDArray[np.uint8], speed_px: float
) -> tuple[list[bool], list[float]]:
    """What a reference of the first frame does in a pan of 13: whether it is news, and by how much it is off.

    Args:
        rgb: (240, 480, 3) of the scene.
        infrared: (240, 480) of it; a frame is 320 wide.
        speed_px: of the pan, pixels a frame.
    """
    begin = np.s_[:, 80:400]
    reference = Reference(np.ascontiguousarray(rgb[begin]), np.full((240, 320), 255, np.uint8), "scene.png")
    steering = ReferenceSteering(ReferenceOptions(Path("scene.png")), [reference])
    steered, stage = SteeredColor(steering), TemporalStage()
    noise, news, off_px = np.random.default_rng(0), [], []
    for number in range(13):
        shift = np.array([[1, 0, -80 - speed_px * number], [0, 1, 0]], np.float32)
        frame = cv2.warpAffine(infrared.astype(np.float32), shift, (320, 240))
        seen_now = np.clip(frame + noise.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
        pts_ns = number * SECOND_NS // 30
        seen = stage.observe(seen_now, pts_ns)
        made = steered.live(seen, seen_now, color_of(seen_now), half(seen_now), pts_ns)
        news.append(made.news)
        assert made.scenery is not None
        off_px.append(abs(320 * made.scenery.laid.matrix[0, 2] - speed_px * number))
    return news, off_px


@pytest.mark.parametrize(("speed_px", "each"), [(0.25, 2), (0.5, 2), (1.0, 1), (2.0, 1), (4.0, 1)])
def test_in_a_pan_however_slow_a_steered_frame_has_the_reference_where_the_scene_is(
    speed_px: float, each: int
) -> None:
    """It lay where it had been, and jumped by 8 pixels four times a second, at a pixel a frame."""
    news, off_px = panned(*daytime_scene.draw(3, (240, 480), 68), speed_px)
    assert news == [number % each == 0 for number in range(13)]
    assert max(off for off, new in zip(off_px, news, strict=True) if new) < 1.0


@pytest.mark.parametrize(("plain", "speed_px"), [(0.7, 1.0), (0.7, 4.0), (0.85, 2.0)])
def test_in_a_pan_over_a_sea_or_sky_little_moves_and_the_reference_stays_all_the_same(
    plain: float, speed_px: float
) -> None:
    """What is plain does not seem to move: taken for walkers, the reference stood for 0.25 s."""
    rgb, infrared = daytime_scene.draw(3, (240, 480), 68)
    rows = int(240 * plain)
    rgb[:rows], infrared[:rows] = (120, 160, 210), np.linspace(60, 82, rows).astype(np.uint8)[:, None]
    _, off_px = panned(rgb, infrared, speed_px)
    assert max(off_px) < 1.0


class ToldSteering(ReferenceSteering):
    """Keeps by how much it was told that the camera may have moved."""

    def lay(self, luma_small: NDArray[np.uint8], pts_ns: int, moved_px: float = math.inf) -> Laying | None:
        self.told = [*getattr(self, "told", []), moved_px]
        return super().lay(luma_small, pts_ns, moved_px)


def test_three_who_walk_are_no_pan_and_no_reason_to_look_where_the_camera_is() -> None:
    rgb, infrared = daytime_scene.draw(3)
    reference = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "scene.png")
    steering = ToldSteering(ReferenceOptions(Path("scene.png")), [reference])
    steered, stage, news = SteeredColor(steering), TemporalStage(), []
    for number in range(9):
        frame = infrared.copy()
        for left in (20, 130, 240):
            cv2.rectangle(frame, (left + 3 * number, 100), (left + 16 + 3 * number, 160), 250, -1)
        pts_ns = number * SECOND_NS // 30
        seen = stage.observe(frame, pts_ns)
        news.append(steered.live(seen, frame, color_of(frame), half(frame), pts_ns).news)
    assert news == [number % 2 == 0 for number in range(9)]
    assert max(steering.told[1:]) < BELIEVED_PX


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


def test_a_run_s_pace_counts_steering_by_the_frame_rate_as_it_is_done() -> None:
    live = NeuralOptions(engine="thermal", beside=True, reference=AUTO)

    def work_ms(options: NeuralOptions, rate: float) -> float:
        demand = pace.Demand(options, (512, 640), rate)
        measured = pace.Pace(demand, 16.0, 16.0, 9.0, 4.0, 3.4, 2, "measured just now")
        return measured.busy(Rung("fast", 192, 1)) * 2e3 / rate

    file = replace(live, beside=False)
    assert work_ms(live, 15.0) == pytest.approx(work_ms(file, 15.0))  # every frame is steered
    assert work_ms(file, 60.0) == pytest.approx(work_ms(file, 30.0))
    saved = [work_ms(file, rate) - work_ms(live, rate) for rate in (30.0, 60.0)]
    assert saved[1] == pytest.approx(1.5 * saved[0])  # one of two, one of four

"""The search for motion as kernels finds what OpenCV's dense inverse search finds, as near to the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import noisy, texture
from tests.engines.on_device import OnDevice

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.frames.motion import DeviceSearch
from irchroma.engines.gpu.kernels.source import launch, search_state_struct
from irchroma.engines.gpu.steps.motion import SQUARED_PARTS, found_block, level_sizes
from irchroma.engines.temporal.agreement import Agreement
from irchroma.engines.temporal.cuts import is_cut
from irchroma.engines.temporal.motion import (
    Area,
    DisSearch,
    Found,
    MotionEstimator,
    camera_shift,
    move,
    pixel_grid,
)

Luma = NDArray[np.uint8]
Field = NDArray[np.float32]
HALF = (128, 160)
WHOLE: Area = (slice(0, HALF[0]), slice(0, HALF[1]))


class Desk:
    """A search on a device, with what it leaves there."""

    def __init__(self, on_device: OnDevice, size: tuple[int, int]) -> None:
        self._on_device = on_device
        self.queue = on_device.device.open_queue()
        self.places: list[tuple[DeviceArray, DeviceArray]] = [
            (on_device.room((*size, 2)), on_device.room(size, np.uint8)) for _ in range(2)
        ]
        self.search = DeviceSearch(on_device.device, self.queue, size, self.places)

    def source(self, area: Area, place: int = 0) -> Field:
        """(bh, bw, 2) where each pixel of the area came from."""
        whole = self._on_device.get(self.places[place][0])
        return whole.ravel()[: pixel_grid(HALF)[area].size].reshape(pixel_grid(HALF)[area].shape)

    def close(self) -> None:
        self.search.close()
        self.queue.close()


@pytest.fixture
def desk(on_device: OnDevice) -> Iterator[Desk]:
    made = Desk(on_device, HALF)
    yield made
    made.close()


def scene(kind: str) -> tuple[Luma, Luma, Field]:
    """Two frames and where each pixel of the second came from, as a motion."""
    rng = np.random.default_rng(0)
    wide = texture((HALF[0] + 120, HALF[1] + 120), 30, 200, seed=1, scale=2.5)
    grid = pixel_grid(HALF)
    truth = np.zeros((*HALF, 2), np.float32)
    if kind == "layers":
        back, thing = wide[60:, 60:], texture((40, 40), 140, 230, seed=4, scale=2.5)
        before, now = back[:128, :160].copy(), back[:128, 2:162].copy()
        before[40:80, 50:90] = now[43:83, 56:96] = thing
        truth[..., 0] = 2
        truth[43:83, 56:96] = (-6, -3)
        return noisy(before, rng), noisy(now, rng), truth
    if kind == "zoom":
        center = np.array([79.5, 63.5], np.float32)
        truth = (grid - center) * np.float32(0.06)
    else:
        truth[:] = {"slow": (0.6, -0.3), "pan": (5.5, -2.3), "fast": (10, -4)}[kind]
    now = cv2.remap(wide, grid + truth + 60, None, cv2.INTER_CUBIC)
    return noisy(wide[60:188, 60:220], rng), noisy(now, rng), truth


def opencv(before: Luma, now: Luma) -> tuple[Field, Found]:
    found = DisSearch().search(before, now, WHOLE, None, (0.0, 0.0))
    assert found.backward is not None
    return found.backward, found


def errors_px(flow: Field, truth: Field) -> NDArray[np.float32]:
    """Of the pixels that were in the picture before."""
    from_where = pixel_grid(HALF) + truth
    inside = ((from_where >= 0) & (from_where < (HALF[1], HALF[0]))).all(axis=2)
    return np.linalg.norm(flow - truth, axis=2)[inside]


@pytest.mark.parametrize("kind", ["slow", "pan", "fast", "zoom", "layers"])
def test_motion_is_as_near_to_the_truth_as_opencvs(desk: Desk, kind: str) -> None:
    before, now, truth = scene(kind)
    flow, theirs = opencv(before, now)
    found = desk.search.search(before, now, WHOLE, None, (0.0, 0.0))
    off, bound = errors_px(desk.source(WHOLE) - pixel_grid(HALF), truth), errors_px(flow, truth)
    assert np.median(off) < np.median(bound) + 0.05
    between_layers = kind == "layers"  # what only one frame shows has no motion, and both make up another
    assert off.mean() < (1.3 if between_layers else 1.1) * bound.mean() + 0.02
    assert (found.occluded > 0).mean() == pytest.approx((theirs.occluded > 0).mean(), abs=0.03)
    assert found.squared_px == pytest.approx(theirs.squared_px, rel=0.1)


def test_what_comes_back_is_what_was_left_on_the_device(desk: Desk, on_device: OnDevice) -> None:
    before, now, _ = scene("layers")
    area = (slice(20, 110), slice(30, 140))
    near = np.zeros(HALF, np.uint8)
    near[30:100, 40:120] = 255
    found = desk.search.search(before, now, area, near, (0.0, 0.0))
    source = desk.source(area)
    flow = source - pixel_grid(HALF)[area]
    assert (flow[near[area] == 0] == 0).all()
    assert (flow[near[area] > 0] != 0).any()
    squared = np.square(flow).sum(axis=2)
    np.testing.assert_array_equal(found.moving, np.where(squared > 0.125**2, 255, 0))
    on_its_own = on_device.get(desk.places[0][1]).ravel()[: found.moving.size]
    np.testing.assert_array_equal(on_its_own.reshape(found.moving.shape), found.moving)
    assert found.squared_px == pytest.approx(squared.sum(), rel=0.01)
    assert found.predicted is not None
    moved = move(before, area, source)
    assert (
        np.abs(found.predicted.astype(int) - moved).max() <= 1
    )  # OpenCV moves by 32nds of a pixel, if at all
    outside = np.ones(HALF, bool)
    outside[area] = False
    np.testing.assert_array_equal(found.predicted[outside], before[outside])


def test_each_frame_in_flight_has_its_own_motion_and_the_search_is_recorded(desk: Desk) -> None:
    kinds = ("slow", "pan", "slow", "pan", "pan")
    for index, kind in enumerate(kinds):
        before, now, _ = scene(kind)
        desk.search.aim(index % 2)
        desk.search.search(before, now, WHOLE, None, (0.0, 0.0))
    assert desk.search.ring.recorded == 2
    medians = [np.median(desk.source(WHOLE, place) - pixel_grid(HALF), axis=(0, 1)) for place in (0, 1)]
    np.testing.assert_allclose(medians, [(5.5, -2.3)] * 2, atol=0.1)  # the last one, over a slow one


def test_a_jump_of_the_camera_is_found_from_where_it_seems_to_have_gone(desk: Desk) -> None:
    rng = np.random.default_rng(1)
    wide = texture((HALF[0] + 80, HALF[1] + 80), 30, 200, seed=1)
    before, now = noisy(wide[40:168, 40:200], rng), noisy(wide[48:176, 2:162], rng)
    start = camera_shift(before, now)
    np.testing.assert_allclose(start, (-38, 8), atol=2)
    desk.search.search(before, now, WHOLE, None, start)
    flow = desk.source(WHOLE) - pixel_grid(HALF)
    np.testing.assert_allclose(np.median(flow[:, 42:], axis=(0, 1)), (-38, 8), atol=0.3)


def test_the_estimator_says_of_it_what_it_says_of_opencvs(desk: Desk) -> None:
    for kind in ("pan", "layers"):
        before, now, _ = scene(kind)
        changed = Agreement().changed(before, now)
        theirs = MotionEstimator().estimate(before, now, changed, HALF)
        motion = MotionEstimator(desk.search).estimate(before, now, changed, HALF, whole=False)
        assert motion.half_source is None
        assert motion.half_area == theirs.half_area
        assert motion.active == theirs.active
        assert motion.steady == pytest.approx(theirs.steady, abs=0.06)
        assert motion.speed_px == pytest.approx(theirs.speed_px, rel=0.06)
        assert not is_cut(before, now, motion)
        off = np.abs(motion.moved(before).astype(int) - now).mean()
        assert off < 1.05 * np.abs(theirs.moved(before).astype(int) - now).mean() + 0.05


def test_another_scene_is_a_cut(desk: Desk) -> None:
    scenes = [texture(HALF, 30, 200, seed=seed).astype(np.uint8) for seed in (3, 4, 5)]
    for before, now in pairwise(scenes):
        changed = Agreement().changed(before, now)
        motion = MotionEstimator(desk.search).estimate(before, now, changed, HALF, whole=False)
        assert is_cut(before, now, motion)


def test_pictures_of_another_size_are_refused(desk: Desk) -> None:
    other = np.zeros((64, 64), np.uint8)
    with pytest.raises(EngineError, match=r"pictures of \(128, 160\), got \(64, 64\)"):
        desk.search.search(other, other, WHOLE, None, (0.0, 0.0))


def test_a_search_that_fails_says_why_each_time_and_the_next_one_is_made(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    previous, current, _ = scene("pan")
    mark = desk.search.ring._slots[0].returned

    def fails() -> None:
        raise EngineError("the device has failed")

    with monkeypatch.context() as patch:
        patch.setattr(mark, "wait", fails)
        for _ in range(2):
            with pytest.raises(EngineError, match="the device has failed"):
                desk.search.search(previous, current, WHOLE, None, (0.0, 0.0))
    desk.search.search(previous, current, WHOLE, None, (0.0, 0.0))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (75, 41), (166, 208)])
def test_odd_sizes_are_searched_to_their_last_pixel(on_device: OnDevice, size: tuple[int, int]) -> None:
    desk = Desk(on_device, size)
    wide = texture((size[0] + 8, size[1] + 8), 30, 200, seed=6, scale=2.5)
    before, now = (wide[4:-4, 4:-4].astype(np.uint8), wide[3:-5, 6:-2].astype(np.uint8))
    area = (slice(0, size[0]), slice(0, size[1]))
    desk.search.search(before, now, area, None, (0.0, 0.0))
    source = on_device.get(desk.places[0][0])
    off = np.linalg.norm(source - pixel_grid(size) - (2, -1), axis=2)[2:, :-3]
    assert np.median(off) < 0.2
    assert off[-1].mean() < 1.0  # patches end with the picture, OpenCV's before it
    desk.close()


def test_sizes_are_those_that_opencv_searches() -> None:
    assert level_sizes((128, 160)) == [(64, 80), (32, 40)]
    assert level_sizes((166, 208)) == [(83, 104), (41, 52), (20, 26)]
    assert level_sizes((32, 32)) == [(32, 32)]


@pytest.fixture
def on_clips(shared_data: Path) -> Callable[[str], list[tuple[Luma, Luma]]]:
    def pairs(name: str) -> list[tuple[Luma, Luma]]:
        capture = cv2.VideoCapture(str(shared_data / "clips" / name))
        frames = []
        for _ in range(42):
            frame = capture.read()[1]
            frames.append(cv2.resize(frame[..., 1], (160, 120), interpolation=cv2.INTER_AREA))
        return [(frames[at], frames[at + 1]) for at in range(0, 41, 8)]

    return pairs


@pytest.mark.parametrize("name", ["thermal/0118_1913_infrared.mp4", "thermal/1204_1139_infrared.mp4"])
def test_real_frames_lie_on_each_other_as_well(
    on_device: OnDevice, on_clips: Callable[[str], list[tuple[Luma, Luma]]], name: str
) -> None:
    size = (120, 160)
    desk, area = Desk(on_device, size), (slice(0, size[0]), slice(0, size[1]))
    off = []
    for before, now in on_clips(name):
        start = camera_shift(before, now)
        theirs = DisSearch().search(before, now, area, None, start)
        assert theirs.backward is not None
        found = desk.search.search(before, now, area, None, start)
        assert found.predicted is not None
        moved = move(before, area, theirs.backward + pixel_grid(size))
        off.append([np.abs(one.astype(int) - now).mean() for one in (found.predicted, moved)])
    ours, opencvs = np.mean(off, axis=0)
    assert ours < 1.03 * opencvs
    desk.close()


def test_the_motion_of_a_wide_row_is_summed_up_without_an_overflow(on_device: OnDevice) -> None:
    """All of a frame at half of 4800 pixels is 130 pixels away: as a number below 0, it would stand still."""
    height, width = 9, 2400
    state = search_state_struct()(area=(0, 0, width, height), all=1)
    found = found_block((height, width)).on_device(on_device.put(np.zeros(1 << 20, np.uint8)))
    given = {
        "state": on_device.put(np.frombuffer(bytes(state), np.uint8)),
        "pictures": on_device.room((2, height, width), np.uint8),
        "flow": on_device.put(np.full((2, 2, height, width), 92.0, np.float32)),
        "source": on_device.room((height, width, 2)),
        "moving": on_device.room((height, width), np.uint8),
    }
    on_device.run(launch("check_flow", (width, height, 1), **given, **found, width=width, height=height))
    squared_px = on_device.get(found["rows"]).astype(np.int64) / SQUARED_PARTS / width
    assert (squared_px > 6_900).all()
    assert (squared_px <= 8_000).all()

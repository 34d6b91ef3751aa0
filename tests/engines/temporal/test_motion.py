"""Motion of pictures that were moved by a known amount."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.moving_scene import noisy, texture

from irchroma.engines.temporal.agreement import Agreement
from irchroma.engines.temporal.cuts import block_correlation, is_cut
from irchroma.engines.temporal.motion import Motion, MotionEstimator, camera_shift, move, pixel_grid

HALF = (128, 160)
FULL = (256, 320)


def motion_between(before: np.ndarray, after: np.ndarray) -> Motion:
    return MotionEstimator().estimate(before, after, Agreement().changed(before, after), FULL)


def panned(shift: tuple[int, int], seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Two frames with `after(p) = before(p + shift)`."""
    rng = np.random.default_rng(seed)
    wide = texture((HALF[0] + 80, HALF[1] + 80), 30, 200, seed=seed)
    x, y = shift
    return noisy(wide[40:168, 40:200], rng), noisy(wide[40 + y : 168 + y, 40 + x : 200 + x], rng)


@pytest.mark.parametrize("shift", [(1, 0), (-3, 2), (10, -4), (30, 8), (-38, 0)])
def test_the_flow_of_a_pan_is_the_pan(shift: tuple[int, int]) -> None:
    before, after = panned(shift)
    motion = motion_between(before, after)
    assert motion.half_source is not None
    flow = motion.half_source - pixel_grid(HALF)[motion.half_area]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), shift, atol=0.3)
    moved = move(before, motion.half_area, motion.half_source)
    inner = (slice(12, -12), slice(42, -42))
    assert np.abs(moved.astype(int) - after)[inner].mean() < 3
    assert not is_cut(before, after, motion)
    assert motion.speed_px == pytest.approx(2 * np.hypot(*shift), rel=0.4)


def test_flow_at_full_size_is_scaled_from_the_half_size() -> None:
    motion = motion_between(*panned((4, -2)))
    assert motion.area is not None
    assert motion.source is not None
    flow = motion.source - pixel_grid(FULL)[motion.area]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), (8, -4), atol=0.5)


def test_nothing_moves_between_two_frames_that_differ_by_noise() -> None:
    rng = np.random.default_rng(0)
    scene = texture(HALF, 30, 200, seed=1)
    motion = motion_between(noisy(scene, rng, 0.5), noisy(scene, rng, 0.5))
    assert motion.source is None
    assert motion.active == 0
    assert motion.speed_px == 0


def test_only_what_moves_is_looked_at_and_what_it_uncovers_is_marked() -> None:
    rng = np.random.default_rng(0)
    background, thing = texture(HALF, 40, 90, seed=1), texture((30, 30), 150, 230, seed=2)
    frames = []
    for left in (60, 68):
        frame = background.copy()
        frame[50:80, left : left + 30] = thing
        frames.append(noisy(frame, rng, 0.4))
    motion = motion_between(*frames)
    assert motion.half_area is not None
    assert motion.occluded is not None
    assert motion.area is not None
    rows, columns = motion.half_area
    assert (rows.stop - rows.start) * (columns.stop - columns.start) < 0.5 * HALF[0] * HALF[1]
    occluded = np.zeros(HALF, bool)
    occluded[motion.half_area] = motion.occluded > 0
    assert occluded[55:75, 61:67].mean() > 0.7  # uncovered
    assert occluded[55:75, 75:93].mean() < 0.2  # the thing itself


@pytest.mark.parametrize("seed", range(8))
def test_two_scenes_are_a_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = noisy(texture(HALF, 20, 160, seed=seed), rng)
    after = noisy(texture(HALF, 30, 200, seed=100 + seed), rng)
    assert is_cut(before, after, motion_between(before, after))


def test_a_large_object_passing_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    scene, lorry = texture(HALF, 30, 120, seed=1), texture(HALF, 100, 220, seed=2)
    frames = []
    for edge in (60, 68):
        frame = scene.copy()
        frame[30:, :edge] = lorry[30:, 80 - edge : 80]
        frames.append(noisy(frame, rng))
    assert not is_cut(*frames, motion_between(*frames))


@pytest.mark.parametrize("shift", [(12, 0), (-30, 10), (25, -20)])
def test_phase_correlation_gives_the_cameras_shift(shift: tuple[int, int]) -> None:
    np.testing.assert_allclose(camera_shift(*panned(shift)), shift, atol=2.5)


def test_a_picture_correlates_with_itself_and_not_with_another() -> None:
    first, second = (texture(HALF, 20, 200, seed=seed).astype(np.uint8) for seed in (1, 2))
    assert block_correlation(first, first) == pytest.approx(1, abs=0.01)
    assert abs(block_correlation(first, second)) < 0.3

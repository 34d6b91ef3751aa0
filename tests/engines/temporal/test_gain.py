"""Gain jumps of known curve, and changes of the scene that must not be taken for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.engines.moving_scene import noisy, texture

from irchroma.engines.temporal.gain import (
    LEVELS,
    BrightnessKeeper,
    invert,
    limit_slopes,
    match_levels,
    measure_change,
    shown_luma,
)

SIZE = (128, 160)
Y, X = np.mgrid[0:128, 0:160].astype(np.float32)

JUMPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brighter": lambda x: x + 40,
    "darker": lambda x: x - 20,
    "contrast up": lambda x: 1.3 * x,
    "contrast down": lambda x: 0.6 * x + 50,
    "gamma": lambda x: 255 * (x / 255) ** 0.75,
    "small": lambda x: x + 3,
    "with something new": lambda x: np.where((X > 60) & (X < 90) & (Y > 40) & (Y < 90), 230, 1.2 * x),
}
SCENE_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a door opens": lambda x: x + 60 * (X < 50),
    "headlights": lambda x: x + 150 * np.exp(-((X - 80) ** 2 + (Y - 70) ** 2) / 300),
    "a lamp lights the room": lambda x: x * (1 + 0.9 * np.exp(-((X - 50) ** 2 + (Y - 50) ** 2) / 6000)),
    "a lorry drives in": lambda x: np.where((X > 50) & (X < 130) & (Y > 30), 190 + 0.1 * X, x),
    "nothing": lambda x: x,
}


@pytest.mark.parametrize("name", JUMPS)
@pytest.mark.parametrize("seed", range(3))
def test_a_jump_of_the_gain_is_found_and_undone_by_its_curve(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = texture(SIZE, 25, 170, seed=seed)
    jumped = JUMPS[name](scene)
    before, after = noisy(scene, rng), noisy(jumped, rng)
    change = measure_change(before, after)
    assert change is not None
    assert change.is_jump
    usable = (jumped > 4) & (jumped < 250) & (np.abs(jumped - 230) > 1)
    assert np.median(np.abs(change.curve[after] - scene)[usable]) < 2.0


@pytest.mark.parametrize("name", SCENE_CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_the_scene_is_no_jump_of_the_gain(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = texture(SIZE, 25, 170, seed=seed)
    change = measure_change(noisy(scene, rng), noisy(SCENE_CHANGES[name](scene), rng))
    assert change is None or not change.is_jump


def test_matching_levels_finds_a_straight_line_also_where_few_pixels_are() -> None:
    rng = np.random.default_rng(0)
    after = np.clip(rng.normal(90, 15, 40_000), 0, 255).round()
    before = np.clip(0.8 * after + 10, 0, 255)
    counts = [np.bincount(x.round().astype(int), minlength=256).astype(np.float32) for x in (before, after)]
    curve = match_levels(*counts)
    np.testing.assert_allclose(curve[50:131], 0.8 * LEVELS[50:131] + 10, atol=1.5)
    np.testing.assert_allclose(curve[20:180], 0.8 * LEVELS[20:180] + 10, atol=6)


def test_matching_a_histogram_with_itself_changes_nothing() -> None:
    counts = np.bincount(noisy(texture(SIZE, 20, 200, 1), np.random.default_rng(0)).ravel(), minlength=256)
    curve = match_levels(counts.astype(np.float32), counts.astype(np.float32))
    np.testing.assert_allclose(curve, LEVELS, atol=1e-3)


@pytest.mark.parametrize("gain", [0.3, 0.7, 1.0, 1.6, 4.0])
@pytest.mark.parametrize("offset", [-80.0, 0.0, 80.0])
def test_a_limited_curve_always_rises_and_never_clips(gain: float, offset: float) -> None:
    curve = limit_slopes((gain * LEVELS + offset).astype(np.float32))
    assert curve.min() >= 0
    assert curve.max() <= 255
    assert np.diff(curve).min() > 0.2


def test_a_curve_and_its_inverse_lead_back() -> None:
    curve = limit_slopes((0.7 * LEVELS + 20).astype(np.float32))
    there = np.interp(curve, LEVELS, invert(curve))
    np.testing.assert_allclose(there, LEVELS, atol=0.5)


def test_jumps_there_and_back_leave_what_the_camera_shows() -> None:
    keeper = BrightnessKeeper(settle_s=4.0)
    up = limit_slopes((0.8 * LEVELS + 6).astype(np.float32))
    for _ in range(10):
        keeper.undo(up)
        keeper.undo(invert(up))
    curve = LEVELS if keeper.curve is None else keeper.curve
    np.testing.assert_allclose(curve[16:200], LEVELS[16:200], atol=1.5)


def test_a_jump_fades_with_its_time_constant_at_any_frame_rate() -> None:
    for step in (0.01, 0.1, 0.5):
        keeper = BrightnessKeeper(settle_s=2.0)
        keeper.undo(limit_slopes(LEVELS - 20))
        start = float(keeper.curve[128]) - 128
        for _ in range(round(2.0 / step)):
            keeper.advance(step)
        assert (float(keeper.curve[128]) - 128) / start == pytest.approx(np.exp(-1), rel=0.01)


def test_a_jump_is_forgotten_in_the_end() -> None:
    keeper = BrightnessKeeper(settle_s=1.0)
    keeper.undo(limit_slopes(LEVELS - 20))
    keeper.advance(20.0)
    assert keeper.curve is None


def test_who_begins_later_soon_has_the_same_curve_to_the_last_bit() -> None:
    keepers = [BrightnessKeeper(settle_s=4.0)]
    for frame in range(600):
        if frame == 200:
            keepers.append(BrightnessKeeper(settle_s=4.0))
        for keeper in keepers:
            keeper.advance(0.1)
            if frame % 70 == 30:
                keeper.undo(limit_slopes((1.1 * LEVELS - 20 + frame / 20).astype(np.float32)))
        if frame >= 200 + 102:
            assert keepers[0].curve is not None
            assert keepers[1].curve is not None
            np.testing.assert_array_equal(keepers[0].curve, keepers[1].curve)


def test_a_row_of_jumps_is_kept_in_bounds_without_a_step() -> None:
    keeper = BrightnessKeeper(settle_s=4.0)
    down = limit_slopes((0.97 * LEVELS).astype(np.float32))
    before = LEVELS
    for _ in range(60):
        keeper.advance(0.04)
        keeper.undo(down)
        assert keeper.curve is not None
        assert float(np.abs(keeper.curve - np.interp(down, LEVELS, before)).max()) < 4.0
        before = keeper.curve
    keeper.advance(11.0)
    assert keeper.curve is None


def test_shown_luma_follows_a_curve_more_finely_than_whole_levels() -> None:
    luma = np.full((64, 65), 100, np.uint8)
    for extra in (0.0, 0.25, 0.5, 0.75):
        shown = shown_luma(luma, (LEVELS + np.float32(extra)).clip(0, 255))
        assert shown.shape == luma.shape
        assert float(shown.mean()) == pytest.approx(100 + extra, abs=0.15)
        assert set(np.unique(shown)) <= {100, 101}


def test_the_identity_shows_every_pixel_as_it_is() -> None:
    luma = noisy(texture(SIZE, 0, 255, 1), np.random.default_rng(0))
    np.testing.assert_array_equal(shown_luma(luma, LEVELS), luma)

"""Flicker measures against cases whose answer is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from irchroma.engines.measures.flicker import (
    ColorDistribution,
    LiveFlicker,
    ReferenceMotion,
    StaticFlicker,
    WarpingError,
    jensen_shannon,
    rgb_to_ab,
    visible,
    warping_error,
)
from irchroma.engines.recolor.color_space import lab_to_rgb, rgb_to_luma


def scene(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 of smooth colored blobs with texture."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(0, 255, (12, 16, 3)).astype(np.float32), (width, height), interpolation=2)
    return np.clip(coarse, 0, 255).astype(np.uint8)


def test_a_still_video_has_no_flicker_by_any_measure() -> None:
    rgb = scene()
    distribution, static, warping, motion = (
        ColorDistribution(),
        StaticFlicker(),
        WarpingError(),
        ReferenceMotion(),
    )
    for _ in range(6):
        distribution.add(rgb)
        static.add(rgb, rgb_to_luma(rgb))
        warping.add(rgb, motion.add(rgb_to_luma(rgb)))
    assert distribution.value() == 0.0
    assert static.value() == 0.0
    assert warping.value() == pytest.approx(0.0, abs=1e-9)


def test_distributions_without_a_common_bin_diverge_by_the_logarithm_of_two() -> None:
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    distribution = ColorDistribution()
    for rgb in (black, white, black, white, black):
        distribution.add(rgb)
    # At distances 2 and 4 the video is the same again.
    assert distribution.value() == pytest.approx(math.log(2) / 3)


def test_divergence_agrees_with_its_definition_in_entropies() -> None:
    rng = np.random.default_rng(1)
    p, q = (x / x.sum() for x in rng.random((2, 256)))

    def entropy(x: np.ndarray) -> float:
        return float(-(x * np.log(x)).sum())

    expected = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    assert jensen_shannon(p, q) == pytest.approx(expected, rel=1e-12)


def test_half_of_the_pixels_moving_to_new_bins_gives_the_analytic_divergence() -> None:
    first = np.zeros((4, 4, 3), np.uint8)
    second = first.copy()
    second[:2] = 200
    distribution = ColorDistribution()
    distribution.add(first)
    # p = (1, 0), q = (1/2, 1/2): JS = 1/2 ln(4/3) + 1/4 ln(2/3) + 1/4 ln 2
    expected = 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3) + 0.25 * math.log(2)
    assert distribution.add(second) == pytest.approx(expected)


def test_added_chroma_flicker_is_measured_as_what_was_added() -> None:
    lab = np.zeros((32, 32, 3), np.float32)
    lab[..., 0], lab[..., 1], lab[..., 2] = 60.0, 10.0, -5.0
    other = lab.copy()
    other[..., 1] += 8.0
    pictures = [lab_to_rgb(lab), lab_to_rgb(other)]
    static = StaticFlicker()
    luma = np.full((32, 32), 90, np.uint8)
    for number in range(10):
        static.add(pictures[number % 2], luma)
    exact = np.abs(np.subtract(rgb_to_ab(pictures[0]), rgb_to_ab(pictures[1]))).mean()
    assert static.value() == pytest.approx(exact, rel=1e-4)
    assert static.value() == pytest.approx(4.0, abs=0.3)  # 8 on one of two axes, less 8-bit rounding


def test_pixels_whose_input_changed_do_not_count_as_flicker() -> None:
    before, after = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 100, np.uint8)
    after[:, 8:, 0] = 220
    luma_before = np.full((16, 16), 100, np.uint8)
    luma_after = luma_before.copy()
    luma_after[:, 8:] = 140
    static = StaticFlicker()
    static.add(before, luma_before)
    assert static.add(after, luma_after) == 0.0


def test_a_video_in_which_everything_moves_has_no_static_value() -> None:
    static = StaticFlicker()
    static.add(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    static.add(np.full((8, 8, 3), 90, np.uint8), np.full((8, 8), 90, np.uint8))
    assert math.isnan(static.value())


def test_a_translated_picture_with_its_exact_flow_has_no_warping_error() -> None:
    big = scene(140, 180).astype(np.float32) / 255
    before, now = big[10:106, 20:148], big[13:109, 25:153]  # now(p) = before(p + (5, 3))
    backward = np.empty((96, 128, 2), np.float32)
    backward[:] = (5, 3)
    seen = visible(backward, -backward)
    assert 0.9 < seen.mean() < 1.0  # all but the strip that came in
    assert warping_error(before, now, backward, seen) == pytest.approx(0.0, abs=1e-9)
    wrong = backward + 2
    assert warping_error(before, now, wrong, visible(wrong, -wrong)) > 1e-4


def test_warping_error_of_known_noise_is_twice_its_variance() -> None:
    rng = np.random.default_rng(2)
    clean = scene()
    sigma = 6.0
    warping = WarpingError()
    flow = (np.zeros((96, 128, 2), np.float32), np.ones((96, 128), bool))
    for _ in range(8):
        noisy = np.clip(80 + clean * 0.3 + rng.normal(0, sigma, clean.shape), 0, 255)
        warping.add(np.rint(noisy).astype(np.uint8), flow)
    rounding = 1 / 12
    assert warping.value() == pytest.approx(2 * (sigma**2 + rounding) / 255**2, rel=0.03)


def test_live_flicker_agrees_with_the_full_measure_on_uniform_flicker() -> None:
    live, full = LiveFlicker(settle_frames=5), StaticFlicker()
    luma = np.full((480, 640), 77, np.uint8)
    for number in range(40):
        rgb = np.full((480, 640, 3), 120, np.uint8)
        rgb[..., 0] += np.uint8(12 * (number % 2))
        live.add(rgb, luma)
        full.add(rgb, luma)
    assert live.value == pytest.approx(full.value(), rel=1e-4)


def test_no_value_is_claimed_before_there_are_two_frames() -> None:
    distribution, live = ColorDistribution(), LiveFlicker()
    distribution.add(scene())
    live.add(scene(), rgb_to_luma(scene()))
    assert math.isnan(distribution.value())
    assert math.isnan(live.value)

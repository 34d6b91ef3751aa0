"""Where a reference is worth showing: not burnt, not purple, not where it takes leaves or a sky away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.recolor import color_space
from irchroma.engines.reference.preference import (
    BAND,
    PALE_RED,
    RED_LESS,
    Compared,
    small_size,
    without_pale_red,
)

Plane = NDArray[np.float32]
SIZE = (96, 128)
GRAY, GRASS, SKY, SLATE = (110, 110, 110), (80, 115, 50), (140, 185, 235), (95, 105, 120)


def flat(rgb: tuple[int, int, int]) -> Plane:
    """(3, 96, 128) Y'CbCr of one R'G'B'."""
    picture = np.full((*SIZE, 3), rgb, np.uint8)
    return np.ascontiguousarray(color_space.rgb_to_ycc(picture).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("given", "own", "tone", "color"),
    [
        ((165, 60, 50), SLATE, 1.0, 1.0),  # a red roof
        ((200, 175, 145), (75, 80, 60), 1.0, 1.0),  # sand
        ((180, 40, 50), GRASS, 1.0, 1.0),  # a tent before leaves
        ((95, 130, 55), GRASS, 1.0, 1.0),  # greener leaves
        ((225, 195, 190), (200, 205, 210), 1.0, 1.0),  # a rosy sky
        ((252, 252, 250), SKY, 0.0, 0.0),  # burnt
        ((130, 120, 185), GRAY, 0.0, 0.0),  # purple haze
        ((70, 66, 58), GRASS, 1.0, 0.0),  # brown leaves
        ((90, 70, 55), SKY, 0.0, 0.0),  # a sky by night
    ],
)
def test_what_viewers_chose_is_shown(
    given: tuple[int, int, int], own: tuple[int, int, int], tone: float, color: float
) -> None:
    found = Compared.of(flat(given), flat(own)).worth()
    for share, expected in zip(found, (tone, color), strict=True):
        assert share.shape == small_size(SIZE)[::-1]
        np.testing.assert_allclose(share, expected, atol=0.05)


def test_purple_between_leaves_is_haze_and_a_speck_is_not() -> None:
    given, haze = flat(GRAY), flat((130, 120, 185))
    given[:, ::2, ::2] = haze[:, ::2, ::2]
    speckled = flat(GRAY)
    speckled[:, 48:50, 64:66] = haze[:, 48:50, 64:66]
    assert Compared.of(given, flat(GRAY)).worth()[0][8:-8, 8:-8].max() < 0.5
    assert Compared.of(speckled, flat(GRAY)).worth()[0].mean() > 0.97


def test_a_tone_comes_back_to_the_band_around_the_own_one_with_its_detail() -> None:
    low, high = BAND
    own = np.full(SIZE, 0.5, np.float32)
    for away, left in ((-0.4, low), (0.45, high), (0.1, 0.1)):
        detail = np.zeros(SIZE, np.float32)
        detail[::2] = 0.04
        given = own + np.float32(away) + detail
        pair = (np.stack([luma, 0 * luma, 0 * luma]) for luma in (given, own))
        made = given + Compared.of(*pair).back_in_band()
        np.testing.assert_allclose(cv2.blur(made, (16, 16)), 0.5 + left, atol=0.025)
        np.testing.assert_allclose(np.diff(made, axis=0), np.diff(given, axis=0), atol=2e-3)


def test_pale_red_and_purple_are_gray_and_a_red_roof_leaves_and_sky_are_what_they_are() -> None:
    stain, roof, leaves, sky = (0.0, 0.03), (-0.06, 0.25), (-0.08, -0.05), (0.1, -0.06)
    haze = (0.028, 0.008)  # between trees, in a camera's shade
    ycc = np.array([[[0.4, *color] for color in (stain, roof, leaves, sky, haze)]], np.float32)
    made = without_pale_red(ycc)
    assert np.hypot(*made[0, 0, 1:]) < 0.01
    np.testing.assert_allclose(made[0, 1, 1:], (-0.06, 0.25 - PALE_RED * RED_LESS), atol=1e-6)
    np.testing.assert_array_equal(made[0, 2:4], ycc[0, 2:4])
    assert np.hypot(*made[0, 4, 1:]) < 0.01
    np.testing.assert_array_equal(made[..., 0], ycc[..., 0])

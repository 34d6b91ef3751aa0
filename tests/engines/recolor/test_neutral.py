"""Burnt-in text, borders and saturated levels are found; ordinary pictures are left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.recolor import neutral


def scene(size: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    noise = np.random.default_rng(4).normal(110, 40, size).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 3) * 1.5 - 50, 30, 190).astype(np.uint8)


def test_color_fades_at_both_ends_of_the_levels_and_is_full_between() -> None:
    fade = neutral.level_fade()
    assert fade[0] == 0
    assert fade[252:].max() == 0
    assert fade[12:245].min() == 1
    assert np.all(np.diff(fade[:20]) >= 0)
    dark = neutral.dark_fade()
    assert dark[:4].max() == 0
    assert dark[12:].min() == 1


def test_a_picture_without_borders_has_none_and_neither_has_a_black_one() -> None:
    assert neutral.borders(scene()) == (0, 0, 0, 0)
    assert neutral.borders(np.zeros((20, 30), np.uint8)) == (0, 0, 0, 0)


@pytest.mark.parametrize("level", [0, 16])
def test_black_borders_are_measured_on_each_side(level: int) -> None:
    luma = np.full((260, 360), level, np.uint8)
    luma[12:252, 30:350] = scene()
    assert neutral.borders(luma) == (12, 8, 30, 10)


def test_a_cold_sky_that_fades_into_the_horizon_is_no_border() -> None:
    luma = scene()
    luma[:80] = np.linspace(0, 30, 80)[:, None]
    assert neutral.borders(luma) == (0, 0, 0, 0)


@pytest.mark.parametrize("scale", [1, 3])
def test_burnt_in_text_is_found_and_little_else(scale: int) -> None:
    luma = cv2.resize(scene(), None, fx=scale, fy=scale)
    text = np.zeros_like(luma)
    cv2.putText(
        text, "2026-01-02 03:04", (20 * scale, 60 * scale), cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, 255, scale
    )
    found = neutral.strokes(np.maximum(luma, text)) > 0
    assert found[text > 200].mean() > 0.9
    assert found[120 * scale :].mean() == 0
    assert not neutral.strokes(luma).any()


def test_text_of_limited_range_is_found_and_a_sunlit_stone_or_leaf_is_no_stroke() -> None:
    luma = scene()
    luma[60:63, 40:80] = 235
    luma[160:163, 40:43] = luma[170:172, 200:204] = 220
    found = neutral.strokes(luma) > 0
    assert found[60:63, 40:80].all()
    assert not found[120:].any()


def test_a_clipped_leaf_that_is_shown_dark_keeps_its_color_and_a_lamp_has_none() -> None:
    luma = np.full((60, 80), 255, np.uint8)
    shown = np.repeat(np.array([120, 160, 190, 215, 250], np.uint8), 16)[None].repeat(60, 0)
    chroma = np.full((60, 80), -30, np.float32)
    hot = chroma.copy()
    neutral.keep(luma, shown, neutral.level_fade(), [chroma], neutral.SHOWN_WHITE)
    np.testing.assert_allclose(chroma[30, ::16], [-30, -30, -15, 0, 0], atol=0.1)
    neutral.keep(luma, shown, neutral.level_fade(), [hot])
    assert not hot.any()


def test_a_thin_sunlit_leaf_that_is_shown_dark_keeps_its_color_and_text_has_none() -> None:
    luma = np.full((60, 80), 60, np.uint8)
    luma[28:31, 10:70] = 240
    shown = luma // 2
    shown[:, 40:] = luma[:, 40:]
    chroma = np.full((60, 80), -30, np.float32)
    hot = chroma.copy()
    neutral.keep(luma, shown, neutral.level_fade(), [chroma], neutral.SHOWN_WHITE)
    np.testing.assert_array_equal(chroma[29, [15, 30, 50, 65]], [-30, -30, 0, 0])
    neutral.keep(luma, shown, neutral.level_fade(), [hot])
    assert not hot[29, 10:70].any()


def test_a_large_bright_surface_is_no_stroke() -> None:
    luma = scene()
    luma[50:150, 100:200] = 235
    assert not neutral.strokes(luma)[60:140, 110:190].any()

"""What a band's look does to a network's color it does not do to a reference's, and it comes and goes by
degrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.recoloring import Mode, Recoloring, RecolorOptions


@pytest.mark.parametrize("band", ["nir", "thermal"])
@pytest.mark.parametrize("mode", ["full", "chroma"])
def test_rules_for_a_network_s_color_leave_that_of_a_reference_alone(band: str, mode: Mode) -> None:
    """Red, navy, violet, brown and mint things, with which a network would say that it does not know."""
    things = ((150, 20, 25), (25, 30, 90), (120, 60, 150), (70, 45, 30), (120, 200, 170), (20, 90, 90))
    rgb = np.repeat(np.array(things, np.uint8), 40, axis=0)[None].repeat(120, 0)
    ycc, look = color_space.rgb_to_ycc(rgb), catalog.look_of(band, "fast")
    luma = np.ascontiguousarray(color_space.rgb_to_luma(rgb))
    sure = np.ones(luma.shape, np.float32)
    errors = {}
    for share in (0.0, 1.0):
        steered = np.dstack([ycc, np.full_like(sure, share)])
        colorer = Recoloring(RecolorOptions(mode), look)
        shown = colorer.apply(luma, luma, steered, sure)
        errors[share] = np.abs(color_space.rgb_to_ycc(shown) - ycc)[..., 1:].mean()
        expected = look if share == 0 else replace(look, shade=None, decided=False, unmixed=False)
        as_if = Recoloring(RecolorOptions(mode), expected).apply(luma, luma, ycc, sure)
        np.testing.assert_array_equal(shown, as_if)
    assert errors[1.0] < 0.02
    assert errors[0.0] > 1.5 * errors[1.0]


def test_from_one_look_to_another_color_glides() -> None:
    look = catalog.look_of("thermal", "fast")
    luma = np.random.default_rng(5).integers(40, 200, (60, 80), np.uint8)
    ycc = np.dstack([np.full(luma.shape, level, np.float32) for level in (0.1, 0.08, 0.06)])
    sure = np.ones(luma.shape, np.float32)
    shown = []
    for share in (0.0, 0.5, 1.0):
        colorer = Recoloring(look=replace(look, unmixed=False))
        colorer.other_look, colorer.other_share = look, share
        shown.append(colorer.apply(luma, luma, ycc, sure).astype(int))
    expected = Recoloring(look=look).apply(luma, luma, ycc, sure)
    np.testing.assert_array_equal(shown[2], expected)
    whole = np.abs(shown[2] - shown[0]).mean()
    assert whole > 4
    for one, other in ((0, 1), (1, 2)):
        assert 0.3 * whole < np.abs(shown[other] - shown[one]).mean() < 0.7 * whole


def test_a_thermal_scene_that_is_not_known_is_a_night_under_lamps() -> None:
    """Black stays black, what is half dark is cool, what is warm is in lamp light, and all is brighter."""
    look, levels = catalog.BANDS["thermal"].look, (0, 60, 110, 220)
    luma = np.repeat(np.asarray(levels, np.uint8), 48)[None].repeat(96, 0)
    none = np.zeros(luma.shape, np.float32)
    ycc = np.dstack([none + np.float32(level) for level in (0.8, 0.2, -0.1)])
    recoloring = Recoloring(look=look)
    shown = color_space.rgb_to_ycc(recoloring.apply(luma, luma, ycc, none))
    black, dark, half, warm = (shown[20:-20, 48 * at + 16 : 48 * at + 32].mean((0, 1)) for at in range(4))
    assert black[0] < 0.01
    assert np.abs(black[1:]).max() < 0.01
    assert dark[0] > levels[1] / 255
    assert half[0] > levels[2] / 255
    assert dark[1] > 0.01 > -0.005 > dark[2]
    assert warm[1] < -0.05
    assert warm[2] > 0.03
    for model in recoloring.models(luma, luma, ycc, none, said=0.0).chroma:
        assert np.abs(model.slope * luma / 255 + model.offset).max() < 0.001
    gray = Recoloring(RecolorOptions(instead="gray"), look).apply(luma, luma, ycc, none)
    assert np.abs(color_space.rgb_to_ycc(gray)[..., 1:]).max() < 0.01

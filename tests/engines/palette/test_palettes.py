from __future__ import annotations

import numpy as np
import pytest

from irchroma.engines.catalog import PALETTES
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.palette.tables import palette_table, sliced_table
from irchroma.engines.recolor.color_space import colors_to_lab, lab_to_colors


def test_lab_agrees_with_scikit_image_and_comes_back() -> None:
    rgb = np.array([[0, 0, 0], [255, 255, 255], [217, 58, 85], [16, 99, 222]], np.uint8)
    # skimage 0.26: skimage.color.rgb2lab(np.array([[[217, 58, 85]]], np.uint8)), and of 16, 99, 222
    expected = [[0, 0, 0], [100, 0, 0], [50.023, 62.420, 22.183], [44.667, 24.859, -68.758]]
    assert np.abs(colors_to_lab(rgb) - expected).max() < 0.02
    assert np.abs(lab_to_colors(colors_to_lab(rgb)) - rgb).max() < 0.01


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("entries", [256, 1024])
def test_every_palette_is_full_smooth_and_tells_all_levels_apart(name: str, entries: int) -> None:
    table = palette_table(name, entries)
    assert table.shape == (entries, 3)
    assert table.dtype == np.uint8
    steps = np.linalg.norm(np.diff(colors_to_lab(table), axis=0), axis=1)
    assert steps.max() < 4.5  # no edge that the scene does not have
    if entries == 256:
        assert steps.min() > 0.2
        assert len(np.unique(table, axis=0)) == 256


@pytest.mark.parametrize("name", ["white-hot", "ironbow", "arctic", "lava"])
def test_lightness_rises_from_black_to_white(name: str) -> None:
    lightness = colors_to_lab(palette_table(name))[:, 0]
    assert (np.diff(lightness) > 0).all()
    assert lightness[0] < 2
    assert lightness[-1] > 98


@pytest.mark.parametrize("name", ["ironbow", "arctic", "lava"])
def test_lightness_rises_in_even_steps(name: str) -> None:
    lightness = colors_to_lab(palette_table(name))[:, 0]
    assert np.abs(lightness - np.linspace(lightness[0], lightness[-1], 256)).max() < 1.0


def test_white_hot_is_the_identity_and_black_hot_its_inverse() -> None:
    levels = np.arange(256)
    assert np.array_equal(palette_table("white-hot"), levels[:, None].repeat(3, axis=1))
    assert np.array_equal(palette_table("black-hot"), 255 - levels[:, None].repeat(3, axis=1))


@pytest.mark.parametrize("slices", [2, 5, 8, 64])
def test_slices_are_flat_bands_of_equal_width_and_use_the_whole_palette(slices: int) -> None:
    table = palette_table("rainbow")
    sliced = sliced_table(table, slices)
    edges = np.flatnonzero(np.any(np.diff(sliced.astype(int), axis=0), axis=1))
    assert len(edges) == slices - 1
    assert np.ptp(np.diff(np.concatenate([[-1], edges, [255]]))) <= 1
    assert np.array_equal(sliced[[0, -1]], table[[0, -1]])


def test_an_unknown_palette_names_the_nearest() -> None:
    with pytest.raises(EngineOptionError, match="did you mean ironbow"):
        palette_table("ironbo")
    with pytest.raises(EngineOptionError, match="2 to 64"):
        sliced_table(palette_table("lava"), 1)

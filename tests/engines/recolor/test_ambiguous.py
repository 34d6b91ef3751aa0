from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.ambiguous import LEAF_GAIN, PINK, SAND, decide, out_of_olive, unmix
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.recolor.shade import GREEN

SNOW = (0.66, -0.05, 0.04)
"""Y', Cb and Cr that `nir:best` says of a slope in snow, whose near infrared is 0.85."""


def decided_color(color: tuple[float, float, float], luma: float) -> NDArray[np.float32]:
    planes = [np.full((2, 2), value, np.float32) for value in color]
    decide(*planes, np.full((2, 2), luma, np.float32))
    return np.array([plane[0, 0] for plane in planes])


def test_beige_snow_is_half_as_colorful_of_the_same_hue_and_brighter() -> None:
    tone, cb, cr = decided_color(SNOW, 0.85)
    assert (cb, cr) == pytest.approx((SNOW[1] / 2, SNOW[2] / 2), rel=1e-3)
    assert SNOW[0] + 0.1 < tone < 0.85


@pytest.mark.parametrize(
    ("color", "luma"),
    [
        ((0.40, -0.10, 0.010), 0.75),
        ((0.58, -0.12, 0.060), 0.80),
        ((0.66, -0.05, 0.040), 0.50),
        ((0.62, 0.09, -0.080), 0.80),
        ((0.70, 0.02, 0.040), 0.85),
    ],
    ids=["dry meadow", "rock", "a wall that is no brighter in infrared", "sky", "pink"],
)
def test_what_is_neither_snow_nor_leaves_stays(color: tuple[float, float, float], luma: float) -> None:
    assert decided_color(color, luma) == pytest.approx(color)


@pytest.mark.parametrize("tone", [0.3, 0.7])
def test_leaves_are_greener_and_as_bright(tone: float) -> None:
    dull = (tone, -0.06, -0.02)
    assert decided_color(dull, 0.85) == pytest.approx(
        (tone, -0.06 * (1 + LEAF_GAIN), -0.02 * (1 + LEAF_GAIN))
    )


def test_mint_that_was_moved_to_leaves_is_as_colorful_as_it_was() -> None:
    moved = (0.45, GREEN * -0.024, -0.024)
    assert decided_color(moved, 0.85) == pytest.approx(moved, abs=1e-6)


def test_nothing_jumps_on_the_way_to_snow() -> None:
    ways = np.linspace(0, 1, 401)
    for begin in ((0.45, -0.05, 0.04), (0.66, -0.15, 0.05), (0.66, 0.02, -0.02), (0.4, -0.08, -0.05)):
        colors = np.asarray(begin) + ways[:, None] * (np.asarray(SNOW) - begin)
        made = np.array([decided_color((one[0], one[1], one[2]), 0.85) for one in colors])
        assert np.abs(np.diff(made, axis=0)).max() < 0.006


def test_a_slope_in_snow_is_shown_white_in_near_infrared_and_as_the_network_says_in_thermal() -> None:
    luma: NDArray[np.uint8] = np.full((64, 96), 217, np.uint8)
    ycc = np.empty((*luma.shape, 3), np.float32)
    ycc[...] = SNOW
    chroma = []
    for band in ("nir", "thermal"):
        recoloring = Recoloring(RecolorOptions("chroma"), catalog.BANDS[band].look)
        rgb = recoloring.apply(luma, luma, ycc.copy(), np.ones(luma.shape, np.float32))
        lab = color_space.rgb_to_lab(rgb)
        chroma.append(float(np.hypot(lab[..., 1], lab[..., 2]).mean()))
    assert chroma[0] == pytest.approx(chroma[1] / 2, rel=0.1)


def unmixed(color: tuple[float, float, float]) -> NDArray[np.float32]:
    planes = [np.full((2, 2), value, np.float32) for value in color]
    unmix(*planes)
    return np.array([plane[0, 0] for plane in planes])


@pytest.mark.parametrize(
    "color",
    [
        (0.70, 0.08, -0.07),
        (0.30, -0.10, -0.05),
        (0.60, -0.05, 0.075),
        (0.50, -0.03, 0.030),
        (0.35, -0.01, 0.0),
    ],
    ids=["sky", "leaves in the shade", "skin", "bricks", "asphalt"],
)
def test_what_a_day_has_stays_in_thermal(color: tuple[float, float, float]) -> None:
    assert unmixed(color) == pytest.approx(color)


def test_a_dark_corner_is_no_sky_and_brown_leaves_lose_their_red() -> None:
    assert unmixed((0.1, 0.08, -0.05)) == pytest.approx((0.1, 0, 0))
    assert unmixed((0.2, -0.06, 0.03)) == pytest.approx((0.2, -0.06, 0))
    assert unmixed((0.5, 0.0, 0.04)) == pytest.approx((0.5, 0, PINK))


@pytest.mark.parametrize(
    "rgb", [(85, 66, 50), (107, 74, 57), (90, 55, 40)], ids=["soil", "dark skin", "brick in the shade"]
)
def test_dark_brown_that_loses_its_red_is_grayer_and_no_olive(rgb: tuple[int, int, int]) -> None:
    red, green, blue = (value / 255 for value in rgb)
    tone = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # BT.709-6, 3.2
    shown, cb, cr = unmixed((tone, (blue - tone) / 1.8556, (red - tone) / 1.5748))
    assert shown == pytest.approx(tone)
    assert (red - tone) / 1.5748 > 2 * cr > 0
    assert (blue - tone) / 1.8556 < 1.5 * cb < 0
    assert 1.5748 * cr > -0.1873 * cb - 0.4681 * cr  # R' above G'


def test_nothing_jumps_between_a_sky_and_what_is_before_it() -> None:
    ways = np.linspace(0, 1, 401)
    sky = np.array((0.75, 0.1, -0.08))
    for end in (
        (0.2, -0.08, 0.03),
        (0.15, 0.08, -0.05),
        (0.6, 0.02, 0.05),
        (0.3, -0.1, -0.06),
        (0.2, -0.05, 0.06),
    ):
        colors = np.asarray(end) + ways[:, None] * (sky - end)
        made = np.array([unmixed((one[0], one[1], one[2])) for one in colors])
        assert np.abs(np.diff(made, axis=0)).max() < 0.004


def out_of(color: tuple[float, float, float], luma: float) -> NDArray[np.float32]:
    planes = [np.full((2, 2), value, np.float32) for value in (*color, luma)]
    out_of_olive(planes[0], planes[1], planes[2], planes[3])
    return np.array([plane[0, 0] for plane in planes[:3]])


def test_a_hot_olive_wall_is_sand_and_leaves_skin_and_what_is_cooler_stay() -> None:
    tone, cb, cr = out_of((0.5, -0.067, 0.003), 0.9)
    assert tone == 0.5
    assert -0.067 < cb < -0.05
    assert cr == pytest.approx(SAND * 0.067, rel=1e-3)
    for color, luma in (
        ((0.5, -0.067, 0.003), 0.55),  # not hot
        ((0.3, -0.067, 0.003), 0.9),  # in the shade
        ((0.45, -0.07, -0.02), 0.9),  # leaves
        ((0.5, 0.02, -0.01), 0.9),  # no yellow
    ):
        assert out_of(color, luma) == pytest.approx(color)
    assert out_of((0.6, -0.05, 0.05), 0.9)[2] == pytest.approx(0.05)  # bricks, skin


def test_nothing_jumps_between_leaves_and_walls() -> None:
    ways = np.linspace(0, 1, 401)
    pairs = (((0.3, -0.09, -0.03, 0.5), (0.6, -0.06, 0.02, 1)), ((0.6, -0.1, 0, 0.4), (0.6, -0.1, 0, 1)))
    for begin, end in pairs:
        colors = np.asarray(begin) + ways[:, None] * (np.asarray(end) - begin)
        made = np.array([out_of((one[0], one[1], one[2]), one[3]) for one in colors])
        assert np.abs(np.diff(made, axis=0)).max() < 0.004


def test_a_dark_blue_place_is_shown_gray_in_thermal() -> None:
    luma: NDArray[np.uint8] = np.full((64, 96), 20, np.uint8)
    luma[:, 48:] = 160
    said = np.empty((64, 96, 3), np.float32)
    said[:] = (0.15, 0.08, -0.05)
    sure = np.ones((64, 96), np.float32)
    look = catalog.BANDS["thermal"].look
    rgb = Recoloring(RecolorOptions(mode="chroma"), look).apply(luma, luma, said, sure)
    assert np.ptp(rgb[:, 8:40].astype(int), axis=2).max() <= 3

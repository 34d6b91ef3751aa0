from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.recolor.shade import GREEN, out_of_teal

SHADE = (0.4, 0.5)


def moved(luma: float, cb: float, cr: float) -> tuple[float, float]:
    planes = [np.full((2, 2), value, np.float32) for value in (luma, cb, cr)]
    out_of_teal(planes[0], planes[1], planes[2], SHADE)
    return float(planes[1][0, 0]), float(planes[2][0, 0])


def test_dark_teal_becomes_the_green_of_leaves_and_no_stronger() -> None:
    cb, cr = moved(0.25, -0.005, -0.033)
    assert cb == pytest.approx(GREEN * cr, abs=1e-4)
    assert np.hypot(cb, cr) < np.hypot(0.005, 0.033)


@pytest.mark.parametrize("luma", [0.25, 0.45, 0.7])
def test_mint_becomes_the_green_of_leaves_however_bright(luma: float) -> None:
    cb, cr = moved(luma, -0.043, -0.03)  # a forest's bushes, as the network says them
    assert cb == pytest.approx(GREEN * cr, abs=1e-4)
    assert np.hypot(cb, cr) == pytest.approx(np.hypot(0.043, 0.03), rel=0.15)


@pytest.mark.parametrize(
    "color",
    [(-0.06, -0.015), (0.05, -0.03), (0.04, 0.02), (-0.05, 0.08), (0.0, 0.0)],
    ids=["leaves", "sky", "violet", "soil", "gray"],
)
def test_what_is_no_teal_stays(color: tuple[float, float]) -> None:
    assert moved(0.2, *color) == pytest.approx(color)


def test_bright_teal_such_as_water_s_stays_and_nothing_jumps_on_the_way_there() -> None:
    assert moved(0.55, -0.005, -0.033) == pytest.approx((-0.005, -0.033))
    steps = np.array([moved(luma, -0.005, -0.033) for luma in np.linspace(0.3, 0.6, 121)])
    assert np.abs(np.diff(steps, axis=0)).max() < 0.001


@pytest.mark.parametrize("luma", [0.2, 0.7])
def test_a_small_step_of_color_stays_a_small_step(luma: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 721)
    ring = np.array([moved(luma, 0.04 * np.cos(angle), 0.04 * np.sin(angle)) for angle in angles])
    assert np.linalg.norm(np.diff(ring, axis=0), axis=1).max() < 3 * 0.04 * (angles[1] - angles[0])


def test_a_dark_meadow_that_is_painted_teal_is_shown_green_and_a_bright_lake_as_it_is() -> None:
    luma: NDArray[np.uint8] = np.full((64, 96), 60, np.uint8)
    luma[:, 48:] = 170
    ycc = np.empty((*luma.shape, 3), np.float32)
    ycc[..., 0], ycc[..., 1:] = luma / 255.0, (-0.002, -0.04)
    shown = []
    for band in ("nir", "thermal"):
        recoloring = Recoloring(RecolorOptions("chroma"), catalog.BANDS[band].look)
        rgb = recoloring.apply(luma, luma, ycc.copy(), np.ones(luma.shape, np.float32))
        lab = color_space.rgb_to_lab(rgb)
        shown.append(np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360)
    near_infrared, thermal = shown
    assert 120 < np.median(near_infrared[8:-8, 8:36]) < 145
    assert 160 < np.median(thermal[8:-8, 8:36]) < 185
    assert np.median(near_infrared[8:-8, 60:88]) == pytest.approx(np.median(thermal[8:-8, 60:88]), abs=3)

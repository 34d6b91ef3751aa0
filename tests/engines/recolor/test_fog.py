"""Blue in the shade is shown as green where what has its luma is green in the picture, and else stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.recolor import color_space, fog
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions

Plane = NDArray[np.float32]
SIZE = (192, 256)
FAR = np.s_[:32]
GREEN, BLUE = (-0.04, -0.03), (0.035, -0.03)


def meadow(tone: float = 0.38) -> tuple[tuple[Plane, Plane, Plane], Plane]:
    """Y', Cb and Cr of a meadow whose far end is painted blue, and its luma: one, with grain."""
    grain = np.random.default_rng(0).normal(0, 4, SIZE)
    guide = (np.clip(86 + grain, 0, 255).round() / 255).astype(np.float32)
    cb, cr = (np.full(SIZE, value, np.float32) for value in GREEN)
    cb[FAR], cr[FAR] = BLUE
    return (np.full(SIZE, tone, np.float32), cb, cr), guide


@pytest.mark.parametrize("halved", [False, True])
def test_the_far_end_of_a_dark_meadow_is_as_green_as_the_near_one(halved: bool) -> None:
    (tone, cb, cr), guide = meadow()
    fog.out_of_fog((tone, cb, cr), guide, halved)
    assert np.allclose(cb[FAR], GREEN[0], atol=2e-3)
    assert np.allclose(cr[FAR], GREEN[1], atol=2e-3)
    assert np.allclose(cb[32:], GREEN[0])
    assert np.allclose(cr[32:], GREEN[1])


def test_a_lake_a_sky_a_forest_s_depth_and_what_lies_beside_no_green_stay_blue() -> None:
    (tone, cb, cr), guide = meadow()
    cb[32:], cr[32:] = 0.0, 0.0
    fog.out_of_fog((tone, cb, cr), guide, False)
    assert np.allclose(cb[FAR], BLUE[0])
    (tone, cb, cr), guide = meadow()
    guide[FAR] -= 40 / 255  # a luma of its own
    fog.out_of_fog((tone, cb, cr), guide, False)
    assert np.allclose(cb[FAR], BLUE[0], atol=1e-3)
    for dark_or_bright in (0.18, 0.55):
        (tone, cb, cr), guide = meadow(dark_or_bright)
        fog.out_of_fog((tone, cb, cr), guide, False)
        assert np.allclose(cb[FAR], BLUE[0])


def test_blue_goes_little_by_little_as_its_luma_is_more_of_it() -> None:
    left = []
    for rows in range(16, 120, 2):
        (tone, cb, cr), guide = meadow()
        cb[:rows], cr[:rows] = BLUE
        fog.out_of_fog((tone, cb, cr), guide, False)
        left.append(float(cb[:rows].mean()))
    assert left[0] == pytest.approx(GREEN[0], abs=2e-3)
    assert left[-1] == pytest.approx(BLUE[0])
    assert np.diff(left).min() > -1e-3
    assert np.diff(left).max() < 0.016  # of eight rows one is counted


def test_how_far_it_goes_is_said_place_by_place() -> None:
    (tone, cb, cr), guide = meadow()
    strength = np.ones(SIZE, np.float32)
    strength[:, :128] = 0
    fog.out_of_fog((tone, cb, cr), guide, False, strength)
    assert np.allclose(cb[FAR][:, :128], BLUE[0])
    assert np.allclose(cb[FAR][:, 128:], GREEN[0], atol=2e-3)


def test_near_infrared_pictures_are_without_it_and_a_reference_s_color_stays() -> None:
    (tone, cb, cr), guide = meadow()
    luma = np.rint(guide * 255).astype(np.uint8)
    ycc, sure = np.dstack([tone, cb, cr]), np.ones(SIZE, np.float32)
    look = catalog.BANDS["nir"].look

    def blueness(given: Plane, look: BandLook) -> float:
        shown = Recoloring(RecolorOptions(), look).apply(luma, luma, given.copy(), sure)
        return float(color_space.rgb_to_ycc(shown)[:8, :, 1].mean())

    blue = blueness(ycc, replace(look, shade=None))
    assert blueness(ycc, look) < blue - 0.005
    by_reference = np.dstack([ycc, np.ones(SIZE, np.float32)])
    assert blueness(by_reference, look) == pytest.approx(blue, abs=5e-4)

"""Pairs of the synthetic cameras: of one size, and a night in the colors that its lamp leaves."""

from __future__ import annotations

import numpy as np

from irchroma.calibration.synthetic_pairs import lit_as, synthetic_pairs


def test_synthetic_pairs_are_registered_and_gray_beside_color() -> None:
    for band in ("nir", "thermal"):
        picture = synthetic_pairs(band, 1)[0]
        assert picture.ir is not None
        assert picture.ir.dtype == np.uint8
        assert picture.rgb.shape == (*picture.ir.shape, 3)


def test_a_night_has_the_colors_of_the_day_under_the_lamp_it_shows() -> None:
    rgb = np.full((64, 64, 3), (60, 140, 40), np.uint8)
    luma = np.zeros((64, 64), np.uint8)
    luma[:, :32] = 60
    lit = lit_as(rgb, luma).astype(int)
    assert lit[32, 60].max() < 8
    assert lit[32, 8, 1] > lit[32, 8, 0] + 15
    assert np.ptp(lit[32, 8]) < 0.8 * 100 * 60 / 105

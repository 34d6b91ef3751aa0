"""Natural colors, halos and natural truth, on made-up pictures whose answers are known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.measures import metrics, natural
from irchroma.engines.measures.natural_truth import natural as natural_picture
from irchroma.engines.measures.natural_truth import violet


def flat(rgb: tuple[int, int, int], size: tuple[int, int] = (40, 60)) -> NDArray[np.uint8]:
    return np.full((*size, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("rgb", "rare"),
    [
        ((70, 110, 40), False),  # leaves
        ((120, 160, 210), False),  # sky
        ((120, 95, 70), False),  # soil
        ((128, 128, 128), False),
        ((120, 90, 150), True),  # violet shade
        ((190, 150, 190), True),  # a pink path
    ],
)
def test_violet_is_unnatural_and_leaves_sky_and_soil_are_not(rgb: tuple[int, int, int], rare: bool) -> None:
    assert natural.unnatural(flat(rgb)) == float(rare)


def test_the_table_is_made_of_what_photographs_show() -> None:
    lightness, hue, chroma, colored = (cells[0, 0] for cells in natural._cells(flat((70, 110, 40))))
    assert colored
    photographs = [flat((70, 110, 40)), flat((80, 120, 45))]
    table = natural.count_rare_hues(photographs)
    assert not table[lightness, hue, chroma]
    assert table[lightness, (hue + 18) % natural.HUES, chroma], "no photograph has the opposite hue there"


def scene(seam: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """(output, truth, input): a dark ridge below a sky; the output's sky is brighter beside the ridge."""
    luma = np.full((120, 160), 90, np.uint8)
    luma[70:] = 200
    truth = np.full((120, 160), 180.0)
    truth[70:] = 40
    shown = 0.8 * truth + 10.0  # another exposure
    shown[58:66] += seam
    return (*(np.repeat(np.uint8(plane)[..., None], 3, axis=2) for plane in (shown, truth)), luma)


def test_a_seam_beside_an_edge_is_a_halo_and_another_exposure_is_none() -> None:
    assert natural.halo(*scene(0.0)) == pytest.approx(0.0, abs=0.1)
    assert 4.0 < natural.halo(*scene(20.0)) < 20.0
    assert natural.halo(*scene(-20.0)) == pytest.approx(natural.halo(*scene(20.0)), rel=0.1)


def test_a_picture_without_edges_says_nothing_of_halos() -> None:
    plain = flat((100, 100, 100))
    assert math.isnan(natural.halo(plain, plain, plain[..., 0].copy()))


def test_violet_shade_becomes_neutral_and_the_green_beside_it_stays() -> None:
    random = np.random.default_rng(0)
    picture = flat((80, 65, 105), (80, 80))
    picture[:, :40] = (60, 100, 35)
    picture = np.clip(picture + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    made = natural_picture(picture)
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB).astype(int) for p in (picture, made))
    shade = np.hypot(*(after[:, 45:, k].mean() - 128 for k in (1, 2)))
    assert np.hypot(*(before[:, 45:, k].mean() - 128 for k in (1, 2))) > 15
    assert shade < 6
    assert after[:, :35, 1].mean() < 118, "leaves are green still"
    assert abs(after[..., 0].mean() - before[..., 0].mean()) < 3


def test_lavender_sky_turns_to_blue() -> None:
    hues = [
        math.degrees(math.atan2(*(metrics.rgb_to_lab(picture)[0, 0, [2, 1]]))) % 360
        for picture in (flat((150, 163, 225)), natural_picture(flat((150, 163, 225))))
    ]
    assert hues[0] > 278
    assert 255 < hues[1] < 275


def test_only_what_infrared_says_is_foliage_is_made_greener() -> None:
    olive = flat((95, 95, 45))
    bright, dark = (np.full(olive.shape[:2], level, np.uint8) for level in (220, 60))
    leaf, soil = (natural_picture(olive, ir)[0, 0].astype(int) for ir in (bright, dark))
    assert leaf[1] - leaf[0] > soil[1] - soil[0] + 8


def test_violet_is_full_between_300_and_5_degrees_and_nothing_at_green() -> None:
    hues = np.array([320.0, 0.0, 5.0, 15.0, 25.0, 120.0, 260.0, 280.0, 290.0], np.float32)
    assert violet(hues) == pytest.approx([1, 1, 1, 0.5, 0, 0, 0, 0, 0.5], abs=1e-5)

"""Smaller pictures are means over areas, by whatever steps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.engines.moving_scene import texture

from irchroma.engines.recolor.work_picture import padded, reduced, reduced_by_halves, unpadded


@pytest.mark.parametrize(
    ("size", "to"), [((512, 640), (166, 208)), ((1080, 1920), (117, 208)), ((135, 241), (30, 53))]
)
def test_a_picture_reduced_by_halves_is_the_mean_of_its_areas(
    size: tuple[int, int], to: tuple[int, int]
) -> None:
    luma = texture(size, 0, 255, seed=3).astype(np.uint8)
    exact = cv2.resize(luma.astype(np.float32), to[::-1], interpolation=cv2.INTER_AREA)
    off = np.abs(reduced_by_halves(luma, to) - exact)
    assert off.mean() < 1.0
    assert off.max() < 12.0


def test_what_is_less_than_four_times_as_large_is_reduced_at_once() -> None:
    luma = texture((300, 400), 0, 255, seed=3).astype(np.uint8)
    for size in ((76, 101), (149, 199), (299, 400)):
        np.testing.assert_array_equal(reduced_by_halves(luma, size), reduced(luma, size))
    assert reduced_by_halves(luma, (300, 400)) is luma


@pytest.mark.parametrize("size", [(240, 320), (256, 320), (181, 301), (33, 40)])
def test_what_was_padded_is_found_again(size: tuple[int, int]) -> None:
    luma = texture(size, 0, 255, seed=3).astype(np.uint8)
    whole = np.asarray(cv2.convertScaleAbs(padded(luma)[0, 0], alpha=255.0), np.uint8)
    np.testing.assert_array_equal(unpadded(whole), luma)

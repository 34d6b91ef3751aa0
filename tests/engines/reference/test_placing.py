"""Where a reference's cells lie in the frames: found, followed, lost and found again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.reference import placing

CELLS = (20, 24)


def test_cells_lie_where_the_matrix_says() -> None:
    there = placing.cells_in(np.eye(2, 3), (2, 4))[0]
    np.testing.assert_allclose(there[0], [-0.75, -0.25, 0.25, 0.75] * 2)
    np.testing.assert_allclose(there[1], [-0.5] * 4 + [0.5] * 4)
    half = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])  # the infrared is the reference's first quarter
    np.testing.assert_allclose(placing.cells_in(half, (2, 4))[0], 2 * there + 1, atol=1e-6)


def test_a_crop_of_the_scene_is_found_and_another_scene_is_not() -> None:
    rgb, infrared = daytime_scene.draw(3)
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = gray.shape
    crop = np.ascontiguousarray(gray[: round(0.8 * height), : round(0.8 * width)])
    there, known = placing.Placing(crop, CELLS).at(infrared)
    assert known == 1.0
    expected = (placing.cells_in(np.eye(2, 3), CELLS) + 1) * 0.8 - 1
    assert np.abs(there - expected).max() < 0.06  # of 2: half a cell
    other = cv2.cvtColor(daytime_scene.draw(8)[0], cv2.COLOR_RGB2GRAY)
    assert placing.Placing(np.asarray(other, np.uint8), CELLS).at(infrared)[1] == 0.0


def test_padding_moves_no_cell() -> None:
    rgb, infrared = daytime_scene.draw(3)
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    plain, _ = placing.Placing(gray, CELLS).at(infrared)
    mirrored = np.asarray(cv2.copyMakeBorder(infrared, 0, 24, 0, 0, cv2.BORDER_REFLECT_101), np.uint8)
    there, known = placing.Placing(gray, CELLS).at(mirrored)
    assert known == 1.0
    share = infrared.shape[0] / mirrored.shape[0]
    np.testing.assert_allclose((there[0, 1] + 1) / (plain[0, 1] + 1), share, rtol=1e-4)


def test_it_follows_a_shake_and_eases_out_when_the_view_has_changed() -> None:
    rgb, infrared = daytime_scene.draw(3)
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    placed = placing.Placing(gray, CELLS)
    first, _ = placed.at(infrared)
    moved = np.roll(infrared, 12, 1)
    for _ in range(placing.LOOK_EVERY):
        there, known = placed.at(moved)
    step = 2 * 12 / infrared.shape[1]
    assert float((there - first)[0, 0].mean()) == pytest.approx(step, rel=0.25)
    assert known == 1.0
    elsewhere = daytime_scene.draw(8)[1]
    seen = [placed.at(elsewhere)[1] for _ in range(2 * placing.LOOK_EVERY)]
    assert seen[-1] == 0.0
    steps = -np.diff(seen)
    assert steps.max() <= placing.EASE + 1e-6
    for _ in range(placing.FIRST_RETRY + 1):
        _, known = placed.at(infrared)
    assert known > 0.0

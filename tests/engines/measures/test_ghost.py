"""What the sensor does not see, counted."""

import cv2
import numpy as np

from irchroma.engines.measures.ghost import ghost


def scene() -> np.ndarray:
    luma = np.full((96, 128), 80, np.uint8)
    cv2.rectangle(luma, (10, 10), (50, 60), 170, -1)
    return luma


def test_a_gray_copy_has_none() -> None:
    assert ghost(np.repeat(scene()[..., None], 3, 2), [scene()]) == 0.0


def test_a_figure_that_the_sensor_does_not_have_is_counted_by_its_outline() -> None:
    rgb = np.repeat(scene()[..., None], 3, 2)
    cv2.rectangle(rgb, (80, 30), (95, 79), (200, 60, 60), -1)
    # two rows or columns of edge on each side of an outline of 2 (16 + 50) pixels, and what blur adds
    assert 0.8 < ghost(rgb, [scene()]) * rgb.shape[0] * rgb.shape[1] / (4 * 66) < 3.0


def test_color_alone_is_seen_too() -> None:
    rgb = np.full((96, 128, 3), (90, 90, 90), np.uint8)
    cv2.rectangle(rgb, (80, 30), (95, 79), (129, 80, 35), -1)  # of nearly the same luma
    assert ghost(rgb, [np.full((96, 128), 90, np.uint8)]) > 0.01


def test_a_neighbor_in_time_may_have_it() -> None:
    moved = scene()
    cv2.rectangle(moved, (80, 30), (95, 79), 200, -1)
    rgb = np.repeat(moved[..., None], 3, 2)
    assert ghost(rgb, [scene()]) > 0.0
    assert ghost(rgb, [scene(), moved]) == 0.0

"""How much a colored picture shows that the sensor does not see.

An edge of the output that neither the infrared frame nor its neighbors in time have at that place came from
somewhere else: from a reference picture in which somebody stood there, or from color that lags behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA_PX = 1.2
OUTPUT_EDGE_LEVELS = 3.0
"""Levels a pixel, in the channel where it is steepest, from which a viewer sees an edge."""
SENSOR_EDGE_LEVELS = 0.75
"""Levels a pixel from which the sensor has a trace of one."""
REACH_PX = 3
"""How far apart both may lie: color is guided, not exact."""


def ghost(rgb: NDArray[np.uint8], infrared: Sequence[NDArray[np.uint8]]) -> float:
    """Share of the picture that is edge of the output without an edge of the sensor nearby, [0, 1].

    Args:
        rgb: (H, W, 3) uint8 R'G'B', the colored picture.
        infrared: (H, W) uint8 luma each, as the tone map gives it: the frame's own, and its neighbors'.
    """
    sensor = np.zeros(rgb.shape[:2], np.float32)
    for luma in infrared:
        np.maximum(sensor, _slope(luma[..., None]), out=sensor)
    side = 2 * REACH_PX + 1
    known = cv2.dilate((sensor >= SENSOR_EDGE_LEVELS).astype(np.uint8), np.ones((side, side), np.uint8))
    return float(((_slope(rgb) >= OUTPUT_EDGE_LEVELS) & (known == 0)).mean())


def _slope(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) float32 levels a pixel of the steepest channel."""
    smooth = cv2.GaussianBlur(picture, (0, 0), SIGMA_PX).astype(np.float32).reshape(picture.shape)
    along_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8).reshape(picture.shape)
    along_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8).reshape(picture.shape)
    return np.asarray(np.hypot(along_x, along_y).max(2), np.float32)

"""Leaves out of a reference picture what the infrared does not show: whoever stood there when it was taken.

A color picture's people, cars and lamps of another moment have no counterpart in the infrared picture of now.
In every window the reference's color is regressed on the infrared's gray level, outliers losing their
weight: a street that is one gray to the infrared gets the one color that most of it has, and what stood on
it vanishes. The reference's own detail is added back only where the infrared has edges along it. So nothing
appears that the sensor does not see; paint that is flat to the infrared (stripes on a crossing) goes too, as
one picture cannot tell it from a shadow. References that are a median of several pictures have shown what
stands still, and are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import structure

Plane = NDArray[np.float32]

RADIUS_SHARE = 0.07
"""Radius of the regression's windows as a share of the long side."""
SHRINK = 2
"""The regression runs on pictures this many times smaller: its coefficients vary slowly."""
NOISE = 2.0 / 255
"""Infrared gray levels whose differences say nothing (the ridge's root)."""
OUTLIER = 10.0 / 255
"""Difference in luma or chroma beyond which a pixel of the reference loses its weight."""
ROUNDS = 6
WINDOW_PX = 9
AGREES = (0.3, 0.6)
"""Correlation of the edge structure from which an edge has its counterpart a little, and fully."""
EDGE_SIGMA_PX = 1.2
STRONG_EDGE_LEVELS = 12.0
"""Levels a pixel above which an edge counts no more than others."""
NEIGHBORHOODS = ((7, 1.0), (31, 1.0), (61, 0.02))
"""Side in pixels and weight: the nearest edges decide, for flat places those around."""
STRIKING, WIDE_PX = (0.06, 0.14), 45
"""Difference from what the infrared explains, from which the edges of a wide window have a say too: a taxi's
yellow is believed less easily than a stone's shade."""
MOSTLY = (0.45, 0.75)
"""Share of the edges nearby with a counterpart, from which detail is shown a little, and fully."""


@dataclass(frozen=True, slots=True)
class Explained:
    """How a reference's color follows from the infrared's luma, place by place.

    Attributes:
        slope: (h, w, 3) float32, of Y', Cb, Cr a unit of luma.
        offset: (h, w, 3) float32.
    """

    slope: Plane
    offset: Plane

    def of(self, luma: NDArray[np.uint8]) -> Plane:
        """(h, w, 3) float32 Y'CbCr, BT.601 full range, for (h, w) uint8 luma of now."""
        level = luma.astype(np.float32) * np.float32(1 / 255)
        made = cv2.multiply(self.slope, cv2.merge([level] * 3))
        return np.asarray(cv2.add(made, self.offset, dst=made), np.float32)

    def around(self, luma: NDArray[np.uint8]) -> Plane:
        """The same for the level of the surroundings: without anybody who stands in the infrared picture."""
        side = 2 * round(RADIUS_SHARE * max(luma.shape)) + 1
        return self.of(np.asarray(cv2.blur(luma, (side, side)), np.uint8))


def explain(ycc: Plane, luma: NDArray[np.uint8]) -> Explained:
    """What of a reference's color follows from the infrared picture under it.

    A guided filter (He, Sun, Tang, Guided Image Filtering, ECCV 2010, eq. 5 and 6) whose means are weighted
    by Tukey's biweight of the residual.

    Args:
        ycc: (h, w, 3) float32 Y'CbCr of the reference as it lies over the infrared.
        luma: (h, w) uint8 infrared.
    """
    height, width = luma.shape
    size = (max(8, width // SHRINK), max(8, height // SHRINK))
    small = cv2.resize(ycc, size, interpolation=cv2.INTER_AREA)
    gray = cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    side = 2 * max(2, round(RADIUS_SHARE * max(size))) + 1

    def mean(values: Plane) -> Plane:
        return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)

    weight, planes = np.ones_like(gray), cv2.split(small)
    for round_ in range(ROUNDS):
        total = mean(weight)
        middle = mean(weight * gray) / total
        spread = np.maximum(mean(weight * gray * gray) / total - middle * middle, 0.0) + NOISE**2
        models = []
        for plane in planes:
            average = mean(weight * plane) / total
            steep = (mean(weight * gray * plane) / total - middle * average) / spread
            models.append((mean(steep), mean(average - steep * middle)))
        away = [
            np.abs(plane - (one * gray + zero)) for plane, (one, zero) in zip(planes, models, strict=True)
        ]
        error = np.maximum(np.maximum(away[0], away[1]), away[2])
        limit = OUTLIER * max(1.0, 3.0 - round_)
        weight = np.asarray(np.square(np.maximum(1.0 - np.square(error / limit), 0.0)) + 1e-3, np.float32)
    back = (width, height)
    slope, offset = (cv2.merge(parts) for parts in zip(*models, strict=True))
    return Explained(
        np.asarray(cv2.resize(slope, back), np.float32), np.asarray(cv2.resize(offset, back), np.float32)
    )


def supported(rgb: NDArray[np.uint8], infrared: NDArray[np.uint8], striking: Plane) -> Plane:
    """How much a picture's detail has a counterpart in the infrared: of its edges, and of what they enclose.

    Args:
        rgb: (h, w, 3) uint8 R'G'B' of the picture, as it lies over the infrared.
        infrared: (h, w) uint8 of the sensor.
        striking: (h, w) float32, how far the picture is from what the infrared explains.

    Returns:
        (h, w) float32 in [0, 1].
    """
    luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    agreed = structure.agreement(
        structure.structure_field(luma), structure.structure_field(infrared), WINDOW_PX
    )
    low, high = AGREES
    support = np.clip((agreed - low) / (high - low), 0.0, 1.0)
    smooth = cv2.GaussianBlur(rgb, (0, 0), EDGE_SIGMA_PX).astype(np.float32)
    along_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    along_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    edge = np.minimum(structure.largest(cv2.magnitude(along_x, along_y)), STRONG_EDGE_LEVELS)
    shared = edge * support
    found, total = np.zeros_like(edge), np.full_like(edge, 1e-4)
    for side_px, weight in NEIGHBORHOODS:
        found += weight * cv2.blur(shared, (side_px, side_px))
        total += weight * cv2.blur(edge, (side_px, side_px))
    low, high = MOSTLY
    share = np.clip((found / total - low) / (high - low), 0.0, 1.0)
    wide = cv2.blur(shared, (WIDE_PX, WIDE_PX)) / (cv2.blur(edge, (WIDE_PX, WIDE_PX)) + 1e-4)
    wide = np.clip((wide - low) / (high - low), 0.0, 1.0)
    low, high = STRIKING
    doubt = np.clip((cv2.blur(striking, (15, 15)) - low) / (high - low), 0.0, 1.0)
    share *= 1.0 + doubt * (wide - 1.0)
    return np.asarray(cv2.blur(share, (3, 3)), np.float32)

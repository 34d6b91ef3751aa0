"""Marks what an infrared picture shows and its color reference does not: people, cars, whatever has moved.

In every large window the infrared is regressed on the reference's three channels, outliers losing their
weight: a wall's gray level follows from its color and place, whatever the band makes of it, and a person
who was not there when the reference was taken does not. An outlier whose edges agree with the reference's
belongs to the scene all the same (a skyline in thermal infrared, hotter than any color tells).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import registration, structure

Plane = NDArray[np.float32]

SHRINK = 4
"""The regression runs on a picture this many times smaller."""
GRID_STEP = 4
"""Small pixels between the places where the regression is solved; its windows are far larger."""
RADIUS_SHARE = 0.2
"""Radius of the regression's windows as a share of the long side."""
FLATNESS = 4.0
"""Standard deviation in gray levels below which the reference's color explains nothing (the ridge's root)."""
OUTLIER = 4.0
"""Robust standard deviations beyond which a pixel has no weight in the regression (Tukey's biweight)."""
SURELY, PERHAPS = 5.0, 2.5
"""Robust standard deviations at which a pixel is foreground for sure, and at which it begins to be."""
NOISE_LEVELS = 1.5
"""Gray levels added to the robust standard deviation: no picture is better than that."""
AGREEMENT_PX = 9
BELONGS = 0.5
"""Local structure agreement at and above which an outlier still belongs to the scene, for sure."""
FADE_S = 0.2
"""Time constant with which a place where nothing moves anymore gets the reference's color back."""


class Backdrop:
    """A reference as it lies over the picture, with what is computed of it once."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        """Take (h, w, 3) uint8 R'G'B' at work size."""
        height, width = rgb.shape[:2]
        self.rgb = rgb
        self.design = _design(rgb)
        self.small_size = (max(8, width // SHRINK), max(8, height // SHRINK))
        small = cv2.resize(rgb, self.small_size, interpolation=cv2.INTER_AREA)
        self.small_design = _design(np.asarray(small, np.uint8))
        gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        self.field = structure.structure_field(registration.resized(gray, registration.COARSE_PX))


class ForegroundMarker:
    """Marks the foreground in frame after frame; the regression's weights carry on from each to the next."""

    def __init__(self) -> None:
        self._weight: Plane | None = None
        self._mask: Plane | None = None
        self._pts_ns = 0

    def reset(self) -> None:
        """Forget the past: another reference, another view."""
        self._weight = self._mask = None

    def mark(self, luma: NDArray[np.uint8], backdrop: Backdrop, field: structure.Field, pts_ns: int) -> Plane:
        """How much each pixel is foreground.

        Args:
            luma: (h, w) uint8, infrared.
            backdrop: the reference, laid over it.
            field: the infrared's structure, at the size of the backdrop's.
            pts_ns: time of the frame.

        Returns:
            (h, w) float32 in [0, 1].
        """
        residual = self._residual(luma, backdrop)
        agreed = _belonging(residual, field, backdrop.field)
        agreed = cv2.resize(agreed, (luma.shape[1], luma.shape[0]))
        mask = np.clip((residual - PERHAPS) * np.float32(1 / (SURELY - PERHAPS)), 0.0, 1.0)
        mask *= 1.0 - np.clip(agreed * np.float32(1 / BELONGS), 0.0, 1.0)
        bytes_ = cv2.medianBlur(cv2.convertScaleAbs(mask, alpha=255), 5)
        bytes_ = cv2.dilate(bytes_, np.ones((3, 3), np.uint8))
        mask = cv2.blur(bytes_.astype(np.float32) * np.float32(1 / 255), (5, 5))
        if self._mask is not None and self._mask.shape == mask.shape:
            kept = math.exp(-max(0, pts_ns - self._pts_ns) / 1e9 / FADE_S)
            mask = np.maximum(mask, self._mask * np.float32(kept) + mask * np.float32(1 - kept))
        self._mask, self._pts_ns = np.asarray(mask, np.float32), pts_ns
        return self._mask

    def _residual(self, luma: NDArray[np.uint8], backdrop: Backdrop) -> Plane:
        """(h, w) float32: distance from what the reference predicts, in robust standard deviations."""
        small = cv2.resize(luma, backdrop.small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
        first = self._weight is None or self._weight.shape != small.shape
        weight = np.ones_like(small) if first or self._weight is None else self._weight
        for _ in range(4 if first else 1):
            model = _local_regression(small, backdrop.small_design, weight)
            error = np.abs(small - _predicted(model, backdrop.small_design))
            spread = np.float32(1.4826 * float(np.median(error)) + NOISE_LEVELS)
            weight = np.square(np.maximum(1.0 - np.square(error / (OUTLIER * spread)), 0.0)) + 1e-3
        self._weight = np.asarray(weight, np.float32)
        predicted = _predicted(model, backdrop.design)
        return np.asarray(np.abs(luma - predicted) * (1 / spread), np.float32)


def _belonging(residual: Plane, field: structure.Field, reference: structure.Field) -> Plane:
    """(h, w) float32 at the fields' size: how much of an outlier's edges the reference has too.

    The lesser of what a small window says and what the whole outlier says: the neighbor's edges do not
    speak for a person, nor does a person in front of it for a whole skyline.
    """
    height, width = field.shape[:2]
    near = structure.agreement(field, reference, AGREEMENT_PX)
    outlier = cv2.resize(residual, (width, height), interpolation=cv2.INTER_AREA) > PERHAPS
    count, blobs = cv2.connectedComponents(outlier.astype(np.uint8))
    blobs = cv2.dilate(
        blobs.astype(np.uint16), np.ones((5, 5), np.uint8)
    ).ravel()  # its edge lies outside too
    common = np.bincount(blobs, structure.along(field, reference).ravel(), count)
    own = np.bincount(blobs, structure.along(field, field).ravel(), count)
    whole = (common / np.maximum(own, 1e-3))[blobs].reshape(height, width)
    return np.asarray(np.minimum(near, whole), np.float32)


def _design(rgb: NDArray[np.uint8]) -> Plane:
    """(4, h, w) float32: the reference's channels about their middle, and a constant."""
    design = np.ones((4, *rgb.shape[:2]), np.float32)
    for channel in range(3):
        design[channel] = rgb[..., channel]
    design[:3] -= 128.0
    return design


def _predicted(model: Plane, design: Plane) -> Plane:
    """(h, w) float32 from coefficients on a coarse grid, (4, y, x)."""
    height, width = design.shape[1:]
    total = cv2.resize(model[3], (width, height))
    for channel in range(3):
        total += cv2.resize(model[channel], (width, height)) * design[channel]
    return np.asarray(total, np.float32)


def _local_regression(target: Plane, design: Plane, weight: Plane) -> Plane:
    """(4, y, x) float32: coefficients of weighted least squares in large overlapping windows, on a grid."""
    height, width = target.shape
    radius = max(3, round(max(height, width) * RADIUS_SHARE))
    grid = (max(2, width // GRID_STEP), max(2, height // GRID_STEP))
    count = design.shape[0]
    weighted = design * weight
    pairs = [(i, j) for i in range(count) for j in range(i, count)]
    products = [weighted[i] * design[j] for i, j in pairs]
    products += [weighted[i] * target for i in range(count)]
    moments = np.empty((len(products), grid[1], grid[0]), np.float32)
    for place, product in enumerate(products):
        mean = cv2.blur(product, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
        moments[place] = cv2.resize(mean, grid, interpolation=cv2.INTER_AREA)
    moments /= moments[pairs.index((count - 1, count - 1))]
    normal = np.empty((grid[1], grid[0], count, count), np.float32)
    for place, (i, j) in enumerate(pairs):
        normal[..., i, j] = normal[..., j, i] = moments[place]
    for i in range(count - 1):
        normal[..., i, i] += FLATNESS**2
    solved = np.linalg.solve(normal, np.moveaxis(moments[len(pairs) :], 0, 2)[..., None])[..., 0]
    return np.ascontiguousarray(np.moveaxis(solved, 2, 0), np.float32)

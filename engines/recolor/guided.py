"""Edge-aware upsampling: locally affine models of a small picture in the luma, applied to the full-size luma.

Reference: K. He, J. Sun, X. Tang, Guided Image Filtering, TPAMI 35(6), 2013, eq. 5-8; K. He, J. Sun,
Fast Guided Filter, arXiv 1505.00996, 2015. Different here: overlapping windows are averaged by how well
each one's model fits, so that a window that straddles three surfaces says little about any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

MISFIT = 1e-4
"""Residual variance of a window's model at which it counts half; (0.01 of full scale) squared."""


@dataclass(frozen=True, slots=True)
class Affine:
    """One affine model of a value in the luma at every pixel: value = slope * luma + offset.

    Attributes:
        slope: (h, w) float32, value per luma.
        offset: (h, w) float32.
    """

    slope: Plane
    offset: Plane


@dataclass(frozen=True, slots=True)
class Windows:
    """What every window of a luma picture has in common for all values modeled on it."""

    luma: Plane
    mean: Plane
    variance: Plane
    side_px: int


def windows(luma: Plane, radius_px: int) -> Windows:
    """Mean and variance of the luma (h, w) float32 [0, 1] in every square of side 2 * radius_px + 1."""
    side = 2 * radius_px + 1
    mean = box(luma, side)
    variance = np.maximum(box(luma * luma, side) - mean * mean, 0.0)
    return Windows(luma, mean, variance, side)


def fit(seen: Windows, value: Plane, contrast: float) -> Affine:
    """Least-squares affine models of `value` in the luma, window by window, averaged by their fit.

    Args:
        seen: the luma's windows.
        value: (h, w) float32, what to model.
        contrast: standard deviation of luma, [0, 1], above which the luma's edges lead; the filter's
            sqrt(epsilon). Below it the value is smoothed as if the luma were flat.
    """
    side = seen.side_px
    mean = box(value, side)
    covariance = box(value * seen.luma, side) - mean * seen.mean
    slope = covariance / (seen.variance + contrast * contrast)
    offset = mean - slope * seen.mean
    variance = box(value * value, side) - mean * mean
    residual = variance - slope * covariance
    weight = MISFIT / (MISFIT + np.maximum(residual, 0.0))
    total = box(weight, side)
    return Affine(box(slope * weight, side) / total, box(offset * weight, side) / total)


def box(values: Plane, side_px: int) -> Plane:
    """Mean over a square window, the picture mirrored at its borders."""
    return np.asarray(cv2.blur(values, (side_px, side_px), borderType=cv2.BORDER_REFLECT), np.float32)


def enlarge(values: Plane, size: tuple[int, int], out: Plane | None = None) -> Plane:
    """Bilinear resize of an (h, w) plane to `size` (H, W), into `out` where given."""
    return np.asarray(
        cv2.resize(values, (size[1], size[0]), dst=out, interpolation=cv2.INTER_LINEAR), np.float32
    )

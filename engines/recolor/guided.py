"""Edge-aware upsampling: locally affine models of a small picture in the luma, applied to the full-size luma.

Reference: K. He, J. Sun, X. Tang, Guided Image Filtering, TPAMI 35(6), 2013, eq. 5-8; K. He, J. Sun,
Fast Guided Filter, arXiv 1505.00996, 2015. Different here: overlapping windows are averaged by how well
each one's model fits, so that a window that straddles three surfaces says little about any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

SMALL_SIDE_PX = 7
"""Up to which OpenCV is faster at two passes with a kernel than at running sums: 11 to 19 us of a plane of
128x160 in place of 13 to 25."""
MISFIT = 1e-4
"""Residual variance of a window's model at which it counts half; (0.01 of full scale) squared."""

STRIP = 330_000
"""Pixels of a picture that are worked on at once, so that its planes in float32 stay in the caches:
putting luma together takes a fifth less of 1280x720, in three strips, and a third less of 1920x1080."""


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
    variance = box(luma * luma, side)
    variance -= mean * mean
    return Windows(luma, mean, above_zero(variance), side)


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
    covariance = box(value * seen.luma, side)
    covariance -= mean * seen.mean
    slope: Plane = covariance / (seen.variance + np.float32(contrast * contrast))
    offset: Plane = mean - slope * seen.mean
    residual = box(value * value, side)
    residual -= mean * mean
    residual -= np.multiply(slope, covariance, out=covariance)
    weight = above_zero(residual)
    weight += np.float32(MISFIT)
    np.divide(np.float32(MISFIT), weight, out=weight)
    total = box(weight, side)
    slope *= weight
    offset *= weight
    return Affine(box(slope, side) / total, box(offset, side) / total)


def box(values: Plane, side_px: int) -> Plane:
    """Mean over a square window, the picture mirrored at its borders; new."""
    if side_px <= SMALL_SIDE_PX:
        line = _line(side_px)
        mean = cv2.sepFilter2D(values, -1, line, line, borderType=cv2.BORDER_REFLECT)
    else:
        mean = cv2.blur(values, (side_px, side_px), borderType=cv2.BORDER_REFLECT)
    return np.asarray(mean, np.float32)


def above_zero(values: Plane) -> Plane:
    """The values in place, 0 where they are negative: a fifth of the time of numpy's maximum."""
    cv2.threshold(values, 0.0, 0.0, cv2.THRESH_TOZERO, dst=values)
    return values


def enlarge(values: Plane, size: tuple[int, int], out: Plane | None = None) -> Plane:
    """Bilinear resize of an (h, w) plane to `size` (H, W), into `out` where given."""
    return np.asarray(
        cv2.resize(values, (size[1], size[0]), dst=out, interpolation=cv2.INTER_LINEAR), np.float32
    )


def strips(size: tuple[int, int], planes: list[Plane]) -> list[slice]:
    """Rows of a picture (H, W) that are worked on at once, see `STRIP`; all where the height of one of the
    planes that are to be enlarged by `enlarged_rows` does not divide it."""
    count = 1
    if all(size[0] % plane.shape[0] == 0 for plane in planes):
        count = max(1, round(size[0] * size[1] / STRIP))
    return [slice(size[0] * part // count, size[0] * (part + 1) // count) for part in range(count)]


def enlarged_rows(values: Plane, size: tuple[int, int], rows: slice, out: Plane) -> Plane:
    """Those rows of `enlarge(values, size)`, or all; of a height that is a multiple of the plane's.

    Args:
        values: (h, w) float32.
        size: (H, W).
        rows: with a start and a stop.
        out: (H, W) float32 memory that is written to.
    """
    if rows == slice(0, size[0]):
        return enlarge(values, size, out)
    times = size[0] // values.shape[0]
    first = max(rows.start // times - 1, 0)
    last = min(-(-rows.stop // times) + 1, values.shape[0])
    count = (last - first) * times
    made = enlarge(values[first:last], (count, size[1]), out[:count])
    return made[rows.start - first * times : rows.stop - first * times]


@lru_cache(maxsize=8)
def _line(side_px: int) -> Plane:
    return np.full(side_px, 1 / side_px, np.float32)

"""Replaces bad pixels by their neighbors, along edges rather than across; larger holes by inpainting."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

REACH_PX = 6
"""How far a good neighbor is looked for along each of four lines."""
LARGE_PX = 7
"""A hole wider and higher than this is inpainted."""
LINES = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(dy, dx) of the lines through a pixel: row, column, both diagonals."""
MARGIN_PX = 6
"""Picture around a hole that inpainting sees."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class BadPixelReplacement:
    """Where the bad pixels of a sensor are and which good ones stand in for them; computed once."""

    def __init__(self, bad: NDArray[np.bool_]) -> None:
        """Take (H, W) bool, true where a pixel cannot be used."""
        self.size = bad.shape
        large = cv2.morphologyEx(
            bad.astype(np.uint8), cv2.MORPH_OPEN, np.ones((LARGE_PX, LARGE_PX), np.uint8)
        )
        self._holes = [_Hole(bad, box) for box in _boxes(large)]
        inpainted = np.zeros(bad.shape, bool)
        for hole in self._holes:
            inpainted[hole.inner] |= bad[hole.inner]
        self._bad = np.flatnonzero(bad & ~inpainted)
        self._ends, self._weights = _line_ends(bad, self._bad)

    def apply(self, pixels: Pixels) -> None:
        """Replace in place: (H, W) uint8 or uint16, of the size of the map."""
        flat = pixels.reshape(-1)
        if self._bad.size:
            ends = flat[self._ends].astype(np.float32)  # (2, lines, n)
            step = np.abs(ends[0] - ends[1])
            step[self._weights[0] + self._weights[1] == 0] = np.inf
            line = step.argmin(0)[None]
            chosen = np.take_along_axis(ends, line[None], 1)[:, 0]
            weights = np.take_along_axis(self._weights, line[None], 1)[:, 0]
            total = weights.sum(0)
            value = (chosen * weights).sum(0) / np.maximum(total, 1e-6)
            flat[self._bad] = np.where(total > 0, np.rint(value), flat[self._bad]).astype(pixels.dtype)
        for hole in self._holes:
            hole.fill(pixels)


class _Hole:
    """A large hole, filled by Telea's inpainting of its surroundings."""

    def __init__(self, bad: NDArray[np.bool_], box: tuple[int, int, int, int]) -> None:
        x, y, width, height = box
        self.inner = (slice(y, y + height), slice(x, x + width))
        self._outer = (
            slice(max(0, y - MARGIN_PX), y + height + MARGIN_PX),
            slice(max(0, x - MARGIN_PX), x + width + MARGIN_PX),
        )
        self._mask = bad[self._outer].astype(np.uint8)

    def fill(self, pixels: Pixels) -> None:
        around = np.ascontiguousarray(pixels[self._outer])
        pixels[self._outer] = cv2.inpaint(around, self._mask, 3, cv2.INPAINT_TELEA)


def _boxes(mask: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) of every connected area, with the rim that opening took off."""
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(grown)
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h, _ in stats[1:count]]


def _line_ends(
    bad: NDArray[np.bool_], indices: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The nearest good pixels on both sides along each line, and their weights.

    Returns:
        (2, 4, n) flat indices and (2, 4, n) float32 inverse distances, 0 where there is no good pixel;
        lines with a single end count only where no line has both.
    """
    height, width = bad.shape
    rows, columns = np.divmod(indices, width)
    ends = np.zeros((2, len(LINES), indices.size), np.intp)
    weights = np.zeros((2, len(LINES), indices.size), np.float32)
    for number, (dy, dx) in enumerate(LINES):
        for side, sign in enumerate((-1, 1)):
            open_ = np.ones(indices.size, bool)
            for distance in range(1, REACH_PX + 1):
                y, x = rows + sign * dy * distance, columns + sign * dx * distance
                inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                place = np.where(inside, y * width + x, 0)
                found = open_ & inside & ~bad.reshape(-1)[place]
                ends[side, number][found] = place[found]
                weights[side, number][found] = 1 / (distance * np.hypot(dy, dx))
                open_ &= ~found
    both = (weights > 0).all(0)
    single = ~both & both.any(0)
    weights[:, single] = 0
    for side in (0, 1):  # a line with one end repeats it, so that its step is zero
        alone = (weights[side] == 0) & (weights[1 - side] > 0)
        ends[side][alone] = ends[1 - side][alone]
    return ends, weights

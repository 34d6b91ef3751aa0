"""Tracks the column and row offsets of a sensor while it runs, and leaves the scene's own lines alone.

What is looked at is the bend of each line of pixels: a pixel less the mean of its two neighbors. The
scene's slopes have none, its edges are outliers and left out; what all rows have in common at a column is
the bend of the columns' offsets, from which the offsets follow by least squares. A ridge leaves slow
changes across the picture, which are the scene's, alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Line = NDArray[np.float32]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

RIDGE = 0.02
"""Weight that holds offsets at zero; waves of offsets longer than about 12 pixels are left to the scene."""
SAMPLES, SAMPLE_STEP = 100, 4
"""About so many rows (for columns) and columns (for rows) are looked at, but no fewer than every fourth:
what noise leaves in an offset falls with the root of their number."""
OUTLIER = 4.0
"""Bends beyond so many robust standard deviations are edges of the scene."""
RATE = 0.1
"""Share of what is left that a look corrects: about 10 looks to follow a change."""
FEW = 0.2
"""With less than this share of samples free of edges a column's bend is not updated."""


class StripeTracker:
    """Column and row offsets, from frame to frame.

    Attributes:
        size: (H, W) in pixels.
        columns: (W,) float32 counts or levels to add to every column.
        rows: (H,) float32, to every row.
    """

    def __init__(self, size: tuple[int, int], limit: float) -> None:
        """Track offsets up to `limit` counts for pictures of `size` (H, W)."""
        self.size = size
        self.columns: Line = np.zeros(size[1], np.float32)
        self.rows: Line = np.zeros(size[0], np.float32)
        self._limit = limit
        self._bends: list[Line | None] = [None, None]
        self._solvers = [bends_to_offsets(size[1]), bends_to_offsets(size[0])]

    def look(self, pixels: Pixels | NDArray[np.float32], axis: int | None = None) -> None:
        """Learn from one frame, (H, W), that has the present offsets added to it.

        Args:
            pixels: the frame.
            axis: 0 for columns only, 1 for rows only, None for both.
        """
        if axis != 1:
            self.columns = self._learn(
                0, pixels[:: sample_step(self.size[0])].astype(np.float32), self.columns
            )
        if axis != 0:
            across = np.ascontiguousarray(pixels[:, :: sample_step(self.size[1])].T).astype(np.float32)
            self.rows = self._learn(1, across, self.rows)

    def _learn(self, axis: int, lines: NDArray[np.float32], added: Line) -> Line:
        if len(added) < 3:
            return added
        bends = _bends(lines) - _bends(added[None])  # (samples, length - 2)
        known = self._bends[axis]
        if known is None:
            known = np.median(bends, axis=0).astype(np.float32)
            known[np.abs(known) > 2 * self._limit] = 0
        else:
            left = bends - known
            near = np.abs(left) < np.float32(max(OUTLIER * _spread(left[::8].ravel()), 1.0))
            count = near.sum(0)
            mean = np.where(near, left, 0).sum(0) / np.maximum(count, 1)
            change = np.where(count > FEW * len(bends), RATE * mean, 0)
            known = np.asarray(known + change, np.float32)
        self._bends[axis] = known
        return np.clip(-(self._solvers[axis] @ known), -self._limit, self._limit).astype(np.float32)


def sample_step(length: int) -> int:
    """Every so many of `length` lines one is looked at."""
    return min(max(length // SAMPLES, 1), SAMPLE_STEP)


def _bends(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every value less the mean of its two neighbors."""
    return lines[:, 1:-1] - np.float32(0.5) * (lines[:, :-2] + lines[:, 2:])


def prepare(size: tuple[int, int]) -> None:
    """Have at hand what the first look at a picture of `size` (H, W) needs, 11 ms of a 640x512 one."""
    for length in size:
        bends_to_offsets(length)


@lru_cache(maxsize=4)  # 1.6 MB of 640; a camera begins anew now and then, others are of its size
def bends_to_offsets(length: int) -> NDArray[np.float32]:
    """(length, length - 2) float32 that turns bends into offsets, by least squares with a ridge; read-only.

    With D what makes bends of offsets: D'(DD' + ridge)^-1, and DD' is a quarter of the square of the second
    difference, which sine waves diagonalize, but for its two corners. Solved without that, 640 and 512 lines
    took 350 ms of CPU time at a run's first frame; 20 so.
    """
    bends = length - 2
    if bends < 1:  # of one or two lines nothing is known
        return np.zeros((length, 0), np.float32)
    gain = 1 / ((1 - np.cos(np.pi * np.arange(bends + 2) / (bends + 1))) ** 2 + RIDGE)
    gain[[0, -1]] = 0
    wave = np.fft.irfft(gain)  # a product of two sines is a difference of two cosines
    apart = sliding_window_view(np.concatenate([wave[bends - 1 : 0 : -1], wave[:bends]]), bends)[::-1]
    inverse = apart - sliding_window_view(wave[2 : 2 * bends + 1], bends)
    ends = inverse[:, [0, -1]]
    inverse -= ends @ np.linalg.solve(ends[[0, -1]] + 4 * np.eye(2), ends.T)
    half = np.float32(-0.5) * (inverse := inverse.astype(np.float32))
    solver = np.zeros((length, bends), np.float32)
    solver[:-2] = half
    solver[1:-1] += inverse
    solver[2:] += half
    solver.setflags(write=False)
    return solver


def _spread(values: NDArray[np.float32]) -> float:
    """Robust standard deviation about zero."""
    return 1.4826 * float(np.median(np.abs(values)))

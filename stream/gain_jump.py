"""Finds the camera's own jumps of gain and offset: between two frames all values change by one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST = 0.005
"""Share of the span by which its ends must move; less is drift or noise, and left to the memory."""
EXPLAINED = 0.5
"""The line must leave less than this share of the difference; motion leaves nearly all of it."""

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GainJump:
    """New values are `gain` * old values + `offset`."""

    gain: float
    offset: float

    def __call__(self, value: float) -> float:
        """An old value as the camera gives it now."""
        return self.gain * value + self.offset

    def remapped(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """A table over old values, (levels,) float32, as a table over new values; ends are held."""
        old = (np.arange(len(table), dtype=np.float32) - np.float32(self.offset)) / np.float32(self.gain)
        low = np.clip(np.floor(old), 0, len(table) - 1).astype(np.intp)
        high = np.minimum(low + 1, len(table) - 1)
        part = np.clip(old - low, 0, 1)
        return np.asarray(table[low] + (table[high] - table[low]) * part, np.float32)


def find_gain_jump(before: Values, now: Values, limits: tuple[float, float]) -> GainJump | None:
    """The jump between two frames.

    Args:
        before: (n,) values at some pixels of the earlier frame.
        now: (n,) values at the same pixels of the later one.
        limits: (lo, hi) of the scene's values before.

    Returns:
        None where the values did not change, or not by one line: something moved, or it is a cut.
    """
    gain, offset = _line(before, now, limits)
    if _moved(GainJump(gain, offset), limits) < SMALLEST:
        return None  # nearly every frame, and for little
    difference = np.abs(now - before)
    best = np.ones(len(now), bool)
    for _ in range(4):  # the part that moved must not bend the line
        gain, offset = _line(before[best], now[best], limits)
        left = np.abs(now - gain * before - offset)
        best = left <= np.quantile(left, 0.7)
    jump = GainJump(gain, offset)
    most = 2 * np.median(difference)  # what moved must not outweigh the rest
    explained = np.minimum(left, most).mean() < EXPLAINED * np.minimum(difference, most).mean()
    return jump if explained and _moved(jump, limits) > SMALLEST and 0.1 < gain < 10 else None


def _moved(jump: GainJump, limits: tuple[float, float]) -> float:
    """How far the line moves the limits, as a share of their span."""
    return max(abs(jump(limit) - limit) for limit in limits) / (limits[1] - limits[0])


def _line(x: Values, y: Values, limits: tuple[float, float]) -> tuple[float, float]:
    """Gain and offset by least squares; the gain is 1 where the picture is flat."""
    mean_x, mean_y = float(x.mean()), float(y.mean())
    away = x - np.float32(mean_x)
    spread = float(away @ away)
    flat = spread < len(x) * (0.02 * (limits[1] - limits[0])) ** 2
    gain = 1.0 if flat else float(away @ (y - np.float32(mean_y))) / spread
    return gain, mean_y - gain * mean_x

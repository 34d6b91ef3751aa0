"""Finds the camera's own jumps of gain and offset: between two frames all values change alike.

For the tone map's own memory and curve, in sensor values; what it leaves, the temporal stage finds in luma.

Tried on two thermal clips of cameras that map to 8 bits themselves and jump 24 and 18 times (the
frame's mean moves by more than 4 levels): through the linear tone map the mean so jumps 0 and 2 times,
through plateau equalization 0 and 3. Nine other clips, three of them panning, gave 7 finds, 6 of them
in a clip whose mean does move, by up to 3 levels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SMALLEST = 0.005
"""Share of the span by which its ends must move; less is drift or noise, and left to the memory."""
EXPLAINED = 0.5
"""The line must leave less than this share of the difference; motion leaves nearly all of it."""
MOST_NEW, SLACK = 3.0, 0.02
"""What the line leaves may be so many times what the values varied by before it, as two frames' noise is
1.4 times that of one, and this share of the span more."""
ENDS = (0.01, 0.99)
STAYS, MOVES = 0.1, 0.25
"""Of what lies between these quantiles: an end that moved by less than the first share of it has stayed, and
a jump that moves it by more than the second is none."""
STILL = 1.0
"""What differs by no more in 8 bits, or not at all in counts, says nothing of an end: captions that are burnt
in behind the camera's gain stay where they were, give or take what a codec does to them."""

CURVE_BINS = 12
CURVE_FEWEST = 8
"""Values in a bin that its median needs."""

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GainJump:
    """Old values and what the camera gives in their place now, a rising line through some knots.

    Attributes:
        old: (k,) values, rising, k at least 2.
        new: (k,) values, rising.
    """

    old: NDArray[np.float64]
    new: NDArray[np.float64]

    @classmethod
    def line(cls, gain: float, offset: float) -> GainJump:
        """New values are gain * old values + offset."""
        ends = np.array([0.0, 65535.0])
        return cls(ends, gain * ends + offset)

    def __call__(self, value: float) -> float:
        """An old value as the camera gives it now; beyond the knots by the slope between the outermost."""
        return float(_along(np.array([value]), self.old, self.new)[0])

    def remapped(self, table: Values) -> Values:
        """A table over old values, (levels,) float32, as a table over new values; ends are held."""
        old = self._old_values(len(table))
        low = np.clip(np.floor(old), 0, len(table) - 1).astype(np.intp)
        high = np.minimum(low + 1, len(table) - 1)
        part = np.clip(old - low, 0, 1).astype(np.float32)
        return np.asarray(table[low] + (table[high] - table[low]) * part, np.float32)

    def remapped_histogram(self, histogram: Values) -> Values:
        """A histogram over old values as one over new values, of sum 1."""
        width = np.gradient(self._old_values(len(histogram))).astype(np.float32)
        moved = self.remapped(histogram) * width
        return np.asarray(moved / np.float32(max(float(moved.sum()), 1e-12)), np.float32)

    def _old_values(self, levels: int) -> NDArray[np.float64]:
        return _along(np.arange(levels, dtype=np.float64), self.new, self.old)


def find_gain_jump(
    before: Values, now: Values, limits: tuple[float, float], levels: int = 65536
) -> GainJump | None:
    """The jump between two frames.

    Args:
        before: (n,) values at some pixels of the earlier frame.
        now: (n,) values at the same pixels of the later one.
        limits: (lo, hi) of the scene's values before.
        levels: how many values there can be: 256 or 65536.

    Returns:
        None where the values did not change, or not by one curve: something moved, or it is a cut.
    """
    gain, offset = _line(before, now, limits)
    if _moved(GainJump.line(gain, offset), limits) < SMALLEST:
        return None  # nearly every frame, and for little
    difference = np.abs(now - before)
    best = np.ones(len(now), bool)
    for _ in range(4):  # the part that moved must not bend the line
        gain, offset = _line(before[best], now[best], limits)
        left = np.abs(now - gain * before - offset)
        best = left <= np.quantile(left, 0.7)
    most = 2 * median(difference)  # what moved must not outweigh the rest
    rest = float(np.minimum(left, most).mean())
    if rest < EXPLAINED * np.minimum(difference, most).mean():
        # What was black or white all over tells nothing of the picture that takes its place.
        spread = float(np.abs(before - median(before)).mean())
        if rest > MOST_NEW * abs(gain) * spread + SLACK * (limits[1] - limits[0]):
            return None
        jump = GainJump.line(gain, offset) if 0.1 < gain < 10 else None
    else:
        jump = _curve(before, now, limits)
    if jump is None or _moved(jump, limits) <= SMALLEST:
        return None
    return None if _leaves_an_end(jump, before, now, levels) else jump


def median(values: Values) -> np.float32:
    """As numpy's, to the bit, of (n,) values that are numbers: of 300 in a quarter of the time, and there are
    48 of these a frame while something moves."""
    middle = len(values) // 2
    if len(values) % 2:
        return np.float32(np.partition(values, middle)[middle])
    low, high = np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1]
    return np.float32((low + high) / np.float32(2))


def _curve(before: Values, now: Values, limits: tuple[float, float]) -> GainJump | None:
    """A jump that is no line, as of a camera that maps to 8 bits itself: median by median."""
    edges = np.linspace(*limits, CURVE_BINS + 1)
    number = np.digitize(before, edges[1:-1]).astype(np.uint8)
    order, ends = np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=CURVE_BINS))
    sorted_before, sorted_now = before[order], now[order]  # a slice for each bin
    old, new, spread = [], [], []
    for start, end in itertools.pairwise((0, *ends)):
        x, y = sorted_before[start:end], sorted_now[start:end]
        if len(x) >= CURVE_FEWEST:
            change = y - x
            old.append(float(median(x)))
            new.append(float(median(y)))
            spread.append(float(median(np.abs(change - median(change)))))
    if len(old) < 3:
        return None
    shift, noise = np.abs(np.array(new) - np.array(old)), np.array(spread)
    rising = np.maximum.accumulate(np.array(new) + 1e-3 * np.arange(len(new)))
    jump = GainJump(np.array(old), rising)
    width = (limits[1] - limits[0]) / CURVE_BINS
    # an object changes the values of a few bins wholly, or of all bins for a part of the pixels
    bins_moved = float(np.mean(shift > np.maximum(1.5 * noise, width / 8)))
    tolerance = max(4 * float(np.median(noise)), width / 2)
    pixels_agree = float(np.mean(np.abs(now - _along(before, jump.old, jump.new)) < tolerance))
    if bins_moved < 0.6 or pixels_agree < 0.75 or shift.sum() < 2 * noise.sum():
        return None
    return jump if rising[-1] - rising[0] > 4 * noise.max() else None


def _along(
    values: NDArray[np.float64] | Values, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Through the points (x, y), and beyond them by the slope between the outermost."""
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    far = 2**20
    x = np.concatenate([[x[0] - far], x, [x[-1] + far]])
    y = np.concatenate([[y[0] - far * slope], y, [y[-1] + far * slope]])
    return np.asarray(np.interp(values, x, y), np.float64)


def _leaves_an_end(jump: GainJump, before: Values, now: Values, levels: int) -> bool:
    """Whether the picture's brightest or darkest stayed where it was, which the jump would have moved.

    A camera that sets its own contrast anew moves what is dark and leaves people as bright as they are: a
    line through the ground would then cut off all of them. They move; what is burnt in does not.
    """
    moved = np.abs(now - before) > (STILL if levels == 256 else 0)
    if not moved.any():
        return False
    was, is_now = (np.quantile(values[moved], ENDS) for values in (before, now))
    span = min(np.ptp(was), np.ptp(is_now))
    for end, old, new in zip(("low", "high"), was, is_now, strict=True):
        clipped = new <= 0 if end == "low" else new >= levels - 2  # what the bits end at tells nothing
        if not clipped and abs(old - new) < STAYS * span and abs(jump(old) - new) > MOVES * span:
            return True
    return False


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

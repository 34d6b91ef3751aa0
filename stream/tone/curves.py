"""The curves of the tone map: from a histogram of sensor values to luma, linear or plateau-equalized.

A curve is (levels,) float32 luma in [0, 255], never falling, for every value a sensor can give:
levels is 256 for 8-bit pictures and 65536 for counts. Between the limits `lo` and `hi` the curve has
its own shape; beyond them it does not clip but bends into a toe and a shoulder, so that an object far
hotter than the scene keeps its detail without the scene giving up any of its own contrast for it.

Reference: plateau equalization after Vickers, "Plateau equalization algorithm for real-time display
of high-quality infrared imagery", Optical Engineering 35(7), 1996. Here the plateau is a multiple of
the mean density between the limits instead of a count of pixels, a share of the output is kept
linear, what the plateau cuts off is given to all values alike, and toe and shoulder are added.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

TOE = 6.0
"""Levels of luma kept for values below the lower limit."""
SHOULDER = 30.0
"""Levels of luma kept for values above the upper limit."""
HEIGHT = 255.0 - TOE - SHOULDER
"""Levels of luma between the limits."""

PLATEAU = 2.5
"""No value weighs more than so many times the mean density between the limits: 1 is nearly linear, 10 nearly
full equalization."""
LINEAR_SHARE = 0.35
"""Part of plateau equalization's output, in [0, 1], that is given to all values alike."""

DIM_MEDIAN = (38.0, 56.0)
"""Levels: pictures whose median is up to the first are dim, from the second on they are not."""
DIM_SPREAD = (28.0, 44.0)
"""Levels between the quartiles: the same."""
FLAT_SPAN = (44.0, 72.0)
"""Levels between the 0.5 and the 99.5 percent quantiles: up to the first a picture is flat."""

Curve = NDArray[np.float32]


def quantiles(histogram: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values below which the given shares of a histogram lie.

    Args:
        histogram: (levels,) float32 weights, not all zero.
        shares: (n,) in [0, 1], rising.

    Returns:
        (n,) values in [0, levels), each a value whose own weight is not zero.
    """
    side = math.isqrt(len(histogram))  # 16 of 256, 256 of 65536: blocks first, then inside one block
    blocks = histogram.reshape(side, side)
    running = np.cumsum(blocks.sum(axis=1, dtype=np.float64))
    wanted = shares * running[-1] * (1 - 1e-7)
    block = np.minimum(np.searchsorted(running, wanted), side - 1)
    inside = np.cumsum(blocks[block], axis=1, dtype=np.float64)
    left = wanted - running[block] + inside[:, -1]
    value = block * side + np.argmax(inside >= left[:, None] * (1 - 1e-7), axis=1)
    return np.asarray(value, np.float64)


def bend(inner: Curve, lo: float, hi: float, levels: int) -> Curve:
    """Complete a curve beyond its limits by a toe and a shoulder of the same mean slope.

    The toe and the shoulder are t / (1 + t): they go on telling apart what lies many spans away.

    Args:
        inner: (levels,) float32, the curve's shape: 0 at and below `lo`, 1 at and above `hi`.
        lo: lower limit, a sensor value.
        hi: upper limit, above `lo`.
        levels: 256 or 65536.
    """
    span, height = hi - lo, HEIGHT
    curve = TOE + height * inner
    first, last = max(int(np.floor(lo)) + 1, 0), min(int(np.ceil(hi)), levels)
    if first > 0:
        below = _beyond(np.arange(first, 0, -1, dtype=np.float32), lo - first, height / (span * TOE))
        np.subtract(TOE, below * np.float32(TOE), out=curve[:first])
    if last < levels:
        away = np.arange(levels - last, dtype=np.float32)
        above = _beyond(away, last - hi, height / (span * SHOULDER))
        np.add(255.0 - SHOULDER, above * np.float32(SHOULDER), out=curve[last:])
    return np.clip(curve, 0.0, 255.0, out=curve)


def _beyond(away: Curve, start: float, slope: float) -> Curve:
    """t / (1 + t) for t = (away + start) * slope, in place."""
    away += np.float32(start)
    away *= np.float32(slope)
    away /= away + np.float32(1)
    return away


def linear_curve(lo: float, hi: float, levels: int) -> Curve:
    """A straight line between the limits, bent beyond them."""
    ramp = (np.arange(levels, dtype=np.float32) - np.float32(lo)) * np.float32(1 / (hi - lo))
    return bend(np.clip(ramp, 0.0, 1.0, out=ramp), lo, hi, levels)


def lift_share(histogram: NDArray[np.float32]) -> float:
    """How much an 8-bit picture needs to be spread, [0, 1], by its (256,) histogram.

    It does where most of it is dark and alike, as with a thermal camera that leaves room for the hottest
    thing there is, or where all of it lies within few levels. Of 560 NIR pictures by day none is, of 158
    thermal ones from a car none; eight clips of a thermal camera at dusk and by night, seven are wholly.
    """
    low, first, middle, third, high = quantiles(histogram, np.array([0.005, 0.25, 0.5, 0.75, 0.995]))
    dim = np.interp(middle, DIM_MEDIAN, (1.0, 0.0)) * np.interp(third - first, DIM_SPREAD, (1.0, 0.0))
    flat = np.interp(high - low, FLAT_SPAN, (1.0, 0.0))
    return float(max(dim, flat))


def lifted_curve(spread: Curve, share: float) -> Curve:
    """The identity, moved by `share` towards the curve `spread`, (256,) float32 each."""
    as_it_is = np.arange(len(spread), dtype=np.float32)
    return np.asarray(as_it_is + np.float32(share) * (spread - as_it_is), np.float32)


def span_curve(lo: float, hi: float, levels: int) -> Curve:
    """The exact line of a manual span: `lo` is 0, `hi` is 255, clipped beyond."""
    ramp = (np.arange(levels, dtype=np.float32) - np.float32(lo)) * np.float32(255 / (hi - lo))
    return np.clip(ramp, 0.0, 255.0, out=ramp)


def plateau_curve(histogram: NDArray[np.float32], lo: float, hi: float, steepest: float) -> Curve:
    """Histogram equalization whose slope is held below a plateau, between the limits.

    Args:
        histogram: (levels,) float32 weights.
        lo: lower limit, a sensor value.
        hi: upper limit, above `lo`.
        steepest: levels of luma for one sensor value that the curve never exceeds, unless a straight line
            between the limits does.
    """
    levels = len(histogram)
    first = max(int(np.floor(lo)), 0)
    last = max(min(int(np.ceil(hi)), levels - 1), first + 1)
    inside = histogram[first : last + 1]
    grain = (last - first) // 64
    if grain >= 2:  # sparse samples over a wide span: weigh neighbors, not single values
        inside = cv2.blur(inside[None], (grain | 1, 1), borderType=cv2.BORDER_REPLICATE)[0]
    mean = float(inside.mean())
    shape = np.zeros(levels, np.float32)
    if mean <= 0.0:
        return linear_curve(lo, hi, levels)
    density = np.minimum(inside * np.float32(1 / mean), np.float32(PLATEAU))
    density += 1 - density.mean()  # what the plateau cuts off is given to all values alike
    allowed = (steepest * (hi - lo) / HEIGHT - LINEAR_SHARE) / max(1 - LINEAR_SHARE, 1e-6)
    most = float(density.max())
    if most > allowed:
        density = 1 + (density - 1) * np.float32(max(allowed - 1, 0.0) / max(most - 1, 1e-6))
    running = np.cumsum(density, dtype=np.float64)
    running = (running - running[0]) / (running[-1] - running[0])
    ramp = np.clip((np.arange(first, last + 1) - lo) / (hi - lo), 0.0, 1.0)
    shape[first : last + 1] = (1 - LINEAR_SHARE) * running + LINEAR_SHARE * ramp
    shape[last + 1 :] = 1.0
    return bend(shape, lo, hi, levels)

"""The tone map's memory: a slow histogram of the scene, the limits drawn from it, and how fast to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.tone.curves import quantiles
from irchroma.stream.tone.gain_jump import GainJump

LEARN_NS = 100_000_000
"""The memory learns at most every so often; a frame in between is only compared with it."""
LONGEST_STEP_S = 2.0
"""After a longer silence the memory steps no further than this."""
LOW, HIGH = 0.5, 99.5
"""Percentiles of the scene that set the limits."""
LEAST_SPAN_COUNTS, LEAST_SPAN_LEVELS = 64.0, 24.0
"""The limits are never closer than this, so that a flat scene's noise stays small."""
SETTLE_S, FOLLOW_S = 20.0, 0.5
"""Time constants in a scene that is only being walked through, and after it has changed as a whole."""
CALM_SPEED = 0.3
"""Levels a second, the fastest that luma moves in a calm scene."""
DEAD_BAND = 4.0
"""Levels by which the curve may be off before it moves at all."""
STRANGE = 0.85
"""Share of the picture that must have other values for the memory to start afresh."""
CALM, CHANGED = 0.3, 0.6
"""Share of the picture with other values up to which a scene is calm, and from which it is another."""
RUSH = 2000.0
"""How much faster than in a calm scene luma may move in another: a whole range in half a second."""

_STEPS, _SOFTEN = np.arange(49.0), np.array([1, 4, 6, 4, 1]) / 16

Histogram = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CurveStep:
    """How far the curve may go after one look.

    Attributes:
        share: of the way to its target, by the time constant.
        furthest: levels.
    """

    share: float
    furthest: float


class SceneMemory:
    """What a scene's sensor values have been. Histograms are (levels,) float32 of sum 1.

    Attributes:
        histogram: the slow histogram.
        limits: the sensor values for the ends of the scene; they follow it.
    """

    def __init__(self, seen: Histogram, pts_ns: int, span: float = 0.0) -> None:
        """Start from one frame's histogram; the limits are at least `span` apart, see `require_span`."""
        self._least_span = LEAST_SPAN_COUNTS if len(seen) > 256 else LEAST_SPAN_LEVELS
        self._min_span = max(self._least_span, span)
        self.histogram = self._settled = seen
        self.limits = self._ends(seen)
        self.learned_ns = pts_ns
        self._age_s = 0.0
        self._goals = self.limits

    def require_span(self, span: float) -> None:
        """From the next look on, the limits are to be at least so far apart (or the least span)."""
        self._min_span = max(self._least_span, span)

    def is_strange(self, seen: Histogram, differs: float) -> bool:
        """True where a frame, which `differs` so much, has nearly nothing of the values that are remembered.

        Which is no cut: another scene may have the same values (those of two synthetic cuts had), and a lamp
        that goes on is no other scene.
        """
        return differs > STRANGE and change(self.histogram, seen, self.limits) > STRANGE

    def differs(self, seen: Histogram) -> float:
        """How much of the picture has other values than those that the curve was made for, [0, 1]."""
        return change(self._settled, seen, self.limits)

    def is_due(self, pts_ns: int) -> bool:
        """Whether the next look is due."""
        return pts_ns - self.learned_ns >= LEARN_NS

    def learn(self, seen: Histogram, pts_ns: int) -> CurveStep | None:
        """Take in a frame's histogram; None while the next look is not due."""
        if not self.is_due(pts_ns):
            return None
        dt_s = min((pts_ns - self.learned_ns) * 1e-9, LONGEST_STEP_S)
        self.learned_ns = pts_ns
        self._age_s += dt_s
        changed = change(self._settled, seen, self.limits)
        urgency = min(max((changed - CALM) / (CHANGED - CALM), 0.0), 1.0)
        settle_s = min(SETTLE_S, max(self._age_s, FOLLOW_S))
        hurry = min(2 * urgency, 1.0)  # the memory must be ahead of the curve, which is held to a speed
        part = 1 - math.exp(-dt_s / (settle_s ** (1 - hurry) * FOLLOW_S**hurry))
        self.histogram = cv2.addWeighted(self.histogram, 1 - part, seen, part, 0).ravel()
        step = CurveStep(1 - math.exp(-dt_s / FOLLOW_S), CALM_SPEED * RUSH**urgency * dt_s)
        self._move_limits(seen, step)
        return step

    def follow(self, jump: GainJump) -> bool:
        """The camera's values have jumped: remember the scene as it would have looked in the new ones.

        Returns:
            False where it was not followed, as the scene would have too small a span left (a fade to
            black is a row of such jumps, and its noise is not worth showing).
        """
        lo, hi = jump(self.limits[0]), jump(self.limits[1])
        if hi - lo < self._least_span:
            return False
        same = self._settled is self.histogram
        self.histogram = jump.remapped_histogram(self.histogram)
        self._settled = self.histogram if same else jump.remapped_histogram(self._settled)
        self.limits = (lo, hi)
        return True

    def settle(self) -> None:
        """The curve fits the memory: from now on, changes are told against it as it is."""
        near = DEAD_BAND / 255 * (self.limits[1] - self.limits[0])
        if all(abs(goal - limit) <= near for goal, limit in zip(self._goals, self.limits, strict=True)):
            self._settled = self.histogram

    def _move_limits(self, seen: Histogram, step: CurveStep) -> None:
        """Towards what the memory and the frame itself both ask for: an object that has just come, or
        has just gone, moves nothing."""
        slow, now = self._ends(self.histogram), self._ends(seen)
        lo, hi = (sorted(ends)[1] for ends in zip(self.limits, slow, now, strict=True))
        self._goals = (lo, hi)
        furthest = step.furthest / 255 * (self.limits[1] - self.limits[0])
        lo, hi = (
            limit + min(max(step.share * (goal - limit), -furthest), furthest)
            for limit, goal in zip(self.limits, self._goals, strict=True)
        )
        self.limits = (lo, hi)

    def _ends(self, histogram: Histogram) -> tuple[float, float]:
        """The limits that a histogram asks for."""
        lo, hi = quantiles(histogram, np.array([LOW, HIGH]) / 100)
        span = min(self._min_span, len(histogram) - 1.0)
        if hi - lo < span:
            lo = min(max((lo + hi - span) / 2, 0.0), len(histogram) - 1 - span)
            hi = lo + span
        return float(lo), float(hi)


def change(settled: Histogram, seen: Histogram, limits: tuple[float, float]) -> float:
    """How much of the picture has other values than it had: 1 - overlap of the histograms, [0, 1].

    An object that covers a tenth of the picture gives 0.1, whatever its heat; a gain jump nearly 1.
    The histograms are compared in coarse, softened bins so that noise and a small drift count little.
    """
    lo, hi = limits
    first, last = lo - (hi - lo) / 2, hi + (hi - lo)
    edges = first + _STEPS * ((last - first) / (len(_STEPS) - 1))
    starts = np.clip(edges, 0, len(settled) - 1).astype(np.intp)
    starts = np.append(0, starts[1:][starts[1:] > starts[:-1]])
    one = np.convolve(np.add.reduceat(settled, starts), _SOFTEN)
    other = np.convolve(np.add.reduceat(seen, starts), _SOFTEN)
    return float(1 - np.minimum(one, other).sum())

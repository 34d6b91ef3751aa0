"""How far a pixel's past may be trusted: whether its luma agrees with where it came from."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]

WINDOW_PX = 3
"""Differences are averaged with their sign over this window: noise and misplaced edges average out,
another surface does not."""
NOISE_LIMITS = (0.15, 3.0)
NOISE_MEMORY = 0.1
LOCAL_MEMORY = 0.05
LOCAL_LIMIT = 1.2
"""Highest local noise, gray levels: where people come and go all the time it must not hide them."""
MOVING_EDGE = 40.0
"""Contrast of a moving edge, gray levels, beside which color is trusted half."""
REPEATED = 0.2
"""Share of the usual difference between frames below which a frame counts as a repetition."""
REPEATED_LEVELS = 6
"""Largest difference of any pixel of a repetition: something small that moves is no freeze."""


class Agreement:
    """Compares half-size luma with its prediction; learns the sensor's noise while it does so."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._noise: float | None = None
        self._local: dict[tuple[int, ...], Plane] = {}
        self._usual_difference: float | None = None

    def resize(self) -> None:
        """Pictures come at another size from now on, in which noise makes another difference."""
        self._local.clear()
        self._usual_difference = None

    @property
    def noise(self) -> float:
        """Median difference of matching windows, gray levels."""
        return NOISE_LIMITS[0] if self._noise is None else self._noise

    def repeats(self, previous: Luma, current: Luma) -> bool:
        """Whether the frame is the one before over again: equal, or far nearer than noise would allow."""
        difference = float(cv2.norm(previous, current, cv2.NORM_L1)) / current.size
        if difference == 0.0:
            return True
        usual = self._usual_difference
        alike = usual is not None and difference < min(REPEATED * usual, 0.3)
        if alike and cv2.norm(previous, current, cv2.NORM_INF) <= REPEATED_LEVELS:
            return True
        self._usual_difference = difference if usual is None else usual + 0.05 * (difference - usual)
        return False

    def changed(self, previous: Luma, current: Luma, slack: Plane | None = None) -> Luma:
        """(h, w) uint8, 255 where two frames differ in place by more than noise (and slack, see `trust`)."""
        difference = cv2.blur(cv2.absdiff(previous, current), (3, 3)).astype(np.float32)
        bound = np.float32(2.0) + np.float32(4.0) * self._local_noise(difference)
        if slack is not None:
            bound += slack
        return cast(Luma, cv2.compare(difference, bound, cv2.CMP_GT))

    def trust(self, predicted: Luma, current: Luma, slack: Plane | None = None) -> tuple[Plane, Plane]:
        """How far the prediction of the luma holds, and the difference up to which it counts as holding.

        Args:
            predicted: (hh, hw) uint8, the last frame moved to this one.
            current: (hh, hw) uint8 in the same gain.
            slack: (hh, hw) float32, levels by which `current` may be off for a known reason.

        Returns:
            (hh, hw) float32, 1 where it holds, 0 where something else is there now; and (hh, hw) float32
            gray levels.
        """
        off = np.abs(_window_mean(cv2.subtract(current, predicted, dtype=cv2.CV_16S)))
        self._learn(off)
        edges = cv2.morphologyEx(current, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        bound = self._local_noise(off) * np.float32(3.0)
        bound += np.float32(0.8) + np.float32(0.05) * edges.astype(np.float32)
        if slack is not None:
            bound += slack
        return fade(off, bound), bound

    def _learn(self, off: Plane) -> None:
        low, high = NOISE_LIMITS
        sample = off[::4, ::4].ravel()
        middle = sample.size // 2  # numpy's median, at a third of its time
        pair = np.partition(sample, (max(middle - 1, 0), middle))
        median = float(pair[middle]) if sample.size % 2 else float(pair[middle - 1] + pair[middle]) / 2
        now = min(max(median, low), high)
        self._noise = now if self._noise is None else self._noise + NOISE_MEMORY * (now - self._noise)

    def _local_noise(self, off: Plane) -> Plane:
        """The usual difference at each pixel, gray levels: sensors and codecs are noisier in some places."""
        usual = self._local.get(off.shape)
        if usual is None or self._noise is None:
            usual = np.full(off.shape, self.noise, np.float32)
        else:
            # What is far from usual (something moves there) counts as twice the usual at most.
            now = np.minimum(off, 2.0 * usual + np.float32(0.1))
            usual = cv2.addWeighted(usual, 1.0 - LOCAL_MEMORY, now, LOCAL_MEMORY, 0.0)
            usual = np.clip(usual, self.noise, max(LOCAL_LIMIT, self.noise))
        self._local[off.shape] = usual
        return usual


def trust_reference(reference: Plane, shown: Plane, tolerance: Plane) -> Plane:
    """(hh, hw) float32 trust against the luma that a pixel's gathered color belongs to, so that a change of
    what is there that is too slow for neighboring frames to disagree ends the trust as well.

    Args:
        reference: (hh, hw) float32 displayed levels, gathered with the color.
        shown: (hh, hw) float32 displayed levels now.
        tolerance: (hh, hw) float32 gray levels, of `Agreement.trust`.
    """
    return fade(np.abs(_window_mean(shown - reference)), np.float32(2.2) * tolerance)


def trust_moving_edges(luma: Luma, moving: Luma) -> Plane:
    """(h, w) float32 trust beside edges that move: color that is carried half a pixel wide of one is wrong
    by as much as the edge is strong, and nobody sees color settle there.

    Args:
        luma: (h, w) uint8.
        moving: (h, w) uint8, 255 where the picture moves.
    """
    edges = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    strength = cv2.bitwise_and(edges, moving).astype(np.float32) * np.float32(1.0 / MOVING_EDGE)
    return cast(Plane, 1.0 / (1.0 + strength * strength))


def fade(value: Plane, bound: Plane) -> Plane:
    """(h, w) float32: 1 up to `bound`, falling to 0 at 2.5 times it."""
    fallen = value / bound
    fallen *= np.float32(-1 / 1.5)
    fallen += np.float32(2.5 / 1.5)
    return cast(Plane, np.clip(fallen, 0.0, 1.0, out=fallen))


def _window_mean(values: NDArray[np.int16] | Plane) -> Plane:
    mean = cv2.boxFilter(values, cv2.CV_32F, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT)
    return cast(Plane, mean)

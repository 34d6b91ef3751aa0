"""Finds dead, stuck and blinking pixels in a recording, of a uniform view or of any scene.

Dead and stuck pixels do not change while their neighbors do; dead ones sit at the bottom of the range.
Blinking ones leave their neighborhood's range of values in some frames and come back. A pixel of the scene
does neither: a small bright thing is as noisy as what is beside it, and does not come and go.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.stream.sensor.profile import BLINKING, DEAD, GOOD, STUCK

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

FEWEST_FRAMES = 16
STILL_SHARE = 0.3
"""A pixel whose standard deviation is below this share of the calmest others' does not change."""
LEAST_NOISE = 0.25
"""Standard deviation that rounding alone gives, about."""
CROWD_PX, CROWD, CROWD_IN_VIDEO = 7, 9, 5
"""In a square of that side so many still pixels are no fault of the sensor; clusters are smaller."""
OUT_LEVELS = 2.5
"""8-bit video is coarse and mostly was compressed, so that good pixels stand still too: a bad one must also
differ from its neighborhood by so many levels."""
JUMP = 10.0
"""Robust standard deviations of the picture's residual, above local contrast, that no noise reaches."""
CONTRAST = 3.0
"""Local mean deviations from the median that an edge may reach."""
CLEARLY = 0.15
"""Share of the picture's range of values that a jump must reach to be worth correcting."""
LEAN = 0.15
"""Share of a point's height that the highest of its four neighbors has at least, if a lens has drawn it."""
BLINKS_FROM = 0.03
"""Share of frames in which a blinking pixel jumps, at least."""
ALWAYS = 0.97
"""Share of frames from which a jump is no blinking but a stuck pixel that carries noise."""
BOTTOM = 0.02
"""A pixel that does not change is dead below this share of its neighborhood's value, else stuck."""


@dataclass(frozen=True, slots=True)
class BadPixels:
    """What was found.

    Attributes:
        kinds: (H, W) uint8, `GOOD`, `DEAD`, `STUCK` or `BLINKING`.
        frames: how many were looked at.
        mean: (H, W) float32, the recording's mean picture.
    """

    kinds: NDArray[np.uint8]
    frames: int
    mean: NDArray[np.float32]

    def count(self, kind: int) -> int:
        """How many pixels are of that kind."""
        return int((self.kinds == kind).sum())


class BadPixelFinder:
    """Looks at frame after frame; memory does not grow."""

    def __init__(self) -> None:
        self._frames = 0
        self._last: Pixels | None = None
        self._first: NDArray[np.float32] | None = None
        self._empty = np.zeros((0, 0), np.float32)
        self._sum = self._squares = self._jumps = self._empty

    def add(self, pixels: Pixels) -> None:
        """Look at one frame, (H, W) uint8 or uint16; one that repeats the last is left out.

        Raises:
            CalibrationError: its size differs, or it is in color.
        """
        if pixels.ndim != 2:
            raise CalibrationError("bad pixels are looked for in infrared, this recording is in color")
        if self._last is not None and self._last.shape != pixels.shape:
            raise CalibrationError(f"the picture's size changed from {self._last.shape} to {pixels.shape}")
        if self._last is not None and np.array_equal(pixels, self._last):
            return
        self._last = pixels
        values = pixels.astype(np.float32)
        if self._first is None:
            self._first = values
            self._sum, self._squares, self._jumps = (np.zeros_like(values) for _ in range(3))
        difference = values - self._first
        self._sum += difference
        self._squares += difference * difference
        residual = values - cv2.medianBlur(pixels, 5).astype(np.float32)
        size = np.abs(residual)
        contrast = cv2.medianBlur(size, 5)
        noise = 1.4826 * float(np.median(size)) + 0.5
        limit = np.maximum(JUMP * noise + CONTRAST * contrast, CLEARLY * _range(values))
        candidates = np.flatnonzero(size > limit)
        self._jumps.reshape(-1)[candidates[_alone(residual, candidates)]] += 1
        self._frames += 1

    def result(self) -> BadPixels:
        """What was found so far.

        Raises:
            CalibrationError: too few different frames.
        """
        if self._first is None or self._frames < FEWEST_FRAMES:
            raise CalibrationError(
                f"only {self._frames} different frames, bad pixels need {FEWEST_FRAMES}: record a few seconds"
            )
        count = np.float32(self._frames)
        mean = self._sum / count
        deviation = np.sqrt(np.maximum(self._squares / count - mean * mean, 0.0))
        mean = mean + self._first
        around = _median(deviation)
        level = _median(mean)
        changing = deviation[deviation > 0]
        noise = max(float(np.quantile(changing, 0.01)) if changing.size else 0.0, LEAST_NOISE)
        still = (deviation < STILL_SHARE * noise) & (around > 0.5 * noise)
        crowd = cv2.blur(still.astype(np.float32), (CROWD_PX, CROWD_PX)) * CROWD_PX**2
        still &= crowd < CROWD  # whole blocks that stand still are the work of a video encoder
        if self._last is not None and self._last.dtype == np.uint8:
            still &= (np.abs(mean - level) > OUT_LEVELS) & (crowd < CROWD_IN_VIDEO)
        jumps = self._jumps / count
        kinds = np.full(mean.shape, GOOD, np.uint8)
        kinds[(jumps >= BLINKS_FROM) & (jumps < ALWAYS) & (deviation > 1.2 * around)] = BLINKING
        kinds[jumps >= ALWAYS] = STUCK
        kinds[still] = STUCK
        kinds[(kinds == STUCK) & (mean < BOTTOM * level)] = DEAD
        return BadPixels(kinds, self._frames, np.asarray(mean, np.float32))


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(values, np.float32), 5), np.float32)


def _range(values: NDArray[np.float32]) -> float:
    """Range of the picture's values without their outermost hundredths."""
    low, high = np.quantile(values[::8, ::8], (0.01, 0.99))
    return float(high - low)


def _alone(residual: NDArray[np.float32], indices: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of these pixels stand out alone: a point that a lens draws makes its neighbors lean."""
    height, width = residual.shape
    rows, columns = np.divmod(indices, width)
    own = residual[rows, columns]
    lean = np.zeros(indices.size, np.float32)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
        inside = (y != rows) | (x != columns)
        lean = np.maximum(lean, np.where(inside, residual[y, x] * np.sign(own), 0))
    return np.asarray(lean < LEAN * np.abs(own))

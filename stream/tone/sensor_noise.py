"""What the sensor itself adds to a picture: how strong its noise is, and stripes, which are taken out.

Noise is what is left in the smoothest parts of a picture. In space it is the checker of 2x2 pixels, which
slopes, edges along the grid and stripes do not have; in time the difference of two frames. Either is measured
in each of 8x8 parts of the picture, and a low quantile over the parts is believed: texture and motion fill
some of the parts, noise fills them all.

Reference: J. Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996, for the mean of absolute
differences as a measure; here of 2x2 pixels, in parts of the picture.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.sensor.stripes import StripeTracker, sample_step

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

PARTS = 8
"""The picture is looked at in so many parts each way."""
QUADS = 12
"""Blocks of 2x2 pixels that are read in a part, each way."""
SMOOTHEST = 0.1
"""Quantile over the parts."""
MEAN_TO_DEVIATION = math.sqrt(math.pi / 2)
"""Standard deviation over mean absolute value of a normal distribution."""
ROUNDING = 1 / math.sqrt(12)
"""Standard deviation of rounding to whole values, below which nothing is known of noise."""
LOOK_EVERY_S = 0.2
"""Frames in between are not looked at."""
SETTLE_S = 5.0
"""Time constant over which the noise is averaged."""


class NoiseMeter:
    """Watches one sensor. `deviation` is in its own values: counts, or levels of 8-bit luma."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the sensor; the next frame says at once what it has."""
        self._deviation: float | None = None
        self._before: NDArray[np.float32] | None = None
        self._elapsed_s = LOOK_EVERY_S

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise of a pixel, sensor values; that of rounding before a frame."""
        return ROUNDING if self._deviation is None else max(self._deviation, ROUNDING)

    def scale(self, gain: float) -> None:
        """The camera's gain has jumped by this factor: so has its noise."""
        if self._deviation is not None:
            self._deviation *= gain
        self._before = None

    def look(self, pixels: Pixels, elapsed_s: float) -> None:
        """Learn from one frame.

        Args:
            pixels: (H, W) uint8 or uint16.
            elapsed_s: seconds since the last call.
        """
        self._elapsed_s += elapsed_s
        if self._elapsed_s < LOOK_EVERY_S:
            return
        elapsed_s, self._elapsed_s = self._elapsed_s, 0.0
        quads = _quads(pixels)
        if quads is None:
            return
        checker = (quads[0] - quads[1] - quads[2] + quads[3]) * np.float32(0.5)
        now = _smoothest(checker)
        first, before = quads[0], self._before
        self._before = first
        if before is not None and before.shape == first.shape:
            moved = (first - before) * np.float32(math.sqrt(0.5))
            moved -= _medians(moved)  # a drift is no noise
            # What codecs smooth in space still trembles in time; a pan moves all parts, and is no noise.
            now = max(now, min(_smoothest(moved), 2 * max(now, ROUNDING)))
        if self._deviation is None:
            self._deviation = now
        else:
            self._deviation += (now - self._deviation) * (1 - math.exp(-elapsed_s / SETTLE_S))


def _quads(pixels: Pixels) -> NDArray[np.float32] | None:
    """(4, PARTS, n, PARTS, n) float32: the four pixels of blocks of 2x2 on a grid; None of small pictures."""
    height, width = pixels.shape
    steps = [max(2, side // (PARTS * QUADS)) for side in (height, width)]
    counts = [(side // step) // PARTS * PARTS for side, step in zip((height, width), steps, strict=True)]
    if min(counts) < 4 * PARTS:
        return None
    planes = [
        pixels[y : counts[0] * steps[0] : steps[0], x : counts[1] * steps[1] : steps[1]]
        for y in (0, 1)
        for x in (0, 1)
    ]
    shape = (4, PARTS, counts[0] // PARTS, PARTS, counts[1] // PARTS)
    return np.stack(planes).astype(np.float32).reshape(shape)


def _smoothest(values: NDArray[np.float32]) -> float:
    """Standard deviation in the smoothest parts of (PARTS, n, PARTS, n) values of mean 0."""
    parts = np.abs(values).mean(axis=(1, 3)) * MEAN_TO_DEVIATION
    at, share = divmod(SMOOTHEST * (parts.size - 1), 1.0)  # numpy's quantile, at a tenth of its time
    below, above = np.partition(parts.ravel(), (int(at), int(at) + 1))[int(at) : int(at) + 2]
    return float(below + share * (above - below))


def _medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(PARTS, 1, PARTS, 1) of (PARTS, n, PARTS, m) values."""
    flat = values.transpose(0, 2, 1, 3).reshape(PARTS, PARTS, -1)  # a copy
    count = flat.shape[2]
    pair = np.partition(flat, ((count - 1) // 2, count // 2), axis=2)
    middle = pair[..., (count - 1) // 2] + pair[..., count // 2]
    return np.asarray(middle * np.float32(0.5), np.float32)[:, None, :, None]


STRIPE_LIMIT = 3.0
"""Largest offset of a column or row that counts as the sensor's, in deviations of its noise."""
STRIPE_SEEN, STRIPE_GONE = 2.0, 1.4
"""Strength of the stripes, in what noise alone makes of no stripes, from which they are taken out, and below
which no more."""
NOISE_MAKES = 1.6
"""Deviation of the offsets that noise of deviation 1 makes where one line is looked at, measured; of n lines
one part in the root of n."""
LOOK_EVERY = 3
"""Columns and rows are looked at in turn, in every third frame."""
FADE_LOOKS = 8
"""Looks over which stripes that were found go away, and come back: a step would be seen."""


class StripeRemoval:
    """Finds the stripes of a sensor whose camera says nothing of any, and takes them out of counts.

    Of a picture that stands alone nothing is taken: its own lines are no stripes.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._tracker: StripeTracker | None = None
        self._bias: NDArray[np.int16] | None = None
        self._number = 0
        self._share = 0.0
        self._found = False

    def apply(self, counts: NDArray[np.uint16], deviation: float, held: bool = False) -> NDArray[np.uint16]:
        """The counts without stripes, new; themselves where none were found.

        Args:
            counts: (H, W) uint16, not written to.
            deviation: of the noise, counts.
            held: the camera repeats a picture: nothing is learned from it.
        """
        if min(counts.shape) < 4 * PARTS:
            return counts
        if not held:
            if self._number % LOOK_EVERY == 0:
                self._look(counts, deviation)
            self._number += 1
        if self._bias is None:
            return counts
        return np.asarray(cv2.add(counts, self._bias, dtype=cv2.CV_16U), np.uint16)

    def _look(self, counts: NDArray[np.uint16], deviation: float) -> None:
        tracker, first = self._tracker, self._tracker is None
        if tracker is None or tracker.size != counts.shape:
            tracker = StripeTracker((counts.shape[0], counts.shape[1]), STRIPE_LIMIT * deviation)
            self._tracker, first = tracker, True
        offset = tracker.columns[None] + tracker.rows[:, None]
        tracker.look(counts + offset, None if first else self._number // LOOK_EVERY % 2)
        strength = max(
            float(offsets.std()) * math.sqrt(across / sample_step(across))
            for offsets, across in zip((tracker.columns, tracker.rows), counts.shape, strict=True)
        ) / (NOISE_MAKES * max(deviation, ROUNDING))
        self._found = strength > (STRIPE_GONE if self._found else STRIPE_SEEN)
        if first:
            return
        way = (1.0 if self._found else 0.0) - self._share
        self._share += min(max(way, -1 / FADE_LOOKS), 1 / FADE_LOOKS)
        if self._share <= 0.0:
            self._bias = None
            return
        offset = (tracker.columns[None] + tracker.rows[:, None]) * np.float32(self._share)
        self._bias = np.rint(offset).astype(np.int16)

"""The sensor of a synthetic camera: from a clean picture to counts or luma with all that is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.options import SyntheticOptions
from irchroma.stream.synthetic.texture import Plane

DRIFT_PERIOD_S = 60.0
"""Period of the sine by which the gain drifts."""
GOOD, DEAD, STUCK, BLINKING = range(4)
"""Values of the defect truth."""
SPREAD_PX = 256  # room by which the noise bank is larger than a picture: 65536 different frames of noise


@dataclass(frozen=True, slots=True)
class CountScale:
    """What a count means: celsius = counts / per_kelvin + offset_celsius.

    Attributes:
        per_kelvin: counts.
        offset_celsius: temperature of count 0.
        top: the largest count.
        absolute: true where the camera promises this scale (radiometric).
    """

    per_kelvin: float
    offset_celsius: float
    top: int
    absolute: bool

    def celsius_to_counts(self, celsius: Plane) -> Plane:
        """Degrees Celsius to counts, not yet rounded or clipped."""
        return (celsius - np.float32(self.offset_celsius)) * np.float32(self.per_kelvin)


SCALES = {
    "tlinear": CountScale(25.0, -273.15, 16383, True),  # FLIR Tau 2, TLinear high resolution: 0.04 K, 14 bits
    "lepton": CountScale(100.0, -273.15, 65535, True),  # FLIR Lepton 3.5, TLinear: 0.01 K, 16 bits
    "raw14": CountScale(50.0, 20 - 8192 / 50, 16383, False),  # without radiometry, near mid-range at 20
}


class SyntheticSensor:
    """Noise and faults of one camera; the same for the same seed, frame and size.

    Values are counts (thermal) or levels (nir): float32 in, rounded and clipped out.
    """

    def __init__(self, options: SyntheticOptions, size: tuple[int, int]) -> None:
        self._options, self.size = options, size
        self.scale = SCALES[options.scale] if options.band == "thermal" else None
        self.top = self.scale.top if self.scale else 255
        rng = np.random.default_rng((options.seed, 77, *size))
        large = (size[0] + SPREAD_PX, size[1] + SPREAD_PX)
        self._bank = rng.standard_normal(large, np.float32)
        self.pattern = np.zeros(size, np.float32)
        """(H, W) float32 offsets that never change: pixels plus stripes, counts or levels."""
        if options.fpn:
            self.pattern += options.fpn * rng.standard_normal(size, np.float32)
        if options.stripes:
            self.pattern += options.stripes * rng.standard_normal((1, size[1]), np.float32)
            self.pattern += 0.5 * options.stripes * rng.standard_normal((size[0], 1), np.float32)
        self.defects = _defects(rng, options.dead, size)
        self._bad = {kind: np.flatnonzero(self.defects.ravel() == kind) for kind in (DEAD, STUCK, BLINKING)}
        self._stuck = rng.uniform(0.25, 1.0, self._bad[STUCK].size) * self.top

    def expose(self, clean: Plane, number: int, time_s: float) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """One picture.

        Args:
            clean: (H, W) float32 counts or levels; not written to.
            number: of the frame, for its noise.
            time_s: its time, for drift, jumps and the shutter.
        """
        options = self._options
        rng = np.random.default_rng((options.seed, 5, number))
        gain, offset = self.gain_at(time_s)
        middle = self.middle
        signal = cv2.addWeighted(clean, gain, self._noise(rng), self.noise_sd, middle * (1 - gain) + offset)
        if options.fpn or options.stripes:
            signal += self.pattern
        if options.ffc_every_s and options.fpn:
            signal += 0.3 * options.fpn * self._shutter_rest(time_s)
        if options.dead:
            flat = signal.reshape(-1)
            flat[self._bad[DEAD]] = 0
            flat[self._bad[STUCK]] = self._stuck
            off = self._bad[BLINKING][rng.random(self._bad[BLINKING].size) < 0.5]
            flat[off] = self.top * (rng.random(off.size) < 0.5)
        return self.store(signal)

    @property
    def noise_sd(self) -> float:
        """Temporal noise in counts or levels."""
        return self._options.noise_sd * (self.scale.per_kelvin if self.scale else 1.0)

    @property
    def middle(self) -> float:
        """The value that gain changes leave alone: 20 degrees Celsius, or black."""
        return float(self.scale.celsius_to_counts(np.array([20.0], np.float32))[0]) if self.scale else 0.0

    def gain_at(self, time_s: float) -> tuple[float, float]:
        """(gain, offset in counts or levels) in force: out = gain * (in - middle) + middle + offset."""
        options = self._options
        gain = 1 + options.drift * float(np.sin(2 * np.pi * time_s / DRIFT_PERIOD_S))
        offset = 0.0
        if options.jumps_every_s and (state := int(time_s / options.jumps_every_s)):
            rng = np.random.default_rng((options.seed, 6, state))
            side = 1 if state % 2 else -1  # each is at least 12 % from the one before
            gain *= 1 + side * float(rng.uniform(0.06, 0.28))
            offset = (
                side * float(rng.uniform(0.01, 0.05)) * (40 * self.scale.per_kelvin if self.scale else 255)
            )
        return gain, offset

    def store(self, signal: Plane) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Round and clip to what the camera gives."""
        if self.scale is None:
            return np.asarray(cv2.convertScaleAbs(np.maximum(signal, 0)), np.uint8)
        rounded = np.clip(np.rint(signal), 0, self.top)
        return rounded.astype(np.uint16)

    def noise_rgb(self, picture: Plane, number: int) -> NDArray[np.uint8]:
        """A daylight picture (H, W, 3) in [0, 255] with half of the noise, the same in all channels."""
        rng = np.random.default_rng((self._options.seed, 5, number))
        noise = self._noise(rng) * np.float32(0.5 * self.noise_sd)
        return np.asarray(np.clip(picture + noise[..., None] + 0.5, 0, 255), np.uint8)

    def _noise(self, rng: np.random.Generator) -> Plane:
        """(H, W) float32 of standard deviation 1, a window of the bank."""
        y, x = (int(v) for v in rng.integers(SPREAD_PX, size=2))
        return self._bank[y : y + self.size[0], x : x + self.size[1]]

    def _shutter_rest(self, time_s: float) -> Plane:
        """The pattern that is left after the last flat-field correction, a new one each time."""
        return self._noise(
            np.random.default_rng((self._options.seed, 8, int(time_s / self._options.ffc_every_s)))
        )


def _defects(rng: np.random.Generator, share: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) uint8 GOOD, DEAD, STUCK or BLINKING; a third of the bad ones lie in clusters of 3."""
    defects = np.zeros(size, np.uint8)
    count = round(share * size[0] * size[1])
    seeds = max(0, round(count * (2 / 3 + 1 / 9)))
    clustered = round(count / 9)
    places = rng.permutation(size[0] * size[1])[:seeds]
    kinds = rng.choice(np.array([DEAD, STUCK, BLINKING], np.uint8), seeds, p=[0.4, 0.3, 0.3])
    rows, columns = np.divmod(places, size[1])
    defects[rows, columns] = kinds
    for dy, dx in ((0, 1), (1, 0)):
        near_rows = np.minimum(rows[:clustered] + dy, size[0] - 1)
        near_columns = np.minimum(columns[:clustered] + dx, size[1] - 1)
        defects[near_rows, near_columns] = kinds[:clustered]
    return defects

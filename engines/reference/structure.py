"""Edge structure that infrared and visible pictures of a scene share, whatever their gray levels.

Gray levels differ between bands and often invert, and contrast comes and goes; where an edge lies and how
it runs stays. A structure field holds, for every pixel, the direction of its edge as a unit complex number
at twice the angle (an edge and its inverse are the same) times a contrast that is normalized by that of
the neighborhood. Two fields of one scene correlate in one sharp peak, those of two scenes do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Field = NDArray[np.float32]
"""(h, w, 2) float32: real and imaginary part; length in [0, about 2]."""

BLUR_PX = 1.5
"""Gaussian sigma before derivatives: two lenses' sharpness differs, and so do the bands' finest details."""
NEIGHBORHOOD_PX = 15
MARGIN_PX = 4
"""Left out at the borders, where cameras put black lines."""
ELSEWHERE_PX = 6
HARDLY = 0.7
"""Factor from which pixels hardly come together."""
NOISE_SLOPE = 0.3
"""Gray levels a pixel below which a slope is noise."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Where two fields correlate best.

    Attributes:
        shift_px: (x, y) of the second picture's content minus that of the first, in pixels.
        height: correlation there, [-1, 1].
        sharpness: height over the standard deviation of the whole correlation surface.
        prominence: height over that of the highest place elsewhere, at least `ELSEWHERE_PX` away; a lone
            straight edge, such as a horizon, correlates all along itself.
    """

    shift_px: tuple[float, float]
    height: float
    sharpness: float
    prominence: float

    @property
    def evidence(self) -> float:
        """How much the peak says that both pictures are of one scene: sharpness times prominence."""
        return self.sharpness * self.prominence


@dataclass(frozen=True, slots=True)
class Edges:
    """A picture's structure plane by plane, each (h, w) float32.

    Attributes:
        real, imaginary: of the field.
        squared: square of the slope, gray levels a pixel.
    """

    real: Plane
    imaginary: Plane
    squared: Plane

    @staticmethod
    def of(luma: NDArray[np.uint8] | Plane) -> Edges:
        """Of an (h, w) uint8 or float32 picture, 0 to 255; see the module's text."""
        gray = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), BLUR_PX)
        along_x = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
        along_y = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
        across = cv2.multiply(along_x, along_y, scale=2.0)
        along_x, along_y = (cv2.multiply(one, one, dst=one) for one in (along_x, along_y))
        squared = cv2.add(along_x, along_y)
        slope = cv2.sqrt(squared)
        around = cv2.blur(squared, (NEIGHBORHOOD_PX, NEIGHBORHOOD_PX))
        np.sqrt(np.maximum(around, 0.0, out=around), out=around)  # the sliding sum leaves tiny negatives
        around += _median(slope[::2, ::2]) + np.float32(NOISE_SLOPE)  # all of them take twice as long
        weight = cv2.divide(slope, cv2.multiply(around, np.maximum(squared, 1e-9), dst=around), dst=slope)
        for border in (weight, weight.T):
            border[:MARGIN_PX], border[-MARGIN_PX:] = 0.0, 0.0
        real = cv2.multiply(cv2.subtract(along_x, along_y, dst=along_x), weight, dst=along_x)
        imaginary = cv2.multiply(across, weight, dst=across)
        return Edges(*(np.asarray(one, np.float32) for one in (real, imaginary, squared)))

    @property
    def field(self) -> Field:
        """Both parts in one new array."""
        return np.asarray(cv2.merge([self.real, self.imaginary]), np.float32)

    def common(self, other: Edges) -> Plane:
        """(h, w) float32: how far edges of both lie along each other, pixel by pixel."""
        return np.asarray(
            cv2.add(cv2.multiply(self.real, other.real), cv2.multiply(self.imaginary, other.imaginary)),
            np.float32,
        )


def _median(plane: Plane) -> np.float32:
    """What `np.median` says of numbers: it looks for the middle by branches, 0.1 ms among a frame's other
    work; sorting goes without."""
    flat = np.sort(plane, axis=None)
    half = flat.size // 2
    return np.float32(flat[half] if flat.size % 2 else (flat[half - 1] + flat[half]) / 2)


def structure_field(luma: NDArray[np.uint8] | Plane) -> Field:
    """The field of an (h, w) uint8 or float32 picture, 0 to 255; see the module's text."""
    return Edges.of(luma).field


def shrunk(plane: Any, long_side_px: int) -> Any:
    """(h, w) uint8 or float32 at that long side, or itself where it is smaller, for what is soft.

    Means of what comes together; where that is hardly more than one pixel, what lies between: it takes a
    fourth of the time.
    """
    factor = long_side_px / max(plane.shape)
    if factor >= 1.0:
        return plane
    size = (max(1, round(plane.shape[1] * factor)), max(1, round(plane.shape[0] * factor)))
    return cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR if factor > HARDLY else cv2.INTER_AREA)


def averaged(plane: Plane, least_px: int) -> Plane:
    """(h, w) float32 as means of squares of whole pixels, its long side hardly below `least_px`, or itself
    where it is smaller: for parts of pixels OpenCV takes ten times as long."""
    height, width = plane.shape
    by = max(1, max(height, width) // least_px)
    if by == 1:
        return plane
    size = max(1, width // by), max(1, height // by)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def spectrum(field: Field) -> Field:
    """Fourier transform of a field on a plane of twice its size, for `correlate`."""
    height, width = field.shape[:2]
    plane = np.zeros((cv2.getOptimalDFTSize(2 * height), cv2.getOptimalDFTSize(2 * width), 2), np.float32)
    plane[:height, :width] = field
    return np.asarray(cv2.dft(plane, nonzeroRows=height), np.float32)


def correlate(first: Field, second: Field, first_spectrum: Field | None = None, reach: float = 1.0) -> Peak:
    """The best shift of two fields of one size.

    Args:
        first: (h, w, 2) float32.
        second: (h, w, 2) float32.
        first_spectrum: `spectrum(first)` where it is at hand.
        reach: largest shift that is considered, as a share of height and width.
    """
    power = float(np.sqrt(np.sum(first * first) * np.sum(second * second)))
    if power == 0.0:
        return Peak((0.0, 0.0), 0.0, 0.0, 0.0)
    spectrum_of_first = spectrum(first) if first_spectrum is None else first_spectrum
    product = cv2.mulSpectrums(spectrum(second), spectrum_of_first, 0, conjB=True)
    surface = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)[..., 0] / power
    spread = float(surface.std())
    height, width = surface.shape
    rows, columns = int(first.shape[0] * reach), int(first.shape[1] * reach)
    near = np.roll(surface, (rows, columns), (0, 1))[: 2 * rows + 1, : 2 * columns + 1]
    _, top, _, (x, y) = cv2.minMaxLoc(np.ascontiguousarray(near))
    shift = (
        x - columns + vertex(surface[(y - rows) % height], (x - columns) % width),
        y - rows + vertex(surface[:, (x - columns) % width], (y - rows) % height),
    )
    rolled = np.roll(surface, (ELSEWHERE_PX - y + rows, ELSEWHERE_PX - x + columns), (0, 1))
    rolled[: 2 * ELSEWHERE_PX + 1, : 2 * ELSEWHERE_PX + 1] = 0.0
    elsewhere = max(float(rolled.max()), 1e-6)
    return Peak(shift, float(top), float(top) / max(spread, 1e-9), float(top) / elsewhere)


def agreement(first: Field, second: Field, side_px: int) -> NDArray[np.float32]:
    """(h, w) float32 in [-1, 1]: correlation of two fields in every square window of that side.

    Windows without structure in either picture have 0.
    """
    window = (side_px, side_px)
    common = cv2.blur(along(first, second), window)
    power = cv2.blur(along(first, first), window) * cv2.blur(along(second, second), window)
    return np.asarray(common / np.sqrt(np.maximum(power, 1e-4)), np.float32)


def along(first: Field, second: Field) -> Plane:
    """(h, w) float32: sum of the products of both parts, pixel by pixel.

    As OpenCV sums: numpy takes 20 times as long for so short an axis.
    """
    return np.asarray(cv2.transform(cv2.multiply(first, second), np.ones((1, 2), np.float32)), np.float32)


def largest(planes: Plane) -> Plane:
    """(h, w, n) float32 -> (h, w), the largest of each pixel's; as OpenCV finds it for the same reason."""
    return np.asarray(reduce(cv2.max, cv2.split(planes)), np.float32)


def total_agreement(first: Field, second: Field) -> float:
    """Correlation of two whole fields as they lie, [-1, 1]."""
    power = float(np.sqrt(np.sum(first * first) * np.sum(second * second)))
    return float(np.sum(first * second)) / power if power else 0.0


def vertex(line: NDArray[np.float32], at: int) -> float:
    """Where between its neighbors the parabola through three values has its top, in (-0.5, 0.5)."""
    before, middle, after = line[at - 1], line[at], line[(at + 1) % line.size]
    bend = before - 2 * middle + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0

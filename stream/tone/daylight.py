"""Day or night: whether a camera's picture is in color now, decided over time with hysteresis.

A monochrome picture is not free of chroma: it may be tinted as a whole, or more so where it is
brighter (an infrared camera without its filter), it carries noise and compression, and the camera may
write its name in yellow. So what counts is chroma that brightness does not explain, in cells of the
picture rather than in pixels, in a fair part of the cells.

Tried on 500 color photographs (landscapes, streets through a dull windscreen, indoor): 1.7 levels and
up, half of them above 5. Monochrome infrared with a yellow and a green caption, JPEG quality 60, a
color cast and noise of 12 levels: 0.9 and below.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.picture import LUMA

COLOR_ABOVE, GRAY_BELOW = 2.0, 1.3
"""Levels of chroma (Cb, Cr of 255) from which a picture is in color, and up to which it is monochrome;
between the two nothing changes."""
SMOOTH_S, HOLD_S = 0.4, 0.8
"""Time constant over which the chroma is averaged, and for how long the average must be past a bound
before the answer changes."""
CELLS = 16
"""The picture is looked at in a grid of so many cells each way."""
SAMPLES = 256
"""About so many rows and columns of pixels are read."""
FAIR_PART = 0.75
"""Quantile over the cells: chroma in less than a quarter of them is a lamp, a logo or a caption."""
LOOK_EVERY_NS = 100_000_000
"""Frames in between get the last answer."""
LONGEST_STEP_S = 0.25
"""One frame after a silence counts for no more than this."""
RIDGE = np.diag([0.0, 0.02, 0.02])
"""Keeps the curve flat where brightness hardly varies."""


class ColorCameraDetector:
    """Watches one camera. The first frame decides at once; after that hysteresis does."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the past: another camera, or the source is back after a gap."""
        self._is_color: bool | None = None
        self._average = 0.0
        self._last_ns = 0
        self._against_s = 0.0

    @property
    def is_color(self) -> bool:
        """The last answer; False before the first frame."""
        return bool(self._is_color)

    @property
    def chroma(self) -> float:
        """The averaged measure in levels, for logs."""
        return self._average

    def update(self, rgb: NDArray[np.uint8], pts_ns: int) -> bool:
        """Look at one frame.

        Args:
            rgb: (H, W, 3) uint8 R'G'B', full range.
            pts_ns: the frame's time; a step back starts afresh.

        Returns:
            True while the camera is in color.
        """
        if not self._is_due(pts_ns):
            return self.is_color
        step_y, step_x = (max(1, side // SAMPLES) for side in rgb.shape[:2])
        sample = np.ascontiguousarray(rgb[::step_y, ::step_x])
        cells = cv2.resize(sample, (CELLS, CELLS), interpolation=cv2.INTER_AREA).reshape(-1, 3)
        red, green, blue = cells.astype(np.float32).T
        kr, kb = LUMA["bt601"]
        y = kr * red + (1 - kr - kb) * green + kb * blue
        return self._decide(_unexplained(y, 0.564 * (blue - y), 0.713 * (red - y)), pts_ns)

    def _is_due(self, pts_ns: int) -> bool:
        return self._is_color is None or not 0 <= pts_ns - self._last_ns < LOOK_EVERY_NS

    def _decide(self, chroma: float, pts_ns: int) -> bool:
        if self._is_color is None or pts_ns < self._last_ns:
            self._is_color = chroma > (COLOR_ABOVE + GRAY_BELOW) / 2
            self._average, self._last_ns, self._against_s = chroma, pts_ns, 0.0
            return self._is_color
        dt_s = min((pts_ns - self._last_ns) * 1e-9, LONGEST_STEP_S)
        self._last_ns = pts_ns
        self._average += (chroma - self._average) * (1 - math.exp(-dt_s / SMOOTH_S))
        against = self._average < GRAY_BELOW if self._is_color else self._average > COLOR_ABOVE
        self._against_s = self._against_s + dt_s if against else 0.0
        if against and self._against_s >= HOLD_S:
            self._is_color, self._against_s = not self._is_color, 0.0
        return self._is_color


def _unexplained(y: NDArray[np.float32], cb: NDArray[np.float32], cr: NDArray[np.float32]) -> float:
    """Chroma that brightness does not explain, in levels: its upper quartile over the cells.

    Chroma is fitted as a curve of brightness (a tint, and one that grows with light until it clips);
    the half of the cells that fits best decides the curve, so that a caption cannot bend it.
    """
    level = (y - float(y.mean())) / 64
    powers = np.stack([np.ones_like(level), level, level**2], axis=1)
    chroma = np.stack([cb, cr], axis=1)
    best = np.ones(len(y), bool)
    for _ in range(3):
        some = powers[best]
        square = some.T @ some + RIDGE * len(some)
        off = np.linalg.norm(chroma - powers @ np.linalg.solve(square, some.T @ chroma[best]), axis=1)
        best = off <= np.median(off)
    return float(np.quantile(off, FAIR_PART))

"""Tracks how single pixels' offsets drift since they were calibrated, while the camera's view moves.

Where one point of the scene falls on two pixels, one after the other, they must agree. Two frames between
which the view has moved by a few pixels are registered; each pixel moves a little towards the one that saw
the same point before. Over many different shifts what is left is the pixel's own. While the view stands
still nothing is learned: a pattern of the sensor and a texture of the scene then look the same.

The work on one pair of frames is spread over the frames that follow, a band of rows each.

Reference: C. Zuo et al., Scene-based nonuniformity correction algorithm based on interframe registration,
JOSA A 28(6), 2011, eq. 3 to 8. Different here: edges are left out, since registration is never exact, and
only what differs from pixel to pixel is learned.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError

Plane = NDArray[np.float32]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

RATE = 0.08
"""Share of a disagreement that one look corrects: what noise leaves in the offsets is a sixth of it."""
LEAK = 0.012
"""Share of what was learned that is forgotten at a look, so that what no shift shows cannot pile up."""
BANDS = 8
FEWEST_FRAMES, MOST_FRAMES = 3, 60
"""Frames between the two of a pair: it is given up when the view has hardly moved by then."""
SHIFTS_PX, MOST_SHIFT_SHARE = (3.0, 7.0, 4.5, 12.0, 5.5, 9.0), 0.3
"""Of the view within a pair, in turns: pairs of one and the same shift would not see patterns that repeat
with it."""
LEAST_RESPONSE = 0.1
"""Of the phase correlation's peak, [0, 1]: below, the two frames have too little in common."""
REGISTERED_PX = 160
"""Long side of the pictures that are registered."""
OUTLIER, BEND = 4.0, 1.5
"""Disagreements beyond so many times the noise are not believed; those beyond the second count as that."""
NOISE_SHARE = 0.4
"""Of the disagreements' noise: offsets below are not told from what noise makes of none."""
FINE_PX = 15
"""Patterns coarser than this are the scene's, or the lens's."""


class PixelDrift:
    """Offsets of single pixels, from frame to frame. Used by one thread.

    Attributes:
        offset: (H, W) float32 counts or levels; what was learned so far, with what noise makes of it.
        correction: (H, W) float32 to add to the sensor's values: of `offset` what is above the noise.
        looks: pairs of frames that were learned from.
    """

    def __init__(self, size: tuple[int, int], limit: float) -> None:
        """Track offsets up to `limit` counts for pictures of `size` (H, W)."""
        self.offset: Plane = np.zeros(size, np.float32)
        self.correction: Plane = np.zeros(size, np.float32)
        self.looks = 0
        self._limit = limit
        self._band_px = -(-size[0] // BANDS)
        self._before: Plane | None = None
        self._small_before: Plane | None = None
        self._now: Plane | None = None
        self._shift = (0.0, 0.0)
        self._age = 0
        self._band = 0
        self._noise = 1.0
        shrink = max(1, max(size) // REGISTERED_PX)
        self._shrink = shrink
        self._small_size = (max(8, size[1] // shrink), max(8, size[0] // shrink))
        self._window = cv2.createHanningWindow(self._small_size, cv2.CV_32F)

    def look(self, corrected: Pixels) -> bool:
        """Take one frame, (H, W), that has the present `correction` added; true where that has changed."""
        if self._now is not None:
            return self._learn_band()
        if self._before is None:
            self._keep(corrected)
            return False
        self._age += 1
        if self._age % FEWEST_FRAMES:
            return False
        self._compare(corrected)
        return False

    def _keep(self, corrected: Pixels) -> None:
        self._before = cv2.subtract(corrected, self.correction, dtype=cv2.CV_32F)
        self._small_before, self._age = self._registered(corrected), 0

    def _compare(self, corrected: Pixels) -> None:
        """Start on a pair where the view has moved by enough, and not by too much."""
        if self._small_before is None:
            raise StreamError("drift is found between two frames: there has been none")
        small = self._registered(corrected)
        (right, down), response = cv2.phaseCorrelate(self._small_before, small, self._window)
        self._shift = (right * self._shrink, down * self._shrink)
        moved_px = float(np.hypot(*self._shift))
        late = self._age >= MOST_FRAMES
        if response < LEAST_RESPONSE or moved_px > MOST_SHIFT_SHARE * min(self.offset.shape):
            self._before = None
        elif moved_px >= (min(SHIFTS_PX) if late else SHIFTS_PX[self.looks % len(SHIFTS_PX)]):
            self._now = cv2.subtract(corrected, self.correction, dtype=cv2.CV_32F)
            self._band = 0
        elif late:
            self._before = None

    def _registered(self, corrected: Pixels) -> Plane:
        """The scene's outlines, small: fine patterns of the sensor are averaged away."""
        small = cv2.resize(corrected, self._small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.asarray(small - cv2.blur(small, (31, 31)), np.float32)

    def _learn_band(self) -> bool:
        """One band of rows; the pair is done with the last of them."""
        if self._now is None:
            raise StreamError("drift is found between two frames: there has been none")
        if self._before is None:
            raise StreamError("drift is found between two frames: there has been one only")
        height, width = self.offset.shape
        top = self._band * self._band_px
        bottom = min(height, top + self._band_px)
        self._band += 1
        if bottom - top > 2:
            self._learn(top, bottom, width)
        if self._band < BANDS:
            return False
        self._before = self._now = None
        self.looks += 1
        sure = np.maximum(np.abs(self.offset) - np.float32(NOISE_SHARE * self._noise), 0)
        self.correction = np.asarray(np.copysign(sure, self.offset), np.float32)
        return True

    def _learn(self, top: int, bottom: int, width: int) -> None:
        if self._now is None:
            raise StreamError("drift is found between two frames: there has been none")
        if self._before is None:
            raise StreamError("drift is found between two frames: there has been one only")
        # The point that is at (x, y) now was at (x - right, y - down) before.
        right, down = self._shift
        first = max(0, int(np.floor(top - down)) - 1)
        last = min(self.offset.shape[0], int(np.ceil(bottom - down)) + 2)
        if last - first < 2:
            return
        earlier = self._before[first:last] + self.offset[first:last]
        matrix = np.array([[1.0, 0.0, -right], [0.0, 1.0, top - down - first]])
        same = cv2.warpAffine(
            earlier,
            matrix,
            (width, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float("nan"),
        )
        now = self._now[top:bottom] + self.offset[top:bottom]
        error = same - now
        known = np.isfinite(error)
        if np.count_nonzero(known) < error.size // 8:
            return
        error[~known] = 0
        across, along, slope = _slopes(now)
        calm = known & (slope <= 2 * np.median(slope[::4, ::4]))
        error -= np.median(error[::4, ::4][calm[::4, ::4]])
        _straighten(error, across, along, known)
        noise = max(1.4826 * float(np.median(np.abs(error[::4, ::4][calm[::4, ::4]]))), 0.5)
        self._noise += 0.1 * (noise - self._noise)
        near = calm & (np.abs(error) < OUTLIER * noise)
        error[~near] = 0
        np.clip(error, -BEND * noise, BEND * noise, out=error)
        error -= cv2.blur(error, (FINE_PX, FINE_PX)) / np.maximum(
            cv2.blur(near.astype(np.float32), (FINE_PX, FINE_PX)), np.float32(0.05)
        )
        change = np.where(near, np.float32(RATE) * error, np.float32(0))
        part = self.offset[top:bottom]
        part *= np.float32(1 - LEAK)
        np.clip(part + change, -self._limit, self._limit, out=part)


def _slopes(now: Plane) -> tuple[Plane, Plane, Plane]:
    """The picture's slope along rows and columns, counts a pixel, and how steep it is in all."""
    smooth = cv2.blur(now, (3, 3))
    across = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), np.float32)
    along = np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8), np.float32)
    return across, along, np.asarray(cv2.blur(np.abs(across) + np.abs(along), (3, 3)), np.float32)


def _straighten(error: Plane, across: Plane, along: Plane, known: NDArray[np.bool_]) -> None:
    """Take out of the disagreement what a shift that is wrong by parts of a pixel makes of the slopes."""
    part = np.s_[::2, ::2]
    inside = known[part]
    x, y, e = across[part][inside], along[part][inside], error[part][inside]
    limit = 4 * float(np.median(np.abs(e))) + 1e-3
    e = np.clip(e, -limit, limit)
    xx, xy, yy = float(x @ x) + 1e-3, float(x @ y), float(y @ y) + 1e-3
    xe, ye = float(x @ e), float(y @ e)
    determinant = xx * yy - xy * xy
    if determinant > 1e-6 * xx * yy:
        right, down = (xe * yy - ye * xy) / determinant, (ye * xx - xe * xy) / determinant
        error -= np.float32(np.clip(right, -1, 1)) * across + np.float32(np.clip(down, -1, 1)) * along

"""Carries what the frame before showed into the holes of this one: along the motion around each hole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.repair.mask import Holes
from irchroma.engines.repair.membrane import membrane
from irchroma.engines.temporal.cuts import is_cut
from irchroma.engines.temporal.motion import MOVING_PX, Motion, MotionEstimator, pixel_grid
from irchroma.engines.temporal.stage import half_size

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Plane = NDArray[np.float32]
Line = NDArray[np.float32]
Luma = NDArray[np.uint8]

MOTION_PX = 320
"""Long side of the picture that motion is looked for in, at most, as for color; then half of it."""
CHANGED = 2.0
"""Times a pixel's noise from which the mean difference of nine pixels is a change: four of its deviations."""
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""What slopes and straight edges do not answer to (Immerkær, Fast Noise Variance Estimation, 1996)."""
LEAST_CHANGE = 3.0
"""The same in gray levels, at least."""
MOVING_SHARE = 0.1
"""Of a hole's border, from which the hole counts as moving."""
LOOKS = 3
"""Steps of the alignment of each hole by its border; the motion itself is good to half a pixel."""
FARTHEST_PX = 1.5
"""That a step may go."""
STANDS = 1.1
"""Times the border's error along the motion up to which no motion is as good."""
ALIGNED = 6000
"""Pixels of the border that are looked at for it, about."""
LONGEST_LINE = 32_000
"""OpenCV's remap takes pictures of less than 32 768 columns."""


@dataclass(slots=True)
class Past:
    """The frame before, repaired.

    Attributes:
        picture: (H, W) as the camera gives it.
        trust: (H, W) uint8: 255 where a pixel was seen, 0 where it was guessed.
        small: (h, w) float32, the same picture for the motion, in the camera's own values.
        pts_ns: its time.
        given: (H, W) as it came, where parts of it were lost; None for no other than `picture`.
    """

    picture: Pixels
    trust: Luma
    small: Plane
    pts_ns: int
    given: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """What the past has for the holes of a frame.

    Attributes:
        values: (n,) float32 of the holes' pixels, in the camera's values.
        trust: (n,) uint8, see `Past`; 0 where the pixel came in over the picture's border.
        inside: (n,) bool, false there.
        border: (m,) float32, the same of the pixels around the holes, which are known.
        counted: (m,) bool, those of them that were seen.
        moving: (holes,) bool, those around which something moves.
        given: (n,) float32 of the holes' pixels as they came then; None as in `Past`.
    """

    values: Line
    trust: Luma
    inside: NDArray[np.bool_]
    border: Line
    counted: NDArray[np.bool_]
    moving: NDArray[np.bool_]
    given: Line | None = None


def small_picture(pixels: Pixels) -> Plane:
    """(h, w) float32: the picture at the size that motion is looked for, in the camera's own values."""
    height, width = pixels.shape
    factor = min(1.0, MOTION_PX / max(height, width))
    size = half_size((max(1, round(height * factor)), max(1, round(width * factor))))
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA), np.float32)


class Carrier:
    """Measures the motion around holes, and fetches what was there. Used by one thread."""

    def __init__(self) -> None:
        self._motion = MotionEstimator()

    def carry(self, past: Past, pixels: Pixels, holes: Holes) -> Carried | None:
        """What the frame before has for the holes of this one; None after a cut."""
        flow = self._flow(past, pixels, holes)
        if flow is None:
            return None
        number, _ = holes.labels
        if not flow.size:
            flat, trust = past.picture.reshape(-1), past.trust.reshape(-1)
            return Carried(
                flat[holes.index].astype(np.float32),
                trust[holes.index],
                np.ones(holes.index.size, bool),
                flat[holes.ring].astype(np.float32),
                trust[holes.ring] > 127,
                np.zeros(number, bool),
                None if past.given is None else past.given.reshape(-1)[holes.index].astype(np.float32),
            )
        size = (pixels.shape[0], pixels.shape[1])
        sample = holes.ring[:: max(1, holes.ring.size // ALIGNED)]
        now = pixels.reshape(-1)[sample].astype(np.float32)
        looked = _Places(flow, sample, size, holes)
        shifts = looked.align(past, now)
        stands = looked.stands(past, now)
        ring, inner = (_Places(flow, index, size, holes) for index in (holes.ring, holes.index))
        for places in (ring, inner):
            places.shift(shifts)
            places.stay(stands)
        inside = inner.inside()
        trust = cast(Luma, remap(past.trust, inner.x, inner.y))
        return Carried(
            inner.values(past.picture),
            np.where(inside, trust, 0).astype(np.uint8),
            inside,
            ring.values(past.picture),
            (remap(past.trust, ring.x, ring.y) > 127) & ring.inside(),
            _moving(flow, holes) & ~stands,
            None if past.given is None else inner.values(past.given),
        )

    def _flow(self, past: Past, pixels: Pixels, holes: Holes) -> Plane | None:
        """(h, w, 2) way back of each pixel of the small picture, smooth across holes; None after a cut.

        An empty array stands for a picture in which nothing moves.
        """
        small_good = cv2.resize(holes.good, past.small.shape[::-1], interpolation=cv2.INTER_AREA)
        known = small_good > 0.999
        small = np.where(known, small_picture(pixels), past.small)
        shift, low, factor = 0.0, 0.0, 1.0
        if known.any():
            shift = float(np.median(small[known] - past.small[known]))
        if pixels.dtype == np.uint16:
            sample = small[known][::3] if known.any() else small.reshape(-1)
            low, high = (float(value) for value in np.percentile(sample, (1, 99)))
            factor = 255.0 / max(high - low, 1.0)

        def levels(picture: Plane) -> Luma:
            return np.asarray(np.clip(np.rint((picture - low) * factor), 0, 255), np.uint8)

        before, now = levels(past.small + np.where(known, np.float32(shift), 0)), levels(small)
        difference = cv2.blur(cv2.absdiff(before, now), (3, 3))
        changed = cast(Luma, cv2.compare(difference, max(LEAST_CHANGE, CHANGED * _noise(now)), cv2.CMP_GT))
        changed[~known] = 0
        size = (changed.shape[0], changed.shape[1])
        motion = self._motion.estimate(before, now, changed, size, whole=False)
        if is_cut(before, now, motion):
            return None
        return continued(motion, known, size)


def _noise(luma: Luma) -> float:
    """Standard deviation of its noise in gray levels, by the median, which texture reaches late."""
    answer = cv2.filter2D(luma, cv2.CV_32F, NOISE_KERNEL)[1:-1, 1:-1]
    return float(np.median(np.abs(answer))) / (0.6745 * 6.0) if answer.size else 0.0


def continued(motion: Motion, known: NDArray[np.bool_], size: tuple[int, int]) -> Plane:
    """(h, w, 2) way back in pixels, continued smoothly over holes and over what has no counterpart."""
    if motion.half_area is None or motion.half_source is None or motion.occluded is None:
        return np.empty((0, 0, 2), np.float32)
    flow = np.zeros((*size, 2), np.float32)
    flow[motion.half_area] = motion.half_source - pixel_grid(size)[motion.half_area]
    weight = known.astype(np.float32)
    weight[motion.half_area] *= motion.occluded == 0
    flow = membrane(flow, weight)
    flow[(flow * flow).sum(2) < MOVING_PX**2] = 0.0
    return flow


class _Places:
    """Where some pixels were in the frame before.

    Attributes:
        x, y: (n,) float32 pixels.
    """

    def __init__(self, flow: Plane, index: NDArray[np.intp], size: tuple[int, int], holes: Holes) -> None:
        number, labels = holes.labels
        self._number, self._of, self._size = number, labels.reshape(-1)[index], size
        rows, columns = np.divmod(index, size[1])
        self._own = (columns.astype(np.float32), rows.astype(np.float32))
        factor = (flow.shape[1] / size[1], flow.shape[0] / size[0])
        x = ((columns + 0.5) * factor[0] - 0.5).astype(np.float32)
        y = ((rows + 0.5) * factor[1] - 0.5).astype(np.float32)
        moved = remap(flow, x, y)  # (n, 2) pixels of the small picture
        self.x = np.asarray(columns + moved[:, 0] / factor[0], np.float32)
        self.y = np.asarray(rows + moved[:, 1] / factor[1], np.float32)

    def shift(self, shifts: NDArray[np.float32]) -> None:
        """Move each pixel by what its hole is off."""
        self.x += shifts[self._of, 0]
        self.y += shifts[self._of, 1]

    def stay(self, stands: NDArray[np.bool_]) -> None:
        """Leave the pixels of some holes where they are."""
        still = stands[self._of]
        self.x, self.y = (
            np.where(still, own, moved) for own, moved in zip(self._own, (self.x, self.y), strict=True)
        )

    def stands(self, past: Past, now: Line) -> NDArray[np.bool_]:
        """(holes,) bool: those whose border is explained as well by no motion at all; noise moves too."""
        errors = []
        for x, y in ((self.x, self.y), self._own):
            off = now - remap(past.picture, x, y).astype(np.float32)
            counted = remap(past.trust, x, y) > 127
            total = np.maximum(np.bincount(self._of, counted, self._number), 1)
            off -= (np.bincount(self._of, off * counted, self._number) / total)[self._of]
            errors.append(np.bincount(self._of, np.abs(off) * counted, self._number) / total)
        return np.asarray(errors[1] <= STANDS * errors[0], bool)

    def inside(self) -> NDArray[np.bool_]:
        """(n,) whether they were in the picture."""
        height, width = self._size
        inside: NDArray[np.bool_] = (self.x >= 0) & (self.x <= width - 1)
        return inside & (self.y >= 0) & (self.y <= height - 1)

    def values(self, picture: Pixels) -> Line:
        """(n,) float32 of them; cubic, as what is carried far is read many times."""
        return remap(picture, self.x, self.y, cv2.INTER_CUBIC).astype(np.float32)

    def align(self, past: Past, now: Line) -> NDArray[np.float32]:
        """(holes, 2) that each hole's border must be shifted to lie on what it shows now, by its gradients.

        Reference: Lucas and Kanade, An Iterative Image Registration Technique, 1981, with one offset in
        brightness a hole.
        """

        def added(values: NDArray[Any]) -> NDArray[np.float64]:
            return np.asarray(np.bincount(self._of, values, self._number), np.float64)

        shifts = np.zeros((self._number, 2), np.float32)
        for _ in range(LOOKS):
            off = now - remap(past.picture, self.x, self.y).astype(np.float32)
            slope_x, slope_y = (
                remap(past.picture, self.x + 0.5 * dx, self.y + 0.5 * dy).astype(np.float32)
                - remap(past.picture, self.x - 0.5 * dx, self.y - 0.5 * dy)
                for dx, dy in ((1, 0), (0, 1))
            )
            usual = np.float32(max(float(np.median(np.abs(off))), 1e-3) if off.size else 1.0)
            weight = (
                self.inside() * (remap(past.trust, self.x, self.y) > 127) / (1 + (off / (3 * usual)) ** 2)
            )
            total = np.maximum(added(weight), 1e-6)
            off, slope_x, slope_y = (
                np.asarray(part - (added(part * weight) / total)[self._of], np.float32)
                for part in (off, slope_x, slope_y)
            )
            calm = 0.25 * total * usual**2  # slopes below the noise say nothing
            xx, yy = added(weight * slope_x**2) + calm, added(weight * slope_y**2) + calm
            xy = added(weight * slope_x * slope_y)
            x, y = added(weight * slope_x * off), added(weight * slope_y * off)
            step = np.stack([yy * x - xy * y, xx * y - xy * x], 1) / (xx * yy - xy**2)[:, None]
            bounded = np.asarray(np.clip(step, -FARTHEST_PX, FARTHEST_PX), np.float32)
            self.shift(bounded)
            shifts += bounded
        return shifts


def _moving(flow: Plane, holes: Holes) -> NDArray[np.bool_]:
    """(holes,) bool: those at whose border something moves."""
    number, labels = holes.labels
    moving = ((flow * flow).sum(2) > MOVING_PX**2).astype(np.uint8)
    full = cv2.resize(moving, labels.shape[::-1], interpolation=cv2.INTER_NEAREST).reshape(-1)[holes.ring]
    at = labels.reshape(-1)[holes.ring]
    count = np.maximum(np.bincount(at, minlength=number), 1)
    return np.asarray(np.bincount(at, full, number) / count > MOVING_SHARE, bool)


def remap(picture: NDArray[Any], x: Line, y: Line, way: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    """(n,) or (n, c) values at n places."""
    parts = [
        cv2.remap(
            picture,
            np.ascontiguousarray(x[start : start + LONGEST_LINE], np.float32)[None],
            np.ascontiguousarray(y[start : start + LONGEST_LINE], np.float32)[None],
            way,
            borderMode=cv2.BORDER_REPLICATE,
        )[0]
        for start in range(0, x.size, LONGEST_LINE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, *picture.shape[2:]), picture.dtype)

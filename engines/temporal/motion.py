"""Motion between two consecutive luma frames: dense backward flow, with occlusions marked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Field = NDArray[np.float32]
"""(.., 2) float32 pixels (x, y)."""
Area = tuple[slice, slice]
"""Rows and columns of the part of the picture in which anything moves."""

LARGE_SHIFT_PX = 6.0
"""A camera shift (half-size pixels) from which DIS needs to be told where to start: alone, it loses
most of a 50-pixel pan at 320x256."""
SMALLEST_PX = 32
"""Below this side no flow is computed: DIS's patches (8 px) and pyramid do not fit."""
LEAST_AREA_PX = 96
"""Smallest side of the part that DIS sees: below it DIS uses fewer scales and loses fast things."""
MARGIN_PX = 12
"""Around what changed, so that flow is found from both sides of an edge."""
MOVING_PX = 0.125
"""Motion, in half-size pixels, below which a pixel stands still."""
MOVING_CAMERA = 0.5
"""Share of the picture that changes when the camera moves, rather than things in front of it."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where each pixel of the current frame came from; all of it None where nothing moves.

    Attributes:
        active: share of the picture that changed, [0, 1].
        steady: share of the changed area whose forward and backward flow agree, [0, 1].
        area: the part of the full-size picture that `source` covers; outside of it nothing moves. Both None
            where only the half-size motion was asked for.
        source: (bh, bw, 2) pixels of the whole picture: `current(p)` looks like `previous(source(p))`.
        half_area: the same part of the half-size picture that the motion was measured on.
        half_source: (hbh, hbw, 2) as `source`, in pixels of the half-size picture.
            None where it stays on the device that has found it.
        half_moving: (hbh, hbw) uint8, 255 where the source is another pixel.
        occluded: (hbh, hbw) uint8, 255 where the pixel has no counterpart in the previous frame: forward
            and backward flow disagree, or it came in over the picture's border.
        speed_px: root mean square motion over the whole picture, full-size pixels.
        predicted: (hh, hw) uint8 the previous picture, moved, where a device has done so.
    """

    active: float
    steady: float
    area: Area | None = None
    source: Field | None = None
    half_area: Area | None = None
    half_source: Field | None = None
    half_moving: Luma | None = None
    occluded: Luma | None = None
    speed_px: float = 0.0
    predicted: Luma | None = None

    def moved(self, previous: Luma) -> Luma:
        """The picture (hh, hw) that the motion was measured from, where its pixels are now."""
        if self.predicted is not None:
            return self.predicted
        return cast(Luma, move(previous, self.half_area, self.half_source))


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found in a part of the picture, (bh, bw).

    Attributes:
        moving: (bh, bw) uint8, as `Motion.half_moving`.
        occluded: (bh, bw) uint8, as `Motion.occluded`.
        squared_px: sum of the squared motion, squared pixels.
        backward: (bh, bw, 2) from the current picture to the previous one; None where it stays on a device.
        predicted: as of `Motion`.
    """

    moving: Luma
    occluded: Luma
    squared_px: float
    backward: Field | None = None
    predicted: Luma | None = None


class MotionSearch(Protocol):
    """Finds the motion between two pictures."""

    def search(
        self, previous: Luma, current: Luma, area: Area, near: Luma | None, start: tuple[float, float]
    ) -> Found:
        """Find it in one part of them.

        Args:
            previous: (h, w) uint8.
            current: (h, w) uint8.
            area: that part.
            near: (h, w) uint8, 0 where nothing moves; None where anything may.
            start: (x, y) from `current` to `previous` where the camera has moved far, else (0, 0).
        """


class DisSearch:
    """OpenCV's, on the CPU; not safe for use by several threads at once."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)
        self._dis.setPatchStride(5)
        self._dis.setGradientDescentIterations(8)

    def search(
        self, previous: Luma, current: Luma, area: Area, near: Luma | None, start: tuple[float, float]
    ) -> Found:
        """See `MotionSearch`."""
        before = np.ascontiguousarray(previous[area])  # DIS wants no strides
        now = np.ascontiguousarray(current[area])
        backward = self._flow(now, before, start)
        forward = self._flow(before, now, (-start[0], -start[1]))
        if near is not None:
            backward, forward = keep_where(near[area], backward), keep_where(near[area], forward)
        squared = squared_length(backward)
        moving = cast(Luma, cv2.compare(squared, MOVING_PX**2, cv2.CMP_GT))
        return Found(moving, _occlusion(backward, forward, squared), cv2.sumElems(squared)[0], backward)

    def _flow(self, source: Luma, target: Luma, start: tuple[float, float]) -> Field:
        """(hh, hw, 2) with `source(p)` like `target(p + flow(p))`."""
        if start == (0.0, 0.0):
            return cast(Field, self._dis.calc(source, target, None))
        first = np.empty((*source.shape, 2), np.float32)
        first[:] = start
        return cast(Field, self._dis.calc(source, target, first))


class MotionEstimator:
    """DIS optical flow at half size, started from a phase correlation, checked both ways.

    Measured on one core at 320x256: DIS `ULTRAFAST` at half size down to half of that again takes
    0.62 ms and is off by 0.1 to 0.3 px (median) for pans up to 25 px, 0.40 ms with patches 5 px apart
    and 8 iterations for the same error; `FAST` takes 1.4 ms and `MEDIUM` 1.9 ms for no less, and phase
    correlation alone 0.14 ms but sees only the camera's shift, so it gives the start and DIS the rest.
    Where the camera stands still only the part of the picture around what changed is looked at.

    Not safe for use by several threads at once.

    Reference: Kroeger, Timofte, Dai and Van Gool, Fast Optical Flow using Dense Inverse Search,
    arXiv:1603.03590; the forward-backward test with its constants is that of Sundaram, Brox and
    Keutzer, Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow, ECCV 2010.
    """

    def __init__(self, search: MotionSearch | None = None) -> None:
        """Args:
        search: None for OpenCV's.
        """
        self._search = search or DisSearch()

    def estimate(
        self, previous: Luma, current: Luma, changed: Luma, size: tuple[int, int], whole: bool = True
    ) -> Motion:
        """Motion from `previous` to `current`, scaled to `size`.

        Args:
            previous: (hh, hw) uint8 luma, half of `size` or so, in the same gain as `current`.
            current: (hh, hw) uint8 luma.
            changed: (hh, hw) uint8, 255 where the two differ in place; elsewhere nothing moves.
            size: (h, w) in pixels of the whole picture that `area` and `source` are for.
            whole: `area` and `source` are wanted.
        """
        height, width = current.shape
        active = cv2.countNonZero(changed) / changed.size
        if active == 0 or min(height, width) < SMALLEST_PX:
            return Motion(active, 1.0 if active == 0 else 0.0)
        near = None
        half_area = (slice(0, height), slice(0, width))
        if active < MOVING_CAMERA:
            near = cast(Luma, cv2.dilate(changed, np.ones((9, 9), np.uint8)))
            half_area = _area_around(near)
        start = (0.0, 0.0)
        if active > 0.3:
            start = camera_shift(*(np.ascontiguousarray(one[half_area]) for one in (previous, current)))
        found = self._search.search(previous, current, half_area, near, start)
        changed = changed[half_area]
        visible = cv2.countNonZero(cv2.bitwise_and(cv2.bitwise_not(found.occluded), changed))
        steady = visible / max(cv2.countNonZero(changed), 1)
        rows, columns = half_area
        scale = (size[1] / width, size[0] / height)
        backward, area, source = found.backward, None, None
        if whole and backward is not None:
            area = (
                slice(round(rows.start * scale[1]), round(rows.stop * scale[1])),
                slice(round(columns.start * scale[0]), round(columns.stop * scale[0])),
            )
            full = (area[1].stop - area[1].start, area[0].stop - area[0].start)
            flow = cv2.resize(backward, full, interpolation=cv2.INTER_LINEAR)
            source = cast(Field, cv2.add(cv2.multiply(flow, (*scale, 1.0, 1.0)), pixel_grid(size)[area]))
        half_source = None
        if backward is not None:
            half_source = cast(Field, cv2.add(backward, pixel_grid((height, width))[half_area]))
        return Motion(
            active=active,
            steady=steady,
            area=area,
            source=source,
            half_area=half_area,
            half_source=half_source,
            half_moving=found.moving,
            occluded=found.occluded,
            speed_px=math.sqrt(found.squared_px / (height * width)) * scale[0],
            predicted=found.predicted,
        )


def camera_shift(previous: Luma, current: Luma) -> tuple[float, float]:
    """Shift (x, y) in pixels of the whole picture where there is a large one, else (0, 0).

    `current(p)` looks like `previous(p + shift)`.
    """
    # At half the size again: whitening, which phase correlation does, lifts noise above smooth scenes.
    size = (current.shape[1] // 2, current.shape[0] // 2)
    now = cv2.resize(current.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    before = cv2.resize(previous.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    (x, y), response = cv2.phaseCorrelate(now, before, _hanning(size[1], size[0]))
    x, y = x * current.shape[1] / size[0], y * current.shape[0] / size[1]
    large = max(abs(x), abs(y)) > LARGE_SHIFT_PX and response > 0.1
    return (x, y) if large else (0.0, 0.0)


def move(
    picture: NDArray[np.uint8] | NDArray[np.float32],
    area: Area | None,
    source: Field | None,
    in_place: bool = False,
) -> NDArray[Any]:
    """The picture with `area` fetched from where it was; the same array where nothing moved.

    Args:
        picture: (h, w) or (h, w, up to 4 channels) of the frame before.
        area: of `Motion`.
        source: of `Motion`.
        in_place: `picture` may be written to.
    """
    if area is None or source is None:
        return picture
    threefold = picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.float32
    whole = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA) if threefold else picture  # at half the time
    moved = cv2.remap(whole, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved = cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB) if threefold else moved
    if moved.shape[:2] == picture.shape[:2]:
        return cast("NDArray[Any]", moved)
    result = picture if in_place else picture.copy()
    result[area] = moved
    return result


@lru_cache(maxsize=8)
def pixel_grid(size: tuple[int, int]) -> Field:
    """(h, w, 2) float32: each pixel's own (x, y); shared, read-only."""
    grid = np.empty((size[0], size[1], 2), np.float32)
    grid[..., 0] = np.arange(size[1], dtype=np.float32)
    grid[..., 1] = np.arange(size[0], dtype=np.float32)[:, None]
    grid.flags.writeable = False
    return grid


def keep_where(mask: Luma, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy of `values` (h, w) or (h, w, c) with zeros where `mask` (h, w) is 0."""
    return cast("NDArray[np.float32]", cv2.copyTo(values, mask))


def squared_length(flow: Field) -> NDArray[np.float32]:
    """(h, w) float32 square of each vector's length, from (h, w, 2)."""
    x, y = cv2.extractChannel(flow, 0), cv2.extractChannel(flow, 1)
    square = cv2.multiply(x, x, dst=x)
    return cast("NDArray[np.float32]", cv2.add(square, cv2.multiply(y, y, dst=y), dst=x))


def _occlusion(backward: Field, forward: Field, squared: NDArray[np.float32]) -> Luma:
    """(hh, hw) uint8, 255 where following `backward`, of that squared length, and then `forward` does not
    lead home."""
    height, width = backward.shape[:2]
    where = cv2.add(backward, pixel_grid((height, width)))
    there = cv2.remap(forward, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    miss = squared_length(cast(Field, cv2.add(there, backward)))
    bound = cv2.addWeighted(squared_length(there), 0.01, squared, 0.01, 0.5)
    inside = cv2.inRange(where, (-0.5, -0.5), (width - 0.5, height - 0.5))
    return cast("Luma", cv2.bitwise_or(cv2.compare(miss, bound, cv2.CMP_GT), cv2.bitwise_not(inside)))


def _area_around(mask: Luma) -> Area:
    """The mask's bounding box with a margin, at least `LEAST_AREA_PX` on each side if there is room."""
    left, top, width, height = cv2.boundingRect(mask)
    spans = []
    for start, length, whole in ((top, height, mask.shape[0]), (left, width, mask.shape[1])):
        wanted = min(whole, max(LEAST_AREA_PX, length + 2 * MARGIN_PX))
        low = min(max(0, start + (length - wanted) // 2), whole - wanted)
        high = low + wanted
        spans.append(slice(low, high))
    return spans[0], spans[1]


@lru_cache(maxsize=4)
def _hanning(height: int, width: int) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", cv2.createHanningWindow((width, height), cv2.CV_32F))

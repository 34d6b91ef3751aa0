"""Motion between two consecutive luma frames: dense backward flow, with occlusions marked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

LARGE_SHIFT_PX = 6.0
"""A camera shift (half-size pixels) from which DIS needs to be told where to start: alone, it loses
most of a 50-pixel pan at 320x256."""

SMALLEST_PX = 32
"""Below this side no flow is computed: DIS's patches (8 px) and pyramid do not fit."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where each pixel of the current frame came from.

    Attributes:
        half_flow: (hh, hw, 2) float32, `flow` at the size that the motion was measured at.
        flow: (h, w, 2) float32 pixels (x, y): `current(p)` looks like `previous(p + flow(p))`;
            None where nothing moves.
        occluded: (h, w) uint8, 255 where the pixel has no counterpart in the previous frame (forward
            and backward flow disagree, or it came in over the picture's border); None where nothing moves.
        active: share of the picture that changed, [0, 1].
        steady: share of the changed area whose forward and backward flow agree, [0, 1].
    """

    half_flow: NDArray[np.float32] | None
    flow: NDArray[np.float32] | None
    occluded: NDArray[np.uint8] | None
    active: float
    steady: float

    @property
    def speed_px(self) -> float:
        """Root mean square length of the flow over the whole picture, pixels."""
        if self.flow is None:
            return 0.0
        return float(np.sqrt(cv2.norm(self.flow, cv2.NORM_L2SQR) * 2 / self.flow.size))


class MotionEstimator:
    """DIS optical flow at half size, started from a phase correlation, checked both ways.

    Measured on one core at 320x256: DIS `ULTRAFAST` at half size down to half of that again takes
    0.6 ms and is off by 0.1 to 0.3 px (median) for pans up to 25 px; `FAST` takes 1.4 ms and `MEDIUM`
    1.9 ms for the same error, and phase correlation alone 0.14 ms but sees only the camera's shift,
    which is why it gives the start and DIS the rest.

    Not safe for use by several threads at once.

    Reference: Kroeger, Timofte, Dai and Van Gool, Fast Optical Flow using Dense Inverse Search,
    arXiv:1603.03590; the forward-backward test is equation 5 of Sundaram, Brox and Keutzer, Dense Point
    Trajectories by GPU-accelerated Large Displacement Optical Flow, ECCV 2010, with its constants.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)
        self._window: NDArray[np.float32] | None = None

    def estimate(
        self,
        previous: NDArray[np.uint8],
        current: NDArray[np.uint8],
        changed: NDArray[np.uint8],
        size: tuple[int, int],
    ) -> Motion:
        """Motion from `previous` to `current`, scaled to `size`.

        Args:
            previous: (hh, hw) uint8 luma, half of `size` or so, in the same gain as `current`.
            current: (hh, hw) uint8 luma.
            changed: (hh, hw) uint8, 255 where the two differ in place; elsewhere nothing moves.
            size: (h, w) in pixels of the flow that is returned.
        """
        height, width = current.shape
        active = cv2.countNonZero(changed) / changed.size
        if active == 0 or min(height, width) < SMALLEST_PX:
            return Motion(None, None, None, active, 1.0 if active == 0 else 0.0)
        start = self._camera_shift(previous, current) if active > 0.3 else (0.0, 0.0)
        backward = self._flow(current, previous, start)
        forward = self._flow(previous, current, (-start[0], -start[1]))
        if active < 0.6:  # the camera stands still: what did not change does not move
            near = cv2.dilate(changed, np.ones((9, 9), np.uint8))
            still = cv2.bitwise_not(near)
            backward[still > 0] = 0
            forward[still > 0] = 0
        occluded = self._occlusion(backward, forward)
        visible = cv2.countNonZero(cv2.bitwise_and(cv2.bitwise_not(occluded), changed))
        steady = visible / max(cv2.countNonZero(changed), 1)
        scale = np.array([size[1] / width, size[0] / height], np.float32)
        flow = cv2.resize(backward, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) * scale
        occluded = cv2.resize(occluded, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
        return Motion(
            backward, cast(NDArray[np.float32], flow), cast(NDArray[np.uint8], occluded), active, steady
        )

    def _camera_shift(self, previous: NDArray[np.uint8], current: NDArray[np.uint8]) -> tuple[float, float]:
        """Shift (x, y) of the whole picture where there is a large one, else (0, 0)."""
        if self._window is None or self._window.shape != current.shape:
            window = cv2.createHanningWindow((current.shape[1], current.shape[0]), cv2.CV_32F)
            self._window = cast(NDArray[np.float32], window)
        (x, y), response = cv2.phaseCorrelate(
            current.astype(np.float32), previous.astype(np.float32), self._window
        )
        large = max(abs(x), abs(y)) > LARGE_SHIFT_PX and response > 0.1
        return (x, y) if large else (0.0, 0.0)

    def _flow(
        self, source: NDArray[np.uint8], target: NDArray[np.uint8], start: tuple[float, float]
    ) -> NDArray[np.float32]:
        """(hh, hw, 2) float32 with `source(p)` like `target(p + flow(p))`."""
        if start == (0.0, 0.0):
            return cast(NDArray[np.float32], self._dis.calc(source, target, None))
        first = np.empty((*source.shape, 2), np.float32)
        first[:] = start
        return cast(NDArray[np.float32], self._dis.calc(source, target, first))

    def _occlusion(self, backward: NDArray[np.float32], forward: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(hh, hw) uint8, 255 where following `backward` and then `forward` does not lead home."""
        height, width = backward.shape[:2]
        where = pixel_grid((height, width)) + backward
        there = cv2.remap(forward, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        miss = squared_length(there + backward)
        bound = 0.01 * (squared_length(there) + squared_length(backward)) + 0.5
        inside = cv2.inRange(where, (-0.5, -0.5), (width - 0.5, height - 0.5))
        lost = (miss > bound).view(np.uint8) * np.uint8(255)
        return cast(NDArray[np.uint8], cv2.bitwise_or(lost, cv2.bitwise_not(inside)))


def move(picture: NDArray[np.uint8] | NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[Any]:
    """A new picture of the same type: each pixel fetched from where `flow` says that it was.

    Args:
        picture: (h, w) or (h, w, up to 4 channels) of the frame before.
        flow: (h, w, 2) float32 pixels (x, y), backward.
    """
    where = pixel_grid(flow.shape[:2]) + flow
    moved = cv2.remap(picture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(NDArray[Any], moved)


@lru_cache(maxsize=8)
def pixel_grid(size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, 2) float32: each pixel's own (x, y); shared, read-only."""
    grid = np.empty((size[0], size[1], 2), np.float32)
    grid[..., 0] = np.arange(size[1], dtype=np.float32)
    grid[..., 1] = np.arange(size[0], dtype=np.float32)[:, None]
    grid.flags.writeable = False
    return grid


def squared_length(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) float32 square of each vector's length, from (h, w, 2)."""
    x, y = cv2.split(flow)
    return cast(NDArray[np.float32], x * x + y * y)

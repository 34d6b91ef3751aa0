"""What the host hands to a device with each frame: the luma, and what the temporal stage saw in it.

One block of pinned memory, copied at once. What only a moving picture needs lies at its end, so that a still
one is a shorter copy.

What comes back from a device that has packed its picture for encoders.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Block
from irchroma.engines.gpu.kernels.source import frame_state_struct
from irchroma.engines.recolor.color_space import video_to_rgb
from irchroma.engines.temporal.gain import Curve, split_curve
from irchroma.engines.temporal.memory import ANCHOR_WEIGHT, JUMP_SHARE, SETTLE_MOVING_S, Observation
from irchroma.engines.temporal.motion import Area
from irchroma.engines.temporal.stage import TemporalOptions, half_size

_LAST_STILL = "tolerance"


class FrameLayout(Block):
    """Where in the block each part lies, for frames of one size.

    Attributes:
        size: (H, W) of the luma.
        work: (h, w) of the small picture.
        half: (hh, hw) at which the temporal stage compares.
        nbytes: of the block.
        still_nbytes: of its first part, which is all that a still picture needs.
    """

    def __init__(self, size: tuple[int, int], work: tuple[int, int]) -> None:
        self.size, self.work, self.half = size, work, half_size(work)
        half = self.half
        parts: dict[str, tuple[tuple[int, ...], Any]] = {
            "state": ((ctypes.sizeof(frame_state_struct()),), np.uint8),
            "luma": (size, np.uint8),
            "shown": (half, np.float32),
            "trust": (half, np.float32),
            "tolerance": (half, np.float32),
            "half_moving": (half, np.uint8),
            "half_source": ((*half, 2), np.float32),
        }
        super().__init__(parts)
        self.still_nbytes = self.nbytes_up_to(_LAST_STILL)


class FrameWriter:
    """Fills one block, frame after frame."""

    def __init__(
        self, layout: FrameLayout, block: NDArray[np.uint8], options: TemporalOptions, searches: bool = False
    ) -> None:
        """Args:
        layout: of the block.
        block: the host's.
        options: of the temporal stage.
        searches: the device finds the motion itself, and has written it to its own block.
        """
        self._layout = layout
        self._searches = searches
        self._parts = layout.on_host(block)
        self._options = options
        self._state = frame_state_struct().from_buffer(self._parts["state"])

    def write(self, luma: NDArray[np.uint8], seen: Observation | None) -> int:
        """Write one frame.

        Args:
            luma: (H, W) uint8 as it came.
            seen: of the temporal stage; None where there is none.

        Returns:
            How many bytes of the block the device needs.
        """
        np.copyto(self._parts["luma"], luma)
        state = self._state
        state.curve = state.held = state.moving = state.compared = 0
        state.cut = state.colored = 1
        state.still = state.share = 1.0
        state.ceiling = math.inf
        if seen is None:
            return self._layout.still_nbytes
        state.cut, state.held = int(seen.cut), int(seen.held)
        state.colored = int(seen.needs_color)
        if seen.luma_levels is not None:
            self._write_curve(seen.luma_levels)
        if seen.shown is not None:
            np.copyto(self._parts["shown"], seen.shown)
        if seen.trust is not None and seen.tolerance is not None:
            state.compared = 1
            np.copyto(self._parts["trust"], seen.trust)
            np.copyto(self._parts["tolerance"], seen.tolerance)
        state.still = math.exp(-seen.elapsed_s / self._options.settle_s)
        state.share = seen.frames * (JUMP_SHARE if seen.gain_jump else 1.0)
        state.ceiling = ANCHOR_WEIGHT if seen.anchor else math.inf
        if seen.half_area is None:
            return self._layout.still_nbytes
        state.moving = 1
        state.faster = math.exp(-seen.elapsed_s / SETTLE_MOVING_S) / state.still - 1.0
        state.half_area = _corners(seen.half_area)
        state.area = _corners(self._whole(seen.half_area))
        if seen.half_source is None:
            if not self._searches:
                raise EngineError("the temporal stage has not said what moved in this frame")
            return self._layout.still_nbytes  # it is there already
        for name, values in (("half_moving", seen.half_moving), ("half_source", seen.half_source)):
            if values is None:
                raise EngineError("the temporal stage has not said what moved in this frame")
            np.copyto(self._parts[name].ravel()[: values.size], values.ravel())
        return self._layout.nbytes

    def _whole(self, area: Area) -> Area:
        """The part of the work picture that a part of its half covers, as `MotionEstimator` rounds it."""
        whole = []
        for part, side, half in zip(area, self._layout.work, self._layout.half, strict=True):
            scale = side / half
            whole.append(slice(round(part.start * scale), round(part.stop * scale)))
        return whole[0], whole[1]

    def _write_curve(self, levels: Curve) -> None:
        whole, part = split_curve(levels)
        self._state.curve = 1
        ctypes.memmove(self._state.whole, whole.ctypes.data, whole.nbytes)
        ctypes.memmove(self._state.part, part.ctypes.data, part.nbytes)


def _corners(area: Area) -> Any:
    rows, columns = area
    return (ctypes.c_int * 4)(columns.start, rows.start, columns.stop, rows.stop)


_WIDTH_STEP, _HEIGHT_STEP = 8, 2


@dataclass(frozen=True)
class DevicePicture:
    """A colored frame in I420.

    Attributes:
        packed: (H * W * 3 / 2,) uint8, Y', Cb, Cr, BT.709 limited range, without padding; the caller's.
        size: (H, W).
        confidence: (h, w) uint8 at work size, 255 = sure.
    """

    packed: NDArray[np.uint8]
    size: tuple[int, int]
    confidence: NDArray[np.uint8] | None

    @property
    def planes(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Y' (H, W), Cb and Cr (H / 2, W / 2): views of `packed`."""
        height, width = self.size
        luma, half = height * width, (height // 2, width // 2)
        chroma = self.packed[luma:].reshape(2, *half)
        return self.packed[:luma].reshape(self.size), chroma[0], chroma[1]

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range, chroma of half the size; made on the CPU when asked for."""
        return video_to_rgb(*self.planes)


def can_pack(size: tuple[int, int]) -> bool:
    """Whether GStreamer's I420 of (H, W) has no padding; its rows begin at multiples of 4 bytes."""
    return size[0] % _HEIGHT_STEP == 0 and size[1] % _WIDTH_STEP == 0

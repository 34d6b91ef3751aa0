"""What comes back from a device that has packed its picture for encoders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.steps.i420 import PackOptions, unpack

ENCODERS = PackOptions("i420", "bt709", full_range=False)
"""What video encoders take: BT.709 matrix, limited range."""
_WIDTH_STEP, _HEIGHT_STEP = 8, 2


@dataclass(frozen=True)
class DevicePicture:
    """A colored frame in I420.

    Attributes:
        packed: (H * W * 3 / 2,) uint8, planes Y', Cb, Cr as in ENCODERS, without padding; the caller's to
        keep. size: (H, W). confidence: (h, w) uint8 at work size, 255 = sure.
    """

    packed: NDArray[np.uint8]
    size: tuple[int, int]
    confidence: NDArray[np.uint8] | None

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range, chroma of half the size; made on the CPU when asked for."""
        return unpack(self.packed, self.size, ENCODERS)


def can_pack(size: tuple[int, int]) -> bool:
    """Whether GStreamer's I420 of (H, W) has no padding; its rows begin at multiples of 4 bytes."""
    return size[0] % _HEIGHT_STEP == 0 and size[1] % _WIDTH_STEP == 0

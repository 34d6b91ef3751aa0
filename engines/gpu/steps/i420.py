"""The 4:2:0 layouts that encoders take, without padding: how the bytes of a packed picture lie.

Its levels are those of `Recoloring.planes`: BT.709 in limited range, chroma in the middle of 2x2 pixels.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.steps.filters import half_of

Layout = Literal["nv12", "i420"]
"""`nv12`: Cb and Cr alternate in one plane; `i420`: a plane each."""


def packed_bytes(size: tuple[int, int]) -> int:
    """Length of a packed picture of (H, W)."""
    height, width = half_of(size)
    return size[0] * size[1] + 2 * height * width


def planar(nv12: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """I420 of a packed NV12 picture of (H, W), even."""
    luma = size[0] * size[1]
    return np.concatenate([nv12[:luma], nv12[luma::2], nv12[luma + 1 :: 2]])


def packed_arguments(out: DeviceArray, size: tuple[int, int], layout: Layout) -> dict[str, Any]:
    """Where a kernel finds the first Cb and Cr of a packed picture of (H, W), and the others from there."""
    rows, columns = half_of(size)
    interleaved = layout == "nv12"
    first = size[0] * size[1]
    second = first + (1 if interleaved else columns * rows)
    length = (2 if interleaved else 1) * (columns * rows - 1) + 1
    return {
        "cb": out.part(first, (length,), np.uint8),
        "cr": out.part(second, (length,), np.uint8),
        "step": 2 if interleaved else 1,
        "pitch": columns * (2 if interleaved else 1),
    }

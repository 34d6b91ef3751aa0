"""R'G'B' to the 4:2:0 layouts that encoders take, matrix and range said out loud; the kernels' reference.

Chroma is that of the mean of four pixels, so its samples lie in their middle ("center" siting, as in MPEG-1
and JPEG); at odd sizes the last row and column count twice.

Reference: ITU-R BT.601-7, 2.5; ITU-R BT.709-6, 3.2 to 3.5; quantization to limited range as in both, to full
range as in ITU-T H.273, 8.3, equations for VideoFullRangeFlag = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.recolor.color_space import BT601, BT709

Layout = Literal["nv12", "i420"]
WEIGHTS = {"bt601": BT601, "bt709": BT709}
"""Matrix -> weights of R', G' and B' in Y'."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What the packed picture is.

    Attributes:
        layout: `nv12` (Cb and Cr alternate in one plane) or `i420` (a plane each).
        matrix: `bt601` or `bt709`.
        full_range: 0 to 255 instead of 16 to 235 and 240.
    """

    layout: Layout = "nv12"
    matrix: str = "bt709"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.layout not in ("nv12", "i420"):
            raise EngineOptionError(f"unknown layout {self.layout!r}: use nv12 or i420")
        if self.matrix not in WEIGHTS:
            raise EngineOptionError(f"unknown matrix {self.matrix!r}: use {' or '.join(WEIGHTS)}")

    @property
    def luma_scale(self) -> tuple[float, float]:
        """Factor and offset in levels."""
        return (1.0, 0.0) if self.full_range else (219 / 255, 16.0)

    @property
    def chroma_scale(self) -> float:
        """Factor; the offset is 128."""
        return 1.0 if self.full_range else 224 / 255


def packed_bytes(size: tuple[int, int]) -> int:
    """Length of a packed picture of (H, W)."""
    height, width = size
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


def pack(rgb: NDArray[np.uint8], options: PackOptions) -> NDArray[np.uint8]:
    """(packed_bytes,) uint8 without padding: the luma plane, then chroma; of (H, W, 3) uint8, full range."""
    height, width = rgb.shape[:2]
    weights = np.array(WEIGHTS[options.matrix], np.float32)
    factor, offset = options.luma_scale
    luma = (rgb.astype(np.float32) @ weights) * np.float32(factor) + np.float32(offset)
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge").astype(np.float32)
    mean = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).mean((1, 3))
    level = mean @ weights
    chroma = np.stack(
        [
            (mean[..., channel] - level) / (2 * (1 - weights[channel])) * options.chroma_scale + 128
            for channel in (2, 0)
        ],
        -1 if options.layout == "nv12" else 0,
    )
    parts = (np.rint(np.clip(plane, 0, 255)).astype(np.uint8).ravel() for plane in (luma, chroma))
    return np.concatenate(list(parts))


def planar(nv12: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """I420 of a packed NV12 picture of (H, W), even."""
    luma = size[0] * size[1]
    return np.concatenate([nv12[:luma], nv12[luma::2], nv12[luma + 1 :: 2]])


def unpack(data: NDArray[np.uint8], size: tuple[int, int], options: PackOptions) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B', full range, of an even-sized I420 picture; chroma is interpolated.

    Raises:
        EngineOptionError: another layout, or odd sides.
    """
    height, width = size
    if options.layout != "i420" or height % 2 or width % 2:
        raise EngineOptionError(f"expected i420 of even sides, got {options.layout} of {width}x{height}")
    red, green, blue = WEIGHTS[options.matrix]
    factor, offset = options.luma_scale
    luma = (data[: height * width].reshape(height, width).astype(np.float32) - offset) / factor
    halves = data[height * width :].reshape(2, height // 2, width // 2).astype(np.float32)
    chroma = [
        cv2.resize(plane - 128, (width, height), interpolation=cv2.INTER_LINEAR) / options.chroma_scale
        for plane in halves
    ]
    from_cb, from_cr = chroma[0] * (2 * (1 - blue)), chroma[1] * (2 * (1 - red))
    middle = luma - (blue * from_cb + red * from_cr) / green
    rgb = np.dstack([luma + from_cr, middle, luma + from_cb])
    return np.asarray(np.rint(np.clip(rgb, 0, 255)), np.uint8)


def packed_arguments(out: DeviceArray, size: tuple[int, int], options: PackOptions) -> dict[str, Any]:
    """What `compose_packed` needs to write a picture of (H, W) into `out` as `pack` does."""
    height, width = size
    columns, rows = (width + 1) // 2, (height + 1) // 2
    red, green, blue = WEIGHTS[options.matrix]
    factor, offset = options.luma_scale
    interleaved = options.layout == "nv12"
    first = height * width
    second = first + (1 if interleaved else columns * rows)
    length = (2 if interleaved else 1) * (columns * rows - 1) + 1
    return {
        "luma": out,
        "cb": out.part(first, (length,), np.uint8),
        "cr": out.part(second, (length,), np.uint8),
        "step": 2 if interleaved else 1,
        "pitch": columns * (2 if interleaved else 1),
        "red": red,
        "green": green,
        "blue": blue,
        "scale": factor,
        "offset": offset,
        "chroma_scale": options.chroma_scale,
    }

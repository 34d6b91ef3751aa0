"""A picture as encoders take it, I420 made by the engine's device: R'G'B' is neither moved nor packed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.lettering import Sprite
from irchroma.stream.picture.picture import StandIn
from irchroma.stream.picture.ycc import full_rgb_to_limited_ycc, limited_ycc_to_full_rgb

Rgb = NDArray[np.uint8]


@runtime_checkable
class PackedColored(Protocol):
    """A `Colored` that may also be read as I420; its `rgb` is then made from that, when asked for."""

    @property
    def packed(self) -> NDArray[np.uint8] | None:
        """(H * W * 3 / 2,) uint8: planes Y', Cb, Cr without padding, BT.709 limited range, chroma in the
        middle of 2x2 pixels; None where there is only `rgb`."""


@dataclass(frozen=True)
class PackedPicture(StandIn):
    """An I420 picture; stands in for its R'G'B' array, which is made when asked for.

    Attributes:
        data: (H * W * 3 / 2,) uint8 as in `PackedColored`; shared, never written to.
        size: (H, W), H even and W a multiple of 8, so that GStreamer's rows have no padding either.
    """

    data: NDArray[np.uint8]
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of the R'G'B' array."""
        return (*self.size, 3)

    @cached_property
    def rgb(self) -> Rgb:
        """(H, W, 3) uint8 R'G'B', full range."""
        return self.part((0, 0), self.size)

    def sampled(self, rows: int, columns: int) -> Rgb:
        """Every n-th row and column of `rgb`, chroma not interpolated, without making the rest of it."""
        luma, *chroma = _planes(self.data, self.size)
        places = np.ix_(
            np.arange(0, self.size[0], rows) // 2,
            np.arange(0, self.size[1], columns) // 2,
        )
        return limited_ycc_to_full_rgb(
            np.dstack([luma[::rows, ::columns], *(plane[places] for plane in chroma)])
        )

    def part(self, top_left: tuple[int, int], size: tuple[int, int]) -> Rgb:
        """A part of `rgb`; all of top, left, height and width even."""
        (top, left), (height, width) = top_left, size
        luma, *chroma = _planes(self.data, self.size)
        half = np.s_[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
        wide = (cv2.resize(plane[half], (width, height), interpolation=cv2.INTER_LINEAR) for plane in chroma)
        return limited_ycc_to_full_rgb(np.dstack([luma[top : top + height, left : left + width], *wide]))

    def with_sprite(self, sprite: Sprite, top: int, left: int) -> PackedPicture:
        """A copy with something small drawn on it; parts outside are cut off."""
        y0, x0 = max(top, 0) // 2 * 2, max(left, 0) // 2 * 2
        y1 = min(-(-(top + sprite.size[0]) // 2) * 2, self.size[0])
        x1 = min(-(-(left + sprite.size[1]) // 2) * 2, self.size[1])
        if y0 >= y1 or x0 >= x1:
            return self
        rgb = self.part((y0, x0), (y1 - y0, x1 - x0))
        sprite.lay_on(rgb, top - y0, left - x0)
        ycc = full_rgb_to_limited_ycc(rgb)
        half = cv2.resize(ycc, ((x1 - x0) // 2, (y1 - y0) // 2), interpolation=cv2.INTER_AREA)
        data = self.data.copy()
        luma, *chroma = _planes(data, self.size)
        luma[y0:y1, x0:x1] = ycc[..., 0]
        for channel, plane in enumerate(chroma, start=1):
            plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = half[..., channel]
        return PackedPicture(data, self.size)


def _planes(data: NDArray[np.uint8], size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Y', Cb and Cr as views."""
    height, width = size
    quarter = (height // 2) * (width // 2)
    ends = (0, height * width, height * width + quarter, height * width + 2 * quarter)
    shapes = ((height, width), *[(height // 2, width // 2)] * 2)
    return [
        data[first:last].reshape(shape) for first, last, shape in zip(ends, ends[1:], shapes, strict=False)
    ]

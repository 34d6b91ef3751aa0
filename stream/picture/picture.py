"""Pictures that encoders take without R'G'B'; a false-color one kept as luma and table.

R'G'B' full range to Y'CbCr limited range and back, BT.709.

A picture as encoders take it, I420 made by the engine's device: R'G'B' is neither moved nor packed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.picture.lettering import Sprite

_KR, _KB = 0.2126, 0.0722  # BT.709-6, 3.2
_KG = 1.0 - _KR - _KB


def _full_rgb_to_limited_ycc() -> NDArray[np.float32]:
    """(3, 4) float32: R'G'B' [0, 255] to Y' [16, 235], Cb and Cr [16, 240], offset in the last column."""
    cb, cr = 2 * (1 - _KB), 2 * (1 - _KR)
    rows = np.array(
        [
            [_KR, _KG, _KB],
            [-_KR / cb, -_KG / cb, (1 - _KB) / cb],
            [(1 - _KR) / cr, -_KG / cr, -_KB / cr],
        ]
    )
    rows *= np.array([[219.0], [224.0], [224.0]]) / 255.0  # BT.709-6, 4.6 for 8 bits
    return np.hstack([rows, [[16.0], [128.0], [128.0]]]).astype(np.float32)


FULL_RGB_TO_LIMITED_YCC = _full_rgb_to_limited_ycc()
"""(3, 4) float32 for `cv2.transform`, offset in the last column."""
FULL_RGB_TO_LIMITED_YCC.setflags(write=False)
_BACK = np.linalg.inv(FULL_RGB_TO_LIMITED_YCC[:, :3].astype(np.float64))
_BACK = np.hstack([_BACK, _BACK @ -FULL_RGB_TO_LIMITED_YCC[:, 3:].astype(np.float64)]).astype(np.float32)
_BACK.setflags(write=False)


def full_rgb_to_limited_ycc(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 Y', Cb, Cr, BT.709 limited range, of (H, W, 3) uint8 R'G'B', full range."""
    return np.asarray(cv2.transform(rgb, FULL_RGB_TO_LIMITED_YCC), np.uint8)


def limited_ycc_to_full_rgb(ycc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The reverse of `full_rgb_to_limited_ycc`, but for rounding."""
    return np.asarray(cv2.transform(ycc, _BACK), np.uint8)


@runtime_checkable
class IndexedColored(Protocol):
    """A `Colored` that may also be read as luma and table."""

    @property
    def index(self) -> NDArray[np.uint8] | None:
        """(H, W) uint8 row of `table` for each pixel; None where `rgb` is more than the table says."""

    @property
    def table(self) -> NDArray[np.uint8]:
        """(256, 1, 3) uint8 R'G'B', full range."""


class StandIn(ABC):
    """Something that stands in for an R'G'B' array, which is made when asked for."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of the R'G'B' array."""

    @property
    @abstractmethod
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range."""


@dataclass(frozen=True)
class IndexedPicture(StandIn):
    """A picture of at most 256 colors; stands in for its R'G'B' array, which is made when asked for.

    Attributes:
        index: (H, W) uint8 row of `table` for each pixel; shared, never written to.
        table: (256, 1, 3) uint8 R'G'B', full range.
    """

    index: NDArray[np.uint8]
    table: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as of the R'G'B' array."""
        return (*self.index.shape, 3)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range."""
        return np.asarray(cv2.applyColorMap(self.index, self.table), np.uint8)


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

"""Packs counts, luma or R'G'B' pictures for a lossless recording, untouched."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels

_FORMATS = {"counts": "GRAY16_LE", "luma": "GRAY8", "rgb": "BGRx"}
# GStreamer's range:matrix:transfer:primaries; full range, BT.709 (`sRGB` would be its word for R'G'B').
_FULL_RANGE = "1:3:5:1"


def encoder_for(size: tuple[int, int]) -> str:
    """FFV1 for pictures of `size` (H, W): every frame on its own and checksummed, by several threads.

    A broken disk then costs single frames. Few slices for large pictures are refused by libavcodec.
    """
    slices = 4 if size[0] * size[1] <= 4_000_000 else 16
    return f"avenc_ffv1 gop-size=1 slices={slices} slicecrc=1 threads=auto thread-type=slice"


def kind_of(picture: Pixels) -> str:
    """`counts`, `luma` or `rgb`."""
    if len(picture.shape) == 3:
        return "rgb"
    return "counts" if picture.dtype == np.uint16 else "luma"


class LosslessPacker:
    """Lays out pictures of one kind and size as GStreamer buffers.

    Attributes:
        size: (H, W) in pixels, odd or even.
        kind: `counts`, `luma` or `rgb`.
    """

    def __init__(self, size: tuple[int, int], kind: str) -> None:
        self.size, self.kind = size, kind
        height, width = size
        stride = -(-width * {"counts": 2, "luma": 1, "rgb": 4}[kind] // 4) * 4  # GStreamer's default
        self._buffer = np.zeros((height, stride), np.uint8)

    def appsrc(self, rate: Fraction, pixel_aspect: Fraction) -> str:
        """The launch text of an appsrc called `pictures` for these buffers; rate 0 where unknown."""
        colorimetry = "sRGB" if self.kind == "rgb" else _FULL_RANGE
        return (
            f"appsrc name=pictures format=time max-bytes=0 caps=video/x-raw,format={_FORMATS[self.kind]}"
            f",width={self.size[1]},height={self.size[0]},framerate={rate.numerator}/{rate.denominator}"
            f",pixel-aspect-ratio={pixel_aspect.numerator}/{pixel_aspect.denominator}"
            f",interlace-mode=progressive,colorimetry=(string){colorimetry}"
        )

    def pack(self, picture: Pixels) -> NDArray[np.uint8]:
        """The picture's bytes.

        Args:
            picture: (H, W) uint16 counts, (H, W) uint8 luma or (H, W, 3) uint8 R'G'B', of this size and kind.

        Returns:
            (H, stride) uint8, valid until the next call.

        Raises:
            StreamError: another kind or size.
        """
        picture = Picture.of(picture).array
        if kind_of(picture) != self.kind or picture.shape[:2] != self.size:
            raise StreamError(
                f"expected {self.kind} of {self.size[1]}x{self.size[0]},"
                f" got {kind_of(picture)} of {picture.shape[1]}x{picture.shape[0]}"
            )
        if self.kind == "rgb":
            view = self._buffer.reshape(*self.size, 4)
            cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA, dst=view)
            return self._buffer
        row = np.ascontiguousarray(picture).view(np.uint8)
        self._buffer[:, : row.shape[1]] = row
        return self._buffer

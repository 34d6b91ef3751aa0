"""One picture in the form it was made in, which gives R'G'B' when asked for; BT.709 Y'CbCr and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError
from irchroma.stream.picture.lettering import Sprite

LUMA = {
    "bt601": (0.299, 0.114),  # BT.601-7, 2.5.1
    "bt709": (0.2126, 0.0722),  # BT.709-6, 3.2
    "bt2020": (0.2627, 0.0593),  # BT.2020-2, table 4
}
"""Matrix -> the weights of R' and B' in luma; G' has the rest."""
_KR, _KB = LUMA["bt709"]
_KG = 1.0 - _KR - _KB


def _full_rgb_to_limited_ycc() -> NDArray[np.float32]:
    """(3, 4) float32: R'G'B' [0, 255] to Y' [16, 235], Cb and Cr [16, 240], offset in the last column."""
    cb, cr = 2 * (1 - _KB), 2 * (1 - _KR)
    rows = np.array(
        [[_KR, _KG, _KB], [-_KR / cb, -_KG / cb, (1 - _KB) / cb], [(1 - _KR) / cr, -_KG / cr, -_KB / cr]]
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


class Planes(NamedTuple):
    """I420: BT.709 matrix, limited range (16 to 235 and 240), chroma in the middle of 2x2 pixels.

    Attributes:
        y: (H, W) uint8; rows may have padding.
        cb, cr: (ceil(H / 2), ceil(W / 2)) uint8.
    """

    y: NDArray[np.uint8]
    cb: NDArray[np.uint8]
    cr: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Palette:
    """Luma and table of a false-color picture.

    Attributes:
        index: (H, W) uint8 row of `table` for each pixel.
        table: (256, 1, 3) uint8 R'G'B', full range.
    """

    index: NDArray[np.uint8]
    table: NDArray[np.uint8]


class OnDevice(Protocol):
    """A picture in a CUDA device's memory, never written to: NV12 as in `Planes`, rows without padding.

    Attributes:
        index: of the device.
        context: the CUcontext that the addresses belong to.
        format: `NV12`.
        size: (H, W), both even.
        addresses: of Y' and of CbCr.
        pitches: bytes from row to row of each.
    """

    @property
    def index(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def format(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def addresses(self) -> tuple[int, ...]: ...
    @property
    def pitches(self) -> tuple[int, ...]: ...

    def rows(self, top: int, bottom: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Of rows [top, bottom), both even, Y', Cb and Cr as in `Planes`, on the host."""

    def with_rows(self, top: int, planes: Sequence[NDArray[np.uint8]]) -> OnDevice | None:
        """Another picture on the device, these rows from `top` on in it; None where there is no room."""


class Halves(NamedTuple):
    """What a picture was composed of, for viewers who put it together otherwise; made when asked for.

    Attributes:
        luma: (H, W) uint8, what the sensor saw, tone mapped.
        color: the color of the same frame, of that size, marked where a network has guessed it.
        confidence: how sure that color is, as the confidence view shows it.
    """

    luma: NDArray[np.uint8]
    color: Callable[[], Picture]
    confidence: Callable[[], Picture]


class Picture:
    """A picture as it was made; its R'G'B' is made when somebody asks for it, once.

    Exactly one of `pixels`, `planes` (or `device`) and `palette` is there: encoders take planes as they are
    and a palette by one table for each plane, so that R'G'B' need never exist. All arrays are shared and
    never written to.

    Attributes:
        pixels: (H, W, 3) uint8 R'G'B' or (H, W) uint8 luma, full range, or (H, W) uint16 counts; or None.
        device: where its planes lie on a device; None for a picture of the host.
        palette: luma and table, or None.
        size: (H, W).
        halves: what a viewer's picture was composed of; None for others, cards among them.
        taken_ns: of what the camera took, see `Frame.taken_ns`; 0 where nobody says.
        masks: which privacy masks were laid on it, see `PrivacyMasks.digest`; empty for none.
    """

    halves: Halves | None = None
    taken_ns = 0
    masks = ""

    def __init__(
        self,
        pixels: NDArray[Any] | None = None,
        *,
        planes: Planes | None = None,
        palette: Palette | None = None,
        device: OnDevice | None = None,
    ) -> None:
        if sum(form is not None for form in (pixels, planes, palette, device)) != 1:
            raise ValueError("a picture is made of pixels, of planes or of a palette: give one of them")
        self.pixels, self._planes, self.palette, self.device = pixels, planes, palette, device
        if device is not None:
            self.size = device.size
            return
        first = palette.index if palette else planes.y if planes else pixels
        height, width = first.shape[:2]  # type: ignore[union-attr]
        self.size = int(height), int(width)

    @property
    def is_planar(self) -> bool:
        """Whether it has planes, wherever they are."""
        return self._planes is not None or self.device is not None

    @property
    def planes(self) -> Planes | None:
        """I420, or None; of a picture on a device copied from there the first time that somebody asks."""
        if self._planes is None and self.device is not None:
            self._planes = Planes(*self.device.rows(0, self.size[0]))
        return self._planes

    @classmethod
    def of(cls, picture: Picture | NDArray[Any]) -> Picture:
        """The picture itself, or one of an array."""
        return picture if isinstance(picture, Picture) else cls(picture)

    @classmethod
    def of_colored(cls, colored: Any) -> Picture:
        """What an engine gave (`irchroma.stream.protocols.Colored`): its planes, its palette or its rgb."""
        device = getattr(colored, "device", None)
        if device is not None:
            return cls(device=device)
        planes = getattr(colored, "planes", None)
        if planes is not None:
            return cls(planes=Planes(*planes))
        palette = getattr(colored, "palette", None)
        if palette is not None:
            return cls(palette=Palette(*palette))
        return cls(colored.rgb)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array: (H, W) for luma and counts, otherwise (H, W, 3)."""
        return (*self.size, 3) if self.pixels is None else self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 for counts, otherwise uint8."""
        return np.dtype(np.uint8) if self.pixels is None else self.pixels.dtype

    @property
    def array(self) -> NDArray[Any]:
        """Pixels as they came, otherwise `rgb`."""
        return self.rgb if self.pixels is None else self.pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """For `numpy.asarray`: the pixels as they came, otherwise R'G'B'."""
        return np.array(self.array, dtype, copy=bool(copy) or None)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range.

        Raises:
            StreamError: of 16-bit counts, which only a lossless sink takes.
        """
        if self.planes is not None:
            return _part(self.planes, (0, 0), self.size)
        if self.palette is not None:
            return np.asarray(cv2.applyColorMap(self.palette.index, self.palette.table), np.uint8)
        pixels = self.luma_or_rgb
        return pixels if pixels.ndim == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)

    @property
    def luma_or_rgb(self) -> NDArray[np.uint8]:
        """(H, W) uint8 where it is luma alone, otherwise `rgb`; errors as there."""
        if self.pixels is None:
            return self.rgb
        if self.pixels.dtype != np.uint8:
            raise StreamError(
                f"expected 8-bit pictures, got {self.pixels.dtype} counts:"
                " tone map them, or record them losslessly to .mkv"
            )
        return self.pixels

    def sampled(self, rows: int, columns: int) -> NDArray[np.uint8]:
        """Every n-th row and column of `rgb`; of planes without making the rest, chroma not interpolated."""
        if self.planes is None:
            return self.rgb[::rows, ::columns]
        luma, *chroma = self.planes
        if rows % 2 == 0 and columns % 2 == 0:
            parts = [plane[:: rows // 2, :: columns // 2] for plane in chroma]
        else:
            at = np.arange(0, self.size[0], rows) // 2, np.arange(0, self.size[1], columns) // 2
            parts = [plane[np.ix_(*at)] for plane in chroma]
        return limited_ycc_to_full_rgb(np.dstack([luma[::rows, ::columns], *parts]))

    def with_sprite(self, sprite: Sprite, top: int, left: int) -> Picture:
        """A copy with something small drawn on it, planes staying planes; parts outside are cut off."""
        if self.device is not None:
            drawn_there = _drawn_on(self.device, sprite, top, left)
            if drawn_there is not None:
                return Picture(device=drawn_there)
        planes = self.planes
        if planes is None:
            rgb = self.rgb.copy()
            sprite.lay_on(rgb, top, left)
            return Picture(rgb)
        y0, x0 = max(top, 0) // 2 * 2, max(left, 0) // 2 * 2
        y1 = min(-(-(top + sprite.size[0]) // 2) * 2, self.size[0])
        x1 = min(-(-(left + sprite.size[1]) // 2) * 2, self.size[1])
        if y0 >= y1 or x0 >= x1:
            return self
        rgb = _part(planes, (y0, x0), (y1 - y0, x1 - x0))
        sprite.lay_on(rgb, top - y0, left - x0)
        ycc = full_rgb_to_limited_ycc(rgb)
        half_size = -(-(y1 - y0) // 2), -(-(x1 - x0) // 2)
        ycc = cv2.copyMakeBorder(
            ycc, 0, 2 * half_size[0] - (y1 - y0), 0, 2 * half_size[1] - (x1 - x0), cv2.BORDER_REPLICATE
        )
        half = cv2.resize(ycc, half_size[::-1], interpolation=cv2.INTER_AREA)
        drawn = copied(planes)
        drawn.y[y0:y1, x0:x1] = ycc[: y1 - y0, : x1 - x0, 0]
        for channel, plane in enumerate(drawn[1:], start=1):
            plane[y0 // 2 : y0 // 2 + half_size[0], x0 // 2 : x0 // 2 + half_size[1]] = half[..., channel]
        return Picture(planes=drawn)


def _drawn_on(device: OnDevice, sprite: Sprite, top: int, left: int) -> OnDevice | None:
    """Its rows fetched, drawn on and put into another picture there; None where there is no room for one."""
    first = max(top, 0) // 2 * 2
    last = min(-(-(top + sprite.size[0]) // 2) * 2, device.size[0])
    if first >= last:
        return device
    drawn = Picture(planes=Planes(*device.rows(first, last))).with_sprite(sprite, top - first, left)
    return None if drawn.planes is None else device.with_rows(first, drawn.planes)


def planes_of(data: NDArray[np.uint8], size: tuple[int, int]) -> Planes:
    """Views of (H * W + 2 * ceil(H / 2) * ceil(W / 2),) uint8 without padding, for (H, W)."""
    height, width = size
    half = -(-height // 2), -(-width // 2)
    luma, quarter = height * width, half[0] * half[1]
    return Planes(
        data[:luma].reshape(size),
        data[luma : luma + quarter].reshape(half),
        data[luma + quarter : luma + 2 * quarter].reshape(half),
    )


def in_one_buffer(planes: Planes) -> NDArray[np.uint8] | None:
    """(N,) uint8 where the planes lie one behind the other without padding, as `planes_of` gives them."""
    data: Any = planes.y.base
    if not isinstance(data, np.ndarray) or data.ndim != 1 or data.dtype != np.uint8:
        return None
    if data.size != sum(plane.size for plane in planes):
        return None
    start = data.ctypes.data
    for plane in planes:
        if plane.base is not data or not plane.flags.c_contiguous or plane.ctypes.data != start:
            return None
        start += plane.size
    return data


def copied(planes: Planes) -> Planes:
    """The same in new memory, one buffer."""
    data = np.concatenate([plane.ravel() for plane in planes])
    return planes_of(data, (planes.y.shape[0], planes.y.shape[1]))


def _part(planes: Planes, top_left: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A part of the picture as R'G'B'; top and left even, odd sides only at the picture's end."""
    (top, left), (height, width) = top_left, size
    luma, *chroma = planes
    rows, columns = -(-height // 2), -(-width // 2)
    half = np.s_[top // 2 : top // 2 + rows, left // 2 : left // 2 + columns]
    wide = (
        cv2.resize(plane[half], (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)[:height, :width]
        for plane in chroma
    )
    return limited_ycc_to_full_rgb(np.dstack([luma[top : top + height, left : left + width], *wide]))

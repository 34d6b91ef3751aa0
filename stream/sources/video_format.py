"""Turns GStreamer's raw video layouts into our arrays: full-range luma, untouched counts, or rgb.

`LAYOUTS` is how each raw format that is read without a conversion lies in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceFormatError
from irchroma.stream.gstreamer.sample import Caps, Sample
from irchroma.stream.picture.picture import LUMA
from irchroma.stream.remarks import remark

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]

NEUTRAL_LEVELS = 6
"""Cb and Cr of a monochrome camera stay this near to 128: H.264 noise of such cameras was +-2 (of 255)."""
NEUTRAL_SHARE = 0.01
"""A picture is in color when more than this share of its chroma samples is further away than that."""
_TESTED_SAMPLES = 4096  # of the chroma planes, on a grid


def sample_to_pixels(sample: Sample, color: bool = True, full_range: bool | None = None) -> U8 | U16:
    """The picture of a sample.

    Args:
        sample: raw video in one of `LAYOUTS`; limited range is expanded, the matrix is that of its caps.
        color: false takes the luma even of a picture in color.
        full_range: what to take the range of Y'CbCr for instead of what the caps say.

    Returns:
        (H, W) uint16 counts for 16-bit and 10-bit gray, untouched; (H, W, 3) uint8 R'G'B', full range,
        where `color` and the picture is in color; else (H, W) uint8 luma, full range. C-contiguous; may
        share memory with `sample.data`.

    Raises:
        SourceFormatError: a format that is not in `LAYOUTS`.
    """
    caps = sample.caps
    layout = LAYOUTS.get(caps.format)
    if layout is None:
        raise SourceFormatError(
            f"unsupported video format {caps.format}, expected one of: {', '.join(LAYOUTS)}"
        )
    full = caps.full_range if full_range is None else full_range
    if layout.kind == "counts":
        return _counts(sample.data, caps, layout)
    if layout.kind == "gray":
        return _expanded(_plane(sample.data, caps, 0, caps.size), layout, full)
    if layout.bits > 8:
        remark(f"pictures of {layout.bits} bits are not counts and were brought to 8 bits")
    if layout.kind == "rgb":
        if "A" in caps.format:
            remark("transparency is left out")
        return _from_rgb(_plane(sample.data, caps, 0, caps.size, layout.order[3]), layout, color)
    y, u, v = _y_u_v(sample.data, caps, layout)
    if not color or is_neutral(*(_to_eight_bits(plane, layout, coarse=True) for plane in (u, v))):
        return _expanded(y, layout, full)
    planes = [_to_eight_bits(plane, layout) for plane in (y, u, v)]
    return _ycc_to_rgb(planes[0], planes[1], planes[2], layout.subsampling, caps.matrix, full)


def sample_to_words(sample: Sample) -> U16:
    """(H, W) uint16: the two bytes of each pixel of a packed 4:2:2 or 16-bit gray picture as one word.

    Raises:
        SourceFormatError: in any other format the sensor's words have been lost.
    """
    caps = sample.caps
    layout = LAYOUTS.get(caps.format)
    if layout is not None and layout.kind == "counts":
        return _counts(sample.data, caps, layout)
    if caps.format not in ("YUY2", "UYVY"):
        raise SourceFormatError(
            f"expected the camera's YUYV frames unchanged, as raw video, got {caps.format}: there are no"
            " counts in what has been compressed or converted"
        )
    # the luma byte is the low one
    rows = np.ascontiguousarray(_plane(sample.data, caps, 0, caps.size, 2))
    return rows.view("<u2" if caps.format == "YUY2" else ">u2").astype(np.uint16, copy=False)


def upright(pixels: U8 | U16, turn: str) -> U8 | U16:
    """Turn a picture as its `image-orientation` tag asks for: `rotate-90`, `flip-rotate-180` ... or empty."""
    if not turn or turn == "rotate-0":
        return pixels
    quarters = {"0": 0, "90": 3, "180": 2, "270": 1}.get(turn.rsplit("-", 1)[-1], 0)
    turned: Any = np.rot90(pixels, quarters)
    if turn.startswith("flip-"):
        turned = turned[:, ::-1]
    result: U8 | U16 = np.ascontiguousarray(turned)
    return result


def is_neutral(u: U8, v: U8) -> bool:
    """Whether (h, w) uint8 chroma planes, 128 = none, are a gray picture's; looks at a grid of samples."""
    step = max(1, int((u.size / _TESTED_SAMPLES) ** 0.5))
    grids = [plane[step // 2 :: step, step // 2 :: step] for plane in (u, v)]
    colored = np.maximum(*(np.abs(grid.astype(np.int16) - 128) for grid in grids)) > NEUTRAL_LEVELS
    return bool(np.count_nonzero(colored) <= NEUTRAL_SHARE * colored.size)


def _plane(data: U8, caps: Caps, index: int, shape: tuple[int, int], item: int = 1) -> U8:
    """A view of one plane: (h, w * item) uint8 bytes."""
    stride, offset = caps.strides[index], caps.offsets[index]
    height, row = shape[0], shape[1] * item
    if offset + (height - 1) * stride + row > data.size:
        raise SourceFormatError(
            f"expected {caps.format} of {caps.size[1]}x{caps.size[0]}, got a buffer of only {data.size} bytes"
        )
    return np.lib.stride_tricks.as_strided(data[offset:], (height, row), (stride, 1), writeable=False)


def _words(data: U8, caps: Caps, index: int, shape: tuple[int, int], layout: Layout) -> U8 | U16:
    """A plane's samples, (h, w) uint8, or uint16 for more than 8 bits."""
    if layout.bits == 8:
        return _plane(data, caps, index, shape)
    return np.ascontiguousarray(_plane(data, caps, index, shape, 2)).view("<u2")


def _counts(data: U8, caps: Caps, layout: Layout) -> U16:
    height, width = caps.size
    if layout.bits == 16 or layout.word_bits == 16:
        rows = np.ascontiguousarray(_plane(data, caps, 0, caps.size, 2))
        counts: U16 = rows.view(">u2" if layout.big_endian else "<u2").astype(np.uint16, copy=False)
        return counts
    # GRAY10_LE32: three samples of 10 bits in each 32-bit word, lowest first
    words = np.ascontiguousarray(_plane(data, caps, 0, (height, (width + 2) // 3), 4)).view("<u4")
    spread = np.stack([words >> shift & 1023 for shift in (0, 10, 20)], axis=-1)  # (H, words, 3)
    return np.ascontiguousarray(spread.reshape(height, -1)[:, :width].astype(np.uint16))


def _y_u_v(data: U8, caps: Caps, layout: Layout) -> tuple[U8 | U16, U8 | U16, U8 | U16]:
    """Views of the three components as they are stored: luma (H, W), chroma (h, w)."""
    height, width = caps.size
    down, across = layout.subsampling
    small = (-(-height // down), -(-width // across))
    if layout.kind == "planar":
        shapes = (caps.size, small, small)
        y, u, v = (_words(data, caps, p, s, layout) for p, s in zip(layout.order, shapes, strict=True))
        return y, u, v
    if layout.kind == "semi":
        pairs = _words(data, caps, 1, (small[0], small[1] * 2), layout)
        first, second = layout.order
        return _words(data, caps, 0, caps.size, layout), pairs[:, first::2], pairs[:, second::2]
    quads = _plane(data, caps, 0, (height, small[1]), 4)
    y_at, u_at, v_at = layout.order
    return quads[:, y_at::2][:, :width], quads[:, u_at::4], quads[:, v_at::4]


@lru_cache(maxsize=32)
def _luma_table(bits: int, shift: int, full_range: bool) -> U8:
    """(2 ** (bits + shift),) uint8: stored Y' -> full-range 8 bits. BT.709-6, 3.4: black is 16, white 235."""
    stored = np.arange(2 ** (bits + shift), dtype=np.float64) / 2**shift
    scale = 2 ** (bits - 8)
    black, white = (0.0, 256.0 * scale - 1) if full_range else (16.0 * scale, 235.0 * scale)
    table: U8 = np.clip(np.rint((stored - black) * 255 / (white - black)), 0, 255).astype(np.uint8)
    return table


def _expanded(y: U8 | U16, layout: Layout, full_range: bool) -> U8:
    if layout.bits == 8 and full_range:
        return np.ascontiguousarray(y).astype(np.uint8, copy=False)
    if layout.bits == 8:  # as the table below says, in half the time of looking it up
        above_black = np.asarray(cv2.subtract(np.ascontiguousarray(y), 16.0), np.uint8)
        return np.asarray(cv2.convertScaleAbs(above_black, dst=above_black, alpha=255 / 219), np.uint8)
    table = _luma_table(layout.bits, layout.shift, full_range)
    luma: U8 = np.take(table, y, mode="clip")  # a stray high bit must not raise
    return luma


def _to_eight_bits(plane: U8 | U16, layout: Layout, coarse: bool = False) -> U8:
    """The top 8 bits of a plane; `coarse` looks at every fourth sample of wide words only."""
    if layout.bits == 8:
        return plane.astype(np.uint8, copy=False)
    plane = plane[::4, ::4] if coarse else plane
    top: U8 = np.minimum(plane >> (layout.bits + layout.shift - 8), 255).astype(np.uint8)
    return top


def _from_rgb(pixels: U8, layout: Layout, color: bool) -> U8:
    r_at, g_at, b_at, item = layout.order
    packed = pixels.reshape(pixels.shape[0], -1, item)
    rgb = np.ascontiguousarray(packed[:, :, [r_at, g_at, b_at]])
    step = max(1, int((rgb.size / 3 / _TESTED_SAMPLES) ** 0.5))
    grid = rgb[step // 2 :: step, step // 2 :: step]
    spread = grid.max(axis=2).astype(np.int16) - grid.min(axis=2)
    if color and np.count_nonzero(spread > 2 * NEUTRAL_LEVELS) > NEUTRAL_SHARE * spread.size:
        return rgb
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


@lru_cache(maxsize=16)
def _ycc_matrix(matrix: str, full_range: bool) -> NDArray[np.float64]:
    """(3, 4): stored 8-bit Y', Cb, Cr, 1 -> R', G', B' in [0, 255]. H.273, 8.3, equations 41 to 43."""
    kr, kb = LUMA.get(matrix, LUMA["bt601"])
    kg = 1 - kr - kb
    luma_gain, chroma_gain = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    black = 0 if full_range else 16
    blue, red = 2 * (1 - kb) * chroma_gain, 2 * (1 - kr) * chroma_gain
    linear = np.array(
        [
            [luma_gain, 0.0, red],
            [luma_gain, -blue * kb / kg, -red * kr / kg],
            [luma_gain, blue, 0.0],
        ]
    )
    return np.hstack([linear, -linear @ np.array([[black], [128.0], [128.0]])])


def _ycc_to_rgb(y: U8, u: U8, v: U8, subsampling: tuple[int, int], matrix: str, full_range: bool) -> U8:
    """(H, W) luma and (h, w) chroma to (H, W, 3) uint8 R'G'B', full range."""
    height, width = y.shape
    chroma = cv2.merge([np.ascontiguousarray(u), np.ascontiguousarray(v)])
    if subsampling != (1, 1):
        down, across = subsampling
        # H.264 E.2.1, chroma_sample_loc_type 0: beside the left luma sample, halfway between the rows
        to_chroma = np.array([[1 / across, 0, 0], [0, 1 / down, (1 - down) / (2 * down)]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        chroma = cv2.warpAffine(
            chroma, to_chroma, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    ycc = cv2.merge([np.ascontiguousarray(y), *cv2.split(chroma)])
    return np.asarray(cv2.transform(ycc, _ycc_matrix(matrix, full_range)), np.uint8)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one of GStreamer's formats lies in memory.

    Attributes:
        kind: `gray` and `counts` have one plane, `planar` has three, `semi` (planar) has Y and an
            interleaved chroma plane, `packed` is 4:2:2 in one plane, `rgb` has 3 or 4 bytes a pixel.
        subsampling: luma samples per chroma sample, (down, across).
        order: `planar`: planes of Y, U, V; `semi`: places of U, V in the pair; `packed`: places of
            Y, U, V in the four bytes of two pixels; `rgb`: places of R, G, B, then bytes per pixel.
        bits: significant bits of a sample.
        shift: bits below them in the stored word (P010 keeps 10 bits at the top of 16).
        big_endian: byte order of 16-bit words.
        word_bits: of counts, 32 where a word has three of them, 16 where it has one.
    """

    kind: Literal["gray", "counts", "planar", "semi", "packed", "rgb"]
    subsampling: tuple[int, int] = (1, 1)
    order: tuple[int, ...] = (0, 1, 2)
    bits: int = 8
    shift: int = 0
    big_endian: bool = False
    word_bits: int = 32


LAYOUTS: dict[str, Layout] = {
    "GRAY8": Layout("gray"),
    "GRAY16_LE": Layout("counts", bits=16),
    "GRAY16_BE": Layout("counts", bits=16, big_endian=True),
    "GRAY10_LE32": Layout("counts", bits=10),
    "GRAY10_LE16": Layout("counts", bits=10, word_bits=16),  # GStreamer 1.24 and later
    "I420": Layout("planar", (2, 2)),
    "YV12": Layout("planar", (2, 2), (0, 2, 1)),
    "Y42B": Layout("planar", (1, 2)),
    "Y41B": Layout("planar", (1, 4)),
    "Y444": Layout("planar"),
    "I420_10LE": Layout("planar", (2, 2), bits=10),
    "I422_10LE": Layout("planar", (1, 2), bits=10),
    "Y444_10LE": Layout("planar", bits=10),
    "I420_12LE": Layout("planar", (2, 2), bits=12),
    "I422_12LE": Layout("planar", (1, 2), bits=12),
    "Y444_12LE": Layout("planar", bits=12),
    "NV12": Layout("semi", (2, 2), (0, 1)),
    "NV21": Layout("semi", (2, 2), (1, 0)),
    "NV16": Layout("semi", (1, 2), (0, 1)),
    "NV61": Layout("semi", (1, 2), (1, 0)),
    "NV24": Layout("semi", (1, 1), (0, 1)),
    "P010_10LE": Layout("semi", (2, 2), (0, 1), bits=10, shift=6),
    "P012_LE": Layout("semi", (2, 2), (0, 1), bits=12, shift=4),
    "YUY2": Layout("packed", (1, 2), (0, 1, 3)),
    "YVYU": Layout("packed", (1, 2), (0, 3, 1)),
    "UYVY": Layout("packed", (1, 2), (1, 0, 2)),
    "VYUY": Layout("packed", (1, 2), (1, 2, 0)),
    "RGB": Layout("rgb", order=(0, 1, 2, 3)),
    "BGR": Layout("rgb", order=(2, 1, 0, 3)),
    "RGBx": Layout("rgb", order=(0, 1, 2, 4)),
    "RGBA": Layout("rgb", order=(0, 1, 2, 4)),
    "BGRx": Layout("rgb", order=(2, 1, 0, 4)),
    "BGRA": Layout("rgb", order=(2, 1, 0, 4)),
    "xRGB": Layout("rgb", order=(1, 2, 3, 4)),
    "ARGB": Layout("rgb", order=(1, 2, 3, 4)),
    "xBGR": Layout("rgb", order=(3, 2, 1, 4)),
    "ABGR": Layout("rgb", order=(3, 2, 1, 4)),
}
"""Every format that is read without a conversion; counts must be among them, as GStreamer's
`videoconvert` would crush them."""


def accepted_caps() -> str:
    """The caps of an appsink that takes exactly `LAYOUTS`."""
    return "video/x-raw,format=(string){" + ",".join(LAYOUTS) + "}"

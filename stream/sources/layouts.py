"""How each raw video format of GStreamer that is read without a conversion lies in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """

    kind: Literal["gray", "counts", "planar", "semi", "packed", "rgb"]
    subsampling: tuple[int, int] = (1, 1)
    order: tuple[int, ...] = (0, 1, 2)
    bits: int = 8
    shift: int = 0
    big_endian: bool = False


LAYOUTS: dict[str, Layout] = {
    "GRAY8": Layout("gray"),
    "GRAY16_LE": Layout("counts", bits=16),
    "GRAY16_BE": Layout("counts", bits=16, big_endian=True),
    "GRAY10_LE32": Layout("counts", bits=10),
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

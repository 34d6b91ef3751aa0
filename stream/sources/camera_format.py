"""Chooses, from what a camera offers, the format that brings most of the sensor here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from irchroma.stream.errors import SourceFormatError, StreamOptionError
from irchroma.stream.sources.video_format import LAYOUTS

_V4L2_NAMES = {
    "Y16": "GRAY16_LE", "Y16_BE": "GRAY16_BE", "Y8": "GRAY8", "GREY": "GRAY8", "YUYV": "YUY2", "MJPG": "JPEG",
}  # fmt: skip
_KIND_RANK = {"counts": 0, "gray": 1, "planar": 2, "semi": 2, "packed": 2, "JPEG": 3, "H264": 4, "rgb": 5}
_MEDIA = {"image/jpeg": "JPEG", "video/x-h264": "H264"}
_SMOOTH_HZ = 15
"""A larger picture is not taken at a lower rate than this where a smaller one is faster."""

COUNTS_BELOW = {(384, 256): 192}
"""(H, W) of YUYV modes with the picture above and 16-bit counts (1/64 K) below, and the picture's rows:
Topdon TC001, InfiRay P2 Pro (from their owners' programs; never run on such a camera here)."""

_FIELD = re.compile(r"([\w-]+)=\((?:string|int|fraction)\)\s*(\{[^}]*\}|\[[^\]]*\]|[^,;]+)")


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What is asked of a V4L2 camera.

    Attributes:
        format: `auto`, or V4L2's or GStreamer's name: `Y16`, `GRAY8`, `YUYV`, `NV12`, `MJPG` ...
        width, height: pixels, 0 for the largest.
        rate: frames per second, 0 for the fastest.
        counts_below: cameras that send counts below the picture: `auto` takes the counts where the mode
            is known, `never` the whole frame's luma.
    """

    format: str = "auto"
    width: int = 0
    height: int = 0
    rate: float = 0.0
    counts_below: Literal["auto", "never"] = "auto"

    def __post_init__(self) -> None:
        if bool(self.width) != bool(self.height) or min(self.width, self.height, self.rate) < 0:
            raise StreamOptionError(
                f"expected both width and height, or none: got {self.width}x{self.height} at {self.rate} Hz"
            )


@dataclass(frozen=True, slots=True)
class CameraFormat:
    """One mode of a camera.

    Attributes:
        name: GStreamer's format, or `JPEG`, `H264`.
        size: (H, W) in pixels.
        rate: frames per second, 0 where the camera does not say.
        picture_rows: rows of the picture above the counts, 0 where there are none.
    """

    name: str
    size: tuple[int, int]
    rate: Fraction
    picture_rows: int = 0

    @property
    def caps(self) -> str:
        """As GStreamer writes it."""
        media = next((m for m, name in _MEDIA.items() if name == self.name), "")
        head = media or f"video/x-raw,format=(string){self.name}"
        rate = f",framerate=(fraction){self.rate.numerator}/{self.rate.denominator}" if self.rate else ""
        return f"{head},width=(int){self.size[1]},height=(int){self.size[0]}{rate}"

    def __str__(self) -> str:
        rate = f" at {float(self.rate):.3g} Hz" if self.rate else ""
        below = ", counts below the picture" if self.picture_rows else ""
        return f"{self.name} {self.size[1]}x{self.size[0]}{rate}{below}"


def read_formats(caps: tuple[str, ...]) -> list[CameraFormat]:
    """The modes that a camera's caps name, those that cannot be read here left out.

    Args:
        caps: structures as GStreamer writes them: `video/x-raw, format=(string)GRAY16_LE, width=...`.
    """
    found: list[CameraFormat] = []
    for line in caps:
        media = re.split(r"[,;(]", line, maxsplit=1)[0].strip()
        fields = dict(_FIELD.findall(line))
        names = _values(fields.get("format", "")) if media == "video/x-raw" else [_MEDIA.get(media, "")]
        rates = [_rate(text) for text in _values(fields.get("framerate", "0/1"))]
        sizes = [(h, w) for h in _values(fields.get("height", "")) for w in _values(fields.get("width", ""))]
        for name in names:
            if name not in LAYOUTS and name not in _MEDIA.values():
                continue
            for height, width in sizes:
                size = (int(height), int(width))
                rows = COUNTS_BELOW.get(size, 0) if name == "YUY2" else 0
                found.extend(CameraFormat(name, size, rate, rows) for rate in rates)
    return found


def choose_format(caps: tuple[str, ...], options: CameraOptions | None = None) -> CameraFormat:
    """The best mode: counts, then 8-bit gray, then luma of Y'CbCr, then MJPEG; then size, then rate.

    Raises:
        SourceFormatError: the camera has none that fits; names those it has.
    """
    options = options or CameraOptions()
    formats = read_formats(caps)
    wanted = _V4L2_NAMES.get(options.format.upper(), options.format)
    fitting = [
        mode
        for mode in formats
        if wanted.lower() in ("auto", mode.name.lower())
        and (not options.width or mode.size == (options.height, options.width))
        and (not options.rate or not mode.rate or abs(float(mode.rate) - options.rate) < 0.5)
        and not _is_telemetry(mode, formats, options)
    ]
    if not fitting:
        offered = "; ".join(dict.fromkeys(map(str, formats))) or "nothing that can be read"
        raise SourceFormatError(f"no fitting format, the camera offers: {offered[:600]}")
    fastest = max(mode.rate for mode in fitting)
    best = max(fitting, key=lambda mode: _worth(mode, fastest, options))
    if options.counts_below == "never":
        return CameraFormat(best.name, best.size, best.rate)
    return best


def _worth(mode: CameraFormat, fastest: Fraction, options: CameraOptions) -> tuple[float, ...]:
    kind = LAYOUTS[mode.name].kind if mode.name in LAYOUTS else mode.name
    counts = mode.picture_rows and options.counts_below == "auto"
    smooth = mode.rate >= min(fastest, Fraction(_SMOOTH_HZ))
    return (
        0 if counts else -_KIND_RANK[kind],
        float(smooth),
        float(mode.size[0] * mode.size[1]),
        float(mode.rate),
        -list(LAYOUTS).index(mode.name) if mode.name in LAYOUTS else 0.0,
    )


def _is_telemetry(mode: CameraFormat, formats: list[CameraFormat], options: CameraOptions) -> bool:
    """Lepton and its kin offer their picture once more with two or so rows of telemetry: 160x120, 160x122."""
    if options.width:
        return False
    same = (other.size for other in formats if other.name == mode.name)
    return any(w == mode.size[1] and 0 < mode.size[0] - h <= 4 for h, w in same)


def _values(text: str) -> list[str]:
    """`{ a, b }`, a single value, or both ends of a range `[ a, b ]` or `[ a, b, step ]`."""
    parts = [part.strip().removeprefix("(string)").strip() for part in text.strip("{}[] ").split(",")]
    return [part for part in (parts[:2] if text.startswith("[") else parts) if part]


def _rate(text: str) -> Fraction:
    rate = Fraction(text)
    return rate if rate <= 1000 else Fraction(0)  # a range's open end

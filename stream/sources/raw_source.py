"""Headerless raw video, as a camera's own software writes it: from a file, standard input or TCP."""

from __future__ import annotations

import dataclasses
import difflib
import os
import select
import socket
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from irchroma.stream.errors import SourceError, SourceFormatError, SourceLost, StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.gstreamer.door import EndOfStream, GstFailure, modules
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Sample
from irchroma.stream.ipv6 import bracket_hint
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sources.addresses import why_unreachable
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, Pixels, SourcePlan
from irchroma.stream.sources.pictures.picture_file import require_pixels

_FORMATS = {  # name -> (GStreamer's format, bytes per pixel)
    "gray16le": ("gray16-le", 2),
    "gray16be": ("gray16-be", 2),
    "gray8": ("gray8", 1),
    "yuyv": ("yuy2", 2),
    "uyvy": ("uyvy", 2),
    "rgb": ("rgb", 3),
    "bgr": ("bgr", 3),
}
_ALIASES = {"y16": "gray16le", "y8": "gray8", "grey": "gray8", "yuy2": "yuyv"}
_KEYS = ("size", "format", "rate", "live")
_READ_BYTES = 65536
"""At once at most, from a pipe or a connection: with GStreamer's own 4096 a frame of 1920x1080 takes 2.4 ms
of a core in place of 1.1, of 640x512 0.7 in place of 0.45."""
_CONNECT_S = 5.0
_EXAMPLE = "raw:FILE?size=640x512&format=gray16le&rate=30 (- for standard input, tcp://host:port)"


@dataclass(frozen=True, slots=True)
class RawLayout:
    """What headerless video holds.

    Attributes:
        size: (H, W) in pixels, rows without padding.
        format: `gray16le`, `gray16be`, `gray8`, `yuyv`, `uyvy`, `rgb`, `bgr`.
        rate: frames per second.
        live: newest frame wins instead of every frame in order.
    """

    size: tuple[int, int]
    format: str = "gray16le"
    rate: Fraction = Fraction(30)
    live: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one picture."""
        return self.size[0] * self.size[1] * _FORMATS[self.format][1]


def parse_raw_address(text: str) -> tuple[str, RawLayout]:
    """`raw:frames.bin?size=640x512&format=gray16le&rate=30` as the place and the layout.

    Raises:
        StreamOptionError: no size, an unknown key (the nearest is named) or a bad value.
    """
    rest = text.removeprefix("raw:")
    place, _, query = rest.rpartition("?") if "?" in rest else (rest, "", "")
    values: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1, 0.0)
            raise StreamOptionError(f"unknown key {key!r} of raw:, did you mean {near[0]!r}?")
        try:
            values[key] = _value(key, value)
        except (ValueError, KeyError, ZeroDivisionError):
            raise StreamOptionError(f"bad value {value!r} of {key!r}: expected {_EXAMPLE}") from None
    if not place or "size" not in values:
        raise StreamOptionError(f"raw video says nothing of itself: expected {_EXAMPLE}")
    return place, RawLayout(**values)


def _value(key: str, text: str) -> Any:
    if key == "size":
        width, height = (int(part) for part in text.lower().split("x"))
        if not (0 < width <= 16384 and 0 < height <= 16384):
            raise ValueError
        return height, width
    if key == "rate":
        rate = Fraction(text)
        if not 0 < rate <= 1000:
            raise ValueError
        return rate.limit_denominator(1001)
    if key == "live":
        return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
    name = text.lower().replace("_", "").replace("-", "")
    name = _ALIASES.get(name, name)
    if name not in _FORMATS:
        raise ValueError
    return name


def _is_whole(net: SplitResult) -> bool:
    """Whether it has a host and a port."""
    try:
        return bool(net.hostname and net.port)
    except ValueError:
        return False


class RawSource(GstSource):
    """A `FrameSource`: raw frames one after the other; the n-th has the time n / rate."""

    def __init__(self, text: str, pictures: PictureOptions | None = None) -> None:
        """Raises StreamOptionError for an address that leaves something open."""
        super().__init__(pictures)
        self._place, self._layout = parse_raw_address(text)
        self._net = urlsplit(self._place) if self._place.startswith("tcp://") else None
        if self._net is not None and not _is_whole(self._net):
            raise StreamOptionError(f"{self._place}: expected tcp://host:port{bracket_hint(self._place)}")
        self._name = "standard input" if self._place == "-" else self._place
        self._connection: socket.socket | None = None
        self._piped_bytes, self._over = 0, False  # of standard input, whose bytes come once
        self._known: VideoInfo | None = None

    def plan(self) -> SourcePlan:
        layout = self._layout
        require_pixels(self._name, layout.size, self._pictures.max_megapixels)
        head = f"fdsrc fd=0 name=in blocksize={_READ_BYTES}"
        properties: dict[str, Any] = {}
        if self._place == "-":
            self._finish_torn_frame()
        if self._net is not None:
            self._connection = self._connected(self._net.hostname or "", self._net.port or 0)
            properties = {"fd": self._connection.fileno()}
        elif self._place != "-":
            self._check_file(Path(self._place))
            head, properties = "filesrc name=in", {"location": self._place}
        (height, width), (name, item) = layout.size, _FORMATS[layout.format]
        rate = f"{layout.rate.numerator}/{layout.rate.denominator}"
        return SourcePlan(
            launch=(
                f"{head} ! rawvideoparse format={name} width={width} height={height} framerate={rate}"
                f' plane-strides="<{width * item}>"'
            ),
            properties={"in": properties},
            live=layout.live or self._net is not None,
            description=f"{self._name}, raw",
            convert=False,
        )

    def open(self) -> VideoInfo:
        try:
            self._known = dataclasses.replace(super().open(), once=self._place == "-")
        except SourceError:
            if self._known is None or not self._over:
                raise
        return self._known

    def read(self, timeout_s: float) -> Frame | None:
        return None if self._over else super().read(timeout_s)

    def ended(self, frames: int, pts_ns: int) -> None:
        self._over = self._place == "-"
        super().ended(frames, pts_ns)

    def _attach(self, coded: str, pipeline: Pipeline) -> None:
        super()._attach(coded, pipeline)
        if self._place == "-":
            gst = modules()["Gst"]

            def comes(_pad: Any, info: Any) -> Any:
                self._piped_bytes += info.get_buffer().get_size()
                return gst.PadProbeReturn.OK

            pad = pipeline.element("in").get_static_pad("src")
            pad.add_probe(gst.PadProbeType.BUFFER, comes)

    def _finish_torn_frame(self) -> None:
        """Take the rest of a frame in whose middle the pipe fell silent: all after it would be torn."""
        while torn := self._piped_bytes % self._layout.frame_bytes:
            if not select.select([0], [], [], self.open_timeout_s)[0]:
                raise SourceLost(f"{self._name}: no frame within {self.open_timeout_s:g} s")
            data = os.read(0, min(self._layout.frame_bytes - torn, _READ_BYTES))
            if not data:
                return
            self._piped_bytes += len(data)

    def _pull(self, timeout_s: float) -> Sample | None:
        try:
            return super()._pull(timeout_s)
        except SourceLost:
            if self._place == "-" and isinstance(self._end, EndOfStream):
                return None  # live, too, a pipe whose writer is gone gives no more
            raise

    def close(self) -> None:
        super().close()
        if self._connection is not None:  # the pipeline reads it no more, and does not close it
            self._connection.close()
            self._connection = None

    def _connected(self, host: str, port: int) -> socket.socket:
        try:
            connection = socket.create_connection((host, port), _CONNECT_S)
        except (OSError, UnicodeError) as error:
            reason = why_unreachable(host, port, 2.0)
            raise SourceLost(f"{self._name}: {reason or error}") from error
        connection.settimeout(None)
        return connection

    def _check_file(self, path: Path) -> None:
        if path.is_fifo():
            raise SourceError(f"{path} is a pipe: read it from standard input, raw:-?size=.. < {path}")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        length, frame = path.stat().st_size, self._layout.frame_bytes
        if length == 0 or length % frame:
            height, width = self._layout.size
            raise SourceFormatError(
                f"{path}: expected a multiple of {frame} bytes for {width}x{height} {self._layout.format},"
                f" got {length}"
            )

    def pixels(self, sample: Sample) -> Pixels:
        """See `GstSource.pixels`: rows lie one after the other, whatever GStreamer would pad them to."""
        row_bytes = self._layout.size[1] * _FORMATS[self._layout.format][1]
        caps = dataclasses.replace(sample.caps, strides=(row_bytes,), offsets=(0,))
        return super().pixels(dataclasses.replace(sample, caps=caps))

    def explain(self, failure: GstFailure | None) -> SourceError:
        if failure is None:
            return SourceLost(f"{self._name}: no frame within {self.open_timeout_s:g} s")
        if self._net is not None:
            return SourceLost(f"{self._name}: {failure}")
        return SourceError(f"{self._name}: {failure}")

"""Makes the sink that a text names: a file, `rtsp:`, `srt:`, `http:`, `hls:`, a device, a window."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from irchroma.stream.encoders import EncoderOptions
from irchroma.stream.errors import SinkError
from irchroma.stream.file_sink import EXTENSIONS, FileSink, FileSinkOptions
from irchroma.stream.null_sink import NullSink
from irchroma.stream.protocols import FrameSink
from irchroma.stream.rtsp_server import RtspAddress
from irchroma.stream.rtsp_sink import RtspSink

_FORMS = (
    f"a file ({', '.join(EXTENSIONS)}), rtsp://:8554/name, srt://host:port, http://:8080,"
    " hls:FOLDER, /dev/videoN, window, null"
)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What a run asks of its sinks; each sink takes what concerns it.

    Attributes:
        encoder: which video encoder, how good, how often a keyframe.
        lossless: .mkv files keep counts, luma or R'G'B' untouched (FFV1); for the raw track.
        audio_from: a file whose audio track is kept in recorded files.
        segment_s: seconds a recorded file lasts before the next one begins, 0 for one file.
        keep_segments: recorded files to keep, older ones are deleted; 0 keeps all.
        hls_segment_s: seconds of one HLS segment.
        hls_keep: HLS segments in the playlist.
        title: the name of the stream, for the page.
        stats: gives what `/stats.json` shows; called from server threads.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    lossless: bool = False
    audio_from: Path | None = None
    segment_s: float = 0.0
    keep_segments: int = 0
    hls_segment_s: float = 2.0
    hls_keep: int = 6
    title: str = "irchroma"
    stats: Callable[[], dict[str, Any]] | None = None


def open_sink(text: str, options: SinkOptions | None = None) -> FrameSink:
    """The sink for what the user typed; it still has to be opened.

    Args:
        text: `out.mp4`, `rtsp://:8554/name`, `rtsp://user:password@:8554/name`, `srt://:7001`,
            `srt://host:7001`, `http://:8080`, `hls:FOLDER`, `/dev/video9`, `window`, `null` ...

    Raises:
        SinkError: nothing of that name can be written to; names what can.
        StreamOptionError: options that do not go together.
    """
    options = options or SinkOptions()
    scheme, _, rest = text.partition(":")
    if text in ("null", "null:"):
        return NullSink()
    if scheme == "file" and rest:
        return _file(Path(rest.removeprefix("//")), options)
    if scheme == "rtsp" and "://" in text:
        return RtspSink(_rtsp_address(text), options.encoder)
    if "://" in text or (scheme in _SCHEMES and rest):
        raise SinkError(f"{public(text)}: cannot write to {scheme}:{_nearest(scheme)}: expected {_FORMS}")
    return _file(Path(text), options)


_SCHEMES = ("rtsp", "srt", "http", "hls", "v4l2", "window", "null", "file")


def _file(path: Path, options: SinkOptions) -> FrameSink:
    kept = FileSinkOptions(options.encoder, options.lossless, options.audio_from)
    if path.suffix.lower() not in EXTENSIONS:
        raise SinkError(f"{path}: nothing is known to write there: expected {_FORMS}")
    return FileSink(path, kept)


def _rtsp_address(text: str) -> RtspAddress:
    parts, port = _split(text, 8554)
    name = unquote(parts.path).strip("/")
    if not name:
        raise SinkError(f"{public(text)}: the stream needs a name: rtsp://:{port}/name")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise SinkError(
            f"{public(text)}: expected both a user and a password: rtsp://user:password@:{port}/name"
        )
    return RtspAddress(parts.hostname or "0.0.0.0", port, name, user, password)


def _split(text: str, default_port: int) -> tuple[SplitResult, int]:
    """An address in parts, and its port."""
    try:
        parts = urlsplit(text)
        return parts, default_port if parts.port is None else parts.port
    except ValueError as error:
        raise SinkError(
            f"{public(text)}: expected an address like {text.partition(':')[0]}://:{default_port}"
        ) from error


def _nearest(scheme: str) -> str:
    close = difflib.get_close_matches(scheme, _SCHEMES, 1)
    return f" (did you mean {close[0]}:?)" if close else ""


def public(text: str) -> str:
    """The text without a user's name and password, fit for logs."""
    scheme, slashes, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}" if slashes else text

"""Makes the sink that a text names: a file, `rtsp:`, `srt:`, `http:`, `hls:`, a device, a window.

It also says where a sink writes: what two sinks of one process cannot both have. What a kind of sink is made
of is imported when there is one: all of them together took a tenth of every start.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from irchroma.stream.errors import SinkError
from irchroma.stream.ipv6 import bracket_hint
from irchroma.stream.protocols import FrameSink
from irchroma.stream.secret_keys import NAME_KEYS, SECRET_KEYS
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.files.audio_track import leave_out
from irchroma.stream.sinks.files.file_sink import EXTENSIONS, FileSink, FileSinkOptions
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink
from irchroma.stream.sinks.http.access import Access, needs_access
from irchroma.stream.sinks.null_sink import NullSink

if TYPE_CHECKING:
    from irchroma.stream.sinks.http.page import LiveControl, LiveThermometer
    from irchroma.stream.sinks.onvif.sink import OnvifOptions
    from irchroma.stream.sinks.rtsp.server import RtspAddress
    from irchroma.stream.sinks.srt_sink import SrtAddress

_PORTS = {"rtsp": 8554, "http": 8080, "srt": 0}
_PUBLISHED = ("publish+rtsp", "publish+rtsps", "whip+http", "whip+https")


def sink_place(text: str, page: str = "") -> str | None:
    """What the sink that `text` names has to itself; None for sinks of which there may be many.

    Args:
        text: as for `open_sink`.
        page: the page's name among those on one HTTP port, empty where it has the port to itself.

    Returns:
        For people, and the same text for two sinks that would get in each other's way: a file's full path,
        `rtsp://:8554/gate`, `http://:8080/gate`, `hls:/var/www/gate`, `srt://:7001`, `/dev/video9`,
        `publish+rtsp://host:8554/gate`.
    """
    scheme, colon, rest = text.partition(":")
    if "://" in text and scheme in _PUBLISHED:
        return public(text).partition("?")[0].rstrip("/")
    if "://" in text and scheme in _PORTS:
        return _address_place(text, scheme, page)
    if text.removesuffix(":") in ("null", "window"):
        return None
    if scheme in ("v4l2", "file") and rest:
        text = rest.removeprefix("//")
    elif scheme == "hls" and colon:
        return f"hls:{Path(rest).resolve()}"
    if text.lower().endswith(".m3u8"):
        return f"hls:{Path(text).resolve().parent}"
    return str(Path(text).resolve())


def _address_place(text: str, scheme: str, page: str) -> str | None:
    try:
        parts = urlsplit(text)
        port = _PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        return public(text)  # `open_sink` will say what is wrong with it
    if not port:
        return None  # a free one
    if scheme == "rtsp":
        return f"rtsp://:{port}/{unquote(parts.path).strip('/')}"
    if scheme == "http":
        return f"http://:{port}/{page}"
    caller = bool(parts.hostname) and "mode=listener" not in parts.query
    return public(text) if caller else f"srt://:{port}"


_FORMS = (
    f"a file ({', '.join(EXTENSIONS)}), rtsp://:8554/name, srt://host:port, http://:8080,"
    " hls:FOLDER, /dev/videoN, window, null, a server elsewhere (publish+rtsp://host:port/path,"
    " whip+https://host/path)"
)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What a run asks of its sinks; each sink takes what concerns it.

    Attributes:
        encoder: which video encoder, how good, how often a keyframe.
        lossless: .mkv files keep counts, luma or R'G'B' untouched (FFV1); for the raw track.
        coded: with it, that they keep coded pictures as they come.
        audio_from: a file whose audio track is kept in recorded files.
        sound: of a live source.
        segment_s: seconds a recorded file lasts before the next one begins, 0 for one file.
        keep: which recorded files stay, older ones are deleted.
        overwrite: replace recordings of live sources and raw tracks that are there, rather than number on.
        hls_segment_s: seconds of one HLS segment.
        hls_keep: HLS segments in the playlist.
        title: the name of the stream, for the page's figures.
        heading: the name of the stream for people who see the page; its title where empty.
        stats: gives what `/stats.json` shows; called from server threads.
        control: what viewers of the page may change; None for nothing.
        page: the page's name among those that share its port; empty to have the port to itself.
        pool: encoders that several sinks share; None for one for each.
        access: who gets in to the page.
        thermometer: of a run whose counts have a scale; for pages.
        spare_token: gives the token of a page that other machines reach and that has no secret.
        onvif: where recorders are told of RTSP streams; None for nowhere.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    lossless: bool = False
    coded: bool = False
    audio_from: Path | None = None
    sound: LiveSound | None = None
    segment_s: float = 0.0
    keep: Retention = field(default_factory=Retention)
    overwrite: bool = False
    hls_segment_s: float = 2.0
    hls_keep: int = 6
    title: str = "irchroma"
    heading: str = ""
    stats: Callable[[], dict[str, Any]] | None = None
    control: LiveControl | None = None
    page: str = ""
    pool: EncoderPool | None = None
    access: Access = field(default_factory=Access)
    thermometer: LiveThermometer | None = None
    spare_token: Callable[[], str] | None = None
    onvif: OnvifOptions | None = None


def open_sink(text: str, options: SinkOptions | None = None) -> FrameSink:
    """The sink for what the user typed; it still has to be opened.

    Args:
        text: `out.mp4`, `rtsp://:8554/name`, `rtsp://user:password@:8554/name`, `srt://:7001`,
            `srt://host:7001`, `http://:8080`, `hls:FOLDER`, `/dev/video9`, `window`, `null`,
            `publish+rtsp://user:password@host:8554/path`, `whip+https://token@host/path` ...

    Raises:
        SinkError: nothing of that name can be written to; names what can.
        StreamOptionError: options that do not go together.
    """
    options = options or SinkOptions()
    scheme, _, rest = text.partition(":")
    if "://" in text and scheme in _ADDRESSES:
        return _ADDRESSES[scheme](text, options)
    if text.removesuffix(":") == "null":
        return NullSink()
    if text.removesuffix(":") == "window":
        from irchroma.stream.sinks.window_sink import WindowSink

        return WindowSink()
    if scheme == "hls" and rest:
        return _hls(Path(rest), "", options)
    if scheme in ("v4l2", "file") and rest:
        text = rest.removeprefix("//")
    elif "://" in text or (scheme in _SCHEMES and rest):
        raise SinkError(f"{public(text)}: cannot write to {scheme}:{_nearest(scheme)}: expected {_FORMS}")
    path = Path(text)
    if text.startswith("/dev/"):
        from irchroma.stream.sinks.v4l2_sink import V4l2Sink

        return V4l2Sink(path)
    if path.suffix.lower() == ".m3u8":
        return _hls(path.parent, path.name, options)
    return _file(path, options)


def takes_planes(text: str) -> bool:
    """Whether the sink of that name wants I420 rather than R'G'B': files, rtsp, srt, hls and pages do."""
    scheme, _, rest = text.partition(":")
    if "://" in text and scheme in _ADDRESSES:
        return True
    return (scheme == "hls" and bool(rest)) or Path(text).suffix.lower() in (*EXTENSIONS, ".m3u8")


def takes_sound(text: str) -> bool:
    """Whether the sink of that name carries sound."""
    return text.startswith(("rtsp:", "hls:")) or text.endswith(".m3u8") or is_recording(text)


def is_recording(text: str) -> bool:
    """Whether the sink of that name is a file, which is written once."""
    elsewhere = "://" in text.removeprefix("file://") or text.startswith("hls:")
    return not elsewhere and Path(text).suffix.lower() in EXTENSIONS


def pool_for(texts: Sequence[str]) -> EncoderPool | None:
    """The encoders that the sinks of these names can share; None where there is nothing to share."""
    streams = [text for text in texts if text.startswith(_STREAMS) or text.endswith(".m3u8")]
    files = [text for text in texts if is_recording(text)]
    return EncoderPool(bool(streams)) if len(streams) + len(files) > 1 else None


_SCHEMES = ("rtsp", "srt", "http", "hls", "v4l2", "window", "null", "file", *_PUBLISHED)
_STREAMS = ("rtsp:", "srt:", "hls:", *(f"{scheme}:" for scheme in _PUBLISHED))


def _file(path: Path, options: SinkOptions) -> FrameSink:
    if path.suffix.lower() not in EXTENSIONS:
        port = re.fullmatch(r":?(\d{2,5})", str(path))
        meant = f" (did you mean http://:{port[1]}?)" if port is not None else ""
        raise SinkError(f"{path}: nothing is known to write there{meant}: expected {_FORMS}")
    if options.segment_s or options.lossless:
        if options.audio_from is not None:
            leave_out(path, options.audio_from)
        kept = FileSinkOptions(
            options.encoder, options.lossless, options.coded, sound=options.sound, overwrite=options.overwrite
        )
        if options.pool is not None and options.segment_s and not options.lossless:
            from irchroma.stream.sinks.files.encoded_row import EncodedRow

            return EncodedRow(path, kept, options.segment_s, options.keep, options.pool)
        return SegmentedSink(path, kept, options.segment_s, options.keep)
    file_options = FileSinkOptions(
        options.encoder, audio_from=options.audio_from, sound=options.sound, overwrite=options.overwrite
    )
    return FileSink(path, file_options, options.pool)


def _sound(options: SinkOptions) -> LiveSound | Path | None:
    return options.sound if options.sound is not None else options.audio_from


def _hls(folder: Path, playlist: str, options: SinkOptions) -> FrameSink:
    from irchroma.stream.sinks.files.hls_sink import PLAYLIST, HlsSink

    return HlsSink(
        folder,
        options.encoder,
        options.hls_segment_s,
        options.hls_keep,
        playlist or PLAYLIST,
        options.pool,
        _sound(options),
    )


def _rtsp(text: str, options: SinkOptions) -> FrameSink:
    from irchroma.stream.sinks.rtsp.sink import RtspSink

    rtsp = RtspSink(rtsp_address(text), options.encoder, options.pool, _sound(options))
    if options.onvif is None:
        return rtsp
    from irchroma.stream.sinks.onvif.sink import OnvifSink

    return OnvifSink(rtsp, options.encoder, options.onvif)


def _srt(text: str, options: SinkOptions) -> FrameSink:
    from irchroma.stream.sinks.srt_sink import SrtSink

    return SrtSink(_srt_address(text), options.encoder, options.pool, _sound(options))


def _http(text: str, options: SinkOptions) -> FrameSink:
    parts, port = _split(text, 8080)
    if parts.path.strip("/"):
        raise SinkError(f"{public(text)}: expected an address without a path: http://:{port}")
    access = options.access
    if parts.username or parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        access = replace(access, user=user, password=password)
    if options.spare_token is not None and needs_access(parts.hostname or "", access):
        access = replace(access, operator=options.spare_token())
    from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

    page = HttpSinkOptions(
        options.title,
        options.stats,
        options.control,
        options.page,
        access,
        options.encoder,
        options.pool,
        options.thermometer,
        options.heading,
    )
    return HttpSink(parts.hostname or "", port, page)


def _record(text: str, options: SinkOptions) -> FrameSink:
    parts = _split_remote(text, "publish+rtsp://host:8554/path")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise SinkError(f"{public(text)}: expected both a user and a password, or neither")
    url = f"{parts.scheme.removeprefix('publish+')}://{_place_of(parts)}"
    from irchroma.stream.sinks.publish.rtsp_record import RecordAddress, RtspRecordSink

    return RtspRecordSink(RecordAddress(url, user, password), options.encoder, options.pool, _sound(options))


def _whip(text: str, options: SinkOptions) -> FrameSink:
    parts = _split_remote(text, "whip+https://host/path")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    url = f"{parts.scheme.removeprefix('whip+')}://{_place_of(parts)}"
    from irchroma.stream.sinks.publish.whip import WhipAddress, WhipSink

    return WhipSink(WhipAddress(url, user, password), options.encoder, options.pool, _sound(options))


def _split_remote(text: str, form: str) -> SplitResult:
    """A server elsewhere and the path on it."""
    parts, _ = _split(text, 0)
    if not parts.hostname or not parts.path.strip("/"):
        raise SinkError(f"{public(text)}: expected a server and a path on it: {form}")
    return parts


def _place_of(parts: SplitResult) -> str:
    """Everything after the scheme, without who we are."""
    return parts.netloc.rpartition("@")[2] + parts.path + (f"?{parts.query}" if parts.query else "")


_ADDRESSES: dict[str, Callable[[str, SinkOptions], FrameSink]] = {
    "rtsp": _rtsp,
    "srt": _srt,
    "http": _http,
    "publish+rtsp": _record,
    "publish+rtsps": _record,
    "whip+http": _whip,
    "whip+https": _whip,
}


def rtsp_address(text: str) -> RtspAddress:
    """Where an `rtsp://` output is served. SinkError: it has no name, a strange port, or half a password."""
    parts, port = _split(text, 8554)
    name = unquote(parts.path).strip("/")
    if not name:
        raise SinkError(f"{public(text)}: the stream needs a name: rtsp://:{port}/name")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise SinkError(
            f"{public(text)}: expected both a user and a password: rtsp://user:password@:{port}/name"
        )
    from irchroma.stream.sinks.rtsp.server import RtspAddress

    return RtspAddress(parts.hostname or "", port, name, user, password)


def _srt_address(text: str) -> SrtAddress:
    parts, port = _split(text, 0)
    given = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    known = ("mode", "latency", "passphrase", "streamid")
    strange = sorted(set(given) - set(known))
    mode = given.get("mode", "caller" if parts.hostname else "listener")
    latency = given.get("latency", "120")
    phrase, label = given.get("passphrase", ""), public(text)
    if not port:
        raise SinkError(f"{label}: expected a port: srt://:7001 to listen, srt://host:7001 to call")
    if strange:
        raise SinkError(f"{label}: unknown setting {strange[0]!r}: expected {', '.join(known)}")
    if mode not in ("caller", "listener") or (mode == "caller" and not parts.hostname):
        raise SinkError(f"{label}: expected mode=listener, or mode=caller and a host")
    if not latency.isascii() or not latency.isdigit():
        raise SinkError(f"{label}: expected a latency in milliseconds, got {latency!r}")
    if phrase and not 10 <= len(phrase) <= 79:
        raise SinkError(f"{label}: expected a passphrase of 10 to 79 characters, got {len(phrase)}")
    from irchroma.stream.sinks.srt_sink import SrtAddress

    return SrtAddress(
        parts.hostname or "", port, mode == "caller", int(latency), phrase, given.get("streamid", "")
    )


def _split(text: str, default_port: int) -> tuple[SplitResult, int]:
    """An address in parts, and its port."""
    try:
        parts = urlsplit(text)
        return parts, default_port if parts.port is None else parts.port
    except ValueError as error:
        like = f"{text.partition(':')[0]}://:{default_port}{bracket_hint(public(text))}"
        raise SinkError(f"{public(text)}: expected an address like {like}") from error


def _nearest(scheme: str) -> str:
    close = difflib.get_close_matches(scheme, _SCHEMES, 1)
    return f" (did you mean {close[0]}:?)" if close else ""


def public(text: str) -> str:
    """The text without a user's name and password and without what its query has of secrets, fit for logs."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return text
    # Up to the last @: a password may hold a slash that its owner did not escape.
    shown = f"{scheme}://{rest.rpartition('@')[2]}"
    return re.sub(rf"(?i)((?<![a-z])(?:{SECRET_KEYS}|{NAME_KEYS})=)[^&\s]*", r"\1***", shown)

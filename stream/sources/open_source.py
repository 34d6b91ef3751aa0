"""Makes the source that a text names: a file, a folder, a camera, a network stream, a test picture."""

from __future__ import annotations

import contextlib
import difflib
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote, urlsplit

from irchroma.stream.errors import SourceError, StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import FrameSource, VideoInfo, period_of
from irchroma.stream.sources.addresses import masked
from irchroma.stream.sources.camera_format import CameraOptions
from irchroma.stream.sources.file_source import FileSource, Part
from irchroma.stream.sources.gst_source import PictureOptions
from irchroma.stream.sources.pictures.picture_file import SUFFIXES
from irchroma.stream.sources.pictures.picture_source import PictureSource
from irchroma.stream.sources.raw_source import RawSource
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource
from irchroma.stream.sources.transport_source import HttpSource, TransportSource
from irchroma.stream.sources.v4l2_source import V4l2Source

SCHEMES = ("file", "http", "https", "rtsp", "rtsps", "srt", "tcp", "test", "raw")
FORMS = (
    "a video file, a picture or a folder of pictures, rtsp://host/path, http://host/video.mjpg,"
    " srt://host:port, tcp://host:port, /dev/videoN, raw:FILE?size=WxH, test:nir or test:thermal"
)

_TORN = re.compile(r"(rtsps?|https?|srt|tcp)(?::/|;?//)/*(?=[^/])(.+)", re.IGNORECASE)
"""`rtsp:/host/path` and `rtsp//host/path`."""
_BARE = re.compile(
    r"(?:[^/@\s]+:\S*@[\w.-]+|\d{1,3}(?:\.\d{1,3}){3}|localhost|[\w.-]+(?=:\d))(?::(\d{1,5}))?(?:/\S*)?"
)
"""`10.0.0.5/stream`, `camera.local:554` and `user:password@camera/stream`."""
_WEB_PORTS = ("80", "443", "8000", "8080", "8081")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=//|\w|$)")


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a run asks of its source; each source takes what concerns it.

    Attributes:
        rtsp: of RTSP cameras.
        camera: of V4L2 cameras.
        pictures: how pictures are taken out of any video.
        picture_rate: pictures a second of folders, and of files of several pictures; 0 for what a file says,
            else 25.
        track: of a file with several tracks of pictures the one that is taken, 1 for the first; 0 for the one
            that players show.
        part: what is taken of a file.
        srt_latency_ms: how long SRT may wait for lost packets, milliseconds.
        loop: what has an end begins again there.
    """

    rtsp: RtspOptions = field(default_factory=RtspOptions)
    camera: CameraOptions = field(default_factory=CameraOptions)
    pictures: PictureOptions = field(default_factory=PictureOptions)
    picture_rate: Fraction = Fraction(0)
    track: int = 0
    part: Part = field(default_factory=Part)
    srt_latency_ms: int = 100
    loop: bool = False


def open_source(text: str, options: SourceOptions | None = None) -> FrameSource:
    """The source for what the user typed; it still has to be opened.

    Raises:
        SourceError: nothing of that name can be read; names what can, and what was probably meant.
        StreamOptionError: options that make no sense.
    """
    options = options or SourceOptions()
    if not text.strip():
        raise SourceError(f"no source: expected {FORMS}")
    source = _source_of(text, options)
    if options.picture_rate and not isinstance(source, PictureSource):
        raise StreamOptionError(
            f"{masked(text)}: --rate (picture_rate) is for folders and arrays of pictures: raw:FILE?rate=.."
            " has its own, so have test cameras, and a camera's is input.camera.rate of --config"
        )
    if options.loop and text.startswith("raw:-"):
        raise StreamOptionError(f"{masked(text)}: a pipe cannot be begun again: leave out --loop")
    return RepeatedSource(source) if options.loop else source


class RepeatedSource:
    """A `FrameSource` that begins again when another one ends; times go on, and each beginning is a gap."""

    def __init__(self, source: FrameSource) -> None:
        """`source`: of something that has an end."""
        self._source = source
        self._offset_ns = self._end_ns = 0
        self._first = False

    def open(self) -> VideoInfo:
        """See `FrameSource.open`. StreamOptionError for a live source."""
        info = self._source.open()
        if info.live:
            raise StreamOptionError(f"{info.description}: --loop is for files: a camera has no end")
        self._period_ns = period_of(info)
        return replace(info, frame_count=None, duration_ns=None, endless=True)

    def read(self, timeout_s: float) -> Frame | None:
        """See `FrameSource.read`; None only where there was nothing to begin with."""
        frame = self._source.read(timeout_s)
        if frame is None and self._end_ns > self._offset_ns:
            self._source.close()
            self._source.open()
            self._offset_ns, self._first = self._end_ns, True
            frame = self._source.read(timeout_s)
        if frame is None:
            return None
        lasts_ns = frame.duration_ns if frame.duration_ns > 0 else self._period_ns
        pts_ns, gap = frame.pts_ns + self._offset_ns, frame.gap or self._first
        self._end_ns, self._first = max(pts_ns + lasts_ns, self._end_ns), False
        return replace(frame, pts_ns=pts_ns, gap=gap)

    @property
    def drops(self) -> int:
        """See `FrameSource.drops`."""
        return self._source.drops

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._source.close()


def _source_of(text: str, options: SourceOptions) -> FrameSource:
    if text.startswith("test:"):
        from irchroma.stream.synthetic.source import SyntheticSource  # 50 ms that only it needs

        return SyntheticSource.from_address(text)
    if text.startswith("raw:"):
        return RawSource(text, options.pictures)
    if re.fullmatch(r"/dev/(video\d+|v4l/.+)", text):
        return V4l2Source(text, options.camera, options.pictures)
    found = _SCHEME.match(text)
    if found is None or found[1].lower() not in SCHEMES:
        _refuse_torn(text)
    if found is None or Path(text).exists():
        return _from_path(Path(text), options)
    return _from_address(text, found[1].lower(), options)


def _refuse_torn(text: str) -> None:
    """Raises SourceError for what is an address but for its beginning; what was typed may hold a password."""
    torn, bare = _TORN.fullmatch(text), None if "://" in text else _BARE.fullmatch(text)
    if torn is not None:
        meant = f"{torn[1].lower()}://{torn[2]}"
    elif bare is not None:
        meant = f"{'http' if bare[1] in _WEB_PORTS else 'rtsp'}://{text}"
    else:
        return
    with contextlib.suppress(OSError):  # no file's name is that long
        if Path(text).exists():
            return
    raise SourceError(f"no such file: an address begins with what it is of, did you mean {masked(meant)}?")


def _from_address(text: str, scheme: str, options: SourceOptions) -> FrameSource:
    if scheme == "file":
        return _from_path(Path(unquote(urlsplit(text).path)), options)
    if scheme in ("rtsp", "rtsps"):
        return RtspSource(text, options.rtsp, options.pictures)
    if scheme in ("http", "https"):
        return HttpSource(text, options.pictures)
    if scheme in ("srt", "tcp"):
        return TransportSource(text, options.srt_latency_ms, options.pictures)
    swapped = [known for known in SCHEMES if sorted(known) == sorted(scheme)]
    near = swapped or difflib.get_close_matches(scheme, SCHEMES, 1, 0.7)
    guess = f"did you mean {near[0]}:?" if near else f"expected {FORMS}"
    raise SourceError(f"{masked(text)}: irchroma cannot read {scheme}: sources, {guess}")


def _from_path(path: Path, options: SourceOptions) -> FrameSource:
    try:
        if path.is_dir() or (path.is_file() and path.suffix.lower() in SUFFIXES):
            return PictureSource(path, options.picture_rate or None, options.pictures.max_megapixels)
        there = path.exists()
    except OSError as error:
        raise SourceError(f"{masked(str(path))[:200]}: {(error.strerror or str(error)).lower()}") from error
    if not there and str(path) == "-":
        raise SourceError(
            "-: expected a file: raw video from a pipe is `raw:-?size=..`, a stream is tcp://host:port or"
            " srt://host:port"
        )
    if not there and path.is_symlink():
        raise SourceError(f"{path}: is a link to {path.readlink()}, which is not there")
    if not there:
        raise SourceError(f"{path}: no such file{_similar(path)}")
    return FileSource(path, options.pictures, options.track, options.part)


def _similar(path: Path) -> str:
    """`, did you mean clip.mp4?` where a neighbor has nearly that name; a camera is a device."""
    if str(path).isdecimal():
        return f", did you mean /dev/video{path}?"
    if str(path).lower() in ("camera", "usb", "webcam"):
        return ": a camera is /dev/video0 or the like, irchroma find lists those that are here"
    try:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, 1, 0.7) or [
        name for name in names if Path(name).stem == path.name
    ]
    if near:
        return f", did you mean {path.parent / near[0]}?"
    return "" if path.parent.is_dir() else f": there is no folder {path.parent}"

"""What a decodebin is told and asked: which track, how large, what it cannot decode, what was damaged."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.gstreamer.door import modules, post_error, structure_of, watch_libav
from irchroma.stream.gstreamer.sample import Unit, give_units
from irchroma.stream.media.h264 import CodedPicture, H264Headers, HeaderError
from irchroma.stream.sources.addresses import unreadable_ffv1
from irchroma.stream.sources.pictures.picture_file import require_pixels

log = logging.getLogger(__name__)

_PASSED_BY = ("audio/", "text/", "subpicture/", "application/x-subtitle", "closedcaption/")
CONTAINERS = (
    "video/quicktime", "video/x-matroska", "video/webm", "video/x-msvideo", "video/mpegts", "video/x-flv",
    "video/mpeg", "video/x-ms-asf", "video/ogg",
)  # fmt: skip
_TELLING_PARSERS = ("h264parse", "h265parse")
"""Their streams name range and matrix themselves."""
_COLORIMETRY = re.compile(r", colorimetry=\(string\)[^,;]*")
_COUNTED = ("video/x-h264", "video/x-h265", "image/jpeg", "video/mpeg")
"""Every coded picture of these is shown: where one goes in and none comes out, it was lost."""
_WAITING = 64
"""No decoder keeps more pictures to itself, to order them and to work on several at once."""
_COMPLAINTS = re.compile(
    r"error while decoding|concealing|Missing reference picture|Invalid NAL unit|reference picture missing"
    r"|Error splitting|overread|bytestream|ac-tex damaged|invalid mb|Could not find ref|error dc|error y=",
    re.IGNORECASE,
)
"""What FFmpeg's decoders say of damage and of nothing else."""
_UNNAMED = "requires a video format unsupported by GStreamer"
"""What gst-libav says of a layout of pictures that has no name in GStreamer."""
_PLACE = re.compile(r"error while decoding MB (\d+) (\d+)|concealing (\d+) DC")
_MACROBLOCK_PX, _DOUBTED = 16, 50
"""Macroblocks before the one where an error was noticed are doubted, too, as FFmpeg's own concealment does:
what was read wrong goes on as a picture for a while."""
_TOLD = ("avdec_h264", "avdec_h265")
"""Decoders that are told to use one thread where their words must go with their pictures."""
_JPEG_STARTS = b"\xff\xd8"  # SOI: ITU-T T.81, B.2.1
_LASTS_NS = 10_000_000_000
"""For so long damage lasts at most, where no picture comes that is drawn from no other."""
_open: list[Decoding] = []
"""All that listen: FFmpeg does not say which of its decoders it speaks of."""


@dataclass(frozen=True, slots=True)
class PictureTrack:
    """A track of pictures in a container: (H, W), and whether the container says that it is the one."""

    size: tuple[int, int]
    chosen: bool


class Decoding:
    """Watches one decodebin. Its signals come in GStreamer's threads.

    Attributes:
        media: caps' names of everything that was met.
        tracks: of pictures, in the container's order; empty without a container.
        refusal: why the pictures are not decoded; None where they are.
        complaints: what FFmpeg's decoders said of damage.
        take: gets every coded picture before it is decoded, and whether it is the first; None for nobody.
    """

    def __init__(self, name: str, megapixels: float, track: int = 0, tell_damage: bool = False) -> None:
        """Watch nothing yet.

        Args:
            name: of the source, for errors.
            megapixels: how large a picture may be.
            track: which one of pictures to take.
            tell_damage: answer `said_of`: decoders work on one picture after the other.
        """
        self._name, self._megapixels, self._track = name, megapixels, track
        self._tells_damage = tell_damage
        self._pads: list[str] = []
        self._pending: set[int] = set()  # times of coded pictures that have not come out
        self._first_out_ns: int | None = None
        self._given_up: list[int] = []
        self._taken = self._given = 0  # pictures that went into the decoder and that came out
        self._lock = threading.Lock()
        self._thread = 0  # that feeds the decoder
        self._decoder: Any = None
        self._blocks = (0, 0)  # macroblocks, (rows, columns)
        self._headers: H264Headers | None = None
        self._now_ns: int | None = None  # the picture that is being decoded
        self._coded: CodedPicture | None = None  # what its headers say
        self._damage: dict[int, float] = {}  # time of a picture -> share of the rows
        self._keys: set[int] = set()  # times of pictures that are drawn from no other
        self._damaged_ns: int | None = None  # the last that was damaged, while that may last
        _open.append(self)
        self._stop_watching = watch_libav(self._complain)
        self.media: set[str] = set()
        self.tracks: list[PictureTrack] = []
        self.refusal: SourceError | None = None
        self.complaints = 0
        self.take: Callable[[Unit, bool], None] | None = None

    @property
    def signals(self) -> dict[str, Callable[..., Any]]:
        """For the decodebin."""
        found = {"autoplug-continue": self._wants, "deep-element-added": self._added}
        return {**found, "no-more-pads": self._all_found}

    def lost(self) -> list[int]:
        """Times in nanoseconds of coded pictures that no decoded one came of, once the stream has ended."""
        with self._lock:
            first = self._first_out_ns
            left = sorted(t for t in self._pending if first is not None and t > first)
            # a decoder may give a picture another time than it came with
            return (self._given_up + left)[: max(0, self._taken - self._given)]

    @property
    def lost_so_far(self) -> int:
        """How many pictures have been given up while the stream goes on."""
        return len(self._given_up)

    def said_of(self, buffer_ns: int) -> tuple[float | None, bool]:
        """`Frame.damaged_from` and `drawn_anew` of a decoded picture by its buffer's time; asked in order."""
        with self._lock:
            said = self._damage.get(buffer_ns), buffer_ns in self._keys
            self._damage = {at: share for at, share in self._damage.items() if at > buffer_ns}
            self._keys = {at for at in self._keys if at > buffer_ns}
        return said

    def close(self) -> None:
        """Listen no more; may be called twice."""
        self._stop_watching()
        self._decoder = None
        if self in _open:
            _open.remove(self)

    def _complain(self, text: str) -> None:
        """Called on the thread of a decoder: the one that feeds it, or one of its own."""
        own = threading.get_ident()
        if _UNNAMED in text and self._thread == own:
            self._refuse_layout()
        if not _COMPLAINTS.search(text) or any(one is not self and one._thread == own for one in list(_open)):
            return
        self.complaints += 1
        if self._tells_damage and self._thread == own and self._now_ns is not None:
            with self._lock:
                self._is_damaged(self._now_ns, self._place(text))

    def _refuse_layout(self) -> None:
        """Let the run end at once: what sends on meanwhile would be told with its next packet only."""
        if self.refusal is None and self._decoder is not None:
            ffv1 = "video/x-ffv" in self.media
            unknown = SourceFormatError(f"{self._name}: its raw video format is not supported")
            self.refusal = unreadable_ffv1(self._name) if ffv1 else unknown
            post_error(self._decoder, str(self.refusal))

    def _is_damaged(self, time_ns: int, share: float) -> None:
        self._damage[time_ns] = min(self._damage.get(time_ns, 1.0), share)
        self._damaged_ns = time_ns

    def _begins(self, time_ns: int, buffer: Any) -> None:
        """A picture goes into the decoder, which works on no other meanwhile."""
        self._now_ns, key = time_ns, not buffer.has_flags(modules()["Gst"].BufferFlags.DELTA_UNIT)
        self._coded = (
            None if self._headers is None else self._headers.read(buffer.extract_dup(0, buffer.get_size()))
        )
        since_ns = self._damaged_ns
        if key:
            self._keys.add(time_ns)
        if key or (since_ns is not None and time_ns - since_ns > _LASTS_NS):
            self._damaged_ns = None
        elif since_ns is not None:
            self._damage[time_ns] = 1.0
        if self._coded is not None and self._coded.missing:
            self._is_damaged(time_ns, 0.0)

    def _place(self, text: str) -> float:
        """Share of the rows from which a picture is damaged, by what the decoder says."""
        rows, columns = self._blocks
        place = _PLACE.search(text)
        if place is None or not rows * columns:
            return 0.0
        x, y, concealed = (None if number is None else int(number) for number in place.groups())
        if concealed is None:
            first = (y or 0) * columns + (x or 0) - _DOUBTED
        elif self._coded is not None and self._coded.lost_from is not None:
            first = self._coded.lost_from
        elif self._coded is not None and len(self._coded.starts) > 1:
            first = 0  # of several pieces, any
        else:
            first = rows * columns - concealed  # the last ones: cameras send a picture in one piece
        return min(max(first, 0) // columns, rows - 1) / rows

    def _wants(self, decode: Any, pad: Any, caps: Any) -> bool:
        """Called by decodebin for each stream it meets: go on into it? Sound and text stay undecoded."""
        name: str = structure_of(caps).get_name()
        self.media.add(name)
        if name.startswith(_PASSED_BY):
            return False
        told, system = structure_of(caps).get_boolean("systemstream")
        holds_tracks = system if told else name in CONTAINERS
        if holds_tracks or not name.startswith(("video/", "image/")):
            return True
        if pad.get_name() not in self._pads:
            self._pads.append(pad.get_name())
        if self._pads.index(pad.get_name()) != (self._track if self.tracks else 0):
            return False
        return self._check(decode, caps)

    def _all_found(self, decode: Any) -> None:
        """Called by decodebin when it has met every stream: without pictures nobody would ever hear of it.

        A short file's sound has all been read before a demuxer hears that nobody takes it; it then neither
        fails nor ends.
        """
        caps = [pad.get_current_caps() or pad.query_caps(None) for pad in decode.srcpads]
        if any(c.get_size() and structure_of(c).get_name().startswith(("video/", "image/")) for c in caps):
            return
        self.refusal = self.no_pictures()
        post_error(decode, str(self.refusal))

    def no_pictures(self) -> SourceFormatError:
        """The clear line where there is nothing to see."""
        sound = any(name.startswith("audio/") for name in self.media)
        return SourceFormatError(f"{self._name} has no video track" + (", only sound" if sound else ""))

    def _check(self, element: Any, caps: Any) -> bool:
        """Whether pictures of these caps may be decoded; where not, the reason is kept and the run ends."""
        structure = structure_of(caps)
        name = structure.get_name()
        (has_width, width), (has_height, height) = structure.get_int("width"), structure.get_int("height")
        try:
            if has_width and has_height:
                require_pixels(self._name, (height, width), self._megapixels)
            depth = structure.get_uint("bit-depth-luma")[1]
            if structure.get_string("chroma-format") == "4:0:0" and depth > 8:
                codec = "HEVC" if name.endswith("h265") else "H.264"
                raise SourceFormatError(
                    f"{self._name}: GStreamer cannot decode {codec} of {depth}-bit gray:"
                    " ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv converts it"
                )
        except SourceError as error:
            self.refusal = error
            post_error(element, str(error))
            return False
        return True

    def _added(self, _decode: Any, _inside: Any, element: Any) -> None:
        """Called by decodebin for each element that it makes, before that gets anything.

        FFmpeg's decoders are to draw into memory of their own. gst-libav (1.22) has a picture's format looked
        up before it gives memory to draw into, and where GStreamer has no such format (gray of 9, 10, 12 or
        14 bits) goes on without one, into a segmentation fault that ends the process, in the middle of a
        stream too; memory of their own is copied only once the format has been found, or the stream fails.
        """
        factory = element.get_factory()
        if factory is None:
            return
        kind = factory.get_metadata("klass") or ""
        if factory.get_name() in _TELLING_PARSERS:
            self._let_tell(element)
        if factory.get_name() == "jpegparse":
            self._keep_startless(element)
        if "Demux" in kind:
            element.connect("pad-added", self._new_track)
        if "Decoder" in kind and ("Video" in kind or "Image" in kind):
            if self._tells_damage and factory.get_name() in _TOLD:
                element.set_property("max-threads", 1)  # its words are of the picture that it was given last
            if element.find_property("direct-rendering") is not None:
                element.set_property("direct-rendering", False)
            self._count(element)

    def _new_track(self, _demuxer: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        structure = structure_of(caps) if caps is not None and caps.get_size() else None
        if structure is None or not structure.get_name().startswith(("video/", "image/")):
            return
        gst = modules()["Gst"]
        start = pad.get_sticky_event(gst.EventType.STREAM_START, 0)
        chosen = start is not None and bool(start.parse_stream_flags() & gst.StreamFlags.SELECT)
        size = (structure.get_int("height")[1], structure.get_int("width")[1])
        self.tracks.append(PictureTrack(size, chosen))

    def _let_tell(self, parser: Any) -> None:
        """Let a parser tell the decoder what the bitstream says of its colors, not what the container does.

        qtdemux 1.22 reads a full-range `colr` box as limited range, and parsers believe it over the stream.
        """
        gst = modules()["Gst"]

        def strip(pad: Any, info: Any) -> Any:
            event = info.get_event()
            text = event.parse_caps().to_string() if event.type == gst.EventType.CAPS else ""
            without = _COLORIMETRY.sub("", text)
            if without == text:
                return gst.PadProbeReturn.OK
            pad.send_event(gst.Event.new_caps(gst.Caps.from_string(without)))
            return gst.PadProbeReturn.DROP

        parser.get_static_pad("sink").add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, strip)

    def _keep_startless(self, parser: Any) -> None:
        """Let pictures of a container go by a parser that would drop them, as their start is lost.

        jpegparse is in front of every decoder of GStreamer 1.26, and says nothing of what it drops.
        """
        gst, way_out = modules()["Gst"], parser.get_static_pad("src")

        def pass_by(_pad: Any, info: Any) -> Any:
            buffer = info.get_buffer()
            # Only a demuxer gives whole pictures, and decoders take none before they know what comes.
            if not self.tracks or way_out.get_current_caps() is None or not buffer.get_size():
                return gst.PadProbeReturn.OK
            if buffer.extract_dup(0, len(_JPEG_STARTS)) == _JPEG_STARTS:
                return gst.PadProbeReturn.OK
            way_out.push(buffer)
            return gst.PadProbeReturn.DROP

        parser.get_static_pad("sink").add_probe(gst.PadProbeType.BUFFER, pass_by)

    def _headers_of(self, structure: Any) -> H264Headers | None:
        """What reads a stream of these caps; None where nothing does."""
        if structure.get_name() != "video/x-h264":
            return None
        headers = self._headers or H264Headers()
        record = structure.get_value("codec_data") if structure.has_field("codec_data") else None
        try:
            headers.configure(b"" if record is None else record.extract_dup(0, record.get_size()))
        except HeaderError as error:
            log.debug("%s: %s", self._name, error)
            return None
        return headers

    def _count(self, decoder: Any) -> None:
        """Note what goes into a decoder and comes out of it, and look at the size before it does."""
        gst = modules()["Gst"]
        counted, self._decoder = [False], decoder

        def arriving(_pad: Any, info: Any) -> Any:
            if info.type & gst.PadProbeType.BUFFER:
                pts = info.get_buffer().pts
                self._thread = threading.get_ident()
                if counted[0] and pts != gst.CLOCK_TIME_NONE:
                    with self._lock:
                        self._pending.add(pts)
                        if self._tells_damage:
                            self._begins(pts, info.get_buffer())
                self._taken += counted[0]
                return gst.PadProbeReturn.OK
            event = info.get_event()
            if event.type == gst.EventType.FLUSH_STOP:  # what went in comes out no more
                with self._lock:
                    self._pending.clear()
                    self._given_up.clear()
                    self._damage.clear()
                    self._keys.clear()
                    self._now_ns = self._damaged_ns = None
                    if self._headers is not None:
                        self._headers.reset()
                    self._taken = self._given = 0
                    self._first_out_ns = None
            if event.type != gst.EventType.CAPS:
                return gst.PadProbeReturn.OK
            caps = event.parse_caps()
            structure = structure_of(caps)
            (_, width), (_, height) = structure.get_int("width"), structure.get_int("height")
            self._blocks = (-(-height // _MACROBLOCK_PX), -(-width // _MACROBLOCK_PX))
            # two fields of a picture may come one after the other
            fields = structure.get_string("interlace-mode") not in (None, "progressive")
            fields = fields or structure.get_string("coded-picture-structure") == "field"
            counted[0] = structure.get_name() in _COUNTED and not fields
            self._headers = self._headers_of(structure) if self._tells_damage else None
            return gst.PadProbeReturn.OK if self._check(decoder, caps) else gst.PadProbeReturn.DROP

        def leaving(_pad: Any, info: Any) -> Any:
            pts = info.get_buffer().pts
            with self._lock:
                self._given += counted[0]
                self._pending.discard(pts)
                if pts == gst.CLOCK_TIME_NONE:
                    return gst.PadProbeReturn.OK
                if self._first_out_ns is None:
                    self._first_out_ns = pts
                if len(self._pending) > _WAITING:
                    late = sorted(t for t in self._pending if t < pts)
                    self._pending.difference_update(late)
                    self._given_up += [t for t in late if t > self._first_out_ns]
            return gst.PadProbeReturn.OK

        kinds = gst.PadProbeType
        if self.take is not None:
            give_units(decoder.get_static_pad("sink"), self.take)
        decoder.get_static_pad("sink").add_probe(
            kinds.BUFFER | kinds.EVENT_DOWNSTREAM | kinds.EVENT_FLUSH, arriving
        )
        decoder.get_static_pad("src").add_probe(kinds.BUFFER, leaving)

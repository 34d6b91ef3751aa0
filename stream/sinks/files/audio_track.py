"""Carries a file's first audio track over into a recording, as it is where that holds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.media.container import read_promise, reader_of
from irchroma.stream.media.matroska import NO_LANGUAGE, MatroskaError, tracks_of
from irchroma.stream.remarks import remark

log = logging.getLogger(__name__)

_LOOK_S = 10.0
_TOLD_NS = 250_000_000  # coded sound often ends a few frames after the pictures
_PARSERS = {
    "audio/mpeg": "",
    "audio/x-opus": "opusparse",
    "audio/x-vorbis": "vorbisparse",
    "audio/x-flac": "flacparse",
    "audio/x-ac3": "ac3parse",
}
ENCODERS = (
    ("avenc_aac", "audio/mpeg"),
    ("voaacenc", "audio/mpeg"),
    ("opusenc", "audio/x-opus"),
    ("vorbisenc", "audio/x-vorbis"),
)


@dataclass(slots=True)
class AudioTrack:
    """One audio branch of a recording's pipeline, which stops where the pictures stop.

    Attributes:
        launch: launch text from the file to `mux.`
        properties: values for its named elements.
        corrections: bytes of the file to be read as others, see `Pipeline`.
        copied: true where the coded audio is kept, false where it is encoded again.
        length_ns: of the file that it comes from.
        first_ns: time of its first frame, None before that.
    """

    launch: str
    properties: dict[str, dict[str, Any]]
    corrections: dict[int, bytes]
    copied: bool
    length_ns: int = 0
    first_ns: int | None = None
    _end_ns: int | None = None
    _ended: bool = False
    _way_out: Any = None

    def attach(self, pipeline: Pipeline) -> None:
        """Watch a pipeline's audio from its first buffer on, so that `end_at` can cut it."""
        kinds = door.modules()["Gst"].PadProbeType
        pipeline.element("audio_parts").connect("pad-added", self._leave_pictures)
        self._way_out = pipeline.element("audio_gate").get_static_pad("src")
        pad = pipeline.element("audio_gate").get_static_pad("sink")
        pad.add_probe(kinds.BUFFER | kinds.EVENT_DOWNSTREAM, self._gate)

    def _leave_pictures(self, _parts: Any, pad: Any) -> None:
        """Swallow pictures: with nobody to take them, a file that has them first fails before its sound."""
        library = door.modules()["Gst"]
        if not structure_of(pad.get_current_caps() or pad.query_caps(None)).get_name().startswith("audio/"):
            pad.add_probe(library.PadProbeType.BUFFER, lambda *_: library.PadProbeReturn.DROP)

    def end_at(self, end_ns: int) -> None:
        """Leave out what starts at `end_ns` of the pictures' time or later. Any thread."""
        self._end_ns = end_ns
        if self.length_ns - end_ns > _TOLD_NS:
            remark("sound that goes on after the last picture is left out")

    def _gate(self, pad: Any, probe: Any) -> Any:
        """Runs in the audio's streaming thread, once a coded audio frame or event.

        After the end it swallows events too: a parser in front fails when its tags are refused.
        """
        library = door.modules()["Gst"]
        if self._ended:
            return library.PadProbeReturn.DROP
        buffer = probe.get_buffer() if probe.type & library.PadProbeType.BUFFER else None
        if buffer is None or (self._end_ns is None and self.first_ns is not None):
            return library.PadProbeReturn.OK
        event = pad.get_sticky_event(library.EventType.SEGMENT, 0)
        time_ns = buffer.pts
        if event is not None:
            time_ns = event.parse_segment().to_running_time(library.Format.TIME, time_ns)
        if time_ns == library.CLOCK_TIME_NONE:  # what a decoder needs before the sound begins
            return library.PadProbeReturn.OK
        if self.first_ns is None:
            self.first_ns = time_ns
        if self._end_ns is None or time_ns < self._end_ns:
            return library.PadProbeReturn.OK
        self._ended = True
        self._way_out.push_event(library.Event.new_eos())
        return library.PadProbeReturn.DROP


def leave_out(path: Path, source: Path) -> None:
    """Say that the row of files at `path` is recorded without its source's sound, where that has any."""
    try:
        silent = not sound_of(source)[0]
    except (StreamError, TimeoutError):
        silent = False
    if not silent:
        remark(f"{path}: segments are recorded without audio")


def open_audio(path: Path, muxer: str) -> AudioTrack | None:
    """The first audio track of a file, made fit for a muxer; None, with a warning, where there is no way.

    A file without audio is no reason for a warning.
    """
    try:
        tracks, subtitles, length_ns = sound_of(path)
    except (StreamError, TimeoutError) as error:
        remark(f"{path}: its audio cannot be read ({error}): recording pictures only")
        return None
    if subtitles:
        remark(f"{path}: subtitles are left out", subtitles)
    if not tracks:
        return None
    if len(tracks) > 1:
        remark(f"{path}: of {len(tracks)} tracks of audio the first is kept")
    caps = tracks[0]
    held = {structure_of(caps, i).get_name() for caps in _pad_caps(muxer) for i in range(caps.get_size())}
    coded = structure_of(caps).get_name()
    parser = _parser_of(caps)
    properties = {"audio_file": {"location": str(path)}}
    corrections = read_promise(path).corrections
    if coded in held and parser is not None and _holds_as_is(caps, muxer):
        return AudioTrack(
            f"{reader_of(path, 'audio_file')} ! parsebin name=audio_parts audio_parts. ! {coded}"
            f" ! queue ! {parser}identity name=audio_gate ! mux.audio_0",
            properties,
            corrections,
            copied=True,
            length_ns=length_ns,
        )
    for element, kind in ENCODERS:
        if kind in held and door.has_element(element):
            log.info("%s: audio %s encoded again with %s", path, coded, element)
            return AudioTrack(
                f"{reader_of(path, 'audio_file')} ! decodebin name=audio_parts audio_parts. ! audio/x-raw"
                f" ! queue ! audioconvert ! audioresample ! {element}"
                " ! identity name=audio_gate ! mux.audio_0",
                properties,
                corrections,
                copied=False,
                length_ns=length_ns,
            )
    remark(f"{path}: its audio ({coded}) cannot be kept in this kind of file: recording pictures only")
    return None


def sound_of(path: Path) -> tuple[list[Any], int, int]:
    """The coded caps of each audio track, the number of subtitles, and the file's length in nanoseconds."""
    discover = door.extra_module("GstPbutils")
    library = door.modules()["Gst"]
    glib = door.modules()["GLib"]
    try:
        found = discover.Discoverer.new(int(_LOOK_S * library.SECOND)).discover_uri(path.absolute().as_uri())
    except glib.Error as error:
        raise StreamError(error.message) from error
    caps = [track.get_caps() for track in found.get_audio_streams()]
    # GStreamer's discoverer has not always seen a track's language when it is done
    subtitles = max(len(found.get_subtitle_streams()) - _facts_in(path), 0)
    return caps, subtitles, found.get_duration()


def _facts_in(path: Path) -> int:
    """How many tracks of a Matroska file are text that is no subtitle; of any other file none."""
    try:
        with path.open("rb") as file:
            return sum(t.language == NO_LANGUAGE and t.codec.startswith("S_") for t in tracks_of(file))
    except (MatroskaError, OSError):
        return 0


def _pad_caps(muxer: str) -> list[Any]:
    """Caps of a muxer's audio pads, from its factory: PyGObject 3.42 frees those of `get_pad_template`."""
    factory = door.modules()["Gst"].ElementFactory.find(muxer)
    templates = factory.get_static_pad_templates() if factory is not None else []
    return [template.get_caps() for template in templates if template.name_template == "audio_%u"]


def _parser_of(caps: Any) -> str | None:
    """Launch text of the parser that a coded audio stream needs before a muxer, None where unknown."""
    structure = structure_of(caps)
    if structure.get_name() == "audio/mpeg":
        ok, generation = structure.get_int("mpegversion")
        return "mpegaudioparse ! " if ok and generation == 1 else "aacparse ! "
    parser = _PARSERS.get(structure.get_name())
    return f"{parser} ! " if parser else None


def _holds_as_is(caps: Any, muxer: str) -> bool:
    """Whether the muxer takes this stream once its parser has framed it."""
    wanted = caps.copy()
    for i in range(wanted.get_size()):
        # A parser sets these itself.
        for key in ("framed", "parsed", "stream-format", "base-profile", "codec_data"):
            structure_of(wanted, i).remove_field(key)
    return any(held.can_intersect(wanted) for held in _pad_caps(muxer))

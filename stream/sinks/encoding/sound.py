"""What sounds with the pictures: of a file or of a live source, coded, in pieces as outputs send them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from irchroma.stream.errors import StreamError
from irchroma.stream.frame import SOUND_HZ, Sound
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.media.container import read_promise, reader_of
from irchroma.stream.remarks import remark
from irchroma.stream.running_time import awake_s
from irchroma.stream.sinks.files.audio_track import ENCODERS, sound_of

_PADDING = {"audio/mpeg": 1024, "audio/x-opus": 312}
"""Samples at 48 kHz that an encoder puts before the first one, of which a stream says nothing."""
PARSERS = {"audio/mpeg": "aacparse", "audio/x-opus": "opusparse"}
_PIECE_NS = 2_000_000  # how long a piece is waited for that is not decoded yet
_BACKLOG_NS = 3_000_000_000
_SILENT_AFTER_NS = 500_000_000
_LONGEST_SILENCE_NS = 10_000_000_000
_WAITING = 2000  # coded pieces, some 40 s


class Piece(NamedTuple):
    """Coded sound: a `Gst.Buffer`, its `Gst.Caps`, and when it begins: nanoseconds on the pictures' clock."""

    buffer: Any
    caps: Any
    pts_ns: int

    def at(self, pts_ns: int) -> Any:
        """The buffer with its own time; the bytes stay shared."""
        library = door.modules()["Gst"]
        flags = library.BufferCopyFlags.FLAGS | library.BufferCopyFlags.MEMORY
        piece = self.buffer.copy_region(flags, 0, self.buffer.get_size())
        piece.pts = piece.dts = max(0, pts_ns)
        piece.duration = self.buffer.duration
        return piece


class SoundReader(Protocol):
    """One output's sound. Used by one thread."""

    def until(self, end_ns: int) -> Iterator[Piece]:
        """Each piece that begins before `end_ns`, once."""

    def begins(self, now_ns: int) -> Any:
        """`Gst.Caps` of the next piece, which is not taken; None while it is not there at that time."""

    @property
    def ended(self) -> bool:
        """True where no more will come."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


def encoder_of(coding: str) -> str:
    """The element that makes such sound here; StreamError where none is."""
    for element, kind in ENCODERS:
        if kind == coding and door.has_element(element):
            return element
    raise StreamError(f"no encoder for {coding} is here")


class FileSound:
    """A `SoundReader` of a file's first track, as AAC, as the pictures that go with it are sent."""

    def __init__(self, path: Path) -> None:
        """Raises StreamError where there is none, or nothing to encode it with."""
        tracks, _, _ = sound_of(path)
        if not tracks:
            raise StreamError("no audio track")
        self._pipeline = Pipeline(
            f"{reader_of(path, 'audio_file')} ! decodebin name=audio_parts audio_parts. ! audio/x-raw ! queue"
            f" ! audioconvert ! audioresample ! {encoder_of('audio/mpeg')} ! aacparse"
            " ! audio/mpeg,stream-format=raw ! appsink name=sound sync=false max-buffers=8",
            {"audio_file": {"location": str(path)}},
            corrections={"audio_file": read_promise(path).corrections},
        )
        self._pipeline.start()
        self._next: Piece | None = None

    def until(self, end_ns: int) -> Iterator[Piece]:
        while True:
            self._next = self._next or _pull(self._pipeline, "audio/mpeg", _PIECE_NS)
            if self._next is None or self._next.pts_ns >= end_ns:
                return
            piece, self._next = self._next, None
            yield piece

    def begins(self, now_ns: int) -> Any:
        self._next = self._next or _pull(self._pipeline, "audio/mpeg", _PIECE_NS)
        return None if self._next is None else self._next.caps

    def caps(self, wait_s: float) -> Any:
        """`Gst.Caps` of the first piece, which is waited for.

        Raises:
            StreamError: it does not come.
        """
        deadline_s = awake_s() + wait_s
        while self._next is None and awake_s() < deadline_s:
            self._next = _pull(self._pipeline, "audio/mpeg", _PIECE_NS)
        if self._next is None:
            raise StreamError("the sound does not begin")
        return self._next.caps

    def settled(self, end_ns: int) -> bool:
        """Whether all that begins before `end_ns` has been given."""
        return self._next.pts_ns >= end_ns if self._next is not None else self.ended

    @property
    def ended(self) -> bool:
        return self._next is None and bool(self._pipeline.element("sound").get_property("eos"))

    def close(self) -> None:
        self._pipeline.stop()


class LiveSound:
    """A live source's sound, coded once for each coding and read by any number of outputs.

    There is always some: where the source gives none for a while, silence stands in for it, since a container
    with a track of sound waits for it with the pictures too. The source's thread puts, outputs' threads read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, _CodedLine] = {}
        self._end_ns = -1  # of what has been put so far

    def put(self, pieces: Sequence[Sound]) -> None:
        """What came with a frame; nothing is done with it while nobody reads."""
        with self._lock:
            for piece in pieces:
                self._fill(piece.pts_ns, 0)
                late = round((self._end_ns - piece.pts_ns) * SOUND_HZ / 1e9) if self._end_ns >= 0 else 0
                samples = piece.samples[max(0, late) :] if late > SOUND_HZ // 100 else piece.samples
                if len(samples):
                    self._push(
                        samples,
                        piece.pts_ns + (len(piece.samples) - len(samples)) * 1_000_000_000 // SOUND_HZ,
                    )

    def reader(self, coding: str = "audio/mpeg") -> SoundReader:
        """For one output; begins some seconds ago. Raises StreamError where nothing encodes it here."""
        with self._lock:
            if coding not in self._lines:
                self._lines[coding] = _CodedLine(coding)
            return self._lines[coding].reader(self)

    def silence_until(self, end_ns: int) -> None:
        """Let silence stand in for what has not come half a second after it was due."""
        with self._lock:
            self._fill(end_ns - _SILENT_AFTER_NS, _SILENT_AFTER_NS // 5)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        with self._lock:
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            line.close()

    def _fill(self, to_ns: int, least_ns: int) -> None:
        missing_ns = to_ns - self._end_ns
        if self._end_ns < 0 or missing_ns > _LONGEST_SILENCE_NS:
            self._end_ns = max(self._end_ns, to_ns - (_BACKLOG_NS if self._end_ns >= 0 else 0))
            missing_ns = to_ns - self._end_ns
        count = round(missing_ns * SOUND_HZ / 1e9)
        if missing_ns > max(least_ns, 20_000_000):
            self._push(np.zeros((count, 2), np.int16), self._end_ns)

    def _push(self, samples: Any, pts_ns: int) -> None:
        if self._end_ns < 0 or abs(pts_ns - self._end_ns) > 20_000_000:
            self._end_ns = pts_ns  # clocks that drift are followed; encoders count on from there
        start_ns = self._end_ns
        self._end_ns += len(samples) * 1_000_000_000 // SOUND_HZ
        for line in self._lines.values():
            line.push(samples, start_ns)


class _CodedLine:
    """One encoder and those who read what it makes."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        form = ",stream-format=raw" if coding == "audio/mpeg" else ""
        self._pipeline = Pipeline(
            "appsrc name=pcm format=time is-live=true max-bytes=0"
            f" caps=audio/x-raw,format=S16LE,rate={SOUND_HZ}"
            ",channels=2,layout=interleaved,channel-mask=(bitmask)0x3"
            f" ! audioconvert ! {encoder_of(coding)} ! {PARSERS[coding]} ! {coding}{form}"
            " ! appsink name=sound sync=false async=false"
        )
        self._pipeline.start()
        self._lock = threading.Lock()
        self._recent: deque[Piece] = deque()
        self._readers: list[_LiveReader] = []

    def push(self, samples: Any, pts_ns: int) -> None:
        duration_ns = len(samples) * 1_000_000_000 // SOUND_HZ
        self._pipeline.push("pcm", np.ascontiguousarray(samples), max(0, pts_ns), duration_ns)

    def collect(self) -> None:
        """Hand out what has been coded meanwhile."""
        with self._lock:
            while (piece := _pull(self._pipeline, self._coding, 0)) is not None:
                self._recent.append(piece)
                while piece.pts_ns - self._recent[0].pts_ns > _BACKLOG_NS:
                    self._recent.popleft()
                for reader in self._readers:
                    reader.pieces.append(piece)

    def reader(self, sound: LiveSound) -> _LiveReader:
        with self._lock:
            made = _LiveReader(sound, self, self._recent)
            self._readers.append(made)
        return made

    def leave(self, reader: _LiveReader) -> None:
        with self._lock:
            if reader in self._readers:
                self._readers.remove(reader)

    def close(self) -> None:
        with self._lock:
            self._pipeline.stop()


class _LiveReader:
    ended = False

    def __init__(self, sound: LiveSound, line: _CodedLine, recent: Sequence[Piece]) -> None:
        self._sound, self._line = sound, line
        self.pieces: deque[Piece] = deque(recent, maxlen=_WAITING)

    def until(self, end_ns: int) -> Iterator[Piece]:
        self._sound.silence_until(end_ns)
        self._line.collect()
        while self.pieces and self.pieces[0].pts_ns < end_ns:
            yield self.pieces.popleft()

    def begins(self, now_ns: int) -> Any:
        self._sound.silence_until(now_ns)
        self._line.collect()
        return self.pieces[0].caps if self.pieces else None

    def close(self) -> None:
        self._line.leave(self)


def _pull(pipeline: Pipeline, coding: str, wait_ns: int) -> Piece | None:
    library = door.modules()["Gst"]
    sample = pipeline.element("sound").emit("try-pull-sample", wait_ns)
    if sample is None:
        return None
    buffer, segment = sample.get_buffer(), sample.get_segment()
    time_ns = int(segment.to_running_time(library.Format.TIME, buffer.pts))
    known, rate = structure_of(sample.get_caps()).get_int("rate")
    late_ns = _PADDING[coding] * 1_000_000_000 // rate if known else 0
    return Piece(buffer, sample.get_caps(), time_ns - late_ns)


def open_sound(
    source: LiveSound | Path | None, live: bool, label: str, coding: str = "audio/mpeg"
) -> SoundReader | None:
    """What an output has to send beside its pictures; None, and a remark where that is a loss.

    Args:
        source: of a live source, or the file that is the source; None for none.
        live: whether the source is.
        label: the output.
        coding: what it takes; a file's is AAC.
    """
    try:
        if isinstance(source, LiveSound):
            return source.reader(coding)
        if source is not None and coding != "audio/mpeg" and sound_of(source)[0]:
            raise StreamError(f"of a file it is AAC, and {coding} is asked for")
        if source is not None and not live and coding == "audio/mpeg":
            return FileSound(source)
    except (StreamError, TimeoutError) as error:
        if "no audio track" not in str(error):
            remark(f"{label}: its sound is left out: {error}")
    return None

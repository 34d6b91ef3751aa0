"""Brings coded color, coded input and facts together by their times, and writes them to a file or a row."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.media.matroska import Track
from irchroma.stream.remarks import remark
from irchroma.stream.running_time import awake_s
from irchroma.stream.sinks.encoding.sound import FileSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.evidence.evidence_file import (
    COLOR,
    FACTS,
    RAW,
    SOUND,
    About,
    Before,
    Coded,
    EvidenceFile,
    key_name,
)
from irchroma.stream.sinks.evidence.signing import Signer
from irchroma.stream.sinks.files.audio_track import leave_out
from irchroma.stream.sinks.files.file_sink import check_room_beside, made_beside
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import numbered

log = logging.getLogger(__name__)

_WAITING_BYTES = 64_000_000  # of coded input whose color has not come: 6 s of 640x512 counts at 30 Hz
_NOTES = 256
_SOUND_END_S = 2.0
_FACTS_TRACK = Track("text", "facts", "S_TEXT/UTF8")


@dataclass(frozen=True, slots=True)
class EvidenceOptions:
    """How evidence is recorded.

    Attributes:
        signer: whose signature it carries.
        encoder: of the color.
        segment_s: seconds that a file lasts before the next one goes on from it, 0 for one file.
        keep: which files of a row stay.
        overwrite: replace a recording that is there, rather than number on.
        audio_from: a file whose sound goes along.
        facts: of the run, for the head.
        program: what records.
    """

    signer: Signer
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    segment_s: float = 0.0
    keep: Retention = field(default_factory=Retention)
    overwrite: bool = False
    audio_from: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    program: str = "irchroma"


class Waiting(NamedTuple):
    """A coded picture that waits for what belongs to it; `utc_ns` is 0 where the source is not live."""

    coded: Coded
    track: Track
    utc_ns: int = 0


class EvidenceRecorder:
    """What both tracks write into. Any thread may call.

    An entry is written for each picture of the untouched input, with its color where there is one, and for
    each picture that was shown without one ("no signal").

    Args:
        path: `folder/name.mkv`.
        options: how.

    Attributes:
        failure: why nothing is recorded any more; None while it is.

    Raises:
        SinkError: the file cannot be written there.
    """

    def __init__(self, path: Path, options: EvidenceOptions) -> None:
        if path.suffix.lower() != ".mkv":
            raise SinkError(f"{path}: evidence needs a name ending in .mkv, which holds all its tracks")
        self.path, self.options = path, options
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[Waiting]] = {COLOR: deque(), RAW: deque()}
        self._notes: dict[int, dict[str, Any]] = {}
        self._open_tracks: dict[int, object] = {}
        self._ended: set[int] = set()
        self._file: EvidenceFile | None = None
        self._tracks: dict[int, Track] = {}
        self._before = Before()
        self._sound: FileSound | None = None
        self._sound_asked = False
        self._base_ns = self._begun_ns = 0
        self._live, self._files, self._frames = False, 0, 0
        self._run: Context = copy_context()
        self.failure: SinkError | None = None

    def opens(self, number: int, track: object, live: bool) -> None:
        """A track begins; one that was there before has been given up."""
        with self._lock:
            if not self._open_tracks or self.failure is not None:
                check_room_beside(self.path)
            self._run = copy_context()
            if self.failure is not None:  # what the disk did not take is gone; the chain goes on
                self._give_up_file()
                self.failure = None
            self._open_tracks[number] = track
            self._ended.discard(number)
            self._live = live

    def note(self, pts_ns: int, facts: dict[str, Any]) -> None:
        """What is known of the picture that will be shown at that time; before it is given to the track."""
        with self._lock:
            self._notes[pts_ns] = facts
            while len(self._notes) > _NOTES:
                del self._notes[next(iter(self._notes))]

    def take(self, number: int, waiting: Waiting) -> None:
        """A coded picture of a track, at its source's time."""
        with self._lock:
            if self.failure is None:
                self._waiting[number].append(waiting)
                self._run.run(self._guarded_drain)  # the encoder's thread is no run's

    def ends(self, number: int, track: object) -> None:
        """No more comes of that track. The file is finished with the last one.

        Raises:
            SinkError: it could not be written to its end.
        """
        with self._lock:
            if self._open_tracks.get(number) is not track or number in self._ended:
                return
            self._ended.add(number)
            if self.failure is None:
                self._guarded_drain()
            if self._ended >= set(self._open_tracks):
                self._finish()
        if self.failure is not None:
            raise self.failure

    def _finish(self) -> None:
        try:
            if self._file is not None:
                self._rest_of_sound()
                self._file.finish()
        except OSError as error:
            self._fail(error)
        if self._sound is not None:
            self._sound.close()
            self._sound = None

    def _guarded_drain(self) -> None:
        try:
            self._drain()
        except OSError as error:
            self._fail(error)
        except StreamError as error:
            self.failure = SinkError(str(error))

    def _fail(self, error: OSError) -> None:
        if isinstance(error, SinkError):
            self.failure = error
            return
        path = self._file.path if self._file is not None else self.path
        self.failure = SinkError(f"{path}: {(error.strerror or str(error)).lower()}")
        self.failure.errno = error.errno

    def _drain(self) -> None:
        """Write all that waits for nothing."""
        colors, raws = self._waiting[COLOR], self._waiting[RAW]
        while colors or raws:
            if not colors:
                enough = sum(len(one.coded.data) for one in raws) > _WAITING_BYTES if self._live else False
                if COLOR not in self._ended and not enough:
                    return
                self._write(None, raws.popleft())
                continue
            shown_ns = colors[0].coded.time_ns
            if raws and raws[0].coded.time_ns < shown_ns:
                self._write(None, raws.popleft())
            elif raws and raws[0].coded.time_ns == shown_ns:
                self._write(colors.popleft(), raws.popleft())
            elif raws or RAW in self._ended or shown_ns not in self._notes:
                self._write(colors.popleft(), None)
            else:
                return

    def _write(self, color: Waiting | None, raw: Waiting | None) -> None:
        source_ns = (color or raw).coded.time_ns  # type: ignore[union-attr]
        file = self._file_for(color, raw, source_ns)
        facts = self._notes.pop(source_ns, {}) if color is not None else {"color_left_out": True}
        if color is not None and raw is None and not facts:
            facts = {"no_signal": True}
        if raw is not None:
            facts = {"frame": self._frames, **({"utc": utc(raw.utc_ns)} if raw.utc_ns else {}), **facts}
            self._frames += 1
        if self._sound is not None:
            for buffer, _, at_ns in self._sound.until(source_ns):
                if at_ns >= 0:
                    file.add_sound(at_ns, buffer.extract_dup(0, buffer.get_size()))
        time_ns = max(0, source_ns - self._base_ns)
        file.add(time_ns, facts, *(one and _moved(one.coded, self._base_ns) for one in (color, raw)))

    def _file_for(self, color: Waiting | None, raw: Waiting | None, source_ns: int) -> EvidenceFile:
        """The file that these go into: a new one where tracks change, or at a keyframe once it is full."""
        tracks = dict(self._tracks)
        for number, one in ((COLOR, color), (RAW, raw)):
            if one is not None:
                tracks[number] = one.track
            elif number not in tracks and self._waiting[number]:  # its first picture comes later
                tracks[number] = self._waiting[number][0].track
        late = bool(self.options.segment_s) and color is not None and color.coded.key
        late = late and source_ns - self._begun_ns >= self.options.segment_s * 1e9
        if self._file is None or tracks != self._tracks or late:
            self._next_file(tracks, source_ns)
        if self._file is None:
            raise SinkError(f"{self.path}: there is no file")
        return self._file

    def _next_file(self, tracks: dict[int, Track], source_ns: int) -> None:
        if self._file is not None:
            self._file.finish()
            self._before = self._file.last
        self._files += 1
        self._tracks, self._begun_ns = tracks, source_ns
        self._base_ns = source_ns if self._live or self.options.segment_s else 0
        path = self._next_path()
        facts = {"begun": utc(time.time_ns()), "begins_ns": source_ns, **self.options.facts}
        about = About(facts, self.options.program, self._before)
        described = {**tracks, FACTS: _FACTS_TRACK, **self._sound_track()}
        self._file = EvidenceFile(path, described, about, self.options.signer)
        log.info("evidence: %s, signed by key %s", path, key_name(self.options.signer))
        if self.options.keep:
            row = numbered(self.path)
            for old in self.options.keep.surplus([row[number] for number in sorted(row)]):
                log.info("%s: deleted", old)
                old.unlink(missing_ok=True)

    def _next_path(self) -> Path:
        if self.options.segment_s or self._files > 1:
            number = max([0, *numbered(self.path)]) + 1
            return self.path.with_stem(f"{self.path.stem}-{max(number, self._files):05d}")
        if self.path.exists() and not self.options.overwrite:
            path = made_beside(self.path)
            remark(f"{self.path} is there: recording to {path.name}")
            return path
        return self.path

    def _sound_track(self) -> dict[int, Track]:
        """The track of a file's sound, described by its first piece."""
        if self.options.audio_from is None or self._sound_asked:
            return {}
        self._sound_asked = True
        if self.options.segment_s:
            leave_out(self.path, self.options.audio_from)
            return {}
        try:
            self._sound = FileSound(self.options.audio_from)
            caps = self._sound.caps(_SOUND_END_S)
        except (StreamError, TimeoutError) as error:
            if "no audio track" not in str(error):
                remark(f"{self.path}: its sound is left out: {error}")
            self._sound = None
            return {}
        structure = structure_of(caps)
        private = structure.get_value("codec_data")
        sound = structure.get_int("rate")[1], structure.get_int("channels")[1]
        data = private.extract_dup(0, private.get_size())
        return {SOUND: Track("audio", "sound", "A_AAC", data, True, sound=sound)}

    def _rest_of_sound(self) -> None:
        sound, file = self._sound, self._file
        deadline_s = awake_s() + _SOUND_END_S
        while sound is not None and file is not None:
            for buffer, _, at_ns in sound.until(file.end_ns):
                if at_ns >= 0:
                    file.add_sound(at_ns, buffer.extract_dup(0, buffer.get_size()))
            if sound.settled(file.end_ns):
                return
            if awake_s() > deadline_s:
                remark(
                    f"{file.path}: the last of its sound is left out: it did not come in {_SOUND_END_S:g} s"
                )
                return

    def _give_up_file(self) -> None:
        if self._file is not None:
            self._before = self._file.last
            self._file.abandon()
            self._file = None
        for waiting in self._waiting.values():
            waiting.clear()


def utc(ns: int) -> str:
    """`2026-03-01T12:00:00.123456Z`."""
    return f"{datetime.fromtimestamp(ns / 1e9, timezone.utc):%Y-%m-%dT%H:%M:%S.%f}Z"


def _moved(coded: Coded, base_ns: int) -> Coded:
    return replace(coded, time_ns=max(0, coded.time_ns - base_ns))

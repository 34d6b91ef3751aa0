"""The archive: recordings into segments, segments to workers, what they color into files, all of it noted."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.engines.cache import digest_on_disk
from irchroma.engines.errors import EngineError
from irchroma.engines.processor import usable_cores
from irchroma.launch.archive.manifest import MANIFEST, Manifest
from irchroma.launch.archive.plan import Recording, cut, is_stack
from irchroma.launch.archive.segment import FINAL, FULL, Done, Job, unwritten
from irchroma.launch.archive.workers import Workers
from irchroma.launch.arguments import one_line
from irchroma.launch.run.settings.options import load
from irchroma.stream.errors import SinkError, SourceError, StreamError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.files.joined_file import JOINED_PARSER, JoinedFile
from irchroma.stream.sources.addresses import masked
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.packets import read_packets
from irchroma.stream.sources.pictures.picture_source import PictureSource

log = logging.getLogger(__name__)

_WORK = ".irchroma-archive"
ATTEMPTS = 3
_THREADS = "neural.network.threads"  # which change no picture


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How an archive is colored.

    Attributes:
        settings, config: as of `Job`.
        segment_s: how long a segment is at least, seconds.
        overlap_s: how much of what goes before each is colored again, so that its memory is that of one run.
            A gain jump is forgotten after 10 s (`gain.MEMORY` times `gain_settle_s`), from when on the
            network is shown the same to the last bit; the color gathered before then needs 15 s and more to
            fade. With a jump of up to 60 levels every 9 s, 20 s left up to 3 levels between the two, 28 s 2.
        audio: keep the sound.
        again: color anew what was finished with other settings.
    """

    settings: dict[str, Any]
    config: str = ""
    segment_s: float = 180.0
    overlap_s: float = 30.0
    audio: bool = True
    again: bool = False


@dataclass(slots=True)
class _Work:
    """A recording under way."""

    recording: Recording
    folder: Path
    jobs: list[Job]
    ahead: Job | None
    source_digest: str
    source_bytes: int
    done: dict[int, Done] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    failure: str | None = None
    began_s: float = field(default_factory=time.monotonic)

    def missing(self) -> list[Job]:
        """Segments that are still to be done."""
        return [job for job in self.jobs if job.number not in self.done]

    def grows(self) -> bool:
        """Whether its recording has another length than when it was begun."""
        with suppress(OSError):
            return self.recording.source.stat().st_size != self.source_bytes
        return False

    def first(self) -> list[Job]:
        """What can be begun with: its tone is followed before its segments are colored."""
        missing = self.missing()
        if self.ahead is not None and any(job.tone and not Path(job.tone).is_file() for job in missing):
            return [self.ahead]
        return missing


class Archive:
    """Colors recordings; what an earlier run has finished, of a recording or of a segment, is not done again.

    Args:
        place: the folder of the results, where the manifest and the unfinished segments lie.
        options: how.
        workers: who.
        tell: called with the seconds of video that are done, and a note.
        try_engine: called with recordings to be colored until it says that it has tried; raises where no
            worker could.
    """

    def __init__(
        self,
        place: Path,
        options: ArchiveOptions,
        workers: Workers,
        tell: Callable[[float, str], None],
        try_engine: Callable[[Path], bool] | None = None,
    ) -> None:
        self._place, self._options, self._workers, self._tell = place, options, workers, tell
        self._try_engine = try_engine
        shown = {key: value for key, value in options.settings.items() if key != _THREADS}
        said = json.dumps([shown, options.segment_s, options.overlap_s], sort_keys=True, default=str)
        asked = {key: masked(str(value)) for key, value in shown.items()}
        asked |= {"segment length": f"{options.segment_s:g}", "overlap": f"{options.overlap_s:g}"}
        if options.config:
            written = Path(options.config).read_text(encoding="utf-8")
            said += written
            asked["config"] = f"{options.config} ({hashlib.sha256(written.encode()).hexdigest()[:8]})"
        self._settings = hashlib.sha256(said.encode()).hexdigest()
        self._manifest = Manifest(place / MANIFEST, asked)
        config = load(Path(options.config) if options.config else None, options.settings)
        every = config.neural.temporal.color_every
        self._every = every if isinstance(every, int) else 1
        self._follows_tone = config.tone_map.method != "none" and config.tone_map.span is None
        self.colored = self.kept = 0
        self.failures: list[str] = []
        self._given_up: list[_Work] = []
        self._frames_done = 0

    def run(self, recordings: list[Recording]) -> None:
        """Color all; failures are noted, and the others go on.

        Raises:
            StreamError: the disk is full, on which all others would fail too, or the archive's own files
                cannot be written.
            EngineError, ConfigError: the engine cannot be had; nothing was begun then.
        """
        waiting: deque[tuple[_Work, Job]] = deque()
        under_way: dict[str, _Work] = {}
        left = deque(recordings)
        try:
            while left or waiting or under_way:
                while left and not waiting:  # the next recording is looked at when its turn comes
                    work = self._begun(left.popleft())
                    if work is not None:
                        waiting.extend((work, job) for job in work.first())
                        if len(work.done) == len(work.jobs):
                            self._join(work)
                while waiting and len(under_way) < self._workers.count:
                    work, job = waiting.popleft()
                    if work.failure is None:
                        under_way[job.target] = work
                        self._workers.start(job)
                if under_way:
                    self._ended(under_way, waiting)
        except OSError as error:
            told = unwritten(self._place, error)
            if told.errno == errno.ENOSPC:
                raise StreamError(f"{told}: with room there, the same command goes on") from error
            if told is error:
                raise
            raise told from error
        finally:
            self._workers.close()
            for work in self._given_up:
                if not work.done:  # of which only orders to the workers are left
                    shutil.rmtree(work.folder, ignore_errors=True)

    def _ended(self, under_way: dict[str, _Work], waiting: deque[tuple[_Work, Job]]) -> None:
        """Wait for a segment; see what became of it."""
        job, failure = self._workers.next()
        work = under_way.pop(job.target)
        if job.number < 0 and failure is None:
            waiting.extendleft((work, one) for one in reversed(work.missing()))
            return
        done = Done.read(job) if failure is None else None
        if done is not None:
            work.done[job.number] = done
            self._frames_done += len(done.times)
            self._tell(self._frames_done, f"{work.recording.name} {len(work.done)}/{len(work.jobs)}")
        else:
            reason = failure or "its result cannot be read"
            if FULL in reason:
                raise self._full(work, reason)
            if work.grows():
                if work.failure is None:
                    self._fail(work.recording, "is still being recorded: run again once it is whole", work)
                shutil.rmtree(work.folder, ignore_errors=True)  # none of it is of what it will be then
                return
            tried = work.attempts[job.number] = work.attempts.get(job.number, 0) + 1
            log.warning("%s: segment %d: %s (attempt %d)", work.recording.name, job.number, reason, tried)
            if tried < ATTEMPTS and not any(word in reason for word in FINAL):
                waiting.appendleft((work, job))
            elif work.failure is None:
                what = f"segment {job.number}" if job.number >= 0 else "following its tone"
                self._fail(work.recording, f"{what}: {reason}", work)
        if len(work.done) == len(work.jobs) and work.failure is None:
            self._join(work)

    def _begun(self, recording: Recording) -> _Work | None:
        """Its segments; None where it is done already, or cannot be read."""
        try:
            length = recording.source.stat().st_size
            source = digest_on_disk(recording.source)
            known = self._manifest.finished(recording)
            if known is not None and known["source_sha256"] == source:
                if known["settings"] == self._settings:
                    self.kept += 1
                    if known["state"] == "damaged":
                        self.failures.append(f"{recording.name}: {known['reason']}")
                    return None
                if not self._options.again:
                    self._fail(recording, self._manifest.other_settings(known))
                    return None
            refuse_unreadable(recording.source)
            if self._try_engine is not None and self._try_engine(recording.source):
                self._try_engine = None
            recording.target.parent.mkdir(parents=True, exist_ok=True)
            spans = cut(recording.source, self._options.segment_s, self._options.overlap_s, self._every)
        except (OSError, StreamError) as error:
            self._fail(recording, why_unread(recording.source) or one_line(error))
            return None
        folder = self._place / _WORK / hashlib.sha256(f"{source}{self._settings}".encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        place = folder.resolve()
        tones = [
            str(place / f"tone-{number:05d}.npz") if self._follows_tone and span.before_ns >= 0 else ""
            for number, span in enumerate(spans)
        ]
        jobs = [
            Job(
                str(recording.source.resolve()),
                self._options.settings,
                self._options.config,
                span.begin_ns,
                span.end_ns,
                span.warm_ns,
                span.frames,
                str(place / f"segment-{number:05d}"),
                number,
                tones[number],
            )
            for number, span in enumerate(spans)
        ]
        marks = tuple((span.before_ns, tone) for span, tone in zip(spans, tones, strict=True) if tone)
        ahead = replace(jobs[0], number=-1, target=str(place / "tone"), tone="", marks=marks)
        work = _Work(recording, folder, jobs, ahead if marks else None, source, length)
        for job in jobs:
            done = Done.read(job)
            if done is not None:
                work.done[job.number] = done
        if work.done:
            log.info("%s: %d of %d segments are there", recording.name, len(work.done), len(jobs))
        return work

    def _join(self, work: _Work) -> None:
        """The segments as one file, with the sound."""
        recording = work.recording
        part = recording.target.with_name(f".{recording.target.stem}.part{recording.target.suffix}")
        try:
            join(work.jobs, work.done, part, recording.source, self._options.audio)
            shutil.copystat(recording.source, part)  # its times, and who may read it
            part.replace(recording.target)
        except (OSError, StreamError, EngineError) as error:
            part.unlink(missing_ok=True)
            told = unwritten(self._place, error) if isinstance(error, OSError) else error
            if isinstance(told, OSError) and told.errno == errno.ENOSPC:
                raise self._full(work, str(told), "joining: ") from error
            self._fail(recording, f"joining: {one_line(error)}", work)
            return
        ordered = [work.done[job.number] for job in work.jobs]
        frames = sum(len(done.times) for done in ordered)
        fault = "; ".join(done.fault for done in ordered if done.fault)
        if fault:
            fault += f": the {frames} frames that could be read are in {recording.target}"
            self.failures.append(f"{recording.name}: {fault}")
            log.error("%s: %s", recording.name, fault)
        self._manifest.note(
            recording,
            {
                "state": "damaged" if fault else "done",
                **({"reason": fault} if fault else {}),
                "source": str(recording.source),
                "source_sha256": work.source_digest,
                "settings": self._settings,
                "asked": self._manifest.asked,
                "sha256": digest_on_disk(recording.target),
                "frames": frames,
                "failed_attempts": sum(work.attempts.values()),
                "engine": ordered[0].engine,
                "seconds": round(time.monotonic() - work.began_s, 3),
                "remarks": sorted({text for done in ordered for text in done.remarks}),
                "segments": [
                    {
                        "begin_ns": job.begin_ns,
                        "frames": len(work.done[job.number].times),
                        "sha256": work.done[job.number].sha256,
                        "seconds": work.done[job.number].seconds,
                        "failed_attempts": work.attempts.get(job.number, 0),
                    }
                    for job in work.jobs
                ],
            },
        )
        self.colored += 1
        shutil.rmtree(work.folder, ignore_errors=True)

    def _full(self, work: _Work, line: str, doing: str = "") -> SinkError:
        """The line of what has no room ends the archive for now; noted where there is room for that."""
        with suppress(OSError):
            self._fail(work.recording, f"{doing}{line}", work)
        full = SinkError(line)
        full.errno = errno.ENOSPC
        return full

    def _fail(self, recording: Recording, reason: str, work: _Work | None = None) -> None:
        """Note it, but for a result that is there; what is done of it stays for the next time."""
        self.failures.append(f"{recording.name}: {reason}")
        log.error("%s: %s", recording.name, reason)
        if work is not None:
            work.failure = reason
            self._given_up.append(work)
        with suppress(OSError):
            if self._manifest.finished(recording) is not None:
                return
        self._manifest.note(recording, {"state": "failed", "source": str(recording.source), "reason": reason})


def refuse_unreadable(path: Path) -> None:
    """SourceError for what a run refuses by its headers alone: GStreamer may say nothing of it for 30 s."""
    source = PictureSource(path) if is_stack(path) else FileSource(path)
    try:
        _ = source.open() if isinstance(source, PictureSource) else source.plan()
    finally:
        source.close()


def why_unread(path: Path) -> str:
    """Why a run would not color it either, in a run's words; empty where it would."""
    source = open_source(str(path))
    try:
        source.open()
    except SourceError as error:
        return str(error)
    finally:
        source.close()
    return ""


def join(jobs: list[Job], done: dict[int, Done], target: Path, source: Path, audio: bool) -> None:
    """Put colored segments one behind the other, each picture at the time that it had in the recording, with
    what the recording says of itself, and its sound if that is wished for.

    Raises:
        SinkError, SourceError: a file cannot be read or written.
    """
    first = done[jobs[0].number]
    video = None if is_stack(source) else source
    sink = JoinedFile(target, video if audio else None, video)
    try:
        ends_ns = max((time_ns for one in done.values() for time_ns, _ in one.times), default=0)
        info = VideoInfo(first.size, Fraction(first.rate), live=False, duration_ns=ends_ns)
        sink.open(info, first.size)
        for job in jobs:
            path, times = Path(job.target + ".mkv"), iter(done[job.number].times)
            count = 0
            for packet in read_packets(path, JOINED_PARSER, data=True):
                time_ns = next(times, None)
                if time_ns is None or packet.data is None:
                    break
                sink.write(packet.data, *time_ns)
                count += 1
            if count != len(done[job.number].times):
                raise SourceError(f"{path}: {count} pictures of {len(done[job.number].times)} can be read")
    finally:
        sink.close()


def with_defaults(options: ArchiveOptions, workers: int) -> ArchiveOptions:
    """Fixed settings, the same for every segment: color for every frame, a worker's share of the threads."""
    cores = usable_cores()
    defaults = {"fixed": True, "neural.temporal.color_every": 1, _THREADS: max(1, cores // workers)}
    return replace(options, settings={**defaults, **options.settings})

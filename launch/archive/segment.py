"""One segment of a recording: what is to be done, and doing it, in a process that nobody else needs.

Brightness and contrast of a recording have a memory that no warm-up is long enough for (`SceneMemory`): they
are followed through all of it first, and each segment begins with what is known at its beginning.

`python -m irchroma.launch.archive.segment JOB.json` does one and writes `NAME.mkv` and `NAME.json`; with
`--held` it ends when its standard input does, so with whoever started it.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.cache import digest_on_disk
from irchroma.launch.run.process import settle_threads, tune_process
from irchroma.launch.run.settings.options import RunConfig, load, with_engine
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import NO_ROOM, SinkError, SourceError, StreamError
from irchroma.stream.loop.loop import Loop
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sources.file_source import Part

FULL = "the disk is full"
"""As sinks say it; nothing else can be written either."""
UNWRITABLE = "cannot be written"
FINAL = (UNWRITABLE, "cannot be encoded")
"""Of what no other attempt would write."""
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_SAME_NS = 500_000  # containers' times are rounded to less


@dataclass(frozen=True, slots=True)
class Job:
    """One segment.

    Attributes:
        source: the recording.
        settings: of the run, dotted key -> value.
        config: a TOML file with more of them, empty for none.
        begin_ns, end_ns: what of the recording, `[begin_ns, end_ns)`; 0 for an end that is the recording's.
        warm_ns: from when on it is colored too, and thrown away, so that what remembers the past does.
        frames: how many pictures it has, -1 where that is not known.
        target: the segment's file, without its ending.
        number: of the segment in its recording; -1 for following its tone alone.
        tone: a file with the tone map's memory at `warm_ns`; empty for none.
        marks: for -1, after which pictures the memory is written, and to which file.
    """

    source: str
    settings: dict[str, Any]
    config: str
    begin_ns: int
    end_ns: int
    warm_ns: int
    frames: int
    target: str
    number: int
    tone: str = ""
    marks: tuple[tuple[int, str], ...] = ()

    @classmethod
    def read(cls, path: Path) -> Job:
        """See `write`."""
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**told, "marks": tuple((after_ns, file) for after_ns, file in told["marks"])})

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a segment.

    Attributes:
        sha256: of its file.
        times: of each picture, nanoseconds: pts and duration.
        size: (H, W).
        rate: frames a second, as a fraction.
        engine: what colored it.
        seconds: that it took.
        remarks: what was dropped, replaced or guessed.
        fault: what is wrong with the recording itself, all of which that can be read is there; empty for
            nothing.
    """

    sha256: str
    times: list[tuple[int, int]]
    size: tuple[int, int]
    rate: str
    engine: str
    seconds: float
    remarks: list[str]
    fault: str = ""

    @classmethod
    def read(cls, job: Job) -> Done | None:
        """What an earlier run has done of this job; None where that is not there, or not whole."""
        try:
            told = json.loads(Path(job.target + ".json").read_text(encoding="utf-8"))
            done = cls(
                **{**told, "times": [tuple(pair) for pair in told["times"]], "size": tuple(told["size"])}
            )
            return done if digest_on_disk(Path(job.target + ".mkv")) == done.sha256 else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


class _SegmentSink:
    """A `FrameSink`: a file that leaves out the warm-up, and notes the times that it was given."""

    def __init__(self, path: Path, config: RunConfig, begin_ns: int) -> None:
        self._sink = FileSink(path, FileSinkOptions(config.output.encoder, overwrite=True))
        self._begin_ns = begin_ns
        self.end_s = self._sink.end_s
        self.times: list[tuple[int, int]] = []
        self.size, self.rate = (0, 0), "0"

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        self.size, self.rate = size, str(info.rate)
        self._sink.open(info, size)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        if pts_ns >= self._begin_ns:
            self._sink.write(rgb, pts_ns, duration_ns)
            self.times.append((pts_ns, duration_ns))

    @property
    def drops(self) -> int:
        return self._sink.drops

    def close(self) -> None:
        self._sink.close()


def work(job: Job) -> None:
    """Color a segment; its file is there as a whole afterwards, or not at all.

    Raises:
        StreamError, EngineError, ConfigError: it could not be done.
    """
    try:
        if job.number < 0:
            follow_tone(job)
        else:
            color_segment(job)
    except OSError as error:
        told = unwritten(Path(job.target).parent, error)
        if told is error:
            raise
        raise told from error


def unwritten(place: Path, error: OSError) -> OSError:
    """The one clear line for a file that has no room, or for one of the archive's own that may not be
    written; any other error as it is, such as that of a file that may not be read.

    Args:
        place: the folder of the archive's own files, named where the error names none.
        error: as it was met.
    """
    full, sink = error.errno in NO_ROOM, isinstance(error, SinkError)
    if (sink and FULL in str(error)) or not (
        full or (error.errno in _DENIED and (sink or _in(place, error)))
    ):
        return error
    what = FULL if full else f"{UNWRITABLE} ({os.strerror(error.errno or 0).lower()})"
    name = str(error).rpartition(": ")[0] if sink else error.filename
    found = SinkError(f"{name or place}: {what}")
    found.errno = errno.ENOSPC if full else error.errno
    return found


def _in(place: Path, error: OSError) -> bool:
    """Whether the file that it names lies there."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    return Path(os.fsdecode(error.filename)).resolve().is_relative_to(place.resolve())


def follow_tone(job: Job) -> None:
    """What the tone map remembers after some pictures of a recording, which nothing colors.

    Raises:
        StreamError, ConfigError: it cannot be read.
    """
    config = load(Path(job.config) if job.config else None, job.settings)
    config = replace(with_engine(config, "gray"), source=job.source, to=("null",))
    marks = list(job.marks)

    def look(loop: Loop) -> None:
        while marks and (loop.last_pts_ns or 0) >= marks[0][0] - _SAME_NS:
            path = Path(marks.pop(0)[1])
            part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
            np.savez(part, **loop.tone_map.remembered())  # type: ignore[arg-type]
            part.replace(path)
            if not marks:
                loop.stop()

    build_loop(config).run(look)
    if marks:
        raise SourceError(f"{job.source}: ends before {marks[0][0] / 1e9:.3f} s, where a picture should be")


def color_segment(job: Job) -> Done:
    """The pictures of one, colored.

    Raises:
        StreamError, EngineError, ConfigError: it could not be done.
    """
    began_s = time.monotonic()
    config = load(Path(job.config) if job.config else None, job.settings)
    near = (job.warm_ns + _SAME_NS, job.warm_ns - _SAME_NS) if job.warm_ns else (0, 0)
    part = Part(near[0], job.end_ns, near[1])
    config = replace(config, source=job.source, to=(), input=replace(config.input, part=part))
    settle_threads(config.neural.network.runtime, config.neural.network.threads)
    path = Path(f"{job.target}.{os.getpid()}.part.mkv")  # a worker that was left behind may be at it too
    try:
        done = _colored(job, config, path)
        done = replace(done, seconds=round(time.monotonic() - began_s, 3))
        path.replace(job.target + ".mkv")
    except BaseException:
        path.unlink(missing_ok=True)  # or each attempt, and each later run, would leave one more
        raise
    told = path.with_suffix(".json")
    told.write_text(json.dumps(asdict(done)), encoding="utf-8")
    told.replace(job.target + ".json")
    return done


def _colored(job: Job, config: RunConfig, path: Path) -> Done:
    """The segment in a file, not yet under its name, and how long it took not yet told."""
    sink = _SegmentSink(path, config, job.begin_ns)
    remarks, fault = Remarks(), ""
    token = run_remarks.set(remarks)
    try:
        loop = build_loop(config, extra_sinks={str(path): sink})
        if job.tone:
            with np.load(job.tone, allow_pickle=False) as remembered:
                loop.tone_map.recall(dict(remembered))
        try:
            loop.run()
        except SourceError as error:  # such as a truncated file's, after all that it still has
            if error is not loop.reader.failure or not sink.times:
                raise
            what, _, counted = str(error).rpartition(": ")
            fault = what if "frames" in counted else str(error)  # it has counted this segment's alone
    finally:
        run_remarks.reset(token)
    lost = job.frames - len(sink.times) if job.frames >= 0 else 0
    if lost < 0 or (lost and not fault):
        raise SourceError(
            f"{job.source}: segment {job.number} has {job.frames} pictures, {len(sink.times)} came out"
        )
    if loop.guarded is not None and loop.guarded.failures:
        raise StreamError(f"{job.source}: the engine failed: {loop.guarded.reason}")
    return Done(
        digest_on_disk(path),
        sink.times,
        sink.size,
        sink.rate,
        loop.guarded.name if loop.guarded is not None else "",
        0.0,
        [str(one["text"]) for one in remarks.listed()],
        fault,
    )


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def main(words: list[str]) -> int:
    """One job in a process of its own."""
    from irchroma.launch.arguments import one_line

    tune_process()
    if "--held" in words:
        threading.Thread(target=_end_with_input, name="held", daemon=True).start()
    try:
        work(Job.read(Path(words[0])))
    except Exception as error:  # noqa: BLE001 (whoever started this process reads the line)
        print(one_line(error) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One segment of a recording: what is to be done, and doing it, in a process that nobody else needs.

`python -m irchroma.launch.archive.segment JOB.json` does one and writes `NAME.mkv` and `NAME.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from irchroma.launch.run.options import RunConfig, load
from irchroma.launch.run.process import settle_threads, tune_process
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sources.file_source import Part


@dataclass(frozen=True, slots=True)
class Job:
    """One segment.

    Attributes:
        source: the recording.
        settings: of the run, dotted key -> value.
        config: a TOML file with more of them, empty for none.
        begin_ns, end_ns: what of the recording, `[begin_ns, end_ns)`; 0 for an end that is the recording's.
        warm_ns: how much before it is colored too, and thrown away, so that what remembers the past does.
        frames: how many pictures it has, -1 where that is not known.
        target: the segment's file, without its ending.
        number: of the segment in its recording.
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

    def write(self, path: Path) -> None:
        """As JSON."""
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
    """

    sha256: str
    times: list[tuple[int, int]]
    size: tuple[int, int]
    rate: str
    engine: str
    seconds: float
    remarks: list[str]

    @classmethod
    def read(cls, job: Job) -> Done | None:
        """What an earlier run has done of this job; None where that is not there, or not whole."""
        try:
            told = json.loads(Path(job.target + ".json").read_text(encoding="utf-8"))
            done = cls(
                **{**told, "times": [tuple(pair) for pair in told["times"]], "size": tuple(told["size"])}
            )
            return done if digest_of(Path(job.target + ".mkv")) == done.sha256 else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


class _SegmentSink:
    """A file that leaves out the warm-up, and notes the times that it was given."""

    def __init__(self, path: Path, config: RunConfig, begin_ns: int) -> None:
        self._sink = FileSink(path, FileSinkOptions(config.output.encoder, overwrite=True))
        self._begin_ns = begin_ns
        self.end_s = self._sink.end_s
        self.times: list[tuple[int, int]] = []
        self.size, self.rate = (0, 0), "0"

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`."""
        self.size, self.rate = size, str(info.rate)
        self._sink.open(info, size)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`."""
        if pts_ns >= self._begin_ns:
            self._sink.write(rgb, pts_ns, duration_ns)
            self.times.append((pts_ns, duration_ns))

    @property
    def drops(self) -> int:
        """See `FrameSink.drops`."""
        return self._sink.drops

    def close(self) -> None:
        """See `FrameSink.close`."""
        self._sink.close()


def color_segment(job: Job) -> Done:
    """Do it; what it has written is there as a whole, or not at all.

    Raises:
        StreamError, EngineError, ConfigError: it could not be done.
    """
    began_s = time.monotonic()
    config = load(Path(job.config) if job.config else None, job.settings)
    part = Part(max(0, job.begin_ns - job.warm_ns), job.end_ns)
    config = replace(config, source=job.source, to=(), input=replace(config.input, part=part))
    settle_threads(config.neural.network.runtime, config.neural.network.threads)
    path = Path(f"{job.target}.{os.getpid()}.part.mkv")  # a worker that was left behind may be at it too
    sink = _SegmentSink(path, config, job.begin_ns)
    remarks = Remarks()
    token = run_remarks.set(remarks)
    try:
        loop = build_loop(config, extra_sinks={str(path): sink})
        loop.run()
    finally:
        run_remarks.reset(token)
    if job.frames >= 0 and len(sink.times) != job.frames:
        raise SourceError(
            f"{job.source}: segment {job.number} has {job.frames} pictures, {len(sink.times)} came out"
        )
    done = Done(
        digest_of(path),
        sink.times,
        sink.size,
        sink.rate,
        loop.guarded.name if loop.guarded is not None else "",
        round(time.monotonic() - began_s, 3),
        [str(one["text"]) for one in remarks.listed()],
    )
    if loop.guarded is not None and loop.guarded.failures:
        raise StreamError(f"{job.source}: the engine failed: {loop.guarded.reason}")
    path.replace(job.target + ".mkv")
    told = path.with_suffix(".json")
    told.write_text(json.dumps(asdict(done)), encoding="utf-8")
    told.replace(job.target + ".json")
    return done


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def main(words: list[str]) -> int:
    """One job in a process of its own."""
    from irchroma.launch.arguments import one_line

    tune_process()
    try:
        told = json.loads(Path(words[0]).read_text(encoding="utf-8"))
        color_segment(Job(**told))
    except Exception as error:  # noqa: BLE001 (whoever started this process reads the line)
        print(one_line(error) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

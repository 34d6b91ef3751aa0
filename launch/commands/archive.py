"""`irchroma archive`: colors a file or a folder of recordings, in parallel, to the pictures of one run."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from irchroma.engines.processor import usable_cores
from irchroma.launch.archive.archive import (
    Archive,
    ArchiveOptions,
    refuse_unreadable,
    with_defaults,
)
from irchroma.launch.archive.manifest import MANIFEST
from irchroma.launch.archive.plan import Recording, find_recordings, left_out
from irchroma.launch.archive.workers import open_workers
from irchroma.launch.config import ConfigError
from irchroma.launch.progress import Progress
from irchroma.launch.run.engines import open_engine
from irchroma.launch.run.process import set_up
from irchroma.launch.run.settings import flags as run_flags
from irchroma.launch.run.settings.options import RunConfig, load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.packets import read_packets

EXAMPLE = """irchroma archive recordings/ colored/ --engine nir --workers 4
  irchroma archive night.mp4 night-color.mp4 --engine nir:best
  irchroma archive recordings/ colored/ --ray ray-head:6379 --workers 64    (folders that every node has)

again with the same settings: what is done is not done again, what is not is gone on with"""

_NOT_HERE = {
    *("auto", "gather_references", "thermometer.measure", "thermometer.alarm", "mqtt", "on_event"),
    *("output.evidence", "output.evidence_key", "output.keep_raw", "output.keep_raw_as", "output.collect"),
    *("output.segment_s", "output.keep_segments", "output.keep_days", "output.keep_gb", "output.overwrite"),
    *("output.page_token", "output.page_viewer_token", "output.page_certificate", "output.page_key"),
    *("output.page_control", "output.onvif", "output.stats", "strict"),
    *("input.rtsp.latency_ms", "input.rtsp.transport", "input.loop"),
    *("reconnect.stall_s", "reconnect.wait_at_start"),
}
"""What a run has and an archive has not: cameras, pages, several files of one recording."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The archive's own, and of a run's flags those that are for archives."""
    add = parser.add_argument
    add("input", type=Path, metavar="IN", help="a recording, or a folder of them")
    add("output", type=Path, metavar="OUT", help="a .mp4 or .mkv file, or a folder")
    add("--workers", type=int, metavar="N", help="segments at once, 1 or more (one for each two cores)")
    add("--ray", metavar="ADDRESS", help="work on a Ray cluster: its address, or local (irchroma[fleet])")
    add("--segment-length", type=float, default=180.0, metavar="S", help="seconds of a segment (180)")
    add("--overlap", type=float, default=30.0, metavar="S", help="seconds of warm-up before a segment (30)")
    add("--again", action="store_true", help="color anew what was finished with other settings")
    add("--config", type=Path, metavar="FILE", help="a TOML file; flags win over it")
    add("--quiet", action="store_true", help="warnings and errors only, no progress")
    run_flags.add_to(parser, _NOT_HERE)


def run(args: argparse.Namespace) -> int:
    """0 when every recording is colored."""
    settings = run_flags.settings(args)
    _require(args, settings)
    set_up("text", logging.WARNING if args.quiet else logging.INFO)
    count = args.workers if args.workers is not None else max(1, usable_cores() // 2)
    config_file = str(args.config.resolve()) if args.config is not None else ""
    options = ArchiveOptions(settings, config_file, args.segment_length, args.overlap)
    options = with_defaults(options, count)
    config = load(args.config, options.settings)  # its complaints come now
    options = replace(options, audio=config.output.audio, again=args.again)
    recordings = find_recordings(args.input, args.output)
    for recording in recordings:  # such as a codec that does not go into such a file
        FileSink(recording.target, FileSinkOptions(config.output.encoder))
    with suppress(SourceError):  # of a recording it is told when its turn comes
        build_loop(
            replace(config, source=str(recordings[0].source), to=())
        )  # engine, references, weights: now
    place = args.output if len(recordings) > 1 or args.input.is_dir() else recordings[0].target.parent
    place.mkdir(parents=True, exist_ok=True)
    workers = open_workers(count, args.ray)
    progress = Progress(None if args.quiet else _frames(recordings), endless=not args.quiet)
    # A cluster's machines have runtimes and devices of their own.
    try_engine = partial(_try_engine, config) if args.ray is None else None
    archive = Archive(place, options, workers, progress.update, try_engine)
    try:
        archive.run(recordings)
    finally:
        progress.close()
    told = f"{archive.colored} colored, {archive.kept} were there already"
    print(f"{args.output}: {told}; {place / MANIFEST}")
    if others := left_out(args.input):
        print(f"{args.input}: no recordings by their names, left out: {others}")
    for failure in archive.failures:
        print(f"irchroma archive: {failure}", file=sys.stderr)
    return 1 if archive.failures else 0


def _try_engine(config: RunConfig, path: Path) -> bool:
    """Whether it was tried; EngineError, ConfigError where it cannot be had here: its runtime, its device."""
    source = open_source(str(path), config.input)
    try:
        info = source.open()
    except SourceError:  # which its segment tells
        return False
    finally:
        source.close()
    open_engine(config, info).close()
    return True


def _frames(recordings: list[Recording]) -> float | None:
    """How many pictures can be read in all, for the time that is left; None off a terminal."""
    if not sys.stderr.isatty():
        return None
    count = 0
    for recording in recordings:
        with suppress(OSError, StreamError):  # which the archive tells of when its turn comes
            refuse_unreadable(recording.source)
            for _ in read_packets(recording.source):
                count += 1
    return float(count)


def _require(args: argparse.Namespace, settings: dict[str, object]) -> None:
    for name, value, least in (
        ("--workers", args.workers, 1),
        ("--segment-length", args.segment_length, 1),
        ("--overlap", args.overlap, 0),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{name}: expected {least} or more, got {value:g}")
    if run_flags.given(settings, {"output.overwrite"}):
        raise ConfigError("--overwrite is not for archives: --again replaces what other settings have made")
    if wrong := run_flags.given(settings, _NOT_HERE):
        raise ConfigError(f"{wrong[0]} is not for archives: leave it out")

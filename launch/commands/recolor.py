"""`irchroma recolor`: colors the untouched input of a recording anew, with any engine."""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.launch.commands.run import run_with
from irchroma.launch.run.settings import flags as run_flags
from irchroma.stream.errors import SourceError
from irchroma.stream.media.matroska import MatroskaError, tracks_of
from irchroma.stream.sinks.evidence.evidence_file import RAW_NAME

EXAMPLE = """irchroma recolor night.mkv better.mp4 --engine nir:best
  irchroma recolor night.mkv again.mkv --engine palette:ironbow --evidence
  (night.mkv is what run rtsp://camera/stream --to night.mkv --evidence, or --keep-raw night.mkv, made)"""

_VIDEO = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A run's flags, but for its source and sinks."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what --evidence or --keep-raw has recorded")
    parser.add_argument("output", metavar="OUT", help="where to: file.mp4|.mkv|.webm, or any other sink")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; flags win over it")
    parser.add_argument("--log", choices=("text", "json"), default="text", help="how log lines are written")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only, no progress")
    run_flags.add_to(parser)


def run(args: argparse.Namespace) -> int:
    """As `irchroma run`: times and sound are kept."""
    settings = run_flags.settings(args)
    settings["input.track"] = untouched_track(args.file)
    args.source, args.to, args.print_config = str(args.file), [args.output], False
    return run_with(args, settings)


def untouched_track(path: Path) -> int:
    """Which of a recording's tracks of pictures, counted from 1, is the input as it came.

    Raises:
        SourceError: none is.
    """
    try:
        with path.open("rb") as file:
            pictures = [track for track in tracks_of(file) if track.kind == _VIDEO]
    except MatroskaError as error:
        raise SourceError(f"{path}: expected a .mkv recording with its untouched input: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    for number, track in enumerate(pictures, 1):
        if track.name == RAW_NAME:
            return number
    if len(pictures) == 1 and pictures[0].codec == "V_FFV1":  # of --keep-raw
        return 1
    raise SourceError(
        f"{path}: holds no untouched input: expected what run --evidence or --keep-raw has recorded"
    )

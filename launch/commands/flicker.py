"""`irchroma flicker`: measures how much a video's color flickers."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.measures.flicker_report import FlickerReport, measure_flicker
from irchroma.launch.measured import show_json, words_of

EXAMPLE = "irchroma flicker colored.mp4 --input infrared.mp4 --json flicker.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("video", type=Path, metavar="VIDEO", help="the video to measure")
    add(
        "--input",
        type=Path,
        metavar="VIDEO",
        help="the infrared video that it was made from; tells which pixels did not change"
        " (without it, the measured video's own luma tells)",
    )
    add(
        "--reference",
        type=Path,
        metavar="VIDEO",
        help="a video of the same scene in real color; gives the flow for the warping error",
    )
    add("--json", type=Path, metavar="FILE", help="write every value here (- shows it), frame by frame too")


def run(args: argparse.Namespace) -> int:
    """Measure, print three lines, write the file that was asked for."""
    if args.json is not None and not args.json.parent.is_dir():
        raise EngineOptionError(f"no folder to write {args.json} into: make {args.json.parent} first")
    report = measure_flicker(args.video, args.reference, args.input)
    if args.json is not None:
        values = {"video": args.video.name, **report.as_json()}
        show_json(args.json, json.dumps(values, indent=1) + "\n")
    print("\n".join(describe(report)), file=words_of(args.json))
    return 0


def describe(report: FlickerReport) -> list[str]:
    """One line for each measure that was taken."""
    lines = [f"CDC             {report.cdc:.5f}  ({report.frames} frames)"]
    if math.isfinite(report.reference_cdc):
        lines[0] += f", reference {report.reference_cdc:.5f}"
    if math.isfinite(report.static_ab):
        lines.append(f"static a*b*     {report.static_ab:.4f}  mean change a frame where nothing changed")
    else:
        lines.append("static a*b*     none: no pixel of the input ever stood still")
    if math.isfinite(report.warping_error):
        lines.append(
            f"warping error   {report.warping_error:.6f}, reference {report.reference_warping_error:.6f}"
        )
    return lines

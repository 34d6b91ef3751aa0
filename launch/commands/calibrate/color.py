"""`irchroma calibrate color`: tunes a network to one camera by its own pairs of infrared and color."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.calibration.color import ColorTuning, ColorTuningOptions, tune
from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.pairs import PairCollector
from irchroma.calibration.recordings import read_frames
from irchroma.engines.network.record import NetworkRecord, with_record
from irchroma.engines.network.tuning import TUNED
from irchroma.engines.network.weight_storage import save
from irchroma.launch.commands.calibrate.tuned_network import add_network_arguments, asked_network
from irchroma.launch.measured import finite, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import luma_of
from irchroma.launch.stills.picture_files import list_pairs, read_pair
from irchroma.stream.sinks.open_sink import public
from irchroma.stream.tone.daylight import ColorCameraDetector

EXAMPLE = """irchroma calibrate color rtsp://camera/stream --collect pairs/ --seconds 172800 --out gate.onnx
  irchroma run rtsp://camera/stream --to rtsp://:8554/gate --collect pairs/
  irchroma calibrate color pairs/ --engine nir --out gate.onnx
  irchroma run rtsp://camera/stream --to rtsp://:8554/gate --engine nir --weights gate.onnx"""

LEAST_DETAIL = 0.85
"""Share of the detail kept that a tuned network may be without a word."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="PAIRS_OR_STREAM",
        help="folders that hold ir/ and rgb/ with equal file stems, in order of time: run --collect's; or"
        " recordings or cameras whose filter switches: up to three pairs of every dusk and dawn",
    )
    add("--collect", type=Path, metavar="DIR", help="keep a stream's pairs there; what is there counts too")
    add("--seconds", type=float, default=0.0, metavar="S", help="of a stream to look at, 0 for all of it (0)")
    add_network_arguments(parser, "; a report goes beside it", default=None)
    add("--held", type=float, default=0.25, metavar="SHARE", help="of the pairs, the last, that judge (0.25)")
    add("--match", default="", metavar="TEXT", help="only pairs whose name contains it")
    add(
        "--only",
        choices=("tone",),
        default="",
        help="tone: color and confidence stay, tone goes half of the way, in the network's own weights",
    )
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the network")


def run(args: argparse.Namespace) -> int:
    """Tune, judge, and write the network and a JSON report; or nothing, with one line that says why."""
    ColorTuningOptions(*asked_network(args), args.weights, args.held, args.threads, args.only)  # refused now
    with tempfile.TemporaryDirectory(prefix="irchroma-pairs-") as made:
        collected = args.collect or Path(made)
        streams = [source for source in args.source if not Path(source).is_dir()]
        if args.collect is not None and not streams:
            raise CalibrationError("--collect keeps the pairs of a stream: name one beside the folders")
        for source in streams:
            collect(source, collected, args.seconds)
        folders = [Path(source) for source in args.source if source not in streams]
        folders += [collected] if streams else []
        named = [pair for folder in folders for pair in list_pairs(folder) if args.match in pair[0].name]
        read = [read_pair(*pair) for pair in named]
    counts = any(pixels.dtype == np.uint16 for pixels, _ in read)
    pairs = [(luma_of(pixels), truth) for pixels, truth in read]
    engine, size = asked_network(args, counts)
    if counts and args.engine is None:
        print("the pairs are a sensor's counts, a thermal camera's: give --engine nir if they are not")
    options = ColorTuningOptions(engine, size, args.weights, args.held, args.threads, args.only)
    progress = Progress(1.0)
    try:
        result = tune(pairs, options, progress.update)
    finally:
        progress.close()
    print("\n".join(table(result)))
    result.require_gain()
    record = NetworkRecord(options.engine, options.size, TUNED, "", (), result.learned)
    save(result.model if args.only else with_record(result.model, record), args.out)
    write_json(args.out.with_name(f"{args.out.stem}-report.json"), report(options, result))
    kept = result.after.detail_kept / max(result.before.detail_kept, 1e-3)
    if kept < LEAST_DETAIL:
        print(
            f"look at pictures before you use it: people and cars stand out {100 * kept:.0f} % as much as"
            " before, since the colors that it learned from are as dark"
        )
    asked = args.engine or engine
    print(f"{args.out}: written; try it: irchroma run .. --engine {asked} --weights {args.out}")
    return 0


def collect(source: str, folder: Path, seconds: float = 0.0) -> None:
    """Look at a recording or a camera and keep in a folder what its filter's switches give.

    Args:
        source: as `irchroma run` takes it.
        folder: to be given ir/ and rgb/.
        seconds: of the source's own time to look at; 0 for all of it.

    Raises:
        SourceError: it cannot be opened or read.
        CalibrationError: the folder cannot be written, or there is not one pair in it afterwards.
    """
    collector, detector = PairCollector(folder), ColorCameraDetector()
    progress, start_ns, last_ns = Progress(seconds or None), 0, 0
    try:
        for number, frame in enumerate(read_frames(source, seconds)):
            start_ns = start_ns if number else frame.pts_ns
            if frame.gap:
                detector.reset()
            pixels = np.asarray(frame.pixels, np.uint8) if frame.is_color else None
            collector.look(frame, pixels is not None and detector.update(pixels, frame.pts_ns))
            last_ns = frame.pts_ns
            progress.update((last_ns - start_ns) / 1e9, f"{public(source)}: {collector.written} pairs")
    except KeyboardInterrupt:  # of a camera that is looked at for days, what there is
        pass
    finally:
        progress.close()
        there = any((folder / "ir").iterdir())  # of nothing at all the error below tells
        collector.close(None, tell=there)  # a recording is read faster than pairs are registered
    if not any((folder / "ir").iterdir()):
        refused = f", {collector.refused} did not lie on each other" if collector.refused else ""
        raise CalibrationError(
            f"{public(source)}: no pairs in {(last_ns - start_ns) / 1e9:.0f} s{refused}: expected a camera"
            " that switches between color and infrared; look at it for longer, past dusk and dawn"
        )


def table(result: ColorTuning) -> list[str]:
    """A line for each measure of the pairs held back, before and after."""
    before, after = result.before.as_dict(), result.after.as_dict()
    lines = [f"learned from {result.learned} pairs; the {result.held} held back, before and after:"]
    return lines + [f"  {key:24} {before[key]:8.3f} {after[key]:8.3f}" for key in before]


def report(options: ColorTuningOptions, result: ColorTuning) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        "calibration": "color",
        "engine": options.engine,
        "size": options.size,
        "only": options.only,
        "learned": result.learned,
        "held": result.held,
        "ridge": result.ridge,
        "before": finite(result.before),
        "after": finite(result.after),
    }

"""`irchroma calibrate color`: tunes a network to one camera by its own pairs of infrared and color."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.color import ColorTuning, ColorTuningOptions, tune
from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.network.record import NetworkRecord, with_record
from irchroma.engines.network.tuning import TUNED
from irchroma.engines.network.weight_storage import save
from irchroma.launch.measured import finite, write_json
from irchroma.launch.picture_files import list_pairs, read_pair
from irchroma.launch.progress import Progress
from irchroma.launch.stills import luma_of

EXAMPLE = """irchroma run rtsp://camera/stream --to rtsp://:8554/gate --collect pairs/
  irchroma calibrate color pairs/ --engine nir --out gate.onnx
  irchroma run rtsp://camera/stream --to rtsp://:8554/gate --engine nir --weights gate.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pairs, network, and where to write."""
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="PAIRS",
        help="folders that hold ir/ and rgb/ with equal file stems, in order of time: run --collect's",
    )
    add("--engine", default="nir", metavar="E", help="nir, nir:best, thermal, thermal:best (nir:fast)")
    add("--out", type=Path, required=True, metavar="FILE.onnx", help="the network; a report goes beside it")
    add("--held", type=float, default=0.25, metavar="SHARE", help="of the pairs, the last, that judge (0.25)")
    add("--weights", type=Path, metavar="FILE.onnx", help="a float network of your own to start from")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the network")


def run(args: argparse.Namespace) -> int:
    """Tune, judge, and write the network and a JSON report; or nothing, with one line that says why."""
    name = catalog.parse(args.engine)
    if not name.neural:
        raise CalibrationError(f"expected a network such as nir or thermal:best, got {args.engine}")
    if args.out.suffix != ".onnx":
        raise CalibrationError(f"--out {args.out}: expected a name ending in .onnx")
    options = ColorTuningOptions(name.kind, name.variant or "fast", args.weights, args.held, args.threads)
    pairs = [_pair(*files) for folder in args.source for files in list_pairs(Path(folder))]
    progress = Progress(1.0)
    try:
        result = tune(pairs, options, progress.update)
    finally:
        progress.close()
    print("\n".join(table(result)))
    result.require_gain()
    record = NetworkRecord(options.engine, options.size, TUNED, "", (), result.learned)
    save(with_record(result.model, record), args.out)
    write_json(args.out.with_name(f"{args.out.stem}-report.json"), report(options, result))
    print(f"{args.out}: written; try it: irchroma run .. --engine {args.engine} --weights {args.out}")
    return 0


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
        "learned": result.learned,
        "held": result.held,
        "ridge": result.ridge,
        "before": finite(result.before),
        "after": finite(result.after),
    }


def _pair(infrared: Path, color: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, truth = read_pair(infrared, color)
    return luma_of(pixels), truth

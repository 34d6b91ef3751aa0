"""`irchroma calibrate precision`: an 8-bit network from the user's own infrared frames, within a budget."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.precision import (
    TRUTH_DB,
    PrecisionOptions,
    PrecisionResult,
    PrecisionSearch,
    Quality,
)
from irchroma.calibration.recordings import InfraredFrames, gather
from irchroma.engines.network.eight_bit.quantization import PRECISIONS
from irchroma.engines.network.eight_bit.twins import in_turns
from irchroma.engines.network.network import Network, NetworkOptions, open_network
from irchroma.launch.commands.calibrate.tuned_network import add_network_arguments, asked_network
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import read_luma_pair
from irchroma.launch.stills.picture_files import contact_sheet, list_pairs, write_rgb
from irchroma.stream.sinks.open_sink import public

EXAMPLE = """irchroma calibrate precision night.mp4 --engine nir:best --out nir_best_int8.onnx
  irchroma run rtsp://camera/stream --to rtsp://:8554/gate --engine nir --weights nir_best_int8.onnx"""

AMPLIFIED = 16
"""Factor on the differences that the picture shows."""
SHOWN_ROWS = 4
_ROUNDS, _IN_A_ROW = 12, 5
SPEED_SIZES = {"fast": (256, 320), "best": (352, 416)}
"""(H, W) of a 640x512 camera at each network's own work size."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", nargs="+", metavar="SOURCE", help="your own infrared frames: folders, recordings, cameras")
    add_network_arguments(parser, "; reports go beside it")
    add("--precision", choices=PRECISIONS, default="int8", help="int8, or fp8 for recent GPUs (int8)")
    add("--max-loss-db", type=float, default=0.3, metavar="DB", help="PSNR that may be lost (0.3)")
    add(
        "--max-difference",
        type=float,
        default=1.0,
        metavar="DE",
        help="mean CIEDE2000 to the float network's pictures that is borne (1, just noticeable)",
    )
    add("--pairs", type=Path, metavar="DIR", help="ir/ and rgb/ pictures: measure the loss against the truth")
    add("--seconds", type=float, default=0.0, metavar="S", help="of each source; 0: all, 30 of a camera (0)")
    add("--frames", type=int, default=96, metavar="N", help="frames of each source, evenly thinned (96)")
    add("--work-size", type=int, default=0, metavar="PX", help="long side of what the network sees")
    add("--runtime", default="auto", metavar="R", help="judges and is timed: auto, openvino, onnxruntime")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the network")


def run(args: argparse.Namespace) -> int:
    """Calibrate; the network, a JSON report and a picture are written, or nothing at all."""
    engine, size = asked_network(args)
    options = PrecisionOptions(
        engine=engine,
        size=size,
        precision=args.precision,
        max_loss_db=args.max_loss_db,
        max_difference=args.max_difference,
        work_size_px=args.work_size,
        runtime=args.runtime,
        threads=args.threads,
        weights=args.weights,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    reading = Progress(None)
    frames = gather(args.source, args.seconds, args.frames, lambda of, n: reading.update(n, public(of)))
    reading.close()
    pairs = [read_luma_pair(pair) for pair in list_pairs(args.pairs)] if args.pairs is not None else []
    partial = args.out.with_name(f".{args.out.stem}.{os.getpid()}.partial.onnx")
    progress = Progress(1.0)
    search = PrecisionSearch(options, frames, pairs)
    try:
        with _tools_hushed():
            result = search.run(partial, progress.update)
        progress.update(0.0, "speed")
        speeds, convolutions = measure_speed(options, partial)
        pictures = search.pictures_of(partial)
        sheet = draw(frames, search.float_pictures, pictures, options)
        partial.replace(args.out)
    finally:
        progress.close()
        search.close()
        partial.unlink(missing_ok=True)
    picture, json_path = (
        args.out.with_name(args.out.stem + end) for end in ("-overview.png", "-report.json")
    )
    write_rgb(picture, sheet)
    write_json(json_path, report(options, frames, result, speeds, convolutions))
    print("\n".join(table(options, result, speeds, convolutions)))
    print(
        f"{args.out}: written; {picture} shows float, {options.precision} and their difference; {json_path}"
    )
    return 0


@contextlib.contextmanager
def _tools_hushed() -> Iterator[None]:
    """ONNX Runtime's tools print what they collect, and advise a pre-processing that is not needed here.

    Progress goes to standard error and is not touched.
    """
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger().setLevel(level)


@dataclass(frozen=True, slots=True)
class Speed:
    """One network's share of a measurement.

    Attributes:
        name: what it was called.
        runtime: runtime and precision of what is not quantized.
        median_ms: one frame.
        ratio: how many times as fast as the first network: median over the rounds, each of which is the
            ratio of both networks' medians within that round.
        ratio_low: of the slowest quarter of the rounds.
        ratio_high: of the fastest quarter.
    """

    name: str
    runtime: str
    median_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def measure_speed(options: PrecisionOptions, path: Path) -> tuple[dict[str, list[Speed]], dict[str, int]]:
    """Size -> what a run has without and with the new network; and types of its convolutions."""
    network_options = NetworkOptions(options.runtime, options.threads, cache=None)
    networks: dict[str, Network] = {
        "float": open_network(options.path, network_options),
        "float32, exact": open_network(
            options.path, NetworkOptions(options.runtime, options.threads, None, exact=True)
        ),
        options.precision: open_network(path, network_options),
    }
    size = SPEED_SIZES[options.size]
    if options.work_size_px:
        height = round(options.work_size_px * 0.8 / 32) * 32
        size = (max(32, height), -(-options.work_size_px // 32) * 32)
    try:
        luma = np.random.default_rng(7).random((1, 1, *size), np.float32)
        medians_ms = 1e3 * np.median(in_turns([*networks.values()], luma, _ROUNDS, _IN_A_ROW), axis=2)
        speeds = []
        for (name, network), own_ms in zip(networks.items(), medians_ms, strict=True):
            low, middle, high = np.percentile(medians_ms[0] / own_ms, [25, 50, 75])
            speeds.append(Speed(name, network.name, float(np.median(own_ms)), middle, low, high))
        count = getattr(networks[options.precision], "convolution_precisions", None)
        convolutions = count((1, 1, *size)) if count is not None else {}
    finally:
        for network in networks.values():
            network.close()
    return {f"{size[1]}x{size[0]}": speeds}, convolutions


def table(
    options: PrecisionOptions,
    result: PrecisionResult,
    speeds: dict[str, list[Speed]],
    convolutions: dict[str, int],
) -> list[str]:
    """What people read: sensitivities, quality, speed."""
    lines = [f"{'alone in ' + options.precision:<18}{'dB to float':>12}{'CIEDE2000':>11}"]
    for one in result.sensitivities:
        mark = "  kept in float" if one.group in result.kept else ""
        lines.append(f"{one.group:<18}{one.to_float_db:>12.2f}{one.difference:>11.3f}{mark}")
    lines += ["", f"{'':<18}{'dB to float':>12}{'worst':>8}{'CIEDE2000':>11}{'worst':>8}{'loss dB':>9}"]
    lines.append(_quality_line(f"all {options.precision}", result.everything))
    if result.kept:
        lines.append(_quality_line(f"{len(result.kept)} kept in float", result.quality))
    quality = result.quality
    if quality.truth_before_db is not None and quality.truth_after_db is not None:
        lines.append(
            f"against the truth: {quality.truth_before_db:.3f} dB, {quality.truth_after_db:.3f} after"
        )
    else:
        truth = TRUTH_DB[options.engine]
        lines.append(
            f"loss worked out for a network that is {truth:g} dB from the truth; --pairs measures it"
        )
    for size, group in speeds.items():
        lines += ["", f"{size:<18}{'ms a frame':>12}{'times as fast':>15}"]
        for speed in group:
            lines.append(
                f"{speed.name:<18}{speed.median_ms:>12.2f}{speed.ratio:>15.2f}"
                f"  ({speed.ratio_low:.2f} to {speed.ratio_high:.2f}), {speed.runtime}"
            )
    if convolutions:
        kinds = ", ".join(f"{count} in {kind}" for kind, count in convolutions.items())
        lines.append(f"convolutions as they run: {kinds}")
    if options.precision == "fp8":
        lines.append("fp8 is for GPUs: CPUs calculate it in float, so its speed here says nothing")
    return [*lines, ""]


def report(
    options: PrecisionOptions,
    frames: InfraredFrames,
    result: PrecisionResult,
    speeds: dict[str, list[Speed]],
    convolutions: dict[str, int],
) -> dict[str, Any]:
    """Everything, ready for JSON."""
    asked = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
    return {
        "calibration": "precision",
        "options": asked,
        "frames": {"measured": len(frames.measured), "held_out": len(frames.held_out)},
        "truth_db_assumed": None if result.quality.truth_before_db else TRUTH_DB[options.engine],
        **asdict(result),
        "speed": {size: [asdict(one) for one in group] for size, group in speeds.items()},
        "convolutions": convolutions,
    }


def draw(
    frames: InfraredFrames,
    before: list[NDArray[np.uint8]],
    after: list[NDArray[np.uint8]],
    options: PrecisionOptions,
) -> NDArray[np.uint8]:
    """Infrared, float, 8 bits, difference; the frames that differ most first."""
    own = range(len(frames.held_out))
    apart = [cv2.absdiff(before[index], after[index]) for index in own]
    rows = []
    for index in sorted(own, key=lambda index: -float(apart[index].mean()))[:SHOWN_ROWS]:
        amplified = np.asarray(cv2.convertScaleAbs(apart[index], alpha=AMPLIFIED), np.uint8)
        rows.append(
            [
                (f"held-out frame {index + 1}", frames.held_out[index]),
                ("float", before[index]),
                (options.precision, after[index]),
                (f"difference x{AMPLIFIED}, mean {apart[index].mean():.2f} of 255", amplified),
            ]
        )
    return contact_sheet(
        rows, cell_width=400, heading=f"{options.engine}:{options.size} in {options.precision}"
    )


def _quality_line(name: str, quality: Quality) -> str:
    return (
        f"{name:<18}{quality.to_float_db:>12.2f}{quality.worst_to_float_db:>8.2f}{quality.difference:>11.3f}"
        f"{quality.worst_difference:>8.3f}{quality.loss_db:>9.4f}"
    )

"""`irchroma bench temporal`: the temporal stage against what else there is, on the user's own clips.

What it measures of one method on one clip, and the table of that.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.cache import digest_of
from irchroma.engines.catalog import weights_path
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.measures.flicker import ColorDistribution, ReferenceMotion, StaticFlicker, WarpingError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.temporal.stage import TemporalOptions, TemporalStage
from irchroma.launch.bench.clips import FILTER, Clip, ffmpeg_filtered, recorded, synthetic
from irchroma.launch.measured import write_json

Rgb = NDArray[np.uint8]


@dataclass(slots=True)
class Row:
    """One method on one clip; NaN where there is no color reference.

    Attributes:
        clip: file name.
        method: what was done.
        frames: number of frames.
        cdc: color distribution consistency of the output.
        static_ab: mean |change of a*b*| a frame where the input did not change.
        psnr_db: against the reference, mean over the frames.
        warping_error: E_warp with the reference's flow.
        reference_warping_error: the real color video's own.
    """

    clip: str
    method: str
    frames: int
    cdc: float
    static_ab: float
    psnr_db: float = math.nan
    warping_error: float = math.nan
    reference_warping_error: float = math.nan


class Score:
    """Everything that is measured of one method on one clip."""

    def __init__(self, clip: str, method: str) -> None:
        self._clip, self._method = clip, method
        self._distribution, self._static, self._warping = ColorDistribution(), StaticFlicker(), WarpingError()
        self._psnr_db: list[float] = []
        self._frames = 0

    def add(self, rgb: Rgb, luma: NDArray[np.uint8], truth: Rgb | None, moved: Any) -> None:
        self._frames += 1
        self._distribution.add(rgb)
        self._static.add(rgb, luma)
        if truth is not None:
            self._warping.add(rgb, moved)
            self._psnr_db.append(cv2.PSNR(rgb, truth))

    def row(self, reference_warping_error: float) -> Row:
        return Row(
            self._clip,
            self._method,
            self._frames,
            self._distribution.value(),
            self._static.value(),
            statistics.fmean(self._psnr_db) if self._psnr_db else math.nan,
            self._warping.value(),
            reference_warping_error,
        )


def table(rows: list[Row]) -> list[str]:
    """Lines for people."""
    lines = [f"{'clip':28} {'method':22} {'CDC':>8} {'static':>7} {'PSNR':>6} {'E_warp':>9} {'of real':>7}"]
    for row in rows:
        ratio = row.warping_error / row.reference_warping_error if row.reference_warping_error else math.nan
        lines.append(
            f"{row.clip[:28]:28} {row.method:22} {row.cdc:8.5f} {row.static_ab:7.4f} {row.psnr_db:6.2f}"
            f" {row.warping_error:9.6f} {ratio:7.2f}".replace("nan", "  -")
        )
    return lines


EXAMPLE = "irchroma bench temporal --clip ir.mp4 --pair ir.mp4 color.mp4 --json flicker.json"
WORK_SIZE = (256, 320)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--clip", type=Path, action="append", default=[], metavar="VIDEO", help="infrared clip")
    add(
        "--pair",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("VIDEO", "COLOR"),
        help="infrared clip and the real color video of the same scene",
    )
    add(
        "--synthetic",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a test: camera, whose true color is known, such as test:nir?jumps=every:1",
    )
    add("--engine", default="thermal", help="nir, thermal or reference (default: thermal)")
    add("--size", default="fast", help="fast or best, of reference its band (default: fast)")
    add("--weights", type=Path, metavar="FILE.onnx", help="another network than the shipped one")
    add("--reference", type=Path, metavar="FILE", help="a color picture that steers, as of irchroma run")
    add("--mode", default="full", help="full or chroma (default: full)")
    add("--runtime", default="auto", help="what runs the network (default: auto)")
    add("--frames", type=int, default=0, metavar="N", help="at most N frames of each clip")
    add("--no-ffmpeg", action="store_true", help="leave out FFmpeg's filter")
    add("--json", type=Path, metavar="FILE", help="write every number here")


def run(args: argparse.Namespace) -> int:
    """Measure and print the table."""
    pairs: list[tuple[Path, Path | None]] = [(clip, None) for clip in args.clip]
    pairs += [(infrared, color) for infrared, color in args.pair]
    if not pairs and not args.synthetic:
        raise EngineOptionError(
            "nothing to measure: give --clip VIDEO, --pair VIDEO COLOR or --synthetic ADDRESS"
        )

    def colorizer(**changes: Any) -> NeuralColorizer:
        options = NeuralOptions(
            engine=args.engine,
            size=args.size,
            recolor=RecolorOptions(mode=args.mode),
            network=NetworkOptions(runtime=args.runtime),
            weights=args.weights,
            reference=args.reference,
            **changes,
        )
        return NeuralColorizer(options)

    rows: list[Row] = []
    opened = [partial(recorded, infrared, color, args.frames) for infrared, color in pairs]
    opened += [partial(synthetic, address, args.frames) for address in args.synthetic]
    for clip in opened:
        rows += measure_clip(colorizer, clip(), not args.no_ffmpeg)
    print("\n".join(table(rows)))
    first = opened[0]()
    cost = stage_cost_ms(first)
    whole = frame_cost_ms(colorizer, first)
    share = cost / whole
    print(f"\ntemporal stage at {WORK_SIZE[1]}x{WORK_SIZE[0]}: median {cost:.2f} ms of one core a frame,")
    print(f"{share:.0%} of the processor time of a whole frame ({whole:.1f} ms)")
    if args.json is not None:
        network = args.weights or weights_path(args.engine, args.size)
        document = {
            "what": "temporal stage",
            "engine": f"{args.engine} {args.size} {args.mode}",
            "weights_sha256": digest_of(network),
            "frames_at_most": args.frames,
            "runtime": args.runtime,
            "reference": args.reference.name if args.reference is not None else None,
            "stage_median_ms": cost,
            "frame_median_ms": whole,
            "rows": [_plain(asdict(row)) for row in rows],
        }
        write_json(args.json, document)
    return 0


def measure_clip(colorizer: Callable[..., NeuralColorizer], clip: Clip, ffmpeg: bool) -> list[Row]:
    """Every method on one clip.

    Args:
        colorizer: makes a new colorizer, given `steady` and `temporal` of `NeuralOptions`.
        clip: what is colored.
        ffmpeg: whether to run FFmpeg's filter too.
    """
    inputs = clip.luma
    truths = iter(()) if clip.truth is None else clip.truth()
    height, width = inputs[0].shape

    def colored(**changes: Any) -> Iterator[Rgb]:
        engine = colorizer(**changes)
        try:
            for number, luma in enumerate(inputs):
                engine.submit(luma, round(number * 1e9 / clip.rate_hz))
                yield engine.collect().rgb
        finally:
            engine.close()

    with tempfile.TemporaryDirectory() as folder:
        # On disk, as FFmpeg's filter reads ahead: minutes of video do not fit in memory.
        unsteady = np.memmap(Path(folder) / "rgb", np.uint8, "w+", shape=(len(inputs), height, width, 3))
        for number, rgb in enumerate(colored(steady=False)):
            unsteady[number] = rgb
        methods: dict[str, Iterator[Rgb]] = {"frame by frame": iter(unsteady)}
        if ffmpeg:
            methods[f"ffmpeg {FILTER}"] = ffmpeg_filtered(unsteady, (height, width))
        methods["temporal stage"] = colored(temporal=TemporalOptions())
        methods["temporal stage, auto"] = colored(temporal=TemporalOptions(color_every="auto"))
        scores = {name: Score(clip.name, name) for name in methods}
        motion, own = ReferenceMotion(), WarpingError()
        for luma in inputs:
            truth = next(truths, None)
            if clip.truth is not None and truth is None:
                break
            moved = None
            if truth is not None:
                moved = motion.add(rgb_to_luma(truth))
                own.add(truth, moved)
            for name, frames in methods.items():
                scores[name].add(next(frames), luma, truth, moved)
    return [score.row(own.value()) for score in scores.values()]


def stage_cost_ms(clip: Clip, frames: int = 120) -> float:
    """Median processor time, milliseconds a frame, of the stage alone at 320x256 on one core."""
    stage = TemporalStage()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    samples = []
    try:
        sure = np.ones(WORK_SIZE, np.float32)
        for number, picture in enumerate(clip.luma[:frames]):
            luma = cv2.resize(picture, WORK_SIZE[::-1], interpolation=cv2.INTER_AREA)
            ycc = np.dstack([luma.astype(np.float32) / 255, np.zeros((*WORK_SIZE, 2), np.float32)])
            start = time.thread_time()
            stage.update(stage.observe(np.asarray(luma, np.uint8), round(number * 1e9 / 30)), ycc, sure)
            samples.append((time.thread_time() - start) * 1e3)
    finally:
        cv2.setNumThreads(threads)
    return statistics.median(samples)


def frame_cost_ms(colorizer: Callable[..., NeuralColorizer], clip: Clip, frames: int = 60) -> float:
    """Median processor time, milliseconds a frame on all cores, of coloring whole frames of the clip."""
    engine = colorizer(temporal=TemporalOptions())
    samples = []
    try:
        for number, luma in enumerate(clip.luma[:frames]):
            start = time.process_time()
            engine.submit(luma, round(number * 1e9 / 30))
            engine.collect()
            samples.append((time.process_time() - start) * 1e3)
    finally:
        engine.close()
    return statistics.median(samples)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}

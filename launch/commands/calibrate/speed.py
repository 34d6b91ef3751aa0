"""`irchroma calibrate speed`: the best settings that keep a rate and a latency on this machine."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.record import require_match
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.engines.neural.speed.ladder import Rung, ladder, quality
from irchroma.engines.neural.speed.load_control import LIMIT_MS
from irchroma.launch.arguments import size_of
from irchroma.launch.measured import machine_line
from irchroma.launch.progress import Progress
from irchroma.launch.run.machine_settings import as_default, chosen_for, stored_path
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.process import tune_process
from irchroma.launch.run.settings.options import load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.protocols import VideoInfo

EXAMPLE = """irchroma calibrate speed --rate 30 --size 640x512 --out this_machine.toml
  irchroma run rtsp://camera/stream --to rtsp://:8554/gate --config this_machine.toml"""

TRIAL_S = 6.0
_MOST_TRIALS = 6
_WARM_UP_S = 1.5
_FEWEST_FRAMES = 0.98
"""Share of the rate that a trial must reach."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--rate", type=Fraction, default=Fraction(30), metavar="HZ", help="frames a second (30)")
    add("--size", type=size_of, default=(512, 640), metavar="WxH", help="of the camera (640x512)")
    latency = f"from arrival until composed, and until the encoder has the picture ({LIMIT_MS:g})"
    add("--latency-ms", type=float, default=LIMIT_MS, metavar="MS", help=latency)
    add("--engine", choices=tuple(catalog.BANDS), default="nir", help="what it is for (nir)")
    add("--runtime", default="auto", metavar="R", help="auto, openvino, onnxruntime")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the network")
    add("--weights", type=Path, metavar="FILE.onnx", help="a network of your own: calibrate precision's")
    add(
        "--out",
        type=Path,
        metavar="FILE.toml",
        help="a configuration for irchroma run; default: where irchroma run looks on this machine",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, try the best candidates on a live run, write the file."""
    if args.rate <= 0 or args.latency_ms <= 0:
        raise CalibrationError("--rate and --latency-ms must be above 0")
    if min(args.size) < 32:
        raise CalibrationError(f"--size must be 32x32 or more, got {args.size[1]}x{args.size[0]}")
    out = args.out if args.out is not None else stored_path(args.engine)
    tune_process()
    progress = Progress(1.0)
    try:
        progress.update(0.0, "measuring this machine")
        rungs, why = _rungs(args)
        chosen, trials = _tried(rungs, args, progress)
    finally:
        progress.close()
    notes = [why, *trials]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(settings_toml(chosen, args, [f"machine: {machine_line()}", *notes]), encoding="utf-8")
    print("\n".join(notes))
    print(f"{out}: written")
    return 0


def _rungs(args: argparse.Namespace) -> tuple[list[Rung], str]:
    """The settings to try, the best first, by the measure that a run takes itself; and why, in words.

    Raises:
        CalibrationError: nothing keeps the rate; says what is within reach.
        EngineError: no network runs here.
    """
    weights, size = args.weights, catalog.SIZES[0]
    if weights is not None:
        record = require_match(weights, args.engine)
        size = record.size if record is not None else size
    network = NetworkOptions(args.runtime, args.threads)
    options = NeuralOptions(args.engine, size, weights=weights, network=network, beside=True)
    camera = VideoInfo(args.size, args.rate, live=True, description="a camera")
    open_keys = as_default(options, sized=False)
    found, measured, why = chosen_for(options, camera, open_keys)
    if not measured.calm:  # other work, or nobody knows yet whether 8 bits are faster
        pace.measure_again(measured.demand)
        found, measured, why = chosen_for(options, camera, open_keys)
    top = Rung(found.size, found.work_size_px, int(found.temporal.color_every))
    if not measured.fits(top):
        raise CalibrationError(
            f"nothing keeps {_asked(args)} here: {top} would keep about {measured.within_reach_hz(top):.0f}"
            " frames a second"
        )
    sizes = catalog.SIZES if weights is None else (size,)
    return list(ladder(args.engine, top, sizes, measured.gain)[:_MOST_TRIALS]), why


def _tried(rungs: list[Rung], args: argparse.Namespace, progress: Progress) -> tuple[Rung, list[str]]:
    """The best setting that a live trial confirms, and what the trials said.

    Raises:
        CalibrationError: none does.
    """
    notes: list[str] = []
    for number, rung in enumerate(rungs):
        progress.update(0.2 + 0.8 * number / len(rungs), f"live trial: {rung}")
        trial = try_live(rung, args)
        holds = (
            trial["frames_per_second"] >= _FEWEST_FRAMES * args.rate and trial["p95_ms"] <= args.latency_ms
        )
        notes.append(
            f"live trial of {TRIAL_S:g} s, {rung}: {trial['frames_per_second']:.1f} frames a second,"
            f" {trial['dropped']} dropped, p50 {trial['p50_ms']:.1f}, p95 {trial['p95_ms']:.1f},"
            f" p99 {trial['p99_ms']:.1f} ms: {'holds' if holds else 'does not hold'}"
        )
        if holds:
            return rung, notes
    raise CalibrationError(
        f"nothing keeps {_asked(args)} here: the last of {len(rungs)} live trials, {rungs[-1]}, gave"
        f" {trial['frames_per_second']:.1f} frames a second, p95 {trial['p95_ms']:.0f} ms: ask for less, or"
        " free the machine"
    )


def try_live(rung: Rung, args: argparse.Namespace) -> dict[str, Any]:
    """A live run of the synthetic camera to an H.264 file with these settings held.

    Returns:
        `frames_per_second`, `dropped` and `p50_ms`, `p95_ms`, `p99_ms`, `max_ms` from arrival until the
        encoder has the picture; all without the first second and a half.
    """
    height, width = args.size
    warm = int(_WARM_UP_S * args.rate)
    frames = warm + int(TRIAL_S * args.rate)
    with tempfile.TemporaryDirectory(prefix="irchroma-trial-") as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text(settings_toml(rung, args, ()), encoding="utf-8")
        camera = f"test:{args.engine}?size={width}x{height}&rate={args.rate}&live=1&frames={frames}"
        config = load(settings, {"source": camera, "to": [str(Path(folder) / "trial.mp4")], "auto": False})
        monitor = Monitor(config, quiet=True)
        loop = monitor.loop = build_loop(config)
        seen = {"frames": 0, "drops": 0}

        def on_frame(running: Any) -> None:
            if not seen["frames"] and running.reader.info and running.frames >= warm // 2:
                seen["frames"], seen["drops"] = running.frames, running.drops
                running.writers[0].total = LatencyMeter()

        loop.run(on_frame)
    dropped = loop.drops - seen["drops"]
    done = loop.frames - seen["frames"]
    share = done / max(1, done + dropped)
    summary = loop.writers[0].total.summary()
    return {
        "frames_per_second": round(float(args.rate) * share, 2),
        "dropped": dropped,
        **{key: summary[key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")},
    }


def settings_toml(rung: Rung, args: argparse.Namespace, notes: Sequence[str]) -> str:
    """A run configuration with that setting, and what was measured in its comments."""
    weights = args.weights and json.dumps(str(args.weights.resolve()), ensure_ascii=False)
    lines = [
        f"# Settings for {args.engine}: {_asked(args)} from arrival until composed.",
        "# Written by irchroma calibrate speed; read by irchroma run --config FILE, and",
        "# by every live run where it lies in the cache.",
        *(f"# {line}" for line in notes),
        "",
        f'engine = "{args.engine}"',
        "",
        "# These settings are the best this run takes; under other load it goes on with cheaper ones, and",
        "# comes back. false holds them whatever happens.",
        "auto = true",
        # What nobody asked for stays the default of the run.
        *([f"auto_latency_ms = {args.latency_ms:g}"] if args.latency_ms != LIMIT_MS else []),
        "",
        "[neural]",
        f"# {rung}: {quality(args.engine, rung):.3f} in the table of engines/neural/speed/ladder.py",
        f'size = "{rung.size}"',
        f"work_size_px = {rung.seen_px}",
        *([f"weights = {weights}"] if weights else []),
        "",
        "[neural.temporal]",
        f"color_every = {rung.color_every}",
        "",
        "[neural.network]",
        'device = "cpu"',
        f'runtime = "{args.runtime}"',
        f"threads = {args.threads}",
    ]
    return "\n".join(lines) + "\n"


def _asked(args: argparse.Namespace) -> str:
    height, width = args.size
    return f"{float(args.rate):g} frames a second of {width}x{height} within {args.latency_ms:g} ms"

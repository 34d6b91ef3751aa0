"""`irchroma calibrate speed`: the best settings that keep a rate and a latency on this machine."""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.machine_speed import Demand, MachineSpeed, measure
from irchroma.calibration.settings_choice import (
    HEADROOM,
    Prediction,
    budget_lines,
    cheapest,
    predict,
    rank,
    settings_toml,
)
from irchroma.engines import catalog
from irchroma.engines.neural.speed.ladder import ladder
from irchroma.engines.neural.speed.load_control import LIMIT_MS
from irchroma.launch.arguments import size_of
from irchroma.launch.measured import machine_line
from irchroma.launch.progress import Progress
from irchroma.launch.run.machine_settings import stored_path
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.process import tune_process
from irchroma.launch.run.settings.options import load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.loop.latency import LatencyMeter

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
    demand = Demand(
        args.engine, args.rate, args.size, args.latency_ms, args.runtime, args.threads, args.weights
    )
    tune_process()
    progress = Progress(1.0)
    try:
        speed = measure(demand, lambda share, what: progress.update(0.5 * share, what))
        chosen, notes = _tried(speed, demand, progress)
    finally:
        progress.close()
    text = settings_toml(chosen, speed, demand, notes, machine_line())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print("\n".join([*budget_lines(chosen, speed, demand), "", *notes]))
    print(f"{out}: written")
    return 0


def try_live(
    chosen: Prediction, speed: MachineSpeed, demand: Demand, seconds: float = TRIAL_S
) -> dict[str, Any]:
    """A live run of the synthetic camera to an H.264 file with these settings held.

    Returns:
        `frames_per_second`, `dropped` and `p50_ms`, `p95_ms`, `p99_ms`, `max_ms` from arrival until the
        encoder has the picture; all without the first second and a half.
    """
    height, width = demand.size
    warm = int(_WARM_UP_S * demand.rate)
    frames = warm + int(seconds * demand.rate)
    with tempfile.TemporaryDirectory(prefix="irchroma-trial-") as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text(settings_toml(chosen, speed, demand, (), ""), encoding="utf-8")
        camera = f"test:{demand.engine}?size={width}x{height}&rate={demand.rate}&live=1&frames={frames}"
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
        "frames_per_second": round(float(demand.rate) * share, 2),
        "dropped": dropped,
        **{key: summary[key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms")},
    }


def _tried(speed: MachineSpeed, demand: Demand, progress: Progress) -> tuple[Prediction, list[str]]:
    """The best setting that a live trial confirms, and what the trials said.

    Raises:
        CalibrationError: none does; says what is within reach.
    """
    found = rank(speed, demand)
    if not found:
        least = cheapest(speed, demand)
        rate = 1e3 * HEADROOM / max(least.engine_ms, least.compose_ms, least.busy * demand.period_ms)
        raise CalibrationError(
            f"nothing keeps {float(demand.rate):g} frames a second within {demand.latency_ms:g} ms at"
            f" {demand.size[1]}x{demand.size[0]} here: {least.rung} would keep about {rate:.0f} frames a"
            f" second within {least.latency_ms / HEADROOM:.0f} ms"
        )
    notes: list[str] = []
    trial: dict[str, Any] = {}
    rungs = ladder(demand.engine, found[0].rung, demand.sizes)[:_MOST_TRIALS]
    for number, rung in enumerate(rungs):
        progress.update(0.5 + 0.5 * number / len(rungs), f"live trial: {rung}")
        trial = try_live(predict(rung, speed, demand), speed, demand)
        holds = (
            trial["frames_per_second"] >= _FEWEST_FRAMES * demand.rate
            and trial["p95_ms"] <= demand.latency_ms
        )
        notes.append(
            f"live trial of {TRIAL_S:g} s, {rung}: {trial['frames_per_second']:.1f} frames a second,"
            f" {trial['dropped']} dropped, p50 {trial['p50_ms']:.1f}, p95 {trial['p95_ms']:.1f},"
            f" p99 {trial['p99_ms']:.1f} ms: {'holds' if holds else 'does not hold'}"
        )
        if holds:
            return predict(rung, speed, demand), notes
    raise CalibrationError(
        f"nothing keeps {float(demand.rate):g} frames a second within {demand.latency_ms:g} ms here: the last"
        f" of {len(rungs)} live trials, {rungs[-1]}, gave {trial['frames_per_second']:.1f} frames a second,"
        f" p95 {trial['p95_ms']:.0f} ms: ask for less, or free the machine"
    )

"""`irchroma calibrate speed`: the best settings that keep a rate and a latency on this machine.

Its chart is a frame's budget: what each part of a run takes of the time between two frames.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.machine_speed import Demand, MachineSpeed, Stage, measure
from irchroma.calibration.settings_choice import (
    HEADROOM,
    Prediction,
    budget_lines,
    cheapest,
    choose_encoder,
    named_stages,
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
from irchroma.launch.stills.picture_files import GROUND, INK, write_rgb
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.picture.lettering import Color, fitted, lettered

Rgb = NDArray[np.uint8]

WIDTH_PX, NAME_PX, VALUE_PX, ROW_PX, LETTER_PX, MARGIN_PX = 1100, 270, 90, 30, 15, 24
BAR: Color = (92, 132, 186)
CHOSEN: Color = (232, 162, 62)
TOO_SLOW: Color = (112, 78, 84)
LINE: Color = (120, 126, 134)
WHISKER: Color = (170, 178, 190)


def draw_speed(chosen: Prediction, speed: MachineSpeed, demand: Demand) -> Rgb:
    """(H, W, 3) uint8 R'G'B': a bar for each part, median with a line to the 95th percentile.

    Args:
        chosen: the settings; their parts stand out.
        speed: what was measured.
        demand: the time between frames is drawn as a line.
    """
    rows = named_stages(speed)
    encoder = choose_encoder(speed, demand)
    nearest_px = 320 if chosen.rung.seen_px <= 368 else 416
    used = {
        "tone map",
        "decode",
        encoder.name if encoder is not None else "",
        f"network {chosen.rung.size} at {chosen.rung.seen_px} px",
        *(f"{part} {nearest_px} px" for part in ("steadying at", "upsampling from")),
    }
    top = 4 * MARGIN_PX + 10
    height = top + len(rows) * ROW_PX + 3 * MARGIN_PX
    picture = np.full((height, WIDTH_PX, 3), GROUND, np.uint8)
    size = f"{demand.size[1]}x{demand.size[0]}"
    _write(
        picture, f"{demand.engine} at {size}, {float(demand.rate):g} frames a second", 12, MARGIN_PX, 22, 600
    )
    said = f"chosen: {chosen.rung} - latency {chosen.latency_ms:.0f} of {demand.latency_ms:g} ms, processor"
    _write(picture, f"{said} {chosen.busy:.0%}", 46, MARGIN_PX, LETTER_PX + 1, 400, CHOSEN)
    left = MARGIN_PX + NAME_PX
    longest_ms = max(demand.period_ms * 1.15, *(min(stage.p95_ms, 4 * demand.period_ms) for _, stage in rows))
    scale = (WIDTH_PX - left - VALUE_PX - MARGIN_PX) / longest_ms
    chart = _Chart(picture, left, scale, longest_ms)
    chart.axis(top, len(rows) * ROW_PX)
    x = round(left + demand.period_ms * scale)
    bottom = top + len(rows) * ROW_PX
    cv2.line(picture, (x, top - 8), (x, bottom + 4), LINE, 2, cv2.LINE_AA)
    _write(picture, f"{demand.period_ms:.1f} ms between frames", bottom + 34, x - 80, LETTER_PX, 400)
    for number, (name, stage) in enumerate(rows):
        color = CHOSEN if name in used else TOO_SLOW if stage.median_ms > demand.period_ms else BAR
        chart.bar(top + number * ROW_PX, name, stage, color)
    return picture


@dataclass(frozen=True, slots=True)
class _Chart:
    """Bars in a picture, from its column `left` on, `scale` pixels a millisecond, `longest_ms` at most."""

    picture: Rgb
    left: int
    scale: float
    longest_ms: float

    def axis(self, top: int, height: int) -> None:
        """Lines of whole milliseconds behind the bars."""
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if self.longest_ms / step <= 10)
        for value in range(0, int(self.longest_ms) + 1, step):
            x = round(self.left + value * self.scale)
            cv2.line(self.picture, (x, top), (x, top + height), (38, 42, 48), 1)
            _write(self.picture, f"{value}", top + height + 8, x - 6, LETTER_PX - 3, 400, LINE)

    def bar(self, y: int, name: str, stage: Stage, color: Color) -> None:
        """One part's row, from `y` down."""
        _write(self.picture, name, y + 5, MARGIN_PX, LETTER_PX, 400, color if color == CHOSEN else INK)
        right = self.left + max(2, round(min(stage.median_ms, self.longest_ms) * self.scale))
        cv2.rectangle(self.picture, (self.left, y + 6), (right, y + ROW_PX - 7), color, cv2.FILLED)
        end = self.left + round(min(max(stage.p95_ms, stage.median_ms), self.longest_ms) * self.scale)
        middle = y + ROW_PX // 2 - 1
        if end > right + 2:
            cv2.line(self.picture, (right, middle), (end, middle), WHISKER, 1, cv2.LINE_AA)
            cv2.line(self.picture, (end, middle - 4), (end, middle + 4), WHISKER, 1, cv2.LINE_AA)
        text = f"{stage.median_ms:.1f} ms"
        _write(self.picture, text, y + 6, max(right, end) + 8, LETTER_PX - 2, 400, INK)


def _write(
    picture: Rgb, text: str, top: int, left: int, letter_px: int, weight: int, color: Color = (235, 235, 235)
) -> None:
    room = WIDTH_PX - left - MARGIN_PX // 2
    lettered(fitted(text, letter_px, room, weight), letter_px, color, weight=weight).lay_on(
        picture, top, left
    )


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
    """Measure, try the best candidates on a live run, write the file and the picture."""
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
    picture = out.with_name(out.stem + "-overview.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    write_rgb(picture, draw_speed(chosen, speed, demand))
    print("\n".join([*budget_lines(chosen, speed, demand), "", *notes]))
    print(f"{out}: written; {picture} shows the budget")
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

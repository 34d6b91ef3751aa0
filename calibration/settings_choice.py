"""Which settings should keep a demand on a machine that was measured, and the file that a run reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from irchroma.calibration.machine_speed import Demand, MachineSpeed, Stage
from irchroma.engines.neural.speed.ladder import Rung, candidates, quality
from irchroma.engines.neural.speed.load_control import LIMIT_MS

HEADROOM = 0.75
"""Share of the time between frames, of the processor and of the latency that settings may use up."""
_COPIES_MS = 2.0
"""Of handing frames on between threads, each frame."""
_SPEED_UP = 0.8
"""Share of its threads' time that a network really keeps busy."""
_H264 = ("nvenc", "va", "v4l2", "x264", "openh264")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a rung should take; milliseconds of one frame.

    Attributes:
        rung: the setting.
        engine_ms: of the thread with tone map and network, mean.
        compose_ms: of the thread that puts the color on the frame.
        latency_ms: of a frame on which the network runs.
        busy: share of the whole processor, [0, 1] and above.
    """

    rung: Rung
    engine_ms: float
    compose_ms: float
    latency_ms: float
    busy: float

    def fits(self, demand: Demand) -> bool:
        """Whether it keeps the demand with headroom."""
        return (
            max(self.engine_ms, self.compose_ms) <= HEADROOM * demand.period_ms
            and self.latency_ms <= HEADROOM * demand.latency_ms
            and self.busy <= HEADROOM
        )


def predict(rung: Rung, speed: MachineSpeed, demand: Demand) -> Prediction:
    """From the measured parts; what was not measured (quickly measured machines) counts as free."""
    call_ms = speed.call_ms(rung)
    steadying_ms, upsampling_ms = (
        _of_size(speed, f"{part} {{}} px", rung.seen_px) for part in ("steadying at", "upsampling from")
    )
    tone_ms = _median(speed.stage("tone map"))
    encoder = choose_encoder(speed, demand)
    apart_ms = _median(speed.stage("decode")) + _median(encoder)
    threads = min(speed.cores, demand.threads or speed.cores)
    engine_ms = tone_ms + steadying_ms + call_ms / rung.color_every
    work_ms = engine_ms + upsampling_ms + apart_ms + _COPIES_MS
    work_ms += call_ms / rung.color_every * (threads - 1) * _SPEED_UP
    return Prediction(
        rung,
        engine_ms,
        upsampling_ms + _COPIES_MS,
        tone_ms + steadying_ms + call_ms + upsampling_ms + _COPIES_MS,
        work_ms / (speed.cores * demand.period_ms),
    )


def rank(speed: MachineSpeed, demand: Demand) -> list[Prediction]:
    """Every setting that should fit, best first."""
    found = [predict(rung, speed, demand) for rung in candidates(demand.engine, demand.sizes)]
    return [one for one in found if one.fits(demand)]


def cheapest(speed: MachineSpeed, demand: Demand) -> Prediction:
    """The setting that asks least of the machine."""
    found = [predict(rung, speed, demand) for rung in candidates(demand.engine, demand.sizes)]
    return min(found, key=lambda one: (one.latency_ms, one.busy))


def choose_encoder(speed: MachineSpeed, demand: Demand) -> Stage | None:
    """The H.264 encoder: the best that takes less than half of a frame's time, else the fastest."""
    found = [stage for stage in speed.stages if stage.name.removeprefix("encoder ") in _H264]
    quick = [stage for stage in found if stage.median_ms < 0.5 * demand.period_ms]
    return quick[0] if quick else min(found, key=lambda stage: stage.median_ms, default=None)


def settings_toml(
    chosen: Prediction, speed: MachineSpeed, demand: Demand, notes: Sequence[str], machine: str
) -> str:
    """A run configuration, with what was measured and why in its comments.

    Args:
        chosen: the setting.
        speed: what was measured.
        demand: what was asked.
        notes: further lines, such as what trials said.
        machine: one line.
    """
    rung = chosen.rung
    encoder = choose_encoder(speed, demand)
    height, width = demand.size
    lines = [
        f"# Settings for {demand.engine}, {width}x{height} at {float(demand.rate):g} frames a second,"
        f" {demand.latency_ms:g} ms from arrival until composed.",
        "# Written by irchroma calibrate speed; read by irchroma run --config FILE, and by run --auto.",
        f"# Machine: {machine}",
        "#",
        *(f"# {line}" for line in budget_lines(chosen, speed, demand)),
        "#",
        *(f"# {line}" for line in notes),
        "",
        f'engine = "{demand.engine}"',
        "",
        "# These settings are the best this run takes; under other load it goes on with cheaper ones, and",
        "# comes back. false holds them whatever happens.",
        "auto = true",
        # What nobody asked for stays the default of the run.
        *([f"auto_latency_ms = {demand.latency_ms:g}"] if demand.latency_ms != LIMIT_MS else []),
        "",
        "[neural]",
        f"# {rung}: {quality(demand.engine, rung):.3f} in the table of engines/neural/speed/ladder.py",
        f'size = "{rung.size}"',
        f"work_size_px = {rung.seen_px}",
        *([f'weights = "{_toml_text(demand.weights)}"'] if demand.weights is not None else []),
        "",
        "[neural.temporal]",
        f"color_every = {rung.color_every}",
        "",
        "[neural.network]",
        f'runtime = "{speed.runtime.split()[0]}"',
        f"threads = {demand.threads}",
    ]
    if encoder is not None:
        lines += ["", "[output.encoder]", f'name = "{encoder.name.removeprefix("encoder ")}"']
    return "\n".join(lines) + "\n"


def budget_lines(chosen: Prediction, speed: MachineSpeed, demand: Demand) -> list[str]:
    """A table of what was measured, and how the chosen setting uses it."""
    lines = [f"{'milliseconds of a frame':<30}{'median':>8}{'95 %':>8}"]
    calls = sorted(speed.calls.values(), key=lambda stage: stage.median_ms)
    stages = sorted(speed.stages, key=lambda stage: (stage.name != "decode", "encoder" in stage.name))
    parts = [(stage.name, stage) for stage in stages]
    for name, stage in parts + [(f"network {stage.name}", stage) for stage in calls]:
        lines.append(f"{name:<30}{stage.median_ms:>8.2f}{stage.p95_ms:>8.2f}")
    lines += [f"networks ran in {speed.runtime}, {speed.cores} cores", *speed.missing, ""]
    lines += [
        f"chosen: {chosen.rung}",
        f"  tone map and network  {chosen.engine_ms:6.1f} of {demand.period_ms:.1f} ms between frames",
        f"  upsampling and view   {chosen.compose_ms:6.1f} of {demand.period_ms:.1f} ms",
        f"  latency               {chosen.latency_ms:6.1f} of {demand.latency_ms:.1f} ms",
        f"  processor             {chosen.busy:6.0%}",
    ]
    return lines


def _of_size(speed: MachineSpeed, pattern: str, px: int) -> float:
    sizes = sorted({320, 416}, key=lambda one: (abs(one - px), one))
    for size in sizes:
        stage = speed.stage(pattern.format(size))
        if stage is not None:
            return stage.median_ms * max(0.25, min(px / size, 2.0) ** 2)
    return 0.0


def _toml_text(path: Path) -> str:
    return str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')


def _median(stage: Stage | None) -> float:
    return stage.median_ms if stage is not None else 0.0

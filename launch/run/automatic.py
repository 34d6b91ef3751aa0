"""Keeps a live run within its time: watches every frame and moves the engine on its ladder of settings.

`irchroma run --auto`: settings from this machine's calibration, or from a few seconds of measuring.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from irchroma.calibration.machine_speed import Demand, measure
from irchroma.calibration.settings_choice import cheapest, rank
from irchroma.engines import catalog
from irchroma.engines.network.network import cache_folder
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.ladder import Rung, ladder
from irchroma.engines.neural.load_control import LoadController
from irchroma.launch.config import ConfigError, load_toml
from irchroma.launch.measured import circumstances
from irchroma.launch.run.options import RunConfig, load
from irchroma.stream.loop.loop import Loop

log = logging.getLogger(__name__)

_WATCHED = ("capture", "tone_map", "color", "compose")
_KEPT_STEPS = 200
_BUSY = 0.4
"""Share of its time that the engine works, from which dropped frames are taken for its fault: a source that
gives its frames in bursts, or a slow receiver, loses some on an idle machine too."""
_BUSY_OVER_S = 0.5


class Governor:
    """One run's: `open` makes the engine, `on_frame` is called after every frame by the loop's thread.

    Attributes:
        chosen: why these settings, one line for the log and the statistics.
        steps: the last changes of settings: seconds since the first frame, from, to, reason.
    """

    def __init__(self, limit_ms: float, chosen: str) -> None:
        self._limit_s, self.chosen = limit_ms / 1e3, chosen
        self._controller: LoadController | None = None
        self._colorizer: AdjustableColorizer | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self._size: tuple[int, int] | None = None
        self._drops = 0
        self._start_s: float | None = None
        self._last_s = 0.0
        self._seconds: dict[str, float] = {}
        self._busy_s = 0.0
        self._busy = 0.0
        self.steps: list[dict[str, Any]] = []

    def expect(self, size: tuple[int, int]) -> None:
        """Frames of `size` (H, W) will come: engines that are opened from now on are compiled for it."""
        self._size = size

    def open(self, options: NeuralOptions) -> AdjustableColorizer:
        """The engine on the ladder whose top the options are; after a failure again where it was.

        Raises:
            EngineUnavailable, EngineOptionError: as `NeuralColorizer`.
        """
        every = options.temporal.color_every
        top = Rung(
            options.size,
            options.work_size_px or catalog.WORK_SIZE_PX[options.size],
            every if isinstance(every, int) else 1,
        )
        sizes = (options.size,) if options.weights is not None else catalog.SIZES
        rungs = ladder(options.engine, top, sizes)
        start = self._controller.rung if self._controller is not None else 0
        if self._controller is None:
            self._controller = LoadController([rung.cost for rung in rungs], self._limit_s)
            log.info("auto: %s; %d cheaper settings in reserve", rungs[0], len(rungs) - 1)
        self._colorizer = AdjustableColorizer(options, rungs, start, self._size)
        return self._colorizer

    def on_frame(self, loop: Loop) -> None:
        """Look at what the last frame took; on a live source, change the settings where that is due."""
        controller, colorizer = self._controller, self._colorizer
        if controller is None or colorizer is None or loop.reader.info is None:
            return
        if loop.guarded is not None and loop.guarded.name != colorizer.name:
            return  # a viewer has chosen another engine
        now_s = time.monotonic()
        if self._start_s is None:
            self._start_s = self._last_s = now_s
        rung = str(colorizer.ladder[colorizer.rung])
        self._seconds[rung] = self._seconds.get(rung, 0.0) + now_s - self._last_s
        self._note_busy(colorizer, now_s - self._last_s)
        self._last_s = now_s
        latency_s = self._latency_s(loop)
        drops = loop.reader.drops + sum(writer.drops for writer in loop.writers)
        new_drops, self._drops = drops - self._drops, drops
        if latency_s is None or not loop.reader.info.live:  # a file waits for its color
            return
        step = controller.observe(now_s, latency_s, new_drops if self._busy >= _BUSY else 0)
        if step is None:
            return
        before, after = colorizer.ladder[step.before], colorizer.ladder[step.after]
        colorizer.wish(step.after)
        log.info("auto: %s -> %s (%s)", before, after, step.reason)
        change = {"at_s": round(now_s - self._start_s, 2), "from": str(before), "to": str(after)}
        self.steps = [*self.steps[-_KEPT_STEPS + 1 :], {**change, "reason": step.reason}]

    def summary(self) -> dict[str, Any]:
        """For the statistics: what was chosen, the time spent on each rung, the changes."""
        colorizer = self._colorizer
        return {
            "chosen": self.chosen,
            "limit_ms": self._limit_s * 1e3,
            "now": str(colorizer.ladder[colorizer.rung]) if colorizer is not None else None,
            # A copy, made in one step of the interpreter: the loop's thread adds to it.
            "seconds": {rung: round(seconds, 2) for rung, seconds in self._seconds.copy().items()},
            "changes": self.steps,
        }

    def _note_busy(self, colorizer: AdjustableColorizer, elapsed_s: float) -> None:
        worked_s, self._busy_s = colorizer.busy_s - self._busy_s, colorizer.busy_s
        if worked_s < 0 or elapsed_s <= 0:  # a new engine, or the first frame
            return
        weight = min(1.0, elapsed_s / _BUSY_OVER_S)
        self._busy += weight * (min(worked_s / elapsed_s, 1.0) - self._busy)

    def _latency_s(self, loop: Loop) -> float | None:
        """From arrival until composed: what the stages of the frames finished since the last call took."""
        total_ns = 0.0
        finished = False
        for name in _WATCHED:
            meter = loop.stages[name]
            count, sum_ns = meter.count, meter.total_ns
            count_before, sum_before_ns = self._seen.get(name, (0, 0))
            self._seen[name] = (count, sum_ns)
            if count > count_before:
                total_ns += (sum_ns - sum_before_ns) / (count - count_before)
                finished = finished or name == "compose"
        return total_ns / 1e9 if finished else None


CHOSEN_KEYS = ("neural.size", "neural.work_size_px", "neural.temporal.color_every")
"""What is chosen where neither the command line nor a given file says it."""


def prepare(
    config: RunConfig, given: Path | None, settings: dict[str, Any]
) -> tuple[RunConfig, Governor | None]:
    """The configuration with settings chosen for this machine, and what keeps it within its time.

    Args:
        config: as the file and the command line have it.
        given: that file.
        settings: dotted key -> value of the command line.

    Raises:
        ConfigError: the stored calibration cannot be used.
        EngineError: no network runs here.
    """
    name = catalog.parse("nir" if config.engine == "auto" else config.engine)
    if not name.neural:
        log.info("auto: nothing to choose for %s", config.engine)
        return replace(config, auto=False), None
    said = set(settings) | _keys(load_toml(given) if given is not None else {})
    if name.variant is not None:
        said.add("neural.size")
    open_keys = [key for key in CHOSEN_KEYS if key not in said]
    if config.neural.weights is not None and "neural.size" in open_keys:
        open_keys.remove("neural.size")
    stored = stored_path(name.kind)
    if not open_keys:
        why = f"settings of {given or 'the command line'}"
    elif stored.is_file() and config.neural.weights is None:
        found_here = load(stored, {})
        config, why = _with(config, _values(found_here), open_keys), f"calibrated settings of {stored}"
        if "auto_latency_ms" not in said:
            config = replace(config, auto_latency_ms=found_here.auto_latency_ms)
    else:
        demand = Demand(
            name.kind,
            latency_ms=config.auto_latency_ms,
            runtime=config.neural.network.runtime,
            threads=config.neural.network.threads,
            weights=config.neural.weights,
        )
        speed = measure(demand, lambda share, what: None, quick=True)
        found = rank(speed, demand)
        best = found[0] if found else cheapest(speed, demand)
        rung = best.rung
        values = dict(zip(CHOSEN_KEYS, (rung.size, rung.seen_px, rung.color_every), strict=True))
        config = _with(config, values, open_keys)
        why = (
            f"measured just now for 640x512 at 30 frames a second: {best.engine_ms:.0f} ms of tone map and"
            f" network, {best.latency_ms:.0f} ms of latency (irchroma calibrate speed measures thoroughly)"
        )
        if not found:
            why += "; that is too slow, and the cheapest there is"
    log.info("auto: %s", why)
    return config, Governor(config.auto_latency_ms, why)


def stored_path(kind: str) -> Path:
    """Where this machine's calibration lies; another processor or other libraries have another name.

    Raises:
        ConfigError: there is no folder for it.
    """
    folder = cache_folder()
    if folder is None:
        raise ConfigError("no cache folder can be written: give --config FILE of irchroma calibrate speed")
    about = circumstances()
    text = f"{about['processor']} {about['cores']} {about['versions'].get('openvino')}"
    return folder.parent / f"speed-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"


def machine_line() -> str:
    """Processor, cores and versions, for people."""
    about = circumstances()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['processor']}, {about['cores']} cores, {os.uname().nodename}; {versions}; {about['date']}"


def _with(config: RunConfig, values: dict[str, Any], keys: list[str]) -> RunConfig:
    neural = config.neural
    chosen = {key: values[key] for key in keys}
    temporal = replace(
        neural.temporal,
        color_every=chosen.get("neural.temporal.color_every", neural.temporal.color_every),
    )
    neural = replace(
        neural,
        size=chosen.get("neural.size", neural.size),
        work_size_px=chosen.get("neural.work_size_px", neural.work_size_px),
        temporal=temporal,
    )
    return replace(config, neural=neural)


def _values(config: RunConfig) -> dict[str, Any]:
    neural = config.neural
    values = (neural.size, neural.work_size_px, neural.temporal.color_every)
    return dict(zip(CHOSEN_KEYS, values, strict=True))


def _keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys of a TOML file."""
    found = set()
    for key, value in table.items():
        name = f"{prefix}{key.replace('-', '_')}"
        found |= _keys(value, f"{name}.") if isinstance(value, dict) else {name}
    return found

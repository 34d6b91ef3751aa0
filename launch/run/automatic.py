"""Settings that fit the machine: chosen before the first frame, and changed while a live run goes on.

Live sources have this by default; `irchroma run --fixed` turns it off, `--auto` has files choose too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from irchroma.engines import catalog
from irchroma.engines.cache import cache_folder
from irchroma.engines.choice import GPU_RUNTIMES, ColorizerOptions
from irchroma.engines.gpu import probe
from irchroma.engines.network.network import GPU_ONLY, NetworkOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.engines.neural.speed.ladder import Rung, ladder
from irchroma.engines.neural.speed.load_control import LoadController
from irchroma.engines.neural.speed.measured_use import UseMeter
from irchroma.engines.processor import in_thread
from irchroma.launch.config import ConfigError, dotted_keys, load_toml
from irchroma.launch.run.machine_settings import (
    BY_REFERENCE_SIZE,
    CHOSEN_KEYS,
    RATE,
    Choice,
    as_default,
    cheapest,
    chosen_for,
    stored_path,
    with_stored,
)
from irchroma.launch.run.outputs import encoding_work
from irchroma.launch.run.settings.options import RunConfig, load
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.reader import SourceReader
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import remark

log = logging.getLogger(__name__)

_WATCHED = ("capture", "tone_map", "color", "compose")
_KEPT_STEPS = 200
_BUSY = 0.4
"""Share of its time that the engine works, from which dropped and waiting frames are taken for its fault: a
source that gives its frames in bursts, or a slow receiver, loses some on an idle machine too."""
_BUSY_OVER_S = 0.5
FILE_COLOR_EVERY = 3


class Governor:
    """One run's: `open` makes the engine, `on_frame` is called after every frame by the loop's thread.

    Attributes:
        chosen: why these settings, one line for the log and the statistics.
        encoded: work of encoding, see `pace.Demand`.
        patience_s: for which a live run waits until this machine is measured, before it goes on without.
        steps: the last changes of settings: seconds since the first frame, from, to, reason.
    """

    def __init__(self, limit_ms: float, chosen: str) -> None:
        self._limit_s, self.chosen = limit_ms / 1e3, chosen
        self._open_keys: tuple[str, ...] = ()
        self._info: VideoInfo | None = None
        self.encoded, self.patience_s = 1.0, pace.PATIENCE_S
        self._controller: LoadController | None = None
        self._colorizer: AdjustableColorizer | None = None
        self._seen: WeakKeyDictionary[LatencyMeter, tuple[int, int]] = WeakKeyDictionary()
        self._size: tuple[int, int] | None = None
        self._options: NeuralOptions | None = None
        self._dropped: WeakKeyDictionary[SourceReader | SinkWriter, int] = WeakKeyDictionary()
        self._begun_s: float | None = None  # the first frame, which the engine may not have waited for
        self._start_s: float | None = None
        self._last_s = 0.0
        self._seconds: dict[str, float] = {}
        self._busy_s = 0.0
        self._busy = 0.0
        self._later: Callable[[], None] | None = None
        self._pool: SharedPool | None = None
        self._meter: UseMeter | None = None
        self._choosing: Future[Choice] | None = None
        self._meanwhile: tuple[NeuralOptions, str] | None = None  # what colors until then, in words too
        self._lock = threading.Lock()  # what was chosen late is taken by the loop, or by who opens an engine
        self._opening = 0
        self._ladder: tuple[Rung, ...] = ()  # that the engine goes by, or was asked to go by
        self.steps: list[dict[str, Any]] = []

    def expect(self, info: VideoInfo, encoded: float = 1.0) -> None:
        """Such frames will come (`encoded`: `pace.Demand`): engines opened now are compiled for them."""
        self._size, self._info, self.encoded = info.size, info, encoded

    def decides(self, keys: Sequence[str], pool: SharedPool | None = None) -> None:
        """What neither the user nor a calibration has said, and is chosen when the first engine is opened.

        Args:
            keys: of CHOSEN_KEYS.
            pool: gives networks where several cameras share the processor.
        """
        self._open_keys, self._pool = tuple(keys), pool

    @property
    def sizes_too(self) -> bool:
        """Whether the network's size is its to choose."""
        return CHOSEN_KEYS[0] in self._open_keys

    def for_file(self, options: NeuralOptions, best: bool) -> NeuralOptions:
        """Settings of a file, the same on every machine: where nobody has said otherwise the network runs at
        every third frame, or (`best`) the best one at every frame."""
        if "neural.temporal.color_every" in self._open_keys:
            every = 1 if best else FILE_COLOR_EVERY
            options = replace(options, temporal=replace(options.temporal, color_every=every))
        if best and "neural.size" in self._open_keys:
            options = replace(options, size=catalog.SIZES[-1])
        return options

    def open(self, options: NeuralOptions) -> AdjustableColorizer:
        """The engine on the ladder whose top the options are; after a failure again where it was.

        Raises:
            EngineUnavailable, EngineOptionError: as `NeuralColorizer`.
        """
        with self._lock:
            self._opening += 1
        try:
            if self._open_keys and self._options is None and self._info is not None:
                options = self._choose(options, self._info)
                self._controller, self._ladder = None, ()
            else:
                if self._options is not None:  # a page may have changed the rest
                    options = with_stored(options, self._options, CHOSEN_KEYS)
                self._options = options
            self._ladder = self._ladder or _rungs(options)
            if self._controller is None:
                self._controller = self._controls(options)
            start, follow = self._controller.rung, CHOSEN_KEYS[1] in self._open_keys
            self._colorizer = AdjustableColorizer(
                options, self._ladder, start, self._size, self._later, self._pool, follow
            )
            return self._colorizer
        finally:
            with self._lock:
                self._opening -= 1

    def _choose(self, options: NeuralOptions, info: VideoInfo) -> NeuralOptions:
        """What fits this machine; what any has time for, where measuring that takes long."""
        cameras = self._pool.cameras if self._pool is not None else 1
        choose = partial(chosen_for, options, info, self._open_keys, cameras, self.encoded)
        # The memory of a reference's color has a size of its own, which does not follow the settings.
        by_reference = options.reference is not None or options.engine == catalog.REFERENCE.name
        if not info.live or not options.beside or by_reference or CHOSEN_KEYS[1] not in self._open_keys:
            return self._take(choose())
        waits_until_s = time.monotonic() + self.patience_s
        choosing = self._choosing or in_thread(partial(choose, waits_until_s), name="choose settings")
        self._choosing = choosing
        wait([choosing], self.patience_s)
        if choosing.done():
            self._choosing = None
            return self._take(choosing.result())
        options, least = cheapest(options, self._open_keys)
        self._meanwhile = options, f"{options.engine} {least}"
        self.chosen = f"{self._meanwhile[1]} until this machine is measured, which takes long"
        log.info("auto: %s", self.chosen)
        return options

    def _take(self, choice: Choice) -> NeuralOptions:
        """Go by what was chosen, here and wherever the engine is opened again."""
        self._options, measured, self.chosen = choice
        log.info("auto: %s", self.chosen)
        self._later = None if measured.calm else partial(pace.measure_again, measured.demand)
        # A pool of one camera may have more of them than it was told.
        alone = self._pool is not None and measured.demand.cameras <= 1
        self._meter = None if alone else measured.meter(self._pool)
        return self._options

    def _take_late(self, colorizer: AdjustableColorizer, choosing: Future[Choice]) -> None:
        """Go on by what was chosen while the run was under way; where that failed, as before."""
        self._choosing = None
        try:
            options = self._take(choosing.result())
        except Exception as error:  # noqa: BLE001 (of another thread, and nothing that a run in color ends for)
            if self._meanwhile is not None:
                self._options, words = self._meanwhile
                self.chosen = f"{words}, as this machine could not be measured: {error}"
            log.warning("auto: %s", self.chosen)
            return
        rungs, gain = {*_rungs(options), *colorizer.ladder}, pace.gain_of(options)
        self._ladder = tuple(sorted(rungs, key=lambda rung: rung.cost_where(gain), reverse=True))
        self._controller = self._controls(options)
        colorizer.exchange_ladder(self._ladder, self._later)

    def _controls(self, options: NeuralOptions) -> LoadController:
        gain = pace.gain_of(options)
        costs = [rung.cost_where(gain) for rung in self._ladder]
        rate = self._info.rate if self._info is not None else 0
        log.info("auto: %s; %d cheaper settings in reserve", self._ladder[0], len(costs) - 1)
        return LoadController(costs, self._limit_s, period_s=1 / float(rate or RATE))

    def on_frame(self, loop: Loop) -> None:
        """Look at what the last frame took; on a live source, change the settings where that is due."""
        self._begun_s = self._begun_s or time.monotonic()
        colorizer = self._colorizer
        if colorizer is None or loop.reader.info is None:
            return
        if loop.guarded is not None and loop.guarded.name != colorizer.name:
            return  # a viewer has chosen another engine
        with self._lock:
            choosing = self._choosing if self._opening == 0 and self._colorizer is colorizer else None
            if choosing is not None and choosing.done():
                self._take_late(colorizer, choosing)
        controller = self._controller
        if controller is None or colorizer.ladder is not self._ladder:  # which comes with the next frame
            return
        now_s = time.monotonic()
        if self._start_s is None:
            self._start_s = self._last_s = now_s
        rung = str(colorizer.setting)
        self._seconds[rung] = self._seconds.get(rung, 0.0) + now_s - self._last_s
        self._note_busy(colorizer, now_s - self._last_s)
        self._last_s = now_s
        latency_s = self._latency_s(loop)
        new_drops = self._newly_dropped(loop)
        if latency_s is None or not loop.reader.info.live:  # a file waits for its color
            return
        if self._meter is not None:
            self._meter.note(now_s, colorizer.setting, loop.frames)
        drops_here = new_drops if self._busy >= _BUSY else 0
        step = controller.observe(now_s, latency_s, drops_here, colorizer.under_way)
        if step is None:
            return
        before, after = colorizer.ladder[step.before], colorizer.ladder[step.after]
        colorizer.wish(step.after)
        log.info("auto: %s -> %s (%s)", before, after, step.reason)
        change = {"at_s": round(now_s - self._start_s, 2), "from": str(before), "to": str(after)}
        self.steps = [*self.steps[-_KEPT_STEPS + 1 :], {**change, "reason": step.reason}]

    def summary(self) -> dict[str, Any]:
        """For the statistics: what was chosen, the time before it and on each rung, the changes."""
        colorizer = self._colorizer
        return {
            "chosen": self.chosen,
            "limit_ms": self._limit_s * 1e3,
            "without_s": round((self._start_s or time.monotonic()) - (self._begun_s or time.monotonic()), 2),
            "now": str(colorizer.setting) if colorizer is not None else None,
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
        """From arrival until composed, of frames finished since the last call; or until the slowest sink took
        one, while the engine works much: a recording lets fifteen wait for its encoder before one is lost."""
        took_ns = [self._newly_ns(loop.stages[name]) for name in _WATCHED]
        handed_ns = [self._newly_ns(writer.total) or 0.0 for writer in loop.writers]
        late_ns = handed_ns if self._busy >= _BUSY else []
        composed_ns = sum(one or 0.0 for one in took_ns)
        return None if took_ns[-1] is None else max(composed_ns, *late_ns, 0.0) / 1e9

    def _newly_dropped(self, loop: Loop) -> int:
        """Frames left out since the last call; an output that is not there misses all of them, through no
        fault of the engine."""
        new = 0
        dropping: list[SourceReader | SinkWriter] = [loop.reader, *loop.writers]
        for one in dropping:
            before, self._dropped[one] = self._dropped.get(one, 0), one.drops
            away = isinstance(one, SinkWriter) and one.state != "open"
            new += 0 if away else self._dropped[one] - before
        return new

    def _newly_ns(self, meter: LatencyMeter) -> float | None:
        """The mean of what was counted since the last call; None for nothing."""
        count_before, sum_before_ns = self._seen.get(meter, (0, 0))
        count, sum_ns = self._seen[meter] = meter.counted
        return (sum_ns - sum_before_ns) / (count - count_before) if count > count_before else None


def _rungs(options: NeuralOptions) -> tuple[Rung, ...]:
    """The ladder whose top the options are."""
    every = options.temporal.color_every
    by_reference = options.engine == catalog.REFERENCE.name
    size = BY_REFERENCE_SIZE if by_reference else options.size
    seen_px = options.work_size_px or catalog.WORK_SIZE_PX[options.size]
    top = Rung(size, seen_px, every if isinstance(every, int) else 1)
    sizes = (size,) if options.weights is not None or by_reference else catalog.SIZES
    return ladder(catalog.band_of(options.engine, options.size), top, sizes, pace.gain_of(options))


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
        if config.auto:
            log.info("auto: nothing to choose for %s", config.engine)
        return replace(config, auto=False), None
    said = set(settings) | dotted_keys(load_toml(given) if given is not None else {})
    if name.variant is not None or config.neural.weights is not None:
        said.add("neural.size")
    open_keys = [key for key in CHOSEN_KEYS if key not in said]
    # A rate is no matter to --best.
    stored = stored_path(name.kind) if cache_folder() is not None and not config.best else None
    why = f"settings of {given or 'the command line'}"
    if open_keys and stored is not None and stored.is_file() and config.neural.weights is None:
        found_here = load(stored, {})
        config = replace(config, neural=with_stored(config.neural, found_here.neural, open_keys))
        why = f"calibrated settings of {stored}"
        if "auto_latency_ms" not in said:  # 50, too: older files say it unasked, others were asked for it
            config = replace(config, auto_latency_ms=found_here.auto_latency_ms)
        open_keys = []
    governor = Governor(config.auto_latency_ms, why)
    governor.decides(open_keys)
    if not open_keys:
        log.info("auto: %s", why)
    return config, governor


def fitted(
    engine: str, config: RunConfig, info: VideoInfo, options: ColorizerOptions, governor: Governor | None
) -> ColorizerOptions:
    """The options with what this machine can, where the run leaves that open.

    Args:
        engine: by name.
        config: of the run.
        info: what comes.
        options: as the configuration has them.
        governor: of the camera, unless it is fixed; it opens engines from now on where it governs.
    """
    name = catalog.parse(engine)
    if name.kind in catalog.CLASSICS:
        if config.auto:
            raise ConfigError(
                f"auto settings are measured for {' and '.join(catalog.BANDS)}, not for {engine}"
            )
        return options
    steered = options.neural.reference is not None or name.kind == catalog.REFERENCE.name
    if not name.neural or (not config.auto and _on_gpu(options.neural.network, steered)):
        return options
    if steered and not info.live and not config.auto:
        return options
    if config.best and info.live:
        remark("--best is for files: a live source has the best settings that keep its rate")
    pool = options.wish.pool
    neural = replace(options.neural, engine=name.kind, size=name.variant or options.neural.size)
    open_keys = as_default(neural, name.variant is not None)
    if config.best and not info.live and (governor is None or pool is not None):
        alone = Governor(config.auto_latency_ms, "")
        alone.decides(open_keys)
        return replace(options, neural=alone.for_file(neural, best=True))
    if governor is None or (pool is not None and (config.fixed or not info.live)):
        return options
    if pool is not None:
        governor.decides(open_keys, pool)
    if not info.live and not config.auto:
        return replace(options, neural=governor.for_file(options.neural, config.best))
    governor.expect(info, encoding_work(config, info, pool.cameras if pool is not None else 1))
    return replace(options, open_on_cpu=governor.open)


def _on_gpu(network: NetworkOptions, steered: bool) -> bool:
    """Whether a GPU is what colors; a reference's place is the CPU, unless a GPU is asked for by name."""
    if network.device == "cpu" or network.runtime not in ("auto", *GPU_RUNTIMES):
        return False
    on_cpu = network.device == "auto" and steered
    return network.runtime in GPU_ONLY or (not on_cpu and probe.device_at() is not None)

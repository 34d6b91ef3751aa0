"""How fast this machine colors: measured in a moment before the first frame, and remembered.

Remembered by processor, runtime and version, network and size of frame, so that the next run of the same
kind begins at once, and with the same settings. What was measured beside other work serves the next run too,
which measures once more when its color has long begun; the least of both is what the machine can.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from irchroma.engines import catalog
from irchroma.engines.network.eight_bit.twins import gain, settled, weights_for
from irchroma.engines.network.network import NetworkOptions, machine_key
from irchroma.engines.network.preload import keep, open_kept
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.carried_models import MOST_CARRIED
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed.frame_cost import MEASURED, SEEN_PX, frame_cost
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.neural.speed.measured_use import UseMeter, read_used
from irchroma.engines.neural.steered import steered_every
from irchroma.engines.processor import giving_way, usable_cores
from irchroma.engines.recolor.work_picture import padded, work_size

log = logging.getLogger(__name__)

FREE, MOST_FREE, FREE_FOR_FRAMES = 0.25, 0.5, 0.75
"""Share of the processor that is left to others, and that part of what a frame takes of its period where that
is more: of 1920x1080 (0.42 of it) one frame in a hundred came after 34 ms at 71 % and after 56 ms at 80 %, of
640x512 (0.33) after 20 ms. Where cores are many and frames large, half is enough."""
SOURCE_SHARE, ENCODER_SHARE = 0.035, 0.12
"""CPU time of decoding and handing on a frame's pixel, and encoding it with x264 as recordings are, in parts
of what motion, steadying and models take of a pixel at 320 (83 to 134 ns on an AMD EPYC, Zen 3, which tells a
fast machine from a slow one): encoding took 14 ns there at 640x512 and 1080 lines, decoding H.264 4."""
HANDING_SHARE = 0.16
"""CPU time of a frame's way through threads and queues, whatever its size, in parts of the same at 320."""
ALONE, TOGETHER = 1.45, 1.5
"""CPU time that a run takes, and one of several cameras, in times of its parts alone: every core is busy with
something else, they share caches and the interpreter's lock. Ten runs of one camera that kept its rate took
1.17 to 1.73 times their parts (`irchroma bench cpu`, two machines); counted as 1.2, two slow cores were busy
for 82 and 94 % where 65 was said. Four cameras whose parts come to 10 ms each took 16 to 20. What a run has
really used comes on top from the next one on."""
_CALLS = 4
_LONGEST_S = 0.5
"""After which no more calls are measured: beside other work color would come late."""
FRESH_S = 30.0
"""What one camera's run has just measured holds for the others of the process: four that measure side by side
count each other's work as their own, and each come to settings of their own."""
CALM = 1.25
"""Times as long as its CPU time that a call may last for what was measured to be final: beside other work
everything takes longer, and the next run may have the machine for itself."""
PATIENCE_S = 2.0
"""For which a live run waits for a measurement, twice what one takes at leisure, before it colors without;
what was measured beside that is not final. Beside other work on two cores one took 41 s."""
BY_REFERENCE = 1.8
"""CPU time of a call that looks at a reference, in calls of the band's `fast` network alone (`irchroma bench
exemplars`: 1.75 to 1.83 on both bands, at 320 and at 160 pixels)."""
STEERING, STEERING_ITS_AREA, BEHIND = 0.55, 1.3, 1.2
"""CPU time of steering a frame by a reference that lies over it, in times of what is done to a frame small at
320 pixels: whatever the network sees, and what goes by its area; and of putting the reference's picture
behind it, in times of what is done to it at its own size. On an AMD EPYC (Zen 3) steering took 11 ms at 192
and 20 at 320 pixels beside 10.5, the picture behind 640x512 6 beside 5.5, behind 1280x720 14 beside 10."""
_WAY = "a colorizer at work, small ones halved"  # how: what was found otherwise is measured anew
_Times = tuple[float, float, float, float, float]
"""Of `Pace`: call_ms, wall_ms, frame_ms, models_ms, full_ms."""
_Found = tuple[_Times, str]
"""What was measured, and why it is not final, in words; empty where it is."""
_BUSY, _LONG = " beside other work", ", which took long"
_measuring = threading.Lock()
_fresh: dict[tuple[Hashable, ...], tuple[float, _Found]] = {}


@dataclass(frozen=True, slots=True)
class Demand:
    """What has to be kept.

    Attributes:
        options: of the colorizer.
        size: (H, W) of the frames.
        rate: frames a second.
        cameras: that share the processor.
        encoded: work of encoding the pictures, in that of frames in plain color; 0 where nothing is encoded.
    """

    options: NeuralOptions
    size: tuple[int, int]
    rate: float
    cameras: int = 1
    encoded: float = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured.

    Attributes:
        demand: for what.
        call_ms: CPU time of the `fast` network's call at 320 pixels.
        wall_ms: how long that call lasts on the threads it has.
        frame_ms: CPU time of what is done to every frame beside it at 320 pixels: motion, steadying, models.
        models_ms: of that, what a frame is spared of which the network says nothing (see `CarriedModels`).
        full_ms: of what is done to every frame at its own size.
        cores: that this process may use.
        when: `measured just now` or `measured before`.
        calm: nobody else held the processor meanwhile, and whether 8 bits are faster is known; else
            `measure_again` finds more.
        gain: of 8 bits, in which `fast` was measured; see `Rung.work_where`.
        used: CPU time that runs like this have taken here, in times of what was counted for them by these
            very measures; 1 after others.
    """

    demand: Demand
    call_ms: float
    wall_ms: float
    frame_ms: float
    models_ms: float
    full_ms: float
    cores: int
    when: str
    calm: bool = True
    gain: float = 1.0
    used: float = 1.0

    def fits(self, rung: Rung) -> bool:
        """Whether the rate is kept, and the share of the processor stays free."""
        return (
            self.busy(rung) <= 1 - self._free(rung, self.demand.rate)
            and self._lasts_ms(rung) <= rung.color_every * self._period_ms
        )

    def busy(self, rung: Rung) -> float:
        """Share of the whole processor, [0, 1] and above."""
        work_ms = self._frame_ms(rung) + self.call_ms * self._scale(rung) / rung.color_every
        share = SOURCE_SHARE + ENCODER_SHARE * self.demand.encoded
        work_ms += self.frame_ms * (share * self._enlarged + HANDING_SHARE)
        work_ms *= self.used * (TOGETHER if self.demand.cameras > 1 else ALONE)
        return work_ms * self.demand.cameras / (self.cores * self._period_ms)

    def within_reach_hz(self, rung: Rung) -> float:
        """Frames a second that would be kept, about: those at which `fits` holds."""
        busy_a_hz = self.busy(rung) / self.demand.rate
        least_hz = (1 - MOST_FREE) / busy_a_hz
        free_a_hz = FREE_FOR_FRAMES * self._frame_ms(rung) / 1e3
        busy_hz = max(least_hz, min((1 - FREE) / busy_a_hz, 1 / (busy_a_hz + free_a_hz)))
        return min(busy_hz, 1e3 * rung.color_every / self._lasts_ms(rung))

    def _free(self, rung: Rung, rate: float) -> float:
        """Share of the processor that stays free at so many frames a second: more where frames are large."""
        return min(max(FREE, FREE_FOR_FRAMES * self._frame_ms(rung) * rate / 1e3), MOST_FREE)

    def sentence(self, rung: Rung) -> str:
        """Why this one, for people."""
        height, width = self.demand.size
        several = f" from each of {self.demand.cameras} cameras" if self.demand.cameras > 1 else ""
        return (
            f"{self.demand.options.engine} {rung}: {self.call_ms * self._scale(rung):.0f} ms a call and"
            f" {self._frame_ms(rung):.1f} ms a frame of {width}x{height} take about {self.busy(rung):.0%} of"
            f" {self.cores} cores at {self.demand.rate:g} frames a second{several} ({self.when})"
        )

    def meter(self, pool: SharedPool | None = None) -> UseMeter:
        """A meter of the processor's use by a run that has this demand.

        Args:
            pool: of the cameras that share the process, whose CPU time is that of all of them.
        """
        demand, who = self.demand, object()
        path = _uses(_Asked.of(demand).memory, demand)

        def counted(rung: Rung) -> float:
            return self.busy(rung) * self.cores / demand.rate

        def alike(rung: Rung, now_s: float) -> bool:
            return pool is None or pool.alike(
                who, (path, demand.size, demand.rate, demand.encoded, rung), now_s
            )

        times = self.call_ms, self.wall_ms, self.frame_ms, self.models_ms, self.full_ms
        return UseMeter(path, self.used, counted, demand.rate, times, alike)

    @property
    def _period_ms(self) -> float:
        return 1e3 / self.demand.rate

    @property
    def _enlarged(self) -> float:
        """Pixels of the frame for each one at 320."""
        size = self.demand.size
        return float(np.prod(size) / np.prod(work_size(size, SEEN_PX)))

    def _frame_ms(self, rung: Rung) -> float:
        options, area = self.demand.options, (rung.seen_px / SEEN_PX) ** 2
        by_reference = options.reference is not None
        every = rung.color_every
        if by_reference:
            every = steered_every(every, self._period_ms / 1e3) if options.beside else 1
        made = 1 / min(every, MOST_CARRIED + 1)
        small_ms = (self.frame_ms - self.models_ms * (1 - made)) * area
        if not by_reference:
            return small_ms + self.full_ms
        steering_ms = self.frame_ms / every * (STEERING + STEERING_ITS_AREA * area)
        return small_ms + steering_ms + (1 + BEHIND) * self.full_ms

    def _lasts_ms(self, rung: Rung) -> float:
        """A call beside the frames may last until the next one is due; one that is waited for, half of it."""
        lasts_ms = self.wall_ms * self._scale(rung)
        return lasts_ms if self.demand.options.beside else 2 * lasts_ms

    def _scale(self, rung: Rung) -> float:
        return rung.work_where(self.gain) / Rung(MEASURED, SEEN_PX).work


def measure(demand: Demand, waits_until_s: float = math.inf) -> Pace:
    """This machine's pace for a demand; a second where nothing is remembered, once at a time.

    Args:
        demand: what has to be kept.
        waits_until_s: `time.monotonic` at which the run that asks begins to color without it.

    Raises:
        EngineError: no network runs here.
    """
    options, cores = demand.options, usable_cores()
    asked = _Asked.of(demand)
    factor = BY_REFERENCE if options.engine == catalog.REFERENCE.name else 1.0
    about = (asked.network, asked.path, options.recolor, options.temporal, demand.size)
    with _measuring:
        found, when = _read(asked.memory), "measured before"
        at_s, fresh = _fresh.get(about, (-math.inf, None))
        if found is None and fresh is not None and time.monotonic() - at_s < FRESH_S:
            found, when = fresh, "measured just now"
        if found is None:
            times, calm = _measured(demand, asked)
            # A run that did not wait colors meanwhile: that work may have been taken for the network's.
            late = _LONG if time.monotonic() > waits_until_s else ""
            found, when = (times, late if calm else _BUSY), "measured just now"
            _remember(asked.memory, found)
            _fresh.clear()
            _fresh[about] = time.monotonic(), found
    (call_ms, wall_ms, frame_ms, models_ms, full_ms), doubt = found
    when += doubt
    calm = not doubt and (options.weights is not None or settled(asked.band, MEASURED, asked.network))
    times = factor * call_ms, factor * wall_ms, frame_ms, models_ms, full_ms
    used = read_used(_uses(asked.memory, demand), times)
    return Pace(demand, *times, cores, when, calm, gain_of(options), used)


def gain_of(options: NeuralOptions) -> float:
    """What `Rung.work_where` is to be told of these options' networks here."""
    own = options.weights is not None or options.engine == catalog.REFERENCE.name
    return 1.0 if own else gain(catalog.band_of(options.engine, options.size), MEASURED, options.network)


def measure_again(demand: Demand) -> None:
    """Measure what was measured beside other work once more, for the runs to come; the least of both counts.

    And whether 8 bits are faster, where that is not known yet: then the pace of the twin, too.

    Raises:
        EngineError: no network runs here.
    """
    before_it = _Asked.of(demand)
    asked = _Asked.of(demand, learn=True)
    with _measuring:
        before = _read(asked.memory)
        nothing = asked.memory is None or (before is None and asked.path == before_it.path)
        if nothing or (before is not None and not before[1]):
            return
        times, calm = _measured(demand, asked)
        call_ms, wall_ms, frame_ms, models_ms, full_ms = map(min, times, before[0] if before else times)
        least = call_ms, wall_ms, frame_ms, models_ms, full_ms
        _remember(asked.memory, (least, "" if calm else _BUSY))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The network that is measured for a demand, and where that is remembered."""

    band: str
    network: NetworkOptions
    path: Path
    memory: Path | None

    @classmethod
    def of(cls, demand: Demand, learn: bool = False) -> _Asked:
        options, network = demand.options, demand.options.network
        if options.beside and not network.threads:
            network = replace(network, threads=max(1, usable_cores() // 2))
        band = catalog.band_of(options.engine, options.size)
        path = options.weights or weights_for(band, MEASURED, network, learn or not options.beside)
        return cls(band, network, path, _memory(network, path, demand))


def _measured(demand: Demand, asked: _Asked) -> tuple[_Times, bool]:
    """Measured now, and whether nobody else held the processor."""
    options = demand.options
    call = partial(_call, asked.path, asked.network, demand.size)
    # Frames without color may be on their way meanwhile.
    call_ms, wall_ms, calm = giving_way(call) if options.beside else call()
    if options.weights is not None and options.size != MEASURED and options.engine != catalog.REFERENCE.name:
        scale = Rung(options.size, SEEN_PX).work / Rung(MEASURED, SEEN_PX).work
        call_ms, wall_ms = call_ms / scale, wall_ms / scale
    frame = partial(frame_cost, options, demand.size)
    frame_ms, models_ms, full_ms = giving_way(frame) if options.beside else frame()
    # As they are remembered: what runs use is in times of these.
    times = round(call_ms, 3), round(wall_ms, 3), round(frame_ms, 3), round(models_ms, 3), round(full_ms, 3)
    return times, calm


def _call(path: Path, options: NetworkOptions, size: tuple[int, int]) -> tuple[float, float, bool]:
    """CPU and wall time of a call, ms, and whether nobody else held the processor.

    The least of some, since others disturb and nothing speeds up.
    """
    network = open_kept(path, options)
    # A network of one thread works on the one that calls it: what frames take meanwhile is not its own.
    clock = time.thread_time if options.threads == 1 else time.process_time
    luma = padded(np.full(work_size(size, SEEN_PX), 90, np.uint8))
    try:
        network.infer(luma)
        times: list[tuple[float, float]] = []
        until_s = time.perf_counter() + _LONGEST_S
        for _ in range(_CALLS):
            if times and time.perf_counter() > until_s:
                break
            cpu_s, wall_s = clock(), time.perf_counter()
            network.infer(luma)
            times.append((clock() - cpu_s, time.perf_counter() - wall_s))
        cpu_ms, wall_ms = (min(found) * 1e3 for found in zip(*times, strict=True))
        # It lasts longer than its CPU time only where others hold the processor, now and not for ever.
        calm = wall_ms <= CALM * cpu_ms
        cpu_ms = min(cpu_ms, wall_ms * (options.threads or usable_cores()))  # less what frames took meanwhile
        return cpu_ms, min(cpu_ms, wall_ms), calm
    finally:
        keep(path, options, network)  # it may be the one that is chosen


def _memory(network: NetworkOptions, path: Path, demand: Demand) -> Path | None:
    if network.cache is None:
        return None
    runtime = network.runtime if network.runtime != "auto" else "openvino"
    data = path.read_bytes() if path.is_file() else b""
    recolor, temporal = demand.options.recolor, replace(demand.options.temporal, color_every=1)
    about = [
        _WAY,
        machine_key(runtime),
        network.runtime,
        str((network.threads, network.exact, demand.size, recolor, temporal)),
        hashlib.sha256(data).hexdigest(),
    ]
    key = hashlib.sha256(" ".join(about).encode()).hexdigest()[:16]
    return network.cache.parent / f"pace-{key}.json"


def _uses(memory: Path | None, demand: Demand) -> Path | None:
    """Beside what was measured: cameras, outputs and a reference make a difference to what is used, not to
    that."""
    several, coded, options = min(demand.cameras, 4), int(demand.encoded > 0), demand.options
    by_reference = int(options.reference is not None) + int(options.engine == catalog.REFERENCE.name)
    kind = f"{several}-{coded}-{by_reference}"
    return None if memory is None else memory.with_name(f"used-{memory.stem}-{kind}.json")


def _read(memory: Path | None) -> _Found | None:
    if memory is None or not memory.is_file():
        return None
    try:
        told = json.loads(memory.read_text("utf-8"))
        call_ms, wall_ms, frame_ms, models_ms, full_ms = (float(ms) for ms in told["ms"])
        doubt = "" if told["calm"] else str(told.get("doubt", _BUSY))
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.info("%s cannot be used, measured anew: %s", memory.name, error)
        return None
    found = call_ms, wall_ms, frame_ms, models_ms, full_ms
    right = all(math.isfinite(ms) and ms > 0 for ms in (call_ms, wall_ms, frame_ms, full_ms))
    return (found, doubt) if right and 0 <= models_ms < frame_ms else None


def _remember(memory: Path | None, found: _Found) -> None:
    if memory is None:
        return
    times, doubt = found
    told = {"ms": times, "calm": not doubt, "doubt": doubt}
    try:
        memory.write_text(json.dumps(told), encoding="utf-8")
    except OSError as error:
        log.info("the pace of this machine is not kept: %s", error)

"""The settings that keep a rate here: measured before the first frame, or stored by a calibration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.cache import cache_folder
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.engines.neural.speed.ladder import SKIP_LOSS, Rung, candidates, quality
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import circumstances
from irchroma.stream.protocols import VideoInfo

CHOSEN_KEYS = ("neural.size", "neural.work_size_px", "neural.temporal.color_every")
"""What is chosen where neither the command line nor a given file says it."""
BY_REFERENCE_SIZE = catalog.SIZES[0]
"""Of the band's network that the engine `reference` stands on."""
NO_LOSS = 2.2 * SKIP_LOSS
"""Quality that several cameras give for a processor less busy, on which their frames wait for each other."""
RATE = 30.0
"""Frames a second that are kept where the source says none, and of files."""
Choice = tuple[NeuralOptions, pace.Pace, str]
"""What `chosen_for` gives."""


def stored_path(kind: str) -> Path:
    """Where this machine's calibration lies; another processor or other libraries have another name.

    Raises:
        ConfigError: there is no folder for it.
    """
    folder = cache_folder()
    if folder is None:
        raise ConfigError(
            "no cache folder can be written: calibrate speed --out FILE.toml, then run --config FILE.toml"
        )
    about = circumstances()
    text = f"{about['processor']} {about['cores']} {about['versions'].get('openvino')}"
    return folder.parent / f"speed-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"


def chosen_for(
    options: NeuralOptions,
    info: VideoInfo,
    open_keys: Sequence[str],
    cameras: int = 1,
    encoded: float = 1.0,
    waits_until_s: float = math.inf,
) -> Choice:
    """The best settings that keep the rate and leave a quarter of the processor; their measure; why these.

    Args:
        options: of the colorizer, what the user said in place.
        info: what comes.
        open_keys: of CHOSEN_KEYS, those that may be changed.
        cameras: that share the processor.
        encoded: see `pace.Demand`.
        waits_until_s: see `pace.measure`.

    Raises:
        EngineError: no network runs here.
    """
    rate = float(info.rate) if info.live and info.rate else RATE
    measured = pace.measure(pace.Demand(options, info.size, rate, cameras, encoded), waits_until_s)
    band = catalog.band_of(options.engine, options.size)
    pool = _candidates(options, open_keys)
    fitting = [rung for rung in pool if measured.fits(rung)]
    if fitting:
        least = quality(band, fitting[0]) - NO_LOSS
        good = [rung for rung in fitting if quality(band, rung) >= least]
        rung = min(good, key=measured.busy) if cameras > 1 else fitting[0]
    else:
        rung = min(pool, key=lambda rung: rung.cost_where(measured.gain))
    options = _with_rung(options, rung)
    late = "" if fitting else "; that is too slow, and the cheapest there is"
    return options, measured, measured.sentence(rung) + late


def cheapest(options: NeuralOptions, open_keys: Sequence[str]) -> tuple[NeuralOptions, Rung]:
    """The settings that any machine has time for, by what may be chosen."""
    rung = min(_candidates(options, open_keys), key=lambda rung: rung.cost)
    return _with_rung(options, rung), rung


def _with_rung(options: NeuralOptions, rung: Rung) -> NeuralOptions:
    """The options with a rung's settings; a rhythm that is `auto` stays."""
    temporal = options.temporal
    if temporal.color_every != "auto":
        temporal = replace(temporal, color_every=rung.color_every)
    size = options.size if options.engine == catalog.REFERENCE.name else rung.size
    return replace(options, size=size, work_size_px=rung.seen_px, temporal=temporal)


def _candidates(options: NeuralOptions, open_keys: Sequence[str]) -> list[Rung]:
    """The settings that may be chosen of, the best first and of those as good the cheapest."""
    every, band = options.temporal.color_every, catalog.band_of(options.engine, options.size)
    sizes = catalog.SIZES if "neural.size" in open_keys else (options.size,)
    pool = candidates(band, (BY_REFERENCE_SIZE,) if options.engine == catalog.REFERENCE.name else sizes)
    if "neural.work_size_px" not in open_keys:
        px = options.work_size_px or catalog.WORK_SIZE_PX[options.size]
        pool = [replace(rung, seen_px=px) for rung in pool]
    if "neural.temporal.color_every" not in open_keys and isinstance(every, int):
        pool = [replace(rung, color_every=every) for rung in pool]
    return sorted(set(pool), key=lambda rung: (-quality(band, rung), rung.cost))


def with_stored(neural: NeuralOptions, stored: NeuralOptions, keys: Sequence[str]) -> NeuralOptions:
    """The options with what a calibration has found for the keys, of CHOSEN_KEYS."""
    if CHOSEN_KEYS[0] in keys:
        neural = replace(neural, size=stored.size)
    if CHOSEN_KEYS[1] in keys:
        neural = replace(neural, work_size_px=stored.work_size_px)
    if CHOSEN_KEYS[2] in keys:
        every = stored.temporal.color_every
        neural = replace(neural, temporal=replace(neural.temporal, color_every=every))
    return neural


def as_default(neural: NeuralOptions, sized: bool) -> list[str]:
    """CHOSEN_KEYS that are as they are where nobody has said anything."""
    default = NeuralOptions()
    same = (
        neural.size == default.size and neural.weights is None and not sized,
        neural.work_size_px == 0,
        neural.temporal.color_every == default.temporal.color_every,
    )
    return [key for key, one in zip(CHOSEN_KEYS, same, strict=True) if one]

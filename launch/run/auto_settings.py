"""`irchroma run --auto`: settings from this machine's calibration, or from a few seconds of measuring."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from irchroma.calibration.machine_speed import Demand, measure
from irchroma.calibration.settings_choice import cheapest, rank
from irchroma.engines import catalog
from irchroma.engines.network.network import cache_folder
from irchroma.launch.config import ConfigError, load_toml
from irchroma.launch.measured import circumstances
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.options import RunConfig, load

log = logging.getLogger(__name__)

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

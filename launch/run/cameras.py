"""The configuration of several cameras in one process: shared defaults, and what each says for itself."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irchroma.engines.choice import device_index
from irchroma.engines.network.line import BatchOptions
from irchroma.launch.config import ConfigError, from_table, load_toml, to_toml
from irchroma.launch.measured import SHOWN
from irchroma.launch.run.outputs import (
    places,
    require_locked_alike,
    require_masks_kept,
    require_writable,
    source_file,
)
from irchroma.launch.run.settings.options import RunConfig, nested, require

_NAME = re.compile(r"[\w][\w .-]*")


@dataclass(frozen=True, slots=True)
class CameraRun(RunConfig):
    """One camera's run.

    Attributes:
        name: of its log lines, its statistics and its page; `camera 1` and so on where none is given.
        device: short for `neural.network.device`: `cuda:1`, `cpu` ...; cameras that say nothing, there or
        here,
            take the GPUs in turn.
    """

    name: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class SharingOptions:
    """What the cameras of one process share.

    Attributes:
        networks: cameras with the same engine, size, runtime and precision use one compiled network.
        batch_wait_ms: how long a frame may wait for other cameras' frames where batches pay, 0 = never.
        batch_frames: most frames of one call of a network; 0 for what pays: 1 on a CPU, 8 on a GPU.
    """

    networks: bool = True
    batch_wait_ms: float = BatchOptions().wait_ms
    batch_frames: int = 0

    def __post_init__(self) -> None:
        self.batch()

    def batch(self) -> BatchOptions:
        """For the networks."""
        return BatchOptions(self.batch_wait_ms, self.batch_frames)


@dataclass(frozen=True, slots=True)
class CamerasConfig:
    """Several runs in one process.

    Attributes:
        cameras: at least one, with different names and different outputs.
        sharing: what they share.
        stats: a JSON file for the statistics of all; None for none.
    """

    cameras: tuple[CameraRun, ...]
    sharing: SharingOptions = field(default_factory=SharingOptions)
    stats: Path | None = None


@dataclass(frozen=True, slots=True)
class _SharedOutput:
    stats: Path


def has_cameras(path: Path | None) -> bool:
    """True where the file describes several cameras. Raises ConfigError where it cannot be read."""
    table = load_toml(path) if path is not None else {}
    if isinstance(table.get("camera"), list):
        raise ConfigError(f"{path}: several cameras are written [[cameras]]; `camera` names a profile")
    return "cameras" in table


def load_cameras(path: Path, settings: dict[str, Any]) -> CamerasConfig:
    """The file's cameras; the flags of the command line win over each of them.

    Keys beside `[[cameras]]` are the defaults of all cameras; `output.stats` among them is one file for all.

    Args:
        path: a TOML file with `[[cameras]]`.
        settings: dotted key -> value, of the command line.

    Raises:
        ConfigError: a key is unknown, a value makes no sense, two cameras have one name or one output.
    """
    if settings.keys() & {"source", "to"}:
        raise ConfigError(f"{path} names several cameras: their sources and sinks belong into that file")
    return read_cameras(load_toml(path), settings)


def read_cameras(table: dict[str, Any], settings: dict[str, Any]) -> CamerasConfig:
    """The same from the tables of such a file, of which `cameras` and `sharing` are taken out.

    Raises:
        ConfigError: see `load_cameras`.
    """
    entries, sharing = table.pop("cameras"), table.pop("sharing", {})
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ConfigError("cameras: expected one table for each camera, written [[cameras]]")
    if not isinstance(sharing, dict):
        raise ConfigError(f"sharing: expected a table, got {sharing!r}")
    try:
        options = from_table(SharingOptions, sharing, where="sharing.")
        defaults = from_table(RunConfig, nested(settings), from_table(RunConfig, table))
        stats, defaults = defaults.output.stats, _without_stats(defaults)
        flags = {key: value for key, value in settings.items() if key != "output.stats"}
        cameras = []
        for number, entry in enumerate(entries, 1):
            name = entry.get("name") or f"camera {number}"
            own = from_table(CameraRun, {**entry, "name": name}, _named(defaults), f"cameras.{name}.")
            own = _with_device(own)
            cameras.append(from_table(CameraRun, nested(flags), own))
    except ConfigError:
        raise
    except ValueError as error:  # the options' own word for a value that makes no sense
        raise ConfigError(str(error)) from error
    config = CamerasConfig(tuple(cameras), options, stats)
    _check(config)
    return config


def cameras_toml(config: CamerasConfig) -> str:
    """The whole effective configuration, every key of every camera, as TOML that `load_cameras` reads."""
    parts = [to_toml(config.sharing, "sharing")]
    if config.stats is not None:
        parts.append(to_toml(_SharedOutput(config.stats), "output"))
    parts += [to_toml(camera, "cameras", listed=True) for camera in config.cameras]
    return "\n".join(parts)


def _named(defaults: RunConfig) -> CameraRun:
    values = {f.name: getattr(defaults, f.name) for f in dataclasses.fields(defaults)}
    return CameraRun(**values)


def _with_device(camera: CameraRun) -> CameraRun:
    if not camera.device:
        return camera
    try:
        device_index(camera.device)
    except ValueError as error:
        raise ConfigError(f"cameras.{camera.name}.device: {error}") from error
    network = dataclasses.replace(camera.neural.network, device=camera.device)
    neural = dataclasses.replace(camera.neural, network=network)
    return dataclasses.replace(camera, device="", neural=neural)


def _without_stats(config: RunConfig) -> RunConfig:
    return dataclasses.replace(config, output=dataclasses.replace(config.output, stats=None))


def _check(config: CamerasConfig) -> None:
    names: set[str] = set()
    taken: dict[str, str] = {}
    if config.stats is not None and config.stats != SHOWN:
        require_writable(config.stats, "--stats")
        taken[str(config.stats.resolve())] = "the statistics"
    for camera in config.cameras:
        if not _NAME.fullmatch(camera.name):
            raise ConfigError(
                f"cameras: {camera.name!r} is no name: expected letters, digits, spaces, dots and dashes"
            )
        if camera.name.lower() in names:
            raise ConfigError(f"cameras: there are two of the name {camera.name}")
        names.add(camera.name.lower())
        try:
            require(camera)
        except ConfigError as error:
            raise ConfigError(f"cameras.{camera.name}: {error}") from error
        require_masks_kept(camera, f"cameras.{camera.name}.privacy")
        try:
            own = places(camera, camera.name)
        except ConfigError as error:
            raise ConfigError(f"cameras.{camera.name}: {error}") from error
        for place in own:
            other = taken.setdefault(place, camera.name)
            if other is not camera.name:
                raise ConfigError(f"cameras: both {other} and {camera.name} write to {place}")
    require_locked_alike(text for camera in config.cameras for text in camera.to)
    for camera in config.cameras:
        source = source_file(camera.source)
        if source is not None and str(source) in taken:
            raise ConfigError(
                f"cameras.{camera.name}: its source {camera.source} is what {taken[str(source)]} writes to"
            )

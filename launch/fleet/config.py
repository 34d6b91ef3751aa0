"""What `fleet.toml` says: the cameras of all machines, what each of them takes of one, and whom to ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError, from_table, load_toml, parse_toml, to_toml
from irchroma.launch.fleet.placement import Camera
from irchroma.launch.run.cameras import CameraRun, read_cameras
from irchroma.launch.run.settings.passwords import masked

_COST = {"cpu": 0.5, "gpu": 0.02}


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """The table `[fleet]`.

    Attributes:
        address: of Ray: `auto` for the cluster that this machine belongs to, `ray://HOST:10001`, or `local`
            for this machine alone.
        balance: how much fuller the fullest machine may be than the emptiest before cameras are moved.
        lost_after_s: how long a machine may say nothing until its cameras are begun on others.
        cameras_per_process: of a machine, at most; its interpreter's lock is what they wait for in the end.
        files: the folder or bucket of what configurations call `shared:NAME`, see `shared_files`.
    """

    address: str = "auto"
    balance: float = 0.15
    lost_after_s: float = 3.0
    cameras_per_process: int = 8
    files: str = ""

    def __post_init__(self) -> None:
        if self.cameras_per_process < 1:
            raise ConfigError("fleet.cameras_per_process: expected 1 or more")
        if not 0 < self.balance <= 1 or not self.lost_after_s > 0:
            raise ConfigError("fleet: expected a balance above 0 and up to 1, and lost_after_s above 0")


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """All of it.

    Attributes:
        options: of the fleet.
        cameras: for the placement.
        texts: camera -> its whole configuration as TOML, in which every password is a `${NAME}` that the
            machine it runs on knows: neither Ray's store nor its logs ever hold one.
    """

    options: FleetOptions
    cameras: tuple[Camera, ...]
    texts: dict[str, str] = field(default_factory=dict)

    def stamped(self, stamp: Callable[[str], str]) -> FleetConfig:
        """The same with every text as `stamp` makes it, see `SharedFiles.stamped`."""
        return replace(self, texts={name: stamp(text) for name, text in self.texts.items()})


def load_fleet(path: Path) -> FleetConfig:
    """Read `fleet.toml`: a file of several cameras, as `run --config` takes, and a table `[fleet]`.

    A camera may also say its `group` (cameras that watch one place) and its `cost`: kind of machine -> what
    it takes of one, cores of `cpu`, GPUs of `gpu`; `[fleet] cost` is that of all. In its `to`, `{node}`
    stands for the machine's name.

    Raises:
        ConfigError: a key is unknown, a value makes no sense, or a password is written out.
    """
    table = load_toml(path)
    if "cameras" not in table:
        raise ConfigError(f"{path}: expected one [[cameras]] table for each camera")
    own = table.pop("fleet", {})
    if not isinstance(own, dict):
        raise ConfigError(f"{path}: fleet: expected a table, got {own!r}")
    usual = _cost(own.pop("cost", _COST), "fleet.cost")
    options = from_table(FleetOptions, own, where="fleet.")
    _refuse_homes(table, "")
    entries = table["cameras"] if isinstance(table["cameras"], list) else []
    said = [
        {key: entry.pop(key, None) for key in ("group", "cost")}
        for entry in entries
        if isinstance(entry, dict)
    ]
    cameras, texts = [], {}
    for run, about in zip(read_cameras(table, {}).cameras, said, strict=True):
        _, secrets = masked(run, run.name)
        if secrets:
            raise ConfigError(
                f"cameras.{run.name}: {secrets[0].key} holds a password: write ${{NAME}} in its place, and"
                " give it to the machines, in their environment or as a file (${file:PATH})"
            )
        cost = usual if about["cost"] is None else _cost(about["cost"], f"cameras.{run.name}.cost")
        cameras.append(Camera(run.name, cost, str(about["group"] or "")))
        texts[run.name] = to_toml(run)
    return FleetConfig(options, tuple(cameras), texts)


def read_camera(text: str, node: str) -> CameraRun:
    """One camera's configuration on the machine `node`."""
    run = from_table(CameraRun, parse_toml(text, "a camera"))
    return replace(run, to=tuple(sink.replace("{node}", node) for sink in run.to))


def _refuse_homes(value: Any, where: str) -> None:
    """`~/` is the home of whoever reads it: here that of this machine, not of the one with the camera."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_homes(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for inner in value:
            _refuse_homes(inner, where)
    elif isinstance(value, str) and value.startswith(("~/", "hls:~/", "raw:~/")):
        raise ConfigError(f"{where}: {value} is in another folder on each machine: write the whole path")


def _cost(told: Any, where: str) -> dict[str, float]:
    shares = told if isinstance(told, dict) else {}
    if not shares or not all(isinstance(share, (int, float)) and share > 0 for share in shares.values()):
        raise ConfigError(
            f"{where}: expected a share for each kind of machine, as {{cpu = 0.5}}, got {told!r}"
        )
    return {str(kind): float(share) for kind, share in shares.items()}

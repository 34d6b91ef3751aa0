"""A trained network behind one small shape, and the choice of the runtime that runs it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import platform
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.cache import cache_folder
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network.eight_bit.verification import Check, verify
from irchroma.engines.network.record import read_record
from irchroma.engines.processor import usable_cores

log = logging.getLogger(__name__)

Tensor = NDArray[np.float32]
Tensors = dict[str, NDArray[np.float32]]
"""Inputs or outputs of a graph by name."""


class Network(Protocol):
    """Runs one network; made by a runtime. Used by `lanes` threads at a time."""

    @property
    def name(self) -> str:
        """Runtime, device and precision for people: `openvino bf16`."""

    @property
    def lanes(self) -> int:
        """How many calls may run at once, each from a thread of its own."""

    @property
    def best_batch(self) -> int:
        """How many frames one call should have at most: 1 where a batch is no cheaper than its frames."""

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """Color a batch; blocks until done.

        Args:
            luma: (N, 1, H, W) float32 Y' in [0, 1], H and W multiples of 32; frames of several streams
                share one call as a batch.

        Returns:
            `ycc` (N, 3, H, W) float32, BT.601 full range: Y' in [0, 1], Cb and Cr in [-0.5, 0.5]; and
            confidence (N, 1, H, W) float32 in [0, 1]. Both are the caller's until this thread's next call.
        """

    def close(self) -> None:
        """Let go of the network; may be called twice."""


class Graph(Protocol):
    """A network of several inputs on the CPU. Used by one thread at a time."""

    @property
    def name(self) -> str:
        """Runtime and precision for people."""

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name; they are the caller's until the next call."""

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Compile for inputs of these shapes where that takes time; any thread, also while another calls."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


MOST_THREADS = 1024
"""More is taken for a mistake: a library that is asked for them makes them."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network is run.

    Attributes:
        runtime: a name of RUNTIMES, or `auto` for the first of them that works here.
        threads: CPU threads of the network, 0 for the runtime's own choice.
        lanes: calls at once, which divide the threads among them; 0 for one, or, where several cameras
            share the network, for as many as there are cores. A runtime that cannot has one.
        cache: folder of compiled models, None for none.
        exact: full float32 where the CPU would also have bf16.
        device: `auto`, `cpu`, `all`, or a GPU as `0` or `cuda:0`; for `device_choice` alone.
    """

    runtime: str = "auto"
    threads: int = 0
    cache: Path | None = field(default_factory=cache_folder, metadata={"of_machine": True})
    exact: bool = False
    lanes: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.threads <= MOST_THREADS or self.lanes < 0:
            raise EngineOptionError(
                f"threads of a network: expected 0 (as many as there are cores) to {MOST_THREADS}, and no"
                f" negative lanes, got {self.threads} and {self.lanes}"
            )
        known = ("auto", *RUNTIMES, *GPU_ONLY)
        if self.runtime not in known:
            raise EngineOptionError(f"unknown runtime {self.runtime!r}: use {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a runtime lives and what it needs.

    Attributes:
        module: the one module that imports its library; it has `open_network(path, options)`.
        library: what that module imports.
        package: the name on the package index.
        extra: the extra of `irchroma` that installs it.
    """

    module: str
    library: str
    package: str
    extra: str


RUNTIMES = {
    "openvino": Runtime("irchroma.engines.network.openvino_runtime", "openvino", "openvino", "openvino"),
    "onnxruntime": Runtime(
        "irchroma.engines.network.onnx_runtime", "onnxruntime", "onnxruntime", "onnxruntime"
    ),
    "torch": Runtime("irchroma.engines.network.torch_runtime", "torch", "torch", "train"),
}
"""Name -> runtime, in the order in which `auto` tries them: fastest on a CPU first."""
GPU_ONLY = ("tensorrt", "tensorrt-rtx")
"""Runtimes that are part of a device's frame path, see `device_choice`."""


def open_network(path: Path, options: NetworkOptions | None = None) -> Network:
    """Load the network at `path` (ONNX, float32) into the runtime asked for.

    `auto` takes the first runtime of RUNTIMES that is installed, once, and logs which and why.

    Raises:
        EngineUnavailable: the weights or the runtime are not here, or the runtime refuses the network.
        EngineOptionError: no runtime has that name.
    """
    options = options or NetworkOptions()
    if not path.is_file():
        raise EngineUnavailable(f"no weights at {path}: reinstall irchroma, or train them: irchroma train")
    if options.runtime != "auto":
        return _open(path, options.runtime, options)
    passed_over = []
    for name, runtime in RUNTIMES.items():
        if not installed(name):
            passed_over.append(f"{name} is not installed")
            continue
        try:
            network = _open(path, name, options)
        except EngineUnavailable as error:
            passed_over.append(str(error))
            continue
        why = f" ({'; '.join(passed_over)})" if passed_over else ", the fastest on a CPU"
        log.info("%s: runtime %s %s%s", path.stem, network.name, _version(runtime), why)
        return network
    raise EngineUnavailable(
        "no runtime for neural engines works here: " + "; ".join(passed_over) + ": pip install openvino"
    )


GRAPH_RUNTIMES = ("openvino", "onnxruntime")
"""Of RUNTIMES, those that run a `Graph`."""


def open_graph(path: Path, options: NetworkOptions | None = None) -> Graph:
    """Load a network of several inputs into the runtime asked for, or the first that is installed.

    Raises:
        EngineUnavailable: the weights or the runtime are not here.
        EngineOptionError: the runtime does not run such networks.
    """
    options = options or NetworkOptions()
    if not path.is_file():
        raise EngineUnavailable(f"no weights at {path}: reinstall irchroma, or train them: irchroma train")
    asked = GRAPH_RUNTIMES if options.runtime == "auto" else (options.runtime,)
    if asked[0] not in GRAPH_RUNTIMES:
        raise EngineOptionError(
            f"{path.stem} runs on {' and '.join(GRAPH_RUNTIMES)} only, not on {options.runtime}"
        )
    found = next((name for name in asked if installed(name)), None)
    if found is None:
        raise EngineUnavailable(
            f"no runtime for {path.stem} is installed: run {_how_to_install(RUNTIMES[asked[0]])}"
        )
    module = importlib.import_module(RUNTIMES[found].module)
    graph: Graph = module.open_graph(path, options)
    return graph


def installed(name: str) -> bool:
    """True where the runtime's library can be found; does not import it."""
    return importlib.util.find_spec(RUNTIMES[name].library) is not None


def runtime_state(name: str) -> str:
    """One phrase for lists: the version of a runtime's library, or the command that installs it."""
    runtime = RUNTIMES[name]
    return _version(runtime) if installed(name) else f"missing: {_how_to_install(runtime)}"


def _open(path: Path, name: str, options: NetworkOptions) -> Network:
    if name in GPU_ONLY:
        raise EngineOptionError(
            f"runtime {name} colors whole videos, irchroma run: use {', '.join(RUNTIMES)}"
        )
    runtime = RUNTIMES[name]
    if not installed(name):
        raise EngineUnavailable(f"runtime {name} is not installed: run {_how_to_install(runtime)}")
    try:
        module = importlib.import_module(runtime.module)
    except ImportError as error:
        raise EngineUnavailable(
            f"runtime {name} cannot be loaded ({error}): run {_how_to_install(runtime)}"
        ) from error
    network: Network = module.open_network(path, options)
    record = read_record(path)
    if record is not None and record.precision == "int8":
        try:
            check = Check(path, network.name, machine_key(name), options.cache)
            verify(check, lambda luma: network.infer(luma)[0])
        except BaseException:
            network.close()
            raise
    return network


def machine_key(runtime: str) -> str:
    """What speed and rounding of a runtime depend on: processor, its instructions, cores, version."""
    about = [platform.machine(), platform.processor(), str(usable_cores())]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for field_name in ("model name", "flags", "Features", "CPU part"):
        about += [line.partition(":")[2].strip() for line in lines if line.startswith(field_name)][:1]
    about += [runtime, _version(RUNTIMES[runtime]), os.environ.get("ONEDNN_MAX_CPU_ISA", "")]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]


def _how_to_install(runtime: Runtime) -> str:
    return f"pip install 'irchroma[{runtime.extra}]'"


@cache  # 5 to 40 ms, five times a start
def _version(runtime: Runtime) -> str:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms of every start

    try:
        return version(runtime.package)
    except PackageNotFoundError:
        return "of unknown version"

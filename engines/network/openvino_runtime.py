"""OpenVINO on the CPU: the default runtime where there is no GPU; the only file that imports `openvino`."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.cache import alone_in
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors
from irchroma.engines.network.rewriting.cells import cut_to_cells, in_cells, on_pixels, shapes_in_cells
from irchroma.engines.network.rewriting.early import EARLY, KnowsEarly, TakesEarly, early_port, layers_before
from irchroma.engines.network.rewriting.enlarging import before_enlarging, enlarged
from irchroma.engines.network.rewriting.softmax import spare_softmax

# OpenVINO goes without: it tells Google Analytics of every start otherwise, and makes ~/intel for that. Nor
# does a run convert networks, for which two fifths of the import's time would go.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
_converts = sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
import openvino  # noqa: E402
from openvino import opset13  # noqa: E402

if _converts is None:
    del sys.modules["openvino.tools.ovc"]

log = logging.getLogger(__name__)

KEPT_SHAPES = 8
"""Compiled networks that are kept, one per input shape: fixed shapes run faster than dynamic ones."""

Shapes = dict[str, tuple[int, ...]]
_Key = tuple[tuple[str, tuple[int, ...]], ...]

# The bindings find numpy's functions at a process's first array, in a static initializer that needs the
# interpreter's lock: two threads that come there together wait for each other for ever, and all others for
# that lock (2026.4). Here, no other thread comes there: it waits for this import.
openvino.Tensor(openvino.Type.f32, openvino.Shape([1]))

_AT_EXIT_S = 30.0
_under_way = threading.Condition()
_calls, _leaving = 0, False


@contextmanager
def _call() -> Iterator[None]:
    """Be in OpenVINO. An interpreter that ends waits for it, and lets no thread come back from there: Python
    before 3.14 ends one where it asks for its lock, amid C++ that then aborts the process (bpo-87135)."""
    global _calls
    with _under_way:
        _calls += 1
    try:
        if _leaving:
            raise EngineUnavailable("the program ends")
        yield
    finally:
        with _under_way:
            _calls -= 1
            _under_way.notify_all()
        if _leaving and threading.current_thread().daemon:
            threading.Event().wait()


@atexit.register  # this module is there only where OpenVINO is used
def _leave() -> None:
    global _leaving
    with _under_way:
        _leaving = True
        _under_way.wait_for(lambda: not _calls, _AT_EXIT_S)


@dataclass(slots=True)
class _Request:
    """A thread's request, whose inputs lie in the arrays that it was given last, its answers in its own."""

    made: Any
    given: Tensors = field(default_factory=dict)
    answers: list[Tensor] = field(default_factory=list)

    def infer(self, inputs: Tensors) -> list[Tensor]:
        """Without the bindings' ways through types and names for what has stayed, as a reference's tokens,
        and without their copies of the answers."""
        for name, one in inputs.items():
            if self.given.get(name) is not one:
                kept = np.require(one, np.float32, ["C", "W"])
                self.made.set_tensor(name, openvino.Tensor(kept, shared_memory=True))
                self.given[name] = kept
        self.made.infer(share_outputs=True)
        if not self.answers:
            self.answers = [one.data for one in self.made.output_tensors]
        return self.answers


@dataclass(slots=True)
class _Compiled:
    """A graph for certain shapes, and the request of each thread that uses it."""

    model: Any = None
    requests: dict[int, _Request] = field(default_factory=dict)


def open_network(path: Path, options: NetworkOptions) -> OpenVinoNetwork:
    """Read the network; it is compiled when the first frame tells its size."""
    return OpenVinoNetwork(path, options)


def open_graph(path: Path, options: NetworkOptions) -> OpenVinoGraph | OpenVinoCells:
    """Read the graph; it is compiled when the first inputs tell their shapes."""
    graph = OpenVinoGraph(path, options, _precision(options))
    port = early_port(graph.model)
    layers = layers_before(port) if port is not None else []
    cut = cut_to_cells(graph.model, opset13, early=False)
    if cut is None:
        return OpenVinoGraph(path, options)
    graph.model = openvino.Model(*cut, "cells")
    return OpenVinoCells(path, options, graph, layers)


def load_plugin() -> None:
    """Have the CPU's part of OpenVINO there, 60 MB, which the first network loads otherwise."""
    _capabilities()


def _capabilities() -> list[str]:
    return list(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class OpenVinoGraph:
    """A `Graph` on the CPU, in float32 where nothing else is said: others' numbers may be beyond bf16.

    A network is one too, and several threads may call it at a time.
    """

    def __init__(self, path: Path, options: NetworkOptions, precision: str = "f32", lanes: int = 1) -> None:
        self._path, self._precision = path, precision
        self._core: Any = openvino.Core()
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        if lanes > 1:
            self._settings["NUM_STREAMS"] = lanes
        if options.threads:
            self._settings["INFERENCE_NUM_THREADS"] = options.threads
        if options.cache is not None:
            self._settings["CACHE_DIR"] = str(options.cache)
        try:
            self.model: Any = self._core.read_model(path)
        except RuntimeError as error:
            raise EngineUnavailable(f"openvino cannot read {path}: {_first_line(error)}") from error
        self._compiled: OrderedDict[_Key, _Compiled] = OrderedDict()
        self._lock = threading.Lock()
        self._compiling = threading.Lock()  # takes a second: who needs another shape must not wait for it

    @property
    def name(self) -> str:
        return f"openvino {self._precision}"

    def run(self, inputs: Tensors) -> Tensors:
        answer = self.outputs(inputs)
        return {port.any_name: one for port, one in zip(self.model.outputs, answer, strict=True)}

    def outputs(self, inputs: Tensors) -> list[Tensor]:
        """The same in the order of the file."""
        request = self._request({name: one.shape for name, one in inputs.items()})
        return self._answer(request, inputs)

    def prepare(self, shapes: Shapes) -> None:
        self._request(shapes)

    def close(self) -> None:
        with self._lock:
            self._compiled.clear()
            self.model = self._core = None

    def compile(self, shapes: Shapes) -> Any:
        """The graph for inputs of these shapes, as OpenVINO has compiled it now.

        Raises:
            EngineUnavailable: it is closed, or cannot be compiled.
        """
        if self._core is None:
            raise EngineUnavailable(f"the network {self._path.stem} is closed")
        try:
            # OpenVINO writes its cache in place: what another process has written half of is no network. It
            # is waited for outside of OpenVINO: a program that ends waits for who is in there.
            cache, what = self._settings.get("CACHE_DIR"), f"{self._path.name} {shapes}"
            with alone_in(cache, what, ends=lambda: _leaving) as alone, _call():
                model = self.model.clone()
                model.reshape({name: list(shape) for name, shape in shapes.items()})
                settings = self._settings if alone else {**self._settings, "CACHE_DIR": ""}
                return self._core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            if "CACHE_DIR" not in self._settings or _leaving:
                raise EngineUnavailable(
                    f"openvino cannot compile {self._path.name} for {shapes}: {_first_line(error)}"
                ) from error
        # A full disk or a damaged cache entry must not stop the video.
        folder = self._settings.pop("CACHE_DIR")
        log.warning("compiling %s without the cache in %s", self._path.name, folder)
        return self.compile(shapes)

    def _answer(self, request: _Request, inputs: Tensors) -> list[Tensor]:
        with _call():
            return request.infer(inputs)

    def _request(self, shapes: Shapes) -> _Request:
        """This thread's request for inputs of these shapes."""
        key = tuple(sorted(shapes.items()))
        with self._lock:
            compiled = self._compiled.setdefault(key, _Compiled())
            self._compiled.move_to_end(key)
            if len(self._compiled) > KEPT_SHAPES:
                self._compiled.popitem(last=False)
        if compiled.model is None:
            with self._compiling:
                compiled.model = compiled.model or self.compile(shapes)
        thread = threading.get_ident()
        request = compiled.requests.get(thread)
        if request is None:
            with _call():
                request = compiled.requests[thread] = _Request(compiled.model.create_infer_request())
        return request


class OpenVinoCells(TakesEarly):
    """The reference's network, a `Graph` on the CPU: OpenVINO does what it does in cells, in bf16 where the
    processor has it, OpenCV the rest."""

    def __init__(
        self, path: Path, options: NetworkOptions, whole: OpenVinoGraph, layers: list[Tensor]
    ) -> None:
        self._path, self._options, self._layers = path, options, layers
        self._whole = whole
        self._late: OpenVinoGraph | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._whole.name

    def first_layers(self) -> list[Tensor]:
        return self._layers

    def run(self, inputs: Tensors) -> Tensors:
        (cells,) = self._graph(EARLY in inputs).outputs(in_cells(inputs))
        return on_pixels(cells, inputs)

    def prepare(self, shapes: Shapes) -> None:
        self._graph(EARLY in shapes).prepare(shapes_in_cells(shapes))

    def close(self) -> None:
        for one in (self._whole, self._late):
            if one is not None:
                one.close()

    def _graph(self, early: bool) -> OpenVinoGraph:
        """The graph to run: without the first layers where their output is given; read when needed."""
        if not early:
            return self._whole
        with self._lock:
            if self._late is None:
                graph = OpenVinoGraph(self._path, self._options, _precision(self._options))
                cut = cut_to_cells(graph.model, opset13, early=True)
                if cut is None:
                    raise EngineUnavailable(f"{self._path.stem} computes all of its layers itself")
                graph.model, self._late = openvino.Model(*cut, "late cells"), graph
            return self._late


class OpenVinoNetwork(KnowsEarly):
    """A `Network` on the CPU in bf16 where the processor has it, float32 elsewhere.

    On two cores, batches of 2 and 4 took 1.04 to 1.18 times the CPU time of their frames one by one.
    """

    best_batch = 1

    def __init__(self, path: Path, options: NetworkOptions) -> None:
        self.lanes = options.lanes or 1
        self._open = partial(OpenVinoGraph, path, options, _precision(options), self.lanes)
        self._graph = self._open()
        _require_contract(self._graph.model, path)
        spare_softmax(self._graph.model, opset13)
        small, port = before_enlarging(self._graph.model), early_port(self._graph.model)
        self._shrunk = small is not None
        self._layers = layers_before(port) if small is not None and port is not None else []
        self._telling: OpenVinoGraph | None = None
        self._lock = threading.Lock()
        if small is not None:
            self._graph.model = openvino.Model(small, self._graph.model.get_parameters(), "colors")

    @property
    def name(self) -> str:
        return self._graph.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        if self._shrunk:
            small, share = self._graph.outputs({"luma": luma})
            return enlarged(small, share, luma)
        said = self._graph.run({"luma": luma})
        return said["ycc"], said["confidence"]

    def first_layers(self) -> list[Tensor]:
        return self._layers

    def infer_early(self, luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        small, share, early = self._with_early().outputs({"luma": luma})
        return *enlarged(small, share, luma), early

    def prepare_early(self, shape: tuple[int, ...]) -> None:
        self._with_early().prepare({"luma": shape})

    def _with_early(self) -> OpenVinoGraph:
        """A graph of its own, made when it is first needed: in bf16 one more output is other rounding."""
        with self._lock:
            if self._telling is None:
                graph = self._open()
                spare_softmax(graph.model, opset13)
                small, port = before_enlarging(graph.model), early_port(graph.model)
                if small is None or port is None:
                    raise EngineUnavailable(f"{self.name} cannot tell what its first layers know")
                graph.model = openvino.Model([*small, port], graph.model.get_parameters(), "colors and early")
                self._telling = graph
            return self._telling

    def compile_for(self, shape: tuple[int, ...]) -> None:
        """Compile for input of (N, 1, H, W), or fetch that from the cache, without a call; any thread."""
        self._graph.prepare({"luma": shape})

    def convolution_precisions(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Element type that the convolutions really run in -> how many, `{"u8": 45, "bf16": 2}`.

        Args:
            shape: (N, 1, H, W) of the input.
        """
        return self._convolutions(shape, "runtimePrecision")

    def kernels(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Kernel of the convolutions -> how many, `{"brgconv_avx2_1x1_f32": 29, ...}`."""
        return self._convolutions(shape, "primitiveType")

    def _convolutions(self, shape: tuple[int, ...], told: str) -> dict[str, int]:
        graph = self._graph.compile({"luma": shape}).get_runtime_model()
        abouts = [node.get_rt_info() for node in graph.get_ops()]
        found = Counter(
            str(_plain(one[told])) for one in abouts if "Convolution" in str(_plain(one["layerType"]))
        )
        return dict(found.most_common())

    def close(self) -> None:
        for one in (self._graph, self._telling):
            if one is not None:
                one.close()


def _precision(options: NetworkOptions) -> str:
    """bf16 where it may be and the processor has it. The plugin states its capabilities without looking at
    the instructions that oneDNN is held to (2026.4), and then finds no kernel."""
    held_to = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    allowed = not held_to or any(name in held_to for name in ("BF16", "AMX", "FP16", "ALL", "DEFAULT"))
    return "bf16" if allowed and not options.exact and "BF16" in _capabilities() else "f32"


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)  # openvino's OVAny, or already a text


def _require_contract(model: Any, path: Path) -> None:
    """EngineUnavailable unless it takes float32 `luma` and gives `ycc` and `confidence`."""
    inputs = {port.any_name: port.element_type.get_type_name() for port in model.inputs}
    outputs = {port.any_name for port in model.outputs}
    if inputs != {"luma": "f32"} or outputs != {"ycc", "confidence"}:
        found = (
            f"{', '.join(f'{name} {kind}' for name, kind in inputs.items())} to {', '.join(sorted(outputs))}"
        )
        raise EngineUnavailable(
            f"{path}: expected a network from luma f32 to confidence, ycc, found {found}: use a float32 or"
            " calibrated network of irchroma"
        )


def _first_line(error: Exception) -> str:
    return next(filter(None, map(str.strip, reversed(str(error).splitlines()))), type(error).__name__)

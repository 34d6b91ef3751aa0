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
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.enlarging import before_enlarging, enlarged
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors

# OpenVINO goes without: it tells Google Analytics of every start otherwise, and makes ~/intel for that.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402
from openvino import opset13  # noqa: E402

log = logging.getLogger(__name__)

KEPT_SHAPES = 8
"""Compiled networks that are kept, one per input shape: fixed shapes run faster than dynamic ones."""

Shapes = dict[str, tuple[int, ...]]
_Key = tuple[tuple[str, tuple[int, ...]], ...]

# The bindings find numpy's functions at a process's first call, in a static initializer that needs the
# interpreter's lock: two threads that come there together wait for each other for ever (2026.4, seen once).
_first_call = threading.Lock()
_ready = threading.Event()

_AT_EXIT_S = 30.0
_under_way = threading.Condition()
_calls = 0
_leaving = False


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
class _Compiled:
    """A graph for certain shapes, and the request of each thread that uses it."""

    model: Any = None
    requests: dict[int, Any] = field(default_factory=dict)


def open_network(path: Path, options: NetworkOptions) -> OpenVinoNetwork:
    """Read the network; it is compiled when the first frame tells its size."""
    return OpenVinoNetwork(path, options)


def open_graph(path: Path, options: NetworkOptions) -> OpenVinoGraph:
    """Read the graph; it is compiled when the first inputs tell their shapes."""
    return OpenVinoGraph(path, options)


def load_plugin() -> None:
    """Have the CPU's part of OpenVINO there, 60 MB, which the first network loads otherwise."""
    _capabilities()


def _capabilities() -> list[str]:
    found: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


class OpenVinoGraph:
    """A `Graph` on the CPU in float32: small differences of large numbers are beyond bf16.

    A network is one too, in a precision of its own; several threads may call it at a time.
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
        """Runtime and precision."""
        return f"openvino {self._precision}"

    def run(self, inputs: Tensors) -> Tensors:
        """See `Graph.run`."""
        answer = self.outputs(inputs)
        return {port.any_name: one for port, one in zip(self.model.outputs, answer, strict=True)}

    def outputs(self, inputs: Tensors) -> list[Tensor]:
        """The same in the order of the file."""
        request = self._request({name: one.shape for name, one in inputs.items()})
        if not _ready.is_set():
            with _first_call:
                answer = self._answer(request, inputs)
                _ready.set()
                return answer
        return self._answer(request, inputs)

    def prepare(self, shapes: Shapes) -> None:
        """See `Graph.prepare`."""
        self._request(shapes)

    def close(self) -> None:
        """Let go of the compiled graphs."""
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
            with _call():
                model = self.model.clone()
                model.reshape({name: list(shape) for name, shape in shapes.items()})
                return self._core.compile_model(model, "CPU", self._settings)
        except RuntimeError as error:
            if "CACHE_DIR" not in self._settings or _leaving:
                raise EngineUnavailable(
                    f"openvino cannot compile {self._path.name} for {shapes}: {_first_line(error)}"
                ) from error
        # A full disk or a damaged cache entry must not stop the video.
        folder = self._settings.pop("CACHE_DIR")
        log.warning("compiling %s without the cache in %s", self._path.name, folder)
        return self.compile(shapes)

    def _answer(self, request: Any, inputs: Tensors) -> list[Tensor]:
        with _call():
            request.infer(
                {name: np.ascontiguousarray(one) for name, one in inputs.items()}, share_inputs=True
            )
        return [request.get_output_tensor(place).data for place in range(len(self.model.outputs))]

    def _request(self, shapes: Shapes) -> Any:
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
                request = compiled.requests[thread] = compiled.model.create_infer_request()
        return request


class OpenVinoNetwork:
    """A `Network` on the CPU in bf16 where the processor has it, float32 elsewhere.

    On two cores, batches of 2 and 4 took 1.04 to 1.18 times the CPU time of their frames one by one.
    """

    best_batch = 1

    def __init__(self, path: Path, options: NetworkOptions) -> None:
        has_bf16 = "BF16" in _capabilities() and not options.exact and _bf16_allowed()
        self.lanes = options.lanes or 1
        self._graph = OpenVinoGraph(path, options, "bf16" if has_bf16 else "f32", self.lanes)
        _require_contract(self._graph.model, path)
        _spare_softmax(self._graph.model)
        small = before_enlarging(self._graph.model)
        self._shrunk = small is not None
        if small is not None:
            self._graph.model = openvino.Model(small, self._graph.model.get_parameters(), "colors")

    @property
    def name(self) -> str:
        """Runtime and precision."""
        return self._graph.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network.infer`."""
        if self._shrunk:
            small, share = self._graph.outputs({"luma": luma})
            return enlarged(small, share, luma)
        said = self._graph.run({"luma": luma})
        return said["ycc"], said["confidence"]

    def compile_for(self, shape: tuple[int, ...]) -> None:
        """Compile for input of (N, 1, H, W), or fetch that from the cache, without a call; any thread."""
        self._graph.prepare({"luma": shape})

    def convolution_precisions(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Element type that the convolutions really run in -> how many, `{"u8": 45, "bf16": 2}`.

        Args:
            shape: (N, 1, H, W) of the input.
        """
        compiled = self._graph.compile({"luma": shape}).get_runtime_model()
        kinds: Counter[str] = Counter()
        for node in compiled.get_ops():
            about = node.get_rt_info()
            if "Convolution" in str(_plain(about["layerType"])):
                kinds[str(_plain(about["runtimePrecision"]))] += 1
        return dict(kinds.most_common())

    def kernels(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Kernel of the convolutions -> how many, `{"brgconv_avx2_1x1_f32": 29, ...}`."""
        found: Counter[str] = Counter()
        for node in self._graph.compile({"luma": shape}).get_runtime_model().get_ops():
            about = node.get_rt_info()
            if "Convolution" in str(_plain(about["layerType"])):
                found[str(_plain(about["primitiveType"]))] += 1
        return dict(found.most_common())

    def close(self) -> None:
        """Let go of the compiled networks."""
        self._graph.close()


_LARGEST_EXPONENT = 60.0
"""Logits are beyond neither 40 below 0 nor 10 above it; all that float32 and bf16 hold the exponential of."""


def _spare_softmax(model: Any) -> None:
    """Change the mean color of the classes' shares into one that needs no softmax, in place.

    The mean of the colors, weighted by exponentials, by the sum of the exponentials: one convolution gives
    both, and nothing is brought into another memory layout. A softmax over channels took 2 of 21 ms of
    `nir:fast` at 256x320 in float32 on AVX2 and 0.8 of 11.6 in bf16. Only logits that are a part of one
    convolution's outputs, the last ones, and whose shares go into one of size 1x1, are dealt with.
    """
    found = [node for node in model.get_ops() if node.get_type_name() == "Softmax"]
    chain = [("Multiply", 2), ("Slice", 5), ("Add", 2), ("Convolution", 2)]
    nodes: list[Any] = found[:1]
    for kind, inputs in chain if len(found) == 1 else ():
        node = nodes[-1].input_value(0).get_node()
        if node.get_type_name() != kind or node.get_input_size() != inputs:
            return
        nodes.append(node)
    readers = [one.get_node() for node in found for one in node.output(0).get_target_inputs()]
    if len(nodes) != 5 or [reader.get_type_name() for reader in readers] != ["Convolution"]:
        return
    softmax, multiply, cut, add, head = nodes
    others = [
        one
        for one in add.output(0).get_target_inputs()
        if one.get_node().get_friendly_name() != cut.get_friendly_name()
    ]
    numbers = [_constant(one) for one in (multiply.input_value(1), add.input_value(1), head.input_value(1))]
    centers = _constant(readers[0].input_value(1))
    bounds = [_constant(cut.input_value(index)) for index in range(1, 5)]
    if any(one is None for one in (*numbers, *bounds, centers)):
        return
    factor, bias, weight = numbers
    start, stop, step, axis = (int(one.item()) for one in bounds)
    outputs = len(weight)
    reach = [
        _constant(one.get_node().input_value(2))
        for one in others
        if one.get_node().get_type_name() == "Slice"
    ]
    known = (
        factor.size == 1
        and weight.shape[2:] == centers.shape[2:] == (1, 1)
        and bias.size == outputs
        and (min(stop, outputs), step, axis, softmax.get_attributes()["axis"]) == (outputs, 1, 1, 1)
        and len(reach) == len(others)
        and all(one is not None and int(one.item()) <= start for one in reach)
    )
    if not known:
        return
    features = head.input_value(0)

    def convolved(port: Any, kernel: Any, offset: Any = None) -> Any:
        kept = opset13.constant(np.ascontiguousarray(kernel, np.float32))
        made = opset13.convolution(port, kept, [1, 1], [0, 0], [0, 0], [1, 1])
        if offset is None:
            return made
        return opset13.add(made, opset13.constant(offset.reshape(1, -1, 1, 1).astype(np.float32)))

    logits = convolved(features, weight[start:] * factor.item(), bias.reshape(-1)[start:] * factor.item())
    powers = opset13.exp(opset13.clamp(logits, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    sums = convolved(powers, np.concatenate([centers, np.ones_like(centers[:1])]))
    parts = opset13.variadic_split(sums, 1, [len(centers), 1])
    mean = opset13.divide(parts.output(0), parts.output(1))
    for reader in readers[0].output(0).get_target_inputs():
        reader.replace_source_output(mean.output(0))
    rest = convolved(features, weight[:start], bias.reshape(-1)[:start])
    for other in others:
        other.replace_source_output(rest.output(0))
    model.validate_nodes_and_infer_types()


def _constant(port: Any) -> Any:
    """The numbers at a port, None where they are calculated; weights may be stored as float16."""
    node = port.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None


def _bf16_allowed() -> bool:
    """False where oneDNN is held to instructions without bf16; the plugin states its capabilities without
    looking there (2026.4), and then finds no kernel."""
    held_to = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return not held_to or any(name in held_to for name in ("BF16", "AMX", "FP16", "ALL", "DEFAULT"))


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
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

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
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors

# OpenVINO goes without: it tells Google Analytics of every start otherwise, and makes ~/intel for that.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

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
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        has_bf16 = "BF16" in capabilities and not options.exact and _bf16_allowed()
        self.lanes = options.lanes or 1
        self._graph = OpenVinoGraph(path, options, "bf16" if has_bf16 else "f32", self.lanes)
        _require_contract(self._graph.model, path)
        self._graph.model, self._shrunk = _without_enlarging(self._graph.model)

    @property
    def name(self) -> str:
        """Runtime and precision."""
        return self._graph.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network.infer`."""
        if self._shrunk:
            small, share = self._graph.outputs({"luma": luma})
            return _enlarged(small, share, luma)
        said = self._graph.run({"luma": luma})
        return said["ycc"], said["confidence"]

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


_TAIL = {
    "Add": 3,
    "AvgPool": 2,
    "Concat": 2,
    "Interpolate": 2,
    "Maximum": 3,
    "Minimum": 3,
    "Multiply": 4,
    "Slice": 6,
    "Sqrt": 1,
    "Subtract": 1,
}
_TAIL_SLICES = [(0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (4, 5)]
_TAIL_NUMBERS = [-0.5, 0.0, 0.0, 1e-4, 0.5, 1.0, 1.0, 4.0]
_TEXTURE_PX = 5
"""What a network does at the end: see `coloring_network.ColorAt` and `coloring_network.texture`."""


def _without_enlarging(model: Any) -> tuple[Any, bool]:
    """The model up to what it enlarges at its end, and true; or the model itself, and false.

    OpenVINO's slices, interpolations and means after the last convolution took 8.5 of 35 ms of `nir:fast` at
    256x320 in float32 on AVX2 and 7 of 20 in bf16; OpenCV takes 0.5. Only a tail of exactly the known shape
    and numbers is taken off.
    """
    nodes: dict[str, Any] = {}
    waiting = [result.input_value(0).get_node() for result in model.get_results()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in nodes:
            continue
        nodes[node.get_friendly_name()] = node
        if node.get_type_name() not in ("Interpolate", "Parameter"):
            waiting += [node.input_value(index).get_node() for index in range(node.get_input_size())]
    of_kind: dict[str, list[Any]] = {}
    for node in nodes.values():
        of_kind.setdefault(node.get_type_name(), []).append(node)
    single = [node.data for node in of_kind.pop("Constant", []) if node.data.size == 1]
    of_kind.pop("Parameter", None)
    if {kind: len(found) for kind, found in of_kind.items()} != _TAIL:
        return model, False
    slices = sorted(
        tuple(int(node.input_value(index).get_node().data.item()) for index in (1, 2))
        for node in of_kind["Slice"]
    )
    numbers = sorted(float(data.item()) for data in single if data.dtype.kind == "f")
    large = of_kind["Interpolate"]
    ends = {one.input_value(0).get_partial_shape()[1].get_length(): one for one in large}
    known = (
        slices == _TAIL_SLICES
        and np.allclose(numbers, _TAIL_NUMBERS)
        and ends.keys() == {5, 1}
        and all(_is_bilinear(one.get_attributes()) for one in large)
        and all(_is_texture_mean(mean.get_attributes()) for mean in of_kind["AvgPool"])
    )
    if not known:
        return model, False
    small = [ends[channels].input_value(0) for channels in (5, 1)]
    return openvino.Model(small, model.get_parameters(), "colors"), True


def _is_bilinear(about: dict[str, Any]) -> bool:
    return about["coordinate_transformation_mode"] == "half_pixel" and "linear" in about["mode"]


def _is_texture_mean(about: dict[str, Any]) -> bool:
    side, pad = [_TEXTURE_PX] * 2, [_TEXTURE_PX // 2] * 2
    return bool(
        list(about["kernel"]) == side
        and list(about["strides"]) == [1, 1]
        and list(about["pads_begin"]) == list(about["pads_end"]) == pad
        and about["exclude-pad"]
    )


def _enlarged(small: Tensor, share: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
    """See `Network.infer`, from (N, 5, h, w): factor and offset of the luma, Cb, Cr, confidence; and from
    (N, 1, h, w), the share of the luma's texture."""
    count, _, height, width = luma.shape
    made = np.empty((count, 4, height, width), np.float32)
    for picture, parts, frame in zip(made, np.concatenate([small, share], axis=1), luma[:, 0], strict=True):
        factor, offset, textured = (_resized(parts[at], frame.shape) for at in (0, 1, 5))
        tone = cv2.add(cv2.multiply(factor, frame, dst=factor), offset, dst=picture[0])
        cv2.add(tone, cv2.multiply(textured, _texture(frame), dst=textured), dst=picture[0])
        np.clip(picture[0], 0.0, 1.0, out=picture[0])
        for part, plane, low in zip(parts[2:5], picture[1:], (-0.5, -0.5, 0.0), strict=True):
            _resized(part, frame.shape, plane)
            if part.min() < low or part.max() > low + 1.0:
                np.clip(plane, low, low + 1.0, out=plane)
    return made[:, :3], made[:, 3:]


def _resized(part: Tensor, size: tuple[int, ...], out: Tensor | None = None) -> Any:
    return cv2.resize(part, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def _texture(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W): `coloring_network.texture` of one picture."""

    part = _part_of_each((luma.shape[0], luma.shape[1]))
    fine = cv2.multiply(_total(luma), part)
    cv2.subtract(luma, fine, dst=fine)
    squares = cv2.multiply(_total(cv2.multiply(fine, fine)), part, scale=16.0)  # of 4 times the difference
    return np.asarray(cv2.sqrt(cv2.add(squares, 1e-4, dst=squares)), np.float32)


def _total(values: Any) -> Any:
    side = (_TEXTURE_PX, _TEXTURE_PX)
    return cv2.boxFilter(values, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)


@lru_cache(maxsize=8)
def _part_of_each(size: tuple[int, int]) -> Any:
    """(H, W) float32: 1 by the number of pixels in a window of the texture."""
    return cv2.divide(1.0, _total(np.ones(size, np.float32)))


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

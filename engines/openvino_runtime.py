"""OpenVINO on the CPU: the default runtime where there is no GPU; the only file that imports `openvino`."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network import NetworkOptions, Tensor

log = logging.getLogger(__name__)

KEPT_SHAPES = 4
"""Compiled networks that are kept, one per input shape: fixed shapes run faster than dynamic ones."""


def open_network(path: Path, options: NetworkOptions) -> OpenVinoNetwork:
    """Read the network; it is compiled when the first frame tells its size."""
    return OpenVinoNetwork(path, options)


class OpenVinoNetwork:
    """A `Network` on the CPU in bf16 where the processor has it, float32 elsewhere."""

    def __init__(self, path: Path, options: NetworkOptions) -> None:
        self._path = path
        self._core: Any = openvino.Core()
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._precision = "bf16" if "BF16" in capabilities and not options.exact else "f32"
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
        }
        if options.threads:
            self._settings["INFERENCE_NUM_THREADS"] = options.threads
        if options.cache is not None:
            self._settings["CACHE_DIR"] = str(options.cache)
        try:
            self._model: Any = self._core.read_model(path)
        except RuntimeError as error:
            raise EngineUnavailable(f"openvino cannot read {path}: {_first_line(error)}") from error
        _require_contract(self._model, path)
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @property
    def name(self) -> str:
        """Runtime and precision."""
        return f"openvino {self._precision}"

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network.infer`."""
        request = self._request(luma.shape)
        request.infer({0: np.ascontiguousarray(luma)}, share_inputs=True)
        return request.get_tensor("ycc").data, request.get_tensor("confidence").data

    def convolution_precisions(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Element type that the convolutions really run in -> how many, `{"u8": 45, "bf16": 2}`.

        Args:
            shape: (N, 1, H, W) of the input.
        """
        compiled = self._compile(shape).get_runtime_model()
        kinds: Counter[str] = Counter()
        for node in compiled.get_ops():
            about = node.get_rt_info()
            if "Convolution" in str(_plain(about["layerType"])):
                kinds[str(_plain(about["runtimePrecision"]))] += 1
        return dict(kinds.most_common())

    def close(self) -> None:
        """Let go of the compiled networks."""
        self._compiled.clear()
        self._model = None
        self._core = None

    def _request(self, shape: tuple[int, ...]) -> Any:
        request = self._compiled.get(shape)
        if request is None:
            if self._core is None:
                raise EngineUnavailable(f"the network {self._path.stem} is closed")
            request = self._compile(shape).create_infer_request()
            self._compiled[shape] = request
            if len(self._compiled) > KEPT_SHAPES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return request

    def _compile(self, shape: tuple[int, ...]) -> Any:
        model = self._model.clone()
        try:
            model.reshape(list(shape))
            return self._core.compile_model(model, "CPU", self._settings)
        except RuntimeError as error:
            if "CACHE_DIR" not in self._settings:
                raise EngineUnavailable(
                    f"openvino cannot compile {self._path.name} for {shape}: {_first_line(error)}"
                ) from error
        # A full disk or a damaged cache entry must not stop the video.
        folder = self._settings.pop("CACHE_DIR")
        log.warning("compiling %s without the cache in %s", self._path.name, folder)
        return self._compile(shape)


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

"""ONNX Runtime: the portable second choice; the only file that imports `onnxruntime`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.network import NetworkOptions, Tensor, Tensors
from irchroma.engines.network.record import read_record


def open_network(path: Path, options: NetworkOptions) -> OnnxRuntimeNetwork:
    """Read and prepare the network."""
    return OnnxRuntimeNetwork(path, options)


class OnnxRuntimeNetwork:
    """A `Network` on the CPU in float32.

    On two cores, batches of 2 and 4 took 0.86 to 1.08 times the CPU time of their frames one by one.
    """

    best_batch = 1

    def __init__(self, path: Path, options: NetworkOptions) -> None:
        self.lanes = options.lanes or 1
        self._graph = OnnxRuntimeGraph(path, options, self.lanes)
        if self._graph.inputs != {"luma": "tensor(float)"}:
            raise EngineUnavailable(
                f"{path}: expected a network from float32 luma, found {self._graph.inputs}: use a float32 or"
                " calibrated network of irchroma"
            )
        self.name = self._graph.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        said = self._graph.run({"luma": luma})
        return said["ycc"], said["confidence"]

    def close(self) -> None:
        self._graph.close()


def open_graph(path: Path, options: NetworkOptions) -> OnnxRuntimeGraph:
    """Read and prepare the graph."""
    return OnnxRuntimeGraph(path, options)


class OnnxRuntimeGraph:
    """A `Graph` on the CPU in float32. A network is one too, which several threads may call at a time."""

    name = "onnxruntime f32"

    def __init__(self, path: Path, options: NetworkOptions, lanes: int = 1) -> None:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        record = read_record(path)
        if record is not None and record.precision == "fp8":
            # 1.31's fusions take float8 for int8: 18 dB instead of 31 against the float network.
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if options.threads:
            settings.intra_op_num_threads = max(1, options.threads // lanes)
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise EngineUnavailable(
                f"onnxruntime cannot load {path}: {str(error).splitlines()[0]}"
            ) from error
        self.inputs = {port.name: port.type for port in self._session.get_inputs()}

    def run(self, inputs: Tensors) -> Tensors:
        if self._session is None:
            raise EngineUnavailable("the network is closed")
        names = [port.name for port in self._session.get_outputs()]
        found = self._session.run(names, {name: np.ascontiguousarray(one) for name, one in inputs.items()})
        return dict(zip(names, found, strict=True))

    def prepare(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """See `Graph.prepare`: here one form takes all shapes."""

    def close(self) -> None:
        self._session = None

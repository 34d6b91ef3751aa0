"""How weights lie in an ONNX file: float16 behind casts, which halves it, or plain float32."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from irchroma.engines.errors import EngineError

FLOAT = 1  # onnx.TensorProto.FLOAT


def narrow_weights(graph: Any) -> Any:
    """A copy whose large float32 weights are stored as float16 behind a Cast."""
    from onnx import helper, numpy_helper

    made = copy.deepcopy(graph)
    casts = []
    for tensor in made.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halved(values, name), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=FLOAT))
    for cast in reversed(casts):
        made.graph.node.insert(0, cast)
    return made


def widen_weights(graph: Any) -> Any:
    """The reverse of `narrow_weights`, for tools that want plain float32 initializers (quantizers)."""
    from onnx import numpy_helper

    made = copy.deepcopy(graph)
    stored = {tensor.name: tensor for tensor in made.graph.initializer}
    for node in list(made.graph.node):
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            made.graph.node.remove(node)
    return made


def halved(values: np.ndarray, name: str) -> np.ndarray:
    """A tensor as float16.

    Raises:
        EngineError: a value does not fit.
    """
    if np.abs(values).max(initial=0.0) > 6.0e4:
        raise EngineError(f"{name} does not fit float16: its largest value is {np.abs(values).max():.3g}")
    return values.astype(np.float16)

"""What is inside an ONNX network: inputs, outputs, precision, parameters and multiply-accumulates."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.engines.errors import EngineUnavailable

COUNTED_SIZE = (256, 320)
"""(H, W) for which multiply-accumulates are counted."""
COUNTED_CELLS = 560
"""Of a reference picture, where a network looks at one: M of `exemplar`."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """An ONNX file's content.

    Attributes:
        path: the file.
        bytes: its size.
        inputs: lines such as `luma float32 (n, 1, h, w)`.
        outputs: the same.
        precision: element type of the convolutions' arithmetic: `float32`, `float16` or both.
        storage: element type in which most weights are kept.
        parameters: weights and biases of the convolutions.
        macs: multiply-accumulates of convolutions and matrix products for one picture of COUNTED_SIZE.
        operators: ONNX operator -> how many.
    """

    path: Path
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: str
    storage: str
    parameters: int
    macs: int
    operators: dict[str, int]


def inspect(path: Path) -> Inspection:
    """Read an ONNX file.

    Raises:
        EngineUnavailable: it is missing or none, or the `onnx` package is not installed.
    """
    onnx = _onnx()
    if not path.is_file():
        raise EngineUnavailable(f"{path}: no such file")
    try:
        model = onnx.load(path)
    except Exception as error:
        raise EngineUnavailable(f"{path}: not an ONNX file ({str(error).splitlines()[0]})") from error
    graph = model.graph
    inputs = tuple(_described(onnx, value) for value in graph.input)
    outputs = tuple(_described(onnx, value) for value in graph.output)
    sizes = {one.name: math.prod(one.dims) for one in graph.initializer}
    kinds = {one.name: _type_name(onnx, one.data_type) for one in graph.initializer}
    storage: Counter[str] = Counter()
    for name, count in sizes.items():
        storage[kinds[name]] += count
    shapes, types = _inferred(onnx, model)
    origin = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Identity")}
    parameters, macs, arithmetic = 0, 0, set()
    for node in graph.node:
        if node.op_type == "MatMul":
            macs += math.prod(shapes.get(node.output[0], (0,))) * shapes.get(node.input[0], (0,))[-1]
        if node.op_type != "Conv":
            continue
        parameters += sum(sizes.get(_source(name, origin), 0) for name in node.input[1:])
        weight, output = shapes.get(node.input[1], ()), shapes.get(node.output[0], ())
        macs += math.prod(output) * math.prod(weight[1:])
        arithmetic.add(types.get(node.output[0], "unknown"))
    return Inspection(
        path=path,
        bytes=path.stat().st_size,
        inputs=inputs,
        outputs=outputs,
        precision=" and ".join(sorted(arithmetic)) or "none",
        storage=storage.most_common(1)[0][0] if storage else "none",
        parameters=parameters,
        macs=macs,
        operators=dict(Counter(node.op_type for node in graph.node).most_common()),
    )


def _inferred(onnx: Any, model: Any) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes and types of every value for one picture of COUNTED_SIZE."""
    height, width = COUNTED_SIZE
    named = {"H": height, "W": width, "h": height // 8, "w": width // 8, "M": COUNTED_CELLS}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        counted = (1, 1, *COUNTED_SIZE) if value.name == "luma" else (0,) * len(dims)
        for dim, size in zip(dims, counted, strict=False):
            size = size or dim.dim_value or named.get(dim.dim_param, 1)
            dim.Clear()
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    types = {one.name: _type_name(onnx, one.data_type) for one in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        shapes[value.name] = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
        types[value.name] = _type_name(onnx, tensor.elem_type)
    return shapes, types


def _source(name: str, origin: dict[str, str]) -> str:
    while name in origin:
        name = origin[name]
    return name


def _described(onnx: Any, value: Any) -> str:
    tensor = value.type.tensor_type
    dims = ", ".join(str(dim.dim_param or dim.dim_value) for dim in tensor.shape.dim)
    return f"{value.name} {_type_name(onnx, tensor.elem_type)} ({dims})"


def _type_name(onnx: Any, kind: int) -> str:
    name: str = onnx.TensorProto.DataType.Name(kind).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _onnx() -> Any:
    try:
        module = importlib.import_module("onnx")
        importlib.import_module("onnx.shape_inference")
    except ImportError as error:
        raise EngineUnavailable("onnx is missing: run pip install 'irchroma[calibrate]'") from error
    return module

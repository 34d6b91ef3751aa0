"""ONNX files, and how weights lie in one: float16 behind casts, plain float32, or a graph in float16.

A file that ships holds float16 weights behind casts, which halves it. What GPUs run, float16 from input to
output, is derived from it and kept in the user's cache.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.cache import digest_of, readable, replaced, where_kept
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable

FLOAT, FLOAT16 = 1, 10  # onnx.TensorProto's numbers


def float16_twin(path: Path) -> Path:
    """The file of the same network in float16 throughout, strongly typed; made where it is not in the cache.

    Args:
        path: an ONNX file of ours; one that is float16 already is its own twin.

    Raises:
        EngineUnavailable: onnx is not installed, the file cannot be read, or the twin cannot be written.
        EngineError: a weight does not fit float16.
    """
    try:
        digest = digest_of(path)
    except OSError as error:
        raise EngineUnavailable(f"{path}: cannot be read ({error.strerror})") from error
    twin = where_kept(f"float16/{digest[:16]}/{path.stem}_fp16.onnx")
    if not readable(twin):
        model = load(path)
        if model.graph.input[0].type.tensor_type.elem_type == FLOAT16:
            return path
        save(to_half(widen_weights(model)), twin)
    return twin


def to_half(graph: Any) -> Any:
    """A copy in float16 throughout: inputs, weights, constants, outputs; Resize's scales stay float32."""
    from onnx import numpy_helper

    made = copy.deepcopy(graph)
    kept = {
        node.input[index]
        for node in made.graph.node
        if node.op_type == "Resize"
        for index in (1, 2)
        if len(node.input) > index
    }
    for tensor in made.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and tensor.name not in kept:
            tensor.CopyFrom(numpy_helper.from_array(halved(values, tensor.name), tensor.name))
    for node in made.graph.node:
        if node.op_type in ("Constant", "ConstantOfShape") and node.output[0] not in kept:
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.t.data_type == FLOAT:
                    values = numpy_helper.to_array(attribute.t)
                    attribute.t.CopyFrom(numpy_helper.from_array(halved(values, node.output[0])))
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == FLOAT:
                    attribute.i = FLOAT16
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = FLOAT16
    del made.graph.value_info[:]
    return made


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


def averaged(paths: Sequence[Path], shares: Sequence[float] = ()) -> Any:
    """The first file's model with the mean of all files' weights: trainings that began as one network.

    Their calibrated confidence (`trust`) is averaged with the rest, and is to be calibrated again.

    Args:
        paths: at least two files of one network, their weights in floats.
        shares: how much each counts; none for all alike.

    Raises:
        EngineUnavailable: onnx is not installed, or a file cannot be read.
        EngineOptionError: they are not one network's, or the shares are not theirs.

    Reference: M. Wortsman et al., Model soups, ICML 2022, section 2, uniform soup.
    """
    from onnx import numpy_helper

    shares = list(shares) or [1.0] * len(paths)
    if len(paths) < 2 or len(shares) != len(paths) or min(shares) < 0 or sum(shares) <= 0:
        raise EngineOptionError(
            f"an average needs two networks and a share of 0 or more for each,"
            f" got {len(paths)} and {', '.join(f'{share:g}' for share in shares)}"
        )
    made = load(paths[0])
    graphs = [made.graph, *(load(path).graph for path in paths[1:])]
    known = [{one.name: one for one in graph.initializer} for graph in graphs]
    operations = [[node.op_type for node in graph.node] for graph in graphs]
    for path, tensors, steps in zip(paths, known, operations, strict=True):
        if odd := sorted(tensors.keys() ^ known[0].keys()):
            raise EngineOptionError(f"{path} is another network than {paths[0]}: only one has {odd[0]}")
        if steps != operations[0]:
            raise EngineOptionError(f"{path} is another network than {paths[0]}: its operations differ")
    for tensor in made.graph.initializer:
        values: list[Any] = []
        for path, tensors in zip(paths, known, strict=True):
            other = tensors[tensor.name]
            if other.dims != tensor.dims or other.data_type != tensor.data_type:
                raise EngineOptionError(f"{path} is another network than {paths[0]}: {tensor.name} differs")
            values.append(numpy_helper.to_array(other))
        if values[0].dtype.kind != "f":
            if any(not np.array_equal(value, values[0]) for value in values):
                raise EngineOptionError(f"{paths[0]}: weights in 8 bits cannot be averaged")
            continue
        mean = np.average([value.astype(np.float64) for value in values], axis=0, weights=shares)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(mean.astype(values[0].dtype)), tensor.name))
    return made


def halved(values: np.ndarray, name: str) -> np.ndarray:
    """A tensor as float16.

    Raises:
        EngineError: a value does not fit.
    """
    if np.abs(values).max(initial=0.0) > 6.0e4:
        raise EngineError(f"{name} does not fit float16: its largest value is {np.abs(values).max():.3g}")
    return values.astype(np.float16)


def load(path: Path) -> Any:
    """The ONNX model of a file.

    Raises:
        EngineUnavailable: onnx is not installed, or the file cannot be read.
    """
    onnx = library("onnx")
    try:
        return onnx.load(str(path))
    except Exception as error:
        raise EngineUnavailable(f"{path}: not an ONNX file ({str(error).splitlines()[0]})") from error


def save(model: Any, path: Path) -> None:
    """Write an ONNX model, whole or not at all.

    Raises:
        EngineUnavailable: onnx is not installed, or the file cannot be written, as on a full disk.
    """
    onnx = library("onnx")
    try:
        with replaced(path) as partial:
            onnx.save(model, str(partial))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EngineUnavailable(f"{path}: it cannot be kept ({why})") from error


def library(name: str) -> Any:
    """onnx or onnxruntime, which running video does not need.

    Raises:
        EngineUnavailable: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EngineUnavailable(f"{name} is missing: run pip install 'irchroma[calibrate]'") from error

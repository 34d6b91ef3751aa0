"""From a trained network to the two ONNX graphs that ship: FP32, and its strongly-typed FP16 twin.

Weights are stored as float16 in both files; the FP32 graph casts them back when it is loaded (every
runtime folds the casts away), which halves the repository's weight for an error below 0.05 %.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.network.weight_storage import halved, narrow_weights
from irchroma.engines.training.coloring_network import ColorAt, ColorNetwork
from irchroma.engines.training.encoder import ScaledConv

OPSET = 17
INPUT = "luma"
OUTPUTS = ("ycc", "confidence")
FLOAT, FLOAT16 = 1, 10  # onnx.TensorProto's numbers
_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True)
class ExportOptions:
    """What is baked into the graph.

    Attributes:
        size: `fast` or `best`.
        temperature: of the annealed mean over the chroma classes.
        saturation: factor on the chroma.
        vibrance: further factor, less 1, on chroma that is nearly neutral.
    """

    size: str
    temperature: float = 0.5
    saturation: float = 1.0
    vibrance: float = 0.0


def export(network: ColorNetwork, path: Path, options: ExportOptions) -> tuple[Path, Path]:
    """Write `path` (FP32) and its twin `*_fp16.onnx` (float16 in, inside and out), and check them.

    Returns:
        The two paths.

    Raises:
        EngineUnavailable: onnx is not installed.
        EngineError: a graph does not pass onnx's checker.
    """
    exported = copy.deepcopy(network).cpu().float()
    model = fold(ColorAt(exported, options.size, options.temperature, options.saturation, options.vibrance))
    return write_graphs(model, path)


@dataclass(frozen=True)
class Ports:
    """A graph's inputs and outputs.

    Attributes:
        inputs: example of each input by name, float32.
        axes: of every input and output whose shape varies, the names of the varying axes.
        outputs: names.
    """

    inputs: dict[str, torch.Tensor]
    axes: dict[str, dict[int, str]]
    outputs: tuple[str, ...] = OUTPUTS


def _of_luma() -> Ports:
    axes = {name: {0: "N", 2: "H", 3: "W"} for name in (INPUT, *OUTPUTS)}
    return Ports({INPUT: torch.rand(1, 1, 64, 96)}, axes)


def write_graphs(model: nn.Module, path: Path, ports: Ports | None = None) -> tuple[Path, Path]:
    """Write any model from luma to `ycc` and `confidence`, or with other ports, as the two graphs, checked.

    Args:
        model: (N, 1, H, W) float32 in [0, 1], H and W multiples of 32 -> `ycc`, `confidence`.
        path: of the FP32 graph; its twin is `*_fp16.onnx` beside it.
        ports: where they are others.

    Raises:
        EngineUnavailable: onnx is not installed.
        EngineError: a graph does not pass onnx's checker.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable("exporting needs onnx: pip install irchroma[train]") from error
    ports = ports or _of_luma()
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, but needs no onnxscript
        torch.onnx.export(
            model.eval(),
            tuple(ports.inputs.values()),
            str(partial),
            input_names=list(ports.inputs),
            output_names=list(ports.outputs),
            dynamic_axes=ports.axes,
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load(str(partial))
    partial.unlink()
    twin_path = path.with_name(f"{path.stem}_fp16.onnx")
    for made, where in ((narrow_weights(graph), path), (to_half(graph), twin_path)):
        made.producer_name, made.producer_version = "irchroma", ""
        try:
            onnx.checker.check_model(made, full_check=True)
        except onnx.checker.ValidationError as error:
            raise EngineError(f"the graph for {where.name} is not valid ONNX: {error}") from error
        with replaced(where) as whole:
            onnx.save(made, str(whole))
    return path, twin_path


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a graph of `write_graphs` by the names they had in training, float32.

    Raises:
        EngineUnavailable: onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise EngineUnavailable("weights are read with onnx: pip install irchroma[train]") from error
    return {
        one.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(one).astype(np.float32))
        for one in onnx.load(str(path)).graph.initializer
    }


def fold(model: _Model) -> _Model:
    """Replace every `ScaledConv` by the plain convolution that it amounts to."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ScaledConv):
                setattr(module, name, _plain(child))
    return model


def _plain(conv: ScaledConv) -> nn.Conv2d:
    outputs, inputs, kernel, _ = conv.weight.shape
    plain = nn.Conv2d(inputs * conv.groups, outputs, kernel, conv.stride, conv.padding, groups=conv.groups)
    with torch.no_grad():
        plain.weight.copy_(conv.weight * conv.scale)
        plain.bias.copy_(conv.bias)
    return plain


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

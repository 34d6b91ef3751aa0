"""PyTorch as a runtime: carries out an ONNX graph node by node, on the GPU where there is one.

The graph is read rather than the training code, so that every runtime runs the very same file. Only the
operators of our own exports are known; anything else is refused by name. The only runtime file that
imports `torch` and `onnx`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.network import NetworkOptions, Tensor

Attributes = dict[str, Any]
Operator = Callable[[list[Any], Attributes], Any]

_GPU_BATCH = 8


def open_network(path: Path, options: NetworkOptions) -> TorchNetwork:
    """Read the graph and move its weights to the device; on a GPU for single pictures, see `torch_device`."""
    on_gpu = options.device != "cpu" and torch.cuda.is_available()
    return TorchNetwork(path, options, "cuda" if on_gpu else "cpu")


def use_threads(threads: int) -> None:
    """How many CPU threads torch has in this process, for a program to say at its start; 0 for its choice."""
    if threads:
        torch.set_num_threads(threads)


class TorchNetwork:
    """A `Network` in the precision of its file."""

    lanes = 1

    def __init__(
        self, path: Path, options: NetworkOptions, device: str = "cpu", channels_last: bool | None = None
    ) -> None:
        """Read the graph.

        Args:
            path: an ONNX file of ours.
            options: threads.
            device: as torch says it.
            channels_last: memory in the order N, H, W, C; None for where it is faster, on a GPU.

        Raises:
            EngineUnavailable: the file cannot be read, or holds an operator that is not known here.
        """
        self._device = device
        try:
            graph = onnx.load(path).graph
        except Exception as error:
            raise EngineUnavailable(f"onnx cannot read {path}: {str(error).splitlines()[0]}") from error
        unknown = sorted({node.op_type for node in graph.node} - OPERATORS.keys())
        if unknown:
            raise EngineUnavailable(f"runtime torch does not know {', '.join(unknown)} of {path.name}")
        self.half = graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
        self._constants = {one.name: tensor_of(one) for one in graph.initializer}
        self._numbers: dict[str, Any] = {}
        self._nodes: list[tuple[Any, Attributes]] = []
        for node in graph.node:
            attributes = {a.name: attribute_of(a) for a in node.attribute}
            if all(name in self._constants or not name for name in node.input):
                self._carry_out(node, attributes, self._constants)  # such as weights kept as float16
            else:
                self._nodes.append((node, attributes))
        # Tensor cores take channels last; weights of that kind make every convolution's output so too.
        self._channels_last = device.startswith("cuda") if channels_last is None else channels_last
        self._values = {name: self._placed(value) for name, value in self._constants.items()}

    @property
    def best_batch(self) -> int:
        """Frames of one call: several on a GPU, which a single small frame leaves half empty."""
        return _GPU_BATCH if self._device.startswith("cuda") else 1

    @property
    def name(self) -> str:
        return f"torch {self._device} {'f16' if self.half else 'f32'}"

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        kind = torch.float16 if self.half else torch.float32
        ycc, confidence = self.run(torch.from_numpy(np.ascontiguousarray(luma)).to(self._device, kind))
        return ycc.float().cpu().numpy(), confidence.float().cpu().numpy()

    def run(self, luma: Any) -> tuple[Any, Any]:
        """`infer` on tensors of the device, without waiting for it, so that it can be recorded."""
        if not self._nodes:
            raise EngineUnavailable("the network is closed")
        values = {**self._values, "luma": luma}
        with torch.inference_mode():
            for node, attributes in self._nodes:
                self._carry_out(node, attributes, values)
        return values["ycc"], values["confidence"]

    def _placed(self, value: Any) -> Any:
        if not value.is_floating_point():
            return value  # sizes, axes and indices are reckoned with by the host
        if self._channels_last and value.ndim == 4:
            return value.to(self._device, memory_format=torch.channels_last)
        return value.to(self._device)

    def _carry_out(self, node: Any, attributes: Attributes, values: dict[str, Any]) -> None:
        read = READ_BY_HOST.get(node.op_type, ())
        inputs = [
            None if not name else self._number(name, values) if place in read else values[name]
            for place, name in enumerate(node.input)
        ]
        values[node.output[0]] = OPERATORS[node.op_type](inputs, attributes)

    def _number(self, name: str, values: dict[str, Any]) -> Any:
        """What is known to the host, as numpy: with a tensor, tracing would see a question to the device."""
        if name not in self._constants:
            return values[name].numpy()
        if name not in self._numbers:
            self._numbers[name] = self._constants[name].numpy()
        return self._numbers[name]

    def close(self) -> None:
        self._nodes = []
        self._values = {}
        self._constants = {}


def tensor_of(one: Any) -> Any:
    """An ONNX tensor as torch's."""
    return torch.from_numpy(np.array(numpy_helper.to_array(one)))


def attribute_of(one: Any) -> Any:
    """The value of an ONNX node's attribute, tensors as torch's."""
    value = onnx.helper.get_attribute_value(one)
    if isinstance(value, onnx.TensorProto):
        return torch.from_numpy(np.array(numpy_helper.to_array(value)))
    return value.decode() if isinstance(value, bytes) else value


def _conv(inputs: list[Any], attributes: Attributes) -> Any:
    x, weight = inputs[0], inputs[1]
    bias = inputs[2] if len(inputs) > 2 else None
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    return functional.conv2d(x, weight, bias, strides, (top, left), dilations, attributes.get("group", 1))


def _average_pool(inputs: list[Any], attributes: Attributes) -> Any:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise EngineUnavailable("runtime torch averages over windows with equal borders only")
    counted = bool(attributes.get("count_include_pad", 0))
    strides = attributes.get("strides", [1, 1])
    return functional.avg_pool2d(
        inputs[0], attributes["kernel_shape"], strides, (top, left), count_include_pad=counted
    )


def _resize(inputs: list[Any], attributes: Attributes) -> Any:
    x = inputs[0]
    scales, sizes = (inputs + [None] * 4)[2:4]
    if sizes is not None and sizes.size:
        size = [int(side) for side in sizes[-2:]]
    else:
        size = [int(side * float(scale)) for side, scale in zip(x.shape[-2:], scales[-2:], strict=True)]
    mode = attributes.get("mode", "nearest")
    if mode == "nearest":
        return functional.interpolate(x, size=size, mode="nearest")
    aligned = attributes.get("coordinate_transformation_mode") == "align_corners"
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=aligned)


def _clip(inputs: list[Any], attributes: Attributes) -> Any:
    low = inputs[1] if len(inputs) > 1 else attributes.get("min")
    high = inputs[2] if len(inputs) > 2 else attributes.get("max")
    return torch.clamp(inputs[0], None if low is None else float(low), None if high is None else float(high))


def _slice(inputs: list[Any], attributes: Attributes) -> Any:
    x, starts, ends = inputs[:3]
    axes = inputs[3].tolist() if len(inputs) > 3 else range(len(starts))
    steps = inputs[4].tolist() if len(inputs) > 4 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
        if step < 0:  # torch goes forward only
            back = list(range(*slice(start, end, step).indices(x.shape[axis])))
            x = x.index_select(axis, torch.tensor(back, dtype=torch.int64, device=x.device))
            continue
        cut[axis] = slice(start, min(end, x.shape[axis]), step)
    return x[tuple(cut)]


def _reduce_mean(inputs: list[Any], attributes: Attributes) -> Any:
    axes = inputs[1].tolist() if len(inputs) > 1 else attributes["axes"]
    return inputs[0].mean(dim=list(axes), keepdim=bool(attributes.get("keepdims", 1)))


def _reduce_sum(inputs: list[Any], attributes: Attributes) -> Any:
    return inputs[0].sum(dim=inputs[1].tolist(), keepdim=bool(attributes.get("keepdims", 1)))


def _divide(inputs: list[Any], _: Attributes) -> Any:
    whole = not inputs[0].is_floating_point()
    return torch.div(inputs[0], inputs[1], rounding_mode="trunc" if whole else None)


def _conv_transpose(inputs: list[Any], attributes: Attributes) -> Any:
    x, weight, *bias = inputs
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise EngineUnavailable("runtime torch knows transposed convolutions with equal borders only")
    return functional.conv_transpose2d(
        x,
        weight,
        bias[0] if bias else None,
        attributes.get("strides", [1, 1]),
        (top, left),
        attributes.get("output_padding", [0, 0]),
        attributes.get("group", 1),
        attributes.get("dilations", [1, 1]),
    )


def _gather(inputs: list[Any], attributes: Attributes) -> Any:
    x, index = inputs
    axis = attributes.get("axis", 0)
    if index.ndim == 0:
        return x.select(axis, int(index))
    return x.index_select(axis, index.to(x.device).reshape(-1)).unflatten(axis, index.shape)


def _gemm(inputs: list[Any], attributes: Attributes) -> Any:
    a, b = (
        one.T if attributes.get(turned) else one
        for one, turned in zip(inputs, ("transA", "transB"), strict=False)
    )
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _pad(inputs: list[Any], attributes: Attributes) -> Any:
    x, pads = inputs[0], inputs[1].tolist()
    mode = {"edge": "replicate", "reflect": "reflect"}.get(attributes.get("mode", "constant"), "constant")
    ends = [(pads[axis], pads[axis + x.ndim]) for axis in range(x.ndim)]
    while mode != "constant" and len(ends) > 2 and ends[0] == (0, 0):
        ends.pop(0)  # torch repeats edges of the last axes only
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return functional.pad(x, [side for end in reversed(ends) for side in end], mode, value)


def _reshape(inputs: list[Any], attributes: Attributes) -> Any:
    x, wanted = inputs[0], inputs[1].tolist()
    kept = not attributes.get("allowzero", 0)
    return x.reshape([x.shape[at] if side == 0 and kept else side for at, side in enumerate(wanted)])


def _unsqueeze(inputs: list[Any], _: Attributes) -> Any:
    x, axes = inputs[0], inputs[1].tolist()
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _constant_of_shape(inputs: list[Any], attributes: Attributes) -> Any:
    value = attributes.get("value", torch.zeros(1))
    return value.reshape(1).expand(inputs[0].tolist()).clone()


READ_BY_HOST = {
    "Clip": (1, 2), "ConstantOfShape": (0,), "Pad": (1, 2), "ReduceMean": (1,), "ReduceSum": (1,),
    "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Unsqueeze": (1,),
}  # fmt: skip
"""ONNX operator -> its inputs that are numbers for the host: taken from its memory, so that reading them does
not wait for a device."""

TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
}
"""ONNX element type -> torch's."""

OPERATORS: dict[str, Operator] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": _average_pool,
    "Cast": lambda inputs, attributes: inputs[0].to(TYPES[attributes["to"]]),
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(inputs, dim=attributes["axis"]),
    "Constant": lambda _, attributes: attributes["value"],
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _divide,
    "Exp": lambda inputs, _: torch.exp(inputs[0]),
    "Flatten": lambda inputs, attributes: inputs[0].reshape(
        math.prod(inputs[0].shape[: attributes.get("axis", 1)]), -1
    ),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda inputs, _: inputs[0].mean(dim=(2, 3), keepdim=True),
    "Greater": lambda inputs, _: inputs[0] > inputs[1],
    "Identity": lambda inputs, _: inputs[0],
    "LessOrEqual": lambda inputs, _: inputs[0] <= inputs[1],
    "MatMul": lambda inputs, _: inputs[0] @ inputs[1],
    "Max": lambda inputs, _: functools.reduce(torch.maximum, inputs),
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Pad": _pad,
    "Pow": lambda inputs, _: torch.pow(inputs[0], inputs[1]),
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": lambda inputs, _: functional.relu(inputs[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda inputs, _: torch.tensor(inputs[0].shape),
    "Sigmoid": lambda inputs, _: torch.sigmoid(inputs[0]),
    "Slice": _slice,
    "Softmax": lambda inputs, attributes: torch.softmax(inputs[0], dim=attributes.get("axis", -1)),
    "Sqrt": lambda inputs, _: torch.sqrt(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda inputs, _: torch.where(*inputs),
}
"""ONNX operator -> what torch does for it."""

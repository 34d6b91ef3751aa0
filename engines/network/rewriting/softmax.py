"""The mean color of a network's classes by their shares, without a softmax over channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_LARGEST_EXPONENT = 60.0
"""Logits are beyond neither 40 below 0 nor 10 above it; all that float32 and bf16 hold the exponential of."""


@dataclass(frozen=True, slots=True)
class _Mean:
    """The mean color of a network's classes, where the network computes it by a softmax.

    Attributes:
        features: port that the last convolution reads.
        weight, bias: of that convolution, (outputs, c, 1, 1) and (outputs,).
        start: from this output on they are the classes' logits.
        factor: of the logits before the softmax.
        centers: (2, classes, 1, 1), the classes' colors.
        rest: inputs that read the outputs before `start`.
        mean: the node that gives the mean color.
    """

    features: Any
    weight: Any
    bias: Any
    start: int
    factor: float
    centers: Any
    rest: list[Any]
    mean: Any


def spare_softmax(model: Any, opset: Any) -> None:
    """Change the mean color of the classes' shares into one that needs no softmax, in place.

    The mean of the colors, weighted by exponentials, by the sum of the exponentials: one convolution gives
    both, and nothing is brought into another memory layout. A softmax over channels took 2 of 21 ms of
    `nir:fast` at 256x320 in float32 on AVX2 and 0.8 of 11.6 in bf16. Only logits that are a part of one
    convolution's outputs, the last ones, and whose shares go into one of size 1x1, are dealt with.
    """
    found = _mean_color(model)
    if found is None:
        return

    def convolved(port: Any, kernel: Any, offset: Any = None) -> Any:
        kept = opset.constant(np.ascontiguousarray(kernel, np.float32))
        made = opset.convolution(port, kept, [1, 1], [0, 0], [0, 0], [1, 1])
        if offset is None:
            return made
        return opset.add(made, opset.constant(offset.reshape(1, -1, 1, 1).astype(np.float32)))

    start, weight, bias, centers = found.start, found.weight, found.bias, found.centers
    logits = convolved(found.features, weight[start:] * found.factor, bias[start:] * found.factor)
    powers = opset.exp(opset.clamp(logits, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    sums = convolved(powers, np.concatenate([centers, np.ones_like(centers[:1])]))
    parts = opset.variadic_split(sums, 1, [len(centers), 1])
    mean = opset.divide(parts.output(0), parts.output(1))
    for reader in found.mean.output(0).get_target_inputs():
        reader.replace_source_output(mean.output(0))
    rest = convolved(found.features, weight[:start], bias[:start])
    for other in found.rest:
        other.replace_source_output(rest.output(0))
    model.validate_nodes_and_infer_types()


def _mean_color(model: Any) -> _Mean | None:
    """Where a model computes it, by the one chain of nodes that is known; None where it has another."""
    softmaxes = [node for node in model.get_ops() if node.get_type_name() == "Softmax"]
    if len(softmaxes) != 1:
        return None
    nodes: list[Any] = softmaxes[:]
    for kind, inputs in (("Multiply", 2), ("Slice", 5), ("Add", 2), ("Convolution", 2)):
        node = nodes[-1].input_value(0).get_node()
        if node.get_type_name() != kind or node.get_input_size() != inputs:
            return None
        nodes.append(node)
    softmax, multiply, cut, add, head = nodes
    readers = [one.get_node() for one in softmax.output(0).get_target_inputs()]
    if [reader.get_type_name() for reader in readers] != ["Convolution"]:
        return None
    rest = [
        one
        for one in add.output(0).get_target_inputs()
        if one.get_node().get_friendly_name() != cut.get_friendly_name()
    ]
    ports = [multiply.input_value(1), add.input_value(1), head.input_value(1), readers[0].input_value(1)]
    numbers = [_constant(one) for one in (*ports, *(cut.input_value(index) for index in range(1, 5)))]
    if any(one is None for one in numbers):
        return None
    factor, bias, weight, centers, *bounds = numbers
    start, stop, step, axis = (int(one.item()) for one in bounds)
    outputs = len(weight)
    known = (
        factor.size == 1
        and weight.shape[2:] == centers.shape[2:] == (1, 1)
        and bias.size == outputs
        and (min(stop, outputs), step, axis, softmax.get_attributes()["axis"]) == (outputs, 1, 1, 1)
        and all(_ends_by(start, one.get_node()) for one in rest)
    )
    if not known:
        return None
    features = head.input_value(0)
    return _Mean(features, weight, bias.reshape(-1), start, factor.item(), centers, rest, readers[0])


def _ends_by(start: int, reader: Any) -> bool:
    """Whether a node reads a slice of the outputs before that one only."""
    if reader.get_type_name() != "Slice":
        return False
    stop = _constant(reader.input_value(2))
    return stop is not None and int(stop.item()) <= start


def _constant(port: Any) -> Any:
    """The numbers at a port, None where they are calculated; weights may be stored as float16."""
    node = port.get_node()
    while node.get_type_name() in ("Convert", "Reshape"):
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None

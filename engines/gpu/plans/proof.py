"""The layers of a built plan, as TensorRT's engine inspector words them, and the proof of their precision."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from irchroma.engines.errors import PlanError

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), (?P<rest>.*)$", re.MULTILINE)
_TENSOR = re.compile(r"Dimensions: \[(?P<dims>[-\d,]*)\][^{}]*?Datatype: (?P<type>[^,{}]+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
# TensorRT-RTX 1.7 says `Datatype: Half`; TensorRT 10 `Format/Datatype: Half`, or a sentence with FP16.
_PRECISIONS = (
    ("bfloat16", "bf16"),
    ("bf16", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("fp8", "fp8"),
    ("int8", "int8"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)
EIGHT_BIT = ("int8", "fp8")
LEAST_SHARE = 0.8
"""Of a network's quantized convolutions: TensorRT-RTX 1.7.1 runs 41 of 45 of nir:fast in int8."""


@dataclass(frozen=True, slots=True)
class PlanLayer:
    """One kernel of a plan.

    Attributes:
        name: as the inspector says it.
        kind: the inspector's layer type, such as `correlation` (a convolution) or `kgen` (generated).
        precision: of its inputs, weights and outputs of more than one element: `fp16`,
            `fp16+fp32` ...; `none` for steps that compute nothing, such as waiting for an event.
        output: shape of its first output, such as `1x32x128x160`; `?` where the profile leaves it open.
        origins: the ONNX nodes that it computes.
    """

    name: str
    kind: str
    precision: str
    output: str
    origins: tuple[str, ...] = ()


def parse_layers(text: str) -> tuple[PlanLayer, ...]:
    """Layers from the inspector's ONELINE text of an engine built with DETAILED profiling verbosity."""
    layers = []
    for found in _LAYER.finditer(text):
        outputs = _TENSOR.findall(found["rest"].partition("Outputs: [")[2])
        # A convolution's two scalar factors stay float32 in a float16 kernel: they are no precision of it.
        kinds = {_precision(kind) for dims, kind in _TENSOR.findall(found["rest"]) if _elements(dims) > 1}
        layers.append(
            PlanLayer(
                name=found["name"],
                kind=found["kind"],
                precision="+".join(sorted(kinds)) or "none",
                output=outputs[0][0].replace("-1", "?").replace(",", "x") if outputs else "",
                origins=tuple(_ORIGIN.findall(found["rest"])),
            )
        )
    return tuple(layers)


def prove_precision(layers: Sequence[PlanLayer], convolutions: Iterable[str], precision: str) -> int:
    """Hold convolutions of a network against the precision that was asked for.

    Args:
        layers: of the built plan.
        convolutions: all of the network's by their ONNX names; for EIGHT_BIT the quantized ones.
        precision: `fp16` or `fp32`, which every tensor of every one must have; or one of EIGHT_BIT, which
            inputs and weights must have in LEAST_SHARE of them, as the library runs some of few channels
            in the wider type whatever the graph says.

    Returns:
        How many of the convolutions are in that precision.

    Raises:
        PlanError: too many are in another precision, or one of them cannot be found in the plan.
    """
    names = tuple(convolutions)
    narrow = precision in EIGHT_BIT
    if not names:
        what = "quantized convolution" if narrow else "convolution"
        raise PlanError(f"the network has no {what}: there is nothing to prove {precision} on")
    wrong: dict[str, PlanLayer] = {}
    for name in names:
        kernels = [layer for layer in layers if name in layer.origins]
        if not kernels:
            raise PlanError(f"convolution {name} is in no layer of the plan: its precision cannot be proved")
        for layer in kernels:
            found = layer.precision.split("+")
            if precision not in found or (len(found) > 1 and not narrow):
                wrong[name] = layer
    if len(wrong) > (1 - LEAST_SHARE if narrow else 0) * len(names):
        name, layer = next(iter(wrong.items()))
        raise PlanError(
            f"{len(wrong)} of {len(names)} convolutions were not built in {precision}"
            f" ({name} is {layer.precision}): the plan is not kept"
        )
    return len(names) - len(wrong)


def _precision(datatype: str) -> str:
    lower = datatype.lower()
    return next((name for word, name in _PRECISIONS if word in lower), lower.strip())


def _elements(dims: str) -> int:
    return math.prod(abs(int(size)) for size in dims.split(",") if size)

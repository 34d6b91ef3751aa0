"""The layers of a built plan, as TensorRT's engine inspector words them, and the proof of their precision.

An engine of one shape says the type of every tensor. One of a range of shapes does not: TensorRT 8.6 to 10
then write `Format/Datatype: N/A due to dynamic shapes`. The type of the weights, which the same line tells,
and else the name of the kernel (`..._f16f16_f16f32_f32_...`) are what is left to go by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from irchroma.engines.errors import PlanError

_LAYER = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), (?P<rest>.*)$", re.MULTILINE)
_TENSOR = re.compile(r"Dimensions: \[(?P<dims>[-\d,]*)\][^{}]*?Datatype: (?P<type>[^,{}]+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_WEIGHTS = re.compile(r'Weights: \{"Type": "(\w+)"')
_TACTIC = re.compile(r"TacticName: ([^,]+)")
# xmma's names: the types of both factors, of the sum and of what is scaled, of the result.
_FACTORS = re.compile(r"_(f16f16|bf16bf16|f32f32|tf32tf32|i8i8|e4m3e4m3|s8s8)_(\w*?\d+)")
_BY_FACTOR = {
    "f16f16": "fp16", "bf16bf16": "bf16", "f32f32": "fp32", "tf32tf32": "fp32", "i8i8": "int8",
    "s8s8": "int8", "e4m3e4m3": "fp8",
}  # fmt: skip
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
_NOT_SAID = "n/a"
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
        factors: precision of what it multiplies, its inputs and weights; empty where nothing tells it.
        told_by: what tells it: `tensors`, `weights` or `tactic`.
        narrow_sum: it adds up in float16, as the name of its tactic says.
    """

    name: str
    kind: str
    precision: str
    output: str
    origins: tuple[str, ...] = ()
    factors: str = ""
    told_by: str = ""
    narrow_sum: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of the convolutions of a plan.

    Attributes:
        proved: how many are in the precision asked for.
        indirectly: how many of those are known by their weights or by a kernel's name alone.
        unknown: how many say nothing of their precision.
    """

    proved: int
    indirectly: int = 0
    unknown: int = 0


def parse_layers(text: str) -> tuple[PlanLayer, ...]:
    """Layers from the inspector's ONELINE text of an engine built with DETAILED profiling verbosity."""
    layers = []
    for found in _LAYER.finditer(text):
        inputs, _, outputs = found["rest"].partition("Outputs: [")
        shapes = _TENSOR.findall(outputs)
        weights = {_precision(kind) for kind in _WEIGHTS.findall(found["rest"])}
        tactic = _TACTIC.search(found["rest"])
        # A convolution's two scalar factors stay float32 in a float16 kernel: they are no precision of it.
        factors, told_by = _kinds(inputs), "tensors"
        if factors:
            factors |= weights
        elif weights:
            factors, told_by = weights, "weights"
        else:
            factors, told_by = _factors_of(tactic[1] if tactic else ""), "tactic"
        kinds = _kinds(found["rest"]) | weights
        layers.append(
            PlanLayer(
                name=found["name"],
                kind=found["kind"],
                precision="+".join(sorted(kinds)) or "none",
                output=shapes[0][0].replace("-1", "?").replace(",", "x") if shapes else "",
                origins=tuple(_ORIGIN.findall(found["rest"])) or tuple(found["name"].split(" + ")),
                factors="+".join(sorted(factors)),
                told_by=told_by if factors else "",
                narrow_sum=tactic is not None and "_f16f16_f16f16_" in tactic[1],
            )
        )
    return tuple(layers)


def prove_precision(
    layers: Sequence[PlanLayer], convolutions: Iterable[str], precision: str, static: bool = True
) -> Proof:
    """Hold convolutions of a network against the precision that was asked for.

    Args:
        layers: of the built plan.
        convolutions: all of the network's by their ONNX names; for EIGHT_BIT the quantized ones.
        precision: `fp16` or `fp32`, which inputs and weights of every one must have (its output may be wider:
            a cast that was joined to it); or one of EIGHT_BIT, which they must have in LEAST_SHARE of them,
            as the library runs some of few channels in the wider type whatever the graph says.
        static: the plan is of one shape, so that every layer tells its precision.

    Raises:
        PlanError: too many are in another precision, one of them cannot be found in the plan, or a plan of
            one shape does not tell it.
    """
    names = tuple(convolutions)
    narrow = precision in EIGHT_BIT
    if not names:
        what = "quantized convolution" if narrow else "convolution"
        raise PlanError(f"the network has no {what}: there is nothing to prove {precision} on")
    wrong: dict[str, PlanLayer] = {}
    indirectly, unknown = set(), set()
    for name in names:
        kernels = [layer for layer in layers if name in layer.origins]
        if not kernels:
            raise PlanError(f"convolution {name} is in no layer of the plan: its precision cannot be proved")
        for layer in kernels:
            found = layer.precision.split("+") if narrow else layer.factors.split("+")
            if not layer.factors and not (narrow and precision in found):
                unknown.add(name)
            elif precision not in found or (len(found) > 1 and not narrow):
                wrong[name] = layer
            elif layer.told_by != "tensors":
                indirectly.add(name)
    if static and unknown:
        raise PlanError(
            f"{len(unknown)} of {len(names)} convolutions do not tell their precision ({min(unknown)}):"
            " the plan is not kept"
        )
    if len(wrong) > (1 - LEAST_SHARE if narrow else 0) * len(names):
        name, layer = next(iter(wrong.items()))
        raise PlanError(
            f"{len(wrong)} of {len(names)} convolutions were not built in {precision}"
            f" ({name} is {layer.precision}): the plan is not kept"
        )
    unknown -= wrong.keys()
    return Proof(
        len(names) - len(wrong) - len(unknown), len(indirectly - unknown - wrong.keys()), len(unknown)
    )


def _kinds(text: str) -> set[str]:
    return {
        _precision(kind)
        for dims, kind in _TENSOR.findall(text)
        if _elements(dims) > 1 and _NOT_SAID not in kind.lower()
    }


def _factors_of(tactic: str) -> set[str]:
    found = _FACTORS.search(tactic)
    return {_BY_FACTOR[found[1]]} if found else set()


def _precision(datatype: str) -> str:
    lower = datatype.lower()
    return next((name for word, name in _PRECISIONS if word in lower), lower.strip())


def _elements(dims: str) -> int:
    """How many at least; an open side has several."""
    return math.prod(int(size) if int(size) >= 0 else 2 for size in dims.split(",") if size)

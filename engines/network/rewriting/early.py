"""What a network's first layers know of a picture, for another network that begins with the same layers.

The reference's network has the trunk of its band's `fast` network, with the weights of then up to an eighth
of the size; computed twice, that was a quarter of what it took.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from irchroma.engines.network.network import Tensor

EARLY, EARLY_CHANNELS = "early", 40
"""Name of the input, or output: (N, 40, H / 8, W / 8) float32."""
_NEXT = "stages.3/stages.3.0/expand/Conv"
"""The first layer that differs takes it."""
_ALIKE = 0.02
"""How far weights of a layer may be apart, of its largest: 8 bits are by 0.008, and thermal's have moved by
0.007 since."""


class KnowsEarly(ABC):
    """A `Network` that tells what its first layers know."""

    @abstractmethod
    def first_layers(self) -> list[Tensor]:
        """Weights of these layers, flat, in an order of their own; none where it cannot tell."""

    @abstractmethod
    def infer_early(self, luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Network.infer`, and what the first layers know, as `EARLY` is."""

    @abstractmethod
    def prepare_early(self, shape: tuple[int, ...]) -> None:
        """Compile `infer_early` for (N, 1, H, W), where that takes time; any thread."""


class TakesEarly(ABC):
    """A `Graph` that skips its first layers where their output is given as the input `EARLY`."""

    @abstractmethod
    def first_layers(self) -> list[Tensor]:
        """See `KnowsEarly.first_layers`."""


def alike(some: list[Tensor], others: list[Tensor]) -> bool:
    """Whether two lists of weights are nearly the same layers'; False where there are none."""
    pairs = zip(some, others, strict=False)
    return 0 < len(some) == len(others) and all(
        one.size == other.size and bool(np.abs(one - other).max() <= _ALIKE * np.abs(one).max())
        for one, other in pairs
    )


def early_port(model: Any) -> Any | None:
    """Where the first layers end in an OpenVINO model; None where there is no such place, or several."""
    found = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
        and node.get_friendly_name().removesuffix("/WithoutBiases").endswith(_NEXT)
    ]
    if len(found) != 1:
        return None
    port = found[0].input_value(0)
    channels = port.get_partial_shape()[1]
    return port if channels.is_static and channels.get_length() == EARLY_CHANNELS else None


def layers_before(port: Any) -> list[Tensor]:
    """Weights of the convolutions that a port's numbers come from, flat float32, the first layer's first.

    Of 8-bit networks what their weights stand for. Nothing where one of them is calculated.
    """
    found: dict[str, Tensor | None] = {}
    _collect(port.get_node(), set(), found)
    weights = [one for one in found.values() if one is not None]
    return weights if len(weights) == len(found) else []


def _collect(node: Any, seen: set[str], found: dict[str, Tensor | None]) -> None:
    if node.get_friendly_name() in seen:
        return
    seen.add(node.get_friendly_name())
    convolves = node.get_type_name() in ("Convolution", "GroupConvolution")
    for index in range(1 if convolves else node.get_input_size()):
        _collect(node.input_value(index).get_node(), seen, found)
    if convolves:
        numbers = _numbers(node.input_value(1))
        found[node.get_friendly_name()] = None if numbers is None else numbers.ravel()


def _numbers(port: Any) -> Tensor | None:
    """Weights as they are stored: narrower, or in 8 bits with a scale and a zero."""
    node = port.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.data, np.float32)
    if kind in ("Convert", "Reshape"):
        numbers = _numbers(node.input_value(0))
        return None if numbers is None else numbers.reshape(list(node.get_output_shape(0)))
    if kind in ("Multiply", "Subtract"):
        both = [_numbers(node.input_value(index)) for index in (0, 1)]
        if both[0] is None or both[1] is None:
            return None
        return np.asarray(both[0] * both[1] if kind == "Multiply" else both[0] - both[1], np.float32)
    return None

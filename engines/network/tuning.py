"""A small correction written into a network's graph: its color tuned to one camera, without training.

In front of its last upsampling a network has features of every fourth pixel, and what its head made of them:
slope and offset of the luma (tone), and chroma. A tuned network adds to both a linear function of the same
features. What that function is follows from pairs of pictures in closed form (ridge regression), in seconds
and without torch; a few hundred numbers that every runtime computes in one convolution more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.confidence import Head, Said
from irchroma.engines.network.network import Tensor
from irchroma.engines.network.weight_storage import library

PREFIX = "tuned_"
TUNED = "tuned"
"""What a tuned network's record says of its precision: it is a float one."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Correction:
    """What is added to the network's tone and chroma.

    Attributes:
        tone: (2, c + 1) from features and 1 to slope and offset of the luma.
        chroma: (2, c + 1) from features and 1 to Cb and Cr, [-0.5, 0.5].
    """

    tone: Matrix
    chroma: Matrix


class Regression:
    """Gathers pairs; says the correction that fits them best. Used by one thread."""

    def __init__(self) -> None:
        self._chroma: tuple[Matrix, Matrix] | None = None
        self._tone: tuple[Matrix, Matrix] | None = None

    def add(self, said: Said, luma: Tensor, truth: Tensor) -> None:
        """Take in one picture.

        Args:
            said: of the network.
            luma: (h, w) in [0, 1] at the decoder's stride.
            truth: (3, h, w) Y', Cb, Cr at that stride, [0, 1] and [-0.5, 0.5].
        """
        features = said.features.reshape(len(said.features), -1).astype(np.float64)
        ones = np.vstack([features, np.ones(features.shape[1])])
        light = luma.ravel().astype(np.float64)
        slope, offset = said.tone.reshape(2, -1).astype(np.float64)
        wanted = truth.reshape(3, -1).astype(np.float64)
        tone = np.vstack([ones * light, ones])
        self._tone = _sum(self._tone, tone, (wanted[:1] - slope * light - offset))
        self._chroma = _sum(self._chroma, ones, wanted[1:] - said.chroma.reshape(2, -1))

    def solve(self, ridge: float) -> Correction:
        """The correction; `ridge` holds it back, as a share of the features' mean power."""
        if self._tone is None or self._chroma is None:
            raise EngineOptionError("no pairs to tune a network with")
        tone, chroma = _solved(self._tone, ridge), _solved(self._chroma, ridge)
        return Correction(tone.reshape(2, -1), chroma)


def tuned(model: Any, correction: Correction) -> Any:
    """A copy of an ONNX model with the correction in it."""
    onnx = library("onnx")
    made = copy.deepcopy(model)
    places = Head.of(made)
    at = list(made.graph.node).index(places.join)
    steps: list[Any] = []
    for number, (name, part, matrix) in enumerate(
        (("tone", places.tone, correction.tone), ("chroma", places.chroma, correction.chroma))
    ):
        names = [f"{PREFIX}{name}.{kind}" for kind in ("weight", "bias", "more", "sum")]
        for key, values in zip(names, (matrix[:, :-1, None, None], matrix[:, -1]), strict=False):
            stored = np.asarray(values, np.float32)
            made.graph.initializer.append(onnx.numpy_helper.from_array(stored, key))
        steps.append(onnx.helper.make_node("Conv", [places.features, *names[:2]], [names[2]], name=names[2]))
        steps.append(onnx.helper.make_node("Add", [part, names[2]], [names[3]], name=names[3]))
        places.join.input[number] = names[3]
    for number, step in enumerate(steps):
        made.graph.node.insert(at + number, step)
    onnx.checker.check_model(made)
    return made


def with_tone(model: Any, correction: Correction, share: float) -> Any:
    """A copy of an ONNX model whose last layer itself says the corrected tone: no layer more, none slower.

    Its chroma and its confidence, calibrated or not, stay as they are.

    Args:
        model: the network.
        correction: of which the tone is taken.
        share: of the way, [0, 1].
    """
    helper = library("onnx").numpy_helper
    made = copy.deepcopy(model)
    head = Head.of(made).convolution
    for name, change in zip(head.input[1:], (correction.tone[:, :-1], correction.tone[:, -1]), strict=True):
        stored = next(one for one in made.graph.initializer if one.name in (name, f"{name}.half"))
        values = helper.to_array(stored).copy()
        rows = values[: len(change)]
        rows += (share * change).reshape(rows.shape).astype(values.dtype)
        stored.CopyFrom(helper.from_array(values, stored.name))
    return made


def _sum(known: tuple[Matrix, Matrix] | None, terms: Matrix, wanted: Matrix) -> tuple[Matrix, Matrix]:
    square, product = terms @ terms.T / terms.shape[1], terms @ wanted.T / terms.shape[1]
    return (square, product) if known is None else (known[0] + square, known[1] + product)


def _solved(sums: tuple[Matrix, Matrix], ridge: float) -> Matrix:
    square, product = sums
    held = ridge * np.trace(square) / len(square)
    return np.asarray(np.linalg.solve(square + held * np.eye(len(square)), product).T, np.float64)

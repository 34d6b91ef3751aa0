"""How far a network's color may be believed, written into its graph as the confidence that it gives.

What a network was taught to say of its own errors holds for the pictures that taught it. Held against
pictures whose color is known, of its own kind and of others, the decoder's last features say it better: a
linear function of them, a logistic regression, is the confidence's logit. And a network is as sure of a lawn
in a room as of one in a park. What tells the two apart are the features it computes anyway: their mean over
the picture, as its decoder's global context takes it, lies far from all that training has seen, measured in
the spread of the training pictures (Mahalanobis' distance). The confidence becomes

    sure = weight . features + bias
    strange = min(DOUBT * relu(distance^2 - known), 1)
    sigmoid(sure - strange * HARDER * min(relu(SURE_LOGIT - sure), MOST_BELOW))

in a few nodes more, so that every runtime and device computes the same without being told.

Reference: K. Lee et al., A simple unified framework for detecting out-of-distribution samples and adversarial
attacks, NeurIPS 2018, eq. 2 (here without classes, and shrunk, as pictures are few).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import Tensor
from irchroma.engines.network.weight_storage import FLOAT, library, load

PREFIX = "trust_"
"""Of every name that is added; without a slash, so that no tool takes the nodes for layers of the network."""
LOGIT_KEY = "irchroma.logit"
"""Of the metadata entry that names the logit of the confidence that was replaced."""
SHRINKAGE = 0.3
"""Added to the variances of the standardized features, of which there are as many as training pictures."""
FARTHEST = 12.0
"""Standard deviations at which a feature's part of the distance ends: float16 squares it."""
DOUBT = 5.0
"""How much stranger a picture is for each unit of squared distance; 1 is strange altogether."""
SURE_LOGIT, MOST_BELOW, HARDER = 2.0, 2.5, 1.0
"""In a strange picture a place's logit falls by so many times what it is below the first, that counted up to
the second. A choice: a lawn on a machine is hardly further from the truth, in levels, than a park's, but none
would call it a guess worth showing. Taken from all places alike, as before, it put places that are less wrong
behind others: what a picture is unlike says little of how far off it is. Where it falls steeply color ends in
torn patches, which looks broken: (0.8, 1.5, 3.0) did so on dark views from above."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Familiar:
    """What training pictures' mean features are like.

    Attributes:
        mean: (c,) of the features.
        whitening: (c, c); the distance of features x is |whitening @ (x - mean)| / sqrt(c).
    """

    mean: Vector
    whitening: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> Familiar:
        """From the mean features of pictures, (n, c)."""
        mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-4
        correlation = np.cov(((features - mean) / spread).T)
        precision = np.linalg.inv(correlation + SHRINKAGE * np.eye(len(mean)))
        return cls(mean, np.linalg.cholesky(precision).T / spread)

    def distance2(self, features: NDArray[np.float64]) -> Vector:
        """(n,) squared distances of (n, c) mean features; about 1 and below for training pictures."""
        away = np.clip((features - self.mean) @ self.whitening.T, -FARTHEST, FARTHEST)
        return np.asarray((away**2).mean(axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Trust:
    """The confidence's calibration, see above.

    Attributes:
        weight: (c,) of the decoder's last features.
        bias: of the logit.
        familiar: of the training pictures; None where no picture is strange, as for a network that was tuned
            to one camera.
        known: squared distance up to which a picture counts as like them.
    """

    weight: Vector
    bias: float
    familiar: Familiar | None = None
    known: float = 0.0

    def confidence(self, features: NDArray[np.float64], distance2: Any = 0.0) -> Vector:
        """(n,) in [0, 1], of (n, c) features in pictures at a squared distance, as the graph computes it."""
        sure = features @ self.weight + self.bias
        if self.familiar is not None:
            strange = np.clip(DOUBT * (np.asarray(distance2) - self.known), 0.0, 1.0)
            sure = sure - strange * HARDER * np.clip(SURE_LOGIT - sure, 0.0, MOST_BELOW)
        return np.asarray(1 / (1 + np.exp(-sure)), np.float64)


@dataclass(frozen=True, slots=True)
class Said:
    """What a network says of one picture; all but the first two and `mean` at its decoder's stride.

    Attributes:
        ycc: (3, H, W).
        confidence: (H, W), the network's own.
        features: (c, h, w), the decoder's last.
        tone: (2, h, w) slope and offset of the luma.
        chroma: (2, h, w).
        mean: (k,) mean features of the encoder.
    """

    ycc: Tensor
    confidence: Tensor
    features: Tensor
    tone: Tensor
    chroma: Tensor
    mean: Vector


class WatchedNetwork:
    """A network that shows what its color and its confidence are made of."""

    def __init__(self, path: Path) -> None:
        """Load it into ONNX Runtime.

        Raises:
            EngineUnavailable: onnx or onnxruntime is not installed, or the file cannot be read.
            EngineOptionError: it has no such head.
        """
        onnx, runtime = library("onnx"), library("onnxruntime")
        self.model = untrusted(load(path))
        head = Head.of(self.model, path)
        watched = copy.deepcopy(self.model)
        self._names = ["ycc", "confidence", head.features, head.tone, head.chroma, head.context]
        known = {output.name for output in watched.graph.output}
        for name in self._names:
            if name not in known:
                watched.graph.output.append(onnx.helper.make_tensor_value_info(name, FLOAT, None))
        settings = runtime.SessionOptions()
        settings.log_severity_level = 3
        self._session = runtime.InferenceSession(
            watched.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )

    def infer(self, luma: Tensor) -> Said:
        """Of one picture, (1, 1, H, W) float32 in [0, 1], H and W multiples of 32."""
        ycc, sure, features, tone, chroma, mean = self._session.run(self._names, {"luma": luma})
        return Said(ycc[0], sure[0, 0], features[0], tone[0], chroma[0], mean[0, :, 0, 0].astype(np.float64))


@dataclass(frozen=True, slots=True)
class Head:
    """Names in a graph: the last features, what the head made of them, the mean features; and two nodes.

    Attributes:
        features, tone, chroma: at the decoder's stride.
        context: mean of the encoder's features over the picture.
        sigmoid: the node that makes the confidence.
        join: the node that joins tone, chroma and confidence in front of the last upsampling.
    """

    features: str
    tone: str
    chroma: str
    context: str
    sigmoid: Any
    join: Any

    @classmethod
    def of(cls, model: Any, path: Path | None = None) -> Head:
        """Of an ONNX model.

        Raises:
            EngineOptionError: it is built otherwise.
        """
        nodes = list(model.graph.node)
        made_by = {output: node for node in nodes for output in node.output}
        head = next((n for n in nodes if n.op_type == "Conv" and "head/Conv" in n.output[0]), None)
        mean = next((n for n in nodes if n.op_type == "GlobalAveragePool"), None)
        for join in reversed(nodes):
            last = made_by.get(join.input[-1]) if join.op_type == "Concat" else None
            if last is not None and last.op_type == "Sigmoid" and len(join.input) == 3 and head and mean:
                tone, chroma, _ = join.input
                return cls(head.input[0], tone, chroma, mean.output[0], last, join)
        raise EngineOptionError(f"{path or 'network'}: its last layers are not those of irchroma's networks")


def with_trust(model: Any, trust: Trust) -> Any:
    """A copy of an ONNX model with that confidence in place of its own."""
    onnx = library("onnx")
    made = untrusted(model)
    head = Head.of(made)
    graph = made.graph

    def constant(name: str, values: Any) -> str:
        tensor = onnx.numpy_helper.from_array(np.asarray(values, np.float32), PREFIX + name)
        graph.initializer.append(tensor)
        return PREFIX + name

    weight = constant("weight", trust.weight[None, :, None, None])
    steps = [("Conv", [head.features, weight, constant("bias", np.full(1, trust.bias))], "logit")]
    if trust.familiar is not None:
        whitening, mean = trust.familiar.whitening, trust.familiar.mean
        count = len(mean)
        steps[0] = (*steps[0][:2], "sure")
        away = [head.context, constant("whitening", whitening[:, :, None, None])]
        ends = [constant("least", -FARTHEST), constant("most", FARTHEST)]
        total = constant("total", np.full((1, count, 1, 1), DOUBT / count))
        known = constant("known", np.full(1, -DOUBT * trust.known))
        none = constant("none", 0.0)
        steps += [
            ("Conv", [*away, constant("offset", -whitening @ mean)], "away"),
            ("Clip", [PREFIX + "away", *ends], "bounded"),
            ("Mul", [PREFIX + "bounded", PREFIX + "bounded"], "squared"),
            ("Conv", [PREFIX + "squared", total, known], "unknown"),
            ("Clip", [PREFIX + "unknown", none, constant("all", 1.0)], "strange"),
            ("Sub", [constant("enough", SURE_LOGIT), PREFIX + "sure"], "below"),
            ("Clip", [PREFIX + "below", none, constant("most_below", MOST_BELOW)], "lacking"),
            ("Mul", [PREFIX + "lacking", constant("harder", np.full(1, HARDER))], "harsher"),
            ("Mul", [PREFIX + "harsher", PREFIX + "strange"], "doubt"),
            ("Sub", [PREFIX + "sure", PREFIX + "doubt"], "logit"),
        ]
    note = made.metadata_props.add()
    note.key, note.value = LOGIT_KEY, head.sigmoid.input[0]
    at = list(graph.node).index(head.sigmoid)
    head.sigmoid.input[0] = PREFIX + "logit"
    for number, (kind, inputs, output) in enumerate(steps):
        step = onnx.helper.make_node(kind, inputs, [PREFIX + output], name=PREFIX + output)
        graph.node.insert(at + number, step)
    onnx.checker.check_model(made)
    return made


def untrusted(model: Any) -> Any:
    """A copy of an ONNX model without such a calibration, as it was trained."""
    made = copy.deepcopy(model)
    graph = made.graph
    logit = next((entry.value for entry in made.metadata_props if entry.key == LOGIT_KEY), None)
    if logit is None:
        return made
    others = [(entry.key, entry.value) for entry in made.metadata_props if entry.key != LOGIT_KEY]
    del made.metadata_props[:]
    for key, value in others:
        entry = made.metadata_props.add()
        entry.key, entry.value = key, value
    for node in list(graph.node):
        if node.name.startswith(PREFIX):
            graph.node.remove(node)
        elif node.op_type == "Sigmoid" and node.input[0] == PREFIX + "logit":
            node.input[0] = logit
    for tensor in list(graph.initializer):
        if tensor.name.startswith(PREFIX):
            graph.initializer.remove(tensor)
    return made

"""How far a network's color may be believed, written into its graph as the confidence that it gives.

What a network was taught to say of its own errors holds for the pictures that taught it. Held against
pictures whose color is known, of its own kind and of others, the decoder's last features say it better: a
linear function of them, a logistic regression, is the confidence's logit. And a network is as sure of a lawn
in a room as of one in a park. What tells the two apart are the features that it computes anyway: their mean
over the picture, as its decoder's global context takes it, and their spread, since one and the same mean may
be of a ploughed field and of noise. For each kind of others (what is no picture of the network's band; rooms)
a logistic regression tells pictures like those of training from it. The confidence becomes

    sure = weight . features + bias
    strange = min(relu(max over kinds of kind.weight . scene + kind.bias), MOST_STRANGE)
    sigmoid(sure + strange * (GUESS_LOGIT - sure))

in a few nodes more, so that every runtime and device computes the same without being told. A distance from
the training pictures (Mahalanobis', as before) told another camera's street from them as surely as a room:
what is wanted is not what is new, but what is another kind of scene.

Reference: D. Hendrycks, M. Mazeika and T. Dietterich, Deep anomaly detection with outlier exposure, ICLR
2019: pictures of other kinds stand for all that are unlike (here one layer learns; the features stay).
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
MOST_STRANGE, GUESS_LOGIT = 0.85, -3.2
"""How strange a picture can be, 1 for altogether, and the logit that all its places then tend to: hardly any
of their color is shown (`recoloring.UNSURE`, `SURE`), and what is surer keeps more of it. With -2.7, as near
infrared was calibrated, a fourth is shown, which lay as a veil over black. All places tend to it alike, as
steep falls end color in torn patches, which looks broken."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Strangeness:
    """A linear function of a picture's features: 0 and below for what is known, 1 for strangers of one kind.

    Attributes:
        weight: (2 k,) of `Said.scene`.
        bias: added.
    """

    weight: Vector
    bias: float

    def of(self, scenes: NDArray[np.float64]) -> Vector:
        """(n,) in [0, MOST_STRANGE], of (n, 2 k) features."""
        return np.asarray(np.clip(scenes @ self.weight + self.bias, 0.0, MOST_STRANGE), np.float64)


@dataclass(frozen=True, slots=True)
class Trust:
    """The confidence's calibration, see above.

    Attributes:
        weight: (c,) of the decoder's last features.
        bias: of the logit.
        strangeness: of pictures, one for each kind of strangers; none where none is strange, as for a network
            that was tuned to one camera.
    """

    weight: Vector
    bias: float
    strangeness: tuple[Strangeness, ...] = ()

    def strange(self, scenes: NDArray[np.float64]) -> Vector:
        """(n,) in [0, MOST_STRANGE], of (n, 2 k) features of pictures: the most that they are of any kind."""
        kinds = [np.zeros(len(scenes)), *(kind.of(scenes) for kind in self.strangeness)]
        return np.asarray(np.max(kinds, axis=0), np.float64)

    def confidence(self, features: NDArray[np.float64], strange: Any = 0.0) -> Vector:
        """(n,) in [0, 1], of (n, c) features in pictures that are so strange, as the graph computes it."""
        sure = features @ self.weight + self.bias
        return np.asarray(1 / (1 + np.exp(-sure - strange * (GUESS_LOGIT - sure))), np.float64)


@dataclass(frozen=True, slots=True)
class Said:
    """What a network says of one picture; all but the first two and `scene` at its decoder's stride.

    Attributes:
        ycc: (3, H, W).
        confidence: (H, W), the network's own.
        features: (c, h, w), the decoder's last.
        tone: (2, h, w) slope and offset of the luma.
        chroma: (2, h, w).
        scene: (2 k,) mean of the encoder's features, and their standard deviation.
    """

    ycc: Tensor
    confidence: Tensor
    features: Tensor
    tone: Tensor
    chroma: Tensor
    scene: Vector


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
        self._names = ["ycc", "confidence", head.features, head.tone, head.chroma, head.encoded]
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
        """Run the network on one picture, (1, 1, H, W) float32 in [0, 1], H and W multiples of 32."""
        ycc, sure, features, tone, chroma, encoded = self._session.run(self._names, {"luma": luma})
        of_places = encoded[0].reshape(encoded.shape[1], -1).astype(np.float64)
        scene = np.concatenate([of_places.mean(axis=1), of_places.std(axis=1)])
        return Said(ycc[0], sure[0, 0], features[0], tone[0], chroma[0], scene)


@dataclass(frozen=True, slots=True)
class Head:
    """Names in a graph: the last features, what the head made of them, the encoder's; and three nodes.

    Attributes:
        features, tone, chroma: at the decoder's stride.
        encoded: the encoder's features.
        context: their mean over the picture.
        convolution: the node that makes tone and classes of the features; its first two rows are the tone.
        sigmoid: the node that makes the confidence.
        join: the node that joins tone, chroma and confidence in front of the last upsampling.
    """

    features: str
    tone: str
    chroma: str
    encoded: str
    context: str
    convolution: Any
    sigmoid: Any
    join: Any

    @classmethod
    def of(cls, model: Any, path: Path | None = None) -> Head:
        """Find the head of an ONNX model.

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
                return cls(head.input[0], tone, chroma, mean.input[0], mean.output[0], head, last, join)
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
    if trust.strangeness:
        steps[0] = (*steps[0][:2], "sure")
        half = len(trust.strangeness[0].weight) // 2
        spread = any(stranger.weight[half:].any() for stranger in trust.strangeness)
        if spread:
            steps += [
                ("Sub", [head.encoded, head.context], "away"),
                ("Mul", [PREFIX + "away", PREFIX + "away"], "square"),
                ("GlobalAveragePool", [PREFIX + "square"], "variance"),
                ("Sqrt", [PREFIX + "variance"], "spread"),
            ]
        unlike = []
        for number, stranger in enumerate(trust.strangeness):
            of_mean = constant(f"mean{number}", stranger.weight[None, :half, None, None])
            offset = constant(f"offset{number}", np.full(1, stranger.bias))
            by_mean = f"by_mean{number}" if spread else f"unlike{number}"
            steps.append(("Conv", [head.context, of_mean, offset], by_mean))
            if spread:
                of_spread = constant(f"spread{number}", stranger.weight[None, half:, None, None])
                steps += [
                    ("Conv", [PREFIX + "spread", of_spread], f"by_spread{number}"),
                    ("Add", [PREFIX + by_mean, PREFIX + f"by_spread{number}"], f"unlike{number}"),
                ]
            unlike.append(PREFIX + f"unlike{number}")
        if len(unlike) > 1:
            steps.append(("Max", unlike, "unlike"))
            unlike = [PREFIX + "unlike"]
        ends = [constant("none", 0.0), constant("most", MOST_STRANGE)]
        steps += [
            ("Clip", [*unlike, *ends], "strange"),
            ("Sub", [constant("guess", GUESS_LOGIT), PREFIX + "sure"], "fall"),
            ("Mul", [PREFIX + "fall", PREFIX + "strange"], "doubt"),
            ("Add", [PREFIX + "sure", PREFIX + "doubt"], "logit"),
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


def with_trust_of(model: Any, other: Any) -> Any:
    """A copy of an ONNX model with the calibrated confidence of another of its kind, in place of its own.

    Args:
        model: a float network, or an 8-bit twin.
        other: a float network, its weights wide, such as the one that the model was made of or began as.
    """
    made = untrusted(model)
    place, right = Head.of(made), Head.of(other)
    steps = [node for node in other.graph.node if node.name.startswith(PREFIX)]
    if not steps:
        return made
    note = made.metadata_props.add()
    note.key, note.value = LOGIT_KEY, place.sigmoid.input[0]
    names = {right.features: place.features, right.context: place.context, right.encoded: place.encoded}
    at = list(made.graph.node).index(place.sigmoid)
    place.sigmoid.input[0] = right.sigmoid.input[0]
    for number, node in enumerate(steps):
        made.graph.node.insert(at + number, node)
        put = made.graph.node[at + number]
        put.input[:] = [names.get(name, name) for name in node.input]
    made.graph.initializer.extend(one for one in other.graph.initializer if one.name.startswith(PREFIX))
    library("onnx").checker.check_model(made)
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

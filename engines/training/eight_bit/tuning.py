"""Quantization-aware tuning of an 8-bit twin, with its float network as the teacher.

The twin's own graph is carried out with every QuantizeLinear in it, so that what is tuned is what runs.
Rounding lets gradients through as if it were not there, also to the scales. No color pictures are needed:
the twin is to give what the float network gives.

Reference: B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only
inference, CVPR 2018, section 3 (simulated rounding, per-channel weights); S. K. Esser et al., Learned step
size quantization, ICLR 2020, eq. 3 (gradients of the scales). Here every parameter is counted in steps of its
own scale, so that one learning rate fits layers of all magnitudes.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.confidence import Head
from irchroma.engines.network.eight_bit.quantization import WEIGHT_LEVELS, with_answer
from irchroma.engines.network.torch_runtime import OPERATORS, READ_BY_HOST, attribute_of, tensor_of
from irchroma.engines.network.weight_storage import library, load, save, widen_weights

Luma = NDArray[np.uint8]

LOG = logging.getLogger(__name__)

SAY_EVERY = 20
SCALE_STEP = 0.02
"""Of the logarithm of an activation's scale, for one unit of its parameter."""
FLOAT_PARTS = 64
"""Units in the largest weight of a channel that stays in float, and in the mean bias of a layer."""
FITTING_CROPS, FITTED = 6, (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Before tuning every scale is set to that share of its range that rounds and clips these crops least."""
ECHO_SHARE = 2000.0
"""Of the loss: squared change of an answer when fresh noise and a small gain come over the picture. Rounding
turns noise into steps, which flicker: nearness to the float network alone does not see that."""
NOISE_LEVELS, GAIN = (0.3, 4.0), 0.04
"""Standard deviations of that: least and most of the noise, of 255, and of the gain's logarithm."""
DIM = (0.15, 0.6)
"""Gain of a third of the crops: by night few of the levels are in use."""
FEATURES_SHARE = 1.0
"""Of the loss: relative squared error of the features in front of the head, beside that of the colors."""
WARM_SHARE = 0.1
"""Of the steps, over which the learning rate rises to its peak."""
_FROZEN = ("trust_", "centers")


@dataclass(frozen=True)
class TuningOptions:
    """How long and how.

    Attributes:
        steps: number of steps.
        batch: crops a step.
        sides: of square crops, pixels, multiples of 32; every step draws one.
        rate: peak learning rate, in steps of the weights' scales.
        seed: of everything drawn.
    """

    steps: int = 120
    batch: int = 2
    sides: tuple[int, ...] = (128, 160)
    rate: float = 0.004
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or any(side % 32 or side < 32 for side in self.sides):
            raise EngineOptionError(
                "tuning takes 1 step and 1 crop or more, of multiples of 32 pixels, got"
                f" {self.steps}, {self.batch} and {self.sides}"
            )


class TunedGraph(nn.Module):
    """An ONNX graph carried out in torch, its weights, biases and scales as parameters.

    Args:
        model: the twin, or a float network, whose weights are then as they are.
        source: float network with the weights before they were rounded; None where `model` is one.
    """

    def __init__(self, model: Any, source: Any = None) -> None:
        super().__init__()
        self._nodes: list[tuple[Any, dict[str, Any]]] = []
        self._fixed: dict[str, Tensor] = {one.name: tensor_of(one) for one in model.graph.initializer}
        self.units: dict[str, Tensor] = {}
        self.begun: dict[str, Tensor] = {}
        self.moved = nn.ParameterDict()
        self.weights: dict[str, tuple[str, str]] = {}  # output of its DequantizeLinear -> stored, scale
        plain = source if source is not None else model
        known = {one.name: tensor_of(one).float() for one in plain.graph.initializer}
        for node in model.graph.node:
            about = {one.name: attribute_of(one) for one in node.attribute}
            if node.op_type == "Constant":
                self._fixed[node.output[0]] = about["value"]
                continue
            if node.op_type == "DequantizeLinear" and node.input[0] in self._fixed:
                stored, scale = node.input[:2]
                self.weights[node.output[0]] = (stored, scale)
                first = known[stored.removesuffix("_quantized")]
                self._learn(stored, first, self._fixed[scale].reshape(-1, 1, 1, 1))
            elif node.op_type == "QuantizeLinear":
                scale = node.input[1]
                if scale not in self.begun:
                    self._learn(scale, self._fixed[scale].log(), torch.tensor(SCALE_STEP))
            elif node.op_type == "Conv":
                for name in node.input[1:]:
                    if name in self._fixed and not name.startswith(_FROZEN):
                        first = self._fixed[name]
                        size = first.abs()
                        large = size.amax((1, 2, 3), keepdim=True) if first.ndim == 4 else size.mean()
                        self._learn(name, first, large.clamp_min(1e-6) / FLOAT_PARTS)
            self._nodes.append((node, about))

    def forward(self, luma: Tensor, wanted: Sequence[str]) -> list[Tensor]:
        """The tensors of these names for (N, 1, H, W) float32 luma in [0, 1]."""
        values: dict[str, Any] = {**self._fixed, "luma": luma}
        for name in self.begun:
            values[name] = self.value(name)
        for node, about in self._nodes:
            values[node.output[0]] = self._carry_out(node, about, values)
        return [values[name] for name in wanted]

    def fit(self, luma: Tensor) -> None:
        """Set every scale of what is rounded to where these crops (N, 1, S, S) lose least power."""
        rounded = {
            node.input[1]: (node.input[0], node.input[2])
            for node, _ in self._nodes
            if node.op_type == "QuantizeLinear"
        }
        with torch.no_grad():
            seen = self(luma, [name for name, _ in rounded.values()])
            for (scale, (_, zero)), x in zip(rounded.items(), seen, strict=True):
                whole = self.begun[scale].exp()
                low, high = self._levels_of(zero)
                losses = []
                for share in FITTED:
                    step = whole * share
                    losses.append((step * torch.clamp((x / step).round(), low, high) - x).square().mean())
                self.begun[scale] = (whole * FITTED[int(torch.stack(losses).argmin())]).log()

    def value(self, name: str) -> Tensor:
        """A parameter in its own unit; of a scale its logarithm."""
        return self.begun[name] + self.units[name] * self.moved[_key(name)]

    def write(self, model: Any) -> None:
        """Put what was learned into the twin's initializers."""
        helper = library("onnx").numpy_helper
        stored = {weight for weight, _ in self.weights.values()}
        for tensor in model.graph.initializer:
            name = tensor.name
            if name not in self.begun:
                continue
            kind = helper.to_array(tensor).dtype
            with torch.no_grad():
                value = self.value(name)
                if name in stored:
                    value = _levels(value / self.units[name])
                elif name not in self._float_names():
                    value = value.exp()
            tensor.CopyFrom(helper.from_array(value.numpy().astype(kind), name))

    def _levels_of(self, zero_point: str) -> tuple[int, int]:
        return (0, 255) if self._fixed[zero_point].dtype == torch.uint8 else (-128, 127)

    def _float_names(self) -> set[str]:
        return {name for node, _ in self._nodes if node.op_type == "Conv" for name in node.input[1:]}

    def _learn(self, name: str, first: Tensor, unit: Tensor) -> None:
        self.begun[name], self.units[name] = first, unit
        self.moved[_key(name)] = nn.Parameter(torch.zeros_like(first))

    def _carry_out(self, node: Any, about: dict[str, Any], values: dict[str, Any]) -> Any:
        if node.op_type == "QuantizeLinear":
            x, scale = values[node.input[0]], values[node.input[1]].exp()
            low, high = self._levels_of(node.input[2])
            return scale * _rounded(torch.clamp(x / scale, low, high))
        if node.op_type == "DequantizeLinear":
            if node.output[0] not in self.weights:
                return values[node.input[0]]
            stored = node.input[0]
            return self.units[stored] * _levels(values[stored] / self.units[stored])
        read = READ_BY_HOST.get(node.op_type, ())
        inputs = [
            None if not name else self._fixed[name].numpy() if place in read else values[name]
            for place, name in enumerate(node.input)
        ]
        return OPERATORS[node.op_type](inputs, about)


def tune(
    source: Path,
    twin: Path,
    frames: Sequence[Luma],
    options: TuningOptions,
    note: Callable[[float, str], None] = lambda done, what: None,
) -> list[float]:
    """Tune a twin in its file, with the float network it was made from as the teacher.

    Args:
        source: the float network.
        twin: its twin, replaced.
        frames: (H, W) uint8 luma as the network sees it, that is at its work size.
        options: how long.
        note: called with the share done and the loss.

    Returns:
        The loss of every step.

    Raises:
        EngineOptionError: no frame is as large as a crop.
    """
    teacher_model, model = widen_weights(load(source)), load(twin)
    teacher, learner = TunedGraph(teacher_model), TunedGraph(model, teacher_model)
    asked = ["ycc", "confidence", Head.of(teacher_model).features]
    given = ["ycc", "confidence", Head.of(model).features]
    optimizer = torch.optim.Adam(learner.parameters(), lr=options.rate, betas=(0.9, 0.99))
    losses = []
    draws = np.random.default_rng((options.seed, options.steps))
    learner.fit(torch.from_numpy(np.concatenate([_crops(frames, one, draws) for one in _fitting(options)])))
    for step in range(options.steps):
        random = np.random.default_rng((options.seed, step))
        crops = _crops(frames, options, random)
        luma = torch.from_numpy(np.concatenate([crops, _disturbed(crops, random)]))
        with torch.no_grad():
            right = teacher(luma, asked)
        said = learner(luma, given)
        loss = 100.0 * functional.mse_loss(said[0], right[0]) + functional.mse_loss(said[1], right[1])
        power = right[2].square().mean((0, 2, 3), keepdim=True) + 1e-3
        loss = loss + FEATURES_SHARE * ((said[2] - right[2]).square() / power).mean()
        loss = loss + ECHO_SHARE * _echo_loss(said[0], right[0])
        for group in optimizer.param_groups:
            group["lr"] = _rate(options, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        recent = float(np.mean(losses[-SAY_EVERY:]))
        note((step + 1) / options.steps, f"tuning in 8 bits, loss {recent:.4f}")
        if (step + 1) % SAY_EVERY == 0:
            LOG.info("%s, step %d of %d: loss %.4f", twin.name, step + 1, options.steps, recent)
    learner.write(model)
    save(with_answer(model), twin)
    return losses


def _crops(
    frames: Sequence[Luma], options: TuningOptions, random: np.random.Generator
) -> NDArray[np.float32]:
    """(N, 1, S, S) float32 in [0, 1], flipped, brighter and darker."""
    side = int(random.choice(options.sides))
    large = [frame for frame in frames if min(frame.shape) >= side]
    if not large:
        raise EngineOptionError(f"no frame of {side} pixels a side to tune on: give larger ones")
    crops = []
    for _ in range(options.batch):
        frame = large[int(random.integers(len(large)))]
        top, left = (int(random.integers(length - side + 1)) for length in frame.shape)
        crop = frame[top : top + side, left : left + side].astype(np.float32) / 255
        crop = crop[:, ::-1] if random.random() < 0.5 else crop
        if random.random() < 1 / 3:
            crop = crop * random.uniform(*DIM)
        else:
            crop = crop * random.uniform(0.7, 1.25) + random.uniform(-0.1, 0.1)
        crops.append(np.clip(crop, 0.0, 1.0))
    return np.asarray(np.stack(crops)[:, None], np.float32)


def _fitting(options: TuningOptions) -> list[TuningOptions]:
    """Options for each of the crops that scales are fitted to, all of one size."""
    return [replace(options, batch=1, sides=(max(options.sides),))] * FITTING_CROPS


def _disturbed(crops: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The same (N, 1, S, S) a moment later: a gain a little off, and fresh noise."""
    made = []
    for crop in crops:
        sd = np.exp(random.uniform(*np.log(NOISE_LEVELS))) / 255
        gain = np.exp(random.normal(0.0, GAIN)) if random.random() < 0.5 else 1.0
        noise = random.standard_normal(crop.shape, dtype=np.float32)
        made.append(np.clip(crop * gain + sd * noise, 0.0, 1.0))
    return np.asarray(np.stack(made), np.float32)


def _echo_loss(said: Tensor, right: Tensor) -> Tensor:
    """Mean square of the change between (2N, 3, S, S) answers of crops and of their echoes behind them.

    Color is to stay; luma is to change as the float network's does, since it follows gain.
    """
    changed, rightly = (second - first for first, second in (said.chunk(2), right.chunk(2)))
    return (changed[:, 1:].square().mean() * 2 + (changed[:, :1] - rightly[:, :1]).square().mean()) / 3


def _rate(options: TuningOptions, step: int) -> float:
    """A short rise, then half a cosine."""
    rise = min(1.0, (step + 1) / (WARM_SHARE * options.steps + 1))
    return options.rate * rise * 0.5 * (1 + math.cos(math.pi * step / options.steps))


def _rounded(x: Tensor) -> Tensor:
    """Rounded, with the gradient of what was not."""
    return x + (torch.round(x) - x).detach()


def _levels(x: Tensor) -> Tensor:
    """Weights in steps of their scale, rounded and kept to the levels there are."""
    return _rounded(torch.clamp(x, -WEIGHT_LEVELS, WEIGHT_LEVELS))


def _key(name: str) -> str:
    return name.replace(".", "|")  # torch's names have no dots

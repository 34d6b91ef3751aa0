"""The training loop: steps, averaged weights, checkpoints that resume exactly, a validation each epoch."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from irchroma.engines.errors import EngineError
from irchroma.engines.training.color.batch import Batch
from irchroma.engines.training.color.hold import Hold
from irchroma.engines.training.color.objective import (
    ChromaClasses,
    Objective,
    ObjectiveWeights,
    chroma_histogram,
)
from irchroma.engines.training.coloring_network import SIZES, TEACHER, ColorNetwork
from irchroma.engines.training.encoder import FIRST_STAGES, load_pretrained
from irchroma.engines.training.export import beside, weights_of
from irchroma.engines.training.pictures import Picture
from irchroma.engines.training.report import validate
from irchroma.engines.training.steps import StepOptions, Steps, follow, require_side

SETTLED = 32
"""Steps that do not ask how far the run is: more than `PACED` and the batches made ahead, so that no batch
depends on when it was made."""


class Recipe(Protocol):
    """What the loop needs to know of an engine's data."""

    name: str
    validation: list[Picture]

    def colors(self) -> list[np.ndarray]:
        """Pictures whose chroma the classes are balanced by, (H, W, 3) uint8."""

    def batch(self, size: int, side: int, progress: float, random: np.random.Generator) -> Batch:
        """One batch of `size` crops of `side` pixels; `progress` runs from 0 to 1."""


@dataclass(frozen=True)
class TrainOptions(StepOptions):
    """How long and how, see `StepOptions`.

    Attributes:
        batch: crops of 192 pixels a step; as many fewer of larger ones.
        rate: peak learning rate of the decoders; the encoder has 0.3 of it.
        sides: of crops, pixels, multiples of 32; every step draws one.
        average: decay of the averaged weights per step.
        balance: of the chroma classes, 0 to 1.
        start: weights to start from: a checkpoint, or a graph of `export`, whose other sizes lie beside it;
            None: ImageNet's.
        hold: weights, as `start`, whose answers are kept where the recipe says so (`Hold`): those of the size
            that is trained alone, or else of `best`, which teaches the others; None: none.
        teacher: weights, as `start`, whose `best` is learned from where nothing is held, in place of the
            truth; None: the truth is.
        sizes: exits to train.
        weights: of the objective's parts.
    """

    SETTING = (*StepOptions.SETTING, "sides", "sizes", "start", "hold", "teacher", "average", "balance")

    steps: int | None = None
    batch: int = 12
    epoch: int = 200
    rate: float = 1e-3
    sides: tuple[int, ...] = (160, 192, 256, 320)
    average: float = 0.995
    balance: float = 0.5
    start: Path | None = None
    hold: Path | None = None
    teacher: Path | None = None
    sizes: tuple[str, ...] = SIZES
    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in self.sides:
            require_side(side)


def load_weights(network: ColorNetwork, path: Path) -> None:
    """Take a checkpoint's averaged weights, or those of exported graphs.

    Raises:
        EngineError: there is no such file, or it is of another network.
    """
    if not path.is_file():
        raise EngineError(
            f"no checkpoint {path}: train first, or leave it out to start from ImageNet's weights"
        )
    if path.suffix == ".onnx":
        load_exported(network, path)
        return
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(state["average"])
    except (KeyError, RuntimeError) as error:
        raise EngineError(f"{path} is not a checkpoint of this network: train anew") from error


def load_exported(network: ColorNetwork, path: Path) -> None:
    """Take the weights of a graph `NAME_SIZE.onnx` and of those of its other sizes that lie beside it.

    The graphs of all sizes share one encoder, and each holds the decoder of its size. Where a size was
    trained on alone their encoders differ, and the named graph's counts. Decoders whose graph is missing
    and the segmentation head keep their initial weights. The scales that an export folds into the encoder's
    weights are ImageNet's, and are taken out again. The encoder's first layers are frozen.

    Raises:
        EngineError: the graph is of another network, or its name says no size.
    """
    if path.stem.rpartition("_")[2] not in SIZES:
        raise EngineError(f"{path}: its name does not say its size: call it NAME_{SIZES[-1]}.onnx, say")
    load_pretrained(network.encoder)
    known = network.state_dict()
    taken: set[str] = set()
    for graph in (*(beside(path, size) for size in SIZES), path):
        size = graph.stem.rpartition("_")[2]
        for name, values in (weights_of(graph) if graph.is_file() else {}).items():
            name = name.replace("decoder.", f"decoders.{size}.", 1)
            if name not in known:
                continue  # the classes' colors, what the confidence was calibrated with
            if known[name].shape != values.shape:
                raise EngineError(f"{graph} is not a graph of this network: train anew")
            scale = known.get(name.removesuffix(".weight") + ".scale")
            known[name] = values / scale if scale is not None and name.endswith(".weight") else values
            taken.add(name)
    if {name for name in known if name.startswith("encoder.") and not name.endswith(".scale")} - taken:
        raise EngineError(f"{path} is not a graph of this network: train anew")
    network.load_state_dict(known)
    for part in (network.encoder.stem, *network.encoder.stages[:FIRST_STAGES]):
        part.requires_grad_(False)


class Training:
    """A run that can stop after any step and resume exactly.

    Args:
        recipe: makes the batches.
        options: how long and how.
    """

    def __init__(self, recipe: Recipe, options: TrainOptions) -> None:
        self.recipe, self.options = recipe, options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        network: ColorNetwork = ColorNetwork()
        if options.start is None:
            load_pretrained(network.encoder)
        else:
            load_weights(network, options.start)
        self.network: ColorNetwork = network.to(self.device, memory_format=torch.channels_last)
        self.average: ColorNetwork = copy.deepcopy(self.network).requires_grad_(False)
        self.hold = None if options.hold is None else self._earlier(options.hold)
        encoder = list(self.network.encoder.parameters())
        others = [*self.network.decoders.parameters(), *self.network.segment.parameters()]
        groups = [{"params": encoder, "share": 0.3}, {"params": others, "share": 1.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=0.02)
        self.objective = Objective(
            ChromaClasses(chroma_histogram(recipe.colors()), options.balance).to(self.device), options.weights
        )
        kept = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        self.steps = Steps(options, kept, self.device, recipe.name, SETTLED)

    def _earlier(self, path: Path) -> Hold:
        size = self.options.sizes[0] if len(self.options.sizes) == 1 else TEACHER
        teacher = self.options.teacher
        return Hold(self._known(path, size), size, None if teacher is None else self._known(teacher, TEACHER))

    def _known(self, path: Path, size: str) -> ColorNetwork:
        if path.suffix == ".onnx" and not beside(path, size).is_file():
            raise EngineError(f"the answers of `{size}` are asked for, and there is no {beside(path, size)}")
        network: ColorNetwork = ColorNetwork()
        load_weights(network, path)
        known: ColorNetwork = network.to(self.device, memory_format=torch.channels_last)
        return known

    def run(self) -> ColorNetwork:
        """Train to the end of the budget and return the averaged network."""
        if self.steps.done and self._validated() != self.steps.done and self.steps.at_epoch:
            self.validate()  # it was stopped there, between the checkpoint and this
        self.steps.run(self.make, self.advance, self.validate)
        return self.average

    def validate(self) -> None:
        by_sky = self.recipe.name == "thermal"
        validate(self.average, self.recipe.validation, self.options.out, self.steps.done, by_sky)

    def _validated(self) -> int:
        """The last step that `validation.jsonl` has a line of; 0: none."""
        log = self.options.out / "validation.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        return int(json.loads(lines[-1])["step"]) if lines else 0

    def make(self, step: int) -> Batch:
        """The batch of a step."""
        random = self.steps.random(step)
        side = int(random.choice(self.options.sides))
        count = max(4, round(self.options.batch * (192 / side) ** 2))
        return self.recipe.batch(count, side, self.steps.share(step), random)

    def advance(self, batch: Batch) -> dict[str, float]:
        """One step; what the log says of it."""
        self.steps.pace(self.optimizer)
        batch = batch.to(self.device)
        luma = batch.luma.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            said = self.network(luma, self.options.sizes)
        lesson = None if self.hold is None else self.hold(batch)
        loss, parts = self.objective(self.network, said, batch, lesson)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        follow(self.average, self.network, self.steps.done, self.options.average)
        return parts

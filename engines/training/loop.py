"""The training loop: steps, averaged weights, checkpoints that resume exactly, a validation each epoch."""

from __future__ import annotations

import copy
import json
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.training.color.batch import Batch, BatchThread
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
from irchroma.engines.training.steps import (
    CHECKPOINT,
    Watch,
    follow,
    rate_at,
    require_free,
    require_same,
    require_side,
    say_others,
)

LOG = logging.getLogger(__name__)
PACED, SETTLED = 20, 32
"""Steps after which a budget in minutes becomes one in steps, and those that do not ask how far the run is:
more than the first and the batches made ahead, so that no batch depends on when it was made."""


class Recipe(Protocol):
    """What the loop needs to know of an engine's data."""

    name: str
    validation: list[Picture]

    def colors(self) -> list[np.ndarray]:
        """Pictures whose chroma the classes are balanced by, (H, W, 3) uint8."""

    def batch(self, size: int, side: int, progress: float, random: np.random.Generator) -> Batch:
        """One batch of `size` crops of `side` pixels; `progress` runs from 0 to 1."""


@dataclass(frozen=True)
class TrainOptions:
    """How long and how.

    Attributes:
        out: folder of the checkpoint, the log and the contact sheets.
        minutes: wall-clock budget at the pace of the first steps; None: `steps` decides.
        steps: number of steps; None: `minutes` decides.
        batch: crops of 192 pixels a step; as many fewer of larger ones.
        sides: of crops, pixels, multiples of 32; every step draws one.
        epoch: steps between validations.
        seed: of everything drawn.
        rate: peak learning rate of the decoders; the encoder has 0.3 of it.
        average: decay of the averaged weights per step.
        balance: of the chroma classes, 0 to 1.
        start: weights to start from: a checkpoint, or a graph of `export`, whose other sizes lie beside it;
            None: ImageNet's.
        hold: weights, as `start`, whose answers are kept where the recipe says so (`Hold`): those of the size
            that is trained alone, or else of `best`, which teaches the others; None: none.
        resume: go on from `out`'s checkpoint.
        sizes: exits to train.
        weights: of the objective's parts.
    """

    out: Path
    minutes: float | None = None
    steps: int | None = None
    batch: int = 12
    sides: tuple[int, ...] = (160, 192, 256, 320)
    epoch: int = 200
    seed: int = 0
    rate: float = 1e-3
    average: float = 0.995
    balance: float = 0.5
    start: Path | None = None
    hold: Path | None = None
    resume: bool = False
    sizes: tuple[str, ...] = SIZES
    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise EngineOptionError("say how long: either minutes or steps")
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
        EngineError: the graph is of another network.
    """
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
        self.step, self.spent = 0, 0.0
        self.steps = options.steps
        self.checkpoint = options.out / CHECKPOINT
        require_free(self.checkpoint, options.resume)
        options.out.mkdir(parents=True, exist_ok=True)
        if options.resume:
            self._resume()

    def _earlier(self, path: Path) -> Hold:
        size = self.options.sizes[0] if len(self.options.sizes) == 1 else TEACHER
        if path.suffix == ".onnx" and not beside(path, size).is_file():
            raise EngineError(f"the answers of `{size}` are held, and there is no {beside(path, size)}")
        network: ColorNetwork = ColorNetwork()
        load_weights(network, path)
        earlier: ColorNetwork = network.to(self.device, memory_format=torch.channels_last)
        return Hold(earlier, size)

    def progress(self, step: int) -> float:
        """How much of the budget is used at a step, 0 to 1; a function of the step alone."""
        if step < SETTLED or self.steps is None:
            return 0.0
        return min(1.0, step / self.steps)

    def run(self) -> ColorNetwork:
        """Train to the end of the budget and return the averaged network."""
        if self.step and self._validated() != self.step and self._at_epoch():
            self._validate()  # it was stopped there, between the checkpoint and this
        batches = BatchThread(self._make, self.step)
        try:
            with Watch(self.save, self.checkpoint, self.step) as watch:
                while self.steps is None or self.step < self.steps:
                    started = time.monotonic()
                    batch = batches.next()
                    watch.begins()
                    parts = self._advance(batch)
                    self.step += 1
                    self.spent += time.monotonic() - started
                    if self.steps is None and self.step >= PACED:
                        self.steps = self._paced()
                    watch.took(self.step, self.steps, parts, keep=self._at_epoch())
                    if self._at_epoch():
                        self._validate()
        finally:
            batches.close()
        return self.average

    def _at_epoch(self) -> bool:
        return self.step % self.options.epoch == 0 or self.step == self.steps

    def _validate(self) -> None:
        validate(self.average, self.recipe.validation, self.options.out, self.step)

    def _validated(self) -> int:
        """The last step that `validation.jsonl` has a line of; 0: none."""
        log = self.options.out / "validation.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        return int(json.loads(lines[-1])["step"]) if lines else 0

    def _make(self, step: int) -> Batch:
        random = np.random.default_rng((self.options.seed, step))
        side = int(random.choice(self.options.sides))
        count = max(4, round(self.options.batch * (192 / side) ** 2))
        return self.recipe.batch(count, side, self.progress(step), random)

    def _paced(self) -> int:
        """The steps that the minutes are worth at the pace so far."""
        if self.options.minutes is None:
            raise EngineError("a training needs a budget: give steps or minutes")
        steps = max(self.step, round(60.0 * self.options.minutes * self.step / self.spent))
        LOG.info("%g minutes are %d steps here: --steps %d repeats it", self.options.minutes, steps, steps)
        return steps

    def _advance(self, batch: Batch) -> dict[str, float]:
        rate = rate_at(self.options.rate, self.step, self.progress(self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
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
        follow(self.average, self.network, self.step, self.options.average)
        return parts

    def save(self) -> None:
        """Write the checkpoint; a crash while writing leaves the one before."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "spent": self.spent,
            "band": self.recipe.name,
            "minutes": self.options.minutes,
            "setting": self._setting(),
        }
        with replaced(self.checkpoint) as partial:
            torch.save(state, partial)

    def _setting(self) -> dict[str, object]:
        """The settings that a resumed run must share with the one before to give the same weights."""
        chosen = ("batch", "seed", "rate", "average", "balance")
        sides = " ".join(map(str, self.options.sides))
        own = {name: getattr(self.options, name) for name in chosen}
        # A start says which layers stay as they are, and whose confidence is kept.
        start = None if self.options.start is None else self.options.start.name
        hold = None if self.options.hold is None else self.options.hold.name
        sizes = " ".join(self.options.sizes)
        return {"side": sides, "sizes": sizes, "start": start, "hold": hold} | own

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        require_same(state, {"band": self.recipe.name}, self.checkpoint)
        say_others(state.get("setting", {}), self._setting())
        if self.options.minutes is not None and state.get("minutes") is not None:
            require_same(state, {"minutes": self.options.minutes}, self.checkpoint)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent = state["step"], state["spent"]
        self.steps = self.options.steps or state["steps"]
        LOG.info("going on from step %d of %s", self.step, self.steps or "a budget in minutes")

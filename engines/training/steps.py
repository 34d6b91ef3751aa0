"""Runs the steps of a training: counts and logs them, writes checkpoints, and resumes exactly from one."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.training.color.batch import BatchThread
from irchroma.engines.training.watch import AGAIN, CHECKPOINT, Watch

LOG = logging.getLogger(__name__)

WARM_STEPS = 100
"""Over which the learning rate rises to its peak."""
LAST_RATE = 0.01
"""Of the peak, what is left at the end."""
PACED = 20
"""Steps after which a budget in minutes becomes one in steps."""
_Batch = TypeVar("_Batch")


class Kept(Protocol):
    """What a checkpoint holds the state of: a network, an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state."""


@dataclass(frozen=True)
class StepOptions:
    """How long and how; a training adds what is its own.

    Attributes:
        SETTING: what a resumed run must share with the one before to give the same weights.
        out: folder of the checkpoint, the log and the contact sheets.
        steps: number of steps; None: `minutes` decides.
        batch: crops a step.
        epoch: steps between checkpoints.
        seed: of everything drawn.
        rate: peak learning rate.
        resume: go on from `out`'s checkpoint.
        minutes: wall-clock budget at the pace of the first steps; None: `steps` decides.
        data: what tells the pictures from others (`fingerprint`); a checkpoint of others is refused.
        recipe: what was asked for of what is learned, in words: which truth, say.
    """

    SETTING: ClassVar[tuple[str, ...]] = ("seed", "batch", "rate", "recipe")

    out: Path
    steps: int | None = 2000
    batch: int = 8
    epoch: int = 250
    seed: int = 0
    rate: float = 2e-3
    resume: bool = False
    minutes: float | None = None
    data: str = ""
    recipe: str = ""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise EngineOptionError("say how long: either minutes or steps")
        if (self.steps is not None and self.steps < 1) or self.batch < 1:
            raise EngineOptionError(f"steps and batch must be 1 or more, got {self.steps} and {self.batch}")

    def setting(self) -> dict[str, object]:
        """SETTING as a checkpoint keeps it: of a file its name, of several values their words."""
        found: dict[str, object] = {}
        for name in self.SETTING:
            value = getattr(self, name)
            found[name] = value.name if isinstance(value, Path) else value
            if isinstance(value, tuple):
                found[name] = " ".join(map(str, value))
        return found


@dataclass(frozen=True)
class CropOptions(StepOptions):
    """Of a training on square crops of one size.

    Attributes:
        side: of a crop, pixels, a multiple of 32.
    """

    side: int = 160

    def __post_init__(self) -> None:
        super().__post_init__()
        require_side(self.side)


def require_side(side_px: int) -> None:
    """Raise EngineOptionError unless networks that halve a picture five times can take crops of this side."""
    if side_px % 32 or side_px < 64:
        raise EngineOptionError(f"side must be a multiple of 32, 64 or more, got {side_px}")


def require_free(checkpoint: Path, resume: bool) -> None:
    """EngineError where there is nothing to resume, or a run that would be overwritten."""
    if resume and not checkpoint.is_file():
        raise EngineError(f"nothing to resume: no {checkpoint}; leave out --resume to begin")
    if not resume and checkpoint.exists():
        raise EngineError(f"{checkpoint} is there already: go on with --resume, or give another --out")


class Steps:
    """The steps of one run, which repeats from its seed and resumes exactly.

    Args:
        options: how many, and where they are kept.
        kept: name in the checkpoint -> what is kept; on `device`.
        device: where the network is.
        band: kept, too: another one's checkpoint is refused.
        settled: steps of which none asks how far the run is, so that a budget in minutes can be repeated.

    Attributes:
        done: steps so far.
        of: how many there are to be; None: not known yet.
        checkpoint: the file.

    Raises:
        EngineError: there is no checkpoint to resume, or it is of another training.
    """

    def __init__(
        self,
        options: StepOptions,
        kept: Mapping[str, Kept],
        device: torch.device,
        band: str = "",
        settled: int = 0,
    ) -> None:
        self._options, self._kept, self._device = options, kept, device
        self._of_run = {"band": band, "minutes": options.minutes, "data": options.data}
        self._settled = settled
        self.done, self.of, self._spent_s = 0, options.steps, 0.0
        self.checkpoint = options.out / CHECKPOINT
        require_free(self.checkpoint, options.resume)
        options.out.mkdir(parents=True, exist_ok=True)
        if options.resume:
            self._resume()

    @property
    def progress(self) -> float:
        """Share of the steps that are done, [0, 1]."""
        return self.share(self.done)

    def share(self, step: int) -> float:
        """How much of the budget is used at a step, [0, 1]; a function of the step alone."""
        return 0.0 if step < self._settled or self.of is None else min(1.0, step / self.of)

    @property
    def at_epoch(self) -> bool:
        """Whether an epoch, or the whole run, ends with the steps that are done."""
        return self.done % self._options.epoch == 0 or self.done == self.of

    def random(self, step: int) -> np.random.Generator:
        """All chance of a step's batch, which depends on the seed and the step alone."""
        return np.random.default_rng((self._options.seed, step))

    def run(
        self,
        make: Callable[[int], _Batch],
        advance: Callable[[_Batch], dict[str, float]],
        at_epoch: Callable[[], object] = lambda: None,
        title: str = "",
        again: str = AGAIN,
    ) -> None:
        """Do those that are left.

        Args:
            make: step -> its batch; called ahead, in a thread of its own.
            advance: takes one step; gives the parts of its loss, for the log.
            at_epoch: called every epoch and at the end, after the checkpoint.
            title, again: see `Watch`.

        Raises:
            EngineError: a part of the loss is no number; what was kept before stays.
        """
        batches = BatchThread(make, self.done)
        try:
            with Watch(self.save, self.checkpoint, self.done, title, again) as watch:
                while self.of is None or self.done < self.of:
                    began_s = time.monotonic()
                    batch = batches.next()
                    watch.begins()
                    parts = advance(batch)
                    if not all(map(math.isfinite, parts.values())):
                        raise EngineError(
                            f"the loss of step {self.done + 1} is no number: lower --rate;"
                            f" what was kept before is in {self._options.out}"
                        )
                    self.done += 1
                    self._spent_s += time.monotonic() - began_s
                    if self._options.minutes is not None and self.of is None and self.done >= PACED:
                        self.of = self.paced(self._options.minutes)
                    watch.took(self.done, self.of, parts, keep=self.at_epoch)
                    if self.at_epoch:
                        at_epoch()
        finally:
            batches.close()

    def paced(self, minutes: float) -> int:
        """The steps that the minutes are worth at the pace so far."""
        steps = max(self.done, round(60.0 * minutes * self.done / self._spent_s))
        LOG.info("%g minutes are %d steps here: --steps %d repeats it", minutes, steps, steps)
        return steps

    def pace(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate of the step to come; a group's `share` is its factor."""
        rate = rate_at(self._options.rate, self.done, self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)

    def save(self) -> None:
        """Write the checkpoint; a crash while writing leaves the one before."""
        state: dict[str, Any] = {name: one.state_dict() for name, one in self._kept.items()}
        with replaced(self.checkpoint) as partial:
            about = {"step": self.done, "steps": self.of, "spent": self._spent_s} | self._of_run
            torch.save(state | about | {"setting": self._options.setting()}, partial)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self._device, weights_only=True)
        for name, value in self._of_run.items():
            if value and state.get(name) and state[name] != value:
                raise EngineError(
                    f"{self.checkpoint} was begun with {name} {state[name]}, not {value}: resume with that,"
                    " or give another --out"
                )
        for name, own in self._options.setting().items():
            if (before := state.get("setting", {}).get(name, own)) != own:
                said = "%s is %s from here on, and was %s: only the same parts repeat this"
                LOG.info(said, name, own, before)
        try:
            for name, one in self._kept.items():
                one.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise EngineError(f"{self.checkpoint} is of another method: give another --out") from error
        self.done, self._spent_s = state["step"], state.get("spent", 0.0)
        self.of = self._options.steps or state.get("steps")
        LOG.info("going on from step %d of %s", self.done, self.of or "a budget in minutes")


def rate_at(peak: float, step: int, progress: float) -> float:
    """The learning rate of a step: a short rise, then half a cosine down to a hundredth of the peak.

    Args:
        peak: its highest.
        step: how many were before.
        progress: share of the training that is done, [0, 1].
    """
    rate = peak * min(1.0, (step + 1) / WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * progress))
    return rate + LAST_RATE * peak


def follow(average: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move averaged weights towards a network's by one step, by more in the first ones.

    Statistics of batches are taken over from the network, whose weights are others: averaged weights with
    batch normalization need their own before they are used, see `RepairTraining.settled_average`. The color
    networks and the one with a reference have none.

    Args:
        average: changed in place.
        network: of the same kind.
        step: how many were before.
        decay: share that is kept, in the long run.
    """
    decay = min(decay, (step + 1) / (step + 10))
    with torch.no_grad():
        for kept, fresh in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(fresh, 1.0 - decay)
        for kept, fresh in zip(average.buffers(), network.buffers(), strict=True):
            kept.copy_(fresh)

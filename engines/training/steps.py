"""The steps of a training: counted, logged, kept, and gone on with as if they had never stopped."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.training.batch import BatchThread

LOG = logging.getLogger(__name__)

SAY_EVERY = 50
WARM_STEPS = 100
"""Over which the learning rate rises to its peak."""
LAST_RATE = 0.01
"""Of the peak, what is left at the end."""
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
        out: folder of the checkpoint, the log and the contact sheets.
        steps: number of steps.
        batch: crops a step.
        epoch: steps between checkpoints.
        seed: of everything drawn.
        rate: peak learning rate.
        resume: go on from `out`'s checkpoint.
    """

    out: Path
    steps: int = 2000
    batch: int = 8
    epoch: int = 250
    seed: int = 0
    rate: float = 2e-3
    resume: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise EngineOptionError(f"steps and batch must be 1 or more, got {self.steps} and {self.batch}")


class Steps:
    """The steps of one run, which repeats from its seed and resumes as if it had not stopped.

    Args:
        options: how many, and where they are kept.
        kept: name in the checkpoint -> what is kept; on `device`.

    Attributes:
        done: steps so far.
        checkpoint: the file.

    Raises:
        EngineError: there is no checkpoint to resume, or it is of another training.
    """

    def __init__(self, options: StepOptions, kept: Mapping[str, Kept], device: torch.device) -> None:
        self._options, self._kept, self._device = options, kept, device
        self.done = 0
        self.checkpoint = options.out / "checkpoint.pt"
        options.out.mkdir(parents=True, exist_ok=True)
        if options.resume:
            self._resume()

    @property
    def progress(self) -> float:
        """Share of the steps that are done, [0, 1]."""
        return self.done / self._options.steps

    def random(self, step: int) -> np.random.Generator:
        """All chance of a step's batch, which depends on the seed and the step alone."""
        return np.random.default_rng((self._options.seed, step))

    def run(
        self,
        make: Callable[[int], _Batch],
        advance: Callable[[_Batch], dict[str, float]],
        at_epoch: Callable[[], object] = lambda: None,
    ) -> None:
        """Do those that are left.

        Args:
            make: step -> its batch; called ahead, in a thread of its own.
            advance: takes one step; gives the parts of its loss, for the log.
            at_epoch: called after every checkpoint, also the last.
        """
        batches = BatchThread(make, self.done)
        sums: dict[str, float] = {}
        since, started_s = self.done, time.monotonic()
        try:
            while self.done < self._options.steps:
                for name, value in advance(batches.next()).items():
                    sums[name] = sums.get(name, 0.0) + value
                self.done += 1
                if self.done % SAY_EVERY == 0:
                    self._say(sums, (time.monotonic() - started_s) / (self.done - since))
                    sums = {}
                if self.done % self._options.epoch == 0 or self.done == self._options.steps:
                    self.save()
                    at_epoch()
        finally:
            batches.close()

    def pace(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate of the step to come; a group's `share` is its factor."""
        rate = rate_at(self._options.rate, self.done, self.progress)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)

    def save(self) -> None:
        """Write the checkpoint; a crash while writing leaves the one before."""
        state: dict[str, Any] = {name: one.state_dict() for name, one in self._kept.items()}
        with replaced(self.checkpoint) as partial:
            torch.save(state | {"step": self.done}, partial)

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            raise EngineError(f"nothing to resume: no {self.checkpoint}")
        state = torch.load(self.checkpoint, map_location=self._device, weights_only=True)
        try:
            for name, one in self._kept.items():
                one.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise EngineError(f"{self.checkpoint} is of another method: give another --out") from error
        self.done = state["step"]

    def _say(self, sums: dict[str, float], pace_s: float) -> None:
        left_s = pace_s * (self._options.steps - self.done)
        parts = " ".join(f"{name} {value / SAY_EVERY:.5f}" for name, value in sums.items())
        LOG.info("step %d of %d, %.0f min left: %s", self.done, self._options.steps, left_s / 60, parts)


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

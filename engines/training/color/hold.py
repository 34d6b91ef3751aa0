"""Learns what is new, and keeps what was known: a network's answers are held to those of an earlier one.

Composites teach crowns and skies, and a training that mixes them in forgets a little of soil and roads, which
they do not show better. In the places of `held_places`, and in all of the proxy task's pictures, the earlier
network's answer stands in for the truth.

Reference: Li, Hoiem, Learning without Forgetting, ECCV 2016, arXiv 1606.09282, eq. 2: the classes are held by
their divergence from the earlier network's. Different: both tasks have the same outputs and are told apart by
place, no class is softened (T = 1), and the luma and the mean color that are shown are held, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from irchroma.engines.training.color.batch import Batch
from irchroma.engines.training.coloring_network import TEACHER, WIDTHS, ColorNetwork, Prediction, tone_of

CLASSES, COLOR, TONE = 1.0, 30.0, 8.0
"""What the classes' divergence, the shown chroma's L1 and the shown luma's count."""
TAUGHT = 1.5
"""What a teacher's answers count in the places that are free, beside those that are held."""


@dataclass(frozen=True)
class Lesson:
    """An earlier network's answers to a batch.

    Attributes:
        tone: (N, 1, S, S) float32 the luma it shows.
        said: what it says.
        places: (N, 1, S, S) float32 in [0, 1] how much of each pixel is held.
        teacher: what a larger network says, held in the other places for the truth; None: the truth is.
    """

    tone: Tensor
    said: Prediction
    places: Tensor
    teacher: Lesson | None = None

    def instead_of(self, tone: Tensor) -> Tensor:
        """(N, 1, S, S) the luma of the truth, where the answer is held that of the answer."""
        return torch.lerp(tone if self.teacher is None else self.teacher.tone, self.tone, self.places)

    def free(self, stride: int) -> Tensor:
        """(N, 1, S / stride, S / stride) how much of each cell the truth still says the color of."""
        held = functional.avg_pool2d(self.places, stride)
        return 1.0 - held if self.teacher is None else torch.zeros_like(held)

    def loss(self, mean: Callable[[Tensor], Tensor], shown: Tensor, said: Prediction) -> Tensor:
        """What an answer has moved by where it is held, mean over all pixels.

        Args:
            mean: the color that the logits of the chroma classes show, (N, K, h, w) -> (N, 2, h, w).
            shown: (N, 1, S, S) the luma that the answer shows.
            said: the answer.
        """
        logits = self.said.logits
        stride = self.places.shape[-1] // said.logits.shape[-1]
        if (coarser := logits.shape[-1] // said.logits.shape[-1]) > 1:
            logits = functional.avg_pool2d(logits, coarser)
        known = torch.log_softmax(logits.float(), dim=1)
        guess = torch.log_softmax(said.logits.float(), dim=1)
        apart = (known.exp() * (known - guess)).sum(1, keepdim=True)  # (N, 1, h, w)
        color = (mean(said.logits) - mean(logits)).abs().sum(1, keepdim=True)
        held = functional.avg_pool2d(self.places, stride)
        moved = (shown - self.tone).abs() * self.places
        kept = (held * (CLASSES * apart + COLOR * color)).mean() + TONE * moved.mean()
        return kept if self.teacher is None else kept + TAUGHT * self.teacher.loss(mean, shown, said)


class Hold:
    """Asks an earlier network for its answers.

    Args:
        network: the earlier one; kept, and changed no more.
        size: whose answers.
        teacher: another, whose `best` is learned from in the places that are not held; None: the truth is.
    """

    def __init__(self, network: ColorNetwork, size: str, teacher: ColorNetwork | None = None) -> None:
        self.network, self.size = network.eval().requires_grad_(False), size
        self.teacher = None if teacher is None else Hold(teacher, TEACHER)

    def __call__(self, batch: Batch) -> Lesson:
        """The answers to a batch on the network's device."""
        luma = batch.luma.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(luma.device.type, torch.bfloat16):
            said = self.network(luma, (self.size,))[self.size]
        scale = float(WIDTHS[self.size].stride)
        full = functional.interpolate(said.tone.float(), scale_factor=scale, mode="bilinear")
        shown = tone_of(full, batch.luma).clamp(0.0, 1.0)
        if self.teacher is None:
            return Lesson(shown, said, batch.held)
        better = self.teacher(batch)
        return Lesson(shown, said, batch.held, replace(better, places=1.0 - batch.held))

"""The training objective: one number, and its parts, from a batch and the network's predictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from irchroma.engines.training.batch import Batch
from irchroma.engines.training.coloring_network import ColorNetwork, Prediction
from irchroma.engines.training.pictures import UNLABELED
from irchroma.engines.training.train_losses import (
    DETAIL_SIGMA,
    DOUBT_SCALE,
    ChromaClasses,
    blur,
    classes_last,
    rgb_to_ycc,
    ssim,
)

STEADY_TONE = 0.2
"""How much a change of the base tone counts beside one of the color."""


@dataclass(frozen=True)
class ObjectiveWeights:
    """How much each part counts.

    Attributes:
        tone: L1 of the composed luma, root mean square of its low-pass part.
        structure: 1 - SSIM of the composed luma.
        classes: cross-entropy of the chroma classes.
        chroma: L1 of the annealed mean chroma.
        hue: shortfall of the chroma along the true hue.
        doubt: cross-entropy of the confidence.
        twins: disagreement of the two bands of one crop.
        steady: change of color and base tone from a sample to its echo.
        teach: `fast` against `best`.
        segment: cross-entropy of CamVid's classes.
        temperature: of the annealed mean in training.
    """

    tone: float = 2.0
    structure: float = 0.3
    classes: float = 0.15
    chroma: float = 3.0
    hue: float = 4.0
    doubt: float = 0.05
    twins: float = 0.1
    steady: float = 2.0
    teach: float = 0.1
    segment: float = 0.1
    temperature: float = 0.5


class Objective:
    """Computes the loss.

    Args:
        classes: the chroma classes with their balance.
        weights: how much each part counts.
    """

    def __init__(self, classes: ChromaClasses, weights: ObjectiveWeights) -> None:
        self.classes, self.weights = classes, weights

    def __call__(
        self, network: ColorNetwork, said: dict[str, Prediction], batch: Batch
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss to go down, and its parts for the log."""
        truth = rgb_to_ycc(batch.rgb)
        goal_tone = truth[:, 0:1]
        goal_low = blur(goal_tone, DETAIL_SIGMA)
        detail = batch.luma - blur(batch.luma, DETAIL_SIGMA)
        goal_chroma = functional.avg_pool2d(truth[:, 1:3], 4)
        parts: dict[str, Tensor] = {}
        for size, prediction in said.items():
            tone = functional.interpolate(prediction.tone.float(), scale_factor=4.0, mode="bilinear")
            low = blur(tone[:, 0:1] * batch.luma + tone[:, 1:2], DETAIL_SIGMA)
            composed = (low + detail - goal_tone).abs()
            spread = torch.sqrt(
                ((low - goal_low) ** 2).mean((1, 2, 3), keepdim=True) + 1e-6
            )  # per picture, as PSNR
            parts[f"{size}.tone"] = self.weights.tone * 0.5 * ((composed + spread) * batch.tone).mean()
            known = batch.tone[:, 0, 0, 0] > 0.0
            parts[f"{size}.structure"] = self.weights.structure * (
                1.0 - ssim((low + detail)[known], goal_tone[known])
            )
            parts |= self._chroma(size, prediction, goal_chroma, batch)
            if len(batch.echoes):
                parts[f"{size}.steady"] = self.weights.steady * self._unsteadiness(prediction, low, batch)
        if "best" in said:
            segments = network.segment(said["best"].features.float())
            if (batch.labels != UNLABELED).any():
                loss = functional.cross_entropy(segments, batch.labels, ignore_index=UNLABELED)
                parts["segment"] = self.weights.segment * loss
            if len(batch.twins):
                parts["twins"] = self.weights.twins * self._disagreement(said["best"], batch.twins)
            if "fast" in said:
                parts["teach"] = self.weights.teach * _divergence(
                    said["fast"].logits, said["best"].logits.detach()
                )
        total = torch.stack(list(parts.values())).sum()
        return total, {name: part.item() for name, part in parts.items()}

    def _chroma(self, size: str, prediction: Prediction, goal: Tensor, batch: Batch) -> dict[str, Tensor]:
        color = self.classes.mean(prediction.logits, self.weights.temperature)
        error = color - goal
        amount = goal.norm(dim=1, keepdim=True)
        along = (color * goal).sum(1, keepdim=True) / amount.clamp(min=1e-3)
        shortfall = (amount - along).clamp(min=0.0) * (amount > 0.025)
        colored = 0.5 + 12.0 * amount.clamp(max=0.2)  # a plain L1 ends at gray: most pixels are nearly that
        sure = torch.exp(-error.detach().norm(dim=1, keepdim=True) / DOUBT_SCALE)
        known = (batch.chroma > 0.0).float()
        doubt = functional.binary_cross_entropy_with_logits(prediction.sureness.float(), sure, weight=known)
        importance = batch.chroma[:, 0].expand(-1, *goal.shape[2:])
        return {
            f"{size}.classes": self.weights.classes
            * self.classes.entropy_loss(prediction.logits, goal, importance),
            f"{size}.chroma": self.weights.chroma
            * (error.abs().sum(1, keepdim=True) * colored * batch.chroma).mean(),
            f"{size}.hue": self.weights.hue * (shortfall * batch.chroma).mean(),
            f"{size}.doubt": self.weights.doubt * doubt,
        }

    def _unsteadiness(self, said: Prediction, low: Tensor, batch: Batch) -> Tensor:
        """L1 of color and base tone between echoes and what was said of the same places before.

        Base tone counts little: how bright a picture is says something of how bright the scene is.
        """
        before, after = batch.echoes[:, 0], batch.echoes[:, 1]
        color = self.classes.mean(said.logits, self.weights.temperature)
        answer = torch.cat([color, STEADY_TONE * functional.avg_pool2d(low, 4)], dim=1)
        places, counts = batch.paths[..., :2], batch.paths[..., 2].unsqueeze(1)
        expected = functional.grid_sample(
            answer[before].detach(), places, padding_mode="border", align_corners=False
        )
        change = (answer[after] - expected).abs().sum(1, keepdim=True)
        return (change * counts).sum() / counts.sum().clamp(min=1.0)

    def _disagreement(self, said: Prediction, twins: Tensor) -> Tensor:
        """Feature and pixel consistency: the infrared side follows the gray side, which knows the luma."""
        infrared, gray = twins[:, 0], twins[:, 1]
        features = said.features.float()
        pixels = _divergence(said.logits[infrared], said.logits[gray].detach())
        distance = (
            1.0 - functional.cosine_similarity(features[infrared], features[gray].detach(), dim=1).mean()
        )
        return pixels + distance


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the classes, mean over pixels, (N, K, h, w) logits."""
    known = torch.log_softmax(classes_last(teacher), dim=-1)
    guess = torch.log_softmax(classes_last(student), dim=-1)
    return (known.exp() * (known - guess)).sum(-1).mean()

"""The training objective: one number, and its parts, from a batch and the network's predictions.

What the networks are trained to do well: tone with the sensor's detail in it, saturated color, doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from irchroma.engines.recolor.color_space import KB, KG, KR
from irchroma.engines.training.color.batch import Batch
from irchroma.engines.training.color.hold import Lesson
from irchroma.engines.training.coloring_network import (
    WIDTHS,
    ColorNetwork,
    Prediction,
    chroma_centers,
    tone_of,
)
from irchroma.engines.training.pictures import UNLABELED

DETAIL_SIGMA = 2.0
"""Pixels: what is coarser is the base tone, whose error counts as a picture's exposure does."""
DOUBT_SCALE = 0.06
"""Chroma error (Euclidean, CbCr) at which the confidence to be predicted has fallen to 1/e."""
DETAIL_MIN = 4.0 / 255.0
"""Standard deviation of the input above which a window holds detail, as in `metrics`."""
CLEAR_SKY, CLEAR_MAX = (0.55, 0.025), 3.0 / 255.0
"""Y' and Cb above which a window of the truth is clear sky, if its standard deviation is not above this."""
EDGE_SIGMA = 1.0
"""Pixels: slopes are compared on pictures blurred so much, since pairs are not registered to the pixel."""
NEAR_SIGMA, NEAR_EDGE, AROUND_SIGMA = 4.0, 1.0, 12.0
"""Pixels: how far an edge reaches, how much more errors count there, how wide the mean error is taken."""
EDGE_COLOR = 8.0
"""How much more a color counts where the truth's changes by all of the chroma's range from cell to cell."""
GRID = 64
"""Cells a side of the table from chroma to soft classes; it spans Cb, Cr in [-0.5, 0.5)."""


def gaussian(sigma: float) -> Tensor:
    """A normalized one-dimensional kernel of radius 3 sigma."""
    radius = math.ceil(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    return kernel / kernel.sum()


@lru_cache(maxsize=32)
def _blurring(length: int, sigma: float) -> Tensor:
    """(length, length): the matrix that blurs a row, its ends reflected."""
    kernel = gaussian(sigma)
    radius = len(kernel) // 2
    matrix = torch.zeros(length, length)
    for shift, weight in enumerate(kernel.tolist(), start=-radius):
        for place in range(length):
            source = abs(place + shift)
            matrix[place, min(source, 2 * (length - 1) - source)] += weight
    return matrix


@lru_cache(maxsize=32)
def _averaging(length: int, window: int) -> Tensor:
    """(length - window + 1, length): the matrix that averages windows of a row."""
    count = length - window + 1
    place = torch.arange(length)[None] - torch.arange(count)[:, None]
    return ((place >= 0) & (place < window)).float() / window


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 1, H, W), edges reflected; as matrix products, which a CPU does best."""
    down, across = (_blurring(length, sigma).to(x) for length in x.shape[2:])
    return down @ x @ across.T


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Mean structural similarity of (N, 1, H, W) in [0, 1], uniform window, as scikit-image's default.

    Reference: Wang et al., Image quality assessment, IEEE TIP 2004, eq. 13.
    """

    def mean(x: Tensor) -> Tensor:
        return down @ x @ across.T

    a, b = a.float(), b.float()
    down, across = (_averaging(length, window).to(a) for length in a.shape[2:])
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    bottom = (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    return (top / bottom).mean()


def detail_lost(before: Tensor, after: Tensor, truth: Tensor, window: int = 7) -> Tensor:
    """1 less the detail kept, as `metrics.detail_kept` measures it; a scalar.

    Where the truth is blue sky without a cloud what the sensor shows is its own pattern, and may go.

    Args:
        before: (N, 1, H, W) the sensor's luma in [0, 1].
        after: (N, 1, H, W) the answer's.
        truth: (N, 3, H, W) Y', Cb, Cr.
        window: pixels.
    """
    down, across = (_averaging(length, window).to(before) for length in before.shape[2:])

    def mean(x: Tensor) -> Tensor:
        return down @ x @ across.T

    before, after = before.float(), after.float()
    mean_before, mean_after = mean(before), mean(after)
    var_before = (mean(before * before) - mean_before**2).clamp(min=0.0)
    var_after = (mean(after * after) - mean_after**2).clamp(min=1e-6)
    covariance = mean(before * after) - mean_before * mean_after
    light, blue = mean(truth[:, 0:1]), mean(truth[:, 1:2])
    rough = (mean(truth[:, 0:1] ** 2) - light**2) > CLEAR_MAX**2
    clear = (light > CLEAR_SKY[0]) & (blue > CLEAR_SKY[1]) & ~rough
    textured = ((var_before > DETAIL_MIN**2) & ~clear).float()
    correlation = covariance.abs() / torch.sqrt((var_before + 1e-6) * var_after)
    kept = correlation * torch.sqrt(var_after / (var_before + 1e-6)).clamp(max=1.0)
    return ((1.0 - kept) * textured).sum() / textured.sum().clamp(min=1.0)


def slopes(x: Tensor) -> Tensor:
    """(N, 1, H, W) -> (N, 2, H, W): differences to the right and downwards, 0 at the far borders."""
    right = functional.pad(x[..., 1:] - x[..., :-1], (0, 1))
    below = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([right, below], dim=1)


def rgb_to_ycc(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) R'G'B' in [0, 1] -> Y', Cb, Cr, BT.601 full range, chroma in [-0.5, 0.5]."""
    red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    luma = KR * red + KG * green + KB * blue
    return torch.cat([luma, (blue - luma) / 1.772, (red - luma) / 1.402], dim=1)


def classes_last(logits: Tensor) -> Tensor:
    """(N, K, h, w) of any type -> (N, h, w, K) float32, contiguous: a softmax over it copies nothing."""
    return logits.permute(0, 2, 3, 1).float().contiguous()


class ChromaClasses:
    """Chroma to soft classes and back, with weights against the gray majority.

    Reference: Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, section 2.2; here the classes
    lie on rings in CbCr, and a table of 64 x 64 cells replaces the nearest-neighbor search.
    """

    def __init__(self, frequency: np.ndarray | None = None, balance: float = 0.5) -> None:
        """Args:
        frequency: (64, 64) counts of the training pictures' chroma (`chroma_histogram`); None: no weights.
        balance: 0 leaves the classes as frequent as they are, 1 makes them all count the same.
        """
        self.centers = torch.from_numpy(chroma_centers())
        axis = (torch.arange(GRID) + 0.5) / GRID - 0.5
        cells = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).view(-1, 2)
        spread = 0.012 + 0.12 * cells.norm(dim=1, keepdim=True)
        nearness = torch.exp(-0.5 * (torch.cdist(cells, self.centers) / spread) ** 2) + 1e-12
        self.table = nearness / nearness.sum(1, keepdim=True)  # (cells, K)
        self.weights = torch.ones(GRID * GRID)
        if frequency is not None:
            share = torch.from_numpy(frequency.reshape(-1)).double()
            share = share / share.sum()
            per_class = (share[:, None] * self.table).sum(0)
            balanced = 1.0 / ((1.0 - balance) * per_class + balance / len(self.centers))
            weights = (self.table * balanced).sum(1)
            self.weights = (weights / (share * weights).sum()).float()

    def to(self, device: torch.device) -> ChromaClasses:
        """Move the tables."""
        self.centers, self.table, self.weights = (
            t.to(device) for t in (self.centers, self.table, self.weights)
        )
        return self

    @staticmethod
    def cell(chroma: Tensor) -> Tensor:
        """(N, 2, h, w) -> (N, h, w) int64 index of the table's cell."""
        place = ((chroma + 0.5) * GRID).long().clamp(0, GRID - 1)
        return place[:, 0] * GRID + place[:, 1]

    def mean(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """(N, K, h, w) -> (N, 2, h, w): the (annealed) mean color."""
        share = torch.softmax(classes_last(logits) / temperature, dim=-1)
        return (share @ self.centers.to(share)).permute(0, 3, 1, 2)

    def entropy_loss(self, logits: Tensor, chroma: Tensor, importance: Tensor) -> Tensor:
        """Cross-entropy of soft classes; `importance` (N, h, w) multiplies the class weights."""
        cell = self.cell(chroma)
        weight = self.weights[cell] * importance
        each = -(self.table[cell] * functional.log_softmax(classes_last(logits), dim=-1)).sum(-1)
        return (each * weight).sum() / weight.sum().clamp(min=1.0)


def chroma_histogram(pictures: list[np.ndarray]) -> np.ndarray:
    """(64, 64) counts of the chroma of (H, W, 3) uint8 pictures, every fourth pixel each way."""
    counts = np.zeros(GRID * GRID, np.float64)
    for rgb in pictures:
        small = torch.from_numpy(np.ascontiguousarray(rgb[::4, ::4])).permute(2, 0, 1)[None].float() / 255.0
        cells = ChromaClasses.cell(rgb_to_ycc(small)[:, 1:]).reshape(-1).numpy()
        counts += np.bincount(cells, minlength=GRID * GRID)
    return counts.reshape(GRID, GRID)


STEADY_TONE = 0.2
"""How much a change of the base tone counts beside one of the color."""


@dataclass(frozen=True)
class ObjectiveWeights:
    """How much each part counts.

    Attributes:
        tone: L1 of the luma, root mean square of its low-pass part.
        structure: 1 - SSIM of the luma.
        edges: L1 of the luma's slopes, which a halo beside an edge has and the truth has not.
        local: L1 of what is left of the luma's error less its mean around, most beside the truth's edges:
            halos again, whatever the exposure.
        detail: what is lost of the sensor's detail beyond what is `spared`.
        classes: cross-entropy of the chroma classes.
        chroma: L1 of the annealed mean chroma.
        hue: shortfall of the chroma along the true hue.
        doubt: cross-entropy of the confidence.
        twins: disagreement of the two bands of one crop.
        steady: change of color and base tone from a sample to its echo.
        teach: the smaller sizes against `best`.
        segment: cross-entropy of CamVid's classes.
        temperature: of the annealed mean in training.
        spared: share of the sensor's detail that may go for nothing: tone without fog takes some.
    """

    tone: float = 2.0
    structure: float = 0.3
    edges: float = 6.0
    local: float = 3.0
    detail: float = 2.0
    classes: float = 0.15
    chroma: float = 3.0
    hue: float = 7.0
    doubt: float = 0.05
    twins: float = 0.1
    steady: float = 2.0
    teach: float = 0.1
    segment: float = 0.1
    temperature: float = 0.5
    spared: float = 0.09


class Objective:
    """Computes the loss.

    Args:
        classes: the chroma classes with their balance.
        weights: how much each part counts.
    """

    def __init__(self, classes: ChromaClasses, weights: ObjectiveWeights) -> None:
        self.classes, self.weights = classes, weights

    def __call__(
        self,
        network: ColorNetwork,
        said: dict[str, Prediction],
        batch: Batch,
        lesson: Lesson | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss to go down, and its parts for the log.

        Where a lesson is held its tone is the truth, and no color and no doubt of the batch counts; the
        sensor's detail is asked for there as elsewhere, and the doubt is free to move.
        """
        truth = rgb_to_ycc(batch.rgb)
        goal_tone = truth[:, 0:1] if lesson is None else lesson.instead_of(truth[:, 0:1])
        goal_low = blur(goal_tone, DETAIL_SIGMA)
        goal_slopes = slopes(blur(goal_tone, EDGE_SIGMA))
        beside = blur(goal_slopes.norm(dim=1, keepdim=True), NEAR_SIGMA)
        beside = 1.0 + NEAR_EDGE * (beside / beside.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)).clamp(
            max=3.0
        )
        known = batch.tone[:, 0, 0, 0] > 0.0
        goal_chroma = {
            stride: functional.avg_pool2d(truth[:, 1:3], stride)
            for stride in {WIDTHS[size].stride for size in said}
        }
        parts: dict[str, Tensor] = {}
        for size, prediction in said.items():
            stride = WIDTHS[size].stride
            tone = functional.interpolate(
                prediction.tone.float(), scale_factor=float(stride), mode="bilinear"
            )
            shown = tone_of(tone, batch.luma)
            low = blur(shown, DETAIL_SIGMA)
            spread = torch.sqrt(
                ((low - goal_low) ** 2).mean((1, 2, 3), keepdim=True) + 1e-6
            )  # per picture, as PSNR
            error = (shown - goal_tone).abs() + spread
            parts[f"{size}.tone"] = self.weights.tone * 0.5 * (error * batch.tone).mean()
            parts[f"{size}.structure"] = self.weights.structure * (1.0 - ssim(shown[known], goal_tone[known]))
            wrong = low - goal_low
            wrong = (wrong - blur(wrong, AROUND_SIGMA)).abs() * beside
            parts[f"{size}.local"] = self.weights.local * (wrong * batch.tone).mean()
            tilt = (slopes(blur(shown, EDGE_SIGMA)) - goal_slopes).abs()
            parts[f"{size}.edges"] = self.weights.edges * (tilt * batch.tone).mean()
            lost = (detail_lost(batch.luma, shown, truth) - self.weights.spared).clamp(min=0.0)
            parts[f"{size}.detail"] = self.weights.detail * lost
            counts = batch.chroma if lesson is None else batch.chroma * lesson.free(stride)
            parts |= self._chroma(size, prediction, goal_chroma[stride], counts)
            if lesson is not None:
                parts[f"{size}.held"] = lesson.loss(self.classes.mean, shown, prediction)
            if len(batch.echoes):
                parts[f"{size}.steady"] = self.weights.steady * self._unsteadiness(prediction, low, batch)
        if "best" in said:
            segments = network.segment(said["best"].features.float())
            if (batch.labels != UNLABELED).any():
                loss = functional.cross_entropy(segments, batch.labels, ignore_index=UNLABELED)
                parts["segment"] = self.weights.segment * loss
            if len(batch.twins):
                parts["twins"] = self.weights.twins * self._disagreement(said["best"], batch.twins)
            for size in (size for size in said if size != "best"):
                parts[f"{size}.teach"] = self.weights.teach * self._taught(size, said)
        total = torch.stack(list(parts.values())).sum()
        return total, {name: part.item() for name, part in parts.items()}

    def _chroma(self, size: str, prediction: Prediction, goal: Tensor, counts: Tensor) -> dict[str, Tensor]:
        color = self.classes.mean(prediction.logits, self.weights.temperature)
        error = color - goal
        amount = goal.norm(dim=1, keepdim=True)
        along = (color * goal).sum(1, keepdim=True) / amount.clamp(min=1e-3)
        shortfall = (amount - along).clamp(min=0.0) * (amount > 0.025)
        colored = 0.5 + 12.0 * amount.clamp(max=0.2)  # a plain L1 ends at gray: most pixels are nearly that
        spread = functional.max_pool2d(goal, 3, 1, 1) + functional.max_pool2d(-goal, 3, 1, 1)
        colored = colored * (1.0 + EDGE_COLOR * spread.norm(dim=1, keepdim=True).clamp(max=0.2))
        sure = torch.exp(-error.detach().norm(dim=1, keepdim=True) / DOUBT_SCALE)
        known = (counts > 0.0).float()
        doubt = functional.binary_cross_entropy_with_logits(prediction.sureness.float(), sure, weight=known)
        importance = counts[:, 0].expand(-1, *goal.shape[2:])
        return {
            f"{size}.classes": self.weights.classes
            * self.classes.entropy_loss(prediction.logits, goal, importance),
            f"{size}.chroma": self.weights.chroma
            * (error.abs().sum(1, keepdim=True) * colored * counts).mean(),
            f"{size}.hue": self.weights.hue * (shortfall * counts).mean(),
            f"{size}.doubt": self.weights.doubt * doubt,
        }

    def _unsteadiness(self, said: Prediction, low: Tensor, batch: Batch) -> Tensor:
        """L1 of color and base tone between echoes and what was said of the same places before.

        Base tone counts little: how bright a picture is says something of how bright the scene is.
        """
        before, after = batch.echoes[:, 0], batch.echoes[:, 1]
        color = self.classes.mean(said.logits, self.weights.temperature)
        if (finer := low.shape[-1] // 4 // color.shape[-1]) > 1:
            color = functional.interpolate(color, scale_factor=float(finer), mode="bilinear")
        answer = torch.cat([color, STEADY_TONE * functional.avg_pool2d(low, 4)], dim=1)
        places, counts = batch.paths[..., :2], batch.paths[..., 2].unsqueeze(1)
        expected = functional.grid_sample(
            answer[before].detach(), places, padding_mode="border", align_corners=False
        )
        change = (answer[after] - expected).abs().sum(1, keepdim=True)
        return (change * counts).sum() / counts.sum().clamp(min=1.0)

    def _taught(self, size: str, said: dict[str, Prediction]) -> Tensor:
        """How far a size's classes are from those of `best`, at its own stride."""
        taught, teacher = said[size].logits, said["best"].logits.detach()
        if (coarser := teacher.shape[-1] // taught.shape[-1]) > 1:
            teacher = functional.avg_pool2d(teacher, coarser)
        return _divergence(taught, teacher)

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

"""What the reference network is trained to do, as one number with parts that can each be left out.

Pixel: low-pass tone and color of the truth. Perceptual: features of a pretrained network. Contrastive: a
cell of the infrared finds its own place in the reference among all others (InfoNCE). Adversarial: a patch
discriminator. With another scene's picture the goal is what the band's network says alone, under its cast.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from irchroma.engines.training.color.objective import rgb_to_ycc
from irchroma.engines.training.encoder import Encoder
from irchroma.engines.training.exemplar.modules import Trunk
from irchroma.engines.training.exemplar.network import CELL_PX, Matched
from irchroma.engines.training.exemplar.pairs import NOTHING, Triples

COARSE_PX = 4
"""Errors are means over so many pixels: detail is the sensor's and is not up to the reference."""
CHROMA = 2.5
FEATURES_SPREAD = 10.0
"""Standard deviation of the pretrained features."""
JUDGED = 2
"""Triples of a batch that the perceptual part sees: it costs as much as all else."""
SMOOTHED = 0.1
"""Share of the contrastive target that is not the partner itself: a sky has many equal places."""


@dataclass(frozen=True)
class ReferenceWeights:
    """How much each part counts.

    Attributes:
        pixel: low-pass L1 of Y', Cb, Cr, and root mean square for each picture.
        pattern: what the cells' tone and color lack in correlation with the truth's: a mean is no answer.
        perceptual: L1 of pretrained features at stride 8.
        contrastive: cross-entropy of the partner.
        adversarial: of the discriminator's judgment.
        harm: of the pixel part where the reference is of another scene; 0: the truth is the goal there too,
            which is paler than the band's own answer, so that any reference takes color away.
    """

    pixel: float = 1.0
    pattern: float = 0.15
    perceptual: float = 0.05
    contrastive: float = 0.06
    adversarial: float = 0.003
    harm: float = 1.5


class PatchDiscriminator(nn.Module):
    """Real or colored, patch by patch (Isola et al., CVPR 2017; spectral norm: Miyato et al., ICLR 2018)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in (24, 48, 96):
            layers += [spectral_norm(nn.Conv2d(inputs, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            inputs = width
        layers.append(spectral_norm(nn.Conv2d(inputs, 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, ycc: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1, H / 8, W / 8)."""
        judged: Tensor = self.layers(ycc)
        return judged


class ReferenceObjective:
    """Computes the loss.

    Args:
        weights: how much each part counts.
        judge: of R'G'B', pretrained, for the perceptual part.
    """

    def __init__(self, weights: ReferenceWeights, judge: Encoder) -> None:
        self.weights = weights
        self.judge = Trunk(judge).requires_grad_(False)
        self.discriminator = PatchDiscriminator()

    def __call__(self, said: Matched, batch: Triples, adversarial: bool) -> tuple[Tensor, dict[str, float]]:
        """The loss to go down, and its parts for the log."""
        weights = self.weights
        ycc, goal = said.ycc.float(), batch.goal
        if not weights.harm:
            goal = batch.same * goal + (1.0 - batch.same) * rgb_to_ycc(batch.rgb)
        count = batch.same + (1.0 - batch.same) * (weights.harm or 1.0)
        parts = {"pixel": weights.pixel * (_errors(ycc, goal) * count[:, 0, 0, 0]).mean()}
        if weights.pattern:
            away = _unlike(ycc[:, 0:1], goal[:, 0:1]) + _unlike(ycc[:, 1:3], goal[:, 1:3])
            parts["pattern"] = weights.pattern * away
        if weights.perceptual:
            seen = _features(self.judge, ycc_to_rgb(ycc[:JUDGED]))
            with torch.no_grad():
                wanted = _features(self.judge, ycc_to_rgb(goal[:JUDGED]))
            away = (seen - wanted).abs().mean() / FEATURES_SPREAD
            parts["perceptual"] = weights.perceptual * away
        if weights.contrastive:
            parts["contrastive"] = weights.contrastive * contrast(said.similarity.float(), batch.partner)
        if weights.adversarial and adversarial:
            parts["adversarial"] = -weights.adversarial * self.discriminator(ycc).mean()
        total = torch.stack(list(parts.values())).sum()
        return total, {name: part.item() for name, part in parts.items()}

    def judging(self, said: Matched, batch: Triples) -> Tensor:
        """The discriminator's own loss (hinge)."""
        real = self.discriminator(rgb_to_ycc(batch.rgb))
        made = self.discriminator(said.ycc.float().detach())
        return functional.relu(1.0 - real).mean() + functional.relu(1.0 + made).mean()


def contrast(similarity: Tensor, partner: Tensor) -> Tensor:
    """InfoNCE of the cells that have a partner in the reference, against all its other cells.

    Args:
        similarity: (N, P, M) logits.
        partner: (N, P) int64, -1 for none.
    """
    known = partner != NOTHING
    if not known.any():
        return similarity.sum() * 0.0
    return functional.cross_entropy(similarity[known], partner[known], label_smoothing=SMOOTHED)


def ycc_to_rgb(ycc: Tensor) -> Tensor:
    """(N, 3, H, W) Y', Cb, Cr, BT.601 full range -> R'G'B' in [0, 1]."""
    luma, blue, red = ycc[:, 0:1], ycc[:, 1:2], ycc[:, 2:3]
    return torch.cat(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], dim=1
    ).clamp(0.0, 1.0)


def _errors(ycc: Tensor, truth: Tensor) -> Tensor:
    """(N,): of each picture, low-pass."""
    away = functional.avg_pool2d(ycc - truth, COARSE_PX)
    tone = away[:, 0].square().mean((1, 2)) + 1e-5
    color = away[:, 1:3].square().sum(1).mean((1, 2)) + 1e-6
    absolute = away[:, 0].abs().mean((1, 2)) + CHROMA * away[:, 1:3].abs().sum(1).mean((1, 2))
    return 0.5 * absolute + 0.5 * (tone.sqrt() + CHROMA * color.sqrt())


def _unlike(planes: Tensor, truth: Tensor) -> Tensor:
    """1 less the correlation of the cells, mean over pictures; (N, C, H, W) each."""
    small, goal = functional.avg_pool2d(planes, CELL_PX), functional.avg_pool2d(truth, CELL_PX)
    small = small - small.mean((2, 3), keepdim=True)
    goal = goal - goal.mean((2, 3), keepdim=True)
    power = small.square().sum((1, 2, 3)) * goal.square().sum((1, 2, 3))
    return (1.0 - (small * goal).sum((1, 2, 3)) / torch.sqrt(power + 1e-4)).mean()


def _features(judge: Trunk, rgb: Tensor) -> Tensor:
    """(N, 40, H / 8, W / 8)."""
    x = functional.relu6(judge.stem((rgb * 255.0 - 127.0) * (1.0 / 128.0)))
    for stage in judge.stages[:3]:
        x = stage(x)
    return x

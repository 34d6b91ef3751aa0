"""`context-encoder`: encoder, a layer that connects each channel's places with each other, decoder, judge.

Reference: Pathak, Krähenbühl, Donahue, Darrell, Efros, Context Encoders: Feature Learning by Inpainting, CVPR
2016, arXiv 1604.07379; numbers are that paper's equations and sections. Different here: widths are about a
fifth of the paper's, the answer is the whole picture rather than its middle (as the holes lie anywhere), and
the mask is seen as a second channel beside the mean that fills the hole.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.repair.method import SIDE, RepairBatch, completed, known_mean

RECONSTRUCTION_WEIGHT, ADVERSARIAL_WEIGHT = 0.999, 0.001  # section 5.1 of eq. 3
OVERLAP_PX, OVERLAP_WEIGHT = (
    7,
    10.0,
)  # section 5.1: where the answer overlaps what is known, errors count more
WIDTHS = (16, 32, 48, 80, 112)


class ChannelWise(nn.Module):
    """Every place of a channel connected with every other of it, channels apart (section 3.1).

    m maps of n x n places need m n^4 parameters, m^2 n^4 if all were connected. The 1x1 convolution after it
    passes on between channels.

    Args:
        channels: m.
        side: n.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        # A filter of n x n for each of the n x n answers of a channel sees all of the channel at once.
        self.connect = nn.Conv2d(channels, channels * side * side, side, groups=channels, bias=False)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(N, m, n, n) -> (N, m, n, n)."""
        return functional.pixel_shuffle(self.connect(x), self.side)


class ContextNetwork(nn.Module):
    """4x4 convolutions of stride 2 down to 4x4 places, the channel-wise layer, and the same way up."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, side: int = SIDE) -> None:
        super().__init__()
        down: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise((2, *widths))):
            down.append(nn.Conv2d(before, after, 4, 2, padding=1, bias=index == 0))
            down += [nn.BatchNorm2d(after)] * (index > 0) + [nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*down)
        self.middle = nn.Sequential(
            ChannelWise(widths[-1], side >> len(widths)),
            nn.Conv2d(widths[-1], widths[-1], 1, bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
        )
        up: list[nn.Module] = []
        for before, after in pairwise(reversed(widths)):
            up += [nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False), nn.BatchNorm2d(after)]
            up.append(nn.ReLU())
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(widths[0], 1, 4, 2, padding=1))

    def forward(self, holed: Tensor, hole: Tensor) -> Tensor:
        """See `RepairMethod.network`; S is what the channel-wise layer was made for."""
        mean = known_mean(holed, hole)
        seen = torch.cat([(holed - mean) * (1.0 - hole), hole], dim=1)
        answer: Tensor = self.decoder(self.middle(self.encoder(seen))) + mean
        return answer


def discriminator(side: int, width: int = 24, channels: int = 1) -> nn.Sequential:
    """(N, C, side, side) -> (N, 1, 1, 1) logit of being real; 4x4 convolutions of stride 2 down to 4x4."""
    layers: list[nn.Module] = []
    before, after = channels, width
    while side > 4:
        layers += [nn.Conv2d(before, after, 4, 2, padding=1)]
        layers += [nn.BatchNorm2d(after)] * (before != channels) + [nn.LeakyReLU(0.2)]
        before, after, side = after, min(4 * width, 2 * after), side // 2
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 4))


def real(logit: Tensor) -> Tensor:
    """Mean -log of the probability that the judge gives to "real"."""
    return functional.softplus(-logit.float()).mean()


def made_up(logit: Tensor) -> Tensor:
    """Mean -log of the probability that the judge gives to "made up"."""
    return functional.softplus(logit.float()).mean()


class ContextEncoder:
    """The method: squared errors in the hole (eq. 1) and a judge (eq. 2), 0.999 and 0.001 (eq. 3)."""

    name = "context-encoder"

    def __init__(self) -> None:
        self.network: nn.Module = ContextNetwork()
        self.judge: nn.Module | None = discriminator(SIDE)

    def loss(
        self, batch: RepairBatch, made: Tensor, progress: float
    ) -> tuple[Tensor | None, dict[str, float]]:
        """Eq. 3; the hole reaches some pixels into what is known, where errors count ten times."""
        if self.judge is None:
            raise RuntimeError("a context encoder needs its judge")
        size = 2 * OVERLAP_PX + 1
        wide = functional.max_pool2d(batch.hole, size, 1, OVERLAP_PX)
        weight = batch.hole + OVERLAP_WEIGHT * (wide - batch.hole)
        squared = ((made - batch.luma) ** 2 * weight).mean() / batch.hole.mean().clamp(min=1e-3)
        adversarial = real(self.judge(completed(batch, made)))
        value = RECONSTRUCTION_WEIGHT * squared + ADVERSARIAL_WEIGHT * adversarial
        return value, {"squared": squared.item(), "adversarial": adversarial.item()}

    def judgement(self, batch: RepairBatch, made: Tensor, progress: float) -> Tensor | None:
        """Eq. 2, which the judge brings up."""
        if self.judge is None:
            raise RuntimeError("a context encoder needs its judge")
        return 0.5 * (real(self.judge(batch.luma)) + made_up(self.judge(completed(batch, made))))

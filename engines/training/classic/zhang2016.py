"""`zhang2016`: coloring as classification into 313 colors, rebalanced against gray, annealed mean.

Reference: Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, arXiv 1603.08511; numbers below are
that paper's equations and sections. Different here: widths are an eighth of the paper's so that it runs
live; and which 313 grid points are in the gamut is decided by their distance to sRGB's own colors, as 261
cells hold one of those and the paper does not say how it counts.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.classic.lab import rgb_to_lab
from irchroma.engines.training.classic.method import ClassicBatch, ab_to_chroma, on_luma, settled

BINS = 313  # section 2.1
GRID = 10  # section 2.1: ab bins of size 10
NEIGHBORS = 5  # section 2.1: soft encoding by the 5 nearest bins
SIGMA = 5.0  # section 2.1: weighted by a Gaussian of sigma 5
UNIFORM = 0.5  # eq. 4: lambda, the share of the uniform distribution
PRIOR_SIGMA = 5.0  # section 2.2: the empirical distribution is smoothed with sigma 5
TEMPERATURE = 0.38  # eq. 5
STRIDE = 4


@lru_cache(maxsize=1)
def gamut_bins() -> np.ndarray:
    """(313, 2) float32: the a*, b* of the bins, in order of a*, then b*."""
    axis = torch.arange(0.0, 1.0001, 1 / 51)
    cube = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(1, 3, -1, 1)
    colors = rgb_to_lab(cube)[0, 1:, :, 0].T  # every fifth level of sRGB
    line = torch.arange(-11.0, 12.0) * GRID  # the grid of the paper's figure 3
    points = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2)
    distance = torch.cdist(points, colors).min(1).values
    nearest = torch.argsort(distance, stable=True)[:BINS].sort().values
    return np.asarray(points[nearest].numpy(), np.float32)


def soft_encoding(ab: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest bins of each color and their shares, which sum to 1 (section 2.1).

    Args:
        ab: (M, 2).
        bins: (313, 2).

    Returns:
        (M, 5) int64 indices and (M, 5) float32 shares.
    """
    distance, index = torch.cdist(ab, bins).topk(NEIGHBORS, dim=1, largest=False)
    share = torch.exp(-0.5 * (distance / SIGMA) ** 2)
    return index, share / share.sum(1, keepdim=True).clamp(min=1e-30)


def rebalancing(frequency: Tensor, bins: Tensor) -> Tensor:
    """(313,) class weights whose mean over the training colors is 1 (eq. 3 and 4).

    Args:
        frequency: (313,) share of each bin among the training colors.
        bins: (313, 2).
    """
    near = torch.exp(-0.5 * (torch.cdist(bins, bins) / PRIOR_SIGMA) ** 2)
    smooth = (near / near.sum(1, keepdim=True)).T @ frequency
    smooth = smooth / smooth.sum()
    weight = 1.0 / ((1.0 - UNIFORM) * smooth + UNIFORM / len(bins))
    return weight / (smooth * weight).sum()


def annealed_mean(logits: Tensor, bins: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """(N, 313, h, w) -> (N, 2, h, w): 1 gives the mean, towards 0 the mode (eq. 5)."""
    share = torch.softmax(logits / temperature, dim=1)
    return functional.conv2d(share, bins.T[:, :, None, None].to(share))


def _block(widths: tuple[int, ...], dilation: int = 1, halve: bool = False) -> nn.Sequential:
    """Convolutions of 3x3 with ReLU, the last one by two where asked for, and one batch normalization."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(widths)):
        step = 2 if halve and index == len(widths) - 2 else 1
        layers += [
            nn.Conv2d(before, after, 3, step, padding=dilation, dilation=dilation),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]))


class ZhangNetwork(nn.Module):
    """The paper's layer plan (its table 4), conv1 to conv8 and the 313 answers, at stride 4.

    Args:
        share: of the paper's widths, which are 64 to 512.
    """

    def __init__(self, share: float = 0.125) -> None:
        super().__init__()
        w64, w128, w256, w512 = (max(8, round(share * width)) for width in (64, 128, 256, 512))
        self.conv1 = _block((1, w64, w64), halve=True)
        self.conv2 = _block((w64, w128, w128), halve=True)
        self.conv3 = _block((w128, w256, w256, w256), halve=True)
        self.conv4 = _block((w256, w512, w512, w512))
        self.conv5 = _block((w512, w512, w512, w512), dilation=2)
        self.conv6 = _block((w512, w512, w512, w512), dilation=2)
        self.conv7 = _block((w512, w512, w512, w512))
        self.up8 = nn.ConvTranspose2d(w512, w256, 4, 2, padding=1)
        self.conv8 = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(w256, w256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(w256, w256, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.answer = nn.Conv2d(w256, BINS, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module is not self.answer:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.answer.weight, std=0.01)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> (N, 313, H / 4, W / 4) logits."""
        x = self.conv3(self.conv2(self.conv1(luma - 0.5)))
        x = self.conv7(self.conv6(self.conv5(self.conv4(x))))
        answer: Tensor = self.answer(self.conv8(self.up8(x)))
        return answer


class _Exported(nn.Module):
    """Annealed mean to Cb and Cr; confidence is the share of the likeliest eighth of the bins."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("bins", torch.from_numpy(gamut_bins()))

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(luma)
        ab = annealed_mean(logits, self.bins)
        share = torch.softmax(logits, dim=1)
        sure = (share * share).sum(1, keepdim=True).sqrt()  # 1 for one color, 0.06 for all alike
        small = functional.avg_pool2d(luma, STRIDE)
        return on_luma(luma, ab_to_chroma(small, ab), (sure * 2.0).clamp(0.0, 1.0))


class Zhang2016:
    """The method: multinomial cross-entropy of soft-encoded colors with rebalanced classes (eq. 2)."""

    name = "zhang2016"

    def __init__(self) -> None:
        self.network: ZhangNetwork = ZhangNetwork()
        self.bins = torch.from_numpy(gamut_bins())
        self.weights = torch.ones(BINS)

    def begin(self, colors: list[Tensor]) -> None:
        """Count the training colors for the rebalancing."""
        counts = torch.zeros(BINS)
        for rgb in colors:
            ab = rgb_to_lab(rgb[None, :, ::8, ::8])[0, 1:].flatten(1).T
            index, share = soft_encoding(ab, self.bins)
            counts.index_add_(0, index.flatten(), share.flatten())
        self.weights = rebalancing(counts / counts.sum(), self.bins)

    def loss(self, batch: ClassicBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Eq. 2, mean over pixels."""
        device = batch.luma.device
        bins, weights = self.bins.to(device), self.weights.to(device)
        ab = rgb_to_lab(functional.avg_pool2d(batch.rgb, STRIDE))[:, 1:]
        index, share = soft_encoding(ab.permute(0, 2, 3, 1).reshape(-1, 2), bins)
        weight = weights[index[:, 0]]  # eq. 3: by the color's nearest bin
        said = self.network(batch.luma).float().permute(0, 2, 3, 1).reshape(-1, BINS)
        each = -(share * torch.log_softmax(said, dim=1).gather(1, index)).sum(1)
        value = (each * weight).mean()
        return value, {"classes": value.item()}

    def exported(self) -> nn.Module:
        """Annealed mean at T = 0.38."""
        return _Exported(settled(self.network))

"""`partial-conv`: convolutions that look at known pixels alone, and a mask that shrinks layer by layer.

Reference: Liu, Reda, Shih, Wang, Tao, Catanzaro, Image Inpainting for Irregular Holes Using Partial
Convolutions, ECCV 2018, arXiv 1804.07723; numbers are that paper's equations and sections. Different here:
five steps down instead of eight and a fraction of the widths, as the picture is 128 pixels wide and must be
filled while a video runs; no perceptual and style loss (eq. 4 and 5), whose network knows color photographs:
the differences of neighbors stand in for them, which blur makes smaller; one mask for all channels of a
layer, which is what the paper's masks are. A network that sees its picture for the first time has the known
pixels' mean taken off, which is given back at the end.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.repair.method import RepairBatch, completed, known_mean

VALID_WEIGHT, HOLE_WEIGHT = 1.0, 6.0  # section 3.3, eq. 7
VARIATION_WEIGHT = 0.1  # eq. 7: total variation
EDGE_WEIGHT = 2.0
"""Of the differences of neighbors, which are the truth's in the hole as well."""

Part = tuple[Tensor, Tensor]
"""Features (N, C, h, w) and their mask (N, 1, h, w), 1 where they are valid."""


class PartialConv(nn.Module):
    """A convolution over valid places, made good for missing ones (eq. 1), and the new mask (eq. 2).

    Where any valid place is under the kernel: W^T (X * M) * sum(1) / sum(M) + b, and the mask is 1; elsewhere
    both are 0. Two parts are seen as one after the other in the channels, each with its own mask.

    Args:
        widths: channels of each part, one or two.
        after: channels of the answer.
        kernel: side, odd.
        step: stride.
    """

    def __init__(self, widths: tuple[int, ...], after: int, kernel: int, step: int = 1) -> None:
        super().__init__()
        self.widths, self.kernel, self.step = widths, kernel, step
        self.conv = nn.Conv2d(sum(widths), after, kernel, step, padding=kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(1, after, 1, 1))
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, *parts: Part) -> Part:
        """Features and mask of the answer."""
        total = float(sum(self.widths))
        answer = self.conv(torch.cat([features * mask for features, mask in parts], dim=1))
        masks = [mask * (width / total) for width, (_, mask) in zip(self.widths, parts, strict=True)]
        share = masks[0] if len(masks) == 1 else masks[0] + masks[1]
        # sum(M) / sum(1), counting what lies outside of the picture as missing, as its zeros are
        share = functional.avg_pool2d(share, self.kernel, self.step, self.kernel // 2)
        valid = (share * 1e3).clamp(0.0, 1.0)  # 1 from the smallest share that there is, one channel in 225
        scaled = answer / share.clamp(min=1e-3)
        return (scaled + self.bias) * valid, valid


class PartialNetwork(nn.Module):
    """A U-Net of partial convolutions (section 3.2): 7x7, 5x5, then 3x3; nearest neighbors on the way up."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96, 96)) -> None:
        super().__init__()
        before = (1, *widths[:-1])
        kernels = (7, 5, 3, 3, 3)
        self.down = nn.ModuleList(
            PartialConv((one,), after, kernel, 2)
            for one, after, kernel in zip(before, widths, kernels, strict=True)
        )
        ups = ((widths[4], widths[3], 96), (96, widths[2], 64), (64, widths[1], 32), (32, widths[0], 24))
        self.up = nn.ModuleList(PartialConv((below, beside), after, 3) for below, beside, after in ups)
        self.last = PartialConv((24, 1), 1, 3)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (*widths[1:], 96, 64, 32, 24))
        nn.init.normal_(self.last.conv.weight, std=0.01)

    def forward(self, holed: Tensor, hole: Tensor) -> Tensor:
        """See `RepairMethod.network`."""
        known = 1.0 - hole
        mean = known_mean(holed, hole)
        part: Part = ((holed - mean) * known, known)
        beside = [part]
        norms = iter(self.norms)
        for index, layer in enumerate(self.down):
            features, mask = layer(part)
            if index:  # section 3.2: every layer but the first and the last
                features = next(norms)(features)
            part = (torch.relu(features), mask)
            beside.append(part)
        for layer, other in zip((*self.up, self.last), reversed(beside[:-1]), strict=True):
            features = functional.interpolate(part[0], scale_factor=2.0, mode="nearest")
            mask = functional.interpolate(part[1], scale_factor=2.0, mode="nearest")
            features, mask = layer((features, mask), other)
            if layer is not self.last:
                features = functional.leaky_relu(next(norms)(features), 0.2)  # section 3.2: 0.2 on the way up
            part = (features, mask)
        answer: Tensor = part[0] + mean
        return answer


def _steps(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbors in rows and in columns."""
    return picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]


def _latter(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The mask at the second pixel of each of these differences."""
    return mask[..., 1:], mask[..., 1:, :]


class PartialConvolution:
    """The method: absolute errors in the hole and around it, and differences of neighbors."""

    name = "partial-conv"

    def __init__(self) -> None:
        self.network: nn.Module = PartialNetwork()
        self.judge: nn.Module | None = None

    def loss(
        self, batch: RepairBatch, made: Tensor, progress: float
    ) -> tuple[Tensor | None, dict[str, float]]:
        """Eq. 7 without its perceptual and style parts."""
        error = (made - batch.luma).abs()
        share = batch.hole.mean().clamp(min=1e-3)
        hole = (error * batch.hole).mean() / share  # per missing pixel, so that small holes count too
        valid = (error * (1.0 - batch.hole)).mean()
        whole = completed(batch, made)
        parts = zip(_steps(whole), _steps(batch.luma), _latter(batch.hole), strict=True)
        edges = sum(((wrong - right).abs() * near).mean() for wrong, right, near in parts) / share
        rim = functional.max_pool2d(batch.hole, 3, 1, 1)  # eq. 6: the hole and one pixel around it
        steps = zip(_steps(whole), _latter(rim), strict=True)
        variation = sum((step.abs() * near).mean() for step, near in steps)
        value = HOLE_WEIGHT * hole + VALID_WEIGHT * valid
        value = value + EDGE_WEIGHT * edges + VARIATION_WEIGHT * variation
        return value, {"hole": hole.item(), "valid": valid.item()}

    def judgement(self, batch: RepairBatch, made: Tensor, progress: float) -> Tensor | None:
        """None: there is no judge."""
        return None

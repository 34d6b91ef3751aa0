"""Parts of the reference network: what it looks at, how widely, and what of it counts.

Reference: Zhan et al., Enhancing thermal infrared image colorization through reference-driven and
contrastive learning approaches, Infrared Physics & Technology 145, 2024, 105675 (multi-receptive-field
feature integration, channel and spatial feature enhancement, stop-gradient attention). The paper leaves
widths open; those here are what a CPU can run live.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.encoder import FIRST_STAGES, Encoder

DIM, LARGER_DIM = 64, 192
"""Channels of the features that are compared: what a CPU runs live, and a form for GPUs."""
DILATIONS = (1, 2, 4)
LARGE_PX = 7
"""Side of the large kernel, at stride 16."""
LEVELS = (40, 80)
"""Channels of the trunk's features at strides 8 and 16."""


class Trunk(nn.Module):
    """EfficientNet-Lite0 up to the three blocks at stride 16 that have 80 channels."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.stem = encoder.stem
        self.stages = nn.ModuleList(list(encoder.stages)[:4])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in [0, 1] -> (N, 40, H / 8, W / 8) and (N, 80, H / 16, W / 16)."""
        x = functional.relu6(self.stem((x * 255.0 - 127.0) * (1.0 / 128.0)))
        for stage in self.stages[:FIRST_STAGES]:
            x = stage(x)
        return x, self.stages[FIRST_STAGES](x)

    def freeze(self) -> None:
        """Keep stem and the first stages as they are."""
        for part in (self.stem, *self.stages[:FIRST_STAGES]):
            part.requires_grad_(False)


class MultiReceptive(nn.Module):
    """MFIM: dilated kernels, a large one and the whole picture, weighed by the picture itself."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, channels, 1)
        kernels = [(3, dilation) for dilation in DILATIONS] + [(LARGE_PX, 1)]
        self.branches = nn.ModuleList(
            nn.Conv2d(
                channels, channels, side, padding=dilation * (side // 2), dilation=dilation, groups=channels
            )
            for side, dilation in kernels
        )
        self.weigh = nn.Conv2d(channels, len(kernels) + 1, 1)
        self.join = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.enter.weight.mul_(0.1)  # the trunk's features have a standard deviation of about 10

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, channels, h, w)."""
        x = functional.relu(self.enter(x))
        whole = functional.adaptive_avg_pool2d(x, 1)
        share = torch.softmax(self.weigh(whole), dim=1)
        total = share[:, -1:] * whole
        for index, branch in enumerate(self.branches):
            total = total + share[:, index : index + 1] * branch(x)
        return x + self.join(functional.relu(total))


class Narrow(nn.Module):
    """What stands in MFIM's place without it: one convolution."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, channels, 1)
        with torch.no_grad():
            self.enter.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, channels, h, w)."""
        return functional.relu(self.enter(x))


class Enhancement(nn.Module):
    """CSFEM: which channels count in this picture, then which places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.less = nn.Conv2d(channels, channels // 4, 1)
        self.more = nn.Conv2d(channels // 4, channels, 1)
        self.place = nn.Conv2d(2, 1, LARGE_PX, padding=LARGE_PX // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> the same, weighed; both weights are 1 where nothing has been learned."""
        whole = functional.adaptive_avg_pool2d(x, 1)
        x = x * (2.0 * torch.sigmoid(self.more(functional.relu(self.less(whole)))))
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * (2.0 * torch.sigmoid(self.place(seen)))


class Side(nn.Module):
    """One of the two encoders: a picture's luma to what is compared, and what is known of each place besides.

    Args:
        encoder: whose first stages are the trunk.
        integrates: with MFIM.
        enhances: with CSFEM.
        dim: channels of the features.
    """

    def __init__(
        self, encoder: Encoder, integrates: bool = True, enhances: bool = True, dim: int = DIM
    ) -> None:
        super().__init__()
        self.trunk = Trunk(encoder)
        self.trunk.freeze()
        fine, coarse = LEVELS
        self.wide = MultiReceptive(coarse, dim) if integrates else Narrow(coarse, dim)
        self.lateral = nn.Conv2d(fine, dim, 1)
        self.enhance = Enhancement(dim) if enhances else nn.Identity()
        self.near = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.mix = nn.Conv2d(dim, dim, 1)
        self.project = nn.Conv2d(dim + 2 + 3, dim, 1)
        with torch.no_grad():
            self.lateral.weight.mul_(0.1)

    def forward(self, picture: Tensor, place: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """Features of every cell of 8 x 8 pixels, and what of them is compared.

        Args:
            picture: (N, 1, H, W) luma in [0, 1].
            place: (N, 2, H / 8, W / 8) where a cell lies in its picture, x and y in [-1, 1].
            small: (N, 3, H / 8, W / 8) Y', Cb, Cr of the cells; of the infrared as its band's network
                colors it, which says what is there.

        Returns:
            (N, dim, H / 8, W / 8) each.
        """
        fine, coarse = self.trunk(picture)
        x = functional.interpolate(self.wide(coarse), scale_factor=2.0, mode="bilinear")
        x = self.enhance(functional.relu(x + self.lateral(fine)))
        x = x + self.mix(functional.relu(self.near(x)))
        about = torch.cat([x, place, 2.0 * small[:, 0:1] - 1.0, 6.0 * small[:, 1:3]], dim=1)
        return x, self.project(about)


def direction_of(compared: Tensor) -> Tensor:
    """Where each cell differs from its picture, length 1: what a band does to all of a picture drops out.

    Reference: Zhang et al., Deep Exemplar-based Video Colorization, CVPR 2019, eq. 1: features are centered
    before they are correlated.
    """
    return of_length_one(compared - compared.mean((2, 3), keepdim=True))


def of_length_one(x: Tensor) -> Tensor:
    """(N, C, h, w) with every place's vector of length 1."""
    return x / torch.sqrt((x * x).sum(1, keepdim=True) + 1e-4)


def places(count: int, height: int, width: int) -> Tensor:
    """(N, 2, h, w) float32: x and y of the cells' middles in [-1, 1]."""
    y = ((torch.arange(height) + 0.5) / height * 2 - 1)[:, None].expand(height, width)
    x = ((torch.arange(width) + 0.5) / width * 2 - 1)[None].expand(height, width)
    return torch.stack([x, y])[None].repeat(count, 1, 1, 1)

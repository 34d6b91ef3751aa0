"""What a classic colorizer is to its training: a network, a loss, and the graph that ships."""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.classic.lab import lab_to_rgb, luma_to_lightness
from irchroma.engines.training.color.objective import rgb_to_ycc

SCENES = (
    "country", "field", "forest", "indoor", "mountain", "oldbuilding", "street", "urban", "water", "road",
)  # fmt: skip
"""The kinds of scene that the file names of the training pictures tell."""
UNKNOWN = -1


def scene_of(name: str) -> int:
    """Index in SCENES of a training picture by its name; UNKNOWN where the name does not say."""
    words = name.replace("/", "_").split("_")
    if "camvid" in words:
        return SCENES.index("road")
    return next((SCENES.index(word) for word in words if word in SCENES), UNKNOWN)


@dataclass
class ClassicBatch:
    """Tensors of N crops of S pixels a side.

    Attributes:
        luma: (N, 1, S, S) float32 Y' of the band, [0, 1].
        rgb: (N, 3, S, S) float32 R'G'B', [0, 1].
        labels: (N, S / 8, S / 8) int64 CamVid classes, 11 where unknown.
        scene: (N,) int64 index in SCENES, -1 where unknown.
    """

    luma: Tensor
    rgb: Tensor
    labels: Tensor
    scene: Tensor

    def to(self, device: torch.device) -> ClassicBatch:
        return ClassicBatch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Method(Protocol):
    """One paper's colorizer.

    Attributes:
        name: of the engine, the paper's first author and year.
        network: what is trained.
    """

    name: str
    network: nn.Module

    def begin(self, colors: list[Tensor]) -> None:
        """Called once before the first step, with (3, H, W) pictures of the training set."""

    def loss(self, batch: ClassicBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The number to go down, and its parts for the log; `progress` runs from 0 to 1."""

    def exported(self) -> nn.Module:
        """Luma (N, 1, H, W) -> `ycc` (N, 3, H, W) BT.601 full range, `confidence` (N, 1, H, W)."""


class ChannelScale(nn.Module):
    """What a trained batch normalization amounts to: a factor and an offset for each channel."""

    def __init__(self, trained: nn.BatchNorm2d) -> None:
        super().__init__()
        scale = trained.weight / torch.sqrt(trained.running_var + trained.eps)
        self.register_buffer("scale", scale.detach()[:, None, None])
        self.register_buffer("offset", (trained.bias - trained.running_mean * scale).detach()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, scaled."""
        return x * self.scale + self.offset


def settled(network: nn.Module) -> nn.Module:
    """A copy whose batch normalizations are factors: variances above 65504 do not fit float16."""
    made = copy.deepcopy(network)
    for module in list(made.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, ChannelScale(child))
    return made


def ab_to_chroma(luma: Tensor, ab: Tensor) -> Tensor:
    """a*, b* beside a luma's lightness to (N, 2, h, w) Cb, Cr in [-0.5, 0.5], cut off at sRGB's gamut.

    Args:
        luma: (N, 1, h, w) Y' in [0, 1].
        ab: (N, 2, h, w).
    """
    rgb = lab_to_rgb(torch.cat([luma_to_lightness(luma), ab], dim=1))
    return rgb_to_ycc(rgb)[:, 1:3]


def on_luma(luma: Tensor, chroma: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """Small chroma and confidence at the luma's size, the luma itself as Y'."""
    size = [luma.shape[2], luma.shape[3]]
    chroma = functional.interpolate(chroma, size=size, mode="bilinear")
    return torch.cat([luma, chroma], dim=1), functional.interpolate(confidence, size=size, mode="bilinear")

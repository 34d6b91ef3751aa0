"""`iizuka2016`: local features and a global one, fused at every place, with a classifier beside.

Reference: Iizuka, Simo-Serra, Ishikawa, Let there be Color!: Joint End-to-end Learning of Global and Local
Image Priors for Automatic Image Colorization with Simultaneous Classification, ACM TOG 35(4), 2016; numbers
below are that paper's. Different here: widths are an eighth of the paper's so that it runs live, and the
classes are the ten kinds of scene that the training pictures' names tell instead of 205 places.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.classic.lab import rgb_to_lab
from irchroma.engines.training.classic.method import (
    SCENES,
    UNKNOWN,
    ClassicBatch,
    ab_to_chroma,
    on_luma,
    settled,
)

GLOBAL_SIDE = 224  # section 3.1: the picture for the global features is of fixed size
CLASS_WEIGHT = 1.0 / 300.0  # section 4: alpha, of the classification
AB_SPAN = 220.0
"""a* and b* lie in [-110, 110]; the answers are a sigmoid's."""


def _conv(before: int, after: int, step: int = 1) -> nn.Sequential:
    """3x3, batch normalization, ReLU (section 4: batch normalization throughout)."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, step, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class Fusion(nn.Module):
    """The global vector beside the local features at every place (eq. 1): ReLU(b + W [global; local])."""

    def __init__(self, local: int, whole: int, after: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(local, after, 1)
        self.whole = nn.Linear(whole, after, bias=False)

    def forward(self, local: Tensor, whole: Tensor) -> Tensor:
        """(N, C, h, w) and (N, G) -> (N, A, h, w); W's two halves are multiplied apart, which is the same."""
        return torch.relu(self.local(local) + self.whole(whole)[:, :, None, None])


class IizukaNetwork(nn.Module):
    """Low-level, mid-level, global, fusion and colorization networks (table 1).

    Args:
        share: of the paper's widths, which are 64 to 1024.
    """

    def __init__(self, share: float = 0.125) -> None:
        super().__init__()
        w32, w64, w128, w256, w512, w1024 = (
            max(8, round(share * width)) for width in (32, 64, 128, 256, 512, 1024)
        )
        self.low = nn.Sequential(
            _conv(1, w64, 2),
            _conv(w64, w128),
            _conv(w128, w128, 2),
            _conv(w128, w256),
            _conv(w256, w256, 2),
            _conv(w256, w512),
        )
        self.middle = nn.Sequential(_conv(w512, w512), _conv(w512, w256))
        self.above = nn.Sequential(
            _conv(w512, w512, 2), _conv(w512, w512), _conv(w512, w512, 2), _conv(w512, w512)
        )
        self.dense = nn.Sequential(
            nn.Linear(w512 * (GLOBAL_SIDE // 32) ** 2, w1024),
            nn.ReLU(inplace=True),
            nn.Linear(w1024, w512),
            nn.ReLU(inplace=True),
        )
        self.whole = nn.Sequential(nn.Linear(w512, w256), nn.ReLU(inplace=True))
        self.classes = nn.Sequential(
            nn.Linear(w512, w256), nn.ReLU(inplace=True), nn.Linear(w256, len(SCENES))
        )
        self.fusion = Fusion(w256, w256, w256)
        self.color8 = _conv(w256, w128)
        self.color4 = nn.Sequential(_conv(w128, w64), _conv(w64, w64))
        self.color2 = nn.Sequential(_conv(w64, w32), nn.Conv2d(w32, 2, 3, padding=1))

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in [0, 1] -> a*b* (N, 2, H / 2, W / 2) in [-110, 110], scene logits (N, 10)."""
        centered = luma - 0.5
        local = self.middle(self.low(centered))
        fixed = functional.interpolate(centered, size=[GLOBAL_SIDE, GLOBAL_SIDE], mode="bilinear")
        dense = self.dense(self.above(self.low(fixed)).flatten(1))
        x = self.color8(self.fusion(local, self.whole(dense)))
        x = self.color4(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        x = self.color2(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return (torch.sigmoid(x) - 0.5) * AB_SPAN, self.classes(dense)


class _Exported(nn.Module):
    """a*b* to Cb and Cr; the method has no confidence of its own, so color is shown as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        ab, _ = self.network(luma)
        small = functional.avg_pool2d(luma, 2)
        return on_luma(luma, ab_to_chroma(small, ab), torch.ones_like(small))


class Iizuka2016:
    """The method: mean squared error of the color and a little cross-entropy of the scene (eq. 2)."""

    name = "iizuka2016"

    def __init__(self) -> None:
        self.network: IizukaNetwork = IizukaNetwork()

    def begin(self, colors: list[Tensor]) -> None:
        """Needs nothing of the training set."""

    def loss(self, batch: ClassicBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Eq. 2: ||y - y*||^2 of a*b* in [0, 1], alpha of the classification where the scene is known."""
        ab, scene = self.network(batch.luma)
        goal = rgb_to_lab(functional.avg_pool2d(batch.rgb, 2))[:, 1:]
        color = ((ab.float() - goal) / AB_SPAN).square().sum(1).mean()
        value, parts = color, {"color": color.item()}
        if bool((batch.scene != UNKNOWN).any()):
            kinds = functional.cross_entropy(scene.float(), batch.scene, ignore_index=UNKNOWN)
            value = value + CLASS_WEIGHT * kinds
            parts["scene"] = kinds.item()
        return value, parts

    def exported(self) -> nn.Module:
        """The colorization network's answer."""
        return _Exported(settled(self.network))

"""What a method of repair is to its training: a network, its losses, and the graph that ships."""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 128
"""Of the pictures that the networks see, pixels."""
LOCAL = SIDE // 2
"""Of what a local discriminator sees."""
CELL, CELLS = 8, 5
"""The confidence of a repaired pixel is the known share of so many cells of so many pixels around it."""


@dataclass
class RepairBatch:
    """N crops of S pixels a side.

    Attributes:
        luma: (N, 1, S, S) float32 luma of either band, [0, 1]: the truth.
        hole: (N, 1, S, S) float32, 1 where a pixel is missing, 0 where it is known.
        corner: (N, 2) int64, (row, column) of the half-sized square around the hole.
    """

    luma: Tensor
    hole: Tensor
    corner: Tensor

    @property
    def holed(self) -> Tensor:
        """(N, 1, S, S): the luma, 0 where it is missing."""
        return self.luma * (1.0 - self.hole)

    def local(self, picture: Tensor) -> Tensor:
        """(N, C, S / 2, S / 2): what is around each hole."""
        side = picture.shape[-1] // 2
        return torch.stack(
            [
                one[:, row : row + side, column : column + side]
                for one, (row, column) in zip(picture, self.corner.tolist(), strict=True)
            ]
        )


class RepairMethod(Protocol):
    """One paper's repair.

    Attributes:
        name: as in `--repair-with`.
        network: (holed (N, 1, S, S), hole (N, 1, S, S)) -> (N, 1, S, S) luma, also where it was known.
        judge: the discriminator, which does not ship; None where the method has none.
    """

    name: str
    network: nn.Module
    judge: nn.Module | None

    def loss(
        self, batch: RepairBatch, made: Tensor, progress: float
    ) -> tuple[Tensor | None, dict[str, float]]:
        """The number that the network brings down, None while it rests; and its parts for the log.

        Args:
            batch: the truth and the holes.
            made: (N, 1, S, S) what the network has answered.
            progress: 0 at the first step, 1 at the last.
        """

    def judgement(self, batch: RepairBatch, made: Tensor, progress: float) -> Tensor | None:
        """The number that the judge brings down; None while it rests. Arguments as `loss`."""


def known_mean(holed: Tensor, hole: Tensor) -> Tensor:
    """(N, 1, 1, 1): mean of the known pixels of each picture; 0 where nothing is known."""
    known = (1.0 - hole).mean(dim=(2, 3), keepdim=True)
    return holed.mean(dim=(2, 3), keepdim=True) / (known + 1e-6)


def completed(batch: RepairBatch, made: Tensor) -> Tensor:
    """The picture as a viewer would see it: the answer in the hole, the truth around it."""
    return batch.holed + made * batch.hole


class Exported(nn.Module):
    """From (N, 2, H, W), luma with holes and hole, to the whole luma and how much is known around."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, holed: Tensor) -> tuple[Tensor, Tensor]:
        """`filled` (N, 1, H, W) in [0, 1], the input kept where it is known; `confidence` (N, 1, H, W)."""
        hole = holed[:, 1:2].clamp(0.0, 1.0)
        luma = holed[:, 0:1] * (1.0 - hole)
        made = self.network(luma, hole).clamp(0.0, 1.0)
        near = functional.avg_pool2d(functional.avg_pool2d(1.0 - hole, CELL), CELLS, 1, CELLS // 2)
        near = functional.interpolate(near, scale_factor=float(CELL), mode="bilinear")
        return luma + made * hole, near.clamp(0.0, 1.0)

"""What the networks are trained to do well: tone with the sensor's detail in it, saturated color, doubt."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from irchroma.engines.training.coloring_network import chroma_centers

DETAIL_SIGMA = 2.0
"""Pixels at work size: what is finer comes from the sensor when the picture is composed."""
DOUBT_SCALE = 0.06
"""Chroma error (Euclidean, CbCr) at which the confidence to be predicted has fallen to 1/e."""
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


def rgb_to_ycc(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) R'G'B' in [0, 1] -> Y', Cb, Cr, BT.601 full range, chroma in [-0.5, 0.5]."""
    red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # BT.601-7, 2.5.1
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

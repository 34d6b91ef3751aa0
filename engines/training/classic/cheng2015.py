"""`cheng2015`: every pixel's color from hand-made features by a small fully connected network.

Reference: Cheng, Yang, Sheng, Deep Colorization, ICCV 2015, arXiv 1605.00075; section numbers are that
paper's. A 7x7 patch of luma (49), DAISY (32) and the semantic probabilities of the place go through hidden
layers of half the input's width to U and V; training pictures are clustered by a global descriptor, one
network each; a joint bilateral filter, led by the luma, refines the chroma. Different here: the semantics
are CamVid's twelve classes from a small head that is trained first (47 classes in the paper), and the
global descriptor is their mean over the picture. DAISY: Tola, Lepetit, Fua, IEEE TPAMI 32(5), 2010.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.classic.method import ClassicBatch, on_luma
from irchroma.engines.training.color.objective import rgb_to_ycc
from irchroma.engines.training.pictures import UNLABELED

PATCH_PX = 7  # section 2.2: low-level feature
DAISY_PLACES, DAISY_ORIENTATIONS = 4, 8  # section 2.2: 32 numbers; the middle and three around it
DAISY_RADIUS_PX, DAISY_SIGMA_PX = 4.0, 1.6
SEMANTICS = UNLABELED + 1
FEATURES = PATCH_PX**2 + DAISY_PLACES * DAISY_ORIENTATIONS + SEMANTICS
HIDDEN, LAYERS = FEATURES // 2, 3  # section 2.1: half of the input's width
CLUSTERS = 3
SEMANTIC_SHARE = 0.4
"""Part of the training in which the semantic head learns; it is fixed afterwards."""
U_TO_CB, V_TO_CR = 1 / (0.492 * 1.772), 1 / (0.877 * 1.402)  # U = 0.492 (B - Y), V = 0.877 (R - Y); BT.601
BILATERAL_RADIUS, BILATERAL_STEP = 2, 2
BILATERAL_SIGMA_PX, BILATERAL_SIGMA_LUMA = 3.0, 0.06


def _gaussian_at(x: float, y: float, sigma: float, radius: int) -> Tensor:
    """(2 radius + 1, 2 radius + 1) normalized Gaussian whose middle lies x to the right and y down."""
    line = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-((line[None] - x) ** 2 + (line[:, None] - y) ** 2) / (2 * sigma**2))
    return kernel / kernel.sum()


class Daisy(nn.Module):
    """DAISY of every pixel: smoothed oriented gradients at the pixel and at three places around it."""

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(DAISY_ORIENTATIONS) * (2 * math.pi / DAISY_ORIENTATIONS)
        self.register_buffer("turn", torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None])
        across = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
        self.register_buffer("slope", torch.stack([across, across.T])[:, None])
        radius = math.ceil(DAISY_RADIUS_PX + 2 * DAISY_SIGMA_PX)
        around = [
            (DAISY_RADIUS_PX * math.cos(a), DAISY_RADIUS_PX * math.sin(a))
            for a in (2 * math.pi * k / (DAISY_PLACES - 1) for k in range(DAISY_PLACES - 1))
        ]
        smooth = torch.stack([_gaussian_at(x, y, DAISY_SIGMA_PX, radius) for x, y in [(0.0, 0.0), *around]])
        # output o * 4 + place of orientation o
        self.register_buffer("smooth", smooth[:, None].repeat(DAISY_ORIENTATIONS, 1, 1, 1))
        self.radius = radius

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> (N, 32, H, W); the eight numbers of a place have length 1 or less."""
        padded = functional.pad(luma, (1, 1, 1, 1), mode="replicate")
        gradient = functional.conv2d(padded, self.slope)
        oriented = torch.relu(functional.conv2d(gradient, self.turn))  # Tola et al., eq. 1: positive part
        padded = functional.pad(oriented, (self.radius,) * 4, mode="replicate")
        maps = functional.conv2d(padded, self.smooth, groups=DAISY_ORIENTATIONS)
        parts = [maps[:, place::DAISY_PLACES] for place in range(DAISY_PLACES)]
        # gradients are small: scaled so that the squares are no denormals in float16
        scaled = [part * 32.0 for part in parts]
        return torch.cat(
            [part / ((part * part).sum(1, keepdim=True) + 0.05).sqrt() for part in scaled], dim=1
        )


class Patch(nn.Module):
    """The 7x7 neighborhood of every pixel as 49 numbers, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pick", torch.eye(PATCH_PX**2).view(-1, 1, PATCH_PX, PATCH_PX))

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 49, H, W)."""
        edge = PATCH_PX // 2
        return functional.conv2d(functional.pad(luma, (edge,) * 4, mode="replicate"), self.pick)


class SemanticHead(nn.Module):
    """Probabilities of CamVid's classes at stride 8, by a few convolutions."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, padding=1), nn.ReLU(inplace=True)]
        for dilation in (1, 2, 4, 8):
            layers += [nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, SEMANTICS, 1))

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) -> (N, 12, H / 8, W / 8) logits."""
        answer: Tensor = self.layers(luma - 0.5)
        return answer


class ChengNetwork(nn.Module):
    """Features and one fully connected network for each cluster of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.daisy, self.semantic = Patch(), Daisy(), SemanticHead()
        widths = (FEATURES, *([HIDDEN] * LAYERS), 2)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(widths):
            self.weights.append(nn.Parameter(torch.randn(CLUSTERS, after, before) * math.sqrt(2 / before)))
            self.biases.append(nn.Parameter(torch.zeros(CLUSTERS, after)))
        with torch.no_grad():
            self.weights[-1].mul_(0.05)
        self.register_buffer("centers", torch.eye(SEMANTICS)[:CLUSTERS].clone())
        self.register_buffer("clustered", torch.zeros((), dtype=torch.bool))

    def features(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 93, H, W) features and the (N, 12) global descriptor."""
        shares = torch.softmax(self.semantic(luma).detach(), dim=1)
        places = functional.interpolate(shares, size=[luma.shape[2], luma.shape[3]], mode="bilinear")
        return (torch.cat([self.patch(luma - 0.5), self.daisy(luma), places], dim=1), shares.mean((2, 3)))

    def cluster(self, descriptor: Tensor) -> Tensor:
        """(N, 12) -> (N, CLUSTERS) shares, all but one of them about 0."""
        difference = descriptor[:, None] - self.centers[None]
        return torch.softmax(-200.0 * (difference * difference).sum(2), dim=1)

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> U, V (N, 2, H, W)."""
        features, descriptor = self.features(luma)
        share = self.cluster(descriptor)
        x = features.flatten(2)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            own = (share @ weight.flatten(1)).view(-1, weight.shape[1], weight.shape[2])
            x = own @ x + (share @ bias)[:, :, None]
            if layer < LAYERS:
                x = torch.relu(x)
        return x.view(-1, 2, luma.shape[2], luma.shape[3])


def joint_bilateral(planes: Tensor, luma: Tensor) -> Tensor:
    """(N, C, H, W) smoothed where the luma is alike (section 2.3); every second pixel of a 9x9 window."""
    reach = BILATERAL_RADIUS * BILATERAL_STEP
    wide = functional.pad(planes, (reach,) * 4, mode="replicate")
    guide = functional.pad(luma, (reach,) * 4, mode="replicate")
    height, width = luma.shape[2], luma.shape[3]
    total, weights = torch.zeros_like(planes), torch.zeros_like(luma)
    for down in range(0, 2 * reach + 1, BILATERAL_STEP):
        for across in range(0, 2 * reach + 1, BILATERAL_STEP):
            window = (slice(None), slice(None), slice(down, down + height), slice(across, across + width))
            far = ((down - reach) ** 2 + (across - reach) ** 2) / (2 * BILATERAL_SIGMA_PX**2)
            unlike = (guide[window] - luma) * (1 / BILATERAL_SIGMA_LUMA)
            weight = torch.exp(-0.5 * unlike * unlike - far)
            total, weights = total + weight * wide[window], weights + weight
    return total / weights


class _Exported(nn.Module):
    """Refined U and V as Cb and Cr; the method has no confidence of its own, so color is shown as it is."""

    def __init__(self, network: ChengNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        uv = joint_bilateral(self.network(luma), luma)
        chroma = torch.cat([uv[:, 0:1] * U_TO_CB, uv[:, 1:2] * V_TO_CR], dim=1).clamp(-0.5, 0.5)
        return on_luma(luma, chroma, torch.ones_like(luma))


class Cheng2015:
    """The method: semantics first, then clusters, then the least squares of U and V (eq. 1)."""

    name = "cheng2015"

    def __init__(self) -> None:
        self.network: ChengNetwork = ChengNetwork()

    def begin(self, colors: list[Tensor]) -> None:
        """Needs nothing of the training set."""

    def loss(self, batch: ClassicBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the semantics at first, then squared error of U and V."""
        if progress < SEMANTIC_SHARE:
            self.network.clustered.fill_(False)  # clusters are of what the semantics will say
            said = self.network.semantic(batch.luma).float()
            known = (batch.labels != UNLABELED).any()
            value = functional.cross_entropy(said, batch.labels, ignore_index=UNLABELED if known else -100)
            return value, {"semantics": value.item()}
        if not self.network.clustered:
            self._find_clusters(batch.luma)
        truth = rgb_to_ycc(batch.rgb)[:, 1:]
        goal = torch.cat([truth[:, 0:1] / U_TO_CB, truth[:, 1:2] / V_TO_CR], dim=1)
        value = (self.network(batch.luma).float() - goal).square().sum(1).mean()
        return value, {"color": value.item()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _find_clusters(self, luma: Tensor) -> None:
        """k-means of one batch's global descriptors (section 2.4), begun at those farthest apart."""
        found = torch.softmax(self.network.semantic(luma).float(), dim=1).mean((2, 3))
        centers = [found[0]]
        while len(centers) < CLUSTERS:
            centers.append(found[torch.cdist(found, torch.stack(centers)).min(1).values.argmax()])
        middles = torch.stack(centers)
        for _ in range(20):
            near = torch.cdist(found, middles).argmin(1)
            middles = torch.stack(
                [found[near == k].mean(0) if (near == k).any() else middles[k] for k in range(CLUSTERS)]
            )
        self.network.centers.copy_(middles)
        self.network.clustered.fill_(True)

    def exported(self) -> nn.Module:
        """The network with its joint bilateral refinement, for the graph."""
        return _Exported(self.network)

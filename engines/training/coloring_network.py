"""The coloring network: a pretrained encoder with exits `nano`, `fast` and `best` that share it."""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.encoder import Encoder

SIZES = ("nano", "fast", "best")
TEACHER = "best"
"""The size that teaches the others where they are trained together."""
TEXTURE_PX = 5
"""Side of the windows whose standard deviation says what is textured and what is smooth."""
RINGS = ((0.0, 1), (0.022, 8), (0.048, 12), (0.082, 16), (0.125, 20), (0.18, 20), (0.25, 16), (0.34, 12))
"""(chroma radius, hues on it) of the classes: finer near neutral, where most of the world's colors are."""
PALE = 0.04
"""Chroma at which half of the vibrance is left: what is paler gains more, what is colorful nothing."""
SEGMENTS = 12
"""Classes of the auxiliary segmentation (CamVid's 11 and "unlabelled")."""


@dataclass(frozen=True)
class DecoderWidths:
    """Channels and residual blocks of a decoder at strides 16, 8 and, where it goes that far, 4.

    Attributes:
        channels: of strides 16, 8, 4.
        blocks: residual blocks (two 3x3 convolutions each) of strides 16, 8, 4.
        deep: whether the stride-32 features of the encoder are used.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    deep: bool = False

    @property
    def stride(self) -> int:
        """Pixels of the picture for each of the answer's."""
        return 32 >> len(self.channels)


WIDTHS = {
    "nano": DecoderWidths((64, 48), (1, 1)),
    "fast": DecoderWidths((96, 64, 48), (1, 1, 1)),
    "best": DecoderWidths((160, 128, 80), (1, 1, 1), deep=True),
}


def chroma_centers() -> np.ndarray:
    """The classes' colors.

    Returns:
        (K, 2) float32, Cb and Cr (BT.601 full range), on rings around neutral.
    """
    centers = []
    for ring, (radius, hues) in enumerate(RINGS):
        angles = (np.arange(hues) + 0.5 * (ring % 2)) * (2 * np.pi / hues)
        centers.append(np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1))
    return np.concatenate(centers).astype(np.float32)


class Residual(nn.Module):
    """Two 3x3 convolutions added to their input; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(functional.relu(x))))


@dataclass
class Prediction:
    """What a decoder says at its stride: `h, w = H / 4, W / 4`, of `nano` an eighth.

    Attributes:
        tone: (N, 3, h, w) slope, offset and share of the texture:
            Y' = slope * luma + offset + share * texture(luma).
        logits: (N, K, h, w) of the chroma classes.
        sureness: (N, 1, h, w) logit of the confidence.
        features: stride-8 features.
    """

    tone: Tensor
    logits: Tensor
    sureness: Tensor
    features: Tensor


def texture(luma: Tensor) -> Tensor:
    """(N, 1, H, W) in [0, 1] -> its standard deviation in windows of `TEXTURE_PX`, times 4.

    Twigs before a sky may have its luma, but not its smoothness. The difference from the mean is squared,
    not the luma: float16 has too few digits for that.
    """

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, TEXTURE_PX, 1, TEXTURE_PX // 2, count_include_pad=False)

    fine = 4.0 * (luma - mean(luma))
    return torch.sqrt(mean(fine * fine) + 1e-4)


def tone_of(said: Tensor, luma: Tensor) -> Tensor:
    """(N, 1, H, W) luma that a `Prediction.tone`, enlarged to the luma's size, makes of the luma."""
    return said[:, 0:1] * luma + said[:, 1:2] + said[:, 2:3] * texture(luma)


class Decoder(nn.Module):
    """Features of the encoder to a `Prediction`, the whole picture's mean feature added at the bottom."""

    def __init__(self, widths: DecoderWidths) -> None:
        super().__init__()
        w16, w8 = widths.channels[:2]
        last = widths.channels[-1]
        bottom = 192 if widths.deep else 112
        self.stride = widths.stride
        self.deep = nn.Conv2d(192, w16, 1) if widths.deep else None
        self.context = nn.Conv2d(bottom, w16, 1)
        self.lateral16 = nn.Conv2d(112, w16, 1)
        self.body16 = nn.Sequential(*(Residual(w16) for _ in range(widths.blocks[0])))
        self.down8 = nn.Conv2d(w16, w8, 1)
        self.lateral8 = nn.Conv2d(40, w8, 1)
        self.body8 = nn.Sequential(*(Residual(w8) for _ in range(widths.blocks[1])))
        entries = [self.deep, self.context, self.lateral16, self.lateral8]
        if widths.stride == 4:
            self.down4 = nn.Conv2d(w8, last, 1)
            self.lateral4 = nn.Conv2d(24, last, 1)
            self.body4 = nn.Sequential(*(Residual(last) for _ in range(widths.blocks[2])))
            entries.append(self.lateral4)
        self.head = nn.Conv2d(last, 3 + len(chroma_centers()), 1)
        self.textured = nn.Conv2d(last, 1, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.textured.weight)
        with torch.no_grad():
            for entry in entries:
                if entry is not None:
                    entry.weight.mul_(0.1)  # the encoder's features have a standard deviation of about 10
            self.head.bias.zero_()
            self.textured.bias.zero_()
            self.head.bias[0] = 1.0  # the luma itself, to begin with

    def forward(self, features: Sequence[Tensor]) -> Prediction:
        x = self.lateral16(features[2])
        if self.deep is not None:
            x = x + functional.interpolate(self.deep(features[3]), scale_factor=2.0, mode="bilinear")
        x = x + self.context(functional.adaptive_avg_pool2d(features[3 if self.deep is not None else 2], 1))
        x = self.body16(x)
        x = functional.interpolate(self.down8(x), scale_factor=2.0, mode="bilinear") + self.lateral8(
            features[1]
        )
        x = middle = self.body8(x)
        if self.stride == 4:
            x = functional.interpolate(self.down4(middle), scale_factor=2.0, mode="bilinear")
            x = self.body4(x + self.lateral4(features[0]))
        x = functional.relu(x)
        said = self.head(x)
        tone = torch.cat([said[:, 0:2], self.textured(x)], dim=1)
        return Prediction(tone, said[:, 3:], said[:, 2:3], middle)


class ColorNetwork(nn.Module):
    """One encoder with a decoder for each size, trained together: `best` teaches the others."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        self.decoders = nn.ModuleDict({size: Decoder(widths) for size, widths in WIDTHS.items()})
        self.segment = nn.Conv2d(WIDTHS["best"].channels[1], SEGMENTS, 1)

    def forward(self, luma: Tensor, sizes: Sequence[str] = SIZES) -> dict[str, Prediction]:
        """(N, C, H, W) float in [0, 1], H and W multiples of 32 -> the prediction of each size."""
        features = self.encoder(luma, deep="best" in sizes)
        return {size: self.decoders[size](features) for size in sizes}


class ColorAt(nn.Module):
    """What is exported: one size, from luma to Y'CbCr and confidence at the luma's size.

    Args:
        network: the trained network.
        size: one of `SIZES`.
        temperature: of the annealed mean over the classes; below 1 it nears the likeliest color.
            Reference: Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, eq. 5 (T = 0.38).
        saturation: factor on the chroma.
        vibrance: further factor, less 1, on chroma that is nearly neutral; a mean of doubtful colors is pale.
    """

    def __init__(
        self,
        network: ColorNetwork,
        size: str,
        temperature: float = 1.0,
        saturation: float = 1.0,
        vibrance: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoders[size]
        self.deep = WIDTHS[size].deep
        self.temperature, self.saturation, self.vibrance = temperature, saturation, vibrance
        centers = torch.from_numpy(chroma_centers().T[:, :, None, None] / PALE)  # (2, K, 1, 1)
        self.register_buffer("centers", centers.contiguous())

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in [0, 1] -> `ycc` (N, 3, H, W), `confidence` (N, 1, H, W) in [0, 1]."""
        said = self.decoder(self.encoder(luma, self.deep))
        shares = torch.softmax(said.logits * (1.0 / self.temperature), dim=1)
        chroma = functional.conv2d(shares, self.centers)  # in units of PALE: its square is no denormal
        # `network.trust` and `network.tuning` find tone, chroma and confidence by this join: no more in it
        small = torch.cat(
            [said.tone[:, 0:2], chroma * self._gain(chroma), torch.sigmoid(said.sureness)], dim=1
        )
        scale = float(self.decoder.stride)
        full = functional.interpolate(small, scale_factor=scale, mode="bilinear")
        textured = functional.interpolate(said.tone[:, 2:3], scale_factor=scale, mode="bilinear")
        tone = tone_of(torch.cat([full[:, 0:2], textured], dim=1), luma).clamp(0.0, 1.0)
        return torch.cat([tone, full[:, 2:4].clamp(-0.5, 0.5)], dim=1), full[:, 4:5].clamp(0.0, 1.0)

    def _gain(self, chroma: Tensor) -> Tensor | float:
        full = PALE * self.saturation
        if not self.vibrance:
            return full
        blue, red = chroma[:, 0:1], chroma[:, 1:2]
        vivid = 1.0 + blue * blue + red * red
        return full * ((vivid + self.vibrance) / vivid)

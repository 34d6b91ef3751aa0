"""CIE L*a*b* (D65, 2 degrees) and sRGB as torch tensors, for networks that predict a* and b*.

Reference: CIE 15:2004, 8.2.1; IEC 61966-2-1 (sRGB), matrix and transfer function.
"""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)  # IEC 61966-2-1, D65
FROM_XYZ = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
WHITE = (0.95047, 1.0, 1.08883)  # D65, 2 degrees
_KNEE = 6.0 / 29.0  # CIE 15:2004, 8.2.1.1


def _mix(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """(N, 3, H, W) times a 3 x 3 matrix."""
    return torch.cat(
        [sum(weight * planes[:, i : i + 1] for i, weight in enumerate(row)) for row in matrix], dim=1
    )


def linear(coded: Tensor) -> Tensor:
    """sRGB's gamma-coded [0, 1] to linear light."""
    return torch.where(coded <= 0.04045, coded / 12.92, ((coded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def coded(light: Tensor) -> Tensor:
    """Linear light to sRGB's gamma-coded, both [0, 1]."""
    light = light.clamp(0.0, 1.0)
    return torch.where(
        light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    )


def _root(t: Tensor) -> Tensor:
    return torch.where(t > _KNEE**3, t.clamp(min=_KNEE**3) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)


def _cube(f: Tensor) -> Tensor:
    return torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) R'G'B' in [0, 1] -> L* in [0, 100], a* and b* about [-110, 110]."""
    xyz = _mix(linear(rgb), TO_XYZ)
    x, y, z = (_root(xyz[:, i : i + 1] / white) for i, white in enumerate(WHITE))
    return torch.cat([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(N, 3, H, W) L*, a*, b* -> R'G'B' in [0, 1], cut off at the gamut."""
    y = (lab[:, 0:1] + 16.0) / 116.0
    x, z = y + lab[:, 1:2] / 500.0, y - lab[:, 2:3] / 200.0
    xyz = torch.cat([_cube(f) * white for f, white in zip((x, y, z), WHITE, strict=True)], dim=1)
    return coded(_mix(xyz, FROM_XYZ))


def luma_to_lightness(luma: Tensor) -> Tensor:
    """Luma Y' in [0, 1], as of gray, to L* in [0, 100]."""
    return 116.0 * _root(linear(luma)) - 16.0

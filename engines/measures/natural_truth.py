"""Natural truth: what a good camera would have shown of a training picture, its own camera's cast taken out.

The small NIR pairs' camera gave shade a violet cast and blown paths a pink one, hues that photographs of
such scenes hardly ever have at that lightness (`measures.natural`). Learned as if it were color, it spreads
over roads, lawns and skies. So the cast of each lightness is estimated from the pixels of those hues and
taken off everything of that lightness; lavender skies turn to blue, and what the infrared says is foliage
to the green of leaves.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_lab

Values = NDArray[np.float32]

LIGHTNESS, WIDTH = np.array([5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0]), 11.0
"""L* at which casts are estimated, and the standard deviation of the weight around each."""
FULL_SHARE = 0.5
"""Share of violet pixels at a lightness from which all of their mean is its cast."""
LEFT = 0.15
"""What is left of the chroma of pixels that are violet still."""
SKY_HUE, SKY_SPAN, SKY_LEFT = 256.0, 60.0, 0.35
"""Hue (CIELAB, degrees) of a clear sky; what lies up to so much beyond it comes nearer by all but so much."""
LEAF_HUE, LEAF_TURN, LEAF_SHARE = 122.0, (-40.0, 18.0), 0.65
"""Hue of leaves, the most that others are turned towards it, and how far of the way."""
LEAF_CHROMA, CHROMA = 1.18, 1.06
"""Factors on the chroma of leaves that are not vivid yet, and on all."""


def natural(rgb: NDArray[np.uint8], ir: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B' with its camera's cast taken out.

    Args:
        rgb: (H, W, 3) uint8 R'G'B', full range.
        ir: (H, W) uint8 near-infrared luma registered to it: says what is foliage; None leaves greens alone.
    """
    lab = rgb_to_lab(rgb)
    lightness = lab[..., 0]
    ab = lab[..., 1:] - _cast(lab)
    chroma, hue = np.hypot(ab[..., 0], ab[..., 1]), _hue(ab)
    chroma = chroma * (1 - (1 - LEFT) * violet(hue))
    beyond = hue - SKY_HUE
    hue = np.where((beyond > 0) & (beyond < SKY_SPAN), SKY_HUE + SKY_LEFT * beyond, hue)
    if ir is not None:
        leaves = _leaves(rgb, ir, hue)
        hue = hue + leaves * LEAF_SHARE * np.clip(LEAF_HUE - hue, *LEAF_TURN)
        chroma = chroma * (1 + (LEAF_CHROMA - 1) * leaves * (1 - _ramp(chroma, 30.0, 55.0)))
    chroma, hue = chroma * CHROMA, np.radians(hue)
    made = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1).astype(np.float32)
    shown = np.clip(cv2.cvtColor(made, cv2.COLOR_LAB2RGB), 0.0, 1.0)
    return np.asarray(shown * 255.0 + 0.5).astype(np.uint8)


def violet(hue: Values) -> Values:
    """1 at hues from 300 to 5 degrees, falling to 0 at 280 and 25; the hue in [0, 360)."""
    turned = (hue + 60.0) % 360.0
    falling, rising = 1 - _ramp(turned, 65.0, 85.0), _ramp(turned, 340.0, 360.0)
    return np.asarray(np.where(turned < 180.0, falling, rising), np.float32)


def _cast(lab: Values) -> Values:
    """(H, W, 2) float32 a*, b* that the camera added at each pixel's lightness."""
    small = cv2.resize(lab, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    ab = small[:, 1:]
    weight = violet(_hue(ab)) * _ramp(np.hypot(ab[:, 0], ab[:, 1]), 1.5, 4.0)
    casts = []
    for level in LIGHTNESS:
        near = np.exp(-0.5 * ((small[:, 0] - level) / WIDTH) ** 2)
        found = near * weight
        share = found.sum() / (near.sum() + 0.002 * len(small))
        casts.append((found[:, None] * ab).sum(0) / (found.sum() + 1e-3) * min(1.0, share / FULL_SHARE))
    of_a, of_b = np.array(casts).T
    planes = [np.interp(lab[..., 0], LIGHTNESS, values) for values in (of_a, of_b)]
    return np.stack(planes, axis=-1).astype(np.float32)


def _leaves(rgb: NDArray[np.uint8], ir: NDArray[np.uint8], hue: Values) -> Values:
    """(H, W) float32 in [0, 1]: how far a pixel is foliage, by its vegetation index and a hue that fits."""
    red, near = ((plane / 255.0) ** 2.2 for plane in (rgb[..., 0], ir))
    index = (near - red) / (near + red + 0.03)
    found = _ramp(index, 0.1, 0.4) * _ramp(hue, 45.0, 70.0) * (1 - _ramp(hue, 178.0, 195.0))
    return np.asarray(cv2.GaussianBlur(found.astype(np.float32), (0, 0), 1.0), np.float32)


def _hue(ab: Values) -> Values:
    return np.asarray(np.degrees(np.arctan2(ab[..., 1], ab[..., 0])) % 360.0, np.float32)


def _ramp(x: NDArray[np.floating], low: float, high: float) -> Values:
    """0 up to `low`, 1 from `high` on."""
    return np.asarray(np.clip((x - low) / (high - low), 0.0, 1.0), np.float32)

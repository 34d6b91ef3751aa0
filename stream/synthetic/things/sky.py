"""The sky of synthetic scenes: a gradient, and clouds that drift over it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import View
from irchroma.stream.synthetic.texture import Plane, sample, tile


@dataclass(frozen=True, slots=True)
class Sky:
    """The sky of one band: a gradient, and what drifting clouds add to it.

    Attributes:
        clear: (H, C) float32 stored values by row.
        clouds: (rows, P + W, C) float32 added to it, repeating after P columns.
        period_px: P.
    """

    clear: Plane
    clouds: Plane
    period_px: int


def make_clouds(view: View, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Cumulus seen from below: coverage and lightness, each (rows to the horizon, 2 W), repeating."""
    rows = int(view.center_px[1]) + 1
    wide = view.size[1]
    side = 512
    texture = tile(rng, side, 200, 7)
    elevation = (np.linspace(1, 0.02, rows, dtype=np.float32)[:, None]) * 0.5
    along = np.broadcast_to(1 / (elevation + 0.07), (rows, 2 * wide))
    across = np.broadcast_to(
        np.arange(2 * wide, dtype=np.float32)[None, :] * (side / (2 * wide)), along.shape
    )
    density = sample(texture, across.astype(np.float32), np.asarray(along * 48 + 30, np.float32), 1.0)
    toward_sun = np.roll(density, wide // 40, 1) * 0.5 + 0.5 * np.roll(density, max(rows // 40, 1), 0)
    clear_share = float(rng.uniform(0.5, 0.72))
    coverage = np.clip((density - _quantile(density, clear_share)) * 1.5, 0, 1) ** 0.8
    coverage *= np.clip(elevation / 0.10, 0.25, 1)
    bright = np.clip(0.90 + 0.22 * (density - toward_sun) - 0.09 * np.clip(density - 0.9, 0, 2), 0.55, 1.08)
    return cv2.GaussianBlur(coverage, (0, 0), 0.8), cv2.GaussianBlur(bright, (0, 0), 1.2)


def _quantile(values: Plane, share: float) -> np.float32:
    """What `np.quantile` says, to the bit; that loads masked arrays when first asked, 45 ms of a start."""
    at = share * (values.size - 1)
    low = int(at)
    pair = np.partition(values.ravel(), (low, low + 1))[low : low + 2]
    step, part = pair[1] - pair[0], at - low
    return np.float32(pair[1] - step * (1 - part) if part >= 0.5 else pair[0] + step * part)


def make_sky(view: View, band: str, clouds: tuple[Plane, Plane], night: bool) -> Sky:
    """The sky in one band: `rgb` and `nir` as stored in [0, 255], `thermal` in degrees Celsius."""
    clear: Plane
    body: Plane
    rows = np.arange(view.size[0], dtype=np.float32)
    low: Plane = np.clip(rows / max(view.center_px[1], 1.0), 0, 1)[:, None]  # 0 at the top, 1 at the horizon
    cover, bright = clouds
    if band == "thermal":
        clear = -32 + 34 * low**2.2 - (6 if night else 0)
        body = (-2 if night else 2) + 4 * (1 - bright[..., None])
    elif band == "nir":
        clear = expose_row(0.055 + 0.17 * low**2.5) * (0.05 if night else 1)
        body = light.expose_nir(0.62 * bright)[..., None] * (0.06 if night else 1)
    else:
        zenith, horizon = np.array([0.10, 0.24, 0.58]), np.array([0.50, 0.64, 0.80])
        clear = light.expose_rgb(np.asarray(zenith + (horizon - zenith) * low**1.6, np.float32))
        body = light.expose_rgb(bright[..., None] * np.array([0.92, 0.93, 0.96], np.float32))
    clear = np.asarray(clear, np.float32)
    added = cover[..., None] * (body - clear[: cover.shape[0], None, :])
    wide = view.size[1]
    wrapped = np.concatenate([added, added[:, : wide + 2]], 1)
    return Sky(clear, np.ascontiguousarray(wrapped, np.float32), added.shape[1])


def expose_row(radiance: Plane) -> Plane:
    """NIR radiance (H, 1) as stored."""
    return light.expose_nir(np.asarray(radiance, np.float32))

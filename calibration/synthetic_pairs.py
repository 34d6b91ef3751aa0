"""Pairs of the synthetic cameras for networks: what a training mixes in, and a confidence counts as known."""

from __future__ import annotations

import logging

import cv2
import numpy as np

from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.training.pictures import Picture
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

log = logging.getLogger(__name__)

SYNTHETIC_SIZE = (320, 400)
"""(H, W) of the synthetic cameras' pictures."""
NIGHT_PALENESS = 0.3
"""Share of the color that a night's answer leaves out: nobody knows it, and it must stay calm."""
LIGHT_SIGMA_PX = 2.0
"""Smoothness of the light at night."""


def synthetic_pairs(band: str, count: int) -> list[Picture]:
    """Pairs of the synthetic cameras: two moments by day of each of `count` scenes, for nir one at night too.

    The seeds are not the cameras' own. Counts are spread linearly between their outermost half percents.
    """
    log.info("drawing %d synthetic scenes", count)
    moments = [("day", 30), ("day", 150)] + [("night", 90)] * (band == "nir")
    pictures = []
    for seed in range(100, 100 + count):
        for light, number in moments:
            options = SyntheticOptions(band=band, size=SYNTHETIC_SIZE, seed=seed, light=light)
            frame = SyntheticCamera(options).frame(number)
            luma, rgb = frame.pixels, frame.rgb
            if luma.dtype != np.uint8:
                low, high = np.percentile(luma, (0.5, 99.5))
                luma = np.clip((luma - low) * (255.0 / max(1.0, high - low)), 0, 255).astype(np.uint8)
            if light == "night":
                rgb = lit_as(rgb, luma)
            pictures.append(Picture(f"synthetic/{band}_{seed}_{number}", rgb, luma.astype(np.uint8)))
    return pictures


def lit_as(rgb: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The colors of (H, W, 3) uint8 by day, paler, under the light that (H, W) uint8 night luma shows."""
    day = np.maximum(rgb_to_luma(rgb).astype(np.float32), 24.0)
    light = cv2.GaussianBlur(luma.astype(np.float32) / day, (0, 0), LIGHT_SIGMA_PX)
    pale = rgb + NIGHT_PALENESS * (rgb_to_luma(rgb)[..., None] - rgb.astype(np.float32))
    return np.asarray(np.clip(pale * np.minimum(light, 1.2)[..., None], 0, 255).astype(np.uint8))

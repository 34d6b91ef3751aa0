"""A sky and a meadow, as infrared and in color."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def made_scene(seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A sky and a meadow of random height: (ir, rgb)."""
    random = np.random.default_rng(seed)
    horizon = int(random.integers(side // 4, side // 2))
    rgb = np.empty((side, side, 3), np.uint8)
    rgb[:horizon], rgb[horizon:] = (180, 205, 235), (70, 120, 40)
    rgb = np.clip(rgb + random.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
    ir = np.where(np.arange(side)[:, None] < horizon, 60, 210) + random.normal(0, 6, (side, side))
    return np.clip(ir, 0, 255).astype(np.uint8), rgb

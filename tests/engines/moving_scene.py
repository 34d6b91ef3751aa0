"""Synthetic infrared scenes with known motion, and a toy network, for the tests of the temporal stage."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (192, 256)
FRAME_NS = 33_333_333
Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]


def texture(size: tuple[int, int], low: float, high: float, seed: int, scale: float = 5.0) -> Plane:
    """(h, w) float32 of smooth random texture between two levels."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), scale)
    coarse = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), scale * 5)
    mixed = fine / fine.std() + 1.5 * coarse / coarse.std()
    return (low + (high - low) * (mixed - mixed.min()) / np.ptp(mixed)).astype(np.float32)


def noisy(luma: Plane, rng: np.random.Generator, sigma: float = 1.0) -> Luma:
    """(h, w) uint8 with a sensor's noise."""
    return np.clip(np.rint(luma + rng.normal(0, sigma, luma.shape)), 0, 255).astype(np.uint8)


def toy_color(luma: Luma) -> Plane:
    """(h, w, 3) float32 `ycc` that depends on the luma alone, steeply."""
    level = cv2.GaussianBlur(luma, (0, 0), 1.5).astype(np.float32) / 255
    return np.dstack([level, 0.3 * np.sin(6 * level), 0.3 * np.cos(9 * level)]).astype(np.float32)


def flickering(ycc: Plane, rng: np.random.Generator, sigma: float = 0.03) -> Plane:
    """The same with chroma that wanders in patches from frame to frame."""
    patches = cv2.resize(rng.normal(0, sigma, (6, 8, 2)).astype(np.float32), ycc.shape[1::-1])
    result = ycc.copy()
    result[..., 1:] += patches
    return result

"""Random textures with the statistics of natural surfaces, for the synthetic cameras."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""A picture plane; float32 wherever it is kept."""


def fractal(
    rng: np.random.Generator,
    size: tuple[int, int],
    cell_px: float,
    octaves: int = 5,
    persistence: float = 0.55,
    stretch: float = 1.0,
) -> Plane:
    """Value noise summed over octaves.

    Args:
        rng: source of randomness.
        size: (H, W) of the result.
        cell_px: size of the coarsest features, pixels.
        octaves: number of scales, each half as large as the one before.
        persistence: amplitude of a scale over that of the coarser one; 0.5 has a 1/f spectrum.
        stretch: horizontal over vertical size of the features.

    Returns:
        (H, W) float32 with mean 0 and standard deviation 1.
    """
    total = np.zeros(size, np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        rows = max(3, int(np.ceil(size[0] / cell_px)) + 2)
        columns = max(3, int(np.ceil(size[1] / (cell_px * stretch))) + 2)
        grid = rng.standard_normal((rows, columns), np.float32)
        total += amplitude * cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)
        amplitude *= persistence
        cell_px /= 2
        if cell_px < 1:
            break
    total -= total.mean()
    total /= max(float(total.std()), 1e-6)
    return total


def tile(rng: np.random.Generator, side_px: int, cell_px: float, octaves: int = 4) -> Plane:
    """(side, side) float32 noise, mean 0 and standard deviation 1, that repeats without a seam."""
    total = np.zeros((side_px, side_px), np.float32)
    amplitude = 1.0
    for _ in range(octaves):
        cells = max(2, round(side_px / cell_px))
        grid = rng.standard_normal((cells, cells), np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        step = side_px // cells
        large = cv2.resize(wrapped, None, fx=step + 1, fy=step + 1, interpolation=cv2.INTER_CUBIC)
        inner = large[2 * (step + 1) : -2 * (step + 1), 2 * (step + 1) : -2 * (step + 1)]
        total += amplitude * cv2.resize(inner, (side_px, side_px), interpolation=cv2.INTER_AREA)
        amplitude *= 0.6
        cell_px /= 2
        if cell_px < 1:
            break
    total -= total.mean()
    total /= max(float(total.std()), 1e-6)
    return total


def sample(texture: Plane, across: Plane, along: Plane, px_per_m: float) -> Plane:
    """A repeating texture looked up at world coordinates in meters; shape of `across`."""
    side = texture.shape[0]
    map_x = np.mod(across * px_per_m, side).astype(np.float32)
    map_y = np.mod(along * px_per_m, side).astype(np.float32)
    return np.asarray(
        cv2.remap(texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
    )


def smooth_edge(value: Plane | float, footprint: Plane | float) -> Plane:
    """Coverage in [0, 1] of a pixel whose center lies `value` inside an edge and spans `footprint`."""
    return np.asarray(np.clip(np.asarray(value, np.float32) / footprint + 0.5, 0.0, 1.0), np.float32)

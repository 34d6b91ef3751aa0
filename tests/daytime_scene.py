"""A drawn scene by day in color and as an infrared camera sees it, for the tests of references."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval.library import ReferenceLibrary

SIZE = (240, 320)
Rgb = NDArray[np.uint8]
Luma = NDArray[np.uint8]


def draw(seed: int, size: tuple[int, int] = SIZE, pieces: int = 45) -> tuple[Rgb, Luma]:
    """Color (H, W, 3) and infrared (H, W): polygons whose gray level has nothing to do with their color."""
    rng = np.random.default_rng(seed)
    height, width = size
    rgb = np.zeros((height, width, 3), np.uint8)
    infrared = np.zeros((height, width), np.uint8)
    rgb[:], infrared[:] = (120, 160, 210), 40
    horizon = int(height * rng.uniform(0.2, 0.45))
    rgb[horizon:], infrared[horizon:] = (90, 120, 60), 150
    for _ in range(pieces):
        center = rng.uniform((0, height * 0.2), (width, height))
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        reach = rng.uniform(10, 35)
        points = center + reach * np.column_stack([np.cos(angles), np.sin(angles)])
        corners = [np.round(points).astype(np.int32)]
        cv2.fillPoly(rgb, corners, rng.integers(20, 235, 3).tolist())
        cv2.fillPoly(infrared, corners, int(rng.integers(30, 225)))
    noise = rng.normal(0, 2, size)
    infrared = np.clip(cv2.GaussianBlur(infrared, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8)
    return cv2.GaussianBlur(rgb, (0, 0), 0.6).astype(np.uint8), infrared


def moved(picture: NDArray[np.uint8], zoom: float, turn_degrees: float, shift: tuple[float, float]) -> Rgb:
    """The picture as a camera that has zoomed, turned and shifted gives it; borders are repeated."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), turn_degrees, zoom)
    matrix[:, 2] += shift
    warped = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def library(folder: Path, scenes: int) -> ReferenceLibrary:
    """A new one of the scenes from seed 0 on, `scene 0` and so on; needs voyager."""
    made = ReferenceLibrary(folder, make=True)
    with made.changing():
        for seed in range(scenes):
            rgb, _ = draw(seed)
            made.add(Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), f"scene {seed}"))
    return made

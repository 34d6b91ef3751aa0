"""Whether a network errs less where it says that it is sure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FIFTHS = 5
STEP_PX = 4
"""Every so many pixels one is looked at: a network's color is no finer."""
NEIGHBORHOOD_PX = 5
"""Errors are averaged over it, since pairs are not registered to the pixel."""


class SurenessCurve:
    """Gathers confidence and error of the chroma over many pictures."""

    def __init__(self) -> None:
        self._confidence: list[NDArray[np.float32]] = []
        self._error: list[NDArray[np.float32]] = []

    def add(self, confidence: NDArray[np.uint8], rgb: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        """Take in one picture.

        Args:
            confidence: (h, w) uint8 at work size, 255 = sure.
            rgb: (H, W, 3) uint8 R'G'B', the output.
            truth: (H, W, 3) uint8.
        """
        height, width = rgb.shape[:2]
        planes = [cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32) for p in (rgb, truth)]
        error = np.linalg.norm(planes[0] - planes[1], axis=-1)
        spread = cv2.blur(error, (NEIGHBORHOOD_PX, NEIGHBORHOOD_PX))[::STEP_PX, ::STEP_PX]
        sure = cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)[::STEP_PX, ::STEP_PX]
        self._error.append(np.asarray(spread, np.float32).ravel())
        self._confidence.append(np.asarray(sure, np.float32).ravel())

    def errors(self) -> list[float]:
        """Mean chroma error, Euclidean in CbCr, 8-bit levels, of each fifth of the pixels, sure to unsure.

        Empty without pictures.
        """
        if not self._error:
            return []
        order = np.argsort(-np.concatenate(self._confidence), kind="stable")
        error = np.concatenate(self._error)[order]
        return [float(part.mean()) for part in np.array_split(error, FIFTHS)]

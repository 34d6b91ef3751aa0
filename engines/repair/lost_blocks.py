"""Finds blocks that a damaged stream has left out of a frame: flat where there was a scene a frame before.

A cut JPEG picture ends in flat gray where libjpeg decodes it, and decoders that conceal nothing leave one
value in what they could not read. What looks like a picture, but not like this one, is for `damaged_blocks`.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.repair.mask import Mask

BLOCK_PX = 8
"""JPEG's blocks; a macroblock has four of them."""
FEWEST_BLOCKS = 12
"""That hang together, three macroblocks: less may be a patch of the scene that has become flat."""
SCENE_SHARE = 0.02
"""Of the picture's range of values, which a block had a frame before."""
STEP_SHARE = 0.03
"""Of that range, by which what is lost stands out from what is around it; the sky behind a bird does not."""
MOST = 0.8
"""Share of the picture; beyond it, a shutter has closed or the picture is another one."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class LostBlocks:
    """Looks at frame after frame of one camera."""

    def __init__(self) -> None:
        self._before: tuple[Any, Any] | None = None

    def reset(self) -> None:
        self._before = None

    def find(self, pixels: Pixels) -> Mask | None:
        """(H, W) bool of what this frame lacks; None where it lacks nothing.

        Args:
            pixels: (H, W) uint8 luma or uint16 counts.
        """
        low, high = _extremes(pixels)
        before, self._before = self._before, (low, high)
        if before is None or before[0].shape != low.shape:
            return None
        spread = float(np.quantile(high, 0.98)) - float(np.quantile(low, 0.02))
        top = np.iinfo(pixels.dtype).max
        flat = (low == high) & (low > 0) & (low < top)  # what is saturated is flat by itself
        lost = flat & (before[1].astype(np.float32) - before[0] > max(SCENE_SHARE * spread, 3.0))
        if np.count_nonzero(lost) < FEWEST_BLOCKS:
            return None
        # What was flat already and lies among what is lost, with its value, is lost too.
        lost = _of_one_value(low, flat, lost, max(STEP_SHARE * spread, 4.0))
        if not lost.any() or lost.mean() > MOST:
            return None
        self._before = before  # the next frame is held against a whole one
        mask = np.zeros(pixels.shape, bool)
        full = np.kron(lost, np.ones((BLOCK_PX, BLOCK_PX), bool))
        mask[: full.shape[0], : full.shape[1]] = full[: pixels.shape[0], : pixels.shape[1]]
        return mask


def _extremes(pixels: Pixels) -> tuple[Any, Any]:
    """Least and largest value of each whole block, (h, w) each."""
    rows, columns = pixels.shape[0] // BLOCK_PX, pixels.shape[1] // BLOCK_PX
    kernel = np.ones((BLOCK_PX, BLOCK_PX), np.uint8)
    half = BLOCK_PX // 2  # OpenCV's window reaches half a block back and half less one on
    part = np.s_[half : rows * BLOCK_PX : BLOCK_PX, half : columns * BLOCK_PX : BLOCK_PX]
    return cv2.erode(pixels, kernel)[part], cv2.dilate(pixels, kernel)[part]


def _of_one_value(
    value: NDArray[Any], flat: NDArray[np.bool_], lost: NDArray[np.bool_], step: float
) -> NDArray[np.bool_]:
    """Blocks that hang together with lost ones of their value, and stand out from what is around them."""
    found = np.zeros(lost.shape, bool)
    for level in np.unique(value[lost]):
        same = (flat & (value == level)).astype(np.uint8)
        count, labels = cv2.connectedComponents(same, connectivity=4)
        sizes = np.bincount(labels[lost], minlength=count)
        for number in range(1, count):
            if sizes[number] < FEWEST_BLOCKS:
                continue
            blocks = labels == number
            around = (cv2.dilate(blocks.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~blocks
            beside = np.abs(value[around].astype(np.float32) - np.float32(level))
            if not beside.size or float(np.median(beside)) > step:
                found |= blocks
    return found

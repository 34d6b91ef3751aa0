"""What a network sees of a frame: its size, its border, and its answer brought back to work size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]

STRIDE_PX = 32
"""Networks take heights and widths that are multiples of this."""


def work_size(size: tuple[int, int], long_side_px: int) -> tuple[int, int]:
    """(h, w) at which a network sees a picture of `size` (H, W): never larger, at least 1 pixel."""
    factor = min(1.0, long_side_px / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def reduced(luma: Luma, size: tuple[int, int]) -> Luma:
    """The luma at `size` (h, w); itself where that is its size."""
    if luma.shape == size:
        return luma
    return np.asarray(cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def reduced_by_halves(luma: Luma, size: tuple[int, int]) -> Luma:
    """As `reduced`, by means of 2x2 first while it is four times as large, or more, and they divide it.

    OpenCV is several times as fast at those as at areas that are no whole number of pixels: 1920x1080 to
    208x117 takes 0.3 ms of a core in place of 3.5, and is 1 level from it in the mean of a sharp picture.
    """
    while all(one >= 4 * to and one % 2 == 0 for one, to in zip(luma.shape, size, strict=True)):
        luma = reduced(luma, (luma.shape[0] // 2, luma.shape[1] // 2))
    return reduced(luma, size)


def at_size(plane: Plane, size: tuple[int, ...]) -> Plane:
    """(h, w) float32 at `size` (h, w), the caller's to keep."""
    if plane.shape == size:
        return plane.copy()
    how = cv2.INTER_AREA if size[0] < plane.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=how), np.float32)


def padded(luma: Luma) -> Plane:
    """(h, w) uint8 as a network takes it: (1, 1, h', w') float32 in [0, 1], mirrored to multiples of 32."""
    height, width = luma.shape
    below, beside = -height % STRIDE_PX, -width % STRIDE_PX
    if below or beside:
        luma = np.asarray(cv2.copyMakeBorder(luma, 0, below, 0, beside, cv2.BORDER_REFLECT_101), np.uint8)
    return np.asarray(luma.astype(np.float32) * np.float32(1 / 255), np.float32)[None, None]


def unpadded(luma: Luma) -> Luma:
    """(h, w) uint8 of what `padded` has made of a picture; a view, without the mirrored rows and columns."""
    for _ in range(2):
        below = next((rows for rows in range(STRIDE_PX - 1, 0, -1) if _mirrored(luma, rows)), 0)
        luma = luma[: luma.shape[0] - below].T
    return luma


def answer_at(
    answer: tuple[Plane, Plane], place: int, seen: tuple[int, int], size: tuple[int, ...]
) -> tuple[Plane, Plane]:
    """(h, w, 3) `ycc` and (h, w) confidence of one picture of a batch at `size` (h, w).

    Args:
        answer: of `Network.infer`.
        place: of the picture in the batch.
        seen: (h, w) of what the network saw, without padding.
        size: wanted.
    """
    ycc, confidence = answer
    planes = [at_size(plane[: seen[0], : seen[1]], size) for plane in (*ycc[place], confidence[place, 0])]
    return np.asarray(cv2.merge(planes[:3]), np.float32), planes[3]


def _mirrored(luma: Luma, rows: int) -> bool:
    first = luma.shape[0] - rows
    return first > rows and np.array_equal(luma[first:], luma[first - 1 - rows : first - 1][::-1])

"""Holes as they occur, drawn at random: blocks, blobs, strokes, dead lines, text, lost blocks of a stream.

Training learns from them and the bench measures with them, each from its own seed.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError

Mask = NDArray[np.bool_]
Size = tuple[int, int]
Draw = Callable[[Size, np.random.Generator], Mask]

MACROBLOCK_PX = 16  # H.264, 6.3: a slice is lost in macroblocks of 16x16 luma
LARGEST_SHARE = 0.3
"""Of a picture that random blocks, blobs and strokes may take: Pathak 2016 takes a quarter out."""


def draw(kind: str, size: Size, random: np.random.Generator) -> Mask:
    """(H, W) bool, true where a pixel is missing.

    Raises:
        EngineOptionError: there is no such kind of hole.
    """
    if kind not in KINDS:
        raise EngineOptionError(f"unknown kind of hole {kind!r}: use {', '.join(KINDS)}")
    return KINDS[kind](size, random)


def _blank(size: Size) -> NDArray[np.uint8]:
    return np.zeros(size, np.uint8)


def _center(size: Size, random: np.random.Generator) -> Mask:
    """The middle half of both sides (Pathak 2016, section 3.3)."""
    mask = np.zeros(size, bool)
    height, width = size
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def _blocks(size: Size, random: np.random.Generator) -> Mask:
    """Several rectangles that may overlap, a quarter of the picture at most (Pathak 2016, section 3.3)."""
    mask = np.zeros(size, bool)
    height, width = size
    for _ in range(int(random.integers(1, 6))):
        high, wide = (int(side * random.uniform(0.08, 0.5)) for side in size)
        y, x = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
        before = mask.copy()
        mask[y : y + high, x : x + wide] = True
        if mask.mean() > LARGEST_SHARE:
            return before if before.any() else mask
    return mask


def blob(size: Size, diameter_px: float, random: np.random.Generator) -> Mask:
    """One round patch with an uneven rim, somewhere in the picture."""
    height, width = size
    center = np.array([random.uniform(0, width), random.uniform(0, height)])
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rim = np.ones(24)
    for wave in (2, 3, 5):
        rim += random.uniform(0, 0.18) * np.cos(wave * angles + random.uniform(0, 2 * np.pi))
    points = center + (0.5 * diameter_px * rim)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    mask = _blank(size)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask > 0


def _blobs(size: Size, random: np.random.Generator) -> Mask:
    """One to three patches of 8 to 64 pixels."""
    mask = np.zeros(size, bool)
    for _ in range(int(random.integers(1, 4))):
        mask |= blob(size, float(np.exp(random.uniform(np.log(8), np.log(64)))), random)
        if mask.mean() > LARGEST_SHARE:
            break
    return mask


def _strokes(size: Size, random: np.random.Generator) -> Mask:
    """Scratches: bent lines of 1 to 10 pixels."""
    mask = _blank(size)
    for _ in range(int(random.integers(1, 5))):
        point = np.array([random.uniform(0, size[1]), random.uniform(0, size[0])])
        angle, thickness = random.uniform(0, 2 * np.pi), int(random.integers(1, 11))
        for _ in range(int(random.integers(2, 8))):
            angle += random.normal(0, 0.5)
            step = random.uniform(0.08, 0.3) * max(size)
            after = point + step * np.array([np.cos(angle), np.sin(angle)])
            ends = [tuple(int(value) for value in np.rint(end)) for end in (point, after)]
            cv2.line(mask, ends[0], ends[1], 1, thickness)
            point = after
    return mask > 0


def _rows(size: Size, random: np.random.Generator) -> Mask:
    """Dead rows and columns of a sensor, 1 to 3 pixels wide."""
    mask = np.zeros(size, bool)
    for _ in range(int(random.integers(1, 5))):
        wide = int(random.integers(1, 4))
        if random.random() < 0.6:
            at = int(random.integers(size[0] - wide + 1))
            mask[at : at + wide] = True
        else:
            at = int(random.integers(size[1] - wide + 1))
            mask[:, at : at + wide] = True
    return mask


def _text(size: Size, random: np.random.Generator) -> Mask:
    """A line or two of burnt-in letters, with the dark rim that they mostly have."""
    mask = _blank(size)
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)
    letters = np.array(list(string.ascii_uppercase + string.digits + ":-/ "))
    for _ in range(int(random.integers(1, 3))):
        words = "".join(random.choice(letters, int(random.integers(5, 20))))
        scale = float(random.uniform(0.4, 1.0))
        place = (int(random.uniform(0, 0.4) * size[1]), int(random.uniform(0.1, 1.0) * size[0]))
        thickness = int(random.integers(2, 5))
        cv2.putText(mask, words, place, int(random.choice(fonts)), scale, 1, thickness)
    return mask > 0


def _lost(size: Size, random: np.random.Generator) -> Mask:
    """Runs of lost macroblocks, as a broken slice leaves them."""
    rows, columns = -(-size[0] // MACROBLOCK_PX), -(-size[1] // MACROBLOCK_PX)
    lost = np.zeros((rows, columns), bool)
    for _ in range(int(random.integers(1, 4))):
        row = int(random.integers(rows))
        length = int(random.integers(1, max(2, columns // 2)))
        start = int(random.integers(max(1, columns - length + 1)))
        lost[row, start : start + length] = True
    return np.kron(lost, np.ones((MACROBLOCK_PX, MACROBLOCK_PX), bool))[: size[0], : size[1]]


KINDS: dict[str, Draw] = {
    "center": _center, "blocks": _blocks, "blobs": _blobs, "strokes": _strokes, "rows": _rows, "text": _text,
    "lost": _lost,
}  # fmt: skip
"""Name -> how such a hole is drawn."""

"""Steps in a picture on the grid of a coder's blocks that the frame before had not, and what they enclose.

All of blocks: (h, w) for the whole ones of (H, W) pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 8
"""JPEG's blocks; a macroblock has four of them."""
OFF_LEVELS = 8.0
"""Gray levels, on average over a block, that it is off from what the frame before lets expect."""
STEP_LEVELS = 5.0
"""Gray levels of a step at the edge of a block, beyond the slopes beside it, that was not there before."""
ONE_SIDED = 2.5
"""Times that the error on the damaged side of such an edge exceeds that on the other."""
SHARP, SHARP_LEVELS = 4.0, 4.0
"""From so many times, and gray levels more, an edge of something large counts without a step, which decoders
smooth away."""
FEWEST_BLOCKS, FEWEST_EDGES = 4, 6
"""That hang together (a macroblock), and edges around them that are walls."""
ALIGNED = 0.5
"""Share of the edges around what hangs together that must be walls."""
LARGE_BLOCKS, LARGE_ALIGNED = 60, 0.35
"""Where so many hang together, what moved there is among them: fewer edges need be walls."""
TRIGGER, TRIGGER_TIMES = 6, 1.5
"""Walls, beyond so many times those beside the grid, from which a frame is looked at closely."""

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Blocks = NDArray[np.bool_]


def suspicious(before: Luma, now: Luma) -> bool:
    """Whether what changed ends at the edges of blocks more often than beside them."""
    error = cv2.absdiff(before, now)
    rows, columns = np.nonzero(block_means(error) > OFF_LEVELS)
    if rows.size < FEWEST_BLOCKS:
        return False
    window = tuple(  # of what changed, two blocks around it with it
        slice(max(int(at.min()) - 2, 0) * BLOCK_PX, (int(at.max()) + 3) * BLOCK_PX) for at in (rows, columns)
    )
    before, now, error = before[window], now[window], error[window]
    on, beside = (
        sum(
            int(np.count_nonzero(wall))
            for turned in (False, True)
            for _, wall in _walls(before, now, error, turned, shift)
        )
        for shift in (0, BLOCK_PX // 2)
    )
    return on > TRIGGER_TIMES * beside + TRIGGER


def _walls(before: Luma, now: Luma, error: Luma, turned: bool, shift: int = 0) -> list[tuple[Blocks, Blocks]]:
    """Edges between blocks, (h, w - 1), that end what is new in the left one, and in the right one.

    For each of the two those with a step in the picture, and those without one that are sharp.

    Args:
        before: (H, W) what was expected.
        now: (H, W) what came.
        error: (H, W) their difference.
        turned: upper and lower instead, (h - 1, w).
        shift: pixels that the edges lie left of where they are.
    """
    left, right = _sides(error.T if turned else error, shift)
    was, is_now = (_steps(one.T if turned else one, shift) for one in (before, now))
    fresh = (is_now > STEP_LEVELS) & (was < 0.5 * is_now)
    walls = []
    for inside, outside in ((left, right), (right, left)):
        plain = np.asarray(fresh & (inside > ONE_SIDED * outside + 2), bool)
        sharp = np.asarray(inside > SHARP * outside + SHARP_LEVELS, bool) | plain
        walls.append((plain.T, sharp.T) if turned else (plain, sharp))
    return walls


def _across(picture: NDArray[Any], shift: int) -> list[NDArray[np.int16]]:
    """The two columns of pixels left of each vertical edge of blocks and the two right of it."""
    rows, columns = picture.shape[0] // BLOCK_PX, picture.shape[1] // BLOCK_PX
    at = np.arange(1, columns) * BLOCK_PX - shift
    part = picture[: rows * BLOCK_PX]
    return [part[:, at + offset].astype(np.int16) for offset in (-2, -1, 0, 1)]


def _a_block(values: NDArray[Any]) -> Plane:
    """Means over the rows of each block."""
    return np.asarray(values.reshape(-1, BLOCK_PX, values.shape[1]).mean(1), np.float32)


def _steps(picture: Luma, shift: int) -> Plane:
    """(h, w - 1) mean step in gray levels across vertical edges of blocks, less the slopes beside it."""
    a, b, c, d = _across(picture, shift)
    return _a_block(np.abs(b - c) - np.maximum(np.abs(a - b), np.abs(c - d)))


def _sides(error: Luma, shift: int) -> tuple[Plane, Plane]:
    """(h, w - 1) mean error in the two columns left and right of each vertical edge of blocks."""
    a, b, c, d = _across(error, shift)
    return _a_block(0.5 * (a + b)), _a_block(0.5 * (c + d))


def block_means(picture: NDArray[Any]) -> Plane:
    """(h, w) mean of each whole block."""
    rows, columns = picture.shape[0] // BLOCK_PX, picture.shape[1] // BLOCK_PX
    part = np.ascontiguousarray(picture[: rows * BLOCK_PX, : columns * BLOCK_PX], np.float32)
    return np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def new_damage(expected: Luma, now: Luma) -> Blocks:
    """(h, w) bool of blocks that are off as one and end at their common border."""
    error = cv2.absdiff(expected, now)
    off = block_means(error) > OFF_LEVELS
    if not off.any():
        return off
    off = cv2.morphologyEx(off.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    count, labels = cv2.connectedComponents(off.astype(np.uint8), connectivity=4)
    large = np.bincount(labels.reshape(-1), minlength=count) >= LARGE_BLOCKS
    around, walled = np.zeros(count, np.int64), np.zeros(count, np.int64)
    beside = ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))
    for turned, (first, second) in zip((False, True), beside, strict=True):
        walls = _walls(expected, now, error, turned)
        for own, other, (plain, sharp) in ((first, second, walls[0]), (second, first, walls[1])):
            border = (own > 0) & (other != own)
            wall = np.where(large[own], sharp, plain)
            around += np.bincount(own[border], minlength=count)
            walled += np.bincount(own[border & wall], minlength=count)
    sizes = np.bincount(labels.reshape(-1), minlength=count)
    needed = np.where(large, LARGE_ALIGNED, ALIGNED)
    damaged = (sizes >= FEWEST_BLOCKS) & (walled >= FEWEST_EDGES) & (walled > needed * around)
    damaged[0] = False
    return np.asarray(damaged[labels], bool)

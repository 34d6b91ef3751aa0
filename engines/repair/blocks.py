"""What frames say of blocks one by one: which look as they should, stand still, are new or still damaged."""

from __future__ import annotations

import cv2
import numpy as np

from irchroma.engines.repair.block_steps import (
    BLOCK_PX,
    FEWEST_BLOCKS,
    Blocks,
    Luma,
    Plane,
    block_means,
    new_damage,
)
from irchroma.engines.repair.mask import Mask

RUN_SHARE, STRAY_SHARE = 0.97, 0.1
"""Of a row of blocks that is copied; of the blocks beside the copied rows, that may stand still too."""
SMOOTH_PX = 1.0
"""What is followed from frame to frame is compared this smoothly."""
LEFT_LEVELS = 4.0
"""Gray levels that what is followed is still off."""
LEAST_LEVELS = 3.0
"""The same where damage is known to be, and the picture has little noise: three times the usual error."""
UNLIKE = 0.6
"""Of two errors, the smaller by so much says what a block looks like."""
MADE_UP = 0.4
"""Share of what a decoder says that it has made up from which it is made up badly, if so much is off."""


def run_of(same: Blocks) -> Blocks:
    """(h, w) the blocks that stand still where they do from one place of the picture's scan to another.

    A decoder that has lost its place copies all of what follows; an encoder that saves bits leaves out what
    changes least, here and there. None where more than a few stand still elsewhere.
    """
    rows = np.flatnonzero(same.mean(1) >= RUN_SHARE)
    run = np.zeros(same.shape, bool)
    if not rows.size or rows[-1] - rows[0] + 1 > rows.size:
        return run
    reach = 2  # rows of blocks: a macroblock's, in which the run begins and ends
    run[max(rows[0] - reach, 0) : rows[-1] + 1 + reach] = True
    elsewhere = same & ~run
    if np.count_nonzero(elsewhere) > STRAY_SHARE * int(np.count_nonzero(~run)):
        return np.zeros(same.shape, bool)
    return same & run


def new_in(expected: Luma, now: Luma, earlier: Luma | None) -> Blocks:
    """(h, w) new damage; none where it is the scene of two frames ago, come back from a damage not seen."""
    found = new_damage(expected, now)
    if earlier is not None and found.any():
        back = error_of(earlier, now) < UNLIKE * error_of(expected, now)
        if np.count_nonzero(found & back) > 0.5 * np.count_nonzero(found):
            found[:] = False
    return found


def off_in(suspect: Blocks, off: Plane) -> Blocks:
    """(h, w) blocks that are off by more than those that nothing is said against; none where few are.

    What a decoder makes up well is left as it is: what is off in it are things that move, which must be seen.
    """
    usual = LEFT_LEVELS if suspect.all() else float(np.median(off[~suspect]))
    found = suspect & _cleaned(off > np.clip(3.0 * usual, LEAST_LEVELS, LEFT_LEVELS))
    return found if np.count_nonzero(found) > MADE_UP * np.count_nonzero(suspect) else np.zeros_like(found)


def from_row(pixels: Luma, row: int) -> Blocks:
    """(h, w) all blocks from one or two macroblocks above a row of pixels on."""
    suspect = np.zeros((pixels.shape[0] // BLOCK_PX, pixels.shape[1] // BLOCK_PX), bool)
    suspect[max(row // (2 * BLOCK_PX) * 2 - 2, 0) :] = True
    return suspect


def _cleaned(blocks: Blocks) -> Blocks:
    """(h, w) without gaps of a block, and without what is less than a macroblock."""
    closed = cv2.morphologyEx(blocks.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= FEWEST_BLOCKS
    large[0] = False
    return np.asarray(large[labels], bool)


def pixels_of(blocks: Blocks, size: tuple[int, ...]) -> Mask:
    """(H, W) bool of (h, w) blocks; those that the picture cuts off are as those beside them."""
    full = np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), bool))
    missing = [(0, size[axis] - full.shape[axis]) for axis in (0, 1)]
    return np.asarray(np.pad(full, missing, mode="edge"), bool)


def what_is_left(left: Blocks, off: Plane, same: Plane, told: bool) -> Blocks:
    """Blocks near the damage of the frame before that still look damaged, not as the scene should.

    Args:
        left: blocks that were damaged in the frame before.
        off: error of each block against what is expected of the scene.
        same: error of each block against what the frame before showed there.
        told: the decoder says that the damage lasts; what was damaged and is off then counts as damaged.
    """
    near = cv2.dilate(left.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    grown = near & (off > LEFT_LEVELS) & (same < UNLIKE * off)
    if told:
        return _cleaned(grown | left & (off > 0.5 * LEFT_LEVELS))
    if np.count_nonzero(left & (off < UNLIKE * same)) > np.count_nonzero(left & (same < UNLIKE * off)):
        return np.zeros(left.shape, bool)  # drawn anew: what still differs has changed meanwhile
    return np.asarray(grown, bool)


def error_of(other: Luma, now: Luma) -> Plane:
    """(h, w) mean difference of each block, of both pictures smoothed a little."""
    first, second = (cv2.GaussianBlur(one, (0, 0), SMOOTH_PX) for one in (other, now))
    return block_means(cv2.absdiff(first, second))

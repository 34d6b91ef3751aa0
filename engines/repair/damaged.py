"""Finds blocks that a decoder has made up or got wrong: something new that ends at the edges of blocks.

A decoder that meets a damaged stream goes on as it can: it copies what was there before, leaves one value
(gray, or green where luma and chroma are zero), or draws what the wrong bits say, often brighter or darker
from there to the end of the picture. A scene's own changes have edges of their own; these end with a step in
the picture on the grid of the blocks, where the frame before had none. What is copied has no such edge; it is
known by standing still to the bit where it moved until now and everything else goes on. In video coded by
differences damage lasts: it is followed from frame to frame, until it is drawn anew.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.repair.carrying import small_picture
from irchroma.engines.repair.mask import Mask
from irchroma.engines.temporal.cuts import is_cut
from irchroma.engines.temporal.motion import MotionEstimator, pixel_grid

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
FEWEST_COPIES, LEAST_CONTRAST = 24, 6.0
"""Blocks that are copied, with so many gray levels between their darkest and brightest pixel."""
RUN_SHARE, STRAY_SHARE = 0.97, 0.1
"""Of a row of blocks that is copied; of the blocks beside the copied rows, that may stand still too."""
COPIED_PX = 0.8
"""Motion from which a copy is wrong, pixels a frame."""
SMOOTH_PX = 1.0
"""What is followed from frame to frame is compared this smoothly."""
LEFT_LEVELS = 4.0
"""Gray levels that what is followed is still off."""
UNLIKE = 0.6
"""Of two errors, the smaller by so much says what a block looks like."""
FOLLOWED_FRAMES = 90
"""For so long: after it, what looks damaged is taken for the scene."""
MOST = 0.8
"""Share of the picture; beyond it, it is another picture."""

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Blocks = NDArray[np.bool_]


class DamagedBlocks:
    """Looks at frame after frame of one camera. Used by one thread."""

    def __init__(self) -> None:
        self._motion = MotionEstimator()
        self._before: Luma | None = None  # as it came
        self._whole: Luma | None = None  # with what was damaged as it was before
        self._earlier: Luma | None = None  # the same of two frames ago
        self._left: Blocks | None = None
        self._frames = 0

    def reset(self) -> None:
        """Forget the frames before."""
        self._before = self._whole = self._left = self._earlier = None
        self._frames = 0

    def find(self, pixels: Luma) -> Mask | None:
        """(H, W) bool of what is damaged in this frame; None where nothing is.

        Args:
            pixels: (H, W) uint8 luma as decoded, at the decoder's size; not written to, and kept.
        """
        before, whole, earlier = self._before, self._whole, self._earlier
        self._before = self._whole = pixels
        self._earlier = whole
        if before is None or whole is None or before.shape != pixels.shape or min(pixels.shape) < 64:
            self._left = None
            return None
        copied = self._copied(earlier, before, pixels)
        if self._left is None and copied is None and not _suspicious(before, pixels):
            return None
        moved = self._moved(before, pixels, whole)
        if moved is None:  # another scene
            self._left = None
            return None
        expected, drawn = moved
        if copied is not None:
            blocks, (x, y) = copied
            shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
            went = cv2.warpAffine(whole, shift, whole.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            expected = np.where(_pixels_of(blocks, pixels.shape), went, expected)
        found = _new_damage(expected, pixels)
        if found.any() and earlier is not None:  # is it back as it was before a damage that was not seen?
            back = _error(earlier, pixels) < UNLIKE * _error(expected, pixels)
            if np.count_nonzero(found & back) > 0.5 * np.count_nonzero(found):
                found[:] = False
        if copied is not None:
            found |= copied[0]
        if self._left is not None:
            found |= _what_is_left(self._left, expected, drawn, pixels)
        if not found.any() or found.mean() > MOST:
            self._left, self._frames = None, 0
            return None
        self._frames += 1
        if self._frames > FOLLOWED_FRAMES:
            self.reset()
            self._before = self._whole = pixels
            return None
        self._left = found
        mask = _pixels_of(found, pixels.shape)
        self._whole = np.where(mask, expected, pixels)
        return mask

    def _copied(
        self, earlier: Luma | None, before: Luma, now: Luma
    ) -> tuple[Blocks, tuple[float, float]] | None:
        """(h, w) blocks that stand still though they moved a frame ago, as the rest does; and that motion.

        The motion is (x, y) in pixels, from the frame before to this one.
        """
        same = _run_of(_block_means(cv2.absdiff(before, now)) == 0.0)
        if earlier is None or not FEWEST_COPIES <= np.count_nonzero(same) <= MOST * same.size:
            return None
        kernel = np.ones((BLOCK_PX, BLOCK_PX), np.uint8)
        half = BLOCK_PX // 2
        contrast = cv2.morphologyEx(now, cv2.MORPH_GRADIENT, kernel)[half::BLOCK_PX, half::BLOCK_PX]
        rich = same & (contrast[: same.shape[0], : same.shape[1]] > LEAST_CONTRAST)
        if np.count_nonzero(rich) < FEWEST_COPIES:
            return None
        small = small_picture(before), small_picture(now)
        size = (small[0].shape[1], small[0].shape[0])
        there = cv2.resize(rich.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        rest = cv2.resize(same.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 0
        was, goes = (
            self._median_motion(small_picture(earlier), small[0], there),
            self._median_motion(*small, rest),
        )
        speed = float(np.hypot(*was))
        if float(np.hypot(*(was - goes))) > 0.5 * speed:
            return None
        scale = now.shape[1] / size[0]
        return (same, (float(was[0] * scale), float(was[1] * scale))) if speed * scale > COPIED_PX else None

    def _median_motion(self, before: Plane, now: Plane, where: Blocks) -> Plane:
        """(x, y) pixels of the small picture that the marked part of it moves, none where it is unclear."""
        first, second = (np.asarray(np.rint(one), np.uint8) for one in (before, now))
        whole = np.full(first.shape, 255, np.uint8)
        motion = self._motion.estimate(first, second, whole, (first.shape[0], first.shape[1]), whole=False)
        if motion.half_source is None or motion.occluded is None:
            return np.zeros(2, np.float32)
        clear = where & (motion.occluded == 0)
        if np.count_nonzero(clear) < 0.3 * np.count_nonzero(where):
            return np.zeros(2, np.float32)
        source = motion.half_source - pixel_grid((first.shape[0], first.shape[1]))
        return np.asarray(-np.median(source[clear], axis=0), np.float32)

    def _moved(self, before: Luma, now: Luma, whole: Luma) -> tuple[Luma, Luma] | None:
        """What the frames before, whole and as it came, let expect of this one; None after a cut."""
        small = [np.asarray(np.rint(small_picture(one)), np.uint8) for one in (whole, now)]
        changed = cast(Luma, cv2.compare(cv2.blur(cv2.absdiff(small[0], small[1]), (3, 3)), 3, cv2.CMP_GT))
        size = (changed.shape[0], changed.shape[1])
        motion = self._motion.estimate(small[0], small[1], changed, size, whole=False)
        if is_cut(small[0], small[1], motion):
            return None
        if motion.half_area is None or motion.half_source is None:
            return whole, before
        flow = np.zeros((*size, 2), np.float32)
        flow[motion.half_area] = motion.half_source - pixel_grid(size)[motion.half_area]
        height, width = now.shape
        scale = np.array([width / size[1], height / size[0]], np.float32)
        source = cv2.resize(flow, (width, height)) * scale + pixel_grid((height, width))
        expected, drawn = (
            cast(Luma, cv2.remap(one, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            for one in (whole, before)
        )
        # Where the flow was led astray by the damage itself, no motion may explain more.
        stays = cv2.blur(cv2.absdiff(now, whole), (9, 9)) < cv2.blur(cv2.absdiff(now, expected), (9, 9))
        return np.where(stays, whole, expected), np.where(stays, before, drawn)


def _run_of(same: Blocks) -> Blocks:
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


def _pixels_of(blocks: Blocks, size: tuple[int, ...]) -> Mask:
    """(H, W) bool of (h, w) blocks; those that the picture cuts off are as those beside them."""
    full = np.kron(blocks, np.ones((BLOCK_PX, BLOCK_PX), bool))
    missing = [(0, size[axis] - full.shape[axis]) for axis in (0, 1)]
    return np.asarray(np.pad(full, missing, mode="edge"), bool)


def _what_is_left(left: Blocks, expected: Luma, drawn: Luma, now: Luma) -> Blocks:
    """Blocks near the damage of the frame before that look as it did, and not as they should."""
    near = cv2.dilate(left.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    off, same = _error(expected, now), _error(drawn, now)
    if np.count_nonzero(left & (off < UNLIKE * same)) > np.count_nonzero(left & (same < UNLIKE * off)):
        return np.zeros(left.shape, bool)  # drawn anew: what still differs has changed meanwhile
    return np.asarray(near & (off > LEFT_LEVELS) & (same < UNLIKE * off), bool)


def _error(other: Luma, now: Luma) -> Plane:
    """(h, w) mean difference of each block, of both pictures smoothed a little."""
    first, second = (cv2.GaussianBlur(one, (0, 0), SMOOTH_PX) for one in (other, now))
    return _block_means(cv2.absdiff(first, second))


def _suspicious(before: Luma, now: Luma) -> bool:
    """Whether what changed ends at the edges of blocks more often than beside them."""
    error = cv2.absdiff(before, now)
    rows, columns = np.nonzero(_block_means(error) > OFF_LEVELS)
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


def _block_means(picture: NDArray[Any]) -> Plane:
    """(h, w) mean of each whole block."""
    rows, columns = picture.shape[0] // BLOCK_PX, picture.shape[1] // BLOCK_PX
    part = np.ascontiguousarray(picture[: rows * BLOCK_PX, : columns * BLOCK_PX], np.float32)
    return np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _new_damage(expected: Luma, now: Luma) -> Blocks:
    """(h, w) bool of blocks that are off as one and end at their common border."""
    error = cv2.absdiff(expected, now)
    off = _block_means(error) > OFF_LEVELS
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

"""Follows what is drawn from what a decoder has made up: from a damage on until the picture is drawn anew.

What a decoder makes up looks like a picture, mostly, and is right where nothing happens. What has changed
since is drawn by differences from what was never sent: people leave pieces of themselves behind, edges stand
where they were. Nobody who was not there can say which; so these parts are not mended, but marked.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from irchroma.engines.repair.block_steps import BLOCK_PX, Blocks, Luma, Plane, block_means
from irchroma.engines.repair.carrying import continued, small_picture
from irchroma.engines.repair.mask import Mask
from irchroma.engines.temporal.motion import MotionEstimator, pixel_grid

CHANGED_LEVELS = 5.0
"""Gray levels, on average over a block and those around it, by which what is drawn on is another."""
MADE_UP = 0.3
"""Share of a block from which it is drawn from what was made up."""
MOVED_LEVELS = 3
"""Gray levels of the small picture from which motion is looked for."""
LASTS_FRAMES = 300
"""For so long at most, where no picture comes that is drawn from no other."""
TREE_PX = 64
"""HEVC's largest blocks (6.3.1): what is wrong in one may have begun anywhere in it."""
SMALLEST_PX = 64
"""Of a picture that is looked at."""


class Doubt:
    """Looks at frame after frame of one camera. Used by one thread."""

    def __init__(self) -> None:
        self._motion = MotionEstimator()
        self.reset()

    def reset(self) -> None:
        self._before: Luma | None = None
        self._earlier: Luma | None = None  # two frames ago
        self._told = False  # the decoder knows of a damage that lasts
        self._keyed = False  # the source says which pictures are drawn anew
        self._end()

    def _end(self) -> None:
        """Nothing is in doubt from here on."""
        self._made_up: Plane | None = None  # (h, w) share of each block
        self._changed: Plane | None = None  # (h, w) the most that it has changed since, gray levels
        self._frames = 0

    def find(
        self, pixels: Luma, damaged_from: float | None, drawn_anew: bool, found: Mask | None
    ) -> Mask | None:
        """(H, W) bool of what is drawn from what was made up and has changed since; None where nothing is.

        Args:
            pixels: (H, W) uint8 luma as decoded, at the decoder's size; not written to, and kept.
            damaged_from: as in `DamagedBlocks.find`.
            drawn_anew: the frame is drawn from no other.
            found: (H, W) bool of what was found to be damaged without a word of the decoder's; None for
                nothing.
        """
        before, earlier, told = self._before, self._earlier, self._told
        self._before, self._earlier = pixels, before
        self._told, self._keyed = damaged_from is not None, self._keyed or drawn_anew
        if (drawn_anew or told) and not self._told:
            self._end()
        if before is None or before.shape != pixels.shape or min(pixels.shape) < SMALLEST_PX:
            self._end()
            return None
        row: int | None = None
        if damaged_from is not None and (damaged_from < 1.0 or not told):  # or it was of a frame left out
            row = int(damaged_from % 1.0 * pixels.shape[0])
        elif damaged_from is None and found is not None and self._keyed:
            row = int(np.argmax(found.any(1))) // TREE_PX * TREE_PX
        if row is None and self._made_up is None:
            return None
        if earlier is None or earlier.shape != pixels.shape:
            earlier = before
        return self._follow(earlier, before, pixels, row, drawn_anew)

    def _follow(
        self, earlier: Luma, before: Luma, now: Luma, first_row: int | None, drawn_anew: bool
    ) -> Mask | None:
        """The same, where something is in doubt, or is from a row on."""
        changes = block_means(cv2.absdiff(before, now))
        shape = (changes.shape[0], changes.shape[1])
        self._frames += 1
        if self._frames > LASTS_FRAMES:
            self._end()
            return None
        made_up = np.zeros(shape, np.float32)
        changed = np.zeros(shape, np.float32)
        if self._made_up is not None and self._changed is not None and self._made_up.shape == shape:
            made_up, changed = self._carried(before, now, self._made_up, self._changed)
        if first_row is not None:
            first = max(first_row // (2 * BLOCK_PX) * 2 - 2, 0)
            made_up[first:] = 1.0
            if drawn_anew:  # what is above it is whole
                made_up[:first] = changed[:first] = 0.0
        # what moves now has moved before
        changes = np.maximum(changes, block_means(cv2.absdiff(earlier, before)))
        here: Blocks = made_up > MADE_UP
        changed = np.maximum(changed, np.where(here, cv2.blur(changes, (3, 3)), 0))
        self._made_up, self._changed = made_up, np.asarray(changed, np.float32)
        found = changed > CHANGED_LEVELS
        if not found.any():
            return None
        full = np.kron(found, np.ones((BLOCK_PX, BLOCK_PX), bool))
        missing = [(0, side - have) for side, have in zip(now.shape, full.shape, strict=True)]
        return np.asarray(np.pad(full, missing, mode="edge"), bool)

    def _carried(self, before: Luma, now: Luma, *planes: Plane) -> list[Plane]:
        """Planes of blocks, moved as the picture has."""
        small = [np.asarray(np.rint(small_picture(one)), np.uint8) for one in (before, now)]
        difference = cv2.blur(cv2.absdiff(small[0], small[1]), (3, 3))
        changed = cast(Luma, cv2.compare(difference, MOVED_LEVELS, cv2.CMP_GT))
        size = (changed.shape[0], changed.shape[1])
        motion = self._motion.estimate(small[0], small[1], changed, size, whole=False)
        flow = continued(motion, np.ones(size, bool), size)
        if not flow.size:
            return list(planes)
        rows, columns = planes[0].shape
        scale = np.array([columns / size[1], rows / size[0]], np.float32)
        source = cv2.resize(flow, (columns, rows)) * scale + pixel_grid((rows, columns))
        return [np.asarray(cv2.remap(one, source, None, cv2.INTER_LINEAR), np.float32) for one in planes]

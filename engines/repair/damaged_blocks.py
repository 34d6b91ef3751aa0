"""Finds blocks that a decoder has made up or got wrong: something new that ends at the edges of blocks.

A decoder that meets a damaged stream goes on as it can: it copies what was there before, leaves one value
(gray, or green where luma and chroma are zero), or draws what the wrong bits say, often brighter or darker
from there to the end of the picture. A scene's own changes have edges of their own; these end with a step in
the picture on the grid of the blocks, where the frame before had none. What is copied has no such edge; it is
known by standing still to the bit where it moved until now and everything else goes on. In video coded by
differences damage lasts: it is followed from frame to frame, until it is drawn anew.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np

from irchroma.engines.repair.block_steps import BLOCK_PX, Blocks, Luma, Plane, block_means, suspicious
from irchroma.engines.repair.blocks import (
    LEFT_LEVELS,
    error_of,
    from_row,
    new_in,
    off_in,
    pixels_of,
    run_of,
    what_is_left,
)
from irchroma.engines.repair.carrying import continued, small_picture
from irchroma.engines.repair.mask import Mask
from irchroma.engines.temporal.cuts import is_cut
from irchroma.engines.temporal.motion import MotionEstimator, pixel_grid

FEWEST_COPIES, LEAST_CONTRAST = 24, 6.0
"""Blocks that are copied, with so many gray levels between their darkest and brightest pixel."""
COPIED_PX = 0.8
"""Motion from which a copy is wrong, pixels a frame."""
STILL_A_PICTURE = 0.5
"""Share of its contrast that a picture keeps in a camera's gain jump."""
SHIFT_PX = 0.3
"""Of an error, what motion that is known so well makes is none of a decoder's."""
FOLLOWED_FRAMES = 90
"""For so long: after it, what looks damaged is taken for the scene."""
FOLLOWED_SHARE = 0.05
"""Of the picture's width, so far the picture may move meanwhile: the motion inside of what is damaged is a
guess, whose errors add up."""
NONE = 1 << 30
"""A row that no picture has."""
MOST = 0.8
"""Share of the picture; beyond it, it is another picture."""


class DamagedBlocks:
    """Looks at frame after frame of one camera. Used by one thread.

    Attributes:
        lasting: (H, W) bool, of what the last frame lacks that which is drawn on from what the frame before
            lacked: what has changed in it is the scene's. None where nothing is.
    """

    def __init__(self) -> None:
        self._motion = MotionEstimator()
        self._before: Luma | None = None  # as it came
        self._whole: Luma | None = None  # with what was damaged as it was before
        self._earlier: Luma | None = None  # the same of two frames ago
        self._told = False  # its decoder knows of a damage that may last
        self._gone = False  # next to nothing is left
        self._blind = False  # what was whole is too long ago
        self.lasting: Mask | None = None
        self._forget()

    def _forget(self) -> None:
        """Follow no damage from here on."""
        self._left: Blocks | None = None
        self._gone, self._frames = False, 0
        self._first = NONE  # row of blocks above which all is whole, while its decoder knows of a damage
        self._went = self._speed = 0.0  # motion since then, and in a frame before: widths of the picture

    def reset(self) -> None:
        self._before = self._whole = self._earlier = self.lasting = None
        self._told = self._blind = False
        self._forget()

    def find(self, pixels: Luma, damaged_from: float | None = None) -> Mask | None:
        """(H, W) bool of what is damaged in this frame; None where nothing is.

        Args:
            pixels: (H, W) uint8 luma as decoded, at the decoder's size; not written to, and kept.
            damaged_from: share of the rows from which on its decoder has made something up, as it says; 1.0
                where only pictures were damaged that this one is drawn from; None where it says nothing.
        """
        before, whole, earlier = self._before, self._whole, self._earlier
        self._before = self._whole = pixels
        self._earlier, self.lasting = whole, None
        share = self._listen(damaged_from)
        if before is None or whole is None or before.shape != pixels.shape or min(pixels.shape) < 64:
            self._forget()
            return None
        if self._gone:
            return self._all_of(whole, pixels)
        if self._blind:
            return None
        copied = self._copied(earlier, before, pixels)
        if self._left is None and copied is None and share is None and not suspicious(before, pixels):
            return None
        unknown = self._left if self._told else None
        if share is not None and share > 1.0 - MOST:  # enough is left to tell another scene by
            unknown = from_row(pixels, int(share * pixels.shape[0]))
        moved = self._moved(before, pixels, whole, unknown)
        if moved is None and share is not None:  # nothing of this scene
            self._speed = max(self._speed, self._speed_of(earlier, before))
            return self._all_of(whole, pixels)
        if moved is None:  # another scene
            self._forget()
            return None
        past = earlier, before, whole
        if copied is None:
            found, moved = self._drawn_wrong(share, moved, pixels, past)
        else:
            found = copied[0]
            shift = np.array([[1, 0, copied[1][0]], [0, 1, copied[1][1]]], np.float32)
            went = cv2.warpAffine(whole, shift, whole.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            moved = np.where(pixels_of(found, pixels.shape), went, moved[0]), moved[1]
            found = np.asarray(found | new_in(moved[0], pixels, earlier), bool)
        return self._followed(found, moved, pixels, past)

    def _listen(self, damaged_from: float | None) -> float | None:
        """From which share of the rows on the decoder says that this very frame is made up; None: nowhere."""
        share = None if damaged_from == 1.0 else damaged_from
        if damaged_from is not None and not self._told:  # it may have been of a frame that was left out
            share = damaged_from % 1.0
        if self._told and damaged_from is None:
            self._forget()
        self._told = damaged_from is not None
        self._blind &= self._told
        return share

    def _drawn_wrong(
        self,
        share: float | None,
        moved: tuple[Luma, Luma],
        pixels: Luma,
        past: tuple[Luma | None, Luma, Luma],
    ) -> tuple[Blocks, tuple[Luma, Luma]]:
        """Blocks that are not as the scene's motion lets expect, and that motion without what is suspect."""
        earlier, before, whole = past
        found = new_in(moved[0], pixels, earlier)
        if share is not None or (self._told and found.any()):
            first = int(np.argmax(found.any(1))) * BLOCK_PX if share is None else share * pixels.shape[0]
            suspect = from_row(pixels, int(first))
            self._first = min(self._first, int(np.argmax(suspect[:, 0])))
            moved = self._moved(before, pixels, whole, suspect) or moved
            found |= off_in(suspect, self._least_off(before, whole, pixels, moved[0]))
        return found, moved

    def _followed(
        self, found: Blocks, moved: tuple[Luma, Luma], pixels: Luma, before: tuple[Luma | None, Luma, Luma]
    ) -> Mask | None:
        """What was found in this frame, and what is left of the damage of the frame before."""
        expected, drawn = moved
        if self._left is not None:
            if self._told:
                off = self._least_off(before[1], before[2], pixels, expected)
            else:
                off = error_of(expected, pixels)
            left = what_is_left(self._left, off, error_of(drawn, pixels), self._told)
            left[: self._first if self._told else 0] = False
            found = np.asarray(found | left, bool)
        self._frames += 1
        lost_track = self._frames > FOLLOWED_FRAMES or self._went > FOLLOWED_SHARE
        if not found.any() or (found.mean() > MOST and not self._told) or lost_track:
            self._blind = self._told and lost_track
            self._forget()
            return None
        if self._left is None:
            self._speed = self._speed_of(before[0], before[1])
        self._left = found
        mask = pixels_of(found, pixels.shape)
        self._whole = np.where(mask, expected, pixels)
        return mask

    def _all_of(self, whole: Luma, pixels: Luma) -> Mask | None:
        """The mask where the decoder says that the whole picture, or its reference picture, is lost.

        All of the picture is masked until it looks as before. Decoders conceal a lost picture by a flat
        value, over which later pictures draw only what changes.
        """
        if np.mean(error_of(whole, pixels) < LEFT_LEVELS) > MOST:  # it has come back
            self._forget()
            return None
        self._went += self._speed
        if self._went > FOLLOWED_SHARE:
            self._forget()
            self._blind = True
            return None
        mask = np.ones(pixels.shape, bool)
        self._whole, self.lasting = whole, mask if self._gone else None
        self._gone = True
        return mask

    def _least_off(self, before: Luma, whole: Luma, pixels: Luma, expected: Luma) -> Plane:
        """(h, w) error of each block against what its surroundings or its own motion let expect.

        Less what a small shift would make of it: what a decoder has concealed well goes on as before, if by
        a motion that nothing tells of.
        """
        own = self._moved(before, pixels, whole, None)
        errors = []
        for one in (expected,) if own is None else (expected, own[0]):
            seen, there = pixels[::8, ::8].astype(np.int16), one[::8, ::8]
            level = 0  # a camera's gain jumps; what a decoder has grayed out is no such jump
            if seen.std() > STILL_A_PICTURE * there.std():
                level = round(float(np.median(seen - there)))
            errors.append(error_of(np.clip(one + np.int16(level), 0, 255).astype(np.uint8), pixels))
        off = np.minimum(errors[0], errors[-1])
        slopes = cv2.morphologyEx(expected, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
        return np.asarray(np.maximum(off - SHIFT_PX * block_means(slopes), 0.0), np.float32)

    def _speed_of(self, before: Luma | None, now: Luma) -> float:
        """Motion of most of the picture between two frames, widths of it."""
        if before is None:
            return 0.0
        first, second = small_picture(before), small_picture(now)
        x, y = self._median_motion(first, second, np.ones(first.shape, bool)).tolist()
        return math.hypot(x, y) / int(first.shape[1])

    def _copied(
        self, earlier: Luma | None, before: Luma, now: Luma
    ) -> tuple[Blocks, tuple[float, float]] | None:
        """(h, w) blocks that stand still though they moved a frame ago, as the rest does; and that motion.

        The motion is (x, y) in pixels, from the frame before to this one.
        """
        same = run_of(block_means(cv2.absdiff(before, now)) == 0.0)
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

    def _moved(
        self, before: Luma, now: Luma, whole: Luma, unknown: Blocks | None
    ) -> tuple[Luma, Luma] | None:
        """What the frames before, whole and as it came, let expect of this one; None after a cut.

        `unknown`: (h, w) blocks that say nothing of the motion, which goes on in them as around them.
        """
        small = [np.asarray(np.rint(small_picture(one)), np.uint8) for one in (whole, now)]
        known = np.ones(small[0].shape, bool)
        if unknown is not None:
            wide = cv2.resize(pixels_of(unknown, now.shape).astype(np.uint8), small[0].shape[::-1],
                              interpolation=cv2.INTER_NEAREST)  # fmt: skip
            known = cv2.dilate(wide, np.ones((5, 5), np.uint8)) == 0
            small[1] = np.where(known, small[1], small[0])
        changed = cast(Luma, cv2.compare(cv2.blur(cv2.absdiff(small[0], small[1]), (3, 3)), 3, cv2.CMP_GT))
        size = (changed.shape[0], changed.shape[1])
        motion = self._motion.estimate(small[0], small[1], changed, size, whole=False)
        if is_cut(small[0], small[1], motion):
            return None
        flow = continued(motion, known, size)
        if not flow.size:
            return whole, before
        if self._left is not None and unknown is self._left and known.any():
            x, y = np.median(flow[known], axis=0)
            self._went += max(float(np.hypot(x, y)) / size[1], self._speed)
        height, width = now.shape
        scale = np.array([width / size[1], height / size[0]], np.float32)
        source = cv2.resize(flow, (width, height)) * scale + pixel_grid((height, width))
        expected, drawn = (
            cast(Luma, cv2.remap(one, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            for one in (whole, before)
        )
        # Where the flow was led astray by the damage itself, no motion may explain more.
        stays = cv2.blur(cv2.absdiff(now, whole), (9, 9)) < cv2.blur(cv2.absdiff(now, expected), (9, 9))
        if unknown is not None:
            stays &= ~pixels_of(unknown, now.shape)
        return np.where(stays, whole, expected), np.where(stays, before, drawn)

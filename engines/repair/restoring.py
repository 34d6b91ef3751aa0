"""Restores what goes on from a picture that a decoder has made up: the error is guessed once, and carried on.

What comes after a lost slice or picture is right but for what it is drawn from: a coder sends differences
along the motion. So the error of a picture is that of the one before, moved as the coder has moved its blocks
(ITU-T H.264, 8.4: each is a block of the picture before, displaced, and a difference). Where a piece is lost
the error is guessed: what was there, carried on along its own motion of the frame before, in the brightness
of what did come, less what the decoder has made up. From there on it is moved along with the blocks, until
the picture is drawn anew. Blocks that are drawn anew before that differ from what they would be moved from by
more than the error, and lose it.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.repair.mask import Mask
from irchroma.engines.temporal.motion import pixel_grid

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]

MACROBLOCK_PX = 16
SEARCH_PX = (4, 6)
"""Rows and columns up to which a block is looked for where it was."""
MANY_PX = 100_000
"""From so many pixels on, motion is looked for in every second one: half the time, nearly the same answer."""
ANY_MOTION = 0.2
"""Gray levels that a displaced block must be better than one that stands still: noise moves, too."""
SMALLEST_PX = 64
"""Of a picture that is restored; and rows that tell its brightness."""
LASTS_FRAMES = 300
"""For so long at most, where no picture comes that is drawn from no other."""
MOST_MISSING = 4
"""Pictures in a row, beyond which nothing is known of what was in them."""
GUESSES, GUESSED_FRAMES = 4, 10
"""So many guesses in so many frames; what is guessed from guesses is nothing."""
STILL_A_PICTURE = 0.5
"""Share of its contrast that a picture keeps; HEVC's decoder grays out what it is missing."""
OFF_LEVELS = 3.0
"""Gray levels on average around a pixel from which it counts as restored."""
AGAIN, AGAIN_LEVELS = 0.5, 1.0
"""Of a place's change; nearer to what was restored than this share, less so many gray levels, it is right."""
LEAST_ERROR = 4.0
"""Gray levels of the error below which a block's own change says nothing of its being drawn anew."""


class Restorer:
    """Looks at frame after frame of one camera. Used by one thread."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.reset()

    def reset(self) -> None:
        self._before: Luma | None = None  # as it came
        self._made: deque[Luma] = deque(maxlen=2)  # the last ones, restored
        self._pts_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=9)
        self._told = False
        self._end()

    def _end(self) -> None:
        """Nothing is wrong from here on."""
        self._error: Plane | None = None
        self._frames = 0
        self._gray = False
        self._guessed: deque[int] = deque(maxlen=GUESSES)

    @property
    def active(self) -> bool:
        """Whether an error is carried: of a picture that was lost, not one that was grayed out."""
        return self._error is not None and not self._gray

    def apply(
        self, pixels: Luma, pts_ns: int, damaged_from: float | None, drawn_anew: bool = False
    ) -> tuple[Luma, Mask | None]:
        """The restored picture and (H, W) bool of what it differs in; the one given where nothing is wrong.

        Args:
            pixels: (H, W) uint8 luma as decoded, at the decoder's size; not written to, and kept.
            pts_ns: presentation time; where it leaps, pictures are missing.
            damaged_from: as in `DamagedBlocks.find`.
            drawn_anew: the frame is drawn from no other.
        """
        before, told = self._before, self._told
        self._before, self._told = pixels, damaged_from is not None
        missing = self._missing(pts_ns)
        if before is None or before.shape != pixels.shape or min(pixels.shape) < SMALLEST_PX:
            self._end()
            self._made.clear()
        elif damaged_from is None or self._frames >= LASTS_FRAMES:
            self._end()
        elif damaged_from == 1.0 and not told:  # the first of it was left out: mostly one picture is missing
            if missing:
                self._follow(before, pixels, 0.0, drawn_anew, 1)
        else:
            self._follow(before, pixels, None if damaged_from == 1.0 else damaged_from, drawn_anew, missing)
        if self._error is None or self._gray:
            self._made.append(pixels)
            return pixels, None
        whole = np.clip(np.rint(pixels + self._error), 0, 255).astype(np.uint8)
        off = np.asarray(cv2.blur(cv2.absdiff(whole, pixels), (9, 9)) > OFF_LEVELS, bool)
        self._made.append(whole)
        if not off.any():
            return pixels, None
        return np.where(off, whole, pixels), off

    def _missing(self, pts_ns: int) -> int:
        """Pictures that should have come between the one before and this one."""
        step, self._pts_ns = pts_ns - (pts_ns if self._pts_ns is None else self._pts_ns), pts_ns
        usual = float(np.median(self._steps_ns)) if self._steps_ns else 0.0
        if step > 0:
            self._steps_ns.append(step)
        return max(round(step / usual) - 1, 0) if usual > 0 else 0

    def _follow(self, before: Luma, now: Luma, share: float | None, drawn_anew: bool, missing: int) -> None:
        """Move the error along, and guess what is new of it."""
        self._frames += 1
        error = np.zeros(now.shape, np.float32)
        source: Plane | None = None
        if self._error is not None:
            source = self._source(before, now, self._error)
            error = _moved(self._error, source)
            last = self._made[-1]
            again = _moved(last.astype(np.float32), self._flow_between(last, now, about=True))
            error *= _kept(_moved(before.astype(np.float32), source) - now, error, again - now)
            error = np.asarray(cv2.medianBlur(np.asarray(error, np.float32), 3), np.float32)
        if share is not None and len(self._made) == 2 and not self._too_often():
            self._guessed.append(self._frames)
            row = int(share * now.shape[0])
            if drawn_anew:
                error[:row] = 0.0
            if now[row:].std() < STILL_A_PICTURE * before[row:].std():
                self._gray = True
            elif row == 0 and 0 < missing <= MOST_MISSING and not drawn_anew:
                error = self._error_of_missing(before, now, missing)
            else:
                error[row:] = self._error_below(now, row)
        self._error = error

    def _too_often(self) -> bool:
        return len(self._guessed) == GUESSES and self._frames - self._guessed[0] < GUESSED_FRAMES

    def _error_of_missing(self, before: Luma, now: Luma, missing: int) -> Plane:
        """Of a picture that is drawn from ones that never came, but from the last that did."""
        expected, flow = self._expected()
        for _ in range(missing - 1):
            flow = _moved(flow, flow)
            expected = _moved(expected, flow)
        error = np.asarray(expected - before, np.float32)
        return _moved(error, self._source(before, now, error))

    def _error_below(self, now: Luma, row: int) -> Plane:
        """(H - row, W) of what a decoder has made up from a row of pixels on, in the camera's gain of now."""
        expected, _ = self._expected()
        if row >= SMALLEST_PX:
            was, came = (
                expected[:row][::4, ::4].reshape(-1),
                now[:row][::4, ::4].reshape(-1).astype(np.float32),
            )
            level, middle = np.float32(np.median(came - was)), np.float32(np.median(was))
            gain = np.float32(1.0)
            if abs(level) > 1.0:
                gain = np.float32(np.cov(was, came)[0, 1] / max(float(was.var()), 1e-3))
            expected = (expected - middle) * gain + middle + level
        return np.asarray(np.clip(expected, 0, 255)[row:] - now[row:], np.float32)

    def _expected(self) -> tuple[Plane, Plane]:
        """The next picture if the last motion goes on, and (H, W, 2) that motion."""
        flow = self._flow_between(self._made[0], self._made[1])
        flow = _moved(flow, flow)
        return _moved(self._made[1].astype(np.float32), flow), flow

    def _flow_between(self, before: Luma, now: Luma, about: bool = False) -> Plane:
        """(H, W, 2) from each pixel of now to where it was; `about` looks at half the size."""
        size = (now.shape[1], now.shape[0])
        part = size if not about or now.size < MANY_PX else (size[0] // 2, size[1] // 2)
        here, there = (
            np.ascontiguousarray(cv2.resize(one, part, interpolation=cv2.INTER_AREA)) for one in (now, before)
        )
        flow = np.asarray(self._flow.calc(here, there, None), np.float32)
        if part == size:
            return flow
        scale = np.array([size[0] / part[0], size[1] / part[1]], np.float32)
        return np.asarray(cv2.resize(flow, size) * scale, np.float32)

    def _source(self, before: Luma, now: Luma, error: Plane) -> Plane:
        """(H, W, 2) from each pixel to where the coder took it from; by blocks where they explain more."""
        flow = self._flow_between(before, now)
        rows, columns = (side // MACROBLOCK_PX for side in now.shape)
        # where there is no error, none is moved
        reach = np.ones((2 * SEARCH_PX[1] + 1, 2 * SEARCH_PX[1] + 1), np.uint8)
        there = cv2.dilate((np.abs(error) > 1.0).astype(np.uint8), reach)
        there = there[: rows * MACROBLOCK_PX, : columns * MACROBLOCK_PX]
        if not there.any():
            return flow
        left, top, width, height = cv2.boundingRect(there)
        first = np.array([top, left]) // MACROBLOCK_PX
        last = -(-np.array([top + height, left + width]) // MACROBLOCK_PX)
        part = tuple(
            slice(int(a) * MACROBLOCK_PX, int(b) * MACROBLOCK_PX) for a, b in zip(first, last, strict=True)
        )
        here = now[part]
        down, across = SEARCH_PX
        wide = cv2.copyMakeBorder(before, down, down, across, across, cv2.BORDER_REPLICATE)
        step = 1 if here.size < MANY_PX else 2
        looked = np.ascontiguousarray(here[::step])
        best = _block_means(cv2.absdiff(before[part][::step], looked), step)
        way = np.zeros((*best.shape, 2), np.float32)
        for y in range(-down, down + 1):
            for x in range(-across, across + 1):
                top, left = part[0].start + down + y, part[1].start + across + x
                shifted = wide[top : top + here.shape[0] : step, left : left + here.shape[1]]
                off = _block_means(cv2.absdiff(shifted, looked), step) + np.float32(ANY_MOTION)
                better = off < best
                best[better], way[better] = off[better], (x, y)
        smooth = _moved(before.astype(np.float32), flow)[part][::step]
        bent = _block_means(cv2.absdiff(smooth, looked.astype(np.float32)), step) < best - np.float32(
            ANY_MOTION
        )
        full = np.kron(way, np.ones((MACROBLOCK_PX, MACROBLOCK_PX, 1), np.float32))
        flow[part] = np.where(_pixels(bent)[..., None], flow[part], full)
        return flow


def _moved(plane: Plane, flow: Plane) -> Plane:
    """A plane, or several, of which each pixel is taken from where the flow says."""
    source = flow + pixel_grid((flow.shape[0], flow.shape[1]))
    return np.asarray(
        cv2.remap(plane, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _kept(change: Plane, error: Plane, again: Plane) -> Plane:
    """(H, W) share of the error that is left.

    Args:
        change: that a place has beyond its motion; much more than the error, and it is drawn anew.
        error: as it would be.
        again: the change against the picture before as restored; less, and it has come back as it was.
    """
    size = (MACROBLOCK_PX, MACROBLOCK_PX)
    changed, wrong, off = (cv2.blur(np.abs(one), size) for one in (change, error, again))
    much = np.clip(2.0 - changed / np.maximum(wrong, LEAST_ERROR), 0.0, 1.0)
    return np.asarray(np.where(off + AGAIN_LEVELS < AGAIN * changed, 0.0, much), np.float32)


def _block_means(plane: NDArray[np.uint8] | Plane, step: int) -> Plane:
    """(h, w) mean of each macroblock of a picture of whole ones, of which every `step`-th row is given."""
    size = (plane.shape[1] // MACROBLOCK_PX, plane.shape[0] * step // MACROBLOCK_PX)
    return np.asarray(cv2.resize(plane.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _pixels(blocks: NDArray[np.bool_]) -> Mask:
    return np.kron(blocks, np.ones((MACROBLOCK_PX, MACROBLOCK_PX), bool))

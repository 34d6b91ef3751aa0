"""Jumps of the camera's gain: found, measured as a curve of levels, undone, and let in over seconds.

A tone map that comes before has its own way of finding them, over sensor values and pixel by pixel, and what
it takes out is not seen here; this one sees what it left, and what it never looked at. Neither does for both.
The tone map cannot wait for motion, without which a jump in the middle of a pan does not show; here there are
no sensor values to carry its memory over. Left to the tone map alone wherever it maps, two thermal clips of
cameras that jump came out worse, 400 frames each: CDC 0.00051 and then 0.00054, 0.00058 and then 0.00065, the
largest step of the mean 0.5 and 0.5, 1.5 and 3.2 levels; of five jumps of a panning synthetic camera the tone
map missed one, and that step was 2.6 levels, not 1.2. In no frame of 16 clips and cameras did both find one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]
"""(256,) float32: gray level in, gray level out, both [0, 255], never falling."""

LEVELS: Curve = np.arange(256, dtype=np.float32)
BLOCKS_PX = 8
"""Side of the blocks (of the half-size picture) whose means tell a gain jump from a change of the scene."""
LEAST_JUMP = 0.35
"""Mean change of the blocks, gray levels, below which nothing is looked for: a sensor's noise, averaged."""
FAR_BELOW = 0.7
"""Share of `LEAST_JUMP` below which the levels' own distance tells that no curve gets there: in 300 frames of
pans and of cameras that jump, a curve's strength was 1.31 times that distance at most."""
LEAST_SLOPE = 0.25
"""A curve never makes contrast smaller than this share: what the camera shows must stay visible."""
LARGEST_SLOPE = 4.0
UNCERTAINTY = np.float32(0.2)
"""Share of a gain jump by which its curve may be off at a pixel."""
CLIPPED = (2, 250)
"""Levels outside of which a camera's output may be cut off, so that pairs say nothing of its gain."""


MEMORY = 1.0 / (1.0 - math.exp(-0.5))
"""Times the time in which 63 % of a jump are let in, after which all of it is (2.54)."""
MOST_JUMPS = 12
"""That fade each by itself."""


@dataclass(frozen=True, slots=True)
class GainChange:
    """What the camera's gain did between two frames.

    Attributes:
        curve: level now -> level that the same thing had in the frame before.
        strength: mean |curve - level| over the picture, gray levels.
        explained: share of the picture's change, block by block, that the curve explains, the lower one
            of both directions, [0, 1].
    """

    curve: Curve
    strength: float
    explained: float

    @property
    def is_jump(self) -> bool:
        """Whether this was the camera's gain rather than light in the scene.

        The stronger the change, the less noise hides and the more a curve must explain. Measured: real
        jumps of 2.5 to 9 levels 0.60 to 0.82, simulated ones of 3 to 40 levels 0.79 and more; a lamp that
        lights most of the picture 0.48 to 0.73 at 46 levels and more, doors and headlights below 0.4.
        """
        least = min(max(0.88 - 1.5 / max(self.strength, 0.1), 0.5), 0.75)
        return self.explained >= least


def measure_change(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> GainChange | None:
    """The curve that takes a global change of gain out of `after`, or None where there was none.

    Levels of corresponding pixels are matched quantile by quantile, which unlike a regression has no
    bias from noise; pixels that do not fit (moving things, clipped levels) are then left out and the
    rest matched again. A change of the scene (a door, headlights) is told from a gain jump by blocks: a
    curve must explain most of the change, in both directions and in most parts of the picture.

    Args:
        before: (h, w) uint8 luma, aligned to `after` where the camera moves.
        after: (h, w) uint8 luma.
    """
    blocks_before, blocks_after = _block_means(before), _block_means(after)
    if float(np.abs(blocks_after - blocks_before).mean()) < LEAST_JUMP:
        return None
    levels_before, levels_after = _histogram(before), _histogram(after)
    # The mean change of level that matching means, before it is smoothed (the Wasserstein distance).
    apart = np.abs(np.cumsum(levels_before - levels_after)).sum() / after.size
    if apart < FAR_BELOW * LEAST_JUMP:
        return None
    curve = match_levels(levels_before, levels_after)
    if _strength(curve, levels_after) < LEAST_JUMP:
        return None
    undone = apply_to_work(after, curve)
    off = cv2.absdiff(undone, before)
    spread = max(2.0 * float(np.median(off[::2, ::2])), 3.0)
    low, high = CLIPPED
    fits = (off <= spread) & (cv2.inRange(before, low, high) > 0) & (cv2.inRange(after, low, high) > 0)
    if np.count_nonzero(fits) > after.size // 8:
        mask = fits.view(np.uint8)
        curve = match_levels(_histogram(before, mask), _histogram(after, mask))
        undone = apply_to_work(after, curve)
    forward = apply_to_work(before, invert(curve))
    explained = min(
        _explained(blocks_before, blocks_after, _block_means(undone)),
        _explained(blocks_after, blocks_before, _block_means(forward)),
    )
    return GainChange(curve, _strength(curve, levels_after), explained)


def match_levels(before: NDArray[np.float32], after: NDArray[np.float32]) -> Curve:
    """The rising curve that gives levels counted in `after` the distribution counted in `before`.

    Args:
        before: (256,) pixel counts of each level.
        after: (256,) pixel counts, of the same pixels.
    """
    if before.sum() == 0 or after.sum() == 0:
        return LEVELS.copy()
    middle_before = (np.cumsum(before) - before / 2) / before.sum()
    middle_after = (np.cumsum(after) - after / 2) / after.sum()
    seen = before > 0
    raw = np.interp(middle_after, middle_before[seen], LEVELS[seen])
    offset = (raw - LEVELS).astype(np.float32)
    line = _line(offset, after)
    # Levels with few pixels lean on their neighbors, levels with none on the straight line.
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2).astype(np.float32)
    weight = np.convolve(after, kernel, "same")
    smooth = np.convolve(after * (offset - line), kernel, "same") / (weight + 4.0)
    return limit_slopes(LEVELS + line + smooth)


def limit_slopes(curve: NDArray[np.float32]) -> Curve:
    """The nearest usable curve: rising by [0.25, 4] levels a level and inside [0, 255] without clipping."""
    steps = np.clip(np.diff(curve), LEAST_SLOPE, LARGEST_SLOPE)
    anchor = 64
    limited = np.empty(256, np.float32)
    limited[anchor] = curve[anchor]
    limited[anchor + 1 :] = curve[anchor] + np.cumsum(steps[anchor:])
    limited[:anchor] = curve[anchor] - np.cumsum(steps[:anchor][::-1])[::-1]
    highest = 255.0 - LEAST_SLOPE * (255.0 - LEVELS)
    return cast(Curve, np.clip(limited, LEAST_SLOPE * LEVELS, highest).astype(np.float32))


def invert(curve: Curve) -> Curve:
    """The curve that leads back."""
    rising = curve + np.float32(1e-4) * LEVELS
    return cast(Curve, np.interp(LEVELS, rising, LEVELS).astype(np.float32))


def apply_to_work(luma: NDArray[np.uint8], curve: Curve) -> NDArray[np.uint8]:
    """(h, w) uint8: `luma` through the curve, rounded; for comparing, not for showing."""
    return cast("NDArray[np.uint8]", cv2.LUT(luma, np.rint(curve).astype(np.uint8)))


def uncertainty(luma: NDArray[np.uint8], change: GainChange | None) -> NDArray[np.float32] | None:
    """(h, w) float32 gray levels by which a frame may be off after its gain jump was taken out."""
    if change is None:
        return None
    return cast("NDArray[np.float32]", cv2.LUT(luma, UNCERTAINTY * np.abs(change.curve - LEVELS)))


def shown_luma(luma: NDArray[np.uint8], curve: Curve) -> NDArray[np.uint8]:
    """(H, W) uint8: `luma` through the curve, for showing.

    Rounded with a dither that stands still in the picture: a curve that settles over seconds would else
    move all pixels of one level by a whole level in one frame. 0.2 ms at 640x480.
    """
    whole, part = split_curve(curve)
    shown = cv2.LUT(luma, whole)
    up = cv2.compare(cv2.LUT(luma, part), _dither(luma.shape[0], luma.shape[1]), cv2.CMP_GT)
    return cast("NDArray[np.uint8]", np.subtract(shown, up, out=shown))  # minus 255 is plus 1 in uint8


def split_curve(curve: Curve) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(256,) uint8 levels rounded down, and (256,) uint8 what that left, in 256ths."""
    part, whole = np.modf(np.clip(curve, 0.0, 255.0))
    return whole.astype(np.uint8), np.minimum(np.rint(part * 256.0), 255.0).astype(np.uint8)


@dataclass(slots=True)
class _Fading:
    """A gain jump: level now -> level before it, and the seconds since."""

    curve: Curve
    age_s: float = 0.0


class BrightnessKeeper:
    """Keeps the displayed brightness through gain jumps and lets each in over seconds.

    Its curve maps the camera's levels to displayed levels. Every jump in it fades by itself, as
    (1 - age / (`MEMORY` * settle_s)) squared: 63 % of it is let in after settle_s, all of it after `MEMORY`
    times that, so that an error of estimation is gone then, nothing is hidden for good, and whoever begins
    to watch shows, so much later, what one shows who watched all along, to the last bit.

    Args:
        settle_s: in which 63 % of a jump is let in.
    """

    def __init__(self, settle_s: float) -> None:
        self._memory_s = MEMORY * settle_s
        self._jumps: list[_Fading] = []
        self._curve: Curve | None = None

    @property
    def curve(self) -> Curve | None:
        """(256,) float32 camera level -> displayed level; None for the identity. Not to be written to."""
        return self._curve

    def advance(self, elapsed_s: float) -> None:
        """Let the jumps in by as much as the time that has passed says."""
        if not self._jumps:
            return
        for jump in self._jumps:
            jump.age_s += elapsed_s
        self._jumps = [jump for jump in self._jumps if jump.age_s < self._memory_s]
        self._curve = self._shown()

    def undo(self, change: Curve) -> None:
        """Take in a gain jump: `change` maps levels now to the levels just before."""
        self._jumps.append(_Fading(change))
        if len(self._jumps) > MOST_JUMPS:  # a fade to black is a row of them
            first, second = self._jumps[:2]
            left = self._left(second)
            both = np.interp(LEVELS + left * (second.curve - LEVELS), LEVELS, self._faded(first))
            second.curve = (LEVELS + (both - LEVELS) / max(left, 1e-3)).astype(np.float32)
            del self._jumps[0]
        self._curve = self._shown()

    def _left(self, jump: _Fading) -> float:
        """The share of a jump that the curve does not follow yet, [0, 1]."""
        return (1.0 - jump.age_s / self._memory_s) ** 2

    def _faded(self, jump: _Fading) -> Curve:
        return (LEVELS + np.float32(self._left(jump)) * (jump.curve - LEVELS)).astype(np.float32)

    def _shown(self) -> Curve | None:
        if not self._jumps:
            return None
        curve = self._faded(self._jumps[0])
        for jump in self._jumps[1:]:
            curve = np.interp(self._faded(jump), LEVELS, curve).astype(np.float32)
        return limit_slopes(curve)

    def reset(self) -> None:
        """Show what the camera shows."""
        self._jumps, self._curve = [], None


@lru_cache(maxsize=4)
def _dither(height: int, width: int) -> NDArray[np.uint8]:
    """(H, W) uint8 thresholds: `dither_tile` over and over."""
    tile, side = dither_tile(), dither_tile().shape[0]
    return np.ascontiguousarray(np.tile(tile, (-(-height // side), -(-width // side)))[:height, :width])


@lru_cache(maxsize=1)
def dither_tile() -> NDArray[np.uint8]:
    """(128, 128) uint8 thresholds, every value equally often, neighbors unlike each other (blue noise)."""
    side = 128
    noise = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    fine = noise - cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), 1.5)[side : 2 * side, side : 2 * side]
    rank = np.argsort(np.argsort(fine.ravel())).reshape(side, side)
    return (rank * 256 // rank.size).astype(np.uint8)


def _histogram(luma: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
    return cast("NDArray[np.float32]", cv2.calcHist([luma], [0], mask, [256], [0, 256]).ravel())


def _block_means(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (max(luma.shape[1] // BLOCKS_PX, 1), max(luma.shape[0] // BLOCKS_PX, 1))
    means = cv2.resize(luma.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cast("NDArray[np.float32]", means)


def _line(offset: NDArray[np.float32], count: NDArray[np.float32]) -> NDArray[np.float32]:
    """(256,) the straight line through the offsets, weighted by the root of the counts."""
    weight = np.sqrt(count) * (np.abs(LEVELS - 126) < 124)
    total = float(weight.sum())
    if total == 0:
        return np.zeros(256, np.float32)
    mean = float((weight * LEVELS).sum()) / total
    height = float((weight * offset).sum()) / total
    variance = float((weight * (LEVELS - mean) ** 2).sum()) + 25.0 * total
    slope = float((weight * (LEVELS - mean) * (offset - height)).sum()) / variance
    return (height + np.float32(slope) * (LEVELS - np.float32(mean))).astype(np.float32)


def _strength(curve: Curve, count: NDArray[np.float32]) -> float:
    return float(np.abs(curve - LEVELS) @ count / count.sum())


def _explained(
    reference: NDArray[np.float32], changed: NDArray[np.float32], undone: NDArray[np.float32]
) -> float:
    """Share of |changed - reference| that is gone in `undone`, no block counting for too much."""
    change = np.abs(changed - reference)
    rest = np.abs(undone - reference)
    bound = max(3.0 * float(np.median(change)), 1.0)
    total = float(np.minimum(change, bound).sum())
    return max(0.0, 1.0 - float(np.minimum(rest, bound).sum()) / total) if total > 0 else 0.0

"""Repairs a video: what was seen there before, carried along the motion; a fill where nothing was seen.

With it, what a user may choose of the repair, and what it says of a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.repair.carrying import Carrier, Luma, Past, Pixels, Plane, remap, small_picture
from irchroma.engines.repair.filling import Filling, FillOptions
from irchroma.engines.repair.mask import CELL_PX, Holes, Mask, MaskError, require_size
from irchroma.engines.repair.membrane import membrane

FORGET_NS = 2_000_000_000
"""A gap in time after which the past is forgotten."""
STALE = 0.35
"""Share of the border's own contrast, squared, that what was carried may be off there, or it goes."""
STALE_LEVELS = 3.0 / 255.0
"""What it may be off at least."""
THIN_SHARE = 0.7
"""A thin hole shows what was carried where that is off by so much of what a smooth surface is, squared."""
NEIGHBORS = 5
"""Cells across whose border judges a pixel."""
QUIET = 1.5
"""Times the noise of the border's mean up to which a fill's brightness is left as it is."""
ALIKE, GAIN_STEP = 0.9, 0.04
"""Squared correlation of a border with what was carried from which their contrasts are compared, and the
change of gain from which it is followed."""
SEEN = 128
"""Trust from which a pixel counts as seen rather than guessed."""
WINDOWS_A_FRAME = 2
"""For a network, once the first frame is over: what else is waiting has its turn in the frames after it."""
LEAST_NEW = 0.02
"""Share of a window's holes from which they are filled anew."""
RENEW_FRAMES = 8
"""Where nothing moves, one window is guessed anew every so many frames: light changes."""
RENEWED = np.float32(0.5)
"""Share of a new guess in the place of an old one that was not wrong."""


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """How a video is repaired.

    Attributes:
        fill: how holes are filled where nothing was seen.
        remember: carry what was seen before along the motion; off, each frame is filled for itself.
        windows: that a network may fill in a frame after the first.
    """

    fill: FillOptions = field(default_factory=FillOptions)
    remember: bool = True
    windows: int = WINDOWS_A_FRAME

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise EngineOptionError(f"windows a frame must be 1 or more, got {self.windows}")


@dataclass(slots=True)
class RepairCounts:
    """What was done so far, pixels over all frames.

    Attributes:
        frames: that were repaired.
        pixels: repaired altogether.
        seen: of them carried from where they were seen.
        windows: asked of the network.
    """

    frames: int = 0
    pixels: int = 0
    seen: int = 0
    windows: int = 0


class VideoRepair:
    """Repairs frame after frame of one camera. Used by one thread.

    Attributes:
        counts: for the statistics.
        name: for people.
    """

    def __init__(
        self, options: RepairOptions | None = None, mask: Mask | None = None, name: str = "mask"
    ) -> None:
        """Open what fills the holes.

        Args:
            options: how.
            mask: (H, W) bool of what is wrong in every frame; None where that changes, see `use`.
            name: of the mask, for errors.

        Raises:
            EngineUnavailable: what was asked for by name is not here.
        """
        self.options = options or RepairOptions()
        self._filling = Filling(self.options.fill)
        self.name = self._filling.name
        self.counts = RepairCounts()
        self._carrier = Carrier()
        self._mask_name = name
        self._holes: Holes | None = None
        self._past: Past | None = None
        self._held: tuple[Pixels, Pixels] | None = None  # the last whole picture, and the lost one after it
        self._owed: Plane = np.zeros((0, 0), np.float32)
        self._wrong = np.zeros(0, bool)
        if mask is not None:
            self.use(mask)

    def use(self, mask: Mask) -> None:
        """Repair what this mask marks from the next frame on; what was there before was wrong already."""
        if self._holes is None or not np.array_equal(mask, self._holes.mask):
            self._holes = Holes(mask)
            self.reset()

    def reset(self) -> None:
        """Forget the past (a gap, another camera)."""
        self._past = None
        if self._holes is not None:
            self._holes.waiting = []
        self._owed = np.zeros(self._holes.cells[0] if self._holes is not None else (0, 0), np.float32)

    def apply(
        self,
        pixels: Pixels,
        pts_ns: int,
        held: bool = False,
        lost: Mask | None = None,
        lasting: Mask | None = None,
    ) -> tuple[Pixels, Luma | None]:
        """The repaired picture, new, and (H, W) uint8, 255 where it is; the one given where nothing is wrong.

        Args:
            pixels: (H, W) uint8 luma or uint16 counts; not written to.
            pts_ns: presentation time.
            held: the camera repeats its picture.
            lost: (H, W) bool of what is missing in this frame alone.
            lasting: (H, W) bool of what is drawn on from what was lost before: it tells what has changed.

        Raises:
            MaskError: a mask is of another size, or leaves nothing to repair from.
        """
        size = (pixels.shape[0], pixels.shape[1])
        holes = self._holes
        if lost is not None and lost.any():
            holes = Holes(lost if holes is None else lost | holes.mask)
        if holes is None or not holes.index.size:
            self._remember(pixels, None, pts_ns)
            return pixels, None
        require_size(holes.mask, size, self._mask_name)
        if holes.index.size == holes.mask.size:
            if lost is None:
                raise MaskError(f"{self._mask_name}: marks the whole picture: leave some to repair it from")
            return self._hold(pixels, pts_ns, lasting)
        if self._past is not None and (
            self._past.picture.shape != pixels.shape
            or self._past.picture.dtype != pixels.dtype
            or not 0 <= pts_ns - self._past.pts_ns < FORGET_NS
        ):
            self.reset()
        repaired, trust = self._carried(pixels, holes, held, lost is not None, lasting)
        self.counts.frames += 1
        self.counts.pixels += holes.index.size
        self.counts.seen += int(np.count_nonzero(trust.reshape(-1)[holes.index] >= SEEN))
        self._remember(repaired, trust, pts_ns)
        if self._past is not None and lost is not None:
            self._past.given = pixels
        return repaired, np.asarray(holes.mask, np.uint8) * np.uint8(255)

    def _hold(self, pixels: Pixels, pts_ns: int, lasting: Mask | None) -> tuple[Pixels, Luma | None]:
        """The picture before and what has changed, where all is lost; what came where there is none."""
        past = self._past
        if past is None or past.picture.shape != pixels.shape or past.picture.dtype != pixels.dtype:
            return pixels, None
        picture = past.picture
        if lasting is None or past.given is None:
            self._held = None
        else:
            was, came = self._held = self._held or (past.picture, past.given)
            changed = was.astype(np.float32) + lasting * (pixels.astype(np.float32) - came)
            picture = cast(Pixels, np.clip(changed, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype))
        self.counts.frames += 1
        self.counts.pixels += pixels.size
        self.counts.seen += int(np.count_nonzero(past.trust >= SEEN))
        self._remember(picture.copy(), past.trust, pts_ns)
        if self._past is not None:
            self._past.given = pixels
        return picture.copy(), np.full(pixels.shape, 255, np.uint8)

    def summary(self) -> dict[str, Any]:
        """For the statistics of a run."""
        counts = self.counts
        return {
            "method": self.name,
            "frames": counts.frames,
            "pixels_a_frame": round(counts.pixels / counts.frames, 1) if counts.frames else 0.0,
            "seen_before": round(counts.seen / counts.pixels, 4) if counts.pixels else 0.0,
            "network_windows": counts.windows,
        }

    def close(self) -> None:
        """Let go of the network; may be called twice."""
        self._filling.close()

    def _remember(self, picture: Pixels, trust: Luma | None, pts_ns: int) -> None:
        if not self.options.remember:
            return
        if trust is None:
            trust = np.full(picture.shape, 255, np.uint8)
        self._past = Past(picture, trust, small_picture(picture), pts_ns)

    def _carried(
        self, pixels: Pixels, holes: Holes, held: bool, passing: bool, lasting: Mask | None
    ) -> tuple[Pixels, Luma]:
        """The repaired picture and its trust."""
        past = self._past
        scale = _Scale(pixels, holes)
        trust = np.full(pixels.shape, 255, np.uint8)
        out = pixels.copy()
        if self._wrong.size != pixels.size:
            self._wrong = np.zeros(pixels.size, bool)
        if past is None:
            self._fill_whole(out, holes, scale)
            trust.reshape(-1)[holes.index] = 0
            return out, trust
        carried = self._carrier.carry(past, pixels, holes)
        if carried is None:  # another scene
            self.reset()
            self._fill_whole(out, holes, scale, later=not passing)
            trust.reshape(-1)[holes.index] = 0
            return out, trust
        flat = out.reshape(-1)
        if lasting is not None and carried.given is not None:
            carried.values[:] += lasting.reshape(-1)[holes.index] * (flat[holes.index] - carried.given)
        now = scale.to_luma(flat[holes.ring])
        border, values = scale.to_luma(carried.border), scale.to_luma(carried.values)
        gain = _gain(border[carried.counted], now[carried.counted])
        owed = self._owed if holes is self._holes else np.zeros(holes.cells[0], np.float32)
        level, holds = _border(now - gain * border, carried.counted, now, holes, owed)
        flat[holes.index] = scale.from_luma(gain * values + level)
        seen = np.where(holds, carried.trust, 0).astype(np.uint8)
        trust.reshape(-1)[holes.index] = seen
        if not held:
            gone = passing & (past.trust.reshape(-1)[holes.index] >= SEEN)
            at = holes.labels[1].reshape(-1)[holes.index]
            wrong = ~holds | ~carried.inside | gone
            changed = wrong | carried.moving[at] | holes.thin.reshape(-1)[holes.index]
            self._wrong[holes.index] |= wrong
            self._fill_fresh(out, holes, scale, (seen < SEEN) & changed, trust)
        return out, trust

    def _fill_whole(self, out: Pixels, holes: Holes, scale: _Scale, later: bool = False) -> None:
        luma = scale.to_luma(out)
        if later and self._filling.networked:
            filled = membrane(luma, holes.known)
            self._filling.fill_thin(filled, holes)
            holes.waiting = list(range(len(holes.windows)))
        else:
            filled = self._filling.fill(luma, holes)
            self.counts.windows += len(holes.windows) if self._filling.networked else 0
            holes.waiting = []
        out.reshape(-1)[holes.index] = scale.from_luma(filled.reshape(-1)[holes.index])

    def _fill_fresh(
        self, out: Pixels, holes: Holes, scale: _Scale, due: NDArray[np.bool_], trust: Luma
    ) -> None:
        """Fill anew what could not be carried: thin holes now, wide ones as their turn comes."""
        wanted = np.zeros(holes.mask.shape, bool)
        wanted.reshape(-1)[holes.index[due]] = True
        luma = scale.to_luma(out)
        now = wanted & holes.thin if self._filling.networked else wanted
        if now.any():
            self._filling.fill_from_borders(luma, now)
            out[now] = scale.from_luma(luma[now])
        if not self._filling.networked:
            return
        flat, seen = luma.reshape(-1), trust >= SEEN
        for number, window in enumerate(holes.windows):
            if number not in holes.waiting and wanted.reshape(-1)[window.own].mean() > LEAST_NEW:
                holes.waiting.append(number)
        if not holes.waiting and holes.windows and self.counts.frames % RENEW_FRAMES == 0:
            holes.waiting.append(self.counts.frames // RENEW_FRAMES % len(holes.windows))
        turn, holes.waiting = holes.waiting[: self.options.windows], holes.waiting[self.options.windows :]
        for number in turn:
            own = holes.windows[number].own
            own = own[~seen.reshape(-1)[own]]
            if not own.size:
                continue
            before = flat[own]
            self._filling.fill_wide(luma, holes, [holes.windows[number]], seen)
            share = np.where(self._wrong[own], np.float32(1), RENEWED)
            flat[own] = before + share * (flat[own] - before)
            self._wrong[own] = False
            out.reshape(-1)[own] = scale.from_luma(flat[own])
            self.counts.windows += 1


def _gain(before: Plane, now: Plane) -> np.float32:
    """Factor on the contrast of what was carried; 1 unless the camera has clearly changed its gain."""
    if before.size < 64:
        return np.float32(1)
    before, now = before - before.mean(), now - now.mean()
    both, own, other = (float((a * b).mean()) for a, b in ((before, now), (before, before), (now, now)))
    if both <= 0.0 or both * both < ALIKE * own * other:
        return np.float32(1)
    gain = math.sqrt(other / own)
    return np.float32(gain if abs(gain - 1.0) > GAIN_STEP else 1.0)


def _border(
    off: Plane, counted: NDArray[np.bool_], now: Plane, holes: Holes, owed: Plane
) -> tuple[Plane, NDArray[np.bool_]]:
    """What the known pixels around the holes say of what was carried into them.

    Args:
        off: (m,) luma that the border is off from what was carried there.
        counted: (m,) bool, where that is known.
        now: (m,) luma of the border.
        holes: whose border and pixels these are.
        owed: cells of luma, what was left as noise before and adds up where it is none; changed in place.

    Returns:
        (n,) luma to add to each pixel of the holes, and (n,) bool where what was carried may stay.
    """
    (cells, across), ring, inner = holes.cells
    size = (cells, across)

    def added(values: NDArray[Any]) -> Plane:
        summed = np.bincount(ring, values * counted, cells * across)
        return np.asarray(summed.reshape(size), np.float32)

    count, offs, squares = added(np.ones_like(off)), added(off), added(off * off)
    shown, shown_squares = added(now), added(now * now)
    some = np.maximum(count, 1.0)
    mean = offs / some
    # A single pixel's noise is not the hole's; a cell's mean is, beyond its own noise.
    usual = 1.4826 * float(np.median(np.abs(off - mean.reshape(-1)[ring]))) if off.size else 0.0
    quiet = np.float32(QUIET * usual) / np.sqrt(some)
    off_so_far = mean + owed * (count > 0)
    level = np.asarray(np.sign(off_so_far) * np.maximum(np.abs(off_so_far) - quiet, 0.0), np.float32)
    owed[:] = off_so_far - level
    # Squared errors of what was carried, of a smooth surface, and of nothing but the mean.
    near = np.maximum(_near(count), np.float32(1e-6))
    carried = _near(squares - offs * mean) / near
    smooth = _near(shown_squares - shown * shown / some) / near
    middle = _near(shown) / near
    plain = np.maximum(_near(shown_squares) / near - middle * middle, 0.0)
    known = np.minimum(count, 1.0)
    said = membrane(np.dstack([level, carried, smooth, plain]), known)
    rows, columns = np.divmod(holes.index, holes.mask.shape[1])
    x, y = (np.asarray((at + 0.5) / CELL_PX - 0.5, np.float32) for at in (columns, rows))
    level = remap(np.ascontiguousarray(said[..., 0]), x, y)
    carried, smooth, plain = said.reshape(-1, 4)[inner, 1:].T
    thin = holes.thin.reshape(-1)[holes.index]
    holds = carried < np.where(thin, THIN_SHARE * smooth, STALE * plain + STALE_LEVELS**2)
    return np.asarray(level, np.float32), np.asarray(holds, bool)


def _near(cells: NDArray[Any]) -> Plane:
    """Sum, over a constant, of the cells around each."""
    return np.asarray(cv2.blur(cells, (NEIGHBORS, NEIGHBORS)), np.float32)


class _Scale:
    """Between the camera's values and luma in [0, 1], by what is known of one frame."""

    def __init__(self, pixels: Pixels, holes: Holes) -> None:
        self._dtype = pixels.dtype
        self._low, self._span, self._top = np.float32(0), np.float32(255), 255.0
        if pixels.dtype == np.uint16:
            sample = pixels[::4, ::4][~holes.mask[::4, ::4]]
            sample = sample if sample.size else pixels[~holes.mask]
            low, high = (float(value) for value in np.percentile(sample, (0.5, 99.5)))
            margin = 0.1 * max(high - low, 16.0)
            self._low, self._span = np.float32(low - margin), np.float32(max(high - low, 16.0) + 2 * margin)
            self._top = 65535.0

    def to_luma(self, values: NDArray[Any]) -> Plane:
        """[0, 1] for most values, float32; what lies beyond stays beyond."""
        return np.asarray((values.astype(np.float32) - self._low) / self._span, np.float32)

    def from_luma(self, luma: Plane) -> Pixels:
        """The camera's values, rounded."""
        values = np.rint(luma * self._span + self._low)
        return cast(Pixels, np.clip(values, 0.0, self._top).astype(self._dtype))

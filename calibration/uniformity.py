"""Non-uniformity correction: from one or two uniform views, or from a scene that moves past the sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.reference import structure
from irchroma.stream.sensor.bad_pixels import BadPixelReplacement
from irchroma.stream.sensor.stripes import StripeTracker

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Plane = NDArray[np.float32]

BLOCK_PX = 16
UNIFORM = 3.0
"""A view is uniform where blocks of it differ by less than so many pixel deviations within blocks."""
FINE_PX = 8.0
"""Sigma of a Gaussian: what is finer is looked at for texture."""
TEXTURE_PX = 2
TEXTURE = 0.25
"""A view is not uniform whose fine parts correlate by more across `TEXTURE_PX` pixels along both diagonals: a
sensor's pattern, without columns and rows, has 0 and 0.1 where blurred, 28 real scenes have 0.45 to 0.9."""
GAIN_LIMITS = (0.5, 1.5)
LEAST_SHIFT_PX = 3.0
"""Shift below which two frames say too little about the sensor: the same lens blur lies on both pixels."""
MOST_SHIFT_SHARE = 0.4
PAIR_STEPS = (2, 5, 13)
"""Frames are compared with those so many later."""
MOST_FRAMES = 90
ROUNDS = 6
MISFIT_STEP = 6
REGISTER_AT = (0, 2, 4)
MOVES_AT, MOVED = 0.8, 0.88
"""Quantile of the misfit, and share of it that is left where the camera moved: 0.55 to 0.8 in pans.
Of a camera that stands still, 0.95 and more, whatever walks there."""
FEWEST_LOOKS = 4
"""Comparisons that a pixel needs for an offset of its own."""


@dataclass(frozen=True, slots=True)
class Uniformity:
    """What corrects the sensor: corrected = gain * (counts - about) + about + offset.

    Attributes:
        offset: (H, W) float32 counts.
        gain: (H, W) float32, None where only one view was seen.
        about: counts that the gain leaves alone.
        method: `one-point`, `two-point` or `scene`.
        stripes: standard deviation of the column and row offsets within `offset`, counts.
    """

    offset: Plane
    gain: Plane | None
    about: float
    method: str
    stripes: float


def is_uniform(mean: Plane) -> bool:
    """Whether a mean picture is of a uniform view.

    Its large areas differ by no more than its pixels do, and what its pixels have is a sensor's, each for
    itself: a cold lawn of 300 counts is as even as a lens cap, but its blades are wider than a pixel.
    """
    height, width = (side // BLOCK_PX * BLOCK_PX for side in mean.shape)
    blocks = mean[:height, :width].reshape(height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    medians = np.median(blocks, axis=(1, 3))
    within = 1.4826 * np.median(np.abs(blocks - medians[:, None, :, None]))
    even = bool(np.std(medians) < UNIFORM * max(float(within), 0.5))
    return even and _texture(mean) < TEXTURE


def _texture(mean: Plane) -> float:
    """Correlation of a picture's fine parts with themselves some pixels away, the mean of both diagonals."""
    fine = mean - cv2.GaussianBlur(mean, (0, 0), FINE_PX)
    fine = fine - np.median(fine, axis=0)
    fine = fine - np.median(fine, axis=1)[:, None]
    limit = 8 * 1.4826 * np.median(np.abs(fine)) + 1e-3  # single bad pixels say nothing
    fine = np.clip(fine, -limit, limit)
    step = TEXTURE_PX
    down = np.mean(fine[step:, step:] * fine[:-step, :-step])
    up = np.mean(fine[step:, :-step] * fine[:-step, step:])
    return float((down + up) / 2 / max(float(np.var(fine)), 1e-6))


def one_point(mean: Plane, bad: NDArray[np.bool_]) -> Uniformity:
    """Offsets from the mean picture of one uniform view (lens cap, shutter, wall)."""
    offset = np.asarray(np.median(mean) - mean, np.float32)
    offset[bad] = 0
    return Uniformity(offset, None, 0.0, "one-point", _stripes(offset))


def two_point(first: Plane, second: Plane, bad: NDArray[np.bool_]) -> Uniformity:
    """Gain and offset from the mean pictures of two uniform views of different temperature.

    Raises:
        CalibrationError: the two are too much alike.
    """
    low, high = sorted((first, second), key=np.median)
    step = float(np.median(high) - np.median(low))
    noise = 1.4826 * float(np.median(np.abs(high - low - step)))  # and differences of gain
    if step < 5 * max(noise, 2.0):
        raise CalibrationError(
            f"the two uniform views differ by {step:.0f} counts only: record one of them warmer"
        )
    about = float(np.median(low))
    gain = np.asarray(np.clip(step / np.maximum(high - low, 1e-3), *GAIN_LIMITS), np.float32)
    offset = np.asarray(gain * (about - low), np.float32)
    gain[bad], offset[bad] = 1, 0
    return Uniformity(offset, gain, about, "two-point", _stripes(offset))


def from_scene(
    frames: Sequence[Pixels], bad: NDArray[np.bool_], on_progress: Callable[[float], None] | None = None
) -> Uniformity:
    """Offsets from a recording of a scene that shifts across the sensor (a slow pan; any content).

    Where the same point of the scene falls on two pixels, they must agree: each pixel's offset is what
    makes it agree, on average, with all those that saw the same points, round after round.

    Args:
        frames: (H, W) each, in order; what moves by itself is left out as an outlier.
        bad: (H, W) bool, pixels that are replaced by their neighbors anyway.
        on_progress: called with the share done, [0, 1].

    Raises:
        CalibrationError: the camera stood still.

    Reference: C. Zuo et al., Scene-based nonuniformity correction algorithm based on interframe
    registration, JOSA A 28(6), 2011, eq. 3 to 8. Different here: all pairs of a recording at once, robust
    means instead of a descent, and the offsets that a pan along rows or columns cannot show are estimated
    from what whole rows or columns have in common.
    """
    step = max(1, round(len(frames) / MOST_FRAMES))
    replacement = BadPixelReplacement(bad)
    planes: list[Plane] = []
    for pixels in frames[::step]:
        repaired = pixels.copy()
        replacement.apply(repaired)
        planes.append(repaired.astype(np.float32))
    offset = np.zeros(bad.shape, np.float32)
    shifts = np.zeros((len(planes), 2))
    tell = on_progress or (lambda share: None)

    def within(turn: int) -> Callable[[float], None]:
        return lambda share: tell((turn + 0.8 * share) / ROUNDS)

    for turn in range(ROUNDS):
        corrected = [plane + offset for plane in planes]
        if turn in REGISTER_AT:  # the pattern stands still and holds the shifts back until it is weak
            shifts = _shifts(corrected, within(turn))
        tell((turn + 0.8) / ROUNDS)
        pairs = list(_pairs(shifts, bad.shape[1]))
        if not pairs or (not turn and not _moves(planes, shifts)):
            raise CalibrationError(
                "the camera stands still in this recording: pan it slowly over any scene,"
                " or record a uniform view (the lens cap)"
            )
        offset = offset + _disagreement(corrected, shifts, pairs)
    offset += _unseen_stripes(planes, offset, np.ptp(shifts, axis=0))
    offset -= np.median(offset)
    offset[bad] = 0
    return Uniformity(np.asarray(offset, np.float32), None, 0.0, "scene", _stripes(offset))


def _disagreement(corrected: list[Plane], shifts: NDArray[np.float64], pairs: list[tuple[int, int]]) -> Plane:
    """(H, W) by how much each pixel lies below those that saw the same points, on average."""
    total, looks = np.zeros_like(corrected[0]), np.zeros_like(corrected[0])
    for early, late in pairs:
        shift = shifts[late] - shifts[early]
        for here, there, by in ((early, late, shift), (late, early, -shift)):
            _compare(corrected[here], corrected[there], by, total, looks)
    return np.asarray(np.where(looks >= FEWEST_LOOKS, total / np.maximum(looks, 1), 0), np.float32)


def _unseen_stripes(planes: list[Plane], offset: Plane, extent_px: NDArray[np.float64]) -> Plane:
    """Row offsets after a pan along the rows, column offsets after one along the columns, else zero."""
    stripes = np.zeros_like(offset)
    if (extent_px > LEAST_SHIFT_PX).all():
        return stripes
    tracker = StripeTracker((offset.shape[0], offset.shape[1]), limit=1e9)
    for plane in planes:
        tracker.look(plane + offset + tracker.columns[None] + tracker.rows[:, None])
    return stripes + (tracker.columns[None] if extent_px[0] <= LEAST_SHIFT_PX else tracker.rows[:, None])


def _shifts(planes: list[Plane], tell: Callable[[float], None]) -> NDArray[np.float64]:
    """(n, 2) x and y of the scene in each frame, pixels from the first.

    A strong pattern stands still and hides a slow motion; without the recording's mean it is gone, but so
    is a scene that stands still, and then people who walk would pass for the camera's motion. So both ways
    are tried, and the one after which frames fit each other better is right.
    """
    mean = np.asarray(np.mean(planes, axis=0), np.float32)
    ways = [
        _added_up(planes, lambda share: tell(0.5 * share)),
        _added_up([plane - mean for plane in planes], lambda share: tell(0.5 + 0.5 * share)),
    ]
    return min(ways, key=lambda places: _misfit(planes, places))


def _added_up(planes: list[Plane], tell: Callable[[float], None]) -> NDArray[np.float64]:
    """(n, 2) shifts from frame to frame, added up."""
    places = [np.zeros(2)]
    last: NDArray[np.float32] | None = None
    for number, plane in enumerate(planes):
        tell(number / len(planes))
        detail = cv2.GaussianBlur(plane, (0, 0), 2.0) - cv2.GaussianBlur(plane, (0, 0), 8.0)
        field = np.zeros((*plane.shape, 2), np.float32)
        limit = 4 * np.median(np.abs(detail)) + 1e-3
        field[..., 0] = np.clip(detail, -limit, limit)
        if last is not None:
            peak = structure.correlate(last, field, reach=0.2)
            places.append(places[-1] + np.array(peak.shift_px))
        last = field
    return np.array(places)


def _misfit(planes: list[Plane], places: NDArray[np.float64], share: float = 0.97) -> float:
    """How much frames differ that are laid over each other, at edges: the mean of the quantile `share`."""
    misfits = []
    step = min(MISFIT_STEP, len(planes) - 1)
    for early in range(0, len(planes) - step, max(step, 1)):
        late = early + step
        difference, rows, columns = _laid(planes[early], planes[late], places[late] - places[early])
        misfits.append(np.quantile(np.abs(difference[rows, columns][::3, ::3]), share))
    return float(np.mean(misfits)) if misfits else 0.0


def _moves(planes: list[Plane], places: NDArray[np.float64]) -> bool:
    """Whether frames fit each other clearly better where they were found to be than all at one place.

    A pattern stands still with the camera, so the recording's mean is left out; and someone who walks is at
    few pixels, of which high quantiles alone would tell.
    """
    mean = np.asarray(np.mean(planes, axis=0), np.float32)
    varying = [plane - mean - np.median(plane - mean) for plane in planes]
    here = _misfit(varying, np.zeros_like(places), MOVES_AT)
    return _misfit(varying, places, MOVES_AT) < MOVED * here


def _pairs(shifts: NDArray[np.float64], width: int) -> Iterator[tuple[int, int]]:
    most = MOST_SHIFT_SHARE * width
    for early in range(len(shifts)):
        for step in PAIR_STEPS:
            late = early + step
            if late < len(shifts) and LEAST_SHIFT_PX <= np.hypot(*(shifts[late] - shifts[early])) <= most:
                yield early, late


def _compare(here: Plane, there: Plane, shift: NDArray[np.float64], total: Plane, looks: Plane) -> None:
    """Add to each pixel's total by how much the other frame's pixel on the same point exceeds it."""
    difference, rows, columns = _laid(here, there, shift)
    part = difference[rows, columns]
    part = part - np.median(part[::4, ::4])
    limit = 4 * 1.4826 * float(np.median(np.abs(part[::4, ::4]))) + 1e-3
    near = np.abs(part) < limit
    total[rows, columns] += np.where(near, part, 0)
    looks[rows, columns] += near


def _laid(here: Plane, there: Plane, shift: NDArray[np.float64]) -> tuple[Plane, slice, slice]:
    """By how much the other frame's pixel on the same point exceeds this one's; and where both see it."""
    height, width = here.shape
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    same = cv2.warpAffine(there, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    rows = slice(max(0, int(np.ceil(-shift[1])) + 1), height - max(0, int(np.ceil(shift[1])) + 1))
    columns = slice(max(0, int(np.ceil(-shift[0])) + 1), width - max(0, int(np.ceil(shift[0])) + 1))
    return np.asarray(same - here, np.float32), rows, columns


def _stripes(offset: Plane) -> float:
    """Standard deviation of what columns and rows have in common, beyond what chance gives, counts."""
    detail = offset - cv2.blur(offset, (33, 33))
    columns, rows = np.median(detail, axis=0), np.median(detail, axis=1)
    return float(np.hypot(np.std(columns), np.std(rows)))

"""A night's tone: how bright the scene lies is the reference's, all else the sensor's.

Only what is large is taken of the reference's tone, so that nothing appears that the sensor does not see,
and none of it darker than dusk, so that nothing vanishes. On it stands the infrared's own detail: a dark sky
is darker than the trees before it, as it is to the sensor.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import registration, structure

Plane = NDArray[np.float32]

SHARE = 0.95
"""Of the way to the reference's tone: what is large and warm stays brighter than what is around it."""
DUSK, BRIGHTER = 0.06, 0.4
"""Least Y' that is taken of a reference, and by how much it may be above the infrared's: what lamps light is
bright, and stays below glare."""
LARGE_PX, SOFT_PX = 4.25, 2.5
"""Gaussian sigmas, at `registration.COARSE_PX`, of what of the infrared is tone and no detail, and of the
reference's tone: with 6 of the former what is darker than a crowd was black around it."""
USUAL_LIT, LAMP_LIT, LAMPS_ADD = 0.15, 0.08, 0.06
"""Most Y' that the median of a night counts as, by how much what is large may be brighter than it and stay
as it is, and how much brighter still the brightest is shown: the pool of a headlamp of then."""
EXPOSED, BLACK_STAYS = 0.15, 0.1
"""Median Y' to which a darker night is lifted, and large Y' from which wholly: where cars come and go, a
picture of a moment without any is darker than most that follow."""
LIGHTEST = 0.18
"""Median Y' to which a lighter night is dimmed for the network, as far as it is dark: lit by headlamps of
then, it made frames of now worse than none, at this level none."""
PLAIN, LAMPS_COLOR = 0.01, 0.05
"""How far a night's large color is from the cast of it all and shown as it is, and what it never exceeds."""
POOL_PX = 6.4
"""Gaussian sigma of what is large there, at `registration.COARSE_PX`."""
COLORED, SOFT_PX_OF_THINGS, SHARP, OUTLINED = 0.06, 1.0, 0.015, (0.35, 0.65)
"""Distance from the cast from which a place is colored, after a Gaussian of that sigma; its change a pixel,
at that size, across a sharp border, as light has none; share of a colored region's outline that is sharp,
from which it is rather a thing, and from which it is."""
LIT_ITSELF = (0.05, 0.35)
"""By how much something is brighter than what is large there, from which it is lifted less with it, and not
at all: crowns before a sky that is black to the infrared had a white rim."""
CRISP, FINE_PX = 0.2, 1.0
"""Share of the infrared's finest detail, Gaussian sigma in work pixels, that is added: the tone curve of dark
places weakens it."""
AROUND_PX, STANDS_OUT = 24.0, (0.25, 0.4)
"""Gaussian sigma of the surroundings, at `registration.COARSE_PX`, and by how much something is brighter than
them from which it is made less dark with them, and hardly: people and cars are what is looked for."""
STANDING = 0.7
"""Share of the infrared's level below which that is not made: at all of it people glared in a dark street."""
WARM = (0.14, 0.28)
"""The same from which its color is its own a little, and wholly: nobody wears what stood there then."""
NO_GROUND, GROUND_LEFT = (0.08, 0.28), 0.02
"""The same from which it is a little, and wholly, no part of the tone that lies around it, and what it counts
for all the same where there is nothing else: people lay in dark halos."""
SMALL_PX = registration.COARSE_PX // 2
"""Least long side at which what is large is made."""
BLACK, LIFTS, NEAR_PX, LIFT_PX = 0.03, 2, 5, 2.5
"""Y' below which detail would be lost; how often what is around such places is lifted, how far around, and
how softly, at `registration.COARSE_PX`."""


def tone_of(luma: NDArray[np.uint8], given: Plane, sky: Plane | None = None) -> Plane:
    """(h, w) float32 Y' of a frame as bright as its reference is, seen from afar.

    Args:
        luma: (h, w) uint8 infrared.
        given: (h, w) float32 Y' by the reference.
        sky: (h, w) float32 Y' up to which all may be bright, whatever the infrared is: an evening's sky is
            black to it, and at `BRIGHTER` was mustard; None for nowhere.
    """
    gray, size = luma.astype(np.float32) * np.float32(1 / 255), luma.shape[::-1]
    clear = structure.averaged(gray, registration.COARSE_PX)
    seen, wished = _small(clear), _small(given)
    by = max(seen.shape) / min(max(size), registration.COARSE_PX)
    around = _around(seen, by)
    ground = np.float32(1.0 + GROUND_LEFT) - _ramp(clear - cv2.resize(around, clear.shape[::-1]), NO_GROUND)
    seen, weight = (cv2.GaussianBlur(_small(one), (0, 0), by * LARGE_PX) for one in (clear * ground, ground))
    seen /= weight
    wished = cv2.GaussianBlur(wished, (0, 0), by * SOFT_PX)
    wished = seen + np.float32(SHARE) * (np.maximum(wished, np.float32(DUSK)) - seen)
    most = seen + np.float32(BRIGHTER)
    if sky is not None:
        bright = cv2.GaussianBlur(_small(sky), (0, 0), by * SOFT_PX)
        most = np.maximum(most, bright)
    wished = np.minimum(wished, most)
    finest = gray - cv2.GaussianBlur(gray, (0, 0), FINE_PX)
    lift, away = cv2.resize(wished - seen, size), gray - cv2.resize(seen, size)
    lift -= np.maximum(lift, 0.0) * _ramp(away, LIT_ITSELF)
    made = gray + lift + np.float32(CRISP) * finest
    stands_out = _ramp(gray - cv2.resize(around, size), STANDS_OUT)
    made += stands_out * np.maximum(np.float32(STANDING) * gray - made, 0.0)
    for _ in range(LIFTS):
        lack = _small(np.maximum(np.float32(BLACK) - made, 0.0))
        near = 2 * round(by * NEAR_PX / 2) + 1
        lack = cv2.GaussianBlur(cv2.dilate(lack, np.ones((near, near))), (0, 0), by * LIFT_PX)
        made += cv2.resize(lack, size)
    return np.asarray(made, np.float32)


def in_tone(ycc: Plane, tone: Plane, share: float) -> Plane:
    """A frame so far in a tone that `tone_of` has found, [0, 1]; a new array."""
    result = ycc.copy()
    result[0] = tone if share == 1 else ycc[0] + np.float32(share) * (tone - ycc[0])
    return result


def dimmed(ycc: Plane, tone: Plane, share: float) -> Plane:
    """The same, and colors less strong as far as it is darker, as one light makes them; a new array."""
    result = in_tone(ycc, tone, share)
    result[1:] *= np.clip(result[0] / np.maximum(ycc[0], np.float32(1 / 255)), 0.0, 1.0)
    return result


def warm(luma: NDArray[np.uint8]) -> Plane:
    """(h, w) float32 in [0, 1]: what stands out of an (h, w) uint8 infrared picture, people and cars."""
    gray = luma.astype(np.float32) * np.float32(1 / 255)
    small = _small(gray)
    around = _around(small, max(small.shape) / min(max(luma.shape), registration.COARSE_PX))
    return _ramp(gray - cv2.resize(around, luma.shape[::-1]), WARM)


def standing_out(luma: NDArray[np.uint8], size: tuple[int, ...]) -> Plane:
    """`warm` and what is close to it, (h, w) float32 of that size, much smaller than the frame."""
    small = cv2.resize(warm(luma), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(np.minimum(2.0 * cv2.GaussianBlur(small, (0, 0), 1.0), 1.0), np.float32)


def _small(plane: Plane) -> Plane:
    """(h, w) float32 at the size at which what is large is made."""
    return structure.averaged(structure.averaged(plane, registration.COARSE_PX), SMALL_PX)


def _around(small: Plane, by: float) -> Plane:
    """The surroundings of every place of a picture, `by` as large as at `registration.COARSE_PX`."""
    half = tuple((side + 1) // 2 for side in small.shape[::-1])
    blurred = cv2.resize(small, half, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(blurred, (0, 0), by / 2 * AROUND_PX)
    return np.asarray(cv2.resize(blurred, small.shape[::-1]), np.float32)


def _ramp(value: Plane, ends: tuple[float, float]) -> Plane:
    low, high = ends
    return np.asarray(np.clip((value - np.float32(low)) * np.float32(1 / (high - low)), 0.0, 1.0), np.float32)


def without_lamps(ycc: Plane, cast: complex, pink: complex, pink_left: float) -> Plane:
    """A picture by night as it is when no car lights it, as far as one picture can say; a new array.

    Pools of light and the glow of tail lights come and go; what street lamps do to a whole scene stays.

    Args:
        ycc: (H, W, 3) float32 Y', Cb, Cr, BT.601 full range.
        cast: Cb + i Cr that its colors have in common.
        pink: direction of tail lights in Cb + i Cr.
        pink_left: what is left of that.
    """
    small = structure.shrunk(ycc, registration.COARSE_PX)
    luma = cv2.GaussianBlur(small[..., 0], (0, 0), POOL_PX)
    level = min(float(np.median(luma)), USUAL_LIT) + LAMP_LIT
    over = np.maximum(luma - np.float32(level), 0.0)
    fewer = np.minimum(luma, level) + LAMPS_ADD * over / (np.float32(LAMPS_ADD) + over)
    gain = 1.0 - (luma - fewer) / np.maximum(luma, np.float32(1 / 255))
    light = 1.0 - _things(small, cast)
    weight = cv2.GaussianBlur(light, (0, 0), POOL_PX) + np.float32(1e-3)
    blue, red = (
        cv2.GaussianBlur((plane - np.float32(common)) * light, (0, 0), POOL_PX) / weight
        for plane, common in ((small[..., 1], cast.real), (small[..., 2], cast.imag))
    )
    away = blue + 1j * red
    far = np.abs(away)
    over, room = np.maximum(far - PLAIN, 0.0), LAMPS_COLOR - PLAIN
    away *= (np.minimum(far, PLAIN) + room * over / (room + over)) / np.maximum(far, 1e-6)
    color = cast + away
    color -= pink * (1.0 - pink_left) * np.maximum((np.conj(pink) * color).real, 0.0)
    changed = (color - cast - blue - 1j * red) * light
    size = ycc.shape[1::-1]
    made = ycc.copy()
    made[..., 0] *= cv2.resize(np.asarray(gain, np.float32), size)
    for channel, change in enumerate((changed.real, changed.imag), 1):
        made[..., channel] += cv2.resize(np.asarray(change, np.float32), size)
    return made


def exposed(ycc: Plane) -> Plane:
    """A picture by night as bright as most moments of one are, black staying; a new array where it is darker.

    Args:
        ycc: (H, W, 3) float32 Y', Cb, Cr, BT.601 full range.
    """
    lift = np.float32(EXPOSED - float(np.median(ycc[..., 0])))
    if lift <= 0:
        return ycc
    large = cv2.GaussianBlur(structure.shrunk(ycc[..., 0], registration.COARSE_PX), (0, 0), POOL_PX)
    made = ycc.copy()
    made[..., 0] += lift * cv2.resize(np.minimum(large * np.float32(1 / BLACK_STAYS), 1.0), ycc.shape[1::-1])
    return made


def as_usual(ycc: Plane) -> Plane:
    """`exposed`, and a night that is lighter than most moments of one as dark as those; a new array where it
    changes.

    Args:
        ycc: (H, W, 3) float32 Y', Cb, Cr, BT.601 full range.
    """
    median = float(np.median(ycc[..., 0]))
    if median <= LIGHTEST:
        return exposed(ycc)
    made = ycc.copy()
    made[..., 0] *= np.float32(LIGHTEST / median)
    return made


def _things(small: Plane, cast: complex) -> Plane:
    """(h, w) float32 in [0, 1]: what has a color of its own, as its outline is sharp; light fades away.

    Args:
        small: (h, w, 3) float32 Y', Cb, Cr at `registration.COARSE_PX`.
        cast: that its colors have in common.
    """
    blue, red = (
        cv2.GaussianBlur(small[..., channel] - np.float32(common), (0, 0), SOFT_PX_OF_THINGS)
        for channel, common in ((1, cast.real), (2, cast.imag))
    )
    far = cv2.magnitude(blue, red)
    slope = cv2.magnitude(
        *(cv2.Sobel(far, cv2.CV_32F, *along, ksize=3, scale=1 / 8) for along in ((1, 0), (0, 1)))
    )
    count, regions = cv2.connectedComponents((far > COLORED).astype(np.uint8))
    around = cv2.dilate(regions.astype(np.uint16), np.ones((3, 3), np.uint8))
    outline = (around > 0) & (regions != around)
    found = np.bincount(around[outline], slope[outline] > SHARP, count)
    share = found / np.maximum(np.bincount(around[outline], minlength=count), 1)
    low, high = OUTLINED
    share = np.clip((share - low) / (high - low), 0.0, 1.0)
    share[0] = 0.0
    soft = cv2.GaussianBlur(share[around].astype(np.float32), (0, 0), SOFT_PX_OF_THINGS)
    return np.asarray(soft, np.float32)

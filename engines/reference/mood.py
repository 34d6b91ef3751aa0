"""What a picture of another scene gives: its light, and what its vegetation and its sky look like.

Never a color of one thing to another: what would be shown as green without it is turned, evened out and
saturated as the picture's greens are, and as light or dark; what is blue where a sky may be as the picture's
sky; both only towards what is fresh and clear: dry leaves, brown light, teal, pale and evening skies and
redder earth were never liked. What is neither dark nor bright takes a little of the picture's daylight. A
color is changed by what it is alone, so that no edge and no patch appears that was not there.

So it is with a picture that a machine has chosen. Who names one wants its mood to be seen (`Wishes`): leaves
may be golden or pale, a sky pale or an evening's, all of it as colorful and as light as the picture, within
bounds, and its light falls on everything. Still a color is changed by what it is alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference.influence import CHOSEN, SKY, VEGETATION, WISHED, Material, Wishes

Plane = NDArray[np.float32]
Chroma = NDArray[np.complex64]
"""Cb + i Cr, BT.601 full range; its angle is the hue, see `influence`."""

GOLDEN, PLAIN_SKY, OVER_GROUND = (152.0, 260.0), 0.2, (0.06, 0.14)
"""Hues of a named picture's leaves, golden ones too; deviation of Y' of a plain sky of whatever color, and by
how much that is brighter than the lower half, from which it may be one and is: a wall is neither."""
SOFT_DEG = 15.0
"""In which a hue begins to count."""
PALE = 0.03
"""Chroma at which a hue counts half."""
ENOUGH = (0.03, 0.08)
"""Share of the picture that is of a material, from which it says something, and all that it says."""
PRESENT = (0.005, 0.02)
"""The same of the frame."""
NEUTRAL, NEUTRALS = 0.14, (0.07, 0.24)
"""Chroma that light may have given to something gray, and the share of such that is needed, and enough."""
USUAL_DEG = 147.0
"""Hue of that by plain daylight, see `Wishes.usual`."""
LAMPS = (0.045, 0.07)
"""Cast from which it is rather a lamp's or paint, and wholly."""
DAYLIGHT_DEG, ASIDE = 318.0, 0.15
"""Hue of blue daylight, against it that of a low sun, and how much of a cast is believed aside of that axis,
where it is rather paint than light."""
LIT_FROM = (0.1, 0.25)
"""Y' of a frame from which it takes the light: a dark yard was navy by it."""
EVENING, MOST_SKY = 0.08, 1.1
"""Most chroma of a wished sky that is not blue, and strength beyond which it goes no further."""
STRONGER = 0.2
"""How far colors grow stronger beyond a strength of 1, beside how far they turn."""
ABOVE, BRIGHT = (0.4, 0.0), (0.35, 0.55)
"""Height in the picture, [-1, 1] from its top, and Y' of the frame, from which blue may be sky, and is: lower
and darker it is a cast, a hillside, a lake."""
SEE_S, GLIDE_S = 0.25, 0.9
"""Seconds between two looks at what frames show, and in which what is changed glides to nearly two thirds."""
SIDE = 64
"""Steps of chroma in the table, over [-0.5, 0.5]."""
CELLS = (20, 16)
"""Columns and rows of the cells by which sky is told from what is lower or darker."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Mean chroma and Y' of a material or of what is nearly gray, and its share of the picture."""

    mean: complex
    share: float
    tone: float


@dataclass(frozen=True, slots=True)
class Change:
    """What a frame is changed by.

    Attributes:
        table: (SIDE + 1, SIDE + 1, 8) float32: of Y', Cb and Cr, rows Cr, columns Cb: first anywhere, then
            where sky may be in addition; then of Cb and Cr by light, where that falls.
        tone: of middle grays.
        wishes: of the picture that asks for it.
    """

    table: Plane
    tone: float
    wishes: Wishes

    def towards(self, other: Change, share: float) -> Change:
        """So far on the way to another one."""
        table = self.table + np.float32(share) * (other.table - self.table)
        return Change(table, self.tone + share * (other.tone - self.tone), other.wishes)


@dataclass(frozen=True, slots=True)
class Mood:
    """Of one picture, by its cells.

    Attributes:
        vegetation, sky: see `Material`.
        neutral: what is nearly gray.
        ground: mean Y' of the lower half.
        colorful: mean chroma of everything.
        wishes: how far it goes.
    """

    vegetation: Seen
    sky: Seen
    neutral: Seen
    ground: float
    colorful: float
    wishes: Wishes = CHOSEN

    @staticmethod
    def of(ycc: Plane, height: Plane, wished: bool = False) -> Mood:
        """Args:
        ycc: (n, 3) Y', Cb and Cr of the picture's cells.
        height: (n,) of their middles, -1 at the top and 1 at the bottom.
        wished: see `Reference.wished`.
        """
        tone, cells = ycc[:, 0], _complex(ycc[:, 1], ycc[:, 2])
        lower = height > 0 if (height > 0).any() else height <= 0
        ground = float(tone[lower].mean())
        leaves = _membership(cells, replace(VEGETATION, hues=GOLDEN) if wished else VEGETATION)
        high = _ramps(height, ABOVE)
        sky = _membership(cells, SKY) * high
        nearly = np.exp(-np.square(np.abs(cells) / np.float32(NEUTRAL)))
        if wished:
            above = tone[high > 0.5]
            plain = above.size and _ramp(float(above.mean()) - ground, OVER_GROUND)
            plain *= float(np.std(above) < PLAIN_SKY) if above.size else 0.0
            sky = np.maximum(sky, high * np.float32(plain))
            leaves = leaves * (1.0 - sky)
            nearly = nearly * (1.0 - high)  # far away all is blue
        gray = nearly * (1.0 - leaves) * (1.0 - sky)
        seen = [_seen(tone, cells, np.asarray(one, np.float32)) for one in (leaves, sky, gray)]
        colorful = float(np.abs(cells).mean())
        return Mood(seen[0], seen[1], seen[2], ground, colorful, WISHED if wished else CHOSEN)

    def given_to(self, frame: Mood) -> Change:
        """What a frame that looks like that changes by."""
        wishes = self.wishes
        leaves, tone = _nearer(wishes.vegetation, frame.vegetation, self.vegetation, wishes.most)
        sky, sky_tone = _nearer(wishes.sky, frame.sky, self.sky, wishes.most)
        if wishes.sky_share > 0:
            sky = wishes.sky_share * _as_sky(frame.sky, self.sky)
        follows, palest, strongest = wishes.colorful
        factor = (self.colorful + PALE) / (frame.colorful + PALE)
        factor = _between(1.0 + follows * (factor - 1.0), (palest, strongest))
        leaves = leaves + np.float32(factor - 1.0) * _levels()
        light = np.complex64(self._light()) * _lit(wishes.leaves_lit)
        planes = [tone, leaves.real, leaves.imag, sky_tone, sky.real, sky.imag, light.real, light.imag]
        follows, darker, lighter = wishes.tone
        ground = _between(follows * (self.ground - frame.ground), (darker, lighter))
        return Change(np.ascontiguousarray(np.stack(planes, axis=-1), np.float32), ground, wishes)

    def _light(self) -> complex:
        """The cast of the picture's light."""
        axis = np.exp(1j * np.radians(DAYLIGHT_DEG))
        cast = (self.neutral.mean - self.wishes.usual * np.exp(1j * np.radians(USUAL_DEG))) / axis
        believed = _ramp(self.neutral.share, NEUTRALS)
        believed *= 1.0 - (1.0 - self.wishes.by_lamps) * _ramp(abs(self.neutral.mean), LAMPS)
        light = complex(self.wishes.along * cast.real, ASIDE * cast.imag) * believed
        most = self.wishes.cold_most if light.real > 0 else self.wishes.warm_most
        return complex(light * axis) * min(1.0, most / max(abs(light), 1e-6))


def lay_mood(tone: Plane, cb: Plane, cr: Plane, change: Change, share: float) -> None:
    """Bring what would be shown of a frame under another picture's mood, in place.

    Args:
        tone, cb, cr: (h, w) float32 Y', Cb, Cr, BT.601 full range.
        change: as `Mood.given_to` gives it.
        share: of it, [0, 2].
    """
    half = ((tone.shape[1] + 1) // 2, (tone.shape[0] + 1) // 2)  # what changes is smooth
    luma, blue, red = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (tone, cb, cr))
    across, down = (cv2.addWeighted(plane, SIDE, plane, 0.0, 0.5 * SIDE) for plane in (blue, red))
    heights = np.linspace(-1.0, 1.0, CELLS[1], dtype=np.float32)[:, None]
    bright = _ramps(cv2.resize(luma, CELLS, interpolation=cv2.INTER_AREA), BRIGHT)
    may_be_sky = cv2.resize(bright * _ramps(heights, ABOVE), half)
    if change.wishes.sky_share > 0 and share > MOST_SKY:
        may_be_sky *= np.float32(MOST_SKY / share)
    falls = _ramps(luma, LIT_FROM) * _ramps(luma, change.wishes.lit_up_to)
    moved: list[Plane] = []
    for part in (slice(0, 3), slice(3, 6), slice(6, 8)):
        table = np.ascontiguousarray(change.table[..., part])
        moved += cv2.split(cv2.remap(table, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    once = [moved[part] + may_be_sky * moved[3 + part] for part in range(3)]
    once[1:] = [one + falls * light for one, light in zip(once[1:], moved[6:], strict=True)]
    if change.tone:
        middle = np.clip(luma, 0.0, 1.0)
        once[0] += np.float32(4.0 * change.tone) * middle * (1.0 - middle)
    by = [np.float32(min(share, 1.0)) * once[0], *_grown(once[1:], (blue, red), share)]
    for plane, one in zip((tone, cb, cr), by, strict=True):
        plane += cv2.resize(one, tone.shape[::-1])


class MoodOverFrames:
    """Lays a picture's mood over frame after frame; what a frame looks like is seen anew now and then."""

    def __init__(self) -> None:
        self._mood: Mood | None = None
        self._change: Change | None = None
        self._looked_ns: int | None = None

    def follow(self, mood: Mood) -> None:
        """This one from the next frame on."""
        if self._mood is not mood:
            self._mood, self._looked_ns = mood, None

    def forget(self) -> None:
        """Other frames come."""
        self._change = self._looked_ns = None

    def lay(self, tone: Plane, cb: Plane, cr: Plane, share: float, at_ns: int | None = None) -> None:
        """See `lay_mood`; nothing where there is no mood yet.

        Args:
            tone, cb, cr, share: as of `lay_mood`.
            at_ns: time of the frame, in whose order they come; None for one by itself.
        """
        if self._mood is None:
            return
        since_s = SEE_S
        if at_ns is not None and self._looked_ns is not None:
            since_s = max(0, at_ns - self._looked_ns) / 1e9
        if self._change is None or since_s >= SEE_S:
            cells = [
                cv2.resize(plane, CELLS, interpolation=cv2.INTER_AREA).ravel() for plane in (tone, cb, cr)
            ]
            heights = np.linspace(-1.0, 1.0, CELLS[1], dtype=np.float32).repeat(CELLS[0])
            change = self._mood.given_to(Mood.of(np.stack(cells, axis=1), heights))
            if self._change is not None and at_ns is not None:
                change = self._change.towards(change, 1.0 - math.exp(-since_s / GLIDE_S))
            self._change, self._looked_ns = change, at_ns
        lay_mood(tone, cb, cr, self._change, share)


def _grown(once: list[Plane], own: tuple[Plane, Plane], share: float) -> list[Plane]:
    """A change of Cb and Cr with strength; beyond 1 colors go on turning, and grow less: no acid greens."""
    if share <= 1.0:
        return [np.float32(share) * one for one in once]
    at = [before + one for before, one in zip(own, once, strict=True)]
    outwards = np.maximum(once[0] * at[0] + once[1] * at[1], 0.0) / (
        at[0] ** 2 + at[1] ** 2 + np.float32(1e-8)
    )
    outwards *= np.float32((1.0 - STRONGER) * (share - 1.0))
    return [np.float32(share) * one - outwards * to for one, to in zip(once, at, strict=True)]


def _as_sky(mine: Seen, theirs: Seen) -> Chroma:
    """(SIDE + 1, SIDE + 1): what a sky's chroma changes by to be the other picture's."""
    share = _ramp(theirs.share, ENOUGH) * _ramp(mine.share, PRESENT)
    goal, hue = theirs.mean, _hue(theirs.mean)
    if SKY.hues[0] < hue < SKY.hues[1]:
        goal = abs(goal) * np.exp(1j * np.radians(_between(hue, WISHED.sky.natural)))
    else:
        goal *= min(1.0, EVENING / max(abs(goal), 1e-6))
    chroma = _levels()
    return np.asarray(np.float32(share) * _membership(chroma, SKY) * (np.complex64(goal) - chroma))


def _nearer(material: Material, mine: Seen, theirs: Seen, most: float) -> tuple[Chroma, Plane]:
    """Twice (SIDE + 1, SIDE + 1): what a material's chroma and Y' change by to be as the other picture's."""
    hue, wished = _hue(mine.mean), _hue(theirs.mean)
    saturation, theirs_is = max(abs(mine.mean), 1e-6), abs(theirs.mean)
    smallest, largest = material.factors
    factor = max(smallest, min(theirs_is / saturation, largest, material.vivid / saturation))
    share = _ramp(theirs.share, ENOUGH) * _ramp(mine.share, PRESENT) * _ramp(theirs_is, material.pale)
    low, high = material.natural
    further = wished < hue < low or wished > hue > high
    goal = hue if further else _between(wished, material.natural)
    turned = hue + _between(goal - hue, (-material.turn_deg, material.turn_deg))
    plain, gathered, member = _of_material(material)
    turn = share * factor * np.exp(1j * np.radians(turned - (1.0 - material.even) * hue))
    change = np.complex64(turn) * gathered - np.float32(share) * plain
    change *= np.minimum(np.float32(1.0), np.float32(most) / np.maximum(np.abs(change), np.float32(1e-6)))
    follows, darker, lighter = material.tone
    tone = share * _between(follows * (theirs.tone - mine.tone), (darker, lighter))
    return change, np.float32(tone) * member


def _complex(blue: Plane, red: Plane) -> Chroma:
    return np.asarray(blue + 1j * red, np.complex64)


def _hue(chroma: complex) -> float:
    """Degrees, from 90 on: no material's hues go round."""
    return float((np.degrees(np.angle(chroma)) - 90.0) % 360.0 + 90.0)


def _levels() -> Chroma:
    levels = np.linspace(-0.5, 0.5, SIDE + 1, dtype=np.float32)
    return _complex(levels[None], levels[:, None])


@cache
def _of_material(material: Material) -> tuple[Chroma, Chroma, Plane]:
    """Three times (SIDE + 1, SIDE + 1): every chroma by how much it is of a material; the same with its hue
    gathered around 0 degrees; and how much it is. Not written to."""
    chroma = _levels()
    member = _membership(chroma, material)
    plain = np.asarray(chroma * member, np.complex64)
    hue = (np.angle(chroma) - 0.5 * np.pi) % (2.0 * np.pi) + 0.5 * np.pi
    gathered = np.abs(plain) * np.exp(1j * (1.0 - material.even) * hue)
    return plain, np.asarray(gathered, np.complex64), member


@cache
def _lit(leaves_lit: float) -> Plane:
    """(SIDE + 1, SIDE + 1): how much of the light every chroma takes; not written to."""
    return np.asarray(1.0 - (1.0 - leaves_lit) * _membership(_levels(), VEGETATION), np.float32)


def _membership(chroma: Chroma, material: Material) -> Plane:
    """How much each chroma is of a material, [0, 1]."""
    low, high = material.hues
    away = np.abs((np.degrees(np.angle(chroma)) - 0.5 * (low + high) + 180.0) % 360.0 - 180.0)
    power = np.square(np.abs(chroma))
    inside = np.clip((0.5 * (high - low + SOFT_DEG) - away) / SOFT_DEG, 0.0, 1.0)
    return np.asarray(inside * power / (power + PALE**2), np.float32)


def _seen(tone: Plane, cells: Chroma, weight: Plane) -> Seen:
    total = float(weight.sum())
    most = max(total, 1e-6)
    return Seen(
        complex((weight * cells).sum()) / most,
        total / max(1, cells.size),
        float((weight * tone).sum()) / most,
    )


def _between(value: float, limits: tuple[float, float]) -> float:
    return float(min(limits[1], max(limits[0], value)))


def _ramp(value: float, limits: tuple[float, float]) -> float:
    return _between((value - limits[0]) / (limits[1] - limits[0]), (0.0, 1.0))


def _ramps(values: Plane, limits: tuple[float, float]) -> Plane:
    share = (values - np.float32(limits[0])) / np.float32(limits[1] - limits[0])
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)

"""What a picture of another scene gives: its light, and what its vegetation and its sky look like.

Never a color of one thing to another: what the band's own answer calls green is turned, evened out and
saturated as the picture's greens are, what it calls blue where a sky may be as the picture's sky, both
only towards what is fresh and clear: dry leaves, brown light and teal were never liked. Everything takes a
little of the picture's daylight. Tone stays. Chroma is changed by where it lies in its plane, so that no
edge appears that was not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Chroma = NDArray[np.complex64]
"""Cb + i Cr, BT.601 full range; its angle is the hue: brown 139 degrees, olive 171, green 232, sky 318."""


@dataclass(frozen=True, slots=True)
class Material:
    """A kind of thing that is known by its hue.

    Attributes:
        hues: of it, degrees, from and to.
        natural: hues that it may be turned to: olive and teal leaves, violet skies are no mood.
        vivid: mean saturation beyond which it is not raised.
    """

    hues: tuple[float, float]
    natural: tuple[float, float]
    vivid: float


VEGETATION = Material((168.0, 260.0), (186.0, 206.0), 0.09)
SKY = Material((285.0, 360.0), (313.0, 320.0), 0.115)
SOFT_DEG = 15.0
"""In which a hue begins to count."""
PALE = 0.03
"""Chroma at which a hue counts half."""
TURN_DEG, SATURATION = 20.0, 1.5
"""By how much a material is turned at most, and its largest factor of saturation: less was never liked."""
EVEN = 0.5
"""How far the hues of a material gather around their mean: even color was liked, blotches were not."""
ENOUGH = (0.03, 0.08)
"""Share of the picture that is of a material, from which it says something, and all that it says."""
PRESENT = (0.005, 0.02)
"""The same of the frame."""
NEUTRAL, NEUTRALS = 0.14, (0.1, 0.3)
"""Chroma that light may have given to something gray, and the share of such that is needed, and enough."""
USUAL, USUAL_DEG = 0.02, 147.0
"""Chroma and hue of it in pictures by plain daylight, whose grays are earth and stone: no cast."""
LAMPS, BY_LAMPS = (0.045, 0.07), 0.3
"""Cast from which it is rather a lamp's or paint, and wholly; what counts of it then."""
DAYLIGHT_DEG, ALONG, ASIDE = 318.0, 0.6, 0.15
"""Hue of blue daylight, against it that of a low sun, and how much of a cast is believed along that axis, and
aside of it, where it is rather paint than light."""
COLD_MOST, WARM_MOST, MOST = 0.016, 0.010, 0.07
"""Largest shift of everything by cold light, by warm light, which soon looks like dirt; and of anything."""
STRONGER = 0.2
"""How far colors grow stronger beyond a strength of 1, beside how far they turn."""
LEAVES_LIT = 0.3
"""Share of the light that leaves take: a cast makes them olive or teal."""
ABOVE, BRIGHT = (0.4, 0.0), (0.35, 0.55)
"""Height in the picture, [-1, 1] from its top, and Y' of the frame, from which blue may be sky, and is: lower
and darker it is a cast, a hillside, a lake."""
SIDE = 64
"""Steps of chroma in the table, over [-0.5, 0.5]."""
CELL_PX = 8
"""Side of the cells by which sky is told from what is lower or darker."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Mean chroma of a material or of what is nearly gray, and its share of the picture."""

    mean: complex
    share: float


@dataclass(frozen=True, slots=True)
class Mood:
    """Of one picture, by its cells.

    Attributes:
        vegetation, sky: see `Material`.
        neutral: what is nearly gray.
    """

    vegetation: Seen
    sky: Seen
    neutral: Seen

    @staticmethod
    def of(chroma: Plane, height: Plane) -> Mood:
        """Args:
        chroma: (n, 2) Cb and Cr of the picture's cells.
        height: (n,) of their middles, -1 at the top and 1 at the bottom.
        """
        cells = _complex(chroma[:, 0], chroma[:, 1])
        sky = _membership(cells, SKY) * _ramps(height, ABOVE)
        leaves = _membership(cells, VEGETATION)
        gray = np.exp(-np.square(np.abs(cells) / NEUTRAL)) * (1.0 - leaves) * (1.0 - sky)
        return Mood(*(_seen(cells, weight) for weight in (leaves, sky, gray)))

    def given_to(self, frame: Mood) -> Plane:
        """(SIDE + 1, SIDE + 1, 4) float32: what Cb and Cr of a frame change by, rows Cr, columns Cb: first
        anywhere, then where sky may be in addition."""
        anywhere = np.complex64(self._light()) * _lit()
        anywhere += _nearer(VEGETATION, frame.vegetation, self.vegetation)
        changes = (anywhere, _nearer(SKY, frame.sky, self.sky))
        planes = [part for change in changes for part in (change.real, change.imag)]
        return np.ascontiguousarray(np.stack(planes, axis=-1), np.float32)

    def _light(self) -> complex:
        """The cast of the picture's light."""
        axis = np.exp(1j * np.radians(DAYLIGHT_DEG))
        cast = (self.neutral.mean - USUAL * np.exp(1j * np.radians(USUAL_DEG))) / axis
        believed = _ramp(self.neutral.share, NEUTRALS)
        believed *= 1.0 - (1.0 - BY_LAMPS) * _ramp(abs(self.neutral.mean), LAMPS)
        light = complex(ALONG * cast.real, ASIDE * cast.imag) * believed
        most = COLD_MOST if light.real > 0 else WARM_MOST
        return complex(light * axis) * min(1.0, most / max(abs(light), 1e-6))


def with_mood(ycc: Plane, own: Plane, change: Plane, share: float) -> Plane:
    """A picture under another one's mood; a new array.

    Where the network's matches by content have taken color away from a thing, only their hue is taken.

    Args:
        ycc: (1, 3, H, W) Y', Cb, Cr, BT.601 full range, by what was matched; H and W even.
        own: (3, H, W) the band's own.
        change: as `Mood.given_to` gives it.
        share: of it, [0, 2].
    """
    height, width = own.shape[1:]
    half = (width // 2, height // 2)  # chroma is smooth, and half as fine in video
    luma, blue, red = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in own)
    away = [
        cv2.resize(plane, half, interpolation=cv2.INTER_AREA) - before
        for plane, before in zip(ycc[0, 1:], (blue, red), strict=True)
    ]
    lost = np.minimum(away[0] * blue + away[1] * red, 0.0) / (blue * blue + red * red + np.float32(1e-8))
    at = [np.float32(0.5) + one + off - lost * one for one, off in zip((blue, red), away, strict=True)]
    across, down = (one * np.float32(SIDE) for one in at)
    moved = cv2.split(cv2.remap(change, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    cells = (max(1, width // CELL_PX), max(1, height // CELL_PX))
    heights = np.linspace(-1.0, 1.0, cells[1], dtype=np.float32)[:, None]
    bright = _ramps(cv2.resize(luma, cells, interpolation=cv2.INTER_AREA), BRIGHT)
    may_be_sky = cv2.resize(bright * _ramps(heights, ABOVE), half)
    once = [moved[channel] + moved[2 + channel] * may_be_sky for channel in range(2)]
    changed = _grown(once, (blue, red), share)
    made = np.array(ycc, np.float32)
    for channel, one in enumerate((blue, red)):
        difference = changed[channel] - lost * one
        plane = made[0, 1 + channel]
        plane += cv2.resize(difference, (width, height))
        np.clip(plane, -0.5, 0.5, out=plane)
    return made


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


def _nearer(material: Material, mine: Seen, theirs: Seen) -> Chroma:
    """(SIDE + 1, SIDE + 1): what a material's chroma changes by to be as the other picture's."""
    low, high = material.natural
    hue, wished = _hue(mine.mean), _hue(theirs.mean)
    further = wished < hue < low or wished > hue > high
    goal = hue if further else _between(wished, material.natural)
    turned = hue + _between(goal - hue, (-TURN_DEG, TURN_DEG))
    saturation = max(abs(mine.mean), 1e-6)
    factor = max(1.0, min(abs(theirs.mean) / saturation, SATURATION, material.vivid / saturation))
    share = _ramp(theirs.share, ENOUGH) * _ramp(mine.share, PRESENT)
    plain, gathered = _of_material(material)
    turn = share * factor * np.exp(1j * np.radians(turned - (1.0 - EVEN) * hue))
    change = np.complex64(turn) * gathered - np.float32(share) * plain
    change *= np.minimum(np.float32(1.0), MOST / np.maximum(np.abs(change), np.float32(1e-6)))
    return change


def _complex(blue: Plane, red: Plane) -> Chroma:
    return np.asarray(blue + 1j * red, np.complex64)


def _hue(chroma: complex) -> float:
    """Degrees, from 90 on: no material's hues go round."""
    return float((np.degrees(np.angle(chroma)) - 90.0) % 360.0 + 90.0)


def _levels() -> Chroma:
    levels = np.linspace(-0.5, 0.5, SIDE + 1, dtype=np.float32)
    return _complex(levels[None], levels[:, None])


@cache
def _of_material(material: Material) -> tuple[Chroma, Chroma]:
    """Twice (SIDE + 1, SIDE + 1): every chroma by how much it is of a material; the same with its hue
    gathered around 0 degrees. Not written to."""
    chroma = _levels()
    plain = np.asarray(chroma * _membership(chroma, material), np.complex64)
    hue = (np.angle(chroma) - 0.5 * np.pi) % (2.0 * np.pi) + 0.5 * np.pi
    return plain, np.asarray(np.abs(plain) * np.exp(1j * (1.0 - EVEN) * hue), np.complex64)


@cache
def _lit() -> Plane:
    """(SIDE + 1, SIDE + 1): how much of the light every chroma takes; not written to."""
    return np.asarray(1.0 - (1.0 - LEAVES_LIT) * _membership(_levels(), VEGETATION), np.float32)


def _membership(chroma: Chroma, material: Material) -> Plane:
    """How much each chroma is of a material, [0, 1]."""
    low, high = material.hues
    away = np.abs((np.degrees(np.angle(chroma)) - 0.5 * (low + high) + 180.0) % 360.0 - 180.0)
    power = np.square(np.abs(chroma))
    inside = np.clip((0.5 * (high - low + SOFT_DEG) - away) / SOFT_DEG, 0.0, 1.0)
    return np.asarray(inside * power / (power + PALE**2), np.float32)


def _seen(cells: Chroma, weight: Plane) -> Seen:
    total = float(weight.sum())
    return Seen(complex((weight * cells).sum()) / max(total, 1e-6), total / max(1, cells.size))


def _between(value: float, limits: tuple[float, float]) -> float:
    return float(min(limits[1], max(limits[0], value)))


def _ramp(value: float, limits: tuple[float, float]) -> float:
    return _between((value - limits[0]) / (limits[1] - limits[0]), (0.0, 1.0))


def _ramps(values: Plane, limits: tuple[float, float]) -> Plane:
    share = (values - np.float32(limits[0])) / np.float32(limits[1] - limits[0])
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)

"""What a picture of another scene gives: its light, and what its vegetation and its sky look like.

Never a color of one thing to another: what the band's own answer calls green or blue is turned and
saturated as the picture's greens and blues are, within what leaves and skies have; everything takes a little
of the picture's cast. Tone stays. Chroma is changed by where it lies in its plane alone, so that no edge
appears that was not there.
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
        natural: hues that it may be turned to: teal leaves and violet skies are a camera's fault.
    """

    hues: tuple[float, float]
    natural: tuple[float, float]


VEGETATION = Material((168.0, 260.0), (168.0, 200.0))
SKY = Material((285.0, 360.0), (310.0, 322.0))
SOFT_DEG = 15.0
"""In which a hue begins to count."""
PALE = 0.03
"""Chroma at which a hue counts half."""
TURN_DEG, SATURATION = 20.0, (0.95, 1.6)
"""By how much a material is turned at most, and its factors of saturation: less color was never liked."""
ENOUGH = (0.03, 0.08)
"""Share of the picture that is of a material, from which it says something, and all that it says."""
PRESENT = (0.005, 0.02)
"""The same of the frame."""
NEUTRAL, NEUTRALS = 0.14, (0.1, 0.3)
"""Chroma that light may have given to something gray, and the share of such that is needed, and enough."""
DAYLIGHT_DEG, ALONG, ASIDE = 318.0, 0.6, 0.2
"""Hue of blue daylight, against it that of lamps, and how much of a cast is believed along that axis, and
aside of it, where it is rather paint than light."""
ABOVE = (0.4, 0.0)
"""Height in the picture, [-1, 1] from its top, from which blue may be sky, and is: lower it is a cast."""
LIGHT_MOST, MOST = 0.025, 0.07
"""Largest shift of everything, and of anything."""
SIDE = 128
"""Steps of chroma in the table, over [-0.5, 0.5]."""


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
        low, high = ABOVE
        sky = _membership(cells, SKY) * np.clip((low - height) / (low - high), 0.0, 1.0)
        leaves = _membership(cells, VEGETATION)
        gray = np.exp(-np.square(np.abs(cells) / NEUTRAL)) * (1.0 - leaves) * (1.0 - sky)
        return Mood(*(_seen(cells, weight) for weight in (leaves, sky, gray)))

    def given_to(self, frame: Mood) -> Plane:
        """(SIDE + 1, SIDE + 1, 2) float32: what Cb and Cr of a frame change by, rows Cr, columns Cb."""
        change = np.full((SIDE + 1, SIDE + 1), self._light(), np.complex64)
        materials = ((VEGETATION, frame.vegetation, self.vegetation), (SKY, frame.sky, self.sky))
        for material, mine, theirs in materials:
            factor = _between(abs(theirs.mean) / max(abs(mine.mean), 1e-6), SATURATION)
            hue = _between(np.degrees(np.angle(theirs.mean)) % 360.0, material.natural)
            turn = (hue - np.degrees(np.angle(mine.mean)) + 180.0) % 360.0 - 180.0
            turned = factor * np.exp(1j * np.radians(_between(turn, (-TURN_DEG, TURN_DEG))))
            share = _ramp(theirs.share, ENOUGH) * _ramp(mine.share, PRESENT)
            change += np.complex64(share * (turned - 1.0)) * _of_material(material)
        change *= np.minimum(np.float32(1.0), MOST / np.maximum(np.abs(change), np.float32(1e-6)))
        return change.view(np.float32).reshape(SIDE + 1, SIDE + 1, 2)

    def _light(self) -> complex:
        """The cast of the picture's light."""
        axis = np.exp(1j * np.radians(DAYLIGHT_DEG))
        cast = self.neutral.mean / axis
        light = complex((ALONG * cast.real + ASIDE * 1j * cast.imag) * axis) * _ramp(
            self.neutral.share, NEUTRALS
        )
        return light * min(1.0, LIGHT_MOST / max(abs(light), 1e-6))


def with_mood(ycc: Plane, change: Plane, share: float) -> Plane:
    """A picture under another one's mood; a new array.

    Args:
        ycc: (1, 3, H, W) Y', Cb, Cr, BT.601 full range.
        change: as `Mood.given_to` gives it.
        share: of it, [0, 1].
    """
    blue, red = ((ycc[0, channel] + np.float32(0.5)) * np.float32(SIDE) for channel in (1, 2))
    moved = cv2.remap(
        np.float32(share) * change, blue, red, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    made = np.array(ycc, np.float32)
    for channel in (0, 1):
        plane = made[0, 1 + channel]
        plane += moved[..., channel]
        np.clip(plane, -0.5, 0.5, out=plane)
    return made


def _complex(blue: Plane, red: Plane) -> Chroma:
    return np.asarray(blue + 1j * red, np.complex64)


@cache
def _of_material(material: Material) -> Chroma:
    """(SIDE + 1, SIDE + 1): every chroma by how much it is of a material; not written to."""
    levels = np.linspace(-0.5, 0.5, SIDE + 1, dtype=np.float32)
    chroma = _complex(levels[None], levels[:, None])
    return np.asarray(chroma * _membership(chroma, material), np.complex64)


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

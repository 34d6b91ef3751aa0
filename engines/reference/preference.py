"""Where a reference is at least as good as the frame's own picture, as viewers see it, and how far its tone
may be from the own one.

A picture of the scene that is burnt out, under purple haze, or brown where the own picture has leaves or a
bright sky, is nearer to the truth and not what viewers choose: they turned to the own picture there, and to
the reference for red roofs, sand and stone. All of it is looked at small and soft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import registration, structure

Plane = NDArray[np.float32]

SOFT_PX, SOFT_SIDE_PX = 1.5, 80
"""Gaussian sigma of what is compared, at `registration.COARSE_PX`, and the least long side that is enough for
what is as soft."""
BURNT, PALE = (0.9, 0.96), (0.04, 0.08)
"""Y' from which a place is burnt a little, and wholly; chroma, sqrt(Cb^2 + Cr^2), up to which it can be, and
from which it is not."""
PURPLE, HAZY = np.exp(1j * np.deg2rad(15)), (0.006, 0.02)
"""Direction of purple in Cb + i Cr, and how much of it is haze a little, and wholly, pixel by pixel."""
BETWEEN = 3.0
"""What haze counts beside other pixels: it shows between leaves."""
GREEN, BLUE = np.exp(1j * np.deg2rad(205)), np.exp(1j * np.deg2rad(-30))
"""Directions of leaves and of the sky."""
WEDGE = 1.2
"""How much of what is across a direction is taken from what is along it: 40 degrees to either side."""
RED, PALE_RED, RED_LESS = np.exp(1j * np.deg2rad(90)), 0.03, 0.8
"""Direction of red and pink, how much of it is pale, and the share of that which is gray instead: beside the
green that thermal's network shows, a leafy floor's reddish brown and a wall's shade look like stains."""
FRESH = (0.025, 0.06)
"""Of green or blue in the own picture, from which it is worth keeping a little, and wholly."""
DULLER = (0.75, 1.05)
"""Chroma of the reference as a share of the own green's, up to which that is kept, and is not."""
SKY, DARKER_SKY = (0.45, 0.6), (0.1, 0.25)
"""Y' of the own blue that is a sky, a little and wholly, and by how much a darker one is none."""
BAND = (-0.12, 0.25)
"""Least and most that a reference's Y' is beyond the own one where the own tone is kept."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A frame by a reference beside the own one.

    Attributes:
        given: Y', Cb, Cr by the reference, small and soft, each float32, BT.601 full range.
        own: the same without it.
        hazy: how far purple haze lies there, as small, [0, 1].
        size: (h, w) of the frame.
    """

    given: list[Plane]
    own: list[Plane]
    hazy: Plane
    size: tuple[int, int]

    @staticmethod
    def of(given: Plane, own: Plane) -> Compared:
        """Args:
        given: (3, h, w) float32 Y', Cb, Cr by the reference; not kept.
        own: (3, h, w) float32 without it; not kept.
        """
        (haze,) = _soft([_towards(given[1:], PURPLE, HAZY)])
        hazy = np.minimum(np.float32(BETWEEN) * haze, np.float32(1.0))
        return Compared(_soft(given), _soft(own), hazy, (given.shape[1], given.shape[2]))

    def worth(self) -> tuple[Plane, Plane]:
        """How far the reference's tone is taken, and how far its color.

        Returns:
            Two float32 in [0, 1], the second one nowhere more, at the size of `small_size`.
        """
        (luma, *color), (own_luma, *own_color) = self.given, self.own
        chroma, own_chroma = cv2.magnitude(*color), cv2.magnitude(*own_color)
        burnt = _ramp(luma, BURNT) * (1.0 - _ramp(chroma, PALE))
        green = _towards(own_color, GREEN, FRESH)
        dull = green * (1.0 - _ramp(chroma / np.maximum(own_chroma, np.float32(1e-3)), DULLER))
        sky = sky_of(self.own)
        dark = sky * _ramp(own_luma - luma, DARKER_SKY)
        tone = (1.0 - burnt) * (1.0 - self.hazy) * (1.0 - dark)
        size = small_size(self.size)
        return cast(Plane, cv2.resize(tone, size)), cast(Plane, cv2.resize(tone * (1.0 - dull), size))

    def back_in_band(self, luma: Plane | None = None) -> Plane:
        """What brings the reference's tone back to the own one's: (h, w) float32, to be added to its Y'.

        Args:
            luma: (h, w) float32 Y' by the reference, where that has changed since.
        """
        given = self.given[0] if luma is None else _soft([luma])[0]
        away = given - self.own[0]
        low, high = BAND
        return cast(Plane, cv2.resize(np.clip(away, low, high) - away, self.size[::-1]))


def small_size(size: tuple[int, ...]) -> tuple[int, int]:
    """Width and height at which it is said of a frame (H, W) what is shown of a reference there: half of
    `registration.COARSE_PX`, as all of it is soft, and half of a smaller frame."""
    factor = 0.5 * min(1.0, registration.COARSE_PX / max(size))
    return max(1, round(size[1] * factor)), max(1, round(size[0] * factor))


def sky_of(own: Sequence[Plane] | Plane) -> Plane:
    """(h, w) float32, how far the own Y', Cb, Cr are those of a bright blue sky, [0, 1]."""
    return _towards(own[1:], BLUE, FRESH) * _ramp(own[0], SKY)


def without_pale_red(ycc: Plane) -> Plane:
    """A picture whose pale red, pink and purple are gray; what is really red stays red, its chroma
    `PALE_RED` * `RED_LESS` = 0.024 less; a new array.

    Args:
        ycc: (H, W, 3) float32 Y', Cb, Cr, BT.601 full range.
    """
    made = ycc.copy()
    for direction in (RED, PURPLE):
        less = _towards(cv2.split(ycc)[1:], direction, (0.0, PALE_RED)) * np.float32(PALE_RED * RED_LESS)
        made[..., 1] -= less * np.float32(direction.real)
        made[..., 2] -= less * np.float32(direction.imag)
    return made


def _soft(planes: Sequence[Plane] | Plane) -> list[Plane]:
    """Small and blurred."""
    small = [structure.averaged(plane, SOFT_SIDE_PX) for plane in planes]
    sigma = SOFT_PX * max(small[0].shape) / min(max(planes[0].shape), registration.COARSE_PX)
    return [cast(Plane, cv2.GaussianBlur(plane, (0, 0), sigma)) for plane in small]


def _towards(color: Sequence[Plane] | Plane, direction: complex, ends: tuple[float, float]) -> Plane:
    """How much of a direction is in a color: 0 up to the one end and where others are, 1 from the other."""
    (blue, red), (low, high) = color, ends
    scale = 1 / (high - low)
    along = cv2.addWeighted(blue, direction.real, red, direction.imag, 0.0)
    across = cv2.addWeighted(red, direction.real, blue, -direction.imag, 0.0)
    np.abs(across, out=across)
    made = cv2.addWeighted(along, scale, across, -WEDGE * scale, -low * scale, dst=along)
    return np.asarray(np.clip(made, 0.0, 1.0, out=made), np.float32)


def _ramp(value: Plane, ends: tuple[float, float]) -> Plane:
    low, high = ends
    made = value * np.float32(1 / (high - low))
    made -= np.float32(low / (high - low))
    return np.asarray(np.clip(made, 0.0, 1.0, out=made), np.float32)

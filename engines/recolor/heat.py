"""A sky ends where its heat does: a thermal picture's blue is parted from what stands before it by the luma.

A network sees a sky's border a few pixels off, and paints sky into crowns, haze over roofs, and clouds green.
Its blue and what is not blue have a luma each, though, in the picture as it is, whatever the camera's gain: a
luma that an even blue hardly ever has is not blue anywhere, and gets the color that such luma has nearby; one
that it nearly always has is sky amid sky. Where both have the same luma nothing is said. What is uneven says
nothing of a sky: palms, signs and crowns that a network paints blue would else be their own reason to be so.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import guided
from irchroma.engines.recolor.base_tone import rise

Plane = NDArray[np.float32]
Planes = tuple[Plane, Plane, Plane]

BLUE, BRIGHT = (0.015, 0.05), (0.3, 0.5)
"""Cb, and Y' shown, at which a place begins to count as painted sky, and from which on it does."""
LEVELS_AROUND = 10
"""Levels of luma to either side that are counted with each."""
FEW = 0.0005
"""Part of the picture that is not sky at any luma: what is rare is no sky."""
EVEN = 0.025
"""Standard deviation of luma in a place, part of full scale, at which it is a quarter of an even one."""
SEEN_PX = 3
"""Side of the window whose mean says which luma a pixel has: single ones may be beyond a sky by noise."""
SKY, GROUND = (0.5, 0.8), (0.4, 0.15)
"""Part of a luma's places without what is painted sky and uneven that are painted sky, at which it begins to
be sky, or what stands before it, and from which on it is."""
RADIUS_PX = 6
"""Windows in which colors are looked for, in fours of work pixels."""
FEWEST = 0.02
"""Mean weight of a window at which it says little."""
FOUND, FOUND_SKY = (0.25, 0.55), (0.5, 0.85)
"""Part of what a window knows that is no sky, from which on its color is taken; and the same of sky."""
ALONE = (0.35, -0.02, -0.025)
"""Most Y', Cb and Cr of what stands in nothing but sky: palms, poles, signs and twigs. Dark, and of so little
green that a gray one keeps looking gray: without it chroma that leads from blue to gray leads on to rust."""
SAY, UNSAY = (0.0, 0.015), (0.04, 0.0)
"""Cb at which what is no sky by its luma begins to be changed, and from which on it is; the same of sky."""
PLAIN, CLOUD = (0.03, 0.0), (0.75, 0.6)
"""Cb and Y' shown at which something begins to be no sky and no cloud whose color may be taken, and from
which on it is; what blue is left in it is not."""
LEAF = (0.0, -0.008)
"""Cr of what stands before the sky nearby at which it begins to be leaves, whose color is taken, and from
which on it is; a wall's is not: twigs would be brick red."""
LIT = (0.3, 0.4)
"""Y' shown at which a blue begins to be a wrong one: darker ones are a night's slate."""


def part_by_heat(planes: Planes, guide: Plane, halved: bool, strength: Plane | float = 1.0) -> None:
    """Move Y', Cb and Cr (h, w) float32 in place: no blue where the luma is no sky's, blue where it is.

    Args:
        planes: as they are shown.
        guide: (h, w) float32 luma of the sensor, [0, 1], in whole levels.
        halved: all have half the work size.
        strength: (h, w) float32 or one number, [0, 1]: how far they are moved.
    """
    tone, cb, cr = planes
    few = np.asarray(cv2.merge((*planes, guide)), np.float32)
    few = few if halved else _half(few)
    luma = np.asarray(cv2.extractChannel(few, 3), np.float32)
    square = _half(luma * luma)
    size = (guide.shape[0], guide.shape[1])
    shown = [np.asarray(one, np.float32) for one in cv2.split(_half(few))]
    there, ground = _places((shown[0], shown[1], shown[2]), shown[3], square)
    blue, red, darker, other_blue, other_red, share = (guided.enlarge(plane, size) for plane in there)
    if isinstance(strength, np.ndarray):
        for plane in (blue, red, share):
            plane *= strength
    else:
        ground *= np.float32(strength)
        if strength < 1:
            blue *= np.float32(strength)
            red *= np.float32(strength)
    cb += blue
    cr += red
    share *= cv2.LUT(levels(guided.box(guide, SEEN_PX)), ground)
    share *= rise(cb, SAY)
    darker *= share
    tone += darker
    for plane, wanted in ((cb, other_blue), (cr, other_red)):
        wanted -= plane
        wanted *= share
        plane += wanted


def _places(planes: Planes, guide: Plane, square: Plane) -> tuple[list[Plane], Plane]:
    """What is to be done, (h, w) float32 each: how far Cb and Cr move to those of the sky around; how far Y'
    does to that of what stands before it, its Cb and Cr, and how far these are taken; and how far by luma,
    (256,) float32.

    Args:
        planes: Y', Cb and Cr, in fours of work pixels.
        guide: (h, w) float32 mean luma of the same.
        square: (h, w) float32 mean square of it.
    """
    tone, cb, cr = planes
    luma = levels(guide)
    strong = rise(cb, BLUE)
    painted = strong * rise(tone, BRIGHT)
    of_sky, of_ground = _by_level(luma, painted, _evenness(guide, square))
    sky, warm = (np.asarray(cv2.LUT(luma, of), np.float32) for of in (of_sky, of_ground))
    painted *= sky
    ground = rise(cb, PLAIN)
    ground *= rise(tone, CLOUD)
    ground *= warm
    side = 2 * RADIUS_PX + 1
    skies, sky_cb, sky_cr, warm = _means((painted, painted * cb, painted * cr, warm), side)
    grounds, ground_tone, ground_cb, ground_cr = _means(
        (ground, ground * tone, ground * cb, ground * cr), side
    )
    known: Plane = grounds + skies
    few = known + np.float32(FEWEST)
    found = rise(grounds / few, FOUND)
    known /= few
    known *= rise(tone, LIT)
    grounds += np.float32(1e-4)
    move = rise(skies / (skies + warm + np.float32(5 * FEWEST)), FOUND_SKY)
    move *= sky
    move *= rise(cb, UNSAY)
    skies += np.float32(1e-4)
    sky_cb /= skies
    sky_cr /= skies
    sky_cb -= cb
    sky_cr -= cr
    there = [sky_cb * move, sky_cr * move]
    cv2.threshold(ground_cb, 0.0, 0.0, cv2.THRESH_TRUNC, dst=ground_cb)
    ground_tone /= grounds
    ground_tone -= tone
    # Only ever darker: what is warm before a sky is dark by day. What is hardly blue, as a car,
    # is gray.
    cv2.threshold(ground_tone, 0.0, 0.0, cv2.THRESH_TRUNC, dst=ground_tone)
    ground_cr /= grounds
    leaves = strong * rise(ground_cr, LEAF)
    ground_cr *= leaves
    leaves /= grounds
    ground_cb *= leaves
    darker = np.float32(ALONE[0]) - tone
    cv2.threshold(darker, 0.0, 0.0, cv2.THRESH_TRUNC, dst=darker)
    alone: tuple[Any, ...] = darker, np.float32(ALONE[1]), np.float32(ALONE[2])
    for plane, other in zip((ground_tone, ground_cb, ground_cr), alone, strict=True):
        plane -= other
        plane *= found
        plane += other
    ground_tone *= strong
    return [*there, ground_tone, ground_cb, ground_cr, known], of_ground


def _evenness(luma: Plane, square: Plane) -> Plane:
    """(h, w) float32 in (0, 1] of places' mean luma and mean square of it, see `EVEN`."""
    limit = np.float32(EVEN**2)
    even: Plane = limit / (limit + guided.above_zero(square - luma * luma))
    return even * even


def _by_level(luma: NDArray[np.uint8], painted: Plane, even: Plane) -> tuple[Plane, Plane]:
    """(256,) float32 in [0, 1] each: how far a level of luma is a sky's, and how far of what is before it."""
    blue, others = (
        by_level(luma, cv2.convertScaleAbs(one, alpha=255)) for one in (painted * even, 1 - painted)
    )
    share = np.asarray(blue / (blue + others + 255 * FEW * luma.size), np.float32)
    return rise(share, SKY).ravel(), rise(share, GROUND).ravel()


def by_level(luma: NDArray[np.uint8], weight: NDArray[Any]) -> NDArray[np.float64]:
    """(256,) sums of the weights (h, w) of the places whose luma (h, w) is that level or one around it."""
    around = np.ones(2 * LEVELS_AROUND + 1)
    return np.convolve(np.bincount(luma.ravel(), weight.ravel(), 256), around, "same")


def levels(luma: Plane) -> NDArray[np.uint8]:
    """(h, w) uint8 of a luma (h, w) float32 in [0, 1]."""
    return np.asarray(cv2.convertScaleAbs(luma, alpha=255), np.uint8)


def _means(planes: tuple[Plane, ...], side_px: int) -> list[Plane]:
    return [np.asarray(one, np.float32) for one in cv2.split(guided.box(cv2.merge(planes), side_px))]


def _half(values: Plane) -> Plane:
    size = ((values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)

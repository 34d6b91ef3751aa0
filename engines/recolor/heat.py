"""A sky ends where its heat does: a thermal picture's blue is parted from what stands before it by the luma.

A network sees a sky's border a few pixels off, and paints sky into crowns, haze over roofs, and clouds green.
Its blue and what is not blue have a luma each, though, in the picture as it is, whatever the camera's gain: a
luma that is hardly ever blue is not blue anywhere, and gets the color that such luma has nearby; one that is
nearly always blue is sky amid sky. Where both have the same luma nothing is said.
"""

from __future__ import annotations

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
SKY, GROUND = (0.5, 0.8), (0.45, 0.15)
"""Part of a luma's places that are painted sky at which it begins to be sky, or what stands before it, and
from which on it is."""
RADIUS_PX = 6
"""Windows in which colors are looked for, in fours of work pixels."""
FEWEST = 0.02
"""Mean weight of a window at which it says little."""
FOUND, FOUND_SKY = (0.25, 0.55), (0.5, 0.85)
"""Part of what a window knows that is no sky, from which on its color is taken: wires and twigs stand in
nothing but sky, and stay as they are; and the same of sky."""
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
    few = _half(np.asarray(cv2.merge((*planes, guide)), np.float32))
    few = few if halved else _half(few)
    size = (guide.shape[0], guide.shape[1])
    there, ground = _places(*(np.asarray(one, np.float32) for one in cv2.split(few)))
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
    share *= cv2.LUT(_levels(guide), ground)
    share *= rise(cb, SAY)
    darker *= share
    tone += darker
    for plane, wanted in ((cb, other_blue), (cr, other_red)):
        wanted -= plane
        wanted *= share
        plane += wanted


def _places(tone: Plane, cb: Plane, cr: Plane, guide: Plane) -> tuple[list[Plane], Plane]:
    """What is to be done, (h, w) float32 each: how far Cb and Cr move to those of the sky around; how far Y'
    does to that of what stands before it, its Cb and Cr, and how far these are taken; and how far by luma,
    (256,) float32.

    Args:
        tone, cb, cr, guide: (h, w) float32, in fours of work pixels.
    """
    luma = _levels(guide)
    strong = rise(cb, BLUE)
    painted = strong * rise(tone, BRIGHT)
    of_sky, of_ground = _by_level(luma, painted)
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
    found = rise(grounds / (grounds + skies + np.float32(FEWEST)), FOUND)
    found *= rise(tone, LIT)
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
    ground_tone *= strong
    ground_cr /= grounds
    strong *= rise(ground_cr, LEAF)
    ground_cr *= strong
    strong /= grounds
    there += [ground_tone, ground_cb * strong, ground_cr, found]
    return there, of_ground


def _by_level(luma: NDArray[np.uint8], painted: Plane) -> tuple[Plane, Plane]:
    """(256,) float32 in [0, 1] each: how far a level of luma is a sky's, and how far of what is before it."""
    weight = cv2.convertScaleAbs(painted, alpha=255)
    around = np.ones(2 * LEVELS_AROUND + 1)
    blue = np.convolve(np.bincount(luma.ravel(), weight.ravel(), 256), around, "same")
    whole = np.convolve(np.bincount(luma.ravel(), minlength=256), around, "same")
    share = (blue / (255 * whole + 255 * FEW * luma.size)).astype(np.float32)
    return rise(share, SKY).ravel(), rise(share, GROUND).ravel()


def _means(planes: tuple[Plane, ...], side_px: int) -> list[Plane]:
    return [np.asarray(one, np.float32) for one in cv2.split(guided.box(cv2.merge(planes), side_px))]


def _levels(luma: Plane) -> NDArray[np.uint8]:
    return np.asarray(cv2.convertScaleAbs(luma, alpha=255), np.uint8)


def _half(values: Plane) -> Plane:
    size = ((values.shape[1] + 1) // 2, (values.shape[0] + 1) // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)

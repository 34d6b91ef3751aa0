"""What a network paints blue in the shade is green where what has its luma is green in the picture.

Infrared hardly tells a meadow or trees in shade from water, a far valley or a sky, and a network that is torn
between them paints a blue fog over the far end of a meadow whose near end it knows. Both ends have one luma,
though, as a lake has one of its own: blue is believed where what has that luma is no green elsewhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.base_tone import rise
from irchroma.engines.recolor.heat import FEW, by_level, levels

Plane = NDArray[np.float32]

DARK = (0.52, 0.40)
"""Y' shown at which a place begins to be in shade, and from which on it is; what is brighter may be a sky."""
LIT = (0.20, 0.34)
"""The same at which it begins to be a meadow's, and from which on it is: green in the darkest of a forest and
in gaps in its crowns lost rows that a meadow won."""
BLUE = (0.0, 0.02)
"""Cb at which a place begins to count as blue, and from which on it does."""
YELLOW, NO_RED = (0.0, 0.02), (0.0, 0.01)
"""-Cb and -Cr at which one begins to count as green, and from which on it does."""
GREEN = (0.5, 0.75)
"""Part that green has of a luma's blue and green places at which blue begins not to be believed, and from
which on it is not."""
SAY = (0.0, 0.015)
"""Cb at which color that is not believed begins to become green, and from which on it is."""
APART_PX = 8
"""One of so many work pixels each way is counted: of four, a colored frame took 2 % more in place of 1."""


def out_of_fog(
    planes: tuple[Plane, Plane, Plane], guide: Plane, halved: bool, strength: Plane | float = 1.0
) -> None:
    """Move Cb and Cr (h, w) float32 in place to those that green of the same luma has, where dark blue is not
    believed.

    Args:
        planes: Y', Cb and Cr, as they are shown.
        guide: (h, w) float32 luma of the sensor, [0, 1], in whole levels.
        halved: all have half the work size.
        strength: (h, w) float32 or one number, [0, 1]: how far it goes.
    """
    tone, *chroma = planes
    apart = APART_PX // 2 if halved else APART_PX
    luma, counted = levels(guide), (np.ascontiguousarray(plane[::apart, ::apart]) for plane in planes)
    few, (at, cb, cr) = luma[::apart, ::apart], counted
    green = rise(-cb, YELLOW)
    green *= rise(-cr, NO_RED)
    blues, greens = (by_level(few, cv2.convertScaleAbs(one, alpha=255)) for one in (rise(cb, BLUE), green))
    part = np.asarray(greens / (greens + blues + 255 * FEW * few.size), np.float32)
    unbelieved = rise(part, GREEN).ravel()
    if not _share(few, at, cb, unbelieved).any():  # as in most pictures: a third of the work
        return
    share = _share(luma, tone, chroma[0], unbelieved)
    if isinstance(strength, np.ndarray) or strength < 1:
        share *= strength
    whole = greens / 255 + 1e-3
    for plane, one in zip(chroma, (cb, cr), strict=True):
        goal = np.asarray(by_level(few, green * one) / whole, np.float32)
        move: Plane = np.asarray(cv2.LUT(luma, goal), np.float32)
        move -= plane
        move *= share
        plane += move


def _share(luma: NDArray[np.uint8], tone: Plane, cb: Plane, unbelieved: Plane) -> Plane:
    """(h, w) float32 in [0, 1]: how far blue becomes green, by luma and (256,) how far blue of it may."""
    share = np.asarray(cv2.LUT(np.ascontiguousarray(luma), unbelieved), np.float32)
    share *= rise(tone, DARK)
    share *= rise(tone, LIT)
    share *= rise(cb, SAY)
    return share

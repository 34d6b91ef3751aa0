"""What a network in doubt paints as a mean of things is shown as one of them: white snow, green leaves.

Snow, clouds, white walls, sunlit sand and straw are all bright in infrared, and their mean is a pale beige.
Sand and straw are shown darker, more colorful or less red; what is left has three fifths of that color in the
truth of 24 pictures of `val` (Cb, Cr of -0.031, 0.023 for -0.050, 0.031), and snow is brighter there. Leaves
and grass are of many greens, and their mean is grayer than each. Heat tells less: in thermal pictures the
mean of sky and what stands before it is a dark blue, of leaves and walls a brown, of sky and skin a violet.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import guided
from irchroma.engines.recolor.base_tone import rise
from irchroma.engines.recolor.shade import GREEN

Plane = NDArray[np.float32]

SNOW_TONE = (0.52, 0.66)
"""Y' that the network says at which snow begins, and from which on it is."""
SNOW_LUMA = (0.55, 0.75)
"""The same of the sensor's luma."""
SNOW_CHROMA = (0.13, 0.08)
"""The same of the chroma, of Y' in [0, 1]: what is more colorful is rock or sand in the sun."""
SNOW_RED = (0.016, 0.032)
"""The same of Cr: below lie grass and leaves, and between most of a forest's dry leaves and of straw."""
SNOW_YELLOW = (0.0, 0.02)
"""The same of -Cb: below lies what is pink, violet or blue."""
SNOW_LOST = 0.5
"""Part of its color that snow loses. With more, less is met of the hue of snow in the evening sun."""
SNOW_LIFT = 0.6
"""Part of the way to the sensor's luma, where that is brighter."""
LEAF_RED = (0.0, 0.02)
"""-Cr at which leaves and grass begin, and from which on they are."""
LEAF_YELLOW = (0.01, 0.04)
"""The same of -Cb: below lies what is teal or blue."""
LEAF_GAIN = 0.2
"""Part of their chroma that leaves gain: viewers like richer greens, truth is as near without."""
LEAF_BEYOND = (0.0, 0.015)
"""-Cb less `shade.GREEN` times -Cr at which leaves begin to gain, and gain all: what was mint lies below, and
came out neon."""
SKY_TONE = (0.12, 0.35)
"""Y' shown at which heat's blue begins to be a sky's, and from which on it is: later, gaps in crowns
come out pink."""
SKY_BLUE = (0.0, 0.02)
"""Cb at which heat's blue begins, and from which on it is."""
BARK_TONE = (0.2, 0.45)
"""Y' shown up to which heat's brown is that of shaded leaves, without red; from the second on a wall's."""
BROWN = (0.75, 1.05)
"""Cr over -Cb at which heat's brown begins to be a wall's, soil's or skin's, and from which on it is: what
loses its red there loses as much of its yellow, or it came out olive. Most leaves lie below."""
LEAST_YELLOW = 0.001
"""Least -Cb that it is told by."""
PINK, RED = 0.004, 1.6
"""Most Cr of heat where nothing is yellow, and how much more for each part of -Cb: skin, bricks have less."""
OLIVE, OLIVE_RED = (0.0, 0.008), 0.1
"""Cr and so much of -Cb at which yellow begins to be olive, and from which on it is: leaves lie below."""
HOT, SUNLIT = (0.6, 0.8), (0.38, 0.5)
"""Luma of the sensor, and Y' shown, at which olive begins to be a wall's or dry ground's, and from which on
it is."""
SAND, SAND_LOST = 0.35, 0.6
"""Cr of such a wall, at least, over the -Cb that was said, and how much -Cb it loses for what Cr it gains."""


def decide(tone: Plane, cb: Plane, cr: Plane, guide: Plane) -> None:
    """Move Y', Cb and Cr (h, w) float32 in place where they are those of snow or of leaves.

    Args:
        tone, cb, cr: of the network.
        guide: (h, w) float32 luma of the sensor, [0, 1].
    """
    _whiten(tone, cb, cr, guide)
    share = rise(-cr, LEAF_RED)
    share *= rise(-cb, LEAF_YELLOW)
    share *= rise(np.float32(GREEN) * cr - cb, LEAF_BEYOND)
    share *= np.float32(LEAF_GAIN)
    share += np.float32(1)
    cb *= share
    cr *= share


def unmix(tone: Plane, cb: Plane, cr: Plane) -> None:
    """Move a thermal network's Cb and Cr (h, w) float32 in place where they are those of no day: nothing dark
    is blue, leaves in the shade are not brown nor brown walls olive, nothing is violet.

    Args:
        tone: (h, w) float32 Y' that is shown where it is believed.
        cb, cr: of the network.
    """
    kept = rise(tone, SKY_TONE)
    kept -= 1
    kept *= rise(cb, SKY_BLUE)
    kept += 1
    cb *= kept
    cr *= kept
    red: Plane = np.maximum(cr, 0)
    yellow: Plane = np.maximum(-cb, 0)
    hue: Plane = np.maximum(yellow, np.float32(LEAST_YELLOW))
    brown = rise(np.divide(red, hue, out=hue), BROWN)
    left = rise(tone, BARK_TONE)
    red *= left
    np.minimum(cr, red, out=cr)
    brown *= 1 - left
    brown *= yellow
    cb += brown
    most: Plane = np.maximum(-cb, 0)
    most *= np.float32(RED)
    most += np.float32(PINK)
    np.minimum(cr, most, out=cr)


def out_of_olive(tone: Plane, cb: Plane, cr: Plane, guide: Plane) -> None:
    """Move a thermal network's Cb and Cr (h, w) float32 in place where they are the mean of a hot wall and of
    leaves: olive there is sand.

    Args:
        tone: (h, w) float32 Y' that is shown.
        cb, cr: of the network.
        guide: (h, w) float32 luma of the sensor, [0, 1].
    """
    share = rise(guide, HOT)
    if not cv2.countNonZero(share):
        return
    share *= rise(tone, SUNLIT)
    yellow = guided.above_zero(-cb)
    share *= rise(cr + np.float32(OLIVE_RED) * yellow, OLIVE)
    yellow *= np.float32(SAND)
    yellow -= cr
    share *= guided.above_zero(yellow)
    cr += share
    share *= np.float32(SAND_LOST)
    cb += share


def bounds() -> dict[str, float]:
    """All of these numbers by name, the two of a pair as `.._begins` and `.._full`: for the device's twin."""
    pairs = {
        "snow_tone": SNOW_TONE, "snow_luma": SNOW_LUMA, "snow_chroma": SNOW_CHROMA, "snow_red": SNOW_RED,
        "snow_yellow": SNOW_YELLOW, "leaf_red": LEAF_RED, "leaf_yellow": LEAF_YELLOW,
        "leaf_beyond": LEAF_BEYOND, "sky_tone": SKY_TONE, "sky_blue": SKY_BLUE, "bark_tone": BARK_TONE,
        "brown": BROWN, "olive": OLIVE, "hot": HOT, "sunlit": SUNLIT,
    }  # fmt: skip
    told = {
        f"{name}_{end}": pair[place]
        for name, pair in pairs.items()
        for place, end in enumerate(("begins", "full"))
    }
    told |= {"snow_lost": SNOW_LOST, "snow_lift": SNOW_LIFT, "leaf_gain": LEAF_GAIN}
    told |= {"olive_red": OLIVE_RED, "sand": SAND, "sand_lost": SAND_LOST}
    return told | {"pink": PINK, "red": RED, "least_yellow": LEAST_YELLOW}


def _whiten(tone: Plane, cb: Plane, cr: Plane, guide: Plane) -> None:
    share = rise(tone, SNOW_TONE)
    share *= rise(guide, SNOW_LUMA)
    share *= rise(cr, SNOW_RED)
    if not share.any():
        return
    share *= rise(-cb, SNOW_YELLOW)
    share *= rise(np.asarray(cv2.magnitude(cb, cr), np.float32), SNOW_CHROMA)
    brighter: Plane = guide - tone
    np.maximum(brighter, 0, out=brighter)
    brighter *= share
    brighter *= np.float32(SNOW_LIFT)
    tone += brighter
    share *= np.float32(-SNOW_LOST)
    share += np.float32(1)
    cb *= share
    cr *= share

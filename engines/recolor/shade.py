"""What a network paints teal or mint is shown as the green of leaves: both are hardly ever natural.

Of 347 photographs (BSDS500, CamVid, ImageNet samples) at lightness 20 to 50, each twenty degrees of hue
between leaves' 100 and 140 hold 7 to 11 % of the pixels, between skies' and shadows' 240 and 280 3 to 14 %,
and what lies between, 160 to 220, 0.6 to 1.5 %. Infrared hardly tells a meadow in shade from water, and what
is torn between green and blue comes out as their mean. So dark teal moves to the nearer of the two, through
gray in the middle; and mint, which is green enough to be no water, to the green of leaves however bright.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.base_tone import rise

Plane = NDArray[np.float32]

GREEN, BLUE = 2.25, 1.0
"""-Cb / -Cr of the green that teal and mint become (CIELAB hue 129 degrees; with 1.5, 135 degrees, viewers
saw mint and neon in forests), and Cb / -Cr of the blue (250 degrees) from which on nothing moves."""
MINT = (0.01, 0.03)
"""-Cb at which what is too green begins to be no water, and from which on it is leaves however bright."""


def out_of_teal(tone: Plane, cb: Plane, cr: Plane, shade: tuple[float, float]) -> None:
    """Move Cb and Cr (h, w) float32 in place, along Cb = -Cr: all of the way where Y' is below the first of
    `shade`, [0, 1], or the color is mint, and none of teal's from the second on."""
    full, none = shade
    green = np.minimum(cr, 0)
    np.negative(green, out=green)  # how far towards green; red has none of it
    ahead = (cb + np.float32(GREEN) * green) * np.float32(1 / (1 + GREEN))
    move = np.minimum(ahead, np.float32(BLUE) * green - cb)
    np.maximum(move, 0, out=move)
    move *= np.maximum(rise(tone, (none, full)), rise(-cb, MINT))
    cb -= move
    cr += move

"""What a network paints teal in the shade is shown as the green of leaves: dark teal is hardly ever natural.

Of 347 photographs (BSDS500, CamVid, ImageNet samples) at lightness 20 to 50, each twenty degrees of hue
between leaves' 100 and 140 hold 7 to 11 % of the pixels, between skies' and shadows' 240 and 280 3 to 14 %,
and what lies between, 160 to 220, 0.6 to 1.5 %. Infrared hardly tells a meadow in shade from water, and what
is torn between green and blue comes out as their mean. So dark teal moves to the nearer of the two, through
gray in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

GREEN, BLUE = 1.5, 1.0
"""-Cb / -Cr of the green that teal becomes (CIELAB hue 135 degrees), and Cb / -Cr of the blue (250 degrees)
from which on nothing moves."""


def out_of_teal(tone: Plane, cb: Plane, cr: Plane, shade: tuple[float, float]) -> None:
    """Move Cb and Cr (h, w) float32 in place, along Cb = -Cr: all of the way where Y' is below the first of
    `shade`, [0, 1], and none from the second on."""
    full, none = shade
    green = np.minimum(cr, 0)
    np.negative(green, out=green)  # how far towards green; red has none of it
    rise = (cb + np.float32(GREEN) * green) * np.float32(1 / (1 + GREEN))
    move = np.minimum(rise, np.float32(BLUE) * green - cb)
    dark = (np.float32(none) - tone) * np.float32(1 / (none - full))
    np.maximum(move, 0, out=move)
    move *= np.clip(dark, 0, 1, out=dark)
    cb -= move
    cr += move

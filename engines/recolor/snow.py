"""What a network in doubt paints beige where near infrared is bright is snow or a cloud: paler and brighter.

Snow, clouds, white walls, sunlit sand and straw are all bright in infrared, and their mean is a pale beige.
Sand and straw are shown darker, more colorful or less red; what is left has three fifths of that color in the
truth of 24 pictures of `val` (Cb, Cr of -0.031, 0.023 for -0.050, 0.031), and snow is brighter there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.base_tone import rise

Plane = NDArray[np.float32]

TONE = (0.52, 0.66)
"""Y' that the network says at which snow begins, and from which on it is."""
LUMA = (0.55, 0.75)
"""The same of the sensor's luma."""
CHROMA = (0.13, 0.08)
"""The same of the chroma, of Y' in [0, 1]: what is more colorful is rock or sand in the sun."""
RED = (0.016, 0.032)
"""The same of Cr: below lie grass and leaves, and between most of a forest's dry leaves and of straw."""
YELLOW = (0.0, 0.02)
"""The same of -Cb: below lies what is pink, violet or blue."""
LOST = 0.5
"""Part of its color that snow loses. With more, less is met of the hue of snow in the evening sun."""
LIFT = 0.6
"""Part of the way to the sensor's luma, where that is brighter."""


def whiten(tone: Plane, cb: Plane, cr: Plane, guide: Plane) -> None:
    """Move Y', Cb and Cr (h, w) float32 in place where they are those of snow.

    Args:
        tone, cb, cr: of the network.
        guide: (h, w) float32 luma of the sensor, [0, 1].
    """
    share = rise(tone, TONE)
    share *= rise(guide, LUMA)
    share *= rise(cr, RED)
    if not share.any():
        return
    share *= rise(-cb, YELLOW)
    share *= rise(np.hypot(cb, cr), CHROMA)
    brighter: Plane = guide - tone
    np.maximum(brighter, 0, out=brighter)
    brighter *= share
    brighter *= np.float32(LIFT)
    tone += brighter
    share *= np.float32(-LOST)
    share += np.float32(1)
    cb *= share
    cr *= share

"""What a night under the camera's own lamp looks like: calm color in its light, late dusk elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import guided
from irchroma.engines.recolor.base_tone import rise

Plane = NDArray[np.float32]

SHARE = (0.15, 0.35)
"""Unlit share of a picture where night begins and is complete: 97 of 100 NIR pictures by day are below 0.2,
a surveillance camera's own light leaves 0.3 and more unlit."""
COLOR = 0.8
"""Factor on the chroma by night, where networks trained by day know little and colors must stay calm."""
BLUE = 0.03
"""Cb from which nothing of a color is left by night: a lamp lights no sky, and what is blue in its light is a
hot spot on the ground that wanders with the noise."""
DUSK = (0.028, -0.011)
"""Cb and Cr of what no light reaches by night: black by a lamp alone, and late dusk's blue to the eye."""
RADIUS_PX, CONTRAST = 56, 0.1
"""Windows, work pixels, and contrast of luma over which a night's color is evened out: what little a lamp
shows would come out in patches of several colors."""

LAMP, MOON = (-0.085, 0.06), (0.028, -0.016)
"""Cb and Cr of what a lamp lights, and of what it hardly does."""
LAMP_LIGHT, MOON_LIGHT, MOON_DARK = (0.46, 0.74), (0.42, 0.22), (0.12, 0.32)
"""Y' shown at which they begin, and from which on they are all there is; at the latter, black ends."""
LAMP_LIFT = 0.55
"""How much brighter a night under lamps is than its luma, times luma, times what that lacks of 1, squared:
black stays black."""


def lamplit(luma: Plane, said: float = 1.0) -> tuple[Plane, Plane, Plane]:
    """Y', Cb and Cr (h, w) float32, new, of a scene of which nothing but its luma (h, w) float32 is known: as
    if what is warm were lit by lamps; gray before anything was `said`, [0, 1]."""
    lack = 1 - luma
    tone: Plane = luma + np.float32(LAMP_LIFT * said) * luma * lack * lack
    lamp, moon = rise(tone, LAMP_LIGHT), rise(tone, MOON_LIGHT) * rise(tone, MOON_DARK)
    cb, cr = (
        np.float32(said * a) * lamp + np.float32(said * b) * moon for a, b in zip(LAMP, MOON, strict=True)
    )
    return tone, np.asarray(cb, np.float32), np.asarray(cr, np.float32)


def lamps() -> dict[str, float]:
    """All of those numbers by name, for the device's twin."""
    named = {"lamp": LAMP_LIGHT, "moon": MOON_LIGHT, "dark": MOON_DARK}
    told = {
        f"{name}_{end}": pair[place]
        for name, pair in named.items()
        for place, end in enumerate(("begins", "full"))
    }
    told |= {"lamp_cb": LAMP[0], "lamp_cr": LAMP[1], "moon_cb": MOON[0], "moon_cr": MOON[1]}
    return told | {"lamp_lift": LAMP_LIFT}


def lit(
    mean: Plane, unlit: tuple[float, float], night: float, chroma: tuple[Plane, Plane]
) -> tuple[Plane, Plane]:
    """(h, w) float32 chroma: less in unlit places, by night less everywhere, nothing blue where light is, and
    dusk's where none is."""
    dark, full = unlit
    light = np.clip((mean - np.float32(dark)) * np.float32(1 / (full - dark)), 0.0, 1.0)
    if night == 0.0:
        return chroma[0] * light, chroma[1] * light
    blue = np.clip(chroma[0] * np.float32(1 / BLUE), 0, 1)
    share = light * np.float32(1.0 + night * (COLOR - 1.0)) * (1 - np.float32(night) * blue)
    shade = (1 - light) * np.float32(night)
    cb, cr = (plane * share + shade * np.float32(dusk) for plane, dusk in zip(chroma, DUSK, strict=True))
    return np.asarray(cb, np.float32), np.asarray(cr, np.float32)


def evened(planes: tuple[Plane, Plane], guide: Plane, radius_px: int, night: float) -> tuple[Plane, Plane]:
    """Chroma moved by the share `night` towards what a wide neighborhood of like luma has."""
    wide = guided.windows(guide, radius_px)
    made = []
    for plane in planes:
        model = guided.fit(wide, plane, CONTRAST)
        made.append(plane + np.float32(night) * (model.slope * guide + model.offset - plane))
    return made[0], made[1]

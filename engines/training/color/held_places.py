"""Where a pair has nothing of what composites teach, so that an earlier answer may be held there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.training.color.sky_matte import as_bytes, four_bands, leaves_of, roughness, sky_of
from irchroma.engines.training.pictures import Picture

NEAR_PX, SIDE_PX = 12, 256
"""How far the border of a sky reaches in a picture whose longer side is `SIDE_PX`; in larger ones further."""
CROWN_ROUGH, CROWN_PX = 0.05, 9
"""Standard deviation in infrared, mean over such windows, above which leaves are a crown's and not grass."""
MOVED = 2.0 / 255.0
"""Change of a band above which a composite shows something else than its foreground does."""


def held_places(picture: Picture) -> NDArray[np.uint8]:
    """(H, W) uint8 how much of each pixel is held: 0 in skies, at their border and in crowns before them."""
    bands = four_bands(picture)
    reach, near = _with_border(sky_of(picture.rgb, bands))
    deep = cv2.blur(roughness(bands)[1], (CROWN_PX, CROWN_PX)) > CROWN_ROUGH
    _, regions = cv2.connectedComponents((leaves_of(bands) & deep).astype(np.uint8))
    before_sky = np.zeros(regions.max() + 1, np.bool_)
    before_sky[np.unique(regions[near])] = True
    before_sky[0] = False
    crowns = cv2.dilate(before_sky[regions].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return _all_but(near | crowns, reach)


def held_of_composite(made: Picture, pair: Picture) -> NDArray[np.uint8]:
    """(H, W) uint8 how much of each pixel is held: what is of its foreground and apart from what is new.

    Args:
        made: the composite.
        pair: its foreground, whose own held places are known, or else all of it is.
    """
    changes = np.abs(four_bands(made) - four_bands(pair)).max(-1)
    reach, near = _with_border(np.asarray(changes > MOVED, np.bool_))
    unmoved = _all_but(near, reach)
    return unmoved if pair.held is None else np.minimum(unmoved, pair.held)


def _with_border(places: NDArray[np.bool_]) -> tuple[int, NDArray[np.bool_]]:
    """How far the border of places reaches, pixels, and the places with it."""
    reach = round(NEAR_PX * max(1.0, max(places.shape) / SIDE_PX))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return reach, cv2.dilate(places.astype(np.uint8), disc) > 0


def _all_but(free: NDArray[np.bool_], reach_px: int) -> NDArray[np.uint8]:
    """(H, W) uint8 what is not free, softly: a step would be an edge of the tone that is learned."""
    return as_bytes(cv2.GaussianBlur(1.0 - free.astype(np.float32), (0, 0), reach_px / 4.0))

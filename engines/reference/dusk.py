"""A night's tone: how bright the scene lies is the reference's, all else the sensor's.

Only what is large is taken of the reference's tone, so that nothing appears that the sensor does not see,
and none of it darker than dusk, so that nothing vanishes. On it stands the infrared's own detail: a dark sky
is darker than the trees before it, as it is to the sensor.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import registration

Plane = NDArray[np.float32]

SHARE = 0.85
"""Of the way to the reference's tone: what is large and warm stays brighter than what is around it."""
DUSK, BRIGHTER = 0.06, 0.4
"""Least Y' that is taken of a reference, and by how much it may be above the infrared's: what lamps light is
bright, and stays below glare."""
LARGE_PX, SOFT_PX = 6.0, 2.5
"""Gaussian sigmas, at `registration.COARSE_PX`, of what of the infrared is tone and no detail, and of the
reference's tone."""
CRISP, FINE_PX = 0.2, 1.0
"""Share of the infrared's finest detail, Gaussian sigma in work pixels, that is added: the tone curve of dark
places weakens it."""
BLACK, LIFTS, NEAR_PX, LIFT_PX = 0.03, 2, 5, 2.5
"""Y' below which detail would be lost; how often what is around such places is lifted, how far around, and
how softly, at `registration.COARSE_PX`."""


def toned(ycc: Plane, luma: NDArray[np.uint8], given: Plane, share: float) -> Plane:
    """A frame as bright as its reference is, seen from afar; a new array.

    Args:
        ycc: (3, h, w) float32 Y', Cb, Cr as it would be shown without, BT.601 full range.
        luma: (h, w) uint8 infrared.
        given: (h, w) float32 Y' by the reference.
        share: of the change, [0, 1].
    """
    gray, size = luma.astype(np.float32) * np.float32(1 / 255), luma.shape[::-1]
    small = registration.resized(luma, registration.COARSE_PX).shape[::-1]
    seen, wished = (
        cv2.GaussianBlur(cv2.resize(plane, small, interpolation=cv2.INTER_AREA), (0, 0), sigma)
        for plane, sigma in ((gray, LARGE_PX), (given, SOFT_PX))
    )
    wished = seen + np.float32(SHARE) * (np.maximum(wished, np.float32(DUSK)) - seen)
    wished = np.minimum(wished, seen + np.float32(BRIGHTER))
    finest = gray - cv2.GaussianBlur(gray, (0, 0), FINE_PX)
    made = gray + cv2.resize(wished - seen, size) + np.float32(CRISP) * finest
    for _ in range(LIFTS):
        lack = np.maximum(np.float32(BLACK) - made, 0.0)
        lack = cv2.dilate(cv2.resize(lack, small, interpolation=cv2.INTER_AREA), np.ones((NEAR_PX, NEAR_PX)))
        made += cv2.resize(cv2.GaussianBlur(lack, (0, 0), LIFT_PX), size)
    result = ycc.copy()
    result[0] += np.float32(share) * (made - ycc[0])
    return result


def dimmed(ycc: Plane, luma: NDArray[np.uint8], given: Plane, share: float) -> Plane:
    """The same, and colors less strong as far as it is darker, as one light makes them; a new array."""
    result = toned(ycc, luma, given, share)
    result[1:] *= np.clip(result[0] / np.maximum(ycc[0], np.float32(1 / 255)), 0.0, 1.0)
    return result

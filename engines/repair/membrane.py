"""A smooth surface through what is known: the blending of a filled hole with its border.

What a fill is off at the hole's border is spread over the hole and taken off, which is Poisson blending with
the fill's own gradients (Pérez, Gangnet, Blake, Poisson Image Editing, 2003), computed by pulling averages up
a pyramid and pushing them back down where nothing is known.

Reference: Gortler, Grzeszczuk, Szeliski, Cohen, The Lumigraph, SIGGRAPH 1996, section 3.4.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
ENOUGH = 0.999
"""Weight from which a place needs nothing from the coarser level."""


def membrane(values: Plane, weight: Plane) -> Plane:
    """The values where they are known, and a smooth surface between them elsewhere.

    Args:
        values: (H, W) or (H, W, 2) float32; what it holds where the weight is 0 plays no part.
        weight: (H, W) float32, [0, 1], how much each pixel is known.

    Returns:
        The same shape; 0 everywhere where nothing at all is known.
    """
    deep = values.ndim == 3
    sums = values * (weight[..., None] if deep else weight)
    height, width = weight.shape
    least = float(weight.min(initial=1.0))
    if least >= ENOUGH or height * width == 1:
        return np.asarray(sums / np.maximum(weight[..., None] if deep else weight, 1e-12), np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    below_weight = cast(Plane, cv2.resize(weight, size, interpolation=cv2.INTER_AREA))
    below_sums = cast(Plane, cv2.resize(sums, size, interpolation=cv2.INTER_AREA))
    scale = np.minimum(1.0, 4.0 * below_weight) / np.maximum(below_weight, 1e-12)  # one of four is enough
    mean = (
        below_sums / np.maximum(below_weight, 1e-12)[..., None]
        if deep
        else below_sums / np.maximum(below_weight, 1e-12)
    )
    coarse = membrane(np.asarray(mean, np.float32), np.asarray(below_weight * scale, np.float32))
    up = cast(Plane, cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    rest = (1.0 - weight)[..., None] if deep else 1.0 - weight
    return np.asarray(sums + rest * up, np.float32)

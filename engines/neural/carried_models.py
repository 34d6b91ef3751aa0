"""A frame's affine models carried along its motion, in place of making them anew."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.guided import Affine
from irchroma.engines.recolor.recoloring import Models
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import move

Plane = NDArray[np.float32]

MOST_CARRIED = 3
"""Frames in a row whose models are those of a frame before: between two answers of a network that sees every
fourth frame, color is what was said before, moved, and so are the models that put it on the luma. With less,
every fourth frame would be more work than every third: models made before the answer, and again with it."""


class CarriedModels:
    """The models of one video, carried from frame to frame in order; used by one thread.

    Models are two thirds of the work on a picture without its network, and a remap a tenth of that.
    """

    def __init__(self) -> None:
        self._models: Models | None = None
        self._carried = 0

    def forget(self) -> None:
        """What comes next has nothing to do with what was before."""
        self._models = None

    def of(self, seen: Observation, news: bool, make: Callable[[], Models]) -> Models:
        """The models of the next frame, at the size at which its motion was measured.

        Args:
            seen: what the temporal stage saw in it.
            news: its color is not only what the frame before had, moved.
            make: makes them anew.
        """
        glides = seen.gain_jump or seen.luma_levels is not None  # luma, which the models are of
        before = self._models
        if before is None or news or seen.cut or glides or self._carried >= MOST_CARRIED:
            self._models, self._carried = make(), 0
            return self._models
        self._carried += 1
        self._models = moved = _moved(before, seen)
        return moved


def _moved(models: Models, seen: Observation) -> Models:
    if seen.half_area is None or seen.half_source is None:
        return models
    affine = [one for one in (models.tone, *models.chroma) if one is not None]
    planes = [plane for one in affine for plane in (one.slope, one.offset)]
    together = np.asarray(cv2.merge(planes[:4]), np.float32)  # OpenCV moves four as fast as one, two slower
    parts: list[Plane] = list(cv2.split(move(together, seen.half_area, seen.half_source, in_place=True)))
    parts += [move(plane, seen.half_area, seen.half_source) for plane in planes[4:]]
    made = [Affine(slope, offset) for slope, offset in zip(parts[::2], parts[1::2], strict=True)]
    return Models(None if models.tone is None else made[0], (made[-2], made[-1]))

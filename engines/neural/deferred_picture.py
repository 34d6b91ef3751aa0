"""A frame on its way through a colorizer, and its picture, which is put together when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.neural import people
from irchroma.engines.neural.background import Answer
from irchroma.engines.neural.given_picture import Known
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.recoloring import Models, Recoloring
from irchroma.engines.reference.overlay import Scenery
from irchroma.engines.temporal.memory import Observation

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(slots=True)
class InFlight:
    """A frame on its way: what the temporal stage saw in it, then its small color; `halved`: kept at half the
    work size, where the models are anyway (a third of the time, 50 dB); `said`: see `Recoloring.models`;
    `known`: of the picture that it is colored by, where the network looked at the frame."""

    luma: Luma
    work: Luma
    small: Luma
    seen: Observation | None
    halved: bool = False
    ycc: Plane | None = None
    confidence: Plane | None = None
    scenery: Scenery | None = None
    warm: people.Warm | None = None
    cost_s: float = 0.0
    pts_ns: int = 0
    answer: Callable[[], Answer] | None = None
    news: bool = True
    said: float = 1.0
    known: Known | None = None
    models: Models | None = None


class DeferredPicture:
    """A colored frame, put together when it is asked for, in the form that is asked for.

    Attributes:
        confidence: (h, w) uint8 at work size or half of it, 255 = sure.
    """

    def __init__(self, recoloring: Recoloring, job: InFlight, puts_behind: bool) -> None:
        if job.ycc is None or job.confidence is None:
            raise EngineError("the network has not colored this frame")
        self._recoloring = recoloring
        self._parts = (job.luma, job.small, job.ycc, job.confidence, job.halved, job.models)
        self._scenery = job.scenery if puts_behind else None
        self.confidence: Luma | None = np.asarray(cv2.convertScaleAbs(job.confidence, alpha=255.0), np.uint8)

    @cached_property
    def planes(self) -> Planes:
        """Y' (H, W), Cb and Cr, I420 as video encoders take it (see `Recoloring.planes`)."""
        planes = self._recoloring.planes(*self._parts)
        return planes if self._scenery is None else self._scenery.put_behind_video(*planes)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range; the caller's to keep.

        Chroma is of full size, unless `planes` were asked for already, which are then the picture.
        """
        planes = self.__dict__.get("planes")
        if planes is not None:
            return color_space.video_to_rgb(*planes)
        rgb = self._recoloring.apply(*self._parts)
        return rgb if self._scenery is None else self._scenery.put_behind(rgb)

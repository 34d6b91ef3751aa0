"""A network's color steered by references: in every frame, or live in every few, and carried along the motion
in between, as the models that put it on the luma are.

What geometry finds out about a frame is twice the work of a frame without it, and changes slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.work_picture import at_size
from irchroma.engines.reference.overlay import Scenery
from irchroma.engines.reference.steering import BELIEVED_PX, ReferenceSteering
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import MOVING_CAMERA, move
from irchroma.engines.temporal.stage import half_size

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]

FEWEST, EACH_S = 2, 0.03
"""A steered frame stands for as many as an answer of the network does, or so many where that is more, and for
so long for each of these: of 30 a second every second one is steered at least, of 15 every one."""
LONGEST_S = 0.13
STANDS = 0.2
"""Share of the picture that changes from which nothing is believed of how far it has moved."""
PANS = 0.25
"""Share of the picture that moves from which it is the camera: of drawn scenes 0.4 and more do in a pan of a
pixel a frame, though hardly 0.1 changes, and 0.13 where three people walk."""
EDGE, EDGES_PAN = 12, 0.5
"""Levels between neighbors at half size that are an edge, and share of the edges that moves in a pan over
what is plain, such as the sea: 0.75 and more there, 0.25 at most where three people walk through a scene."""


def stands_for_s(color_every: int) -> float:
    """For how long a steered frame stands beside a network that is asked every so many frames."""
    return min(LONGEST_S, EACH_S * max(FEWEST, color_every))


def steered_every(color_every: int, period_s: float) -> int:
    """One of how many frames that are that far apart is steered, where the camera stands."""
    return max(1, math.ceil(stands_for_s(color_every) / period_s))


@dataclass(frozen=True, slots=True)
class Steered:
    """A frame's color by references.

    Attributes:
        ycc: (h, w, 4) float32 with the share that is a reference's, see `Recoloring.apply`; (h, w, 3) where
            no reference is of this scene.
        confidence: (h, w) float32.
        scenery: behind its full-size picture; None for nothing.
        news: it is not only that of the frame before, moved.
    """

    ycc: Plane
    confidence: Plane
    scenery: Scenery | None
    news: bool = True

    @property
    def parts(self) -> tuple[Plane, Plane, Scenery | None, bool]:
        """All of it."""
        return self.ycc, self.confidence, self.scenery, self.news


class SteeredColor:
    """The color of one video by references; frames come in order, and one thread uses it.

    Attributes:
        color_every: frames for which an answer of the network stands; `auto` for one.
    """

    def __init__(self, steering: ReferenceSteering, color_every: int | Literal["auto"] = 1) -> None:
        self.color_every = color_every
        self._steering = steering
        self._last: Steered | None = None
        self._at_ns, self._moved_px = 0, 0.0
        self._sizes: tuple[tuple[int, ...], ...] = ()

    def reset(self) -> None:
        self._last = None
        self._steering.reset()

    def every(
        self, work: Luma, ycc: Plane, confidence: Plane, pts_ns: int, moved_px: float = math.inf
    ) -> Steered:
        """One of those frames that are all steered.

        Args:
            work: (h, w) uint8 at work size.
            ycc: (h, w, 3) float32 of the network, BT.601 full range; not written to.
            confidence: (h, w) float32; not written to.
            pts_ns: its time.
            moved_px: see `ReferenceSteering.lay`.
        """
        ycc, confidence = self._steering.apply(work, ycc, confidence, pts_ns, moved_px)
        if self._steering.share is not None:
            ycc = np.dstack([ycc, self._steering.share])
        return Steered(ycc, confidence, self._steering.scenery)

    def live(
        self,
        seen: Observation,
        work: Luma,
        color: tuple[Plane, Plane, bool],
        size: tuple[int, int],
        pts_ns: int,
    ) -> Steered:
        """One of those frames of which some are.

        Args:
            seen: what the temporal stage saw in it, motion at work size and at half of it.
            work: (h, w) uint8 at work size.
            color: the network's `ycc` and confidence at half the work size, and whether they are news; not
                written to.
            size: at which its color is wanted: the work size, or half of it.
            pts_ns: its time.

        Returns:
            Color that is the caller's to keep and to write to.
        """
        ycc, confidence, news = color
        last, sizes = self._last, (work.shape, size)
        goes_on = sizes == self._sizes and not seen.cut
        pans, speed_px = _motion(seen, work)
        self._moved_px += speed_px if goes_on else math.inf
        if last is not None and goes_on and self._carries(seen, pts_ns, pans):
            self._last = last if last.ycc.shape[2] == 3 else _moved(last, seen, size != work.shape)
        else:
            self._at_ns, self._sizes = pts_ns, sizes
            at_work = at_size(ycc, work.shape), at_size(confidence, work.shape)
            made = self.every(work, *at_work, pts_ns, self._moved_px)
            self._moved_px = 0.0
            small = at_size(made.ycc, size), at_size(made.confidence, size)
            self._last = replace(made, ycc=small[0], confidence=small[1])
        if self._last.ycc.shape[2] == 3:  # not what has been to work size and back
            return Steered(at_size(ycc, size), at_size(confidence, size), None, news)
        return replace(self._last, ycc=self._last.ycc.copy(), confidence=self._last.confidence.copy())

    def _carries(self, seen: Observation, pts_ns: int, pans: bool) -> bool:
        """Whether this frame's color is that of the one before, moved."""
        if seen.gain_jump or seen.active >= MOVING_CAMERA:
            return False
        if pans and self._moved_px >= BELIEVED_PX:
            return False
        frames = self.color_every if isinstance(self.color_every, int) else 1
        return 0 <= pts_ns - self._at_ns < stands_for_s(frames) * 1e9


def _motion(seen: Observation, work: Luma) -> tuple[bool, float]:
    """Whether the camera pans, and how fast what moves does, work pixels since the frame before.

    Where a camera pans, smooth areas do not seem to move; what does has the camera's speed. What is fast,
    while less than a pan as fast moves and edges elsewhere stand, walks: the camera stands.
    """
    if seen.half_moving is None:
        return False, math.inf if seen.active > 0 else 0.0
    share = cv2.countNonZero(seen.half_moving) / math.prod(half_size(work.shape))
    speed_px, pans = seen.speed_px / math.sqrt(share) if share else 0.0, share >= PANS
    if not pans and speed_px >= BELIEVED_PX:
        pans = _edges_that_move(seen, work) >= EDGES_PAN
        speed_px = speed_px if pans else 0.0
    return pans, math.inf if seen.active >= STANDS else speed_px


def _edges_that_move(seen: Observation, work: Luma) -> float:
    """Share of the picture's edges."""
    height, width = half_size(work.shape)
    small = cv2.resize(work, (width, height), interpolation=cv2.INTER_AREA)
    steps = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edges = cv2.compare(steps, EDGE, cv2.CMP_GE)
    moving = cv2.bitwise_and(edges[seen.half_area or np.s_[:, :]], seen.half_moving)
    return cv2.countNonZero(moving) / max(1, cv2.countNonZero(edges))


def _moved(last: Steered, seen: Observation, halved: bool) -> Steered:
    area, source = (seen.half_area, seen.half_source) if halved else (seen.area, seen.source)
    ycc, confidence = (np.asarray(move(one, area, source), np.float32) for one in (last.ycc, last.confidence))
    scenery = last.scenery
    if scenery is not None:
        scenery = scenery.at(np.asarray(move(scenery.share, seen.area, seen.source), np.float32))
    return Steered(ycc, confidence, scenery, news=False)

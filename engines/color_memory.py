"""The color that was gathered for a scene so far, carried along its motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.agreement import trust_reference
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.gain import Curve
from irchroma.engines.motion import move

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]

ANCHOR_WEIGHT = 0.5
"""After a freeze the past weighs this much, in frames, so 0.04 of it is left after three."""
LEAST_CONFIDENCE = 0.05
MOVING_PX = 0.25


@dataclass(frozen=True, slots=True)
class Observation:
    """What the stage saw in one luma frame; goes back into `update` with the network's answer.

    Attributes:
        needs_color: the network should color this frame; where False, `update` may be given None.
        cut: the scene is another one than in the frame before (also true of the first frame).
        held: the camera repeats its picture (FFC or a frozen source): color is held.
        gain_jump: the camera's gain changed with this frame.
        luma_curve: (256,) uint8 for the full-resolution luma, keeps the displayed brightness through a
            gain jump; None for the identity.
        luma_levels: the same curve before rounding, (256,) float32 in [0, 255], for `gain.shown_luma`,
            which dithers: where a moving curve is rounded, whole areas step at once.
        active: share of the picture that changed, [0, 1].
        speed_px: root mean square motion over the picture, pixels.
        elapsed_s: seconds since the frame before.
        flow: (h, w, 2) float32 pixels (x, y) to where each pixel was in the frame before; None where
            nothing moved.
        trust: (h, w) float32, [0, 1], how far each pixel's past color may be used; None where all of it may.
        shown: (h, w) float32 luma in displayed levels.
        noise: of the sensor, gray levels.
        anchor: past color may weigh little, as the camera was frozen just before.
    """

    needs_color: bool
    cut: bool
    held: bool
    gain_jump: bool = False
    luma_curve: Luma | None = None
    luma_levels: Curve | None = None
    active: float = 0.0
    speed_px: float = 0.0
    elapsed_s: float = 0.0
    flow: Plane | None = None
    trust: Plane | None = None
    shown: Plane | None = None
    noise: float = 0.0
    anchor: bool = False


class ColorMemory:
    """A weighted mean, per piece of the scene, of what the network has said; older answers fade.

    `settle_s` and `settle_moving_s` are the time constants, seconds, with which evidence fades where the
    picture stands still and where it moves.
    """

    def __init__(self, settle_s: float, settle_moving_s: float) -> None:
        self._settle_s = settle_s
        self._settle_moving_s = settle_moving_s
        self.clear()

    def clear(self) -> None:
        """Forget it all."""
        self._color: Plane | None = None  # (h, w, 4): Y', Cb, Cr, weight of the evidence in frames
        self._support: Plane | None = None  # (h, w, 2): displayed luma of that color, confidence

    @property
    def empty(self) -> bool:
        """True before the first `gather`."""
        return self._color is None

    def carry(self, seen: Observation) -> None:
        """Move the color to where its pixels are now, and let its evidence fade."""
        color, support = self._color, self._support
        if color is None or support is None:
            return
        still = np.float32(math.exp(-seen.elapsed_s / self._settle_s))
        fading: Plane | np.float32 = still
        if seen.flow is not None:
            color, support = move(color, seen.flow), move(support, seen.flow)
            moving = np.float32(math.exp(-seen.elapsed_s / self._settle_moving_s))
            speed = cv2.magnitude(seen.flow[..., 0], seen.flow[..., 1])
            fading = np.where(speed > MOVING_PX, moving, still)
        weight = color[..., 3] * fading
        if seen.trust is not None:
            weight *= seen.trust
        if seen.shown is not None:
            weight *= trust_reference(support[..., 0], seen.shown, seen.noise)
        color[..., 3] = np.minimum(weight, ANCHOR_WEIGHT) if seen.anchor else weight
        self._color, self._support = color, support

    def gather(self, seen: Observation, ycc: Plane, confidence: Plane | None) -> None:
        """Add what the network said of this frame, weighted by its confidence."""
        sure = np.ones(ycc.shape[:2], np.float32) if confidence is None else confidence
        shown = np.zeros(ycc.shape[:2], np.float32) if seen.shown is None else seen.shown
        given = np.maximum(sure, np.float32(LEAST_CONFIDENCE))
        if self._color is None or self._support is None or self._color.shape[:2] != ycc.shape[:2]:
            self._color = np.dstack([ycc, given])
            self._support = np.dstack([shown, sure])
            return
        total = self._color[..., 3] + given
        share = (given / total)[..., None]
        self._color[..., :3] += share * (ycc - self._color[..., :3])
        self._color[..., 3] = total
        self._support += share * (np.dstack([shown, sure]) - self._support)

    def recall(self) -> tuple[Plane, Plane]:
        """(h, w, 3) float32 `ycc` and (h, w) float32 confidence, the caller's to keep.

        Raises:
            EngineOptionError: nothing was gathered yet.
        """
        if self._color is None or self._support is None:
            raise EngineOptionError("the first frame of a scene needs the network's color, got none")
        return self._color[..., :3].copy(), self._support[..., 1].copy()

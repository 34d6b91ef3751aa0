"""The color that was gathered for a scene so far, carried along its motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.temporal.agreement import trust_reference
from irchroma.engines.temporal.gain import Curve
from irchroma.engines.temporal.motion import Area, move

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]

ANCHOR_WEIGHT = 0.5
"""After a freeze the past weighs this much, in frames, so 0.04 of it is left after three."""
LEAST_CONFIDENCE = 0.05
LEAST_TRUST = 0.02
"""Of an answer that was carried to another surface: nothing beside any other, but better than none."""
SETTLE_MOVING_S = 0.25
"""`settle_s` of a pixel that moves, shorter since every warp blurs a little."""
JUMP_SHARE = 0.3
"""Weight of an answer in the frame of a gain jump, whose luma was mended by an estimated curve."""
BLEND_SCALE = np.float32(1000.0)
"""Sum of OpenCV's blend weights: it adds 1e-5 to the divisor, which would darken a little in every frame."""
TREMBLE = 0.03
"""Sum of |change| of Y', Cb, Cr (8 levels of 255) below which an answer of the network is no news."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the stage saw in one luma frame; goes back into `update` with the network's answer.

    Attributes:
        needs_color: the network should color this frame; where False, `update` may be given None.
        cut: the scene is another one than in the frame before (also true of the first frame).
        held: the camera repeats its picture (FFC or a frozen source): color is held.
        gain_jump: the camera's gain changed with this frame.
        luma_levels: (256,) float32 in [0, 255], a curve for the full-resolution luma that keeps the displayed
            brightness through a gain jump; None for the identity. `gain.shown_luma` dithers it: where a
            moving curve is rounded, whole areas step at once.
        active: share of the picture that changed, [0, 1].
        speed_px: root mean square motion over the picture, pixels.
        elapsed_s: seconds since the frame before.
        area, source, half_area, half_source, half_moving: as in `motion.Motion`; None where nothing moved.
        trust: (hh, hw) float32, [0, 1], how far each pixel's past color may be used, at half size; None
            where all of it may.
        tolerance: (hh, hw) float32 gray levels, of `agreement.Agreement.trust`.
        shown: (hh, hw) float32 luma in displayed levels, at half size.
        anchor: past color may weigh little, as the camera was frozen just before.
        frames: that the network's answer to this frame stands for, see `schedule.ColorSchedule`.
    """

    needs_color: bool
    cut: bool
    held: bool
    gain_jump: bool = False
    luma_levels: Curve | None = None
    active: float = 0.0
    speed_px: float = 0.0
    elapsed_s: float = 0.0
    area: Area | None = None
    source: Plane | None = None
    half_area: Area | None = None
    half_source: Plane | None = None
    half_moving: Luma | None = None
    trust: Plane | None = None
    tolerance: Plane | None = None
    shown: Plane | None = None
    anchor: bool = False
    frames: int = 1


def _at(planes: Plane, size: tuple[int, int]) -> Plane:
    """(h, w, C) at another size."""
    way = cv2.INTER_AREA if size[0] < planes.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(planes, size[::-1], interpolation=way), np.float32)


class ColorMemory:
    """A weighted mean, per piece of the scene, of what the network has said; older answers fade.

    `settle_s` is the time constant, seconds, with which evidence fades where the picture stands still.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self.clear()

    def clear(self) -> None:
        """Forget it all."""
        self._color: Plane | None = None  # (h, w, 3): Y', Cb, Cr
        # (hh, hw, 3) at half size: evidence in frames, the displayed luma that it belongs to, confidence
        self._support: Plane | None = None

    def resize(self, color_size: tuple[int, int], half: tuple[int, int]) -> None:
        """Go on with color of (h, w) and evidence of (hh, hw), made of what was gathered at other sizes."""
        if self._color is not None and self._support is not None:
            self._color, self._support = _at(self._color, color_size), _at(self._support, half)

    @property
    def empty(self) -> bool:
        """True before the first `gather`."""
        return self._color is None

    def carry(self, seen: Observation) -> None:
        """Move the color to where its pixels are now, and let its evidence fade."""
        color, support = self._color, self._support
        if color is None or support is None:
            return
        whole = color.shape[:2] != support.shape[:2]  # color may be kept at half size, where evidence is
        area, source = (seen.area, seen.source) if whole else (seen.half_area, seen.half_source)
        self._color = move(color, area, source, in_place=True)
        support = move(support, seen.half_area, seen.half_source, in_place=True)
        weight, luma = cv2.extractChannel(support, 0), cv2.extractChannel(support, 1)
        still = math.exp(-seen.elapsed_s / self._settle_s)
        weight *= np.float32(still)
        if seen.half_moving is not None and seen.half_area is not None:
            faster = math.exp(-seen.elapsed_s / SETTLE_MOVING_S) / still
            weight[seen.half_area] *= 1.0 + seen.half_moving * np.float32((faster - 1.0) / 255.0)
        if seen.trust is not None:
            weight *= seen.trust
        if seen.shown is not None and seen.tolerance is not None:
            weight *= trust_reference(luma, seen.shown, seen.tolerance)
        if seen.anchor:
            weight = np.minimum(weight, ANCHOR_WEIGHT)
        cv2.insertChannel(weight, support, 0)
        self._support = support

    def gather(
        self,
        seen: Observation,
        ycc: Plane,
        confidence: Plane | None,
        trust: Plane | None = None,
        frames: int = 0,
    ) -> None:
        """Add what the network said of this frame, weighted by its confidence and the frames it stands for:
        asked seldom, it would else have little evidence, and every tremble of its answers would show.

        Args:
            seen: the frame.
            ycc, confidence: as of `TemporalStage.update`.
            trust: (hh, hw) float32, [0, 1]: how far an answer that was given to an older frame and carried
                here belongs to this one; None for fully.
            frames: that it stands for; 0 for what the observation says.
        """
        if seen.shown is None:
            raise EngineError("the temporal stage has not been shown this frame")
        shown = seen.shown
        size = (shown.shape[1], shown.shape[0])
        sure = np.ones_like(shown)
        if confidence is not None:
            sure = np.asarray(cv2.resize(confidence, size, interpolation=cv2.INTER_AREA), np.float32)
        given = np.maximum(sure, np.float32(LEAST_CONFIDENCE))
        given *= np.float32(frames or seen.frames)
        if seen.gain_jump:
            given *= np.float32(JUMP_SHARE)
        if trust is not None:
            given *= np.maximum(trust, np.float32(LEAST_TRUST))
        support = np.asarray(cv2.merge([given, shown, sure]), np.float32)
        if self._color is None or self._support is None or self._color.shape != ycc.shape:
            self._color, self._support = ycc.copy(), support
            return
        weight = np.asarray(cv2.extractChannel(self._support, 0), np.float32)
        total = weight + given
        share = given / total * _significance(ycc, self._color, weight)
        if share.shape != ycc.shape[:2]:
            wide = cv2.resize(share, ycc.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            share = np.asarray(wide, np.float32)
        share *= BLEND_SCALE
        self._color = np.asarray(cv2.blendLinear(ycc, self._color, share, BLEND_SCALE - share), np.float32)
        self._support = np.asarray(cv2.blendLinear(support, self._support, given, weight), np.float32)
        cv2.insertChannel(total, self._support, 0)

    def recall(self) -> tuple[Plane, Plane]:
        """(h, w, 3) float32 `ycc` and (h, w) float32 confidence, the caller's to keep.

        Raises:
            EngineOptionError: nothing was gathered yet.
        """
        if self._color is None or self._support is None:
            raise EngineOptionError("the first frame of a scene needs the network's color, got none")
        sure = cv2.extractChannel(self._support, 2)
        size = (self._color.shape[1], self._color.shape[0])
        sure = cv2.resize(sure, size, interpolation=cv2.INTER_LINEAR)
        return self._color.copy(), np.asarray(sure, np.float32)


def _significance(ycc: Plane, color: Plane, weight: Plane) -> Plane:
    """(hh, hw) float32, [0.1, 1]: how far news that differ little from much evidence move the color at all.

    A network's answers on a still scene tremble by fractions of a level, and following each of them
    makes the 8-bit output step somewhere in every frame.
    """
    news = cv2.transform(cv2.absdiff(ycc, color), np.full((1, 3), 1.0 / TREMBLE, np.float32))
    news = cv2.resize(news, weight.shape[::-1], interpolation=cv2.INTER_AREA)
    early = np.float32(3.0) / np.maximum(weight, np.float32(0.1))
    return np.asarray(np.clip(np.maximum(news, early), 0.1, 1.0), np.float32)

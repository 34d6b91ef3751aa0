"""Color that stands still: the causal temporal stage between a network and the upsampling of its color.

`TemporalOptions` is what a user may choose of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.temporal.agreement import Agreement, trust_moving_edges
from irchroma.engines.temporal.cuts import is_cut
from irchroma.engines.temporal.gain import (
    BrightnessKeeper,
    Curve,
    GainChange,
    apply_to_work,
    measure_change,
    uncertainty,
)
from irchroma.engines.temporal.memory import ColorMemory, Observation
from irchroma.engines.temporal.motion import SMALLEST_PX, Motion, MotionEstimator, MotionSearch, keep_where
from irchroma.engines.temporal.schedule import ColorSchedule


@dataclass(frozen=True, slots=True)
class TemporalOptions:
    """What a user may choose of the temporal stage; all times in seconds.

    Attributes:
        settle_s: time constant of a still pixel's color: after a change of the network's mind it has
            moved by 63 % in this time, whatever the frame rate and however many frames were dropped.
        gain_settle_s: time in which the displayed brightness lets in 63 % of a gain jump.
        steady_brightness: undo gain jumps of the camera in the displayed luma.
        color_every: run the network every n-th frame, or `auto`: as seldom as the scene allows.
        half_color: where the frame is so large that its color is modeled at half the work size, keep it at
            that size: a third of the time, and 50 dB from the other way. GPUs keep all of it.
        device_motion: a GPU that colors searches for the motion too; False: OpenCV does, on the CPU, and the
            color is carried along the very same motion as without a GPU.
    """

    settle_s: float = 1.5
    gain_settle_s: float = 4.0
    steady_brightness: bool = True
    color_every: int | Literal["auto"] = 1
    half_color: bool = True
    device_motion: bool = True

    def __post_init__(self) -> None:
        for name in ("settle_s", "gain_settle_s"):
            if not getattr(self, name) > 0:
                raise EngineOptionError(f"{name} must be above 0 seconds, got {getattr(self, name)!r}")
        every = self.color_every
        if every != "auto" and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise EngineOptionError(f"color-every must be auto or a whole number from 1, got {every!r}")


Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]

ANCHOR_FRAMES = 3
FREEZE_S = 0.15
"""A repetition shorter than this is a duplicated frame, not a freeze."""
FORGET_S = 2.0
"""A gap in time after which the past is forgotten."""


class TemporalStage:
    """Steadies one video's small color: warps the last color along the motion and blends the new one in.

    Call `observe` with each luma frame, color it if asked to, then `update` in the same order; `observe`
    may be some frames ahead. Causal: no frame waits for the next one. Per pixel the blend is a weighted
    mean of all that the network has said about this piece of the scene, older answers counting less; a
    pixel whose luma does not agree with where it came from (uncovered, a new object) loses its past and
    gets its own color at once.

    One stage per video, used by one thread. Arrays that are returned are the caller's to keep.

    Attributes:
        carries_half: `update` is given color at half size (see `half_size`), so that no other motion is
            needed; may change between frames.
    """

    def __init__(self, options: TemporalOptions | None = None, search: MotionSearch | None = None) -> None:
        """Args:
        options: what a user chose.
        search: finds the motion; None for OpenCV's on the CPU. One that leaves it on a device leaves
            `Observation.half_source` out, so that `update` is that device's business too.
        """
        self.options = options or TemporalOptions()
        self.carries_half = False
        self._motion = MotionEstimator(search)
        self._agreement = Agreement()
        self._brightness = BrightnessKeeper(self.options.gain_settle_s)
        self._schedule = ColorSchedule(self.options.color_every, min(0.6, self.options.settle_s))
        self._memory = ColorMemory(self.options.settle_s)
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is treated as the first."""
        self._restart()
        self._luma: Luma | None = None
        self._half: Luma | None = None
        self._pts_ns = 0
        self._number = -1
        self._memory.clear()

    def forget_color(self) -> None:
        """A new scene has begun, and the network has said nothing of it yet."""
        self._memory.clear()

    def _restart(self) -> None:
        self._brightness.reset()
        self._agreement.reset()
        self._held_s = 0.0
        self._anchor_frames = 0
        self._schedule.restart()

    def ask_every(self, every: int | Literal["auto"]) -> None:
        """From the next frame on, ask for the network's color every n-th frame; see `TemporalOptions`."""
        self._schedule.every = every

    def resize(self, size: tuple[int, int]) -> None:
        """Frames come at another work size (h, w) from now on: what is known goes on at that size."""
        before = self._luma
        if before is None or before.shape == size:
            return
        half = half_size(size)
        self._luma = cast(Luma, cv2.resize(before, size[::-1], interpolation=cv2.INTER_AREA))
        self._half = _half(self._luma)
        self._agreement.resize()
        self._memory.resize(half if self.carries_half else size, half)

    def observe(self, luma: Luma, pts_ns: int, held: bool = False) -> Observation:
        """Compare a frame with the one before.

        Args:
            luma: (h, w) uint8 Y' at work size, as the camera (or the tone map) gives it; kept until the
                next call, so not to be written to.
            pts_ns: presentation time in nanoseconds.
            held: the camera says that it repeats its picture.
        """
        return self._observe(luma, (luma.shape[0], luma.shape[-1]), None, pts_ns, held)

    def observe_half(self, half: Luma, size: tuple[int, int], pts_ns: int, held: bool = False) -> Observation:
        """As `observe`, of a frame of which nobody needs the luma at work size here.

        Args:
            half: (hh, hw) uint8, see `half_size`; kept until the next call, so not to be written to.
            size: (h, w), work size.
            pts_ns: presentation time in nanoseconds.
            held: the camera says that it repeats its picture.
        """
        return self._observe(half, size, half, pts_ns, held)

    def _observe(
        self, luma: Luma, size: tuple[int, int], half: Luma | None, pts_ns: int, held: bool
    ) -> Observation:
        if luma.ndim != 2 or luma.dtype != np.uint8:
            raise EngineOptionError(f"expected (h, w) uint8 luma, got {luma.shape} {luma.dtype}")
        self._number += 1
        before, half_before = self._luma, self._half
        elapsed_s = (pts_ns - self._pts_ns) / 1e9
        self._pts_ns = pts_ns
        if before is not None and half_before is not None and before.shape == luma.shape and elapsed_s >= 0:
            if held or self._agreement.repeats(before, luma):
                self._held_s += elapsed_s
                shown, levels = self._shown(half_before), self._levels()
                return Observation(
                    needs_color=False,
                    cut=False,
                    held=True,
                    luma_levels=levels,
                    elapsed_s=elapsed_s,
                    shown=shown,
                )
            half = _half(luma) if half is None else half
            if elapsed_s < FORGET_S or self._held_s > 0:
                seen = self._compare(half_before, half, size, elapsed_s + self._held_s)
                if seen is not None:
                    self._luma, self._half = luma, half
                    return seen
        self._restart()
        self._luma, self._half = luma, _half(luma) if half is None else half
        shown = self._half.astype(np.float32)
        return Observation(needs_color=True, cut=True, held=False, active=1.0, shown=shown)

    @property
    def has_color(self) -> bool:
        """False until the network has said something of this scene."""
        return not self._memory.empty

    def update(
        self,
        seen: Observation,
        ycc: Plane | None,
        confidence: Plane | None = None,
        cost_s: float = 0.0,
        trust: Plane | None = None,
        frames: int = 0,
    ) -> tuple[Plane, Plane]:
        """Blend the network's color of the observed frame with what was gathered before.

        Args:
            seen: what `observe` said of this frame.
            ycc: (h, w, 3) float32 Y', Cb, Cr from the network, or at half size (hh, hw, 3), one or the other
                throughout; None where it was skipped.
            confidence: (h, w) float32, [0, 1], at the same size; None for sure everywhere.
            cost_s: seconds that the network took for it, where `auto` is to mind them.
            trust: of an answer that was given to an older frame, see `ColorMemory.gather`.
            frames: that the answer stands for; 0 for those since the last frame that was to be colored.

        Returns:
            (h, w, 3) float32 steadied `ycc` and (h, w) float32 confidence.

        Raises:
            EngineOptionError: no color was given and there is no past to take it from.
        """
        if cost_s > 0.0:
            self._schedule.note_cost(cost_s)
        if seen.cut:
            self._memory.clear()
        if not seen.held or self._memory.empty:
            self._memory.carry(seen)
            if ycc is not None:
                self._memory.gather(seen, ycc, confidence, trust, frames)
        return self._memory.recall()

    def _compare(
        self, half_before: Luma, half: Luma, size: tuple[int, int], elapsed_s: float
    ) -> Observation | None:
        """The observation of a frame that goes on from the one before; None after a cut."""
        change, motion, leveled = self._gain_and_motion(half_before, half, size)
        if is_cut(half_before, leveled, motion):
            return None
        self._brightness.advance(elapsed_s)
        if change is not None:
            self._brightness.undo(change.curve)
        predicted = motion.moved(half_before)
        trust, tolerance = self._agreement.trust(predicted, leveled, uncertainty(half, change))
        if motion.half_area is not None and motion.occluded is not None and motion.half_moving is not None:
            part = keep_where(cast(Luma, cv2.bitwise_not(motion.occluded)), trust[motion.half_area])
            trust[motion.half_area] = part * trust_moving_edges(half[motion.half_area], motion.half_moving)
        thawed = self._held_s >= FREEZE_S
        self._held_s = 0.0
        if thawed:
            self._anchor_frames = ANCHOR_FRAMES
        new = float(np.count_nonzero(cv2.dilate(trust, np.ones((3, 3), np.uint8)) < 0.5)) / trust.size
        anchor = self._anchor_frames > 0
        urgent = change is not None or anchor
        needs = self._schedule.needs_color(self._number, elapsed_s, new, motion.speed_px, urgent)
        if needs:
            self._anchor_frames = max(0, self._anchor_frames - 1)
        return Observation(
            needs_color=needs,
            cut=False,
            held=False,
            gain_jump=change is not None,
            luma_levels=self._levels(),
            active=motion.active,
            speed_px=motion.speed_px,
            elapsed_s=elapsed_s,
            area=motion.area,
            source=motion.source,
            half_area=motion.half_area,
            half_source=motion.half_source,
            half_moving=motion.half_moving,
            trust=trust,
            tolerance=tolerance,
            shown=self._shown(half),
            anchor=anchor,
            frames=self._schedule.frames if needs else 1,
        )

    def _gain_and_motion(
        self, before: Luma, now: Luma, size: tuple[int, int]
    ) -> tuple[GainChange | None, Motion, Luma]:
        """The gain jump if there was one, the motion, and `now` with that jump taken out."""
        measured = measure_change(before, now)
        change = _accepted(measured)
        leveled = now if change is None else apply_to_work(now, change.curve)
        changed = self._agreement.changed(before, leveled, uncertainty(now, change))
        motion = self._motion.estimate(before, leveled, changed, size, not self.carries_half)
        if measured is not None and change is None and motion.active > 0.3 and measured.strength > 1.0:
            # A jump in the middle of a pan is clear only once the frames lie on each other.
            change = _accepted(measure_change(motion.moved(before), now))
            if change is not None:
                leveled = apply_to_work(now, change.curve)
                changed = self._agreement.changed(before, leveled, uncertainty(now, change))
                motion = self._motion.estimate(before, leveled, changed, size, not self.carries_half)
        return change, motion, leveled

    def _shown(self, luma: Luma) -> Plane:
        """(hh, hw) float32: the luma in displayed levels, whether or not the display is steadied."""
        curve = self._brightness.curve
        return luma.astype(np.float32) if curve is None else cast(Plane, cv2.LUT(luma, curve))

    def _levels(self) -> Curve | None:
        return self._brightness.curve if self.options.steady_brightness else None


def _accepted(change: GainChange | None) -> GainChange | None:
    return change if change is not None and change.is_jump else None


def _half(luma: Luma) -> Luma:
    """(h/2, w/2) uint8, or the picture itself where half of it would be too small for motion."""
    size = half_size((luma.shape[0], luma.shape[1]))
    half = luma if size == luma.shape else cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA)
    return cast(Luma, half)


def half_size(size: tuple[int, int]) -> tuple[int, int]:
    """(hh, hw) at which frames of work size (h, w) are compared."""
    return size if min(size) < 2 * SMALLEST_PX else (size[0] // 2, size[1] // 2)

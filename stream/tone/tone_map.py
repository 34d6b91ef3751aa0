"""The tone map (AGC): sensor counts or 8-bit luma to steady, well spread 8-bit luma.

It has a memory. A reference histogram follows the scene slowly (`settle_s`), so that an object that
comes and goes hardly enters it; only when the picture as a whole changes (its histogram no longer
overlaps the one that the curve was made for: a gain jump, another scene) does it follow fast
(`follow_s`), and at a cut at once. The curve made from it moves only when it is off by more than a
dead band, and in a calm scene no faster than `calm_speed` levels a second. Where the camera's own
gain or offset jumps from one frame to the next, memory and curve jump along, and luma stays as it was.
All times are seconds of pts, whatever the frame rate.

Pumping is measured like this: a static scene, a hot object of known outline entering it and leaving
after some seconds; `pump` is the largest change, at any time and of any background pixel's luma
against the luma of the same pixel before the object came, in levels of 255 (sensor noise left out).
For an object of 5 % of the picture, 8 times the scene's own range hotter, that stays for 10 s, pump
is at most 1 level with linear and plateau (it measures 0); limits set by each frame's own percentiles
pump by more than 150 (tests/stream/tone/test_tone_map.py). CLAHE is local and has no memory of its own: its
background moves by less than half a level on average, but by 4 to 10 right beside the object.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.tone.curves import Curve, linear_curve, plateau_curve, quantiles, span_curve
from irchroma.stream.tone.gain_jump import find_gain_jump
from irchroma.stream.tone.memory import SceneMemory, Step
from irchroma.stream.tone.options import Method, ToneMapOptions

SAMPLE = 16384
"""About as many pixels of a frame are looked at, on a fixed grid."""
JUMP_STEP = 11
"""Of these pixels, every so many are compared with the last frame's."""
_LUT16 = int(cv2.__version__.split(".")[0]) >= 5  # cv2.LUT takes 16-bit indices from OpenCV 5 on


class ToneMap:
    """Turns frames into luma. One per stream; called from one thread, except `lock` and `unlock`."""

    def __init__(self, options: ToneMapOptions | None = None) -> None:
        self.options = options or ToneMapOptions()
        self._locked = False
        self._clahe = cv2.createCLAHE(clipLimit=self.options.clahe_clip, tileGridSize=(8, 8))
        self.reset()

    def reset(self) -> None:
        """Forget the scene; the next frame sets the curve at once. A lock stays on for what follows."""
        self._memory: SceneMemory | None = None
        self._sample: NDArray[np.float32] | None = None
        self._curve: Curve | None = None
        self._lut: NDArray[np.uint8] | None = None
        self._size: tuple[int, ...] | None = None
        self._last_ns = 0
        self._gliding = False

    def lock(self) -> None:
        """Hold the curve as it is (or as the first frame makes it) until `unlock`."""
        self._locked = True

    def unlock(self) -> None:
        """Follow the scene again."""
        self._locked = False

    @property
    def locked(self) -> bool:
        """True while the curve is held."""
        return self._locked

    @property
    def limits(self) -> tuple[float, float] | None:
        """The sensor values now aimed at for the ends of the scene; None before a frame or where luma
        is passed on as it is."""
        if self._lut is not None and self.options.span is not None:
            return self.options.span
        return None if self._memory is None else self._memory.limits

    @property
    def lut(self) -> NDArray[np.uint8] | None:
        """(65536,) or (256,) uint8, the curve applied to the last frame (before CLAHE), not to be
        written to; None before the first frame or where luma is passed on as it is."""
        return self._lut

    def method_for(self, dtype: np.dtype[np.generic]) -> Method:
        """What "auto" means for pictures of this type: plateau for counts, none for 8-bit luma."""
        if self.options.method != "auto":
            return self.options.method
        if self.options.span is not None:
            return "linear"
        return "plateau" if dtype == np.uint16 else "none"

    def apply(
        self, pixels: NDArray[np.uint8] | NDArray[np.uint16], pts_ns: int, *, held: bool = False
    ) -> NDArray[np.uint8]:
        """Luma of one frame.

        Args:
            pixels: (H, W) uint8 luma or uint16 counts, not written to. Another size or type than the
                last frame's starts afresh.
            pts_ns: the frame's time in nanoseconds; a step back starts afresh.
            held: the camera repeats a picture (FFC): nothing is learned from it.

        Returns:
            (H, W) uint8 luma, full range; `pixels` itself where 8-bit luma is passed on as it is.

        Raises:
            StreamOptionError: "none" was asked for and counts came: 16 bits are never cut to 8.
        """
        method = self.method_for(pixels.dtype)
        if method == "none":
            if pixels.dtype == np.uint8:
                return pixels.astype(np.uint8, copy=False)
            raise StreamOptionError(
                "tone map none passes on 8-bit luma, this source gives 16-bit counts:"
                " use plateau, linear, clahe or a span"
            )
        if (*pixels.shape, pixels.itemsize) != self._size or pts_ns < self._last_ns:
            self.reset()
            self._size = (*pixels.shape, pixels.itemsize)
        self._last_ns = pts_ns
        if self._lut is None or not (held or self._locked or self.options.span is not None):
            self._learn(pixels, pts_ns, method)
        luma = self._look_up(pixels)
        return np.asarray(self._clahe.apply(luma), np.uint8) if method == "clahe" else luma

    def _look_up(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        assert self._lut is not None
        if pixels.dtype == np.uint8 or _LUT16:
            return np.asarray(cv2.LUT(pixels, self._lut), np.uint8)
        return np.take(self._lut, pixels)

    def _learn(self, pixels: NDArray[np.uint8] | NDArray[np.uint16], pts_ns: int, method: Method) -> None:
        levels = 65536 if pixels.dtype == np.uint16 else 256
        if self.options.span is not None:
            self._adopt(span_curve(*self.options.span, levels))
            return
        step = max(1, math.isqrt(pixels.size // SAMPLE))
        sample = pixels[::step, ::step].ravel()
        seen = np.bincount(sample, minlength=levels).astype(np.float32)
        seen *= np.float32(1 / seen.sum())
        memory = self._memory
        before, self._sample = self._sample, sample[::JUMP_STEP].astype(np.float32)
        if memory is not None and before is not None:
            jump = find_gain_jump(before, self._sample, memory.limits)
            if jump is not None and memory.follow(jump):
                assert self._curve is not None
                self._adopt(jump.remapped(self._curve))
        if memory is None or memory.is_cut(seen):
            self._memory, self._gliding = SceneMemory(self.options, seen, pts_ns), False
            self._adopt(self._target(self._memory, method))
            return
        allowed = memory.learn(seen, pts_ns)
        if allowed is not None:
            self._glide(memory, self._target(memory, method), allowed)

    def _target(self, memory: SceneMemory, method: Method) -> Curve:
        """The curve that the memory asks for."""
        lo, hi = memory.limits
        if method != "plateau":
            return linear_curve(lo, hi, len(memory.histogram))
        return plateau_curve(
            memory.histogram, lo, hi, plateau=self.options.plateau, linear_share=self.options.linear_share
        )

    def _glide(self, memory: SceneMemory, target: Curve, allowed: Step) -> None:
        """Move the curve towards its target as far as allowed, or not at all within the dead band."""
        assert self._curve is not None
        at = quantiles(memory.histogram, np.linspace(0.01, 0.99, 33)).astype(np.intp)
        off = float(np.abs(target[at] - self._curve[at]).max())
        self._gliding = off > (1.0 if self._gliding else self.options.dead_band)
        if not self._gliding:
            memory.settle()
            return
        share = min(allowed.share, allowed.furthest / off)
        self._adopt(cv2.addWeighted(self._curve, 1 - share, target, share, 0).ravel())

    def _adopt(self, curve: Curve) -> None:
        self._curve = curve
        self._lut = np.rint(curve).astype(np.uint8)

"""The tone map (AGC): sensor counts or 8-bit luma to steady, well spread 8-bit luma.

It has a memory. A reference histogram follows the scene slowly (`SETTLE_S`), so that an object that
comes and goes hardly enters it; only when the picture as a whole changes (its histogram no longer
overlaps the one that the curve was made for: a gain jump, another scene) does it follow fast
(`FOLLOW_S`), and where hardly a value is known, at once. The curve made from it moves only when it is off
by more than a dead band, and in a calm scene no faster than `CALM_SPEED` levels a second. Where the
camera's own gain or offset jumps from one frame to the next, memory and curve jump along, and luma stays
as it was, unless that one jump takes a dim 8-bit picture to one that needs no lift: a lamp, shown as it is.
So is what follows dim frames at once without a jump, as where a camera's own contrast settles.
A scene that comes back soon (`RETURN_NS`) after another, such as black frames, has its curve of before.
All times are seconds of pts, whatever the frame rate.

It knows the sensor's noise: no value is amplified so far that noise exceeds `NOISE_LEVELS` levels of luma
(standard deviation). Where a scene has little more than noise to show, its contrast is given up rather.
Stripes that are found in counts are taken out first. Luma that comes in 8 bits goes out as it came, unless
the picture is dim or flat: then it is spread, with the same memory and the same bound on noise.

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
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError, StreamOptionError
from irchroma.stream.tone.curves import (
    HEIGHT,
    Curve,
    lift_share,
    lifted_curve,
    linear_curve,
    plateau_curve,
    quantiles,
    span_curve,
)
from irchroma.stream.tone.gain_jump import GainJump, find_gain_jump
from irchroma.stream.tone.memory import CALM, DEAD_BAND, CurveStep, Histogram, SceneMemory
from irchroma.stream.tone.options import Method, ToneMapOptions
from irchroma.stream.tone.remembering import as_arrays, from_arrays
from irchroma.stream.tone.sensor_noise import NoiseMeter, StripeRemoval

SAMPLE = 16384
"""About as many pixels of a frame are looked at, on a fixed grid."""
NOISE_LEVELS = 3.5
"""Largest standard deviation, in levels of luma, that the sensor's noise may be amplified to; contrast ends
where more of it would only show noise."""
CLAHE_CLIP = 1.5
"""CLAHE's contrast limit."""
LIFTED_SPAN = 72.0
"""Levels of an 8-bit picture that are spread over the whole range at most."""
AS_IT_IS: Curve = np.arange(256, dtype=np.float32)
"""The curve of 8-bit luma that is passed on."""
JUMP_STEP = 11
"""Of these pixels, every so many are compared with the last frame's."""
RETURN_NS = 30_000_000_000
"""So long a scene is known again that gave way to another: a camera goes black or white when its filter or
its lamp is switched, or somebody shines into it. One scene is kept, the first of several in a row."""
LIT_FROM = 0.5
"""Of an 8-bit picture that needed so much lift, and none from one frame to the next, a lamp has gone on."""
_LUT16 = int(cv2.__version__.split(".")[0]) >= 5  # cv2.LUT takes 16-bit indices from OpenCV 5 on


def dither(size: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W) uint8 from 0 to 15, white noise that is always the same."""
    return np.random.default_rng(0).integers(0, 16, size, np.uint8)


def dither_tables(curve: Curve) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """What `dither` turns a level into: the least in 64ths of a level, and in 1024ths the width, 1 level
    or what lies between neighboring levels where that is more; (256,) each."""
    width = np.maximum(np.gradient(curve), np.float32(1))
    lowest = np.clip(curve - (width - 1) / 2, 0, 255)
    width = np.minimum(width, np.float32(255.98) - lowest)
    return np.rint(lowest * 64).astype(np.uint16), np.floor(np.minimum(width * 4, 255)).astype(np.uint8)


def _is_lit(before: NDArray[np.float32], seen: Histogram) -> bool:
    """Whether a frame needs no lift by its histogram, and the last one did by its sampled values (n,)."""
    if lift_share(seen) > 0.0:
        return False
    values = np.bincount(before.astype(np.intp), minlength=len(seen)).astype(np.float32)
    return lift_share(values / np.float32(len(before))) >= LIT_FROM


class ToneMap:
    """Turns frames into luma. One per stream; called from one thread, except `lock` and `unlock`."""

    def __init__(self, options: ToneMapOptions | None = None) -> None:
        self.options = options or ToneMapOptions()
        self._locked = False
        self._noise = NoiseMeter()
        self._stripes = StripeRemoval()
        self._clahe = cv2.createCLAHE(clipLimit=CLAHE_CLIP, tileGridSize=(8, 8))
        self.reset()

    def reset(self) -> None:
        """Forget the scene; the next frame sets the curve at once. A lock stays on for what follows."""
        self._memory: SceneMemory | None = None
        self._left: tuple[SceneMemory, NoiseMeter, Curve | None, int] | None = None
        self._noise.reset()
        self._stripes.reset()
        self._sample: NDArray[np.float32] | None = None
        self._curve: Curve | None = None
        self._lut: NDArray[np.uint8] | None = None
        self._size: tuple[int, ...] | None = None
        self._dither: NDArray[np.uint8] | None = None
        self._tables: tuple[NDArray[np.uint16], NDArray[np.uint8]] | None = None
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
        return None if self._memory is None or self._lut is None else self._memory.limits

    @property
    def noise(self) -> float:
        """Standard deviation of the sensor's noise, in sensor values."""
        return self._noise.deviation

    @property
    def lut(self) -> NDArray[np.uint8] | None:
        """(65536,) or (256,) uint8, the curve applied to the last frame (before CLAHE), not to be
        written to; None before the first frame or where luma is passed on as it is."""
        return self._lut

    def method_for(self, dtype: np.dtype[np.generic]) -> Method:
        """What "auto" means for pictures of this type: plateau for counts, lift for 8-bit luma."""
        if self.options.method != "auto":
            return self.options.method
        if self.options.span is not None:
            return "linear"
        return "plateau" if dtype == np.uint16 else "lift"

    def remembered(self) -> dict[str, NDArray[Any]]:
        """All that it knows of the sensor and the scene, as `recall` takes it: arrays of plain numbers."""
        return as_arrays(self)

    def recall(self, remembered: Mapping[str, NDArray[Any]]) -> None:
        """Go on as one with the same options that has remembered this would, to the last bit.

        Raises:
            StreamError: it is no such memory.
        """
        try:
            from_arrays(self, remembered)
        except (KeyError, ValueError, TypeError) as error:
            raise StreamError(f"this is no tone map's memory: {error!r}") from error

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
            StreamOptionError: "none" was asked for and counts came: 16 bits are never cut to 8; or these are
                no such pixels.
        """
        if not isinstance(pixels, np.ndarray):
            found = type(pixels).__name__
        elif pixels.ndim != 2 or pixels.dtype.kind != "u" or pixels.itemsize > 2 or not pixels.size:
            found = f"{pixels.shape} {pixels.dtype}"
        else:
            found = ""
        if found:
            raise StreamOptionError(f"expected (H, W) uint8 luma or uint16 counts, got {found}")
        method = self.method_for(pixels.dtype)
        if method in ("none", "lift") and pixels.dtype != np.uint8:
            raise StreamOptionError(
                f"tone map {method} passes on 8-bit luma, this source gives 16-bit counts:"
                " use plateau, linear, clahe or a span"
            )
        if method == "none":
            return pixels.astype(np.uint8, copy=False)
        if (*pixels.shape, pixels.itemsize) != self._size or pts_ns < self._last_ns:
            self.reset()
            self._size = (*pixels.shape, pixels.itemsize)
        elapsed_s, self._last_ns = (pts_ns - self._last_ns) * 1e-9, pts_ns
        first = self._memory is None and self._lut is None
        learns = first or not (held or self._locked or self.options.span is not None)
        if learns:
            self._noise.look(pixels, elapsed_s)
        if self.options.stripes and pixels.dtype == np.uint16:
            pixels = self._stripes.apply(pixels.astype(np.uint16, copy=False), self.noise, not learns)
        if learns:
            self._learn(pixels, pts_ns, method)
        if self._lut is None:  # 8-bit luma that needs no lift
            return pixels.astype(np.uint8, copy=False)
        luma = self._dithered(pixels) if method == "lift" else self._look_up(pixels)  # type: ignore[arg-type]
        return np.asarray(self._clahe.apply(luma), np.uint8) if method == "clahe" else luma

    def _look_up(self, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        if self._lut is None:
            raise StreamError("the tone map has no curve before its first frame")
        if pixels.dtype == np.uint8 or _LUT16:
            return np.asarray(cv2.LUT(pixels, self._lut), np.uint8)
        return np.take(self._lut, pixels)

    def _dithered(self, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """8-bit luma through the curve, with a dither that stands still in the picture.

        A curve that glides would else move all pixels of one level by a whole level in one frame, and where
        it is steep, levels that lie side by side would be bands: a level's pixels fill the gap. 0.4 ms at
        640x480.
        """
        if self._dither is None or self._dither.shape != luma.shape:
            self._dither = dither(luma.shape)
        if self._tables is None:
            raise StreamError("the tone map has no curve before its first frame")
        lowest, width = self._tables
        shown = cv2.multiply(cv2.LUT(luma, width), self._dither, dtype=cv2.CV_16U)
        shown = cv2.add(shown, cv2.LUT(luma, lowest), dst=shown)
        return np.asarray(np.right_shift(shown, 6, out=shown).astype(np.uint8), np.uint8)

    def _learn(self, pixels: NDArray[np.uint8] | NDArray[np.uint16], pts_ns: int, method: Method) -> None:
        levels = 65536 if pixels.dtype == np.uint16 else 256
        if self.options.span is not None:
            self._adopt(span_curve(*self.options.span, levels))
            return
        memory = self._memory
        as_it_came = method == "lift" and self._curve is None and memory is not None
        if as_it_came and memory is not None and not memory.is_due(pts_ns):
            return
        step = max(1, math.isqrt(pixels.size // SAMPLE))
        sample = pixels[::step, ::step].ravel()
        seen = np.bincount(sample, minlength=levels).astype(np.float32)
        seen *= np.float32(1 / seen.sum())
        before, self._sample = self._sample, sample[::JUMP_STEP].astype(np.float32)
        if self._left is not None and memory is not None and self._returns(memory, seen, pts_ns):
            return
        differs = memory.differs(seen) if memory is not None else 1.0
        if memory is not None and before is not None and not as_it_came:
            jump = find_gain_jump(before, self._sample, memory.limits, levels)
            if method == "lift" and (jump is not None or differs > CALM) and _is_lit(before, seen):
                self._begin(pixels, seen, pts_ns, method)  # it is dim no more
                if jump is None:  # the camera's own contrast, which comes and goes: its dim frames stay so
                    self._left = None
                return
            if jump is not None:
                self._jump(memory, jump)
                differs = memory.differs(seen)
        if memory is None or memory.is_strange(seen, differs):
            self._begin(pixels, seen, pts_ns, method)
            return
        memory.require_span(self._least_span(method))
        allowed = memory.learn(seen, pts_ns)
        if allowed is not None:
            target = self._target(memory, method)
            if target is not None or self._curve is not None:
                self._glide(memory, AS_IT_IS if target is None else target, allowed)

    def _begin(
        self, pixels: NDArray[np.uint8] | NDArray[np.uint16], seen: Histogram, pts_ns: int, method: Method
    ) -> None:
        """A scene of which nothing is known."""
        if self._memory is not None:  # another scene, perhaps another gain of the camera
            if self._left is None:
                self._left = (self._memory, self._noise, self._curve, pts_ns)
            self._noise = NoiseMeter()
            self._noise.look(pixels, 0.0)
        self._memory = SceneMemory(seen, pts_ns, self._least_span(method))
        self._gliding = False
        self._curve = self._lut = None
        target = self._target(self._memory, method)
        if target is not None:
            self._adopt(target)

    def _returns(self, memory: SceneMemory, seen: Histogram, pts_ns: int) -> bool:
        """Whether this frame is of the scene that gave way to another, which is then gone on with."""
        if self._left is None:
            return False
        left, noise, curve, left_ns = self._left
        if pts_ns - left_ns > RETURN_NS:
            self._left = None
            return False
        if memory.differs(seen) < CALM or left.differs(seen) > CALM / 2:
            return False
        left.learned_ns = pts_ns
        self._memory, self._noise, self._left = left, noise, None
        self._gliding = False
        self._curve = self._lut = None
        if curve is not None:
            self._adopt(curve)
        return True

    def _jump(self, memory: SceneMemory, jump: GainJump) -> None:
        """The camera's values have jumped: so do memory, noise and curve."""
        lo, hi = memory.limits
        if not memory.follow(jump):
            return
        self._noise.scale((memory.limits[1] - memory.limits[0]) / (hi - lo))
        if self._curve is not None:
            self._adopt(jump.remapped(self._curve))

    def _least_span(self, method: Method) -> float:
        """Sensor values between the limits, below which a straight line would show too much noise."""
        least = HEIGHT * self.noise / NOISE_LEVELS
        return max(least, LIFTED_SPAN) if method == "lift" else least

    def _target(self, memory: SceneMemory, method: Method) -> Curve | None:
        """The curve that the memory asks for; None for 8-bit luma that is best as it is."""
        lo, hi = memory.limits
        if method in ("linear", "clahe"):
            return linear_curve(lo, hi, len(memory.histogram))
        share = lift_share(memory.histogram) if method == "lift" else 1.0
        if share <= 0.0:
            return None
        curve = plateau_curve(memory.histogram, lo, hi, NOISE_LEVELS / self.noise)
        return lifted_curve(curve, share) if method == "lift" else curve

    def _glide(self, memory: SceneMemory, target: Curve, allowed: CurveStep) -> None:
        """Move the curve towards its target as far as allowed, or not at all within the dead band."""
        curve = AS_IT_IS if self._curve is None else self._curve
        at = quantiles(memory.histogram, np.linspace(0.01, 0.99, 33)).astype(np.intp)
        off = float(np.abs(target[at] - curve[at]).max())
        self._gliding = off > (1.0 if self._gliding else DEAD_BAND)
        if not self._gliding:
            memory.settle()
            return
        share = min(allowed.share, allowed.furthest / off)
        self._adopt(cv2.addWeighted(curve, 1 - share, target, share, 0).ravel())

    def _adopt(self, curve: Curve) -> None:
        self._curve = curve
        self._lut = np.rint(curve).astype(np.uint8)
        if len(curve) == 256:
            self._tables = dither_tables(curve)

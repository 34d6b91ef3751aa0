"""The tone map (AGC): sensor counts or 8-bit luma to steady, well spread 8-bit luma.

It has a memory. A reference histogram follows the scene slowly (`settle_s`), so that an object that
comes and goes hardly enters it; only when the picture as a whole changes (its histogram no longer
overlaps the one that the curve was made for: a gain jump, another scene) does it follow fast
(`follow_s`), and at a cut at once. The curve made from it moves only when it is off by more than a
dead band, and in a calm scene no faster than `calm_speed` levels a second. All times are seconds of
pts, whatever the frame rate.

Pumping is measured like this: a static scene, a hot object of known outline entering it and leaving
after some seconds; `pump` is the largest change, at any time and of any background pixel's luma
against the luma of the same pixel before the object came, in levels of 255 (sensor noise left out).
For an object of 5 % of the picture, 8 times the scene's own range hotter, that stays for 10 s, pump
is at most 1 level with linear and plateau (it measures 0); limits set by each frame's own percentiles
pump by more than 150 (tests/stream/test_tone_map.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.tone_curves import Curve, linear_curve, plateau_curve, quantiles, span_curve

Method = Literal["auto", "none", "linear", "plateau", "clahe"]

SAMPLE = 16384
"""About as many pixels of a frame are looked at, on a fixed grid."""
LEARN_NS = 100_000_000
"""The memory learns at most every so often; a frame in between is only compared with it."""
LONGEST_STEP_S = 2.0
"""After a longer silence the memory steps no further than this."""
_LUT16 = int(cv2.__version__.split(".")[0]) >= 5  # cv2.LUT takes 16-bit indices from OpenCV 5 on


@dataclass(frozen=True, slots=True)
class ToneMapOptions:
    """How sensor values become luma.

    Attributes:
        method: "linear" between percentiles, "plateau" equalization, "clahe" (local contrast on top
            of linear), "none" (8-bit luma as it is), or "auto": plateau for counts, none for 8 bits.
        low: percentile of the scene that sets the lower limit.
        high: percentile of the scene that sets the upper limit.
        span: fixed limits (lo, hi) in sensor values instead: lo is luma 0, hi is 255, a straight line.
        min_span: the limits are never closer than this, so that a flat scene's noise stays small;
            None for 64 counts, or 24 levels of 8-bit luma.
        plateau: plateau equalization's ceiling in multiples of the mean density.
        linear_share: part of plateau equalization's output that stays linear.
        clahe_clip: CLAHE's contrast limit.
        settle_s: time constant of the memory in a scene that is only being walked through.
        follow_s: time constant after the scene as a whole has changed.
        calm_speed: levels a second, the fastest that luma moves in a calm scene.
        dead_band: levels by which the curve may be off before it moves at all.
    """

    method: Method = "auto"
    low: float = 0.5
    high: float = 99.5
    span: tuple[float, float] | None = None
    min_span: float | None = None
    plateau: float = 2.5
    linear_share: float = 0.35
    clahe_clip: float = 2.0
    settle_s: float = 20.0
    follow_s: float = 0.5
    calm_speed: float = 0.3
    dead_band: float = 4.0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise StreamOptionError(
                f"tone map {self.method!r} is not known: choose one of {', '.join(get_args(Method))}"
            )
        if not 0 <= self.low < self.high <= 100:
            raise StreamOptionError(
                f"tone map percentiles must satisfy 0 <= low < high <= 100, got {self.low} and {self.high}"
            )
        if self.span is not None and not (
            all(math.isfinite(v) for v in self.span) and self.span[0] < self.span[1]
        ):
            raise StreamOptionError(
                f"tone map span must be two finite numbers lo < hi, got {self.span[0]} and {self.span[1]}"
            )
        if self.min_span is not None and not self.min_span > 0:
            raise StreamOptionError(f"tone map min_span must be above 0, got {self.min_span}")
        if not self.plateau >= 1 or not 0 <= self.linear_share <= 1 or not self.clahe_clip > 0:
            raise StreamOptionError(
                "tone map needs plateau >= 1, linear_share in [0, 1] and clahe_clip > 0,"
                f" got {self.plateau}, {self.linear_share} and {self.clahe_clip}"
            )
        if not (self.settle_s > 0 and self.follow_s > 0 and self.calm_speed > 0 and self.dead_band >= 0):
            raise StreamOptionError(
                "tone map times and speeds must be above 0 and dead_band at least 0, got settle_s"
                f" {self.settle_s}, follow_s {self.follow_s}, calm_speed {self.calm_speed},"
                f" dead_band {self.dead_band}"
            )


class ToneMap:
    """Turns frames into luma. One per stream; called from one thread, except `lock` and `unlock`."""

    def __init__(self, options: ToneMapOptions | None = None) -> None:
        self.options = options or ToneMapOptions()
        self._locked = False
        self._clahe = cv2.createCLAHE(clipLimit=self.options.clahe_clip, tileGridSize=(8, 8))
        self.reset()

    def reset(self) -> None:
        """Forget the scene; the next frame sets the curve at once. A lock stays on for what follows."""
        self._memory: NDArray[np.float32] | None = None
        self._settled: NDArray[np.float32] | None = None  # the memory when the curve last fitted it
        self._curve: Curve | None = None
        self._lut: NDArray[np.uint8] | None = None
        self._limits: tuple[float, float] | None = None
        self._size: tuple[int, ...] | None = None
        self._learned_ns = 0
        self._age_s = 0.0
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
        return self._limits

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
        if (*pixels.shape, pixels.itemsize) != self._size or pts_ns < self._learned_ns:
            self.reset()
            self._size = (*pixels.shape, pixels.itemsize)
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
            self._limits = self.options.span
            self._adopt(span_curve(*self.options.span, levels))
            return
        step = max(1, math.isqrt(pixels.size // SAMPLE))
        counted = np.bincount(pixels[::step, ::step].ravel(), minlength=levels)
        seen = counted.astype(np.float32)
        seen *= np.float32(1 / seen.sum())
        changed = 1.0 if self._settled is None else _change(self._settled, seen, self._limits)
        cut = changed > 0.85 and (self._memory is None or _change(self._memory, seen, self._limits) > 0.85)
        if self._memory is None or cut:  # another scene, or the camera jumped to another gain
            self._memory, self._settled, self._age_s, self._gliding = seen, seen, 0.0, False
            self._learned_ns = pts_ns
            self._limits = self._ends(seen)
            self._adopt(self._target(method))
            return
        dt_s = (pts_ns - self._learned_ns) * 1e-9
        if dt_s * 1e9 < LEARN_NS:
            return
        dt_s = min(dt_s, LONGEST_STEP_S)
        self._learned_ns = pts_ns
        self._age_s += dt_s
        urgency = min(max((changed - 0.3) / 0.3, 0.0), 1.0)
        settle_s = min(self.options.settle_s, max(self._age_s, self.options.follow_s))
        hurry = min(2 * urgency, 1.0)  # the memory must be ahead of the curve, which is held to a speed
        tau_s = settle_s ** (1 - hurry) * self.options.follow_s**hurry
        share = 1 - math.exp(-dt_s / tau_s)
        self._memory = cv2.addWeighted(self._memory, 1 - share, seen, share, 0).ravel()
        assert self._limits is not None
        share = 1 - math.exp(-dt_s / self.options.follow_s)
        # levels a second: from unseen to a whole range in half a second
        speed = self.options.calm_speed * 2000.0**urgency
        furthest = speed * dt_s / 255 * (self._limits[1] - self._limits[0])
        goals = [
            sorted((limit, slow, now))[1]  # as far as the memory and the frame itself both ask for
            for limit, slow, now in zip(self._limits, self._ends(self._memory), self._ends(seen), strict=True)
        ]
        lo, hi = (
            limit + min(max(share * (goal - limit), -furthest), furthest)
            for limit, goal in zip(self._limits, goals, strict=True)
        )
        self._limits = (lo, hi)
        self._glide(self._target(method), share, speed * dt_s)
        near = self.options.dead_band / 255 * (hi - lo)
        if not self._gliding and abs(goals[0] - lo) <= near and abs(goals[1] - hi) <= near:
            self._settled = self._memory

    def _ends(self, histogram: NDArray[np.float32]) -> tuple[float, float]:
        """The limits that a histogram asks for."""
        options, levels = self.options, len(histogram)
        lo, hi = quantiles(histogram, np.array([options.low, options.high]) / 100)
        min_span = options.min_span or (64.0 if levels > 256 else 24.0)
        if hi - lo < min_span:
            lo = min(max((lo + hi - min_span) / 2, 0.0), levels - 1 - min_span)
            hi = lo + min_span
        return float(lo), float(hi)

    def _target(self, method: Method) -> Curve:
        """The curve that the limits and the memory ask for."""
        assert self._memory is not None
        assert self._limits is not None
        lo, hi = self._limits
        if method != "plateau":
            return linear_curve(lo, hi, len(self._memory))
        return plateau_curve(
            self._memory, lo, hi, plateau=self.options.plateau, linear_share=self.options.linear_share
        )

    def _glide(self, target: Curve, share: float, furthest: float) -> None:
        """Move the curve a share of the way to its target, `furthest` levels at most, or not at all
        within the dead band."""
        assert self._memory is not None
        assert self._curve is not None
        at = quantiles(self._memory, np.linspace(0.01, 0.99, 33)).astype(np.intp)
        off = float(np.abs(target[at] - self._curve[at]).max())
        self._gliding = off > (1.0 if self._gliding else self.options.dead_band)
        if not self._gliding:
            return
        share = min(share, furthest / off)
        self._adopt(cv2.addWeighted(self._curve, 1 - share, target, share, 0).ravel())

    def _adopt(self, curve: Curve) -> None:
        self._curve = curve
        self._lut = np.rint(curve).astype(np.uint8)


def _change(
    settled: NDArray[np.float32], seen: NDArray[np.float32], limits: tuple[float, float] | None
) -> float:
    """How much of the picture has other values than it had: 1 - overlap of the histograms, [0, 1].

    An object that covers a tenth of the picture gives 0.1, whatever its heat; a gain jump nearly 1.
    The histograms are compared in coarse, softened bins so that noise and a small drift count little.
    """
    assert limits is not None
    lo, hi = limits
    edges = np.linspace(lo - (hi - lo) / 2, hi + (hi - lo), 49)
    starts = np.unique(np.clip(edges, 0, len(settled) - 1).astype(np.intp))
    starts[0] = 0
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    one = np.convolve(np.add.reduceat(settled, starts), kernel)
    other = np.convolve(np.add.reduceat(seen, starts), kernel)
    return float(1 - np.minimum(one, other).sum())

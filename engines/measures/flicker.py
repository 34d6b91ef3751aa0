"""Measures of flicker: color distribution consistency, warping error, and change where nothing changed.

Everything here takes one frame at a time and keeps no more than it needs, so a long video fits.
"""

from __future__ import annotations

import math
from collections import deque
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_lab

Rgb = NDArray[np.uint8]
Luma = NDArray[np.uint8]
Flow = NDArray[np.float32]

CDC_DISTANCES = (1, 2, 4)
UNCHANGED_LEVELS = 1
"""An input pixel did not change if its luma moved by at most this; 8-bit video cannot say less of noise."""
LIVE_SIZE = (64, 80)


class ColorDistribution:
    """CDC: how much the histogram of colors differs between near frames; 0 for a still video.

    Jensen-Shannon divergence (natural logarithm) of the 256-bin histograms of each of R', G', B' between
    frames t and t + d; mean over the channels, over all t and over d in {1, 2, 4}.

    Reference: Liu et al., Temporally Consistent Video Colorization with Deep Feature Propagation and
    Self-regularization Learning, arXiv:2110.04562 (there called CDC, over the same three distances).
    """

    def __init__(self) -> None:
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=max(CDC_DISTANCES))
        self._sums = dict.fromkeys(CDC_DISTANCES, 0.0)
        self._counts = dict.fromkeys(CDC_DISTANCES, 0)

    def add(self, rgb: Rgb) -> float:
        """Take the next frame, (H, W, 3) uint8; returns the divergence from the frame before (0 at first)."""
        histogram = np.stack([np.bincount(rgb[..., c].ravel(), minlength=256) for c in range(3)])
        now = histogram / (rgb.shape[0] * rgb.shape[1])
        newest = 0.0
        for distance in CDC_DISTANCES:
            if len(self._recent) >= distance:
                divergence = float(jensen_shannon(self._recent[-distance], now).mean())
                self._sums[distance] += divergence
                self._counts[distance] += 1
                newest = divergence if distance == 1 else newest
        self._recent.append(now)
        return newest

    def value(self) -> float:
        """CDC so far; NaN before two frames. Distances that the video is too short for are left out."""
        means = [self._sums[d] / self._counts[d] for d in CDC_DISTANCES if self._counts[d]]
        return sum(means) / len(means) if means else math.nan


class ReferenceMotion:
    """Flow of a reference video from frame to frame, with visibility; made once for all that it judges.

    DIS `MEDIUM` at full size. A pixel is visible where forward and backward flow agree.

    Reference: for visibility, Sundaram, Brox and Keutzer, Dense Point Trajectories by GPU-accelerated
    Large Displacement Optical Flow, ECCV 2010.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._luma: Luma | None = None

    def add(self, luma: Luma) -> tuple[Flow, NDArray[np.bool_]] | None:
        """Backward flow (H, W, 2) and visibility (H, W) from the frame before to this one; None at first."""
        before, self._luma = self._luma, luma
        if before is None:
            return None
        backward = cast(Flow, self._dis.calc(luma, before, None))
        forward = cast(Flow, self._dis.calc(before, luma, None))
        return backward, visible(backward, forward)


class WarpingError:
    """E_warp: how far each frame is from the one before, moved along the flow of a reference video.

    Mean over the frames of the mean squared error of R'G'B' in [0, 1] over the visible pixels. The flow is
    that of the reference (real color) video, so that a colorized video cannot flatter itself.

    Reference: Lai et al., Learning Blind Video Temporal Consistency, arXiv:1808.00449. Different here:
    DIS instead of FlowNet2, and motion boundaries are left out by the forward-backward test alone.
    """

    def __init__(self) -> None:
        self._rgb: NDArray[np.float32] | None = None
        self._sum = 0.0
        self._count = 0

    def add(self, rgb: Rgb, motion: tuple[Flow, NDArray[np.bool_]] | None) -> float:
        """Take the next frame, (H, W, 3) uint8, and `ReferenceMotion`; returns its own error (0 at first)."""
        before, self._rgb = self._rgb, rgb.astype(np.float32) / 255.0
        if before is None or motion is None:
            return 0.0
        error = warping_error(before, self._rgb, *motion)
        self._sum += error
        self._count += 1
        return error

    def value(self) -> float:
        """E_warp so far; NaN before two frames."""
        return self._sum / self._count if self._count else math.nan


class StaticFlicker:
    """Mean |change of a* or b*| from one frame to the next, over the pixels whose input did not change.

    CIE L*a*b* under D65; mean over both axes and over all such pixels of all frames.
    """

    def __init__(self) -> None:
        self._chroma: tuple[NDArray[np.float32], ...] = ()
        self._luma: Luma | None = None
        self._sum = 0.0
        self._count = 0
        self.newest = math.nan
        """The last frame's own value; NaN where it has none."""

    def add(self, rgb: Rgb, luma: Luma) -> float:
        """Take the next output frame (H, W, 3) uint8 and the input's luma (H, W); returns its own value."""
        chroma = rgb_to_ab(rgb)
        self.newest = math.nan
        if self._luma is not None and self._luma.shape == luma.shape:
            still = cv2.compare(cv2.absdiff(luma, self._luma), UNCHANGED_LEVELS, cv2.CMP_LE)
            count = cv2.countNonZero(still)
            if count > 0:
                pairs = zip(chroma, self._chroma, strict=True)
                change = sum(cv2.norm(now, before, cv2.NORM_L1, still) for now, before in pairs)
                self.newest = change / (2 * count)
                self._sum += self.newest * count
                self._count += count
        self._chroma, self._luma = chroma, luma
        return self.newest

    def forget(self) -> None:
        """The next frame is not compared with the last one."""
        self._chroma, self._luma = (), None

    def value(self) -> float:
        """The mean so far; NaN where no pixel ever stayed the same."""
        return self._sum / self._count if self._count else math.nan


def steps_of(luma: Luma) -> tuple[int, int]:
    """Every how many rows and columns `LiveFlicker` looks at a picture of that luma (H, W)."""
    return max(luma.shape[0] // LIVE_SIZE[0], 1), max(luma.shape[1] // LIVE_SIZE[1], 1)


class LiveFlicker:
    """`StaticFlicker` for a running system: on every few pixels of a frame, as a moving average.

    About 0.2 ms a frame at any size. For one thread.
    """

    def __init__(self, settle_frames: int = 30) -> None:
        self._measure = StaticFlicker()
        self._share = 1.0 / settle_frames
        self._value = math.nan

    def add(self, rgb: Rgb, luma: Luma) -> float:
        """Take an output frame (H, W, 3) and its input's luma (H, W), both uint8; returns the average."""
        rows, columns = steps_of(luma)
        return self.add_sampled(rgb[::rows, ::columns], luma[::rows, ::columns])

    def add_sampled(self, rgb: Rgb, luma: Luma) -> float:
        """The same of every n-th row and column alone, see `steps_of`."""
        newest = self._measure.add(np.ascontiguousarray(rgb), np.ascontiguousarray(luma))
        if not math.isnan(newest):
            known = not math.isnan(self._value)
            self._value = self._value + self._share * (newest - self._value) if known else newest
        return self._value

    def forget(self) -> None:
        """The next frame does not follow the last one."""
        self._measure.forget()

    @property
    def value(self) -> float:
        """Mean |change of a* or b*| a frame where the input did not change; NaN where not known yet."""
        return self._value


def jensen_shannon(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Jensen-Shannon divergence, natural logarithm, along the last axis of two distributions, [0, ln 2].

    Reference: Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf. Theory 37(1), 1991.
    """
    middle = (first + second) / 2
    halves = []
    for part in (first, second):
        ratio = np.divide(part, middle, out=np.ones_like(part), where=part > 0)
        halves.append((part * np.log(ratio)).sum(axis=-1))
    return cast(NDArray[np.float64], (halves[0] + halves[1]) / 2)


def warping_error(
    before: NDArray[np.float32], now: NDArray[np.float32], backward: Flow, seen: NDArray[np.bool_]
) -> float:
    """Mean squared error over visible pixels of `now` against `before` moved along the flow.

    Args:
        before: (H, W, 3) float32 R'G'B', [0, 1].
        now: (H, W, 3) float32.
        backward: (H, W, 2) float32 pixels: `now(p)` shows what `before(p + backward(p))` showed.
        seen: (H, W) bool, pixels that were visible in both.
    """
    height, width = seen.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(before, x + backward[..., 0], y + backward[..., 1], cv2.INTER_LINEAR)
    error = ((moved - now) ** 2).mean(axis=2)
    return float(error[seen].mean()) if seen.any() else 0.0


def visible(backward: Flow, forward: Flow) -> NDArray[np.bool_]:
    """(H, W) bool: following the backward and then the forward flow leads home, and inside the picture."""
    height, width = backward.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + backward[..., 0], y + backward[..., 1]
    there = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    miss = ((there + backward) ** 2).sum(axis=2)
    bound = 0.01 * ((there**2).sum(axis=2) + (backward**2).sum(axis=2)) + 0.5
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return cast(NDArray[np.bool_], (miss <= bound) & inside)


def rgb_to_ab(rgb: Rgb) -> tuple[NDArray[np.float32], ...]:
    """CIE a* and b* under D65, (H, W) float32 each, from (H, W, 3) uint8 R'G'B' (sRGB)."""
    lab = rgb_to_lab(rgb)
    return tuple(np.asarray(cv2.extractChannel(lab, channel), np.float32) for channel in (1, 2))

"""How sensor values become luma: the tone map's options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from irchroma.stream.errors import StreamOptionError

Method = Literal["auto", "none", "lift", "linear", "plateau", "clahe"]


@dataclass(frozen=True, slots=True)
class ToneMapOptions:
    """How sensor values become luma.

    Attributes:
        method: "linear" between percentiles, "plateau" equalization, "clahe" (local contrast on top
            of linear), "none" (8-bit luma as it is), "lift" (8-bit luma as it is, but for dim or flat
            pictures, which are spread), or "auto": plateau for counts, lift for 8 bits.
        low: percentile of the scene that sets the lower limit.
        high: percentile of the scene that sets the upper limit.
        span: fixed limits (lo, hi) in sensor values instead: lo is luma 0, hi is 255, a straight line.
        min_span: the limits are never closer than this, so that a flat scene's noise stays small;
            None for 64 counts, or 24 levels of 8-bit luma.
        noise_levels: largest standard deviation, in levels of luma, that the sensor's noise may be
            amplified to; contrast ends where more of it would only show noise.
        stripes: take columns' and rows' offsets out of counts where they are found; the camera's profile
            does it better, if there is one.
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
    noise_levels: float = 3.5
    stripes: bool = True
    plateau: float = 2.5
    linear_share: float = 0.35
    clahe_clip: float = 1.5
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
        if not self.noise_levels > 0:
            raise StreamOptionError(f"tone map noise_levels must be above 0, got {self.noise_levels}")
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

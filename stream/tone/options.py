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
        span: fixed limits (lo, hi) in sensor values instead: lo is luma 0, hi is 255, a straight line.
        stripes: take columns' and rows' offsets out of counts where they are found; the camera's profile
            does it better, if there is one.
    """

    method: Method = "auto"
    span: tuple[float, float] | None = None
    stripes: bool = True

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise StreamOptionError(
                f"tone map {self.method!r} is not known: choose one of {', '.join(get_args(Method))}"
            )
        if self.span is not None and not (
            all(math.isfinite(v) for v in self.span) and self.span[0] < self.span[1]
        ):
            raise StreamOptionError(
                f"tone map span must be two finite numbers lo < hi, got {self.span[0]} and {self.span[1]}"
            )

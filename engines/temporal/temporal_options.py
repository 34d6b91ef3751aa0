"""What a user may choose of the temporal stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from irchroma.engines.errors import EngineOptionError


@dataclass(frozen=True, slots=True)
class TemporalOptions:
    """What a user may choose of the temporal stage; all times in seconds.

    Attributes:
        settle_s: time constant of a still pixel's color: after a change of the network's mind it has
            moved by 63 % in this time, whatever the frame rate and however many frames were dropped.
        settle_moving_s: the same for a pixel that moves, shorter since every warp blurs a little.
        gain_settle_s: time in which the displayed brightness lets in 63 % of a gain jump.
        steady_brightness: undo gain jumps of the camera in the displayed luma.
        color_every: run the network every n-th frame, or `auto`: as seldom as the scene allows.
        longest_skip_s: with `auto`, the longest time without a network's color.
        forget_s: a gap in time after which the past is forgotten.
    """

    settle_s: float = 1.5
    settle_moving_s: float = 0.25
    gain_settle_s: float = 4.0
    steady_brightness: bool = True
    color_every: int | Literal["auto"] = 1
    longest_skip_s: float = 0.14
    forget_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("settle_s", "settle_moving_s", "gain_settle_s", "longest_skip_s", "forget_s"):
            if not getattr(self, name) > 0:
                raise EngineOptionError(f"{name} must be above 0 seconds, got {getattr(self, name)!r}")
        every = self.color_every
        if every != "auto" and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise EngineOptionError(f"color-every must be auto or a whole number from 1, got {every!r}")

"""What the loop hands to whoever makes the viewer's picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import StandIn
from irchroma.stream.protocols import Colored

Shown = NDArray[np.uint8] | StandIn


@dataclass(frozen=True, slots=True)
class Finished:
    """What the composer gets for one frame.

    Attributes:
        luma: (H, W) uint8 tone-mapped luma.
        colored: the engine's answer; None where the frame goes out as it came.
        camera_rgb: (H, W, 3) uint8, the camera's own color; None where it has none.
        reason: why there is no color though there should be; None otherwise.
        frame: the frame as it came.
        arrival_ns: monotonic.
        engine: the engine's name.
        synthetic: true where the color is a network's guess.
        rate_hz: frames a second going out.
    """

    luma: NDArray[np.uint8]
    colored: Colored | None
    camera_rgb: NDArray[np.uint8] | None
    reason: str | None
    frame: Frame
    arrival_ns: int
    engine: str
    synthetic: bool
    rate_hz: float


class Composer(Protocol):
    """Makes the viewer's picture."""

    def compose(self, finished: Finished) -> NDArray[np.uint8] | StandIn:
        """(H, W, 3) uint8 R'G'B' for one frame."""

    def no_signal(self, silent_s: float, reason: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 card for a source that has been silent for `silent_s` seconds."""

"""One video frame as it travels from a source to the sinks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceFormatError

UNKNOWN_NS = -1
"""A duration that the source did not state."""

SOUND_HZ = 48_000


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of what sounds with the pictures.

    Attributes:
        samples: (N, 2) int16, left and right, at `SOUND_HZ`.
        pts_ns: of the first of them, nanoseconds on the frames' own clock.
    """

    samples: NDArray[np.int16]
    pts_ns: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture from a camera, with its time.

    Exactly one kind of picture is held. Arrays are C-contiguous and owned by the frame: a source
    never writes to them again, and nobody else may (several sinks share them).

    Attributes:
        pixels: (H, W) uint8 luma Y', full range [0, 255]; or (H, W) uint16 counts, untouched
            from the sensor; or (H, W, 3) uint8 R'G'B', full range, of a camera that is in color.
        pts_ns: presentation time, nanoseconds in the source's own running time, rising.
        duration_ns: nanoseconds, `UNKNOWN_NS` where the source does not say.
        number: frames since the source was opened, 0 first; a jump means drops upstream.
        gap: true for the first frame after the source was lost or its format changed.
        held: true while the camera itself says that it repeats a picture (FFC shutter closed).
        damaged_from: share of the rows from which on its decoder has made something up, as it or the stream's
            headers say (0.0 too where a picture is missing that this one is drawn from); 1.0 where only
            pictures were damaged that this one is drawn from; None where nothing is said, which is no
            promise: damage may never be noticed, and only sources that were asked to tell do.
        drawn_anew: a decoder drew it from no other picture; said where `damaged_from` is.
        arrival_ns: when a run got it, nanoseconds on the monotonic clock; 0 outside a run.
        taken_ns: when the camera says that it was taken, nanoseconds since 1970 (UTC) by the camera's own
            clock; 0 where it does not say.
        sound: what has come since the frame before, of a source that was asked for it.
        extra: what else the source knows (telemetry, synthetic truth); read by the on-screen display alone.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    pts_ns: int
    duration_ns: int = UNKNOWN_NS
    number: int = 0
    gap: bool = False
    held: bool = False
    damaged_from: float | None = None
    drawn_anew: bool = False
    arrival_ns: int = 0
    taken_ns: int = 0
    sound: tuple[Sound, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ok = (self.pixels.ndim == 2 and self.pixels.dtype in (np.uint8, np.uint16)) or (
            self.pixels.ndim == 3 and self.pixels.shape[2] == 3 and self.pixels.dtype == np.uint8
        )
        if not ok or 0 in self.pixels.shape:
            raise SourceFormatError(
                "expected (H, W) uint8 luma, (H, W) uint16 counts or (H, W, 3) uint8 rgb,"
                f" got shape {self.pixels.shape} {self.pixels.dtype}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])

    @property
    def is_counts(self) -> bool:
        """True for 16-bit sensor counts, which must go through a tone map before anything shows them."""
        return self.pixels.dtype == np.uint16

    @property
    def is_color(self) -> bool:
        """True for R'G'B' pictures."""
        return self.pixels.ndim == 3

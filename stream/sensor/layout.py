"""Takes the picture, the counts and the telemetry out of a frame as a thermal camera delivers it.

| layout | delivered (H, W) uint16 | picture |
| --- | --- | --- |
| `plain` | the picture | all of it |
| `lepton` | telemetry rows above or below (122 rows for 120, or 63 for 60) | the other rows |
| `boson` | two telemetry rows above | the other rows |
| `seek` | a row above, one below, a column beside (156x208) | rows 1 to 154, columns 0 to 206 |
| `split` | a YUYV picture above, temperatures below (384x256) | the lower half, 1/64 K a count |
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.frame import Frame
from irchroma.stream.sensor.profile import CameraProfile
from irchroma.stream.sensor.telemetry import (
    SEEK_PICTURE,
    CameraTelemetry,
    parse_boson,
    parse_lepton,
    parse_seek,
)

Counts = NDArray[np.uint16]
log = logging.getLogger(__name__)

NEUTRAL_CHROMA = (112, 144)
"""High bytes of a gray YUYV picture read as 16-bit words: its chroma, 128 and little else."""
PICTURE_SHARE = 0.8
"""Share of a row's words with neutral chroma from which it belongs to the picture above."""
LEPTON_HEIGHTS = {122: 120, 63: 60}
"""Rows delivered -> rows of the picture."""


class CameraUnpacker:
    """Unpacks frame after frame of one camera. Used by one thread.

    Attributes:
        broken: frames whose layout could not be made out since the start; the last good one was repeated.
        rolled: frames whose halves had slipped and were put right.
    """

    def __init__(self, profile: CameraProfile) -> None:
        self.broken = self.rolled = 0
        self._last: Counts | None = None
        self._told: set[str] = set()
        self._unpack: Callable[[Counts], tuple[Counts | None, CameraTelemetry | None]] | None = {
            "lepton": _unpack_lepton,
            "boson": _unpack_boson,
            "seek": _unpack_seek,
            "split": self._unpack_split,
        }.get(profile.layout)

    def unpack(self, frame: Frame) -> Frame:
        """The frame with the picture alone, its telemetry in `extra["telemetry"]`, and `held` by it.

        Frames that are not counts, and those of a camera without further parts, come back as they are.
        """
        if self._unpack is None or not frame.is_counts:
            return frame
        pixels, telemetry = self._unpack(np.asarray(frame.pixels, np.uint16))
        held = frame.held or (telemetry is not None and telemetry.shutter_closed)
        if pixels is None:
            self.broken += 1
            held = True
            pixels = self._last
            if pixels is None:
                self._tell("the camera's frames do not have the layout of its profile: passed on as they are")
                return frame
        self._last = np.ascontiguousarray(pixels)
        extra = frame.extra if telemetry is None else {**frame.extra, "telemetry": telemetry}
        return replace(frame, pixels=self._last, held=held, extra=extra)

    def _unpack_split(self, counts: Counts) -> tuple[Counts | None, CameraTelemetry | None]:
        """The lower half once it is sure to be one; rows that have slipped around are rolled back."""
        height = counts.shape[0]
        chroma = counts >> 8
        neutral = (chroma >= NEUTRAL_CHROMA[0]) & (chroma <= NEUTRAL_CHROMA[1])
        picture = neutral.mean(1) >= PICTURE_SHARE
        if height % 2 or picture.sum() != height // 2:
            return None, None
        first = int(np.flatnonzero(picture & ~np.roll(picture, 1))[0])
        if not np.roll(picture, -first)[: height // 2].all():
            return None, None
        if first:
            self.rolled += 1
            self._tell("the halves of the camera's frame had slipped and were put right")
        return np.roll(counts, -first, 0)[height // 2 :], None

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.warning("%s", text)


def _unpack_lepton(counts: Counts) -> tuple[Counts | None, CameraTelemetry | None]:
    height = LEPTON_HEIGHTS.get(counts.shape[0])
    if height is None:
        return (counts, None) if counts.shape[0] in LEPTON_HEIGHTS.values() else (None, None)
    rows = counts.shape[0] - height
    below = parse_lepton(counts[height:])
    if below is not None:
        return counts[:height], below
    above = parse_lepton(counts[:rows])
    return (None, None) if above is None else (counts[rows:], above)


def _unpack_boson(counts: Counts) -> tuple[Counts | None, CameraTelemetry | None]:
    if counts.shape[0] % 64 == 0:  # 256 or 512: telemetry is off
        return counts, None
    return (counts[2:], parse_boson(counts[:2])) if counts.shape[0] % 64 == 2 else (None, None)


def _unpack_seek(counts: Counts) -> tuple[Counts | None, CameraTelemetry | None]:
    if counts.shape != (156, 208):
        return None, None
    telemetry = parse_seek(counts)
    is_picture = int(counts[0, 10]) == SEEK_PICTURE
    return (counts[1:155, :207] if is_picture else None), telemetry

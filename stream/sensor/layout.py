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

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.remarks import remark
from irchroma.stream.sensor.profile import CameraProfile
from irchroma.stream.sensor.telemetry import (
    SEEK_PICTURE,
    CameraTelemetry,
    parse_boson,
    parse_lepton,
    parse_seek,
)

Counts = NDArray[np.uint16]

NEUTRAL_CHROMA = (112, 144)
"""High bytes of a gray YUYV picture read as 16-bit words: its chroma, 128 and little else."""
PICTURE_SHARE = 0.8
"""Share of a row's words with neutral chroma from which it belongs to the picture above."""
LEPTON_HEIGHTS = {122: 120, 63: 60}
"""Rows delivered -> rows of the picture."""
_TRIALS = 10
"""A camera that starts may send a few frames that are none; more of them are of another camera."""


class CameraUnpacker:
    """Unpacks frame after frame of one camera. Used by one thread.

    Attributes:
        broken: frames whose layout could not be made out since the start; the last good one was repeated,
            or a black one before that.
        rolled: frames whose halves had slipped and were put right.
    """

    def __init__(self, profile: CameraProfile) -> None:
        self.broken = self.rolled = 0
        self._profile = profile
        self._last: Counts | None = None
        self._unpack: Callable[[Counts], tuple[Counts | None, CameraTelemetry | None]] | None = {
            "lepton": _unpack_lepton,
            "boson": _unpack_boson,
            "seek": _unpack_seek,
            "split": self._unpack_split,
        }.get(profile.layout)

    def unpack(self, frame: Frame) -> Frame:
        """The frame with the picture alone, its telemetry in `extra["telemetry"]`, and `held` by it.

        Frames of a camera without further parts come back as they are.

        Raises:
            SourceFormatError: these are not the frames of such a camera.
        """
        if self._unpack is None:
            return frame
        if not frame.is_counts:
            if self._last is None:
                raise self._refusal("pictures in color" if frame.is_color else "8-bit luma")
            remark("frames that are not counts were passed by the camera's profile")
            return frame
        pixels, telemetry = self._unpack(np.asarray(frame.pixels, np.uint16))
        held = frame.held or (telemetry is not None and telemetry.shutter_closed)
        if pixels is None:
            self.broken += 1
            held = True
            remark("frames without the layout of the camera's profile were replaced by the last good one")
            pixels = self._last
            if pixels is None:
                size = _picture_size(self._profile.layout, frame.size)
                if size is None or self.broken > _TRIALS:
                    raise self._refusal(f"frames of {frame.size[1]}x{frame.size[0]} of another layout")
                return replace(frame, pixels=np.zeros(size, np.uint16), held=True)
        self._last = np.ascontiguousarray(pixels)
        extra = frame.extra if telemetry is None else {**frame.extra, "telemetry": telemetry}
        return replace(frame, pixels=self._last, held=held, extra=extra)

    def _unpack_split(self, counts: Counts) -> tuple[Counts | None, CameraTelemetry | None]:
        """The lower half once it is sure to be one; rows that have slipped around are rolled back."""
        if counts.shape == self._profile.size:  # a recording of the lower half alone
            return counts, None
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
            remark("the halves of the camera's frame had slipped and were put right")
        return np.roll(counts, -first, 0)[height // 2 :], None

    def _refusal(self, got: str) -> SourceFormatError:
        layout = self._profile.layout
        return SourceFormatError(
            f"camera profile {self._profile.name}: expected the sensor's 16-bit counts in layout {layout},"
            f" got {got}: leave out --camera, or give it what the camera sends, unchanged"
        )


def _picture_size(layout: str, size: tuple[int, int]) -> tuple[int, int] | None:
    """(H, W) of the picture in a frame of `size`; None where no frame of the layout has that size."""
    height, width = size
    if layout == "lepton":
        rows = LEPTON_HEIGHTS.get(height, height)
        return (rows, width) if rows in LEPTON_HEIGHTS.values() else None
    if layout == "boson":
        return (height // 64 * 64, width) if height % 64 in (0, 2) else None
    if layout == "seek":
        return (154, 207) if size == (156, 208) else None
    return (height // 2, width) if height % 2 == 0 else None


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

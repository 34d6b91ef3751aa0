"""Reads what is measured: every frame of a recording, or a live camera for so many seconds.

`gather` tone maps and thins the user's own infrared frames: some to measure on, others to judge by.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.stream.errors import SourceLost
from irchroma.stream.frame import Frame
from irchroma.stream.sensor.layout import CameraUnpacker
from irchroma.stream.sensor.profile import CameraProfile
from irchroma.stream.sources.open_source import SourceOptions, open_source
from irchroma.stream.tone.tone_map import ToneMap

READ_TIMEOUT_S = 10.0


def read_frames(
    source: str,
    seconds: float = 0.0,
    most: int = 0,
    live_seconds: float = 0.0,
    profile: CameraProfile | None = None,
) -> Generator[Frame, None, None]:
    """The frames of a file, a folder of pictures, a camera or a test camera.

    Args:
        source: as `irchroma run` takes it.
        seconds: of the source's own time to read, 0 for all of it.
        most: frames to read at most, 0 for all.
        live_seconds: in place of `seconds` where that is 0 and the source has no end of its own.
        profile: of the camera, by whose layout the picture is taken out of what it delivers.

    Raises:
        SourceError: it cannot be opened or read, or is not of that layout.
    """
    options, profile = SourceOptions(), profile or CameraProfile()
    if profile.layout == "split":
        options = replace(options, pictures=replace(options.pictures, words=True))
    reader, unpacker = open_source(source, options), CameraUnpacker(profile)
    info = reader.open()
    if info.live and not seconds:
        seconds = live_seconds
    try:
        start_ns: int | None = None
        number = 0
        while True:
            try:
                frame = reader.read(READ_TIMEOUT_S)
            except SourceLost:
                if number and info.live:
                    return
                raise
            if frame is None:
                return
            start_ns = frame.pts_ns if start_ns is None else start_ns
            if seconds and frame.pts_ns - start_ns > seconds * 1e9:
                return
            yield unpacker.unpack(frame)
            number += 1
            if number == most:
                return
    finally:
        reader.close()


Luma = NDArray[np.uint8]

LONGEST_PX = 640
"""Larger frames are judged at this long side: networks see them smaller yet."""
FEWEST_FRAMES = 8
LIVE_S = 30.0
"""A camera that goes on for ever is looked at so long, unless it is said how long."""


@dataclass(frozen=True, slots=True)
class InfraredFrames:
    """Frames of one or more sources.

    Attributes:
        measured: (H, W) uint8 luma each, for the activation ranges.
        held_out: the same, for judging; the last quarter of every source, so never a measured frame's
            neighbor in time except at one border.
    """

    measured: tuple[Luma, ...]
    held_out: tuple[Luma, ...]


def gather(
    sources: Iterable[str],
    seconds: float = 0.0,
    most: int = 96,
    on_frame: Callable[[str, int], None] | None = None,
) -> InfraredFrames:
    """Read the sources, evenly thinned to `most` frames of each.

    Args:
        sources: as `irchroma run` takes them: folders of pictures, recordings, cameras.
        seconds: of each to read, 0 for all of a file and `LIVE_S` of a camera.
        most: frames of each source to keep at most.
        on_frame: called with the source and the number of frames read of it.

    Raises:
        SourceError: one cannot be read.
        CalibrationError: there are too few frames.
    """
    measured: list[Luma] = []
    held_out: list[Luma] = []
    for source in sources:
        frames = _thinned(source, seconds, most, on_frame)
        border = len(frames) - max(1, len(frames) // 4)
        measured += frames[:border]
        held_out += frames[border:]
    if len(measured) + len(held_out) < FEWEST_FRAMES:
        raise CalibrationError(
            f"{len(measured) + len(held_out)} frames, expected at least {FEWEST_FRAMES}: give a folder of"
            " pictures or a longer recording"
        )
    return InfraredFrames(tuple(measured), tuple(held_out))


def _thinned(
    source: str, seconds: float, most: int, on_frame: Callable[[str, int], None] | None
) -> list[Luma]:
    kept: list[Luma] = []
    step, tone_map = 1, ToneMap()
    shape: tuple[int, ...] = ()
    for number, frame in enumerate(read_frames(source, seconds, live_seconds=LIVE_S)):
        if on_frame is not None:
            on_frame(source, number)
        pixels = frame.pixels
        if frame.is_color:
            pixels = rgb_to_luma(np.asarray(pixels, np.uint8))
        if pixels.shape != shape:
            tone_map.reset()
            shape = pixels.shape
        luma = tone_map.apply(pixels, frame.pts_ns, held=frame.held)  # its memory needs every frame
        if number % step:
            continue
        kept.append(_at_most(luma, LONGEST_PX))
        if len(kept) == most:
            kept, step = kept[::2], step * 2
    return kept


def _at_most(luma: Luma, long_side_px: int) -> Luma:
    factor = long_side_px / max(luma.shape)
    if factor >= 1:
        return luma.copy()
    size = (max(1, round(luma.shape[1] * factor)), max(1, round(luma.shape[0] * factor)))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)

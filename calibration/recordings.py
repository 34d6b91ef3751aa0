"""Reads what is measured: every frame of a recording, or a live camera for so many seconds."""

from __future__ import annotations

from collections.abc import Iterator

from irchroma.stream.errors import SourceLost
from irchroma.stream.frame import Frame
from irchroma.stream.sources.open_source import open_source

READ_TIMEOUT_S = 10.0


def read_frames(
    source: str, seconds: float = 0.0, most: int = 0, live_seconds: float = 0.0
) -> Iterator[Frame]:
    """The frames of a file, a folder of pictures, a camera or a test camera.

    Args:
        source: as `irchroma run` takes it.
        seconds: of the source's own time to read, 0 for all of it.
        most: frames to read at most, 0 for all.
        live_seconds: in place of `seconds` where that is 0 and the source has no end of its own.

    Raises:
        SourceError: it cannot be opened or read.
    """
    reader = open_source(source)
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
            yield frame
            number += 1
            if number == most:
                return
    finally:
        reader.close()

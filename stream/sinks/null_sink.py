"""A sink that takes every picture and keeps none: for measurements and dry runs."""

from __future__ import annotations

from irchroma.stream.protocols import Pixels, VideoInfo


class NullSink:
    """A `FrameSink` that counts pictures.

    Attributes:
        written: pictures taken so far.
    """

    def __init__(self) -> None:
        self.written = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`."""

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        self.written += 1

    @property
    def drops(self) -> int:
        """Always 0."""
        return 0

    def close(self) -> None:
        """See `FrameSink.close`."""

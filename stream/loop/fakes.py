"""A source and a sink in memory: for programs that hold their own arrays, and for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo

Step = Frame | Exception | float


class MemorySource:
    """Frames from any iterable.

    Args:
        steps: what `read` does, in order: give a Frame, raise an exception, or be silent for so many
            seconds (a float). After an exception, `open` goes on with the next step.
        live: whether the loop may drop frames.
        rate: frames a second that `open` states.
    """

    def __init__(self, steps: Iterable[Step], live: bool = False, rate: Fraction = Fraction(25)) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self._live, self._rate = live, rate
        self._next: Step | None = None
        self._opened = False
        self.drops = 0
        self.opens = 0
        self.closes = 0

    def open(self) -> VideoInfo:
        """Look at the first step: a Frame tells the size, an exception is raised."""
        self.opens += 1
        if self._next is None:
            self._next = next(self._steps, None)
        step = self._next
        if isinstance(step, Exception):
            self._next = None
            raise step
        size = step.size if isinstance(step, Frame) else (0, 0)
        if step is None and not self._opened:
            raise SourceError("no frames in memory")
        self._opened = True
        counts = isinstance(step, Frame) and step.is_counts
        return VideoInfo(size, self._rate, self._live, description="frames in memory", counts=counts)

    def read(self, timeout_s: float) -> Frame | None:
        """The next step; None after the last."""
        step = self._next if self._next is not None else next(self._steps, None)
        self._next = None
        while isinstance(step, float):
            time.sleep(step)
            step = next(self._steps, None)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closes += 1


class MemorySink:
    """Keeps every picture it is given.

    Attributes:
        pictures: the arrays as they came, shared with everybody else: not to be written to.
        pts_ns, durations_ns: their times.
        fail_at: raise this error instead of taking picture number n; `(n, error)`.
    """

    def __init__(self, fail_at: tuple[int, Exception] | None = None) -> None:
        self.fail_at = fail_at
        self.pictures: list[NDArray[np.uint8] | NDArray[np.uint16]] = []
        self.pts_ns: list[int] = []
        self.durations_ns: list[int] = []
        self.info: VideoInfo | None = None
        self.size: tuple[int, int] | None = None
        self.closed = False
        self.drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Note what was announced."""
        self.info, self.size = info, size

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        """Keep the picture."""
        if self.fail_at is not None and len(self.pictures) == self.fail_at[0]:
            raise self.fail_at[1]
        self.pictures.append(Picture.of(pixels).array)
        self.pts_ns.append(pts_ns)
        self.durations_ns.append(duration_ns)

    def close(self) -> None:
        """Note that the end has come."""
        self.closed = True

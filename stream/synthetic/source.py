"""The sources `test:nir` and `test:thermal`: a synthetic camera read frame by frame."""

from __future__ import annotations

import time
from dataclasses import replace

from irchroma.stream.errors import SourceError, SourceLost
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.synthetic.camera import SyntheticCamera, SyntheticFrame
from irchroma.stream.synthetic.options import SyntheticOptions, parse_test_address

SECOND_NS = 1_000_000_000


def info_of(options: SyntheticOptions) -> VideoInfo:
    """What such a camera says of its video; known before anything is drawn."""
    return VideoInfo(
        size=options.size,
        rate=options.rate,
        live=options.live,
        frame_count=options.frames,
        duration_ns=None if options.frames is None else _pts_ns(options.frames, options),
        description=f"synthetic {options.band} camera, seed {options.seed}",
        counts=options.band == "thermal",
        endless=options.frames is None,
    )


def _pts_ns(number: int, options: SyntheticOptions) -> int:
    return int(number * SECOND_NS / options.rate)


class SyntheticSource:
    """A `FrameSource` that needs no device.

    `Frame.extra["truth"]` is the `SyntheticFrame`, which knows color, temperatures, classes, defects.
    Reopened, it starts again with frame 0.
    """

    def __init__(self, options: SyntheticOptions) -> None:
        self._options = options
        self._camera: SyntheticCamera | None = None
        self._next = 0
        self._drops = 0
        self._size: tuple[int, int] | None = None
        self._started = 0.0
        self._drawn: list[SyntheticFrame] = []

    @classmethod
    def from_address(cls, address: str) -> SyntheticSource:
        """From `test:nir?...` or `test:thermal?...`. Raises StreamOptionError."""
        return cls(parse_test_address(address))

    def open(self) -> VideoInfo:
        """Draw the scene; takes seconds for large pictures."""
        options = self._options
        self._camera = SyntheticCamera(options)
        self._next, self._size = 0, None
        self._camera.frame(0)
        self._drawn = []
        if options.ahead and options.frames is not None:
            self._drawn = [self._camera.frame(number) for number in range(options.frames)]
        self._started = time.monotonic()
        return replace(info_of(options), size=self._camera.size_at(0))

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; live, the newest that is due, waiting for it at most `timeout_s`."""
        if self._camera is None:
            raise SourceError("the synthetic camera is not open: call open() first")
        if self._options.live:
            self._keep_pace(timeout_s)
        number = self._next
        if self._options.frames is not None and number >= self._options.frames:
            return None
        self._next += 1
        shot = self._drawn[number] if self._drawn else self._camera.frame(number)
        size = self._camera.size_at(number)
        changed = self._size is not None and size != self._size
        self._size = size
        return Frame(
            pixels=shot.pixels,
            pts_ns=self._pts_ns(number),
            duration_ns=self._pts_ns(number + 1) - self._pts_ns(number),
            number=number,
            gap=changed,
            held=shot.held and self._options.telemetry,
            extra={"truth": shot},
        )

    @property
    def drops(self) -> int:
        """Frames that were due and not read in time."""
        return self._drops

    def close(self) -> None:
        self._camera, self._drawn = None, []

    def _pts_ns(self, number: int) -> int:
        return _pts_ns(number, self._options)

    def _keep_pace(self, timeout_s: float) -> None:
        """Wait until the next frame is due; when late, go on to the newest that is."""
        due = self._started + float(self._next / self._options.rate)
        wait = due - time.monotonic()
        if wait > timeout_s:
            time.sleep(timeout_s)
            raise SourceLost(f"no frame of the synthetic camera is due within {timeout_s:g} s")
        if wait > 0:
            time.sleep(wait)
            return
        newest = int((time.monotonic() - self._started) * self._options.rate)
        if self._options.frames is not None:
            newest = min(newest, self._options.frames)
        if newest > self._next:
            self._drops += newest - self._next
            self._next = newest

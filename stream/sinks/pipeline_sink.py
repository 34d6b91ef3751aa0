"""A sink that is a GStreamer pipeline behind an appsrc: feeding, back-pressure, errors, the orderly end."""

from __future__ import annotations

import errno
import logging
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.door import EndOfStream, GstFailure
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.i420_packer import Yuv420Packer, appsrc_of, even_size
from irchroma.stream.sinks.pace import Pace

log = logging.getLogger(__name__)

DEPTH = 3
"""Pictures that may wait in front of the encoder."""

LARGEST_PX = 8192
"""The longest side that is encoded."""

_ROOM_S = 0.002  # between looks at a full queue; the encoder has DEPTH pictures to go on with


class Packer(Protocol):
    """Lays pictures out as an appsrc's buffers."""

    def pack(self, picture: Pixels) -> NDArray[np.uint8]:
        """The bytes of one buffer, valid until the next call."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What comes after the appsrc.

    Attributes:
        launch: launch text from I420 (or what `head` says) to the sink element.
        properties: values for its named elements.
        corrections: as in `Pipeline`.
        head: launch text of an appsrc called `pictures`, and what packs for it; None for I420.
    """

    launch: str
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    head: tuple[str, Packer] | None = None
    corrections: dict[str, dict[int, bytes]] = field(default_factory=dict)


def check_size(size: tuple[int, int], label: str, smallest: int = 16) -> None:
    """SinkError for pictures that video encoders and containers do not take."""
    if min(size) < smallest or max(size) > LARGEST_PX:
        raise SinkError(
            f"{label}: pictures of {size[1]}x{size[0]} cannot be encoded:"
            f" expected sides of {smallest} to {LARGEST_PX} pixels"
        )


def explain(error: StreamError, label: str) -> SinkError:
    """One clear line for a pipeline's failure."""
    if isinstance(error, SinkError):
        return error
    reason = str(error)
    if isinstance(error, GstFailure):
        system = re.search(r"(?:system error|file descriptor \d+|Failed to open SRT): (.+)", error.debug)
        if error.code == "no-space-left":
            reason = "the disk is full"
        elif system:
            reason = system.group(1).strip()
    found = SinkError(f"{label}: {reason[:1].lower()}{reason[1:].rstrip('.')}")
    if isinstance(error, GstFailure) and error.code == "no-space-left":
        found.errno = errno.ENOSPC
    return found


class PipelineSink(ABC):
    """A `FrameSink` made of an appsrc and a tail that the subclass gives.

    Args:
        label: what the user typed, without credentials.
        waits: true where every picture is kept and `write` waits for room; false where the oldest
            picture in the queue gives way, and where files go at their own speed.
        end_s: seconds that `close` waits for the end of the stream; 0 to stop at once.
    """

    def __init__(self, label: str, waits: bool, end_s: float) -> None:
        self.label = label
        self._waits, self._end_s = waits, end_s
        self._pipeline: Pipeline | None = None
        self._packer: Packer | None = None
        self._failure: SinkError | None = None
        self._drops = self._written = 0
        self._last_ns = -1
        self._pace: Pace | None = None

    @abstractmethod
    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        """The rest of the pipeline for pictures of `size` (H, W), even unless it brings its own head."""

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. Pictures of other sizes are scaled to `size` later on."""
        check_size(size, self.label)
        self._pace = None if self._waits or info.live else Pace()
        self._start(info.rate, size)

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        even = even_size(size)
        try:
            tail = self._tail(rate, even)
            head, self._packer = tail.head or (appsrc_of(even, rate), Yuv420Packer(even))
            if not self._waits:
                head += f" is-live=true leaky-type=downstream max-buffers={DEPTH}"
            self._pipeline = Pipeline(
                f"{head} ! {tail.launch}", dict(tail.properties), corrections=tail.corrections
            )
            self._pipeline.start()
            self._pipeline.check()
        except StreamError as error:
            self._stop()
            raise explain(error, self.label) from error

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. A picture that is not later than the one before is left out and counted."""
        if self._failure is not None:
            raise self._failure
        if self._pipeline is None or self._packer is None:
            raise SinkError(f"{self.label}: written to before it was opened")
        if pts_ns <= self._last_ns:
            self._drops += 1
            return
        if self._pace is not None:
            self._pace.wait(pts_ns)
        try:
            self._make_room(self._pipeline)
            self._pipeline.push("pictures", self._packer.pack(rgb), pts_ns, duration_ns)
        except EndOfStream as error:
            self._failure = SinkError(f"{self.label}: takes no more")
            raise self._failure from error
        except StreamError as error:
            self._failure = explain(error, self.label)
            raise self._failure from error
        self._last_ns = pts_ns
        self._written += 1

    def _make_room(self, pipeline: Pipeline) -> None:
        """Not appsrc's own `block`: it never wakes up again when an element behind it has failed."""
        pipeline.check()
        pictures = pipeline.element("pictures")
        if not self._waits:
            self._drops += pictures.get_property("current-level-buffers") >= DEPTH
            return
        while pictures.get_property("current-level-buffers") >= DEPTH:
            time.sleep(_ROOM_S)
            pipeline.check()

    @property
    def drops(self) -> int:
        """See `FrameSink.drops`."""
        return self._drops

    def close(self) -> None:
        """See `FrameSink.close`. Raises SinkError when the end could not be written; lets go all the same."""
        pipeline = self._pipeline
        if pipeline is None:
            return
        try:
            if self._end_s and self._written and self._failure is None:
                pipeline.end("pictures", self._end_s)
        except (StreamError, TimeoutError) as error:
            self._failure = explain(
                StreamError(str(error)) if isinstance(error, TimeoutError) else error, self.label
            )
            raise self._failure from error
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.stop()
        self._pipeline = self._packer = None

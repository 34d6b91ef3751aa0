"""The thread that finishes pictures: waits for their color, composes them, gives them to the sinks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.latency import LatencyMeter, RateMeter
from irchroma.stream.loop.threads import Ring, RingClosed, feed_thread
from irchroma.stream.loop.writer import SinkWriter, Timed
from irchroma.stream.picture import lettering
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Composer, Job, VideoInfo

log = logging.getLogger(__name__)

_HURRY_S = 0.8


class Silence(NamedTuple):
    """Instead of a frame: there is none for the time of one picture.

    Attributes:
        pts_ns, duration_ns: of the picture.
        reason: why.
        silent_s: for how long already.
    """

    pts_ns: int
    duration_ns: int
    reason: str
    silent_s: float


class ComposingThread:
    """Takes jobs from a bounded ring, in order, until the ring is closed.

    Args:
        composer: makes the viewer's pictures.
        writers: of the sinks; opened with the first picture, whose size they take.
        stages: gets the times of `color` and `compose`.
        repeat_s: after a loss the last picture is repeated this long before the "no signal" card.
        on_failure: called on this thread after a failure; ends the run.
        stopping: set when the run is told to stop: nothing is waited for long then.

    Attributes:
        jobs: where they are put.
        repeat_s: as it was given; may be changed.
        failure: why it gave up, None if it did not.
        colored: frames that were given to the sinks in color.
        hurried: since the run was told to stop, frames went out without color or were left behind.
    """

    def __init__(
        self,
        composer: Composer,
        writers: list[SinkWriter],
        stages: dict[str, LatencyMeter],
        repeat_s: float,
        on_failure: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._composer, self._writers, self._stages = composer, writers, stages
        self.repeat_s, self._on_failure, self._stopping = repeat_s, on_failure, stopping
        self._thread = feed_thread(self._work, "compose")
        self._rate = RateMeter()
        self._sinks_open = self._left = False
        self._info: VideoInfo
        self._guarded: GuardedColorizer
        self.jobs: Ring[Job | Silence] = Ring(4, newest_wins=False)
        self.failure: StreamError | ValueError | None = None
        self.colored, self.hurried = 0, False

    def prepare(self) -> None:
        """Begin with what needs no frame yet, letters' font."""
        self._thread.start()

    def start(self, info: VideoInfo, guarded: GuardedColorizer) -> None:
        """Jobs will come; `guarded` gives the color of their tickets."""
        self._info, self._guarded = info, guarded

    def finish(self) -> None:
        """Take no more jobs, and wait for those that are there."""
        self.jobs.close()
        deadline_s = math.inf
        while self._thread.ident is not None and self._thread.is_alive():
            self._thread.join(0.05)
            if self._stopping.is_set():
                deadline_s = min(deadline_s, time.monotonic() + _HURRY_S)
            if time.monotonic() > deadline_s:
                log.warning("pictures that were not finished in time are left behind")
                self._left = self.hurried = True
                self.jobs.abandon()
                return

    def _work(self) -> None:
        last: Picture | None = None
        try:
            lettering.prepare()
            while True:
                last = self._finish(self.jobs.take(), last)
        except RingClosed:
            return
        except (StreamError, ValueError) as error:  # the latter: an engine that refuses what it was asked
            self.failure = error
        except Exception as error:  # the thread's last stand: the run must end, not hang
            log.exception("composing broke")
            self.failure = StreamError(f"composing the picture failed unexpectedly: {error!r}")
        self.jobs.abandon()
        self._on_failure()

    def _finish(self, job: Job | Silence, last: Picture | None) -> Picture:
        if isinstance(job, Job):
            picture = self._composed(job)
            picture.taken_ns = job.frame.taken_ns
            self._send(Timed(picture, job.frame.pts_ns, job.duration_ns, job.frame.arrival_ns))
            if job.colored is None and job.camera_rgb is None:
                self.hurried = self.hurried or self._stopping.is_set()
            elif not self._left:  # the sinks take nothing any more then
                self.colored += 1
            return picture
        if last is not None and job.silent_s < self.repeat_s:
            picture = last
        else:
            picture = self._composer.no_signal(job.silent_s, job.reason)
        self._send(Timed(picture, job.pts_ns, job.duration_ns))
        return last or picture

    def _composed(self, job: Job) -> Picture:
        if job.ticket is not None:
            job.colored = self._guarded.collect(job.ticket)
            self._stages["color"].add(time.monotonic_ns() - job.submitted_ns)
        self._rate.tick(time.monotonic_ns())
        if job.colored is None and job.camera_rgb is None:
            job.reason = self._guarded.reason or "the engine failed"
        job.engine, job.synthetic = self._guarded.name, self._guarded.synthetic
        job.rate_hz = self._rate.rate_hz
        with self._stages["compose"].timed():
            try:
                return self._composer.compose(job)
            except Exception as error:
                if job.colored is None:
                    raise
                # A picture that is made only when asked for may fail then; the frame goes out all the same.
                self._guarded.note_bad_picture(error)
                job.colored, job.reason = None, str(error) or type(error).__name__
                return self._composer.compose(job)

    def _send(self, timed: Timed) -> None:
        if not self._sinks_open:
            device = getattr(timed.picture, "device", None)
            if device is not None:
                self._info = replace(self._info, device=device.index)
            self._open_all((timed.picture.shape[0], timed.picture.shape[1]))
            self._sinks_open = True
        for writer in self._writers:
            writer.put(timed)
        failures = [writer.failure for writer in self._writers]
        if failures and failures[0] is not None and None not in failures:
            raise failures[0]

    def _open_all(self, size: tuple[int, int]) -> None:
        """Open the sinks; one that cannot be opened (a window without a display) does not end the others.

        On a live run it is tried again: its port may be free in a moment, and the run goes on for weeks.
        """
        refused: list[tuple[SinkWriter, SinkError]] = []
        for writer in self._writers:
            try:
                writer.open(self._info, size, self._stopping, or_later=len(self._writers) > 1)
            except SinkError as error:
                refused.append((writer, error))
                if len(self._writers) > 1:
                    log.warning("the other outputs go on without %s", writer.label)  # which has said why
        if refused and not any(writer.opened for writer in self._writers):
            for writer, fault in refused:
                writer.failure = writer.failure or fault  # for good: the run ends on it
            raise refused[0][1]

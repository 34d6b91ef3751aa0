"""The thread that finishes pictures: waits for their color, composes them, gives them to the sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError
from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.latency import LatencyMeter, RateMeter
from irchroma.stream.loop.reader import Arrival
from irchroma.stream.loop.threads import Ring, RingClosed, feed_thread
from irchroma.stream.loop.writer import Picture, SinkWriter
from irchroma.stream.protocols import Composer, Finished, Shown, VideoInfo

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A picture on its way.

    Attributes:
        arrival: the frame; None for a card or a repeated picture.
        pts_ns, duration_ns: of the picture.
        luma: (H, W) uint8, tone mapped; None without a frame.
        ticket: of the engine; None where it was not asked.
        camera_rgb: (H, W, 3) uint8, the camera's own color, which is passed through.
        reason: why there is no signal.
        submitted_ns: when the engine was asked, monotonic.
        silent_s: how long there has been no signal.
    """

    arrival: Arrival | None
    pts_ns: int
    duration_ns: int
    luma: NDArray[np.uint8] | None = None
    ticket: int | None = None
    camera_rgb: NDArray[np.uint8] | None = None
    reason: str | None = None
    submitted_ns: int = 0
    silent_s: float = 0.0


class ComposingThread:
    """Takes jobs from a bounded ring, in order, until the ring is closed.

    Args:
        composer: makes the viewer's pictures.
        writers: of the sinks; opened with the first picture, whose size they take.
        stages: gets the times of `color` and `compose`.
        repeat_s: after a loss the last picture is repeated this long before the "no signal" card.
        on_failure: called on this thread after a failure; ends the run.

    Attributes:
        jobs: where they are put.
        failure: why it gave up, None if it did not.
    """

    def __init__(
        self,
        composer: Composer,
        writers: list[SinkWriter],
        stages: dict[str, LatencyMeter],
        repeat_s: float,
        on_failure: Callable[[], None],
    ) -> None:
        self._composer, self._writers, self._stages = composer, writers, stages
        self._repeat_s, self._on_failure = repeat_s, on_failure
        self._thread = feed_thread(self._work, "compose")
        self._rate = RateMeter()
        self._sinks_open = False
        self._info: VideoInfo
        self._guarded: GuardedColorizer
        self.jobs: Ring[Job] = Ring(4, newest_wins=False)
        self.failure: StreamError | None = None

    def start(self, info: VideoInfo, guarded: GuardedColorizer) -> None:
        """Begin; `guarded` gives the color of tickets."""
        self._info, self._guarded = info, guarded
        self._thread.start()

    def finish(self) -> None:
        """Take no more jobs, and wait for those that are there."""
        self.jobs.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        last: Shown | None = None
        try:
            while True:
                job = self.jobs.get()
                assert job is not None
                last = self._finish(job, last)
        except RingClosed:
            return
        except StreamError as error:
            self.failure = error
        except Exception as error:  # the thread's last stand: the run must end, not hang
            log.exception("composing broke")
            self.failure = StreamError(f"composing the picture failed unexpectedly: {error!r}")
        for job in self.jobs.abandon():
            if job.ticket is not None:  # the engine's places are given back: somebody may wait for one
                self._guarded.collect(job.ticket)
        self._on_failure()

    def _finish(self, job: Job, last: Shown | None) -> Shown:
        arrival_ns = 0
        picture: Shown
        if job.arrival is not None:
            picture = self._composed(job, job.arrival)
            arrival_ns = job.arrival.arrival_ns
        elif last is not None and job.silent_s < self._repeat_s:
            picture = last
        else:
            picture = self._composer.no_signal(job.silent_s, job.reason or "")
        self._send(Picture(picture, job.pts_ns, job.duration_ns, arrival_ns))
        return picture if job.arrival is not None or last is None else last

    def _composed(self, job: Job, arrival: Arrival) -> Shown:
        assert job.luma is not None
        colored = None
        if job.ticket is not None:
            colored = self._guarded.collect(job.ticket)
            self._stages["color"].add(time.monotonic_ns() - job.submitted_ns)
        self._rate.tick(time.monotonic_ns())
        no_color = colored is None and job.camera_rgb is None
        finished = Finished(
            luma=job.luma,
            colored=colored,
            camera_rgb=job.camera_rgb,
            reason=(self._guarded.reason or "the engine failed") if no_color else None,
            frame=arrival.frame,
            arrival_ns=arrival.arrival_ns,
            engine=self._guarded.name,
            synthetic=self._guarded.synthetic,
            rate_hz=self._rate.rate_hz,
        )
        with self._stages["compose"].timed():
            return self._composer.compose(finished)

    def _send(self, picture: Picture) -> None:
        if not self._sinks_open:
            for writer in self._writers:
                writer.open(self._info, (picture.pixels.shape[0], picture.pixels.shape[1]))
            self._sinks_open = True
        for writer in self._writers:
            writer.put(picture)
        if self._writers and all(writer.failure is not None for writer in self._writers):
            assert self._writers[0].failure is not None
            raise self._writers[0].failure

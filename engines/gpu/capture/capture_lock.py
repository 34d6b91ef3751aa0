"""Recording a CUDA stream, and calls that wait for the whole device, never at the same time.

While any stream of a context is recorded, whoever waits for the context is refused, and the recording is
spoiled (CUDA C++ Programming Guide, "Prohibited and Unhandled Operations" of stream capture), in other
threads too. What this project calls waits for streams and events alone; what TensorRT calls while it builds
and loads plans is its own business. So recordings, which take milliseconds, wait for a moment and are then
put off to a later frame.

Python's collector rests meanwhile: what it finds may be the memory or the graphs of a video that is over, and
to give those back in a thread that records spoils its recording.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from irchroma.engines.gpu.device import CaptureRefused

_PATIENCE_S = 0.02
_IMPATIENT_S = 1.0
"""After a recording was put off, how long others are put off without waiting: a plan builds for minutes, in
which every frame would wait."""


class RecordingPutOff(CaptureRefused):
    """Not now: a plan is being built or loaded; it can be tried again."""


class Recordings:
    """Keeps the two apart; any number of either kind may go on at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._recording = 0
        self._waiting_for_all = 0
        self._impatient_until = 0.0
        self._collects = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A stream is recorded within.

        Raises:
            RecordingPutOff: the device is waited for, and has been for some time.
        """
        with self._changed:
            patience_s = 0.0 if time.monotonic() < self._impatient_until else _PATIENCE_S
            if not self._changed.wait_for(lambda: self._waiting_for_all == 0, patience_s):
                if patience_s:
                    self._impatient_until = time.monotonic() + _IMPATIENT_S
                raise RecordingPutOff("a plan is being built or loaded")
            if self._recording == 0:
                self._collects = gc.isenabled()
                gc.disable()
            self._recording += 1
        try:
            yield
        finally:
            with self._changed:
                self._recording -= 1
                if self._recording == 0 and self._collects:
                    gc.enable()
                self._changed.notify_all()

    @contextmanager
    def waiting_for_all(self) -> Iterator[None]:
        """The whole device may be waited for within; blocks while a stream is recorded."""
        with self._changed:
            self._waiting_for_all += 1  # so that no further recording begins
            self._changed.wait_for(lambda: self._recording == 0)
        try:
            yield
        finally:
            with self._changed:
                self._waiting_for_all -= 1
                self._changed.notify_all()


recordings = Recordings()
"""Of this process: CUDA's rule is for each context, and there is one for each device."""

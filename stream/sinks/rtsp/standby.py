"""What an RTSP stream shows before its first picture: the "no signal" card, for recorders that come early."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from fractions import Fraction
from typing import Protocol

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.rtsp.server import RtspAddress
from irchroma.stream.view.cards import no_signal_card

log = logging.getLogger(__name__)

_SIZE = (360, 640)
_RATE = Fraction(5)
_REASON = "waiting for the first picture"
_JOIN_S = 2.0


class Stream(FrameSink, Protocol):
    """What of an `RtspSink` is used here."""

    address: RtspAddress

    @property
    def watched(self) -> bool:
        """True while there are clients."""

    def let_out(self) -> RtspAddress | None:
        """Wait until nothing is on its way to clients; where it is served."""

    def withhold(self) -> None:
        """Serve it from now on no more where it is not served yet; returns once that is sure."""

    def give_way(self) -> None:
        """It is served no longer: its address is another's."""


class Standby:
    """Serves the card from a thread of its own, encoded only while somebody watches.

    Args:
        sink: a stream at the address, not yet open; this object's from now on.
    """

    def __init__(self, sink: Stream) -> None:
        self._sink = sink
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._opening, self._left = True, False
        work = copy_context().run  # whose log lines are its camera's
        self._thread = threading.Thread(target=work, args=(self._work,), name="rtsp standby", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            if self._open():
                self._show()
        except SinkError as error:  # which the stream itself will tell when it is opened
            log.debug("%s: no card before the first picture: %s", self._sink.address, error)

    def _open(self) -> bool:
        """False where nobody has waited for it: an encoder may be looked for longer than the run lasts."""
        try:
            self._sink.open(VideoInfo(_SIZE, _RATE, live=True), _SIZE)
        finally:
            with self._lock:
                self._opening = False
            if self._left:
                self._sink.close()
        return not self._left

    def _show(self) -> None:
        began_s, period_s, last_s = time.monotonic(), float(1 / _RATE), -1
        card = no_signal_card(_SIZE, None, 0, _REASON)
        while not self._ended.wait(period_s):
            silent_s = time.monotonic() - began_s
            if self._sink.watched and int(silent_s) != last_s:
                last_s = int(silent_s)
                card = no_signal_card(_SIZE, None, silent_s, _REASON)
            self._sink.write(card, int(1e9 * silent_s), int(1e9 * period_s))

    def end(self) -> RtspAddress | None:
        """Write no more; where it was served, which it still is, or None for nowhere, now and later."""
        self._ended.set()
        self._thread.join(_JOIN_S)
        self._sink.withhold()
        return self._sink.let_out()

    def close(self, replaced: bool) -> None:
        """Let go; `replaced`: another stream has taken its place, and its viewers are disconnected."""
        self._ended.set()
        self._thread.join(_JOIN_S)
        self._sink.withhold()
        if replaced:
            self._sink.give_way()
        with self._lock:
            self._left = self._opening
        if not self._left:  # else its own thread closes it
            self._sink.close()

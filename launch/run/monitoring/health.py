"""How a run is: live, lost, slate or failed, why, and since when; each change is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.sources.addresses import masked

_LOOK_S = 0.2
_LOST_S = 1.0  # a camera that stumbles for less is not lost
NO_FRAME = "no frame yet"


class State(NamedTuple):
    """What a run is.

    Attributes:
        state: `waiting`: there is no first frame yet; `live`: frames come; `lost`: they do not, the last
            picture stands; `slate`: the "no signal" card stands in its place; `failed`: given up;
            `ended`: over.
        reason: why; of a live run, why it goes out without color; of one that ended before its first frame,
            that no picture came, and why. None where all is well.
        for_s: for how long already, where that is known from elsewhere.
    """

    state: str
    reason: str | None = None
    for_s: float = 0.0


def state_of(loop: Loop | None, waiting: str | None = None) -> State:
    """What a run is that has not ended.

    Args:
        loop: None where it could not be built yet.
        waiting: why there is no first frame.
    """
    if loop is None or not loop.frames:
        found = loop.reader.lost_reason if loop is not None else None
        return State("waiting", waiting or found or NO_FRAME)
    silence = loop.silence()
    if silence is not None and (silence[0] >= _LOST_S or loop.reader.lost_reason is not None):
        silent_s, reason = silence
        if silent_s < loop.repeat_s:
            return State("lost", reason, silent_s)
        return State("slate", reason, silent_s - loop.repeat_s)
    return State("live", loop.guarded.reason if loop.guarded is not None else None)


class Health:
    """Looks at one run a few times a second, and tells each change.

    Args:
        loop: gives the run's, None while there is none.
        tell: called with each event, from the thread that looks; must be quick. None for nobody.
        about: what every event says besides, such as the camera's name.

    Attributes:
        waiting: why there is no first frame, where somebody knows better than the loop.
    """

    def __init__(
        self,
        loop: Callable[[], Loop | None],
        tell: Callable[[dict[str, Any]], None] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self._loop, self._tell, self._about = loop, tell, about or {}
        self._lock = threading.Lock()
        self._now: State | None = None
        self._since_s = time.time()
        self._over: State | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.waiting: str | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = feed_thread(self._work, "health")
        self._thread.start()

    def stop(self, failure: str | None = None) -> None:
        """The run is over; may be called twice, the first word counts."""
        if self._over is None:
            last = self.look()  # a run may be shorter than the time between two looks
            if failure is not None:
                self._over = State("failed", masked(failure))
            else:
                self._over = State("ended", _missed(last) if last.state == "waiting" else None)
        self._ending.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.look()

    def look(self) -> State:
        """What the run is at this moment."""
        with self._lock:
            found = self._over or state_of(self._loop(), self.waiting)
            if self._now is None and found.reason == NO_FRAME:
                return found  # it has only just begun
            before, self._now = self._now, found
            if before is None or before.state != found.state:
                self._since_s = time.time() - found.for_s
                if self._tell is not None:
                    self._tell(self._event(found.state, found, before))
            elif (before.reason is None) != (found.reason is None) and found.state == "live":
                kind = "uncolored" if found.reason is not None else "colored"
                if self._tell is not None:
                    self._tell(self._event(kind, found, before))
            return found

    def figures(self) -> dict[str, Any]:
        """`state`, `reason` and `since` (timezone.utc, ISO 8601), for statistics and pages."""
        now = self.look()
        return {"state": now.state, "reason": now.reason, "since": _iso(self._since_s)}

    def _event(self, kind: str, now: State, before: State | None) -> dict[str, Any]:
        return {
            "event": kind,
            **self._about,
            "state": now.state,
            "was": before.state if before is not None else None,
            "reason": now.reason,
            "since": _iso(self._since_s),
            "time": _iso(time.time()),
        }

    def _work(self) -> None:
        while not self._ending.wait(_LOOK_S):
            self.look()


def _missed(last: State) -> str:
    return "no picture came" if last.reason in (None, NO_FRAME) else f"no picture came: {last.reason}"


def _iso(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )

"""A run's references that the scene chooses (`--reference auto`), and what an operator makes of them.

Beside the frames a thread of its own looks at one now and then; engines take another between two frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.processor import make_nice
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval.follower import SceneFollower
from irchroma.engines.retrieval.gathering import DayPictures
from irchroma.engines.retrieval.index import Entry
from irchroma.engines.retrieval.library import Match, ReferenceLibrary
from irchroma.launch.config import ConfigError, shortened
from irchroma.launch.run.given_references import CANDIDATES, Steering
from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Composer, Job

log = logging.getLogger(__name__)

EVERY_NS = 500_000_000
"""Of the frames' time, from look to look."""
WAIT_S, FILE_WAIT_S = 5.0, 60.0
"""That the end of a live run waits for the last look, and a file for each look and all that is gathered:
a busy machine must not change a file's pictures."""
KEPT_THUMBNAILS = 64
REFRESH_S = 5.0


@dataclass(slots=True)
class _Look:
    luma: NDArray[np.uint8]
    at_s: float
    cut: bool
    done: threading.Event = field(default_factory=threading.Event)


class AutoReference(Steering):
    """Of one run: the scene chooses. `see` is called by one thread, everything else by any.

    Attributes:
        library: that pictures are taken from.
        waits: frames wait for looks and gathering, so that a file gives the same pictures every time.
    """

    def __init__(
        self,
        library: ReferenceLibrary,
        strength: float = 1.0,
        waits: bool = False,
        gather: DayPictures | None = None,
    ) -> None:
        """Begin without a reference.

        Args:
            library: see above.
            strength: how much references count, [0, 2].
            waits: see above.
            gather: takes the camera's own pictures by day into the library, which may be empty then.

        Raises:
            EngineOptionError: the library is empty.
            EngineUnavailable: what finds neighbors is not installed.
        """
        super().__init__([], strength)
        self.library, self.waits = library, waits
        self._follower = SceneFollower(library, may_be_empty=gather is not None)
        self._gather = gather
        self._gathered: tuple[list[NDArray[np.uint8]], threading.Event] | None = None
        self._woken = threading.Condition()
        self._next: _Look | None = None
        self._looked_ns: int | None = None
        self._cut = self._closed = self._anew = False
        self._chosen: Entry | None = None
        self._pinned: str | None = None
        self._matches: list[Match] = []
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self._refreshed_s = time.monotonic()
        self._thread: threading.Thread | None = None

    def see(self, luma: NDArray[np.uint8], pts_ns: int, gap: bool) -> None:
        """One frame as it is colored; quick, but where frames wait.

        Args:
            luma: (H, W) uint8, tone mapped; kept, not written to.
            pts_ns: its time.
            gap: it has nothing to do with the one before.
        """
        self._cut = self._cut or gap
        if self._looked_ns is not None and 0 <= pts_ns - self._looked_ns < EVERY_NS and not gap:
            return
        self._looked_ns = pts_ns
        wanted = _Look(luma, pts_ns / 1e9, self._cut)
        self._cut = False
        self._begin()
        with self._woken:
            wanted.cut = wanted.cut or (self._next is not None and self._next.cut)
            self._next = wanted
            self._woken.notify()
        if self.waits:
            wanted.done.wait(FILE_WAIT_S)

    def see_color(self, rgb: NDArray[np.uint8], pts_ns: int) -> None:
        """One frame in the camera's own color, of the thread that calls `see`; quick, but where frames wait.

        Args:
            rgb: (H, W, 3) uint8 R'G'B', as it may be shown; not kept.
            pts_ns: its time.
        """
        samples = self._gather.sample(rgb, pts_ns) if self._gather is not None else None
        if samples is None:
            return
        kept = threading.Event()
        self._begin()
        with self._woken:
            self._gathered = samples, kept
            self._woken.notify()
        if self.waits:
            kept.wait(FILE_WAIT_S)

    def choose(self, wanted: object) -> None:
        """What an operator wants: a picture's key, and its look; `none`; `auto` to choose by the scene again.

        Raises:
            ConfigError: there is no such picture.
            EngineOptionError: it has gone from the folder.
        """
        known = {"auto", "none", *(entry.key for entry in self.library.entries)}
        if not isinstance(wanted, str) or wanted not in known:
            raise ConfigError(f"there is no reference {shortened(repr(wanted))} to choose")
        entry = self.library.find(wanted) if wanted not in ("auto", "none") else None
        reference = replace(self.library.load(entry), wished=True) if entry is not None else None
        with self._giving:
            with self._lock:
                self._pinned = None if wanted == "auto" else wanted
                self._anew = wanted == "auto"
            if wanted != "auto":
                self._use(entry, reference, "chosen on the page")
            elif any(one.wished for one in self._references):
                self._give([replace(one, wished=False) for one in self._references])

    def state(self) -> dict[str, Any]:
        """See `RunReferences.state`: the best by the last look, and what is in use."""
        with self._lock:
            chosen, matches, pinned = self._chosen, self._matches, self._pinned
        scores = {match.entry.key: round(min(1.0, match.score), 2) for match in matches}
        shown = [match.entry for match in matches[:CANDIDATES]]
        if chosen is not None and chosen.key not in {entry.key for entry in shown}:
            shown.append(chosen)
        return {
            "auto": pinned is None,
            "strength": self._strength,
            "current": chosen.key if chosen is not None else None,
            "candidates": [
                {"key": entry.key, "name": entry.source, "score": scores.get(entry.key)} for entry in shown
            ],
        }

    def thumbnail(self, key: str) -> bytes | None:
        """See `RunReferences.thumbnail`."""
        with self._lock:
            kept = self._thumbnails.get(key)
        entry = next((one for one in self.library.entries if one.key == key), None)
        if kept is not None or entry is None:
            return kept
        try:
            jpeg = self.library.thumbnail(entry)
        except (EngineError, OSError):
            return None
        with self._lock:
            self._thumbnails[key] = jpeg
            while len(self._thumbnails) > KEPT_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return jpeg

    def close(self) -> None:
        """End with the look in hand; may be called twice."""
        with self._woken:
            self._closed = True
            self._woken.notify()
        if self._thread is not None:
            self._thread.join(FILE_WAIT_S if self.waits else WAIT_S)

    def _begin(self) -> None:
        if self._thread is None:  # not before: a run that cannot begin leaves none behind
            self._thread = feed_thread(self._work, "reference")
            self._thread.start()

    def _work(self) -> None:
        nice = False
        while True:
            with self._woken:
                self._woken.wait_for(lambda: self._closed or self._next is not None or self._gathered)
                wanted, self._next = self._next, None
                gathered, self._gathered = self._gathered, None
            if wanted is None and gathered is None:
                return
            if not nice and not self.waits:
                make_nice()
                nice = True
            try:
                if wanted is not None:
                    self._consider(wanted)
                if gathered is not None and self._gather is not None:
                    self._gather.keep(gathered[0])
            except Exception:  # a run goes on whatever becomes of its reference
                log.exception("the scene could not be looked at")
            if wanted is not None:
                wanted.done.set()
            if gathered is not None:
                gathered[1].set()

    def _consider(self, look: _Look) -> None:
        """Look at a frame, and take what suits it."""
        if time.monotonic() - self._refreshed_s > REFRESH_S:
            self._refreshed_s = time.monotonic()
            self.library.refresh()
        with self._lock:
            pinned, chosen = self._pinned, self._chosen
            cut, self._anew = look.cut or self._anew, False
        seen = self._follower.look(look.luma, look.at_s, chosen, cut, fixed=pinned is not None)
        with self._lock:
            self._matches = seen.matches
        with self._giving:
            if seen.changes and self._pinned == pinned:
                self._use(seen.entry, seen.reference, seen.why)

    def _use(self, entry: Entry | None, reference: Reference | None, why: str) -> None:
        with self._lock:
            self._chosen = entry
        log.info("reference: %s, %s", entry.file if entry is not None else "none", why)
        self._give([] if reference is None else [reference])


def without_passers_by(samples: Sequence[NDArray[np.uint8]], name: str) -> Reference:
    """One picture of several of a fixed camera, see `calibration.references`."""
    from irchroma.calibration.references import ReferenceCollector

    collector = ReferenceCollector(1)
    for sample in samples:
        collector.add(sample, name)
    return collector.references()[0]


class DayWatch:
    """A `Composer` that shows an `AutoReference` the camera's own color, as it may be shown."""

    def __init__(self, composer: Composer, auto: AutoReference) -> None:
        self._composer, self._auto = composer, auto

    def compose(self, job: Job) -> Picture:
        if job.camera_rgb is not None:
            self._auto.see_color(job.camera_rgb, job.frame.pts_ns)
        return self._composer.compose(job)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return self._composer.no_signal(silent_s, reason)


class SceneWatch:
    """A `Composer` that shows each frame to an `AutoReference` before another composer draws it."""

    def __init__(self, composer: Composer, auto: AutoReference) -> None:
        self._composer, self._auto = composer, auto

    def compose(self, job: Job) -> Picture:
        """See `irchroma.stream.protocols.Composer.compose`; the camera's own color needs no reference."""
        if job.camera_rgb is None:
            self._auto.see(job.luma, job.frame.pts_ns, job.frame.gap)
        return self._composer.compose(job)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return self._composer.no_signal(silent_s, reason)

"""`--reference auto`: looks at the running scene and hands the engine the picture of a library that suits it.

Beside the frames: a thread of its own looks at one now and then, and engines take another reference between
two frames.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.neural.beside import make_nice
from irchroma.engines.reference import registration
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.chooser import ChoiceOptions, SceneChooser
from irchroma.engines.retrieval.library import Entry, Match, ReferenceLibrary
from irchroma.launch.config import ConfigError, shortened
from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Composer, Job

log = logging.getLogger(__name__)

EVERY_NS = 500_000_000
"""Of the frames' time, from look to look."""
CUT = 0.6
"""Likeness of two looks below which there was a cut between them; in 16 clips, pans and gain jumps among
them, it was 0.78 and more."""
CANDIDATES = 6
"""Shown on a page."""
FINALISTS = 4
"""The best, of which it is found out whether they show this very scene, and lie over the frame."""
SAME_SCENE = 0.2
"""That such a one is better than its features say."""
SAME_VIEW = 0.8
"""Likeness of two looks at and above which the camera has not turned."""
REGISTER_EVERY_S, REGISTER_AGAIN_S = 30.0, 4.0
"""Of one view, and of one after another; at once after a cut."""
WAIT_S = 5.0
"""That a file waits for a look, and the end of a run for the last one."""
KEPT_THUMBNAILS = 64
REFRESH_S = 5.0


@runtime_checkable
class TakesReferences(Protocol):
    """An engine whose references are exchanged while it runs."""

    def exchange_references(self, references: list[Reference]) -> None:
        """Any thread; taken between two frames."""

    def set_reference_strength(self, strength: float) -> None:
        """How much they count, [0, 1]; any thread."""


@dataclass(slots=True)
class _Look:
    luma: NDArray[np.uint8]
    at_s: float
    cut: bool
    done: threading.Event = field(default_factory=threading.Event)


class AutoReference:
    """Of one run. `see` is called by one thread, everything else by any.

    Attributes:
        library: that pictures are taken from.
    """

    def __init__(
        self,
        library: ReferenceLibrary,
        strength: float = 1.0,
        choice: ChoiceOptions | None = None,
        waits: bool = False,
    ) -> None:
        """Begin without a reference.

        Args:
            library: not empty.
            strength: how much references count, as engines begin with it.
            choice: when another picture is taken.
            waits: frames wait for the looks at them, so that a file gives the same pictures every time.

        Raises:
            EngineOptionError: the library is empty.
            EngineUnavailable: what finds neighbors is not installed.
        """
        if not library.entries:
            raise EngineOptionError(
                f"the library of references in {library.folder} is empty: irchroma references add PICTURES"
                f" --library {library.folder}"
            )
        library.search(np.zeros((64, 64), np.uint8), 1)  # what is missing is said before the run begins
        self.library = library
        self.waits = waits
        self._strength = strength
        self._chooser = SceneChooser(choice)
        self._engines: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self._woken = threading.Condition(self._lock)
        self._next: _Look | None = None
        self._looked_ns: int | None = None
        self._cut = False
        self._closed = False
        self._before: NDArray[np.float32] | None = None
        self._chosen: Entry | None = None
        self._references: list[Reference] = []
        self._pinned: str | None = None
        self._anew = False
        self._matches: list[Match] = []
        self._scores: dict[str, float] = {}
        self._same_scene: set[str] = set()
        self._registered: NDArray[np.float32] | None = None
        self._registered_s = -math.inf
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self._said_none = False
        self._refreshed_s = time.monotonic()
        self._thread = feed_thread(self._work, "reference")
        self._thread.start()

    def attend(self, engine: object) -> None:
        """This engine colors from now on; it is given what is in use."""
        if not isinstance(engine, TakesReferences):
            return
        with self._lock:
            self._engines.add(engine)
            references, strength = self._references, self._strength
        engine.set_reference_strength(strength)
        engine.exchange_references(references)

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
        with self._woken:
            if self._next is not None:
                wanted.cut = wanted.cut or self._next.cut
            self._next = wanted
            self._woken.notify()
        if self.waits:
            wanted.done.wait(WAIT_S)

    def choose(self, wanted: object) -> None:
        """What an operator wants: a picture's key, `none`, or `auto` to choose by the scene again.

        Raises:
            ConfigError: there is no such picture.
            EngineOptionError: it has gone from the folder.
        """
        known = {"auto", "none", *(entry.key for entry in self.library.entries)}
        if not isinstance(wanted, str) or wanted not in known:
            raise ConfigError(f"there is no reference {shortened(repr(wanted))} to choose")
        entry = self.library.find(wanted) if wanted not in ("auto", "none") else None
        reference = self.library.load(entry) if entry is not None else None
        with self._lock:
            self._pinned = None if wanted == "auto" else wanted
            self._anew = wanted == "auto"
        if wanted != "auto":
            self._use(entry, reference, "chosen on the page")

    def strengthen(self, strength: float) -> None:
        """How much references count from now on, [0, 1]."""
        with self._lock:
            self._strength = strength
            engines = list(self._engines)
        for engine in engines:
            engine.set_reference_strength(strength)

    def state(self) -> dict[str, Any]:
        """For a page: whether the scene chooses, what is in use, what else there is and how alike it is."""
        with self._lock:
            chosen, matches, pinned = self._chosen, self._matches, self._pinned
            scores = self._scores
        shown = [match.entry for match in matches[:CANDIDATES]]
        if chosen is not None and chosen.key not in {entry.key for entry in shown}:
            shown.append(chosen)
        return {
            "auto": pinned is None,
            "strength": self._strength,
            "current": chosen.key if chosen is not None else None,
            "candidates": [
                {
                    "key": entry.key,
                    "name": entry.source,
                    "score": round(min(1.0, scores[entry.key]), 2) if entry.key in scores else None,
                }
                for entry in shown
            ],
        }

    def thumbnail(self, key: str) -> bytes | None:
        """A small JPEG of a picture; None where there is none."""
        with self._lock:
            kept = self._thumbnails.get(key)
        if kept is not None:
            return kept
        entry = next((one for one in self.library.entries if one.key == key), None)
        if entry is None:
            return None
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
        self._thread.join(WAIT_S)

    def _work(self) -> None:
        make_nice()
        while True:
            with self._woken:
                self._woken.wait_for(lambda: self._closed or self._next is not None)
                wanted, self._next = self._next, None
            if wanted is None:
                return
            try:
                self._consider(wanted)
            except Exception:  # a run goes on whatever becomes of its reference
                log.exception("the scene could not be looked at")
            wanted.done.set()

    def _consider(self, look: _Look) -> None:
        """Look at a frame, and take what suits it."""
        if time.monotonic() - self._refreshed_s > REFRESH_S:
            self._refreshed_s = time.monotonic()
            self.library.refresh()
        views = features.describe(look.luma)
        whole = views[0]
        cut = look.cut or (self._before is not None and float(whole @ self._before) < CUT)
        self._before = whole
        levels = features.brightness(look.luma)
        matches = self.library.search_like(views, levels, 2 * CANDIDATES)
        with self._lock:
            pinned, chosen = self._pinned, self._chosen
            cut, self._anew = cut or self._anew, False
        scores = {match.entry.key: match.score for match in matches}
        if chosen is not None and chosen.key not in scores:
            scores[chosen.key] = features.score(views, levels, chosen.vectors, chosen.levels)
        self._register(look, whole, matches, cut)
        for key in self._same_scene & set(scores):
            scores[key] += SAME_SCENE
        with self._lock:
            self._matches = sorted(matches, key=lambda match: -scores[match.entry.key])
            self._scores = scores
        if pinned is not None:
            return
        self._chooser.chosen = chosen.key if chosen is not None else None
        found = self._chooser.observe(look.at_s, scores, cut)
        if found is None:
            self._say_none(scores)
            return
        entry, reference = self._first_readable(found)
        self._chooser.take(entry.key if entry is not None else None)
        why = "the scene is another"
        if entry is not None:
            same = entry.key in self._same_scene
            why = "shows this very scene" if same else f"suits the scene ({scores[entry.key]:.2f})"
        self._use(entry, reference, why)

    def _register(self, look: _Look, vector: NDArray[np.float32], matches: list[Match], cut: bool) -> None:
        """Find out anew which show this very scene, where the view is another or it was long ago."""
        same_view = self._registered is not None and float(vector @ self._registered) >= SAME_VIEW
        if not same_view:
            self._same_scene = set()
        since_s = look.at_s - self._registered_s
        wait_s = REGISTER_EVERY_S if same_view else REGISTER_AGAIN_S
        if cut or not 0 <= since_s < wait_s:
            self._registered, self._registered_s = vector, look.at_s
            self._same_scene = self._lying_over(look.luma, matches)

    def _lying_over(self, luma: NDArray[np.uint8], matches: list[Match]) -> set[str]:
        """Keys of the best few that show this very scene: they lie over the frame."""
        small = registration.resized(luma, registration.FINE_PX)
        found = set()
        least = self._chooser.options.alike - SAME_SCENE
        for match in [one for one in matches if one.score >= least][:FINALISTS]:
            _, reference = self._first_readable([match.entry.key])
            if reference is None:
                continue
            other = registration.resized(reference.luma, registration.FINE_PX)
            if registration.register(small, other).same_scene:
                found.add(match.entry.key)
        return found

    def _first_readable(self, keys: list[str]) -> tuple[Entry | None, Reference | None]:
        """The first whose picture is there still."""
        for key in keys:
            try:
                entry = self.library.find(key)
                return entry, self.library.load(entry)
            except EngineOptionError as error:
                log.warning("reference: %s", error)
                self.library.look_for_pictures()
        return None, None

    def _use(self, entry: Entry | None, reference: Reference | None, why: str) -> None:
        references = [] if reference is None else [reference]
        with self._lock:
            self._chosen, self._references = entry, references
            engines = list(self._engines)
        log.info("reference: %s, %s", entry.file if entry is not None else "none", why)
        for engine in engines:
            engine.exchange_references(references)

    def _say_none(self, scores: dict[str, float]) -> None:
        alike = self._chooser.options.alike
        best = max(scores.values(), default=0.0)
        if self._chooser.chosen is not None or self._said_none or best >= alike:
            return
        self._said_none = True
        log.warning(
            "reference auto: none of %d pictures in %s is alike enough (best %.2f, needed %.2f): the"
            " network's own color is used",
            len(self.library.entries),
            self.library.folder,
            best,
            alike,
        )


class SceneWatch:
    """A composer that shows each frame to an `AutoReference` before another composer draws it."""

    def __init__(self, composer: Composer, auto: AutoReference) -> None:
        self._composer, self._auto = composer, auto

    def compose(self, job: Job) -> Picture:
        """See `irchroma.stream.protocols.Composer.compose`; the camera's own color needs no reference."""
        if job.camera_rgb is None:
            self._auto.see(job.luma, job.frame.pts_ns, job.frame.gap)
        return self._composer.compose(job)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        """See `irchroma.stream.protocols.Composer.no_signal`."""
        return self._composer.no_signal(silent_s, reason)

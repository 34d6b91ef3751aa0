"""A run's references as an operator sees and changes them, and those that are given (`--reference FILE`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

import cv2

from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval.library import THUMBNAIL_PX
from irchroma.launch.config import ConfigError, shortened

CANDIDATES = 6  # shown on a page


@runtime_checkable
class TakesReferences(Protocol):
    """An engine whose references are exchanged while it runs."""

    def exchange_references(self, references: list[Reference]) -> None:
        """Any thread; taken between two frames."""

    def set_reference_strength(self, strength: float) -> None:
        """How much they count, [0, 2]; any thread."""


class RunReferences(Protocol):
    """What a page shows and changes of a run's references; any thread."""

    def attend(self, engine: object) -> None:
        """This engine colors from now on; it is given what is in use."""

    def choose(self, wanted: object) -> None:
        """A picture's key, `none`, or `auto`. ConfigError where there is no such picture."""

    def strengthen(self, strength: float) -> None:
        """How much references count from now on, [0, 2]."""

    def state(self) -> dict[str, Any]:
        """See `irchroma.stream.sinks.http.page.LiveControl.state`."""

    def thumbnail(self, key: str) -> bytes | None:
        """A small JPEG of a picture; None where there is none."""


class Steering:
    """The engines of a run, and what they are given."""

    def __init__(self, references: Sequence[Reference], strength: float) -> None:
        self._lock, self._giving = threading.Lock(), threading.RLock()
        self._engines: WeakSet[Any] = WeakSet()
        self._references, self._strength, self._changed = list(references), strength, False

    def attend(self, engine: object) -> None:
        """See `RunReferences.attend`."""
        if not isinstance(engine, TakesReferences):
            return
        with self._giving:
            with self._lock:
                self._engines.add(engine)
                references, strength, changed = self._references, self._strength, self._changed
            engine.set_reference_strength(strength)
            if changed:  # it was made with those that the run began with
                engine.exchange_references(references)

    def strengthen(self, strength: float) -> None:
        """See `RunReferences.strengthen`."""
        with self._giving:  # an engine that is just attended must not end with the strength of before
            with self._lock:
                self._strength = strength
                engines = list(self._engines)
            for engine in engines:
                engine.set_reference_strength(strength)

    def _give(self, references: Sequence[Reference]) -> None:
        with self._giving:  # takes a while: who came first must not be the last to end
            with self._lock:
                self._references, self._changed = list(references), True
                engines = list(self._engines)
            for engine in engines:
                engine.exchange_references(list(references))


class GivenReferences(Steering):
    """`RunReferences` of `--reference FILE`: all, of which engines take what fits, or one, or none."""

    def __init__(self, references: Sequence[Reference], strength: float = 1.0) -> None:
        super().__init__(references, strength)
        self._given = {str(number): one for number, one in enumerate(references, 1)}
        self._chosen = "auto"

    def choose(self, wanted: object) -> None:
        if not isinstance(wanted, str) or wanted not in ("auto", "none", *self._given):
            raise ConfigError(f"there is no reference {shortened(repr(wanted))} to choose")
        with self._giving:
            self._chosen = wanted
            self._give([one for key, one in self._given.items() if wanted in ("auto", key)])

    def state(self) -> dict[str, Any]:
        alone = next(iter(self._given)) if len(self._given) == 1 else None
        current = self._chosen if self._chosen in self._given else alone
        shown = [{"key": key, "name": one.name, "score": None} for key, one in self._given.items()]
        return {
            "auto": self._chosen == "auto",
            "strength": self._strength,
            "current": None if self._chosen == "none" else current,
            "candidates": shown[:CANDIDATES],
        }

    def thumbnail(self, key: str) -> bytes | None:
        reference = self._given.get(key)
        if reference is None:
            return None
        factor = THUMBNAIL_PX / max(reference.rgb.shape[:2])
        small = cv2.resize(reference.rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return jpeg.tobytes() if done else None

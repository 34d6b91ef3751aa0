"""What a run did otherwise than it was asked: each kind is said once, and counted for the statistics.

Whatever is dropped, replaced, guessed or shortened on the way from the source to the sinks says so here.
"""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar

log = logging.getLogger(__name__)


class Remarks:
    """The remarks of one run. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._told: set[str] = set()
        self._lost: set[str] = set()

    def add(self, text: str, count: int = 1, key: str = "", lost: bool = False) -> bool:
        """Say it in the log the first time, count it from then on.

        Args:
            text: one line without the number, such as "damaged pictures are shown as far as they go".
            count: how many pictures or things this is about.
            key: what makes two remarks the same one; the text where none is given.
            lost: what was to be kept is lost: the run has failed, however it goes on.

        Returns:
            Whether it was the first time.
        """
        key = key or text
        with self._lock:
            first = key not in self._said
            self._said.setdefault(key, text)
            self._counts[key] = self._counts.get(key, 0) + count
            if lost:
                self._lost.add(key)
        if first:
            log.warning("%s", text)
        return first

    def is_news(self, text: str) -> bool:
        """False from the second time on that the same is asked."""
        with self._lock:
            news = text not in self._told
            self._told.add(text)
            return news

    def listed(self) -> list[dict[str, str | int]]:
        """`[{"text": ..., "count": ...}]`, in the order in which they were first made."""
        with self._lock:
            return [{"text": text, "count": self._counts[key]} for key, text in self._said.items()]

    def lost(self) -> str:
        """What was to be kept and is lost, with its counts; empty where nothing is."""
        with self._lock:
            return "; ".join(
                f"{self._said[key]} ({self._counts[key]})" for key in self._said if key in self._lost
            )

    def __len__(self) -> int:
        return len(self._said)


run_remarks: ContextVar[Remarks | None] = ContextVar("run_remarks", default=None)
"""Those of the run whose thread this is; the threads of a feed inherit it."""


def tell_once(text: str) -> None:
    """Log what is no remark once in this thread's run; each time where there is none."""
    found = run_remarks.get()
    if found is None or found.is_news(text):
        log.info("%s", text)


def remark(text: str, count: int = 1, key: str = "", lost: bool = False) -> bool:
    """Add to the remarks of this thread's run, as `Remarks.add`; in the log alone where there is none."""
    found = run_remarks.get()
    if found is not None:
        return found.add(text, count, key, lost)
    log.warning("%s", text)
    return True

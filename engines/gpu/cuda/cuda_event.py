"""The mark of both GPU devices: an event of PyCUDA's or of torch's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from irchroma.engines.errors import EngineError


class EventMark:
    """A `Mark`: an event of PyCUDA or of torch, which are asked alike."""

    def __init__(self, current: Callable[[], AbstractContextManager[Any]], event: Any) -> None:
        """Args:
        current: makes the event's device the calling thread's own, and its failures EngineErrors.
        event: with `query` and `synchronize`.
        """
        self._current = current
        self.event = event

    def done(self) -> bool:
        """See `Mark`."""
        with self._current():
            return bool(self._opened().query())

    def wait(self) -> None:
        """See `Mark`."""
        with self._current():
            self._opened().synchronize()

    def close(self) -> None:
        """See `Mark`; the event goes while its context is current, as PyCUDA demands."""
        if self.event is not None:
            with self._current():
                self.event = None

    def _opened(self) -> Any:
        if self.event is None:
            raise EngineError("the mark is closed")
        return self.event

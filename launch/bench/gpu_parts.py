"""Results that survive their parts: what fails is written down, and the next part begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Parts:
    """Results of measurements, filled in one by one.

    Attributes:
        found: what has been measured; `errors` in it says what has not, and why.
    """

    def __init__(
        self, changed: Callable[[], None] = lambda: None, found: dict[str, Any] | None = None
    ) -> None:
        """Args:
        changed: called after each part, such as to write a file.
        found: filled; None for one of its own.
        """
        self.found: dict[str, Any] = {} if found is None else found
        self._changed = changed

    def attempt(self, name: str, work: Callable[[], Any]) -> bool:
        """Measure something; False where it failed."""
        try:
            self.found[name] = work()
        except Exception as error:  # noqa: BLE001 (whatever it is, the other parts are measured)
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            self.found.setdefault("errors", {})[name] = reason
            print(f"{name} failed: {reason}")
        self._changed()
        return name in self.found

    def inner(self, name: str) -> Parts:
        """Results within these."""
        return Parts(self._changed, self.found.setdefault(name, {}))

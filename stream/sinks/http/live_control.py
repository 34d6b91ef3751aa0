"""What viewers of a page may change while a run goes on: the view, and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that a page offers.

    Attributes:
        value: as `change` takes it, `palette:ironbow`.
        label: for people.
        group: the heading above it.
        swatch: colors that it makes of dark to bright, as CSS has them; empty where that says nothing.
    """

    value: str
    label: str
    group: str
    swatch: tuple[str, ...] = ()


class LiveControl(Protocol):
    """Changes a run that goes on; any thread calls."""

    @property
    def engines(self) -> tuple[Choice, ...]:
        """What `change` takes as `engine`."""

    def state(self) -> dict[str, Any]:
        """`view`, `wipe`, `blend` as they are; `engine`, the choice that colors now; `changing`, the choice
        that is being made ready or None; `error`, why the last choice was not taken or None; `latency_ms`
        from a frame's arrival to its picture; `reason`, why there is no color or None."""

    def change(self, wanted: dict[str, Any]) -> None:
        """Take over any of `view`, `wipe`, `blend` and `engine`.

        A view is there at once; an engine takes over when it is ready, see `state`.

        Raises:
            ValueError: a key or a value is not known; nothing was changed.
        """

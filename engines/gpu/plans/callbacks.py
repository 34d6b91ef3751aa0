"""What TensorRT calls back while it builds: a logger that feeds Python's logging, and a progress monitor.

Both derive from classes of the library, which is handed in: nothing here imports TensorRT.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

_KEPT = ("LayerType: ", "Total Activation Memory", "Total Weights Memory")


def make_logger(library: Any) -> Any:
    """A logger with `begin()`, `why()` (the first error since, or after as many as given) and `kept` (layers
    and memory, as said).

    Errors are logged as information only: the caller raises them. One logger serves a whole process, as
    TensorRT keeps the first that it is given.
    """
    base = library.ILogger
    levels = {
        base.INTERNAL_ERROR: logging.INFO,
        base.ERROR: logging.INFO,
        base.WARNING: logging.WARNING,
        base.INFO: logging.DEBUG,
        base.VERBOSE: logging.DEBUG,
    }
    errors = (base.INTERNAL_ERROR, base.ERROR)

    class Logger(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)
            self.begin()

        def begin(self) -> None:
            self.errors: list[str] = []
            self.kept: list[str] = []

        def why(self, since: int = 0) -> str:
            said = self.errors[since:]
            return " ".join(said[0].split()) if said else "it does not say why"

        def log(self, severity: Any, text: str) -> None:
            if severity in errors:
                self.errors.append(text)
            elif any(word in text for word in _KEPT):
                self.kept.append(text)
            log.log(levels.get(severity, logging.DEBUG), "%s", text)

    return Logger()


@dataclass(slots=True)
class _Phase:
    """A part of the build under way."""

    parent: str | None
    steps: int
    done: int = 0


def make_monitor(library: Any, progress: Callable[[float, str], None] | None) -> Any:
    """A monitor that tells `progress` the share done; `interrupted` after Ctrl-C, which ends the build."""
    base = library.IProgressMonitor

    class Monitor(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)
            self.interrupted = False
            self._phases: dict[str, _Phase] = {}
            self._share = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self._phases[name] = _Phase(parent, max(steps, 1))

        def phase_finish(self, name: str) -> None:
            self._phases.pop(name, None)

        def step_complete(self, name: str, step: int) -> bool:
            try:
                phase = self._phases.get(name)
                if phase is not None:
                    phase.done = step + 1
                if progress is not None:
                    self._share = max(self._share, self._share_done(name))
                    progress(self._share, name)
            except KeyboardInterrupt:  # it must not travel through the library's C++
                self.interrupted = True
            return not self.interrupted

        def _share_done(self, name: str | None) -> float:
            inner = 0.0
            while name is not None and (phase := self._phases.get(name)) is not None:
                inner = min((phase.done + inner) / phase.steps, 1.0)
                name = phase.parent
            return inner

    return Monitor()

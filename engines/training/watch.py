"""Watches a training from step to step: what it says and keeps, and how it ends when it is told to."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

LOG = logging.getLogger(__name__)

SAY_EVERY_S, KEEP_EVERY_S = 60.0, 120.0
"""Seconds after which a run says again how far it is, and after which it is kept: what a crash may cost."""
CHECKPOINT, LOSSES = "checkpoint.pt", "loss.jsonl"
"""In a run's folder; the second has each part of the loss, the mean since the line before."""
AGAIN = "the same command with --resume"


class Watch:
    """Watches a run from step to step: logs its progress and losses, writes checkpoints, ends it on a signal.

    As a context it takes Ctrl-C and SIGTERM: the current step is finished and a checkpoint written first. The
    second time, or where nothing would be lost, the run ends at once. A SIGINT that is ignored (`nohup`)
    stays ignored.

    Args:
        save: writes the checkpoint.
        checkpoint: the file, for what is said.
        done: steps before this run.
        title: of what is said, where it is not the training itself.
        again: what goes on with a run that was stopped.
    """

    def __init__(
        self, save: Callable[[], None], checkpoint: Path, done: int = 0, title: str = "", again: str = AGAIN
    ) -> None:
        self._save, self._checkpoint = save, checkpoint
        self._title, self._again = f"{title}: " if title else "", again
        self._done, self._of = done, 0
        self._said, self._said_s, self._first, self._first_s = done, time.monotonic(), done, time.monotonic()
        self._sums: dict[str, float] = {}
        self._kept_s = time.monotonic()
        self._unkept = False
        self._told = 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Watch:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._tell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def begins(self) -> None:
        """A step begins: from now on its work would be lost without a checkpoint."""
        self._unkept = True

    def took(self, done: int, of: int | None, parts: Mapping[str, float], keep: bool = False) -> None:
        """A step is done: log it and write a checkpoint now and then; end the run if a signal asked for it.

        Args:
            done: steps so far.
            of: how many there are to be; None: not known yet.
            parts: of the step's loss; those of one network are said as one.
            keep: write the checkpoint in any case.

        Raises:
            KeyboardInterrupt: told by Ctrl-C; the steps are kept.
            SystemExit: told by SIGTERM; the steps are kept.
        """
        self._done, self._of = done, of or 0
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_EVERY_S or done == of:
            self._say(now_s)
        if keep or self._told or now_s - self._kept_s >= KEEP_EVERY_S:
            self._save()
            self._kept_s = time.monotonic()
            self._unkept = False
        if self._told:
            self._leave()

    def _say(self, now_s: float) -> None:
        share = f" of {self._of}" if self._of else ""
        left_s = (now_s - self._first_s) / (self._done - self._first) * (self._of - self._done)
        left = f", {left_s / 60:.1f} min left" if self._of else ""
        count = self._done - self._said
        wholes: dict[str, float] = {}
        for name, value in self._sums.items():
            whole = name.partition(".")[0]  # `best.hue` is a part of `best`: thirty numbers are no progress
            wholes[whole] = wholes.get(whole, 0.0) + value / count
        parts = " ".join(f"{name} {value:.5f}" for name, value in wholes.items())
        LOG.info("%sstep %d%s%s: %s", self._title, self._done, share, left, parts)
        line = {
            "step": self._done,
            "loss": {name: round(value / count, 6) for name, value in self._sums.items()},
        }
        with (self._checkpoint.parent / LOSSES).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._said, self._said_s, self._sums = self._done, now_s, {}

    def _tell(self, number: int, frame: FrameType | None) -> None:
        again = self._told != 0
        self._told = number
        if again or not self._unkept:
            self._leave()
        LOG.info("stopping when step %d is finished and kept; once more stops at once", self._done + 1)

    def _leave(self) -> None:
        lost = "; the step that was going on is lost" if self._unkept else ""
        LOG.info(
            "%sstopped after step %d%s: %s goes on from %s",
            self._title,
            self._done,
            lost,
            self._again,
            self._checkpoint,
        )
        if self._told == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._told)

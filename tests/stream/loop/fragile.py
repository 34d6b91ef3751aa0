"""Engines for tests of the run around them: short-lived, of one tint, hanging."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.interruptible import Deadlines


class Painted(NamedTuple):
    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None


class FragileColorizer:
    """Colors frames until its `lives` are used up; a real, if short-lived, colorizer."""

    name, synthetic, depth = "fragile", True, 1

    def __init__(self, lives: int, fails_in: str = "collect") -> None:
        self.lives, self.fails_in, self.closed = lives, fails_in, False
        self._luma: list[NDArray[np.uint8]] = []

    def _live_on(self, where: str) -> None:
        if where == self.fails_in:
            self.lives -= 1
            if self.lives < 0:
                raise RuntimeError("device lost")

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, *, counts: object = None, held: bool = False
    ) -> None:
        self._live_on("submit")
        self._luma.append(luma)

    def collect(self) -> Painted:
        self._live_on("collect")
        return Painted(np.repeat(self._luma.pop(0)[..., None], 3, axis=2))

    def reset(self) -> None:
        self._luma.clear()

    def close(self) -> None:
        self.closed = True


LUMA = np.full((4, 4), 9, np.uint8)


def until(reached: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


class Tinted(FragileColorizer):
    """A colorizer with a name and a depth of its own."""

    def __init__(self, name: str, depth: int = 1, lives: int = 10_000, fails_in: str = "collect") -> None:
        super().__init__(lives, fails_in)
        self.name, self.depth = name, depth  # type: ignore[misc]


def exchanged(guarded: GuardedColorizer, engine: FragileColorizer | Exception) -> str | None:
    """Asks for the exchange, waits for the answer, and returns it."""
    answers: list[str | None] = []
    ready = threading.Event()

    def make() -> FragileColorizer:
        if isinstance(engine, Exception):
            raise engine
        return engine

    def done(reason: str | None) -> None:
        answers.append(reason)
        ready.set()

    guarded.exchange(make, done)
    assert ready.wait(10)
    return answers[0]


def colored(guarded: GuardedColorizer) -> bool:
    ticket = guarded.submit(LUMA, 0, None, False)
    return ticket is not None and guarded.collect(ticket) is not None


class Hanging(Tinted):
    """Hangs in one of its calls from its second frame on, until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__("hanging", depth=2)
        self.where, self.frames = where, 0
        self.hangs, self.let_go = threading.Event(), threading.Event()
        self.abandoned = False

    def _hang_in(self, where: str) -> None:
        if where == self.where and self.frames > 1:
            self.hangs.set()
            assert self.let_go.wait(60)

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, *, counts: object = None, held: bool = False
    ) -> None:
        self.frames += 1
        self._hang_in("submit")
        super().submit(luma, pts_ns)

    def collect(self) -> Painted:
        self._hang_in("collect")
        return super().collect()

    def close(self) -> None:
        self._hang_in("close")
        super().close()

    def abandon(self) -> None:
        self.abandoned = True


QUICK = Deadlines(answer_s=0.1, hung_s=0.4, first_s=0.5, close_s=0.2)

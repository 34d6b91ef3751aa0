"""Engines that fail, and the run that does not."""

import threading
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.loop.guarded import GuardedColorizer


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


def test_a_failing_engine_gives_no_color_and_says_why() -> None:
    for where in ("submit", "collect"):
        engine = FragileColorizer(1, where)
        guarded = GuardedColorizer(lambda engine=engine: engine)
        ticket = guarded.submit(LUMA, 0, None, False)
        assert ticket is not None
        assert guarded.collect(ticket) is not None
        ticket = guarded.submit(LUMA, 1, None, False)
        assert ticket is None or guarded.collect(ticket) is None
        assert guarded.reason == "device lost"
        assert guarded.submit(LUMA, 2, None, False) is None
        assert engine.closed
        guarded.close()


def test_the_engine_is_made_anew_and_color_comes_back() -> None:
    made: list[FragileColorizer] = []

    def make() -> FragileColorizer:
        made.append(FragileColorizer(1 if not made else 1000))
        return made[-1]

    guarded = GuardedColorizer(make)
    deadline = time.monotonic() + 10
    outcomes = []
    while time.monotonic() < deadline and not (len(outcomes) > 2 and outcomes[-1]):
        ticket = guarded.submit(LUMA, 0, None, False)
        outcomes.append(ticket is not None and guarded.collect(ticket) is not None)
    assert outcomes[0]
    assert not outcomes[1]
    assert outcomes[-1]
    assert len(made) == 2
    assert guarded.reason is None
    assert guarded.failures == 1
    guarded.close()
    assert made[1].closed


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


def test_another_engine_takes_over_between_two_frames() -> None:
    old, new = Tinted("old"), Tinted("new", depth=2)
    guarded = GuardedColorizer(lambda: old)
    assert colored(guarded)
    assert exchanged(guarded, new) is None
    assert (guarded.name, old.closed) == ("old", False)  # until the next frame
    assert colored(guarded)
    assert (guarded.name, old.closed, guarded.reason) == ("new", True, None)
    first, second = guarded.submit(LUMA, 1, None, False), guarded.submit(LUMA, 2, None, False)
    assert first is not None
    assert second is not None
    assert guarded.collect(first) is not None
    assert guarded.collect(second) is not None
    assert exchanged(guarded, Tinted("third", depth=1)) is None
    assert all(colored(guarded) for _ in range(5))
    guarded.close()
    assert new.closed


def test_a_frame_in_flight_comes_out_of_the_engine_it_went_into() -> None:
    guarded = GuardedColorizer(lambda: Tinted("old", depth=2))
    ticket = guarded.submit(LUMA, 0, None, False)
    assert exchanged(guarded, Tinted("new")) is None
    results: list[int | None] = []
    submitting = threading.Thread(target=lambda: results.append(guarded.submit(LUMA, 1, None, False)))
    submitting.start()  # waits for the frame in flight
    assert ticket is not None
    assert guarded.collect(ticket) is not None
    submitting.join(10)
    assert results[0] is not None
    assert guarded.collect(results[0]) is not None
    assert guarded.failures == 0


def test_an_engine_that_cannot_take_over_leaves_the_old_one_in_place() -> None:
    old, broken = Tinted("old"), Tinted("broken", lives=0)
    guarded = GuardedColorizer(lambda: old)
    assert colored(guarded)
    assert exchanged(guarded, RuntimeError("no weights")) == "no weights"
    assert exchanged(guarded, broken) == "device lost"
    assert broken.closed
    assert colored(guarded)
    assert (guarded.name, guarded.reason, guarded.failures) == ("old", None, 0)


def test_the_engine_that_took_over_is_the_one_that_is_mended() -> None:
    guarded = GuardedColorizer(lambda: Tinted("old"))
    assert colored(guarded)
    lives = iter([2, 100])
    engines: list[Tinted] = []

    def make() -> Tinted:
        engines.append(Tinted("new", lives=next(lives)))
        return engines[-1]

    ready = threading.Event()
    guarded.exchange(make, lambda reason: ready.set())
    assert ready.wait(10)
    assert colored(guarded)
    assert not colored(guarded)
    assert guarded.reason == "device lost"
    deadline = time.monotonic() + 10
    while not colored(guarded):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    assert len(engines) == 2
    assert guarded.name == "new"


def test_an_exchange_ends_a_failure() -> None:
    guarded = GuardedColorizer(lambda: Tinted("old", lives=0))
    assert not colored(guarded)
    assert exchanged(guarded, Tinted("new")) is None
    assert colored(guarded)
    assert (guarded.name, guarded.reason) == ("new", None)
    guarded.close()


def test_an_exchange_that_is_called_off_leaves_the_old_engine_in_place() -> None:
    guarded = GuardedColorizer(lambda: Tinted("old"))
    new = Tinted("new")
    assert colored(guarded)
    assert exchanged(guarded, new) is None
    guarded.stay()
    assert colored(guarded)
    assert (guarded.name, new.closed) == ("old", True)
    begun, may_end, answers = threading.Event(), threading.Event(), list[str | None]()
    late = Tinted("late")

    def make() -> Tinted:
        begun.set()
        assert may_end.wait(10)
        return late

    ended = threading.Event()

    def done(reason: str | None) -> None:
        answers.append(reason)
        ended.set()

    guarded.exchange(make, done)
    assert begun.wait(10)
    guarded.stay()
    may_end.set()
    assert ended.wait(10)
    assert answers == ["overtaken by another choice"]
    assert late.closed
    assert colored(guarded)
    assert guarded.name == "old"

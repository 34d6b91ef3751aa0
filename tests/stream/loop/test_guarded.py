"""Engines that fail, and the run that does not."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.loop.attended import Deadlines, Ticket
from irchroma.stream.loop.guarded import BEING_MADE, GuardedColorizer, StoppedEarly


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
        until(lambda engine=engine: engine.closed)
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
    assert (guarded.name, guarded.reason) == ("new", None)
    until(lambda: old.closed)
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
    results: list[Ticket | None] = []
    submitting = threading.Thread(target=lambda: results.append(guarded.submit(LUMA, 1, None, False)))
    submitting.start()  # need not wait for the frame in flight
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
    until(lambda: broken.closed)
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
    assert guarded.name == "old"
    until(lambda: new.closed)
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
    until(lambda: late.closed)
    assert colored(guarded)
    assert guarded.name == "old"


def test_a_prompt_engine_is_called_without_threads_and_fails_like_any_other() -> None:
    class Prompt(Tinted):
        prompt = True

    before = threading.active_count()
    engine = Prompt("prompt", lives=2)
    guarded = GuardedColorizer(lambda: engine)
    assert colored(guarded)
    guarded.reset()
    assert colored(guarded)
    until(lambda: threading.active_count() == before)  # the one that made it has ended
    assert not colored(guarded)
    assert guarded.reason == "device lost"
    assert engine.closed
    assert exchanged(guarded, Prompt("other")) is None
    assert colored(guarded)
    guarded.close()


class Hanging(Tinted):
    """Hangs in one of its calls from its second frame on, until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__("hanging", depth=2)
        self.where, self.frames = where, 0
        self.let_go = threading.Event()
        self.abandoned = False

    def _hang_in(self, where: str) -> None:
        if where == self.where and self.frames > 1:
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


@pytest.mark.parametrize("where", ["submit", "collect"])
def test_a_live_run_passes_by_an_engine_that_hangs_and_then_takes_another(where: str) -> None:
    hanging, engines = Hanging(where), [Tinted("second")]
    engines.append(hanging)  # type: ignore[arg-type]
    guarded = GuardedColorizer(engines.pop, live=True, deadlines=QUICK)
    assert colored(guarded)
    longest_s, reasons, deadline = 0.0, set(), time.monotonic() + 10
    while guarded.name != "second" or not colored(guarded):
        began = time.monotonic()
        assert not colored(guarded) or guarded.name == "second"
        longest_s = max(longest_s, time.monotonic() - began)
        reasons.add((guarded.reason or "").partition(" for ")[0])
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert longest_s < 0.3
    assert {"no answer from the engine", "the engine hangs: no answer"} <= reasons
    assert hanging.abandoned
    hanging.let_go.set()
    until(lambda: hanging.closed)
    guarded.close()


def test_a_file_waits_for_an_engine_until_it_counts_as_lost() -> None:
    hanging = Hanging("collect")
    guarded = GuardedColorizer(lambda: hanging, live=False, deadlines=QUICK)
    assert colored(guarded)
    threading.Timer(0.25, hanging.let_go.set).start()
    assert colored(guarded)  # late for a live run, in time for a file
    hanging.let_go.clear()
    began = time.monotonic()
    assert not colored(guarded)
    assert 0.35 < time.monotonic() - began < 2
    hanging.let_go.set()
    guarded.close()


@pytest.mark.parametrize("fails", [True, False])
def test_nobody_waits_while_an_engine_is_closed(fails: bool) -> None:
    """A broken one, and one that another takes over from, hang in their close."""
    old = Hanging("close")
    guarded = GuardedColorizer(lambda: old, deadlines=QUICK)
    assert colored(guarded)
    assert colored(guarded)
    began = time.monotonic()
    if fails:
        old.lives = 0
        assert not colored(guarded)
    else:
        assert exchanged(guarded, Tinted("new")) is None
        assert colored(guarded)
    assert time.monotonic() - began < 1
    began = time.monotonic()
    guarded.close()
    assert time.monotonic() - began < 1
    assert not old.closed
    old.let_go.set()
    until(lambda: old.closed)


def test_engines_that_all_hang_are_not_made_without_end() -> None:
    made: list[Hanging] = []

    def make() -> Hanging:
        made.append(Hanging("collect"))
        made[-1].frames = 1  # from its first frame on
        return made[-1]

    guarded = GuardedColorizer(make, deadlines=Deadlines(0.02, 0.05, 0.05, 0.05))
    guarded._retry_s = 0.01
    deadline = time.monotonic() + 30
    while "engines hang" not in (guarded.reason or ""):
        colored(guarded)
        guarded._retry_at = 0.0  # not after ever longer waits
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    assert len(made) == 4
    made[0].let_go.set()
    until(lambda: colored(guarded) or len(made) == 5)
    for engine in made:
        engine.let_go.set()
    guarded.close()


@pytest.mark.parametrize("live", [True, False])
def test_a_run_that_is_stopped_does_not_wait_for_an_engine_that_is_made(live: bool) -> None:
    stopping, may_end, engine = threading.Event(), threading.Event(), Tinted("late")

    def make() -> Tinted:
        stopping.set()
        assert may_end.wait(30)
        return engine

    with pytest.raises(StoppedEarly):
        GuardedColorizer(make, live=live, stopping=stopping)
    may_end.set()
    until(lambda: engine.closed)


class Fading(Tinted):
    faded = False

    def fade_in(self) -> None:
        self.faded = True


def test_the_first_pictures_of_a_live_run_do_not_wait_for_their_engine() -> None:
    may_end, engine = threading.Event(), Fading("late")

    def make() -> Fading:
        assert may_end.wait(30)
        return engine

    begin_s = time.monotonic()
    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is None
    assert time.monotonic() - begin_s < 1
    assert guarded.reason == BEING_MADE
    may_end.set()
    until(lambda: guarded.submit(LUMA, 1, None, False) is not None)
    assert engine.faded
    assert (guarded.name, guarded.reason, guarded.failures) == ("late", None, 0)
    guarded.close()
    until(lambda: engine.closed)


def test_an_engine_that_cannot_be_made_ends_a_live_run_though_pictures_have_gone_out() -> None:
    may_end = threading.Event()

    def make() -> Fading:
        assert may_end.wait(30)
        raise ValueError("no such weights")

    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is None
    may_end.set()
    with pytest.raises(ValueError, match="no such weights"):
        until(lambda: guarded.submit(LUMA, 1, None, False) is not None)
    guarded.close()


def test_a_run_that_ends_before_its_engine_is_made_lets_go_of_it() -> None:
    may_end, engine = threading.Event(), Fading("late")

    def make() -> Fading:
        assert may_end.wait(30)
        return engine

    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    guarded.submit(LUMA, 0, None, False)
    guarded.close()
    may_end.set()
    until(lambda: engine.closed)


def test_a_file_waits_for_its_engine() -> None:
    def make() -> Fading:
        threading.Event().wait(0.3)
        return Fading("late")

    guarded = GuardedColorizer(make, live=False, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is not None
    guarded.close()

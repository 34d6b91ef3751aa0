"""Engines that fail, and the run that does not."""

import threading
import time

from tests.stream.loop.fragile import LUMA, FragileColorizer, Tinted, colored, exchanged, until

from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.interruptible import Ticket


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

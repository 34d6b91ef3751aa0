"""Engines that do not return, and are not ready at the start: nobody waits for them longer than was said."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from tests.stream.loop.fragile import LUMA, QUICK, Hanging, Tinted, colored, exchanged, until
from tests.stream.loop.test_loop import AS_IT_IS, PlainComposer, frame

from irchroma.engines.errors import DeviceLost, EngineUnavailable, PlanError
from irchroma.stream.frame import Frame
from irchroma.stream.loop import interruptible
from irchroma.stream.loop.fakes import MemorySink, MemorySource
from irchroma.stream.loop.guarded import BEING_MADE, GuardedColorizer, StoppedEarly
from irchroma.stream.loop.interruptible import Deadlines
from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.running_time import AwakeClock


@pytest.mark.alone
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


@pytest.mark.parametrize("first", ["waits", "looks after it"])
def test_a_process_that_was_stopped_does_not_take_its_engine_for_hung(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whether the thread that waits for the engine or the one with the next frame is the first to go on."""
    hanging, slept_s = Hanging("collect"), [0.0]
    monkeypatch.setattr(interruptible, "awake_s", AwakeClock(lambda: time.monotonic() + slept_s[0]))
    guarded = GuardedColorizer(lambda: hanging, live=True, deadlines=Deadlines(answer_s=5))
    assert colored(guarded)
    if first == "waits":
        threading.Timer(0.1, slept_s.__setitem__, (0, 30.0)).start()  # stopped, and continued
        threading.Timer(0.8, hanging.let_go.set).start()
        assert colored(guarded)
    else:
        ticket = guarded.submit(LUMA, 1, None, False)
        assert ticket is not None
        slept_s[0] = 30.0
        guarded._look_after()
        hanging.let_go.set()
        assert guarded.collect(ticket) is not None
    assert guarded.failures == 0
    guarded.close()


@pytest.mark.alone
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


@pytest.mark.alone
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
        ticket = guarded.submit(LUMA, 0, None, False)
        if ticket is not None:
            until(made[-1].hangs.is_set)  # one that is left before would end well
            assert guarded.collect(ticket) is None
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


@pytest.mark.alone
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


@pytest.mark.parametrize("kind", [ValueError, EngineUnavailable, PlanError])
def test_an_engine_that_cannot_be_made_ends_a_live_run_though_pictures_have_gone_out(
    kind: type[Exception],
) -> None:
    may_end = threading.Event()

    def make() -> Fading:
        assert may_end.wait(30)
        raise kind("no such weights")

    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is None
    may_end.set()
    with pytest.raises(kind, match="no such weights"):
        until(lambda: guarded.submit(LUMA, 1, None, False) is not None)
    guarded.close()


def test_a_live_run_ends_on_a_runtime_that_turns_out_late_not_to_be_here() -> None:
    shown = threading.Event()

    class Shown(MemorySink):
        def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
            shown.set()

    def make(_info: VideoInfo) -> Fading:
        assert shown.wait(30)
        raise EngineUnavailable("runtime tensorrt is not installed")

    def frames() -> Iterator[Frame]:
        for number in itertools.count():
            time.sleep(0.01)
            yield frame(number, number % 200)

    options = dataclasses.replace(AS_IT_IS, deadlines=Deadlines(start_s=0.05))
    writer = SinkWriter(Shown(), "memory")
    loop = Loop(MemorySource(frames(), live=True), make, PlainComposer(), [writer], options)
    with pytest.raises(EngineUnavailable, match="tensorrt is not installed"):
        loop.run(lambda loop: loop.stop() if loop.frames > 500 else None)
    assert loop.bad_frames == 0


@pytest.mark.parametrize("kind", [RuntimeError, DeviceLost])
def test_an_engine_that_fails_to_be_made_after_pictures_have_gone_out_is_made_once_more(
    kind: type[Exception],
) -> None:
    may_end, engine, tries = threading.Event(), Fading("second"), []

    def make() -> Fading:
        tries.append(1)
        if len(tries) == 1:
            assert may_end.wait(30)
            raise kind("the network has not answered for 20 s")
        return engine

    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is None
    may_end.set()
    until(lambda: guarded.failures == 1 or guarded.submit(LUMA, 1, None, False) is not None)
    assert guarded.reason == "the network has not answered for 20 s"
    until(lambda: guarded.submit(LUMA, 2, None, False) is not None)
    assert (guarded.name, guarded.reason) == ("second", None)
    guarded.close()


@pytest.mark.parametrize("kind", [ValueError, EngineUnavailable])
def test_an_engine_that_fails_and_then_cannot_be_made_for_good_is_not_tried_for_ever(
    kind: type[Exception],
) -> None:
    may_end, tries = threading.Event(), list[int]()

    def make() -> Fading:
        tries.append(1)
        if len(tries) > 1:
            raise kind("no such weights")
        assert may_end.wait(30)
        raise RuntimeError("the network has not answered for 20 s")

    guarded = GuardedColorizer(make, deadlines=Deadlines(start_s=0.05))
    assert guarded.submit(LUMA, 0, None, False) is None
    may_end.set()
    with pytest.raises(kind, match="no such weights"):
        until(lambda: guarded.submit(LUMA, 1, None, False) is not None)
    assert len(tries) == 2
    guarded.close()


def test_what_has_colored_is_made_again_whatever_it_fails_of_and_another_choice_takes_over() -> None:
    tries: list[int] = []

    def make() -> Tinted:
        tries.append(1)
        if len(tries) > 1:
            raise EngineUnavailable("its weights are on a disk that is away")
        return Tinted("first", lives=1)

    guarded = GuardedColorizer(make)
    assert colored(guarded)
    assert not colored(guarded)
    until(lambda: not colored(guarded) and len(tries) == 2 and guarded.reason is not None)
    assert not colored(guarded)
    assert exchanged(guarded, Tinted("second")) is None
    assert colored(guarded)
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

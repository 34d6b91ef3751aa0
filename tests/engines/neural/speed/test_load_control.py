"""The controller under simulated load: down fast, up slowly, no swinging, never a growing latency."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from irchroma.engines.neural.speed import load_control
from irchroma.engines.neural.speed.load_control import CALM_S, LoadController, RungChange

PERIOD_S = 1 / 30
COSTS = (8.0, 4.0, 2.0, 1.0)
FIXED_S = 0.006


class Machine:
    """A run at 30 frames a second whose network takes `unit_s` for each unit of cost, a queue of one."""

    def __init__(self, controller: LoadController) -> None:
        self.controller = controller
        self.now_s = self.free_s = 0.0
        self.waiting: list[float] = []
        self.latencies: list[float] = []
        self.steps: list[tuple[float, RungChange]] = []
        self.drops = 0
        self._random = np.random.default_rng(4)

    def run(self, seconds: float, unit_s: float) -> None:
        for _ in range(round(seconds / PERIOD_S)):
            self.now_s += PERIOD_S
            dropped = 0
            if self.free_s > self.now_s + PERIOD_S:  # one frame waits already: the newest wins
                dropped = 1
                self.drops += 1
            else:
                work_s = FIXED_S + unit_s * COSTS[self.controller.rung] * self._random.uniform(0.9, 1.15)
                start_s = max(self.now_s, self.free_s)
                self.free_s = start_s + work_s
                self.latencies.append(self.free_s - self.now_s)
            step = self.controller.observe(self.now_s, self.latencies[-1], dropped)
            if step is not None:
                self.steps.append((self.now_s, step))


def machine(rung: int = 0, limit_s: float = 0.05) -> Machine:
    return Machine(LoadController(COSTS, limit_s, rung=rung))


def test_a_machine_that_keeps_up_is_left_alone() -> None:
    calm = machine()
    calm.run(120, unit_s=0.002)
    assert calm.steps == []
    assert calm.drops == 0


def test_overload_is_left_within_a_second_and_latency_stays_bounded() -> None:
    loaded = machine()
    loaded.run(10, unit_s=0.002)
    loaded.run(10, unit_s=0.009)  # 78 ms a frame at the top, 24 ms two rungs below
    first_s, first = loaded.steps[0]
    assert 10 <= first_s < 11.1
    assert first.before == 0
    assert "late of" in first.reason
    assert loaded.controller.rung >= 2
    assert max(loaded.latencies) < 0.2
    after = loaded.drops
    loaded.run(20, unit_s=0.009)
    assert loaded.drops == after
    assert loaded.controller.rung == 2  # where it fits, not lower


def test_what_is_hopeless_goes_down_two_rungs_at_once() -> None:
    loaded = machine()
    loaded.run(3, unit_s=0.02)
    assert loaded.steps[0][1].after == 2


def test_it_climbs_back_when_the_load_goes_one_rung_at_a_time() -> None:
    loaded = machine()
    loaded.run(5, unit_s=0.02)
    bottom = loaded.controller.rung
    assert bottom >= 2
    loaded.run(60, unit_s=0.002)
    assert loaded.controller.rung == 0
    ups = [(at, step) for at, step in loaded.steps if step.after < step.before]
    assert [step.before - step.after for _, step in ups] == [1] * bottom
    gaps = [b - a for (a, _), (b, _) in pairwise(ups)]
    assert min(gaps, default=9) > CALM_S


def test_at_the_border_between_two_rungs_it_does_not_swing() -> None:
    """28 ms a frame at rung 1 is fine; rung 0 would take 50 ms: too late, though the estimate tempts."""
    border = Machine(LoadController(COSTS, 0.08))
    border.run(600, unit_s=0.0058)
    last_minutes = [at for at, _ in border.steps if at > 300]
    assert len(border.steps) <= 12
    assert len(last_minutes) <= 4
    assert border.drops < 0.02 * 600 * 30


def test_the_lowest_rung_has_nothing_below() -> None:
    lost = machine(rung=3)
    lost.run(30, unit_s=0.2)
    assert lost.controller.rung == 3
    assert lost.steps == []


def test_single_late_frames_move_nothing() -> None:
    controller = LoadController(COSTS, 0.05)
    for number in range(1800):
        latency_s = 0.3 if number % 90 == 0 else 0.02
        assert controller.observe(number * PERIOD_S, latency_s, 0) is None


def stuttering(controller: LoadController, from_s: float, seconds: float, share: float) -> list[RungChange]:
    """The steps of a run of which that share of the frames takes 42 ms, and the others 20."""
    steps, owed = [], 0.0
    for number in range(round(seconds / PERIOD_S)):
        owed += share
        step = controller.observe(from_s + number * PERIOD_S, 0.042 if owed >= 1 else 0.02, 0)
        owed -= owed >= 1
        steps += [step] if step is not None else []
    return steps


@pytest.mark.parametrize(("share", "steps"), [(0.01, 0), (0.03, 1), (0.3, 2)])
def test_a_run_of_which_a_few_frames_stutter_steps_down_within_seconds(share: float, steps: int) -> None:
    """None of them is later than the limit; at 30 frames a second they come after the next one."""
    controller = LoadController(COSTS, 0.05)
    stuttering(controller, 0.0, 7.0, share)
    assert controller.rung == steps
    stuttering(controller, 7.0, 60.0, 0.0)
    assert controller.rung == 0  # smooth again, and room for more


@pytest.mark.parametrize(("rate", "steps"), [(10, 0), (25, 1), (60, 1)])
def test_a_frame_that_is_there_before_the_next_one_does_not_stutter(rate: int, steps: int) -> None:
    """42 ms of a camera that gives ten frames a second are nobody's stutter, of 25 they are."""
    controller = LoadController(COSTS, 0.05, period_s=1 / rate)
    stuttering(controller, 0.0, 7.0, 0.05)
    assert controller.rung == steps


def test_a_step_that_did_not_help_against_stutter_is_taken_back_and_not_tried_again_for_minutes() -> None:
    """Such as where another process holds a core at times: a smaller network changes nothing."""
    controller = LoadController(COSTS, 0.05)
    down, back = stuttering(controller, 0.0, 120.0, 0.05)
    assert (down.before, down.after, back.before, back.after) == (0, 1, 1, 0)
    assert "frames stuttered" in down.reason
    assert "the network is not why" in back.reason
    later = stuttering(controller, 120.0, 1800.0, 0.05)
    assert controller.rung == 0
    assert [step.after for step in later] == [1, 0] * (len(later) // 2)
    assert 2 <= len(later) <= 8  # of minutes that double


def test_a_stall_each_second_whatever_the_rung_steps_down_once_and_is_taken_back() -> None:
    controller = LoadController(COSTS, 0.05)
    steps = []
    for number in range(round(100 / PERIOD_S)):
        step = controller.observe(number * PERIOD_S, 0.3 if number % 30 == 0 else 0.02, 0)
        steps += [(step.before, step.after)] if step is not None else []
    assert steps == [(0, 1), (1, 0)]


@pytest.mark.parametrize("latency_s", [0.04, 0.0375])
def test_frames_that_are_all_equally_late_within_the_limit_do_not_stutter(latency_s: float) -> None:
    """Late by the tone mapping or another process, whatever the rung; and as late as calibration accepts."""
    controller, random = LoadController(COSTS, 0.05, period_s=PERIOD_S), np.random.default_rng(2)
    for number in range(round(120 / PERIOD_S)):
        assert controller.observe(number * PERIOD_S, latency_s * random.uniform(0.9, 1.15), 0) is None


def test_uneven_frames_that_no_rung_changes_cost_none_for_long() -> None:
    """As often late as not, 45 ms or 20: two rungs down at once, and both of them back."""
    controller = LoadController(COSTS, 0.05)
    down, back = stuttering(controller, 0.0, 100.0, 0.5)
    assert (down.before, down.after, back.before, back.after) == (0, 2, 2, 0)


@pytest.mark.parametrize("every", [20, 40, 110])
def test_stutter_that_no_step_changes_keeps_no_run_down(every: int) -> None:
    """It was overloaded at first. A single late frame every 0.7, 1.3 or 3.7 s is there on every rung."""
    controller = LoadController(COSTS, 0.05)
    ups = []
    for number in range(round(900 / PERIOD_S)):
        now_s = number * PERIOD_S
        usual_s = 0.07 if now_s < 3 else 0.012
        step = controller.observe(now_s, 0.3 if number % every == 0 else usual_s, 0)
        ups += [now_s] if step is not None and controller.rung == 0 else []
    assert ups
    assert controller.rung == 0


def test_nothing_is_judged_before_a_step_is_taken() -> None:
    """The network of the lower rung is still compiled: the run is as slow as before it."""
    controller = LoadController(COSTS, 0.05)
    taken_s, now_s, steps = 8.0, 0.0, list[float]()
    while now_s < 12.0:
        now_s += PERIOD_S
        pending = bool(steps) and now_s < taken_s
        latency_s = 0.02 if steps and not pending else 0.07
        if controller.observe(now_s, latency_s, 0, pending) is not None:
            steps.append(now_s)
    assert len(steps) == 1
    assert controller.rung == 2


def test_a_rung_that_held_is_come_back_to_where_most_of_the_latency_is_not_the_networks() -> None:
    """38 ms at the top and 34 below: by their costs the top would be reckoned to take 68."""
    controller, steps = LoadController(COSTS, 0.05), list[RungChange]()
    for number in range(round(120 / PERIOD_S)):
        now_s = number * PERIOD_S
        usual_s = 0.03 + 0.001 * COSTS[controller.rung]
        step = controller.observe(now_s, 0.07 if 40 < now_s < 43 else usual_s, 0)
        steps += [step] if step is not None else []
        assert controller.rung == 0 or 40 < now_s < 80
    assert max(step.after for step in steps) == 3
    assert controller.rung == 0


def test_a_step_up_that_is_waited_for_is_withdrawn_when_frames_are_late_and_the_run_can_step_down() -> None:
    """The better rung takes 30 s to compile; after 3 of them a load comes."""
    controller, steps, up_s = LoadController(COSTS, 0.05, rung=2), list[tuple[float, RungChange]](), 0.0
    for number in range(round(30 / PERIOD_S)):
        now_s = number * PERIOD_S
        latency_s = 0.015 if up_s == 0 or now_s < up_s + 3 else 0.07
        step = controller.observe(now_s, latency_s, 0, len(steps) == 1)
        if step is not None:
            steps.append((now_s, step))
            up_s = up_s or now_s
    assert [(step.before, step.after) for _, step in steps] == [(2, 1), (1, 2), (2, 3)]
    assert steps[1][0] - up_s - 3 < 0.6
    assert steps[2][0] - up_s - 3 < 1.2


def test_a_step_up_is_judged_from_when_it_is_taken() -> None:
    """Its network takes 10 s to compile, and then is too slow."""
    controller, ups, downs = LoadController(COSTS, 0.05, rung=1), list[float](), list[float]()
    for number in range(round(25 / PERIOD_S)):
        now_s = number * PERIOD_S
        pending = bool(ups) and now_s < ups[0] + 10
        latency_s = 0.07 if ups and not pending and not downs else 0.015
        step = controller.observe(now_s, latency_s, 0, pending)
        if step is not None:
            (ups if step.after < step.before else downs).append(now_s)
    assert len(ups) == len(downs) == 1
    assert ups[0] + 11 < downs[0] < ups[0] + 12


def test_rungs_that_do_not_descend_are_refused() -> None:
    with pytest.raises(ValueError, match="must descend"):
        LoadController((1.0, 2.0), 0.05)
    with pytest.raises(ValueError, match="above 0 seconds"):
        LoadController((2.0, 1.0), 0.0)


def test_who_has_no_room_for_a_better_rung_looks_for_it_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[int] = []
    plain = LoadController._stutters

    def counted(controller: LoadController, seen: Sequence[Any]) -> list[bool]:
        looked_at.append(len(seen))
        return plain(controller, seen)

    monkeypatch.setattr(LoadController, "_stutters", counted)
    monkeypatch.setattr(load_control, "CALM_S", 60.0)
    calm = Machine(LoadController(COSTS, 0.05, rung=1))
    calm.run(70, unit_s=0.006)
    assert calm.steps == []
    looked_at.clear()
    calm.run(10, unit_s=0.006)
    assert 10 <= sum(frames > 1000 for frames in looked_at) <= 25

"""What of this machine's pace is remembered for which runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.neural.speed import measured_use, pace
from irchroma.engines.neural.speed.ladder import Rung, ladder
from irchroma.engines.neural.speed.measured_use import UseMeter
from irchroma.engines.neural.speed.pace import Demand, Pace
from irchroma.engines.reference.pictures import AUTO

SIZE, RUNG, LOWER = (64, 96), Rung("fast", 320, 3), Rung("fast", 192, 4)


class Measures:
    """What this machine is found to do, in place of measuring it: call and frame, ms."""

    def __init__(self) -> None:
        self.call_ms, self.frame_ms, self.calm, self.frames = 20.0, 7.0, True, 0

    def call(self, path: Path, options: NetworkOptions, size: tuple[int, int]) -> tuple[float, float, bool]:
        return self.call_ms, self.call_ms, self.calm

    def frame(self, options: NeuralOptions, size: tuple[int, int]) -> tuple[float, float, float]:
        self.frames += 1
        return self.frame_ms, 0.4 * self.frame_ms, 1.0 / 3


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Measures:
    found = Measures()
    monkeypatch.setattr(pace, "_call", found.call)
    monkeypatch.setattr(pace, "frame_cost", found.frame)
    monkeypatch.setattr(pace, "_fresh", {})
    return found


@pytest.fixture
def demand(tmp_path: Path) -> Demand:
    (tmp_path / "compiled").mkdir()
    network = NetworkOptions(cache=tmp_path / "compiled", exact=True)
    return Demand(NeuralOptions("nir", beside=True, network=network), SIZE, 30.0)


def changed(demand: Demand, **options: object) -> Demand:
    return replace(demand, options=replace(demand.options, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("full_ms", "frame_ms"), [(20.0, 1.0), (18.0, 2.0), (20.0, 2.0), (9.0, 4.0), (4.0, 9.0)]
)
def test_what_is_within_reach_fits_and_no_more(demand: Demand, full_ms: float, frame_ms: float) -> None:
    large = replace(demand, size=(1080, 1920))
    found = Pace(large, 9.0, 9.0, frame_ms, 1.0, full_ms, 2, "now")
    for rung in ladder("nir", Rung("best", 416, 1), ("fast", "best"), 1.0):
        reach_hz = found.within_reach_hz(rung)
        assert replace(found, demand=replace(large, rate=0.99 * reach_hz)).fits(rung)
        assert not replace(found, demand=replace(large, rate=1.02 * reach_hz)).fits(rung)


@pytest.mark.usefixtures("measures")
def test_what_a_run_by_a_reference_took_says_nothing_of_one_without(demand: Demand) -> None:
    steered = changed(demand, reference=AUTO)
    exemplar = changed(steered, engine="reference", size="nir")
    for one, share in ((demand, 1.44), (steered, 1.96), (exemplar, 1.21)):
        assert pace.measure(one).used == 1.0
        pace.measure(one).meter()._remember(share)
    assert [pace.measure(one).used for one in (demand, steered, exemplar)] == [1.2, 1.4, 1.1]


def test_other_looks_are_other_work_and_how_seldom_the_network_runs_is_none(
    demand: Demand, measures: Measures
) -> None:
    options = demand.options
    for count, one in enumerate(
        (
            demand,
            changed(demand, recolor=replace(options.recolor, mode="chroma")),
            changed(demand, temporal=replace(options.temporal, half_color=False)),
        ),
        1,
    ):
        measures.frame_ms = 5.0 + count
        for _ in range(2):
            assert pace.measure(one).frame_ms == measures.frame_ms
        assert measures.frames == count
    seldom = changed(demand, temporal=replace(options.temporal, color_every=4))
    assert pace.measure(seldom).frame_ms == 6.0


def test_what_was_used_goes_with_what_it_was_counted_by(demand: Demand, measures: Measures) -> None:
    """Measured again with the machine for itself, half of it is counted: twice that is used, not once."""
    measures.calm = False
    before = pace.measure(demand)
    meter = before.meter()
    meter._remember(1.44)
    assert pace.measure(demand).used == 1.2
    measures.call_ms, measures.frame_ms = 10.0, 3.0
    pace.measure_again(demand)
    after = pace.measure(demand)
    assert (after.call_ms, after.frame_ms, after.used) == (10.0, 3.0, 1.0)
    meter._remember(1.44)  # of the run that still goes on, by what it began with
    assert pace.measure(demand).used == 1.0
    after.meter()._remember(1.21)
    assert pace.measure(demand).used == 1.1


def meters(demands: list[Demand], cameras: int) -> Iterator[UseMeter]:
    pool = SharedPool(cameras=cameras)
    for demand in demands:
        yield pace.measure(replace(demand, cameras=cameras)).meter(pool)


@pytest.mark.usefixtures("measures")
@pytest.mark.parametrize("unlike", ["", "size", "rate", "rung", "later", "gone", "silent"])
def test_cameras_say_what_they_take_only_where_all_do_the_same(
    demand: Demand, unlike: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process takes is the sum of them all, and each counts as if all were as it is."""
    now_s = 0.0
    monkeypatch.setattr(measured_use.time, "process_time", lambda: now_s)
    other = {"size": replace(demand, size=(128, 96)), "rate": replace(demand, rate=15.0)}.get(unlike, demand)
    both = list(meters([demand, other], 2))
    for frames in range(30 * 20):
        now_s = frames / 30
        lower = unlike == "rung" or (unlike == "later" and 9 < now_s < 10)
        both[0].note(now_s, RUNG, frames)
        if unlike != "silent" and not (unlike == "gone" and now_s > 8):
            both[1].note(now_s, LOWER if lower else RUNG, frames)
    found = list(demand.options.network.cache.parent.glob("used-*.json"))  # type: ignore[union-attr]
    assert bool(found) == (unlike == "")

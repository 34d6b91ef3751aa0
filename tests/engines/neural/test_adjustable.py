"""Settings that change while a video runs: no stall, no jump, the same frames in the same order."""

from __future__ import annotations

import json
import threading
import time
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.waiting import wait_for

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural import adjustable
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.background import ColorBeside
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.speed.ladder import CHEAPER, MEASURED, Rung, candidates, ladder, quality

pytestmark = pytest.mark.skipif(not any(map(installed, RUNTIMES)), reason="no runtime is installed")

FRAME_NS = 33_333_333
GLIDE = 0.021
"""Largest share of the jump between two networks that may show in one frame; it decays by 0.022 a frame."""
RUNGS = (Rung("fast", 160), Rung("fast", 96), Rung("fast", 64, 3))


def scene(number: int) -> NDArray[np.uint8]:
    """(128, 160): sky over textured ground, with sensor noise that is new in every frame."""
    rows = np.linspace(0, 1, 128)[:, None] * np.ones(160)
    luma = np.where(rows < 0.4, 170 + 30 * rows, 140 - 60 * rows)
    luma += cv2.GaussianBlur(np.random.default_rng(9).normal(0, 40, (128, 160)), (0, 0), 2.0)
    luma += np.random.default_rng(number).normal(0, 1.0, (128, 160))
    return np.clip(luma, 0, 255).astype(np.uint8)


@pytest.fixture
def colorizer() -> AdjustableColorizer:
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    return AdjustableColorizer(options, RUNGS)


def color(colorizer: AdjustableColorizer | NeuralColorizer, number: int) -> NDArray[np.uint8]:
    colorizer.submit(scene(number), number * FRAME_NS)
    return colorizer.collect().rgb


def test_a_rung_is_taken_between_frames_and_the_color_glides(colorizer: AdjustableColorizer) -> None:
    before = color(colorizer, 0)
    assert colorizer.wait_ready()
    moves = []
    for number in range(1, 75):
        colorizer.wish(1 if number >= 40 else 0)
        after = color(colorizer, number)
        assert colorizer.rung == (number >= 40)
        moves.append(float(cv2.absdiff(before, after).mean()))
        before = after
    colorizer.close()
    colorizer.close()
    noise = float(np.median(moves[20:39]))  # levels of 255: the sensor's noise moves the picture too
    assert max(moves[39:]) < noise + GLIDE * jump()
    assert moves[-1] < noise + 0.2


@pytest.mark.parametrize("first", [0, 1])
def test_the_work_size_follows_what_the_network_sees_and_the_color_glides(first: int) -> None:
    """Motion and all that is done at work size gets cheaper with the network, or better."""
    network = NetworkOptions(cache=None, threads=1)
    colorizer = AdjustableColorizer(NeuralOptions("nir", beside=True, network=network), RUNGS, follow=True)
    colorizer.wish(first)
    before, moves, works = color(colorizer, 0), [], []
    assert colorizer.wait_ready()
    for number in range(1, 75):
        colorizer.wish(1 - first if number >= 40 else first)
        after = color(colorizer, number)
        wait_for(lambda: colorizer._colorizer._beside is not None and answered(colorizer._colorizer._beside))
        works.append(colorizer._colorizer._worked_at)
        moves.append(float(cv2.absdiff(before, after).mean()))
        before = after
    colorizer.close()
    sizes = [(128, 160), (77, 96)]
    assert works == [sizes[first]] * 39 + [sizes[1 - first]] * 35
    noise = float(np.median(moves[20:38]))
    assert max(moves[38:]) < noise + 0.15 * jump()
    assert moves[-1] < noise + 0.2


def answered(beside: ColorBeside) -> bool:
    """Whether the network beside the frames has nothing left to say of frames so far."""
    return beside._beside.idle or beside._beside._ready()


@cache
def jump() -> float:
    """By how many levels the picture would change from one frame to the next with another network alone."""
    pictures = []
    for px in (160, 96):
        options = NeuralOptions("nir", work_size_px=px, network=NetworkOptions(cache=None, threads=2))
        colorizer = NeuralColorizer(options)
        pictures.append(color(colorizer, 0))
        colorizer.close()
    return float(cv2.absdiff(*pictures).mean())


def test_another_network_alone_would_jump() -> None:
    """What the test above measures is there to be measured."""
    assert jump() > 2.0


def test_a_rung_that_is_not_compiled_yet_stops_no_frame(colorizer: AdjustableColorizer) -> None:
    color(colorizer, 0)
    colorizer.wish(1)
    number, deadline = 1, time.monotonic() + 60
    while colorizer.rung != 1:
        color(colorizer, number)
        number += 1
        assert time.monotonic() < deadline
    assert colorizer.wait_ready()
    colorizer.close()


def test_a_rung_that_is_wished_for_is_compiled_at_once_and_no_other(
    colorizer: AdjustableColorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adjustable, "_BETWEEN_S", 600.0)
    color(colorizer, 0)
    assert compiled(colorizer) == {160}, "a run that keeps up has its frames for itself"
    number = 1
    deadline_s = time.monotonic() + 200
    for wished, there in ((2, {160, 64}), (1, {160, 64, 96})):
        colorizer.wish(wished)
        while colorizer.rung != wished and time.monotonic() < deadline_s:  # 600 s would be too late
            color(colorizer, number := number + 1)
            threading.Event().wait(0.02)  # as a camera does: who compiles gives way to frames
        assert colorizer.rung == wished
        assert compiled(colorizer) == there
    colorizer.close()


@pytest.mark.parametrize("comes", [True, False])
def test_a_network_that_is_too_slow_looks_seldom_until_the_cheaper_one_is_there_or_fails(
    comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would take the cores from the thread that compiles, and the run would stay as late as it is."""
    may_compile = threading.Event()
    compile_one = AdjustableColorizer._compile_one

    def when_allowed(colorizer: AdjustableColorizer, rung: Rung) -> None:
        assert may_compile.wait(60)
        if comes:
            compile_one(colorizer, rung)
        else:
            colorizer._unusable.add(adjustable._key(rung))

    monkeypatch.setattr(AdjustableColorizer, "_compile_one", when_allowed)
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    colorizer = AdjustableColorizer(options, RUNGS, 0, (128, 160))
    looked = []
    infer = colorizer._colorizer.network.infer
    monkeypatch.setattr(
        colorizer._colorizer.network, "infer", lambda luma: looked.append(number) or infer(luma)
    )
    for number in range(42):
        if number == 10:
            colorizer.wish(1)
        color(colorizer, number)
        assert colorizer.under_way == (number >= 10)
    assert looked[:10] == list(range(10))
    assert len(looked[10:]) == 32 // adjustable.RELIEF_EVERY
    stage = colorizer._colorizer._stage
    assert stage is not None
    for wished, every in ((0, 1), (1, adjustable.RELIEF_EVERY)):  # wanted no more, and again
        colorizer.wish(wished)
        color(colorizer, number := number + 1)
        assert stage._schedule.every == every
    may_compile.set()
    wait_for(lambda: 96 in compiled(colorizer) if comes else not colorizer.under_way)
    for again in (1, 2):
        color(colorizer, number + again)
        assert colorizer.rung == int(comes)
        assert not colorizer.under_way
        assert stage._schedule.every == 1
    colorizer.close()


def test_where_there_is_a_camera_for_each_core_each_has_one_frame_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of each would wait for each other: four cameras on two cores had a p50 of 85 to 122 ms with one,
    of 127 to 143 with two, at the same rate."""
    options = NeuralOptions("nir", network=NetworkOptions(cache=None))
    for cores, depth in ((2, 1), (4, 2)):
        monkeypatch.setattr(adjustable, "usable_cores", lambda: cores)  # noqa: B023
        colorizer = AdjustableColorizer(options, RUNGS, 0, pool=SharedPool(cameras=2, beside=True))
        assert colorizer.depth == depth
        colorizer.close()


def test_one_of_several_cameras_does_for_all_what_is_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as measuring whether 8 bits are faster, which runs of several cameras never learned."""
    monkeypatch.setattr(adjustable, "_CALM_START_S", 1.0)
    pool, calls = SharedPool(cameras=5, beside=True), list[str]()

    def camera(engine: str, name: str | None) -> AdjustableColorizer:
        options = NeuralOptions(engine, network=NetworkOptions(cache=None))
        later = partial(calls.append, name) if name is not None else None
        return AdjustableColorizer(options, RUNGS, 0, (128, 160), later, pool)

    cameras = [camera("nir", None)]  # it has nothing to do later, and takes nobody's turn
    camera("nir", "gone").close()  # nor does one that ends before its turn
    cameras += [camera(engine, engine) for engine in ("nir", "nir", "thermal")]
    wait_for(lambda: sorted(calls) == ["nir", "thermal"])
    threading.Event().wait(0.2)  # what must not come, for which nothing tells when it would have
    for one in cameras:
        one.close()
    assert sorted(calls) == ["nir", "thermal"]


def test_a_rung_that_is_waited_for_is_compiled_before_all_else_and_others_give_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind everything else two busy cores took 5 to 14 s for it, on settings that were too much."""
    monkeypatch.setattr(adjustable, "usable_cores", lambda: 2)
    done: list[str] = []
    monkeypatch.setattr(adjustable, "make_nice", lambda: done.append("nice"))
    compile_one = AdjustableColorizer._compile_one

    def noted(colorizer: AdjustableColorizer, rung: Rung) -> None:
        done.append(str(rung.seen_px))
        compile_one(colorizer, rung)

    monkeypatch.setattr(AdjustableColorizer, "_compile_one", noted)
    options = NeuralOptions("nir", network=NetworkOptions(cache=None))
    colorizer = AdjustableColorizer(options, RUNGS, 0, (128, 160))  # who waits to compile is there already
    colorizer.wish(1)
    color(colorizer, 0)
    wait_for(lambda: 96 in compiled(colorizer))
    assert colorizer.wait_ready()
    colorizer.close()
    assert done == ["96", "nice", "64"]


def test_the_next_cheaper_rungs_are_compiled_once_the_run_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as a step goes down, and from there as far again; what is better than the first never is."""
    monkeypatch.setattr(adjustable, "_CALM_START_S", 0.01)
    monkeypatch.setattr(adjustable, "_BETWEEN_S", 0.01)
    rungs = [Rung("fast", px) for px in (160, 128, 96, 64, 32)]
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    colorizer = AdjustableColorizer(options, rungs, 1, (128, 160))
    wait_for(lambda: compiled(colorizer) == {128, 96, 64})
    wait_for(lambda: colorizer._preparing is not None and not colorizer._preparing.is_alive())
    assert compiled(colorizer) == {128, 96, 64}
    colorizer.wish(2)
    color(colorizer, 0)
    assert colorizer.rung == 2
    wait_for(lambda: compiled(colorizer) == {128, 96, 64, 32})
    colorizer.close()


def compiled(colorizer: AdjustableColorizer) -> set[int]:
    """Long sides of the pictures whose networks are ready."""
    return {px for _, px in colorizer._ready}


def test_only_the_frames_that_are_due_reach_the_network(colorizer: AdjustableColorizer) -> None:
    color(colorizer, 0)
    assert colorizer.wait_ready()
    calls = []
    for network in colorizer._networks.values():
        infer = network.infer
        network.infer = lambda luma, infer=infer: (calls.append(luma.shape), infer(luma))[1]  # type: ignore[method-assign, assignment]
    colorizer.wish(2)
    for number in range(1, 31):
        color(colorizer, number)
    colorizer.close()
    assert len(calls) == 10
    assert set(calls) == {(1, 1, 64, 64)}


def test_a_rung_that_is_not_there_is_refused(colorizer: AdjustableColorizer) -> None:
    with pytest.raises(EngineError, match="no rung 3"):
        colorizer.wish(3)
    colorizer.close()


@pytest.mark.parametrize("gain", [1.0, 1.4])
@pytest.mark.parametrize("engine", ["nir", "thermal"])
def test_a_ladder_goes_down_in_cost_and_never_up_at_a_call(engine: str, gain: float) -> None:
    """With `fast` in 8 bits as well, which makes the step from it down to `best` of fewer pixels none."""
    for top in candidates(engine):
        for above, below in pairwise(ladder(engine, top, gain=gain)):
            assert below.cost_where(gain) <= CHEAPER * above.cost_where(gain)
            assert below.work_where(gain) <= above.work_where(gain)
    rungs = ladder(engine, candidates(engine)[0], gain=gain)
    assert all(quality(engine, below) < quality(engine, above) for above, below in pairwise(rungs))
    assert len(rungs) >= 5
    assert rungs[-1].cost < rungs[0].cost / 10
    assert {rung.size for rung in ladder(engine, Rung("best", 320, 2), ("best",))} == {"best"}
    assert max(rung.seen_px for rung in ladder(engine, Rung("fast", 256))) == 256
    assert [rung.color_every for rung in ladder(engine, Rung("fast", 96))] == [1, 2, 3, 4]


@pytest.mark.parametrize("engine", ["nir", "thermal"])
def test_the_ladder_has_the_numbers_that_were_measured(engine: str) -> None:
    path = Path(__file__).parents[3] / "launch" / "benchmarks" / f"ladder_{engine}.json"
    results = json.loads(path.read_text("utf-8"))["results"]
    assert len(results) == sum(len(MEASURED[engine, size]) for size in ("fast", "best"))
    for name, found in results.items():
        (of, px), mean = name.split(" at "), found["mean"]
        hue, difference = MEASURED[engine, of.split(":")[1]][int(px)]
        assert hue == pytest.approx(mean["hue_agreement"], abs=6e-4)
        assert difference == pytest.approx(mean["ciede2000"], abs=6e-3)


@pytest.mark.parametrize("engine", ["nir", "thermal"])
def test_a_network_that_sees_less_never_counts_as_better(engine: str) -> None:
    for size in ("fast", "best"):
        found = [quality(engine, Rung(size, px)) for px in sorted(MEASURED[engine, size])]
        assert found == sorted(found)


def test_candidates_are_all_settings_best_first() -> None:
    found = candidates("nir")
    assert len(found) == len(set(found)) == 4 * sum(len(MEASURED["nir", s]) for s in ("fast", "best"))
    scores = [quality("nir", rung) for rung in found]
    assert scores == sorted(scores, reverse=True)


def test_what_is_for_later_is_done_when_cheaper_rungs_are_ready_and_not_once_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    for between_s, done in ((0.01, 1), (60.0, 0)):
        monkeypatch.setattr(adjustable, "_BETWEEN_S", between_s)
        calls: list[int] = []
        colorizer = AdjustableColorizer(options, RUNGS, 0, (128, 160), lambda: calls.append(1))  # noqa: B023
        assert colorizer.wait_ready()
        wait_for(lambda: len(calls) == done)  # noqa: B023
        colorizer.close()
        assert len(calls) == done


def test_what_is_for_later_is_done_too_where_no_rung_has_to_be_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at once: the run's beginning has the processor for itself."""
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    for calm_s, done in ((0.01, 1), (60.0, 0)):
        monkeypatch.setattr(adjustable, "_CALM_START_S", calm_s)
        calls: list[int] = []
        rungs = [Rung("fast", 160), Rung("fast", 160, 3)]
        colorizer = AdjustableColorizer(options, rungs, 0, (128, 160), lambda: calls.append(1))  # noqa: B023
        wait_for(lambda: len(calls) == done)  # noqa: B023
        colorizer.close()
        assert len(calls) == done


def test_cameras_move_on_their_ladders_by_networks_that_they_share() -> None:
    """What nobody has wished for is not compiled: one network keeps few sizes for all of them."""
    pool = SharedPool(cameras=2, beside=True)
    options = NeuralOptions("nir", network=NetworkOptions(cache=None))
    cameras = [AdjustableColorizer(options, RUNGS, 0, (128, 160), pool=pool) for _ in range(2)]
    (figures,) = pool.figures()
    assert figures["cameras"] == 2
    wait_for(lambda: pool.figures()[0]["calls"] == 2)  # a call is counted when it has come back
    assert all(camera.first_network is None for camera in cameras)
    before = color(cameras[0], 0)
    cameras[0].wish(1)
    for number in range(1, 2000):
        after = color(cameras[0], number)
        if cameras[0].rung == 1:
            break
        before = after
        threading.Event().wait(0.005)
    assert (cameras[0].rung, cameras[1].rung) == (1, 0)
    assert float(cv2.absdiff(before, after).mean()) < jump()
    assert len(pool.figures()) == 1
    for camera in cameras:
        camera.close()
    assert pool.figures()[0]["cameras"] == 0


def test_the_first_network_is_named_as_it_was_asked_for() -> None:
    options = NeuralOptions("nir", network=NetworkOptions(cache=None, threads=2))
    colorizer = AdjustableColorizer(options, RUNGS)
    assert colorizer.first_network is None  # before a frame has told its size
    color(colorizer, 0)
    path, asked, shape = colorizer.first_network or (Path(), NetworkOptions(), ())
    assert (path, asked, shape) == (colorizer.weights, options.network, (1, 1, 128, 160))
    colorizer.close()

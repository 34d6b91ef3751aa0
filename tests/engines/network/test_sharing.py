"""Several cameras at one network: the same answers, fair turns, short waits, errors for those concerned."""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.waiting import at_once

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.network import sharing
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, Tensor, installed, open_network
from irchroma.engines.network.sharing import NetworkSeat, PoolKey, SharedNetwork, SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.processor import NICENESS, usable_cores

pytestmark = pytest.mark.skipif(not any(map(installed, RUNTIMES)), reason="no runtime is installed")

CPU_RUNTIMES = [name for name in ("openvino", "onnxruntime") if installed(name)]


def luma(seed: int, size: tuple[int, int] = (64, 96)) -> Tensor:
    return np.random.default_rng(seed).random((1, 1, *size), np.float32)


def seats(shared: SharedNetwork, count: int) -> list[NetworkSeat]:
    found = [shared.seat() for _ in range(count)]
    return [seat for seat in found if seat is not None]


@pytest.fixture
def network_file(tiny_network: Path) -> Path:
    return tiny_network


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
@pytest.mark.parametrize(("frames", "lanes"), [(1, 1), (1, 2), (3, 1)])
def test_each_camera_gets_the_answers_to_its_own_frames(
    runtime: str, frames: int, lanes: int, network_file: Path
) -> None:
    options = NetworkOptions(runtime, threads=2, cache=None, exact=True, lanes=lanes)
    alone = open_network(network_file, options)
    shared = SharedNetwork(open_network(network_file, options), BatchOptions(50, frames))
    sizes = [(64, 96), (64, 96), (64, 96), (32, 64)]

    def camera(seat: NetworkSeat, number: int) -> None:
        for step in range(8):
            frame = luma(100 * number + step, sizes[number])
            answer = seat.infer(frame)
            with lock:
                expected = [array.copy() for array in alone.infer(frame)]
            for one, other in zip(answer, expected, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)  # float32, other order of sums
        seat.close()

    lock = threading.Lock()
    places = seats(shared, len(sizes))
    at_once([partial(camera, seat, number) for number, seat in enumerate(places)])
    assert shared.frames == 32
    assert shared.calls < 32 if frames > 1 else shared.calls == 32
    assert shared.seat() is None  # closed with its last one
    alone.close()


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_cameras_that_share_a_network_show_the_pictures_they_show_alone(runtime: str) -> None:
    if not catalog.weights_path("nir", "fast").is_file():
        pytest.skip("weights of nir fast are not here")
    network = NetworkOptions(runtime, threads=2, cache=None, exact=True, lanes=1)
    options = NeuralOptions(network=network, work_size_px=160)
    scenes = {
        name: [np.clip(90 + 60 * luma(seed, (120, 160))[0, 0] + 3 * step, 0, 255).astype(np.uint8)]
        for name, seed, step in (("gate", 1, 0), ("yard", 2, 1), ("roof", 3, 2))
    }
    for frames in scenes.values():
        frames += [np.roll(frames[0], 2 * step, 1) for step in range(1, 5)]

    def pictures(colorizer: NeuralColorizer, frames: list[np.ndarray], into: list[np.ndarray]) -> None:
        for number, frame in enumerate(frames):
            colorizer.submit(frame, number * 40_000_000)
            into.append(colorizer.collect().rgb)
        colorizer.close()

    alone: dict[str, list[np.ndarray]] = {name: [] for name in scenes}
    for name, frames in scenes.items():
        pictures(NeuralColorizer(options), frames, alone[name])
    for batch_frames, tolerance in ((1, 0), (3, 1)):  # a batch's sums are rounded in another order
        pool = SharedPool(BatchOptions(50, batch_frames), cameras=3)
        colorizers = {name: NeuralColorizer(options, opener=pool.open) for name in scenes}
        together: dict[str, list[np.ndarray]] = {name: [] for name in scenes}
        at_once([partial(pictures, colorizers[n], scenes[n], together[n]) for n in scenes])
        (figures,) = pool.figures()
        assert figures["frames"] == 15
        assert figures["calls"] < 15 if batch_frames > 1 else figures["calls"] == 15
        for name in scenes:
            for one, other in zip(alone[name], together[name], strict=True):
                assert np.abs(one.astype(int) - other).max() <= tolerance


def test_fast_cameras_do_not_starve_a_slow_one(network_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted is what the network does between a frame's coming into the line and its turn, whenever
    the threads that wait for it come to run."""
    shipped = catalog.weights_path("nir", "fast")
    path = shipped if shipped.is_file() else network_file
    network = open_network(path, NetworkOptions(threads=1, cache=None))
    shared = SharedNetwork(network)
    slow, *fast = seats(shared, 4)
    done = threading.Event()
    infer, put = network.infer, shared.line.put
    turns: list[bool] = []  # of the slow one
    came, waits = 0, []
    mine = luma(2, (64, 96))

    def inferred(frame: np.ndarray) -> Any:
        turns.append(bool((frame == mine).all()))
        return infer(frame)

    def put_in_line(seat: NetworkSeat, *request: Any) -> bool:
        nonlocal came
        taken = put(seat, *request)
        if seat is slow:
            came = len(turns)
        return taken

    monkeypatch.setattr(network, "infer", inferred)
    monkeypatch.setattr(shared.line, "put", put_in_line)

    def hurry(seat: NetworkSeat) -> None:
        frame = luma(1, (64, 96))
        while not done.is_set():
            seat.infer(frame)

    def stroll() -> None:
        for number in range(20):
            slow.infer(mine)
            turn = [at for at, is_mine in enumerate(turns) if is_mine][number]
            waits.append(turn - came)
            done.wait(0.005)
        done.set()

    at_once([stroll, *(partial(hurry, seat) for seat in fast)])
    # One that had been taken but had not begun, and one of each of the three others.
    assert max(waits) <= 4
    assert max(waits) >= 1, "nobody was in its way"
    assert shared.frames > 60


@pytest.mark.alone
def test_a_frame_waits_for_company_only_until_its_deadline(network_file: Path) -> None:
    wait_s = 0.2
    shared = SharedNetwork(
        open_network(network_file, NetworkOptions(threads=1, cache=None)), BatchOptions(wait_s * 1e3, 2)
    )
    one, other = seats(shared, 2)
    frame = luma(3)

    def seconds(seat: NetworkSeat) -> float:
        start = time.monotonic()
        seat.infer(frame)
        return time.monotonic() - start

    for _ in range(3):
        seconds(one)
    assert seconds(one) < wait_s / 2  # nobody else has ever come
    threading.Event().wait(0.1)  # long enough that the first is not waited for
    seconds(other)
    threading.Event().wait(0.1)
    seconds(other)  # now it is known to come every 0.1 s
    assert 0.9 * wait_s < seconds(one) < 3 * wait_s  # due, and does not come
    threading.Event().wait(0.2)
    assert seconds(one) < wait_s / 2  # has missed its turn: not waited for again
    never = SharedNetwork(
        open_network(network_file, NetworkOptions(threads=1, cache=None)), BatchOptions(0, 2)
    )
    assert never.batch_frames == 2
    (seat,) = seats(never, 1)
    seconds(seat)  # it is compiled for the shape, which takes longer than a wait on a busy machine
    assert seconds(seat) < wait_s


def test_a_camera_that_leaves_disturbs_nobody(network_file: Path) -> None:
    pool = SharedPool(cameras=3)
    options = NetworkOptions(cache=None)
    gate, yard = (pool.open(network_file, options) for _ in range(2))
    before = gate.infer(luma(4))
    yard.close()
    yard.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        yard.infer(luma(4))
    np.testing.assert_array_equal(gate.infer(luma(4))[0], before[0])
    roof = pool.open(network_file, options)
    np.testing.assert_array_equal(roof.infer(luma(4))[0], before[0])
    assert [figures["cameras"] for figures in pool.figures()] == [2]
    gate.close()
    roof.close()
    again = pool.open(network_file, options)  # closed with its last camera, and loaded for the next
    np.testing.assert_array_equal(again.infer(luma(4))[0], before[0])
    again.close()


def test_nobody_waits_for_ever_for_a_network_that_another_opens(
    network_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "OPENS_WITHIN_S", 0.1)
    pool, opening, may_open = SharedPool(cameras=2), threading.Event(), threading.Event()
    key = PoolKey(network_file, None, "hangs")

    def hangs() -> Any:
        opening.set()
        assert may_open.wait(60)
        raise EngineError("cannot be opened")

    def first() -> None:
        with pytest.raises(EngineError, match="cannot be opened"):
            pool.seat(key, hangs)

    def second() -> None:
        assert opening.wait(60)
        with pytest.raises(EngineError, match="is still being opened for another camera after") as caught:
            pool.seat(key, hangs)
        assert not caught.value.lasts, "it is asked for again"
        may_open.set()

    at_once([first, second])


def test_an_error_reaches_every_camera_of_the_batch_and_the_network_is_loaded_anew(
    network_file: Path,
) -> None:
    pool = SharedPool(BatchOptions(500, 2), cameras=2)
    options = NetworkOptions("onnxruntime", cache=None)
    gate, yard = (pool.open(network_file, options) for _ in range(2))
    wrong = np.zeros((1, 2, 64, 96), np.float32)  # two planes where the network takes one
    answers: list[EngineError] = []

    def ask(seat: NetworkSeat) -> None:
        with pytest.raises(EngineError) as caught:
            seat.infer(wrong)
        answers.append(caught.value)

    at_once([lambda: ask(gate), lambda: ask(yard)])
    assert len(answers) == 2
    assert answers[0] is not answers[1]
    np.testing.assert_array_equal(*(seat.infer(luma(5))[0] for seat in (gate, yard)))
    fresh = pool.open(network_file, options)
    assert [figures["cameras"] for figures in pool.figures()] == [1]
    for seat in (gate, yard, fresh):
        seat.close()


def test_the_networks_of_a_process_take_turns_on_its_cores(network_file: Path) -> None:
    cores = usable_cores()
    pool = SharedPool(cameras=2 * cores)
    pairs = [
        [pool.open(network_file, NetworkOptions(cache=None, exact=exact)) for _ in range(cores)]
        for exact in (False, True)
    ]
    networks = list(pool._networks.values())
    assert len(networks) == 2
    assert networks[0]._turns is networks[1]._turns
    places = [seat for pair in pairs for seat in pair]
    at_once([partial(lambda seat: [seat.infer(luma(n)) for n in range(5)], seat) for seat in places])
    assert sum(network.frames for network in networks) == 10 * cores
    for seat in places:
        seat.close()


def test_cameras_share_only_what_is_the_same(network_file: Path) -> None:
    pool = SharedPool(cameras=4)
    options = [NetworkOptions(cache=None), NetworkOptions(cache=None), NetworkOptions(cache=None, exact=True)]
    places = [pool.open(network_file, one) for one in options]
    assert sorted(figures["cameras"] for figures in pool.figures()) == [1, 2]
    for seat in places:
        seat.close()


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(EngineOptionError, match="from 0 to 1000 ms, got -1"):
        BatchOptions(-1)
    with pytest.raises(EngineOptionError, match="1 or more, or 0"):
        BatchOptions(frames=-2)
    with pytest.raises(EngineOptionError, match="no negative lanes, got 0 and -1"):
        NetworkOptions(lanes=-1)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_cameras_of_many_sizes_come_and_go_at_one_network(runtime: str, network_file: Path) -> None:
    options = NetworkOptions(runtime, threads=2, cache=None, exact=True)
    alone = open_network(network_file, options)
    sizes = [(32 * (1 + n % 3), 32 * (1 + n)) for n in range(12)]  # more than a runtime keeps compiled
    expected = [[array.copy() for array in alone.infer(luma(n, size))] for n, size in enumerate(sizes)]
    alone.close()
    pool = SharedPool(cameras=4)

    def camera(first: int) -> None:
        seat = pool.open(network_file, options)
        for step in range(len(sizes)):
            n = (first + step) % len(sizes)
            for one, other in zip(seat.infer(luma(n, sizes[n])), expected[n], strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)
        seat.close()

    at_once([partial(camera, 3 * number) for number in range(4)])


def test_who_opens_one_network_does_not_make_others_wait_for_theirs(network_file: Path) -> None:
    pool = SharedPool(cameras=3)
    building, built = threading.Event(), threading.Event()
    opened: list[str] = []

    def plan_of_minutes() -> SharedNetwork:
        opened.append("plan")
        building.set()
        assert built.wait(30)
        return SharedNetwork(open_network(network_file, NetworkOptions(cache=None)))

    slow = PoolKey(network_file, ("tensorrt", 0), (64, 96))
    places: list[NetworkSeat] = []
    waiting = [
        threading.Thread(target=lambda: places.append(pool.seat(slow, plan_of_minutes))) for _ in range(2)
    ]
    for thread in waiting:
        thread.start()
    assert building.wait(30)
    places.append(pool.open(network_file, NetworkOptions(cache=None)))  # at once, by the lock of its own key
    assert [figures["cameras"] for figures in pool.figures()] == [1]
    built.set()
    for thread in waiting:
        thread.join(30)
    assert opened == ["plan"]
    assert sorted(figures["cameras"] for figures in pool.figures()) == [1, 2]
    for seat in places:
        seat.close()


class PriorityNetwork:
    """Answers with the niceness of the thread that calls it."""

    name, lanes, best_batch = "priority", 1, 1

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        value = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return np.full((1, 3, 1, 1), value, np.float32), np.zeros((1, 1, 1, 1), np.float32)

    def close(self) -> None:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
@pytest.mark.parametrize("beside", [False, True])
def test_calls_beside_frames_give_way_to_everything_else(beside: bool) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    shared = SharedNetwork(PriorityNetwork(), beside=beside)
    (seat,) = seats(shared, 1)
    assert seat.infer(luma(0))[0].max() == (min(19, own + NICENESS) if beside else own)
    seat.close()

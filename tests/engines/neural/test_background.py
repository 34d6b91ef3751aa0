"""The network beside the frames: none waits for it, and what it says late lands where it belongs."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import NetworkOptions, Tensor
from irchroma.engines.neural.background import (
    CUT_WAIT_S,
    FADE_S,
    SLEPT_S,
    STUCK_S,
    CallsInOrder,
    NetworkBeside,
)
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.deferred_picture import DeferredPicture
from irchroma.engines.processor import NICENESS

FRAME_NS = 33_333_333
Luma = NDArray[np.uint8]


class GatedNetwork:
    """Red where the luma is above the middle, blue below; answers when it is let."""

    lanes, best_batch, name = 1, 1, "gated"

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)
        self.calls = 0
        self.fail = False
        self.gray_calls = 0

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        self.asked.release()
        assert self.let.acquire(timeout=20)
        if self.fail:
            raise EngineError("the network broke")
        bright = luma[0, 0] > 0.5
        ycc = np.stack([luma[0, 0], np.where(bright, -0.1, 0.2), np.where(bright, 0.2, -0.1)])
        if self.calls <= self.gray_calls:
            ycc[1:] = 0
        return ycc[None].astype(np.float32), np.ones_like(luma)

    def close(self) -> None:
        pass


def scene(shift: int = 0, seed: int = 1) -> Luma:
    """(192, 256): a bright square on a dark ground with texture, moved by `shift` pixels."""
    texture = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 40, (192, 512)), (0, 0), 3)
    luma = 80 + texture
    luma[60:130, 190:280] += 110
    return np.clip(luma[:, 120 - shift : 376 - shift], 0, 255).astype(np.uint8)


def colorizer(network: GatedNetwork) -> NeuralColorizer:
    return NeuralColorizer(NeuralOptions(work_size_px=128, beside=True), network)


def color(one: NeuralColorizer, luma: Luma, number: int) -> DeferredPicture:
    one.submit(luma, number * FRAME_NS)
    return one.collect()


def redness(picture: DeferredPicture) -> NDArray[np.float32]:
    rgb = picture.rgb.astype(np.float32)
    return rgb[..., 0] - rgb[..., 2]


def finish_call(one: NeuralColorizer, network: GatedNetwork) -> None:
    """Let the call in hand end, and wait until its answer lies there."""
    assert one._beside is not None
    done = one._beside._beside.calls
    network.let.release()
    deadline = time.monotonic() + 10
    while one._beside._beside.calls == done:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_no_frame_waits_and_color_that_comes_late_fades_in() -> None:
    network = GatedNetwork()
    one = colorizer(network)
    start_s = time.monotonic()
    for number in range(4):
        assert np.abs(redness(color(one, scene(), number))).max() < 3
    assert time.monotonic() - start_s < 5  # the network has not been let at all
    assert network.calls == 1
    finish_call(one, network)
    seen = [np.abs(redness(color(one, scene(), 4 + n))).mean() for n in range(14)]
    assert 0 < seen[0] < 0.3 * seen[-1]
    assert all(later >= earlier - 0.5 for earlier, later in pairwise(seen))
    assert FADE_S < 13 / 30
    network.let.release(3)
    one.close()
    one.close()


def test_the_first_frame_is_colored_where_the_network_is_quick() -> None:
    network = GatedNetwork()
    network.let.release(20)
    one = colorizer(network)
    first = redness(color(one, scene(), 0))
    assert first[95, 100] > 10  # the square
    assert first[20, 100] < -10
    one.close()


def test_an_answer_is_carried_along_the_motion_of_the_frames_that_it_missed() -> None:
    network = GatedNetwork()
    network.let.release()
    network.gray_calls = 1  # all color comes from the second call
    one = colorizer(network)
    for number in range(2):
        color(one, scene(3 * number), number)
        assert network.asked.acquire(timeout=10)
    for number in range(2, 8):  # the network is still looking at frame 1
        color(one, scene(3 * number), number)
    finish_call(one, network)
    shown = redness(color(one, scene(24), 8))
    sharp = redness_of_truth(scene(24))
    inside = cv2.erode((sharp > 0).astype(np.uint8), np.ones((9, 9))) > 0
    outside = cv2.dilate((sharp > 0).astype(np.uint8), np.ones((9, 9))) == 0
    assert (shown[inside] > 0).mean() > 0.97
    assert (shown[outside] < 0).mean() > 0.97
    network.let.release(3)
    one.close()


def redness_of_truth(luma: Luma) -> NDArray[np.float32]:
    wide = cv2.GaussianBlur(luma, (0, 0), 2).astype(np.float32)
    return np.where(wide > 127, 1.0, -1.0).astype(np.float32)


def test_after_a_cut_the_old_answer_goes_nowhere() -> None:
    network = GatedNetwork()
    network.let.release()
    one = colorizer(network)
    color(one, scene(), 0)
    assert network.asked.acquire(timeout=10)
    color(one, scene(2), 1)
    assert network.asked.acquire(timeout=10)
    other = np.ascontiguousarray(255 - scene(seed=7)[::-1])
    start_s = time.monotonic()
    assert np.abs(redness(color(one, other, 2))).max() < 3  # another scene: no color of the old one
    assert time.monotonic() - start_s < CUT_WAIT_S + 2
    finish_call(one, network)
    assert np.abs(redness(color(one, other, 3))).max() < 3  # what was said of the old scene is dropped
    network.let.release(30)
    for number in range(4, 30):
        shown = redness(color(one, other, number))
        time.sleep(0.002)
    assert np.abs(shown).mean() > 5
    one.close()


def test_an_error_of_the_network_reaches_the_frames() -> None:
    network = GatedNetwork()
    network.fail = True
    network.let.release(5)
    one = colorizer(network)

    def color_all() -> None:
        for number in range(50):
            color(one, scene(), number)
            time.sleep(0.005)

    with pytest.raises(EngineError, match="the network broke"):
        color_all()
    one.close()


def test_a_network_that_was_stopped_with_its_process_is_not_lost_and_one_that_hangs_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone_s = 0.0
    clock = time.perf_counter
    monkeypatch.setattr("irchroma.engines.neural.background.time.perf_counter", lambda: clock() + gone_s)
    network, beside = GatedNetwork(), NetworkBeside()
    try:
        beside.ask(network, lambda: np.zeros((1, 1, 8, 8), np.float32), lambda _: (np.zeros(1), np.zeros(1)))
        assert network.asked.acquire(timeout=20)
        gone_s = 600.0  # stopped, and continued
        assert beside.take() is None
        gone_s += SLEPT_S / 2
        assert beside.take() is None
        network.let.release()
        assert beside.take(20.0) is not None

        beside.ask(network, lambda: np.zeros((1, 1, 8, 8), np.float32), lambda _: (np.zeros(1), np.zeros(1)))
        assert network.asked.acquire(timeout=20)
        gone_s += STUCK_S + 0.1
        assert beside.take() is None
        gone_s += SLEPT_S + 0.1
        with pytest.raises(EngineError, match="has not answered for 20 s"):
            beside.take()
    finally:
        network.let.release()
        beside.close()


def test_without_it_the_same_frames_give_the_same_pictures() -> None:
    made = []
    for _ in range(2):
        network = GatedNetwork()
        network.let.release(99)
        one = NeuralColorizer(NeuralOptions(work_size_px=128), network)
        made.append([color(one, scene(2 * number), number).planes for number in range(5)])
        one.close()
    for first, second in zip(*made, strict=True):
        assert first is not None
        assert second is not None
        for plane, same in zip(first, second, strict=True):
            np.testing.assert_array_equal(plane, same)


@pytest.mark.parametrize(("threads", "own"), [(1, 2), (2, 0)])
def test_a_network_without_threads_of_its_own_gives_way_after_its_first_color(threads: int, own: int) -> None:
    """Beside other work the first color would come late; threads that a call starts keep its priority."""
    priorities: list[int] = []

    class Noting(GatedNetwork):
        def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().infer(luma)

    network = Noting()
    network.let.release(4)
    options = NeuralOptions(work_size_px=128, beside=True, network=NetworkOptions(threads=threads))
    video = NeuralColorizer(options, network)
    for _ in range(4):
        video.prepare((192, 256))
    video.close()
    plain = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities == [plain] * own + [min(19, plain + NICENESS)] * (4 - own)


def test_who_asks_behind_the_end_is_told_so() -> None:
    """Nobody would answer, and whoever waits for the answer would wait for ever."""
    calls = CallsInOrder()
    assert calls.ask(lambda: (np.zeros(1), np.ones(1))).result(10)[1].tolist() == [1]
    calls.close()
    calls.close()
    with pytest.raises(EngineError, match="closed"):
        calls.ask(lambda: (np.zeros(1), np.ones(1)))

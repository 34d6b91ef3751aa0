"""Places given in the order of asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from irchroma.engines.network.network import Tensor
from irchroma.engines.neural import colorizer
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.processor import Turns, frame_turns, usable_cores
from irchroma.engines.recolor.recoloring import Recoloring
from irchroma.engines.temporal.stage import TemporalStage


@pytest.mark.parametrize("places", [1, 2, 3])
def test_never_more_are_inside_than_there_are_places(places: int) -> None:
    turns, lock = Turns(places), threading.Lock()
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 1 <= most <= places
    assert inside == 0


def test_whoever_has_waited_longest_is_next_even_before_one_who_comes_at_once_again() -> None:
    turns, order = Turns(1), list[str]()
    waiting = threading.Event()

    def patient() -> None:
        waiting.set()
        with turns.turn():
            order.append("patient")

    thread = threading.Thread(target=patient, daemon=True)
    with turns.turn():
        thread.start()
        assert waiting.wait(10)
        deadline = time.monotonic() + 10
        while not turns._waiting:
            assert time.monotonic() < deadline
    with turns.turn():  # asks the moment it has left
        order.append("hasty")
    thread.join(10)
    assert order == ["patient", "hasty"]


def test_an_error_inside_gives_the_place_back() -> None:
    turns = Turns(1)
    with pytest.raises(RuntimeError, match="broken"), turns.turn():
        raise RuntimeError("broken")
    with turns.turn():
        pass


class Gray:
    """A network without color."""

    name, lanes, best_batch = "gray", 1, 1

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        return np.concatenate([luma, 0 * luma, 0 * luma], axis=1), np.ones_like(luma)

    def close(self) -> None:
        pass


def test_frames_of_several_cameras_are_worked_on_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, lock = Turns(1), threading.Lock()
    inside = most = pictures = 0

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.002)  # room for another one, which would be seen
            try:
                return work(*arguments)
            finally:
                with lock:
                    inside -= 1

        return done

    monkeypatch.setattr(colorizer, "frame_turns", lambda: turns)
    monkeypatch.setattr(TemporalStage, "observe", counted(TemporalStage.observe))
    monkeypatch.setattr(Recoloring, "planes", counted(Recoloring.planes))
    noise = np.random.default_rng(5).normal(128, 30, (96, 200)).astype(np.float32)
    wide = np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2), 0, 255), np.uint8)

    def camera() -> None:
        nonlocal pictures
        one = NeuralColorizer(NeuralOptions(beside=True), Gray())
        for number in range(8):
            one.submit(np.ascontiguousarray(wide[:, number : number + 128]), number * 33_333_333)
            with lock:
                pictures += 1
            assert one.collect().planes is not None
        one.close()

    cameras = [threading.Thread(target=camera, daemon=True) for _ in range(4)]
    for thread in cameras:
        thread.start()
    for thread in cameras:
        thread.join(60)
    assert pictures == 32
    assert inside == 0
    assert most == 1


def test_as_many_frames_are_worked_on_at_once_as_there_are_cores() -> None:
    turns = frame_turns()
    assert turns is frame_turns()
    held = [turns.turn() for _ in range(usable_cores())]
    for place in held:
        place.__enter__()  # returns: there is room
    waited = threading.Event()
    entered = threading.Event()

    def next_one() -> None:
        waited.set()
        with turns.turn():
            entered.set()

    thread = threading.Thread(target=next_one, daemon=True)
    thread.start()
    assert waited.wait(10)
    assert not entered.wait(0.05)
    for place in held:
        place.__exit__(None, None, None)
    assert entered.wait(10)
    thread.join(10)


def test_who_is_interrupted_while_waiting_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    turns = Turns(1)
    with turns.turn(), monkeypatch.context() as patched:
        patched.setattr(threading, "Event", Interrupted)
        with pytest.raises(KeyboardInterrupt), turns.turn():
            pass
    with turns.turn():
        assert turns._free == 0
    assert turns._free == 1

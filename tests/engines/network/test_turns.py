"""Places given in the order of asking."""

from __future__ import annotations

import threading
import time

import pytest

from irchroma.engines.network.sharing import Turns


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

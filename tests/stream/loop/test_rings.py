"""Bounded queues between threads."""

import threading

import pytest

from irchroma.stream.loop.threads import Ring, RingClosed


def test_newest_wins_drops_the_oldest_and_counts() -> None:
    ring: Ring[int] = Ring(2, newest_wins=True)
    for number in range(5):
        ring.put(number)
    assert [ring.get(), ring.get()] == [3, 4]
    assert ring.drops == 3


def test_a_waiting_put_goes_on_when_there_is_room() -> None:
    ring: Ring[int] = Ring(1, newest_wins=False)
    ring.put(1)
    thread = threading.Thread(target=ring.put, args=(2,))
    thread.start()
    assert ring.get(5) == 1
    assert ring.get(5) == 2
    thread.join(5)
    assert not thread.is_alive()
    assert ring.drops == 0


def test_what_was_put_before_the_close_is_still_given_out() -> None:
    ring: Ring[int] = Ring(3, newest_wins=False)
    ring.put(1)
    ring.close()
    assert ring.get() == 1
    with pytest.raises(RingClosed):
        ring.get()
    with pytest.raises(RingClosed):
        ring.put(2)


def test_get_gives_none_after_its_timeout() -> None:
    assert Ring[int](1, newest_wins=True).get(0.01) is None


def test_abandon_releases_a_waiting_put() -> None:
    ring: Ring[int] = Ring(1, newest_wins=False)
    ring.put(1)
    outcome: list[str] = []

    def put() -> None:
        try:
            ring.put(2)
        except RingClosed:
            outcome.append("closed")

    thread = threading.Thread(target=put)
    thread.start()
    ring.abandon()
    thread.join(5)
    assert outcome == ["closed"]

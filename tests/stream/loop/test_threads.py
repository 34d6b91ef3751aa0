"""Threads that know whose feed they work for."""

from __future__ import annotations

import threading

from irchroma.stream.loop.threads import feed_name, feed_thread


def names_seen(feed: str) -> tuple[str, str, str]:
    """Thread name, the feed that it sees, and the feed that a thread made by it sees."""
    seen: list[str] = []

    def inner() -> None:
        seen.append(feed_name.get())

    def outer() -> None:
        seen.extend([threading.current_thread().name, feed_name.get()])
        below = feed_thread(inner, "below")
        below.start()
        below.join(10)

    token = feed_name.set(feed)
    try:
        thread = feed_thread(outer, "source")
    finally:
        feed_name.reset(token)
    thread.start()
    thread.join(10)
    return seen[0], seen[1], seen[2]


def test_a_thread_works_for_the_feed_of_whoever_made_it() -> None:
    assert names_seen("gate") == ("gate: source", "gate", "gate")
    assert names_seen("yard") == ("yard: source", "yard", "yard")
    assert names_seen("") == ("source", "", "")
    assert feed_name.get() == ""

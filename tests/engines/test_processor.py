"""How many cores there are, also where the system does not say which of them a process may use."""

from __future__ import annotations

import os
import threading

import pytest

from irchroma.engines.processor import NICENESS, giving_way, usable_cores


def test_systems_without_affinity_have_all_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 7


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_work_that_gives_way_is_done_at_a_lower_priority_and_its_failure_is_the_callers() -> None:
    own = priority()
    assert giving_way(priority) == min(19, own + NICENESS)
    assert priority() == own
    with pytest.raises(ZeroDivisionError):
        giving_way(lambda: 1 // 0)

"""How many cores there are, also where the system does not say which of them a process may use."""

from __future__ import annotations

import os

import pytest

from irchroma.engines.processor import usable_cores


def test_systems_without_affinity_have_all_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 7

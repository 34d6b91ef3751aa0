"""Recordings that are deleted for their age, and a clock that is set anew meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from irchroma.stream.sinks.files import retention
from irchroma.stream.sinks.files.retention import DaysClock, Retention

DAY_S = 86_400.0


class Clocks:
    """The wall clock and the time since the machine began, which a test moves."""

    def __init__(self) -> None:
        self.wall_s, self.boot_s = 1_800_000_000.0, 500.0

    def go_on(self, seconds: float) -> None:
        self.wall_s += seconds
        self.boot_s += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(time, "time", lambda: made.wall_s)
    monkeypatch.setattr(time, "clock_gettime", lambda _which: made.boot_s)
    monkeypatch.setattr(retention, "days_clock", DaysClock())
    return made


@pytest.fixture
def row(tmp_path: Path, clocks: Clocks) -> Callable[[], list[str]]:
    """What would be deleted of a recording a day, of which two weeks are kept."""
    files = [tmp_path / f"cam-{number:05d}.mp4" for number in range(1, 21)]
    for number, file in enumerate(files):
        file.write_bytes(b"x")
        os.utime(file, (clocks.wall_s - (19 - number) * DAY_S,) * 2)
    return lambda: [file.name for file in Retention(days=14.5).surplus(files)]


OLD = [f"cam-{number:05d}.mp4" for number in range(1, 6)]


def test_a_clock_that_is_set_weeks_ahead_does_not_delete_what_was_just_recorded(
    row: Callable[[], list[str]], clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    assert row() == OLD
    clocks.wall_s += 30 * DAY_S
    assert row() == []
    clocks.go_on(3600)
    assert row() == []
    assert caplog.messages == ["the clock was set 720 h ahead: for a day no recording is too old"]
    clocks.wall_s -= 30 * DAY_S  # somebody saw it
    assert row() == OLD


def test_a_clock_of_which_a_part_of_a_jump_is_taken_back_is_doubted_still(
    row: Callable[[], list[str]], clocks: Clocks
) -> None:
    for step_s in (30 * DAY_S, -2 * 3600.0, 2 * DAY_S, -2 * DAY_S):
        clocks.wall_s += step_s
        assert row() == []
    clocks.go_on(60)
    clocks.wall_s -= 30 * DAY_S - 2 * 3600 - 300  # to within five minutes
    assert row() == OLD


def test_a_clock_that_was_set_ahead_is_believed_after_a_day(
    row: Callable[[], list[str]], clocks: Clocks
) -> None:
    clocks.wall_s += 3 * DAY_S
    assert row() == []
    clocks.go_on(DAY_S + 1)
    assert row() == [f"cam-{number:05d}.mp4" for number in range(1, 10)]


def test_a_clock_that_is_corrected_by_minutes_or_set_back_is_believed(
    row: Callable[[], list[str]], clocks: Clocks
) -> None:
    clocks.wall_s += 600
    assert row() == OLD
    clocks.go_on(2 * DAY_S)
    assert len(row()) == len(OLD) + 2
    clocks.wall_s -= 30 * DAY_S
    assert row() == []
    clocks.wall_s -= 365 * DAY_S
    assert row() == []


def test_number_and_size_go_by_no_clock(tmp_path: Path, clocks: Clocks, row: Callable[[], list[str]]) -> None:
    clocks.wall_s += 30 * DAY_S
    files = sorted(tmp_path.iterdir())
    assert len(list(Retention(segments=3, days=14.5).surplus(files))) == 17
    assert row() == []

from __future__ import annotations

import itertools
import random

from irchroma.stream.sinks.encoding.pace import RunningTime

MS = 1_000_000


def test_the_sources_cadence_survives_jitter_on_the_way() -> None:
    clock, jitter = RunningTime(), random.Random(3)
    times = [clock.of(n * 40 * MS, n * 40 * MS + jitter.randrange(15 * MS)) for n in range(500)]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(abs(step - 40 * MS) for step in steps) < 3 * MS


def test_pictures_are_never_stamped_ahead_of_the_clock() -> None:
    clock, jitter = RunningTime(), random.Random(4)
    for number in range(500):
        now_ns = 7_000 * MS + number * 40 * MS + jitter.randrange(15 * MS)
        assert clock.of(number * 40 * MS, now_ns) <= now_ns


def test_a_camera_clock_that_runs_slow_or_fast_is_followed() -> None:
    for speed in (0.9999, 1.0001):
        clock = RunningTime()
        for number in range(20_000):
            now_ns = int(number * 40 * MS * speed)
            late_ns = now_ns - clock.of(number * 40 * MS, now_ns)
            assert 0 <= late_ns < 3 * MS


def test_times_rise_over_a_restart_of_the_source() -> None:
    clock = RunningTime()
    times = [clock.of(n * 40 * MS, n * 40 * MS) for n in range(50)]
    times += [clock.of(n * 40 * MS, (60 + n) * 40 * MS) for n in range(50)]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert times[-1] - times[0] == 109 * 40 * MS

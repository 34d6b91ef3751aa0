"""Durations and rates."""

import numpy as np
import pytest

from irchroma.stream.loop.latency import LatencyMeter, RateMeter


def test_percentiles_agree_with_numpy_within_a_bin() -> None:
    durations_ns = np.random.default_rng(1).lognormal(15, 1, 5000).astype(int)
    meter = LatencyMeter()
    for duration in durations_ns:
        meter.add(int(duration))
    for percent in (50, 95, 99):
        expected = np.percentile(durations_ns, percent) / 1e6
        assert meter.percentile_ms(percent) == pytest.approx(expected, rel=0.03)
    summary = meter.summary()
    assert summary["avg_ms"] == pytest.approx(durations_ns.mean() / 1e6, rel=1e-3)
    assert summary["max_ms"] == pytest.approx(durations_ns.max() / 1e6, rel=1e-3)
    assert summary["count"] == 5000


def test_an_empty_meter_reports_zeros() -> None:
    assert set(LatencyMeter().summary().values()) == {0}


def test_rate_settles_at_the_frame_rate_and_follows_a_change() -> None:
    meter = RateMeter()
    now_ns = 0
    for _ in range(100):
        meter.tick(now_ns)
        now_ns += 40_000_000
    assert meter.rate_hz == pytest.approx(25, rel=0.01)
    for _ in range(100):
        meter.tick(now_ns)
        now_ns += 100_000_000
    assert meter.rate_hz == pytest.approx(10, rel=0.01)

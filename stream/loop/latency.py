"""Durations of the stages a frame goes through: average, percentiles and maximum in bounded memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_BINS_PER_OCTAVE = 32  # a percentile is right within 2^(1/32), 2.2 %
_OCTAVES = 40  # 1 ns to 18 minutes


class LatencyMeter:
    """A histogram of durations with logarithmic bins; any thread may add."""

    def __init__(self) -> None:
        self._bins = np.zeros(_BINS_PER_OCTAVE * _OCTAVES, np.int64)
        self._lock = threading.Lock()
        self.count = 0
        self._sum_ns = 0
        self._max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration in nanoseconds; negative ones count as zero."""
        duration_ns = max(duration_ns, 0)
        index = int(math.log2(duration_ns + 1) * _BINS_PER_OCTAVE)
        with self._lock:
            self._bins[min(index, self._bins.size - 1)] += 1
            self.count += 1
            self._sum_ns += duration_ns
            self._max_ns = max(self._max_ns, duration_ns)

    @property
    def counted(self) -> tuple[int, int]:
        """How many durations, and all of them together in nanoseconds, at one moment."""
        with self._lock:
            return self.count, self._sum_ns

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the duration of a `with` block."""
        start_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.add(time.monotonic_ns() - start_ns)

    def percentile_ms(self, percent: float) -> float:
        """The duration in milliseconds that `percent` of all counted ones do not exceed; 0 with none."""
        with self._lock:
            if not self.count:
                return 0.0
            rank = math.ceil(self.count * percent / 100)
            index = int(np.searchsorted(np.cumsum(self._bins), max(rank, 1)))
            upper_ns = 2 ** ((index + 1) / _BINS_PER_OCTAVE) - 1
            return min(upper_ns, self._max_ns) / 1e6

    def summary(self) -> dict[str, float]:
        """`count`, and `avg_ms`, `p50_ms`, `p95_ms`, `p99_ms`, `max_ms`, in milliseconds."""
        average_ns = self._sum_ns / self.count if self.count else 0.0
        return {
            "count": self.count,
            "avg_ms": round(average_ns / 1e6, 4),
            **{f"p{p}_ms": round(self.percentile_ms(p), 4) for p in (50, 95, 99)},
            "max_ms": round(self._max_ns / 1e6, 4),
        }


class RateMeter:
    """Frames per second over the last second or so."""

    def __init__(self, time_constant_s: float = 1.0) -> None:
        self._tau_ns = time_constant_s * 1e9
        self._last_ns: int | None = None
        self._period_ns = 0.0

    def tick(self, now_ns: int) -> None:
        """A frame came at `now_ns`, in nanoseconds of any steady clock."""
        if self._last_ns is not None:
            period_ns = now_ns - self._last_ns
            weight = 1 - math.exp(-period_ns / self._tau_ns)
            self._period_ns += (period_ns - self._period_ns) * (weight if self._period_ns else 1.0)
        self._last_ns = now_ns

    @property
    def rate_hz(self) -> float:
        """Frames per second, 0 before the second frame."""
        return 1e9 / self._period_ns if self._period_ns > 0 else 0.0

"""Compares the speed of networks that take turns in one run, so that other load hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from irchroma.engines.network.network import Network

_IN_A_ROW, _ROUNDS = 5, 12


@dataclass(frozen=True, slots=True)
class Speed:
    """One network's share of a measurement.

    Attributes:
        name: what it was called.
        runtime: runtime and precision of what is not quantized.
        median_ms: one frame.
        ratio: how many times as fast as the first network: median over the rounds, each of which is the
            ratio of both networks' medians within that round.
        ratio_low: of the slowest quarter of the rounds.
        ratio_high: of the fastest quarter.
    """

    name: str
    runtime: str
    median_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def race(
    networks: Mapping[str, Network],
    size: tuple[int, int],
    note: Callable[[float], None] | None = None,
) -> list[Speed]:
    """Time networks in turns on one and the same random frame.

    Args:
        networks: name -> network; the first is what the others are compared with.
        size: (H, W), multiples of 32.
        note: called with the share done.
    """
    luma = np.random.default_rng(7).random((1, 1, *size), np.float32)
    for network in networks.values():
        for _ in range(3):
            network.infer(luma)
    medians: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(_ROUNDS):
        if note is not None:
            note(number / _ROUNDS)
        for name, network in networks.items():
            times = []
            for _ in range(_IN_A_ROW):
                start = time.perf_counter()
                network.infer(luma)
                times.append(time.perf_counter() - start)
            medians[name].append(float(np.median(times)))
    first = np.array(next(iter(medians.values())))
    found = []
    for name, values in medians.items():
        low, middle, high = np.percentile(first / np.array(values), [25, 50, 75])
        median_ms = float(np.median(values)) * 1e3
        found.append(Speed(name, networks[name].name, median_ms, float(middle), float(low), float(high)))
    return found

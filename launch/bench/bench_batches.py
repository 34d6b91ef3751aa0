"""What one network costs for several cameras on this machine: batches, and calls side by side."""

from __future__ import annotations

import os
import threading
import time
from statistics import median
from typing import Any

import numpy as np

from irchroma.engines import catalog
from irchroma.engines.network.network import (
    RUNTIMES,
    Network,
    NetworkOptions,
    Tensor,
    installed,
    open_network,
)
from irchroma.engines.neural.colorizer import padded, work_size

BATCHES = (1, 2, 4)
_ROUND_FRAMES = 4


def measure_batches(engine: str, size: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    """Milliseconds a frame for every runtime; the kinds of calls take turns, medians of rounds.

    Args:
        engine: `nir`, `thermal:best` ...; nothing is measured of engines that are no network.
        size: (H, W) of the cameras.
        rounds: of four frames each, or one for each core.
    """
    name = catalog.parse(engine)
    if not name.neural:
        return []
    kind_size = name.variant or "fast"
    path = catalog.weights_path(name.kind, kind_size)
    height, width = work_size(size, catalog.WORK_SIZE_PX[kind_size])
    luma = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    cores = len(os.sched_getaffinity(0))
    results = []
    for runtime in filter(installed, RUNTIMES):
        if runtime == "torch":
            continue  # on a CPU, nobody's choice
        calls: dict[str, tuple[Network, int, int]] = {}  # name -> network, frames of a call, calls at once
        in_turn = open_network(path, NetworkOptions(runtime, threads=cores, lanes=1))
        beside = open_network(path, NetworkOptions(runtime, threads=cores, lanes=cores))
        for batch in BATCHES:
            calls[f"batch {batch}"] = in_turn, batch, 1
        calls[f"{cores} lanes"] = beside, 1, cores
        times = _times(calls, padded(luma), rounds)
        results.append({"runtime": in_turn.name, "engine": engine, "threads": cores, "ms_a_frame": times})
        in_turn.close()
        beside.close()
    return results


def _times(
    calls: dict[str, tuple[Network, int, int]], luma: Tensor, rounds: int
) -> dict[str, dict[str, float]]:
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (network, batch, lanes) in calls.items():
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            frames = _color(network, np.repeat(luma, batch, axis=0), lanes)
            if number:  # the first round compiles
                wall[name].append(1e3 * (time.perf_counter() - start_s) / frames)
                cpu[name].append(1e3 * (time.process_time() - start_cpu_s) / frames)
    return {
        name: {"wall": round(median(wall[name]), 2), "cpu": round(median(cpu[name]), 2)} for name in calls
    }


def _color(network: Network, batch: Tensor, lanes: int) -> int:
    """Four frames or one for each lane, in as many threads as there are lanes; how many."""
    calls_each = max(1, _ROUND_FRAMES // len(batch) // lanes)

    def work() -> None:
        for _ in range(calls_each):
            network.infer(batch)

    threads = [threading.Thread(target=work) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(batch) * calls_each * lanes

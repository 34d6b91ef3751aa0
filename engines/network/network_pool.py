"""The networks of one process, each opened once for all cameras that want the same."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from irchroma.engines.network.batch_options import BatchOptions
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.sharing import NetworkSeat, SharedNetwork
from irchroma.engines.network.turns import Turns

log = logging.getLogger(__name__)

_Key = tuple[Path, NetworkOptions]


class NetworkPool:
    """Opens networks for the cameras of one process.

    Cameras with the same weights and the same options get seats at one network; the network's CPU
    threads are divided into as many lanes as there are cameras, at most one for each core: two calls side
    by side on one thread each need a tenth to a third less CPU time than two calls in turn on two threads
    each (two cores; `irchroma bench cameras` measures it), and the cameras together never have more threads
    at work than there are cores.

    Args:
        options: how calls are shared.
        cameras: how many there will be.
    """

    def __init__(self, options: BatchOptions | None = None, cameras: int = 1) -> None:
        self._options, self._cameras = options or BatchOptions(), cameras
        self._lock = threading.Lock()
        self._networks: dict[_Key, SharedNetwork] = {}
        self._turns = Turns(len(os.sched_getaffinity(0)))

    def open(self, path: Path, options: NetworkOptions | None = None) -> NetworkSeat:
        """A seat at the network at `path`, which is loaded where nobody has done so; close the seat.

        After an error of the network, it is loaded anew for whoever asks.

        Raises:
            EngineUnavailable, EngineOptionError: as `open_network`.
        """
        options = options or NetworkOptions()
        with self._lock:  # the second camera waits for the first one's loading rather than load too
            key = (path.resolve(), options)
            shared = self._networks.get(key)
            seat = shared.seat() if shared is not None and not shared.failed else None
            if seat is None:
                network = open_network(path, self._with_lanes(options))
                shared = SharedNetwork(network, self._options, self._turns)
                seat = shared.seat()
                assert seat is not None
                self._networks[key] = shared
                if self._cameras > 1:
                    calls, frames = network.lanes, shared.batch_frames
                    log.info(
                        "%s on %s: one network for its cameras, %s, %s",
                        path.stem,
                        shared.name,
                        f"{calls} calls at once" if calls > 1 else "one call at a time",
                        f"up to {frames} frames in each"
                        if frames > 1
                        else "one frame in each, as batches pay not",
                    )
            return seat

    def figures(self) -> list[dict[str, Any]]:
        """Of each network: what it is, its cameras now and at most, calls, frames and their waits so far."""
        with self._lock:
            return [
                {
                    "network": path.stem,
                    "runtime": shared.name,
                    "cameras": shared.seats,
                    "most_cameras": shared.most_seats,
                    "frames": shared.frames,
                    "calls": shared.calls,
                    "largest_batch": shared.batch_frames,
                    "wait_avg_ms": round(1e3 * shared.line.waited_s / max(shared.frames, 1), 3),
                    "wait_max_ms": round(1e3 * shared.line.longest_wait_s, 3),
                }
                for (path, _), shared in self._networks.items()
            ]

    def _with_lanes(self, options: NetworkOptions) -> NetworkOptions:
        if options.lanes:
            return options
        threads = options.threads or len(os.sched_getaffinity(0))
        return replace(options, threads=threads, lanes=max(1, min(self._cameras, threads)))

"""The networks on the devices of one process, each opened once for all cameras that want the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irchroma.engines.gpu.batching import BatchSeat, DeviceBatcher
from irchroma.engines.gpu.device import Device
from irchroma.engines.network.line import BatchOptions

log = logging.getLogger(__name__)

_Key = tuple[str, int, Path, tuple[int, int]]


class DevicePool:
    """Gives cameras with the same runtime, device, weights and work size seats at one network."""

    def __init__(self, options: BatchOptions | None = None) -> None:
        """Args:
        options: how frames are put together.
        """
        self._options = options or BatchOptions()
        self._lock = threading.Lock()
        self._batchers: dict[_Key, DeviceBatcher] = {}

    def seat(
        self,
        device: tuple[str, int],
        open_device: Callable[[], Device],
        weights: Path,
        size: tuple[int, int],
    ) -> BatchSeat:
        """A seat at a network, which is opened where nobody has done so; close the seat.

        After an error of its device, a network is opened anew for whoever asks.

        Args:
            device: runtime and index.
            open_device: opens it, for a network that is not there yet.
            weights: the float32 ONNX file.
            size: (H, W) of the network's input.

        Raises:
            EngineError: the device or the network is not to be had.
        """
        key = (*device, weights.resolve(), size)
        with self._lock:  # the second camera waits for the first one's opening rather than open too
            batcher = self._batchers.get(key)
            seat = None if batcher is None else batcher.seat()
            if seat is None:
                batcher = DeviceBatcher(open_device, weights, size, self._options)
                seat = batcher.seat()
                assert seat is not None
                self._batchers[key] = batcher
                log.info(
                    "%s at %dx%d on %s: one network for its cameras, up to %d frames in each call%s",
                    weights.stem,
                    size[1],
                    size[0],
                    batcher.name,
                    batcher.batches[-1],
                    ", recorded" if batcher.recorded == len(batcher.batches) else "",
                )
            return seat

    def figures(self) -> list[dict[str, Any]]:
        """Of each network: what it is, its cameras now and at most, calls, frames and their waits so far."""
        with self._lock:
            return [
                {
                    "network": weights.stem,
                    "runtime": batcher.name,
                    "device": index,
                    "cameras": batcher.seats,
                    "most_cameras": batcher.most_seats,
                    "frames": batcher.frames,
                    "calls": batcher.calls,
                    "largest_batch": batcher.batches[-1],
                    "wait_avg_ms": round(1e3 * batcher.line.waited_s / max(batcher.frames, 1), 3),
                    "wait_max_ms": round(1e3 * batcher.line.longest_wait_s, 3),
                }
                for (_, index, weights, _), batcher in self._batchers.items()
            ]

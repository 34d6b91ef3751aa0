"""Runs launches on a device and looks at what they wrote, through the `Device` protocol alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.device import Device, DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.gpu.steps.filters import half_of
from irchroma.engines.gpu.steps.i420 import Layout

Plane = NDArray[np.uint8]


def planes_of(packed: Plane, size: tuple[int, int], layout: Layout) -> tuple[Plane, Plane, Plane]:
    """Y' (H, W), Cb and Cr (ceil(H / 2), ceil(W / 2)) of a packed picture of (H, W)."""
    count, half = size[0] * size[1], half_of(size)
    rest = packed[count:]
    chroma = rest.reshape(*half, 2).transpose(2, 0, 1) if layout == "nv12" else rest.reshape(2, *half)
    return packed[:count].reshape(size), chroma[0], chroma[1]


class OnDevice:
    """A device with a queue of its own."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.space = Workspace(device)
        self._queue = device.open_queue()
        self._mark = device.make_mark()

    def put(self, values: NDArray[Any]) -> DeviceArray:
        """The values in the device's memory."""
        array = self.device.allocate(values.shape, values.dtype)
        host = self.device.pinned(values.nbytes)
        host[...] = np.ascontiguousarray(values).view(np.uint8).ravel()
        self._queue.upload(host, array)
        self._finish()
        return array

    def room(self, shape: Sequence[int], dtype: Any = np.float32) -> DeviceArray:
        """Memory that is not zero: what a kernel leaves out shows."""
        return self.put(np.full(tuple(shape), 77, dtype))

    def run(self, *steps: Launch) -> None:
        """Do them, in order."""
        for step in steps:
            self._queue.launch(step)
        self._finish()

    def get(self, array: DeviceArray) -> NDArray[Any]:
        """What the memory holds."""
        host = self.device.pinned(array.nbytes)
        self._queue.download(array, host)
        self._finish()
        return host[: array.nbytes].copy().view(array.dtype).reshape(array.shape)

    def close(self) -> None:
        """Let go of the device."""
        self.space.close()
        self._queue.close()
        self.device.close()

    def _finish(self) -> None:
        self._queue.record(self._mark)
        self._mark.wait()

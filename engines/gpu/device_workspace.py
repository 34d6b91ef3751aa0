"""Device memory by name: what the steps of a frame hand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Device, DeviceArray


class Workspace:
    """Arrays of one device; asked for again by name, so that frames that follow each other share them."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._arrays: dict[str, DeviceArray] = {}

    def array(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> DeviceArray:
        """The array of that name, made at the first call.

        Raises:
            EngineError: the device has too little memory, or the name is in use for another shape or type.
        """
        made = self._arrays.get(name)
        if made is None:
            made = self._arrays[name] = self._device.allocate(shape, dtype)
        elif made.shape != tuple(shape) or made.dtype != np.dtype(dtype):
            raise EngineError(f"{name} is {made.shape} {made.dtype}, asked for is {tuple(shape)} {dtype}")
        return made

    def close(self) -> None:
        """Give all of it back; may be called twice."""
        while self._arrays:
            self._device.free(self._arrays.popitem()[1])

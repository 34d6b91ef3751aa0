"""Colors a video by PyCUDA over `driver_stand_in.cpp`: a program, since a process has one driver."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.engines.moving_scene import FRAME_NS
from tests.engines.test_device_colorizer import video

from irchroma.engines.device import DeviceArray, DeviceNetwork
from irchroma.engines.device_colorizer import DeviceColorizer
from irchroma.engines.errors import EngineError
from irchroma.engines.kernel_source import launch
from irchroma.engines.neural import NeuralColorizer, NeuralOptions

COUNT = 10


class CopyingNetwork:
    """Says that everything is as bright as it is and has the chroma of its brightness: two kernels."""

    name = "copies"

    def __init__(self, device: Any, size: tuple[int, int]) -> None:
        self._device = device
        self.luma, self.ycc, self.confidence = (
            device.allocate((1, depth, *size), np.float32) for depth in (1, 3, 1)
        )

    def enqueue(self, cuda_stream: int) -> None:
        _, _, height, width = self.luma.shape
        plane = height * width * 4
        parts = [self.ycc.part(index * plane, (height, width), np.float32) for index in range(3)]
        for target in (*parts, self.confidence):
            size = {"width": width, "height": height, "radius": 0}
            work = launch("box_rows", (width, height, 1), planes=self.luma, out=target, **size)
            self._device.kernels().launch(work, cuda_stream)

    def check_recordable(self, cuda_stream: int) -> None:
        """It can be."""

    def close(self) -> None:
        arrays: tuple[DeviceArray, ...] = (self.luma, self.ycc, self.confidence)
        for array in arrays:
            self._device.free(array)


class CopyingOnHost:
    """The same for the CPU path."""

    name = "copies"

    def infer(self, luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.repeat(luma, 3, axis=1), luma.copy()

    def close(self) -> None:
        """Nothing to do."""


def main() -> None:
    """Color, compare, close; or see the failure that was ordered come out as one clear error."""
    sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)  # PyCUDA's module names more than the stand-in has
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    from irchroma.engines.pycuda_device import PyCudaDevice

    class Device(PyCudaDevice):
        def open_network(self, path: Path, size: tuple[int, int]) -> DeviceNetwork:
            return CopyingNetwork(self, size)

    fails = os.environ["STAND_IN_FAILS"]
    options = NeuralOptions(work_size_px=128)
    ordinary = NeuralColorizer(options, CopyingOnHost())  # type: ignore[arg-type]
    device = DeviceColorizer(options, Device)
    failure = None
    try:
        for index, luma in enumerate(video(COUNT)):
            ordinary.submit(luma, index * FRAME_NS)
            expected = ordinary.collect().rgb
            device.submit(luma, index * FRAME_NS)
            if fails == "lost" and index == 5:
                driver.stand_in_lose()
            assert np.abs(device.collect().rgb.astype(int) - expected).mean() < 0.01
        assert device.chain is not None
        assert device.chain.ring.recorded == (0 if fails else 2)
        device.submit(np.zeros((100, 100), np.uint8), COUNT * FRAME_NS)  # another size, other memory
        device.collect()
    except EngineError as error:
        failure = str(error)
    assert (failure is not None) == (fails in ("memory", "lost")), failure
    try:
        device.close()
    except EngineError:
        assert fails == "lost"
    device.close()
    left = (ctypes.c_int * 8)()
    driver.stand_in_left(left)
    assert left[0] == left[7] == 0, list(left)
    assert fails == "lost" or not any(left), list(left)


if __name__ == "__main__":
    main()

"""Colors a video by PyCUDA over `driver_stand_in.cpp`: a program, since a process has one driver.

With `--shared` two cameras share the network, with `--stays` pictures stay on the device.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.gpu.programs.copying_network import CopyingNetwork, CopyingOnHost
from tests.engines.gpu.test_colorizer import video
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.batching import seat_on_device
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import DeviceNetwork
from irchroma.engines.gpu.pictures import PictureOnDevice
from irchroma.engines.gpu.steps.i420 import pack
from irchroma.engines.gpu.transfer import ENCODERS
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.temporal.stage import TemporalOptions

COUNT = 10


def color_quietly(colorizer: DeviceColorizer, luma: NDArray[np.uint8], index: int) -> None:
    """Color a frame; what goes wrong is the other camera's too, and told by it."""
    try:
        colorizer.submit(luma, index * FRAME_NS)
        colorizer.collect()
    except EngineError as error:
        print(f"the other camera: {error}")


def expect_no_more(device: Callable[[], Any]) -> None:
    """What is lost for one is lost for all of this process, and is not even tried again."""
    with pytest.raises(DeviceLost, match="restart"):
        device()


def main() -> None:
    """Color, compare, close; or see the failure that was ordered come out as one clear error."""
    sys.setdlopenflags(os.RTLD_LAZY | os.RTLD_GLOBAL)  # PyCUDA's module names more than the stand-in has
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

    class Device(PyCudaDevice):
        def open_network(self, path: Path, size: tuple[int, int], frames: int = 1) -> DeviceNetwork:
            return CopyingNetwork(self, size, frames)

    fails = os.environ["STAND_IN_FAILS"]
    options = NeuralOptions(work_size_px=128, temporal=TemporalOptions(half_color=False, device_motion=False))
    ordinary = NeuralColorizer(options, CopyingOnHost())  # type: ignore[arg-type]
    pool = SharedPool(BatchOptions(20, 4))
    shared = "--shared" in sys.argv
    seat = partial(seat_on_device, pool, ("tensorrt", 0), Device) if shared else None
    stays = "--stays" in sys.argv
    device = DeviceColorizer(options, Device, open_seat=seat, stays=stays)
    other = DeviceColorizer(options, Device, open_seat=seat) if shared else None
    failures: list[str] = []
    held: list[PictureOnDevice] = []

    def color() -> None:
        for index, luma in enumerate(video(COUNT)):
            ordinary.submit(luma, index * FRAME_NS)
            expected = ordinary.collect().rgb
            if other is not None:  # from a thread of its own, so that batches of two come about
                thread = threading.Thread(target=color_quietly, args=(other, luma, index))
                thread.start()
            device.submit(luma, index * FRAME_NS)
            if fails == "lost" and index == 5:
                driver.stand_in_lose()
            found = device.collect()
            if isinstance(found, PictureOnDevice):
                packed = np.concatenate([plane.ravel() for plane in found.planes])
                assert np.abs(packed.astype(int) - pack(expected, ENCODERS)).mean() < 0.01
                held[:] = [*held[-3:], found]  # as an encoder does
            else:
                assert not stays
                assert np.abs(found.rgb.astype(int) - expected).mean() < 0.01
            if other is not None:
                thread.join()
        assert device.chain is not None
        records = fails in ("", "branches")
        assert device.chain.ring.recorded == (4 if shared else 2) * records
        nodes, row = ctypes.c_int(), ctypes.c_int()
        driver.stand_in_shape(ctypes.byref(nodes), ctypes.byref(row))
        forks = row.value < 0.7 * nodes.value
        assert forks == (fails == ""), (nodes.value, row.value)
        device.submit(np.zeros((100, 100), np.uint8), COUNT * FRAME_NS)  # another size, other memory
        device.collect()

    def color_and_tell() -> None:
        try:
            color()
        except EngineError as error:
            failures.append(str(error))
        except BaseException as error:  # noqa: BLE001 (an assertion; the program fails with it)
            failures.append(f"unexpected: {error!r}")

    # In a thread that ends: PyCUDA aborts the process where its own stack of contexts is not empty by then.
    loop = threading.Thread(target=color_and_tell)
    loop.start()
    loop.join()
    assert len(failures) == (fails in ("memory", "lost")), failures
    assert not any(text.startswith("unexpected") for text in failures), failures
    for one in filter(None, (other, device)):
        try:
            one.close()
        except EngineError:
            assert fails == "lost"
        one.close()
    if fails == "":
        assert len(held) == 4 * stays
        assert all(one.device.rows(0, 2)[0].any() for one in held)  # after the colorizer's end
    held.clear()
    if fails == "lost":
        expect_no_more(Device)
    left = (ctypes.c_int * 8)()
    driver.stand_in_left(left)
    assert left[0] == left[7] == 0, list(left)
    assert fails == "lost" or not any(left), list(left)


if __name__ == "__main__":
    main()

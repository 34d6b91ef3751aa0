"""Colors a video by PyCUDA over `driver_stand_in.cpp`: a program, since a process has one driver.

With `--shared` two cameras share the network, with `--stays` pictures stay on the device, with `--reference`
pictures of the scene are laid over and put behind.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.gpu.programs.copying_network import CopyingNetwork, CopyingOnHost
from tests.engines.gpu.test_colorizer import video
from tests.engines.moving_scene import FRAME_NS, noisy

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import DeviceNetwork
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.gpu.frames.pictures import PictureOnDevice
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.temporal.stage import TemporalOptions

COUNT = 10
PERIOD_NS = 6 * FRAME_NS
"""Of a scene with a reference: it is looked for anew some times a second."""


def day(tint: int = 0) -> Reference:
    """The scene's picture."""
    rgb = daytime_scene.draw(3)[0].astype(int) + np.array((tint, 0, -tint))
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day", still=True)


def scene(index: int) -> NDArray[np.uint8]:
    """The same by night, of a camera that shakes."""
    shifted = np.roll(daytime_scene.draw(3)[1], 3 * (index // 3 % 3), axis=1)
    return noisy(shifted, np.random.default_rng(index))


def refer(index: int, one: DeviceColorizer | NeuralColorizer) -> None:
    """A reference is given, exchanged for another, weakened and taken away."""
    if index in (0, 3, 8):
        one.exchange_references({0: [day()], 3: [day(24)], 8: []}[index])
    if index == 6:
        one.set_reference_strength(0.5)


def color_quietly(colorizer: DeviceColorizer, luma: NDArray[np.uint8], pts_ns: int) -> None:
    """Color a frame; what goes wrong is the other camera's too, and told by it."""
    try:
        colorizer.submit(luma, pts_ns)
        colorizer.collect()
    except EngineError as error:
        print(f"the other camera: {error}")


def expect_no_more(device: Callable[[], Any]) -> None:
    """What is lost for one is lost for all of this process, and is not even tried again."""
    with pytest.raises(DeviceLost, match="restart"):
        device()


def main() -> None:
    """Color, compare, close; or see the failure that was ordered come out as one clear error."""
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

    class Device(PyCudaDevice):
        def open_network(
            self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
        ) -> DeviceNetwork:
            return CopyingNetwork(self, size, frames)

    fails = os.environ["STAND_IN_FAILS"]
    options = NeuralOptions(work_size_px=128, temporal=TemporalOptions(half_color=False, device_motion=False))
    referred = "--reference" in sys.argv
    frames, period_ns = [*video(COUNT)], FRAME_NS
    if referred:
        options = replace(options, reference=AUTO)
        frames, period_ns = [scene(index) for index in range(COUNT)], PERIOD_NS
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
        for index, luma in enumerate(frames):
            for one in filter(None, (ordinary, device, other) if referred else ()):
                refer(index, one)
            ordinary.submit(luma, index * period_ns)
            colored = ordinary.collect()
            expected = colored.rgb
            if referred and index == 2:
                assert np.abs(expected.astype(int) - day().rgb).mean() < 20, "the reference shows nowhere"
            if other is not None:  # from a thread of its own, so that batches of two come about
                thread = threading.Thread(target=color_quietly, args=(other, luma, index * period_ns))
                thread.start()
            device.submit(luma, index * period_ns)
            if fails == "lost" and index == 5:
                driver.stand_in_lose()
            found = device.collect()
            if isinstance(found, PictureOnDevice):
                for plane, wanted in zip(found.planes, colored.planes, strict=True):
                    assert np.abs(plane.astype(int) - wanted).mean() < 0.01
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
        device.submit(np.zeros((100, 100), np.uint8), COUNT * period_ns)  # another size, other memory
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

"""Many cameras of one GPU, each in a thread of its own, for a while: pictures, and what is left in the end.

All of them show the same pan over and over, so that each knows what its pictures must be, to the bit. With
`--come-and-go` some end after a round and come anew, while others record. With `--lose` the GPU is lost in
the middle, over `driver_stand_in.cpp`: each camera is told so, and none hangs. A program.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import logging
import threading
import time
from functools import partial

import numpy as np
from tests.engines.gpu.programs.copying_network import device_of
from tests.engines.gpu.programs.in_flight import Shown, Warned, pan
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.temporal.stage import TemporalOptions

DEPTH = 2
HANGS_S = 60.0
TOLD_S = 2.0
"""Until the last camera knows that the GPU is lost, on a busy machine: more than a frame takes of it."""
LEFT = ("contexts", "memory", "pinned", "streams", "events", "modules", "graphs")
"""In the order of `stand_in_left`."""
OPTIONS = NeuralOptions(
    engine="nir", work_size_px=64, temporal=TemporalOptions(color_every=2, half_color=False)
)


class Camera:
    """One of them.

    Attributes:
        frames: that came back as they must be.
        lost: what it was told when the GPU was lost, and when, by `time.monotonic`.
        wrong: what else went wrong.
    """

    def __init__(self, number: int, device: str, pool: SharedPool, expected: Shown) -> None:
        """Args:
        number: of the camera.
        device: see `device_of`.
        pool: of all of them.
        expected: its pictures; empty where they are not known.
        """
        self._number, self._expected = number, expected
        self._open_device = partial(device_of, device)
        self._pool, self._device = pool, device
        self._luma = pan()
        self.frames = 0
        self.lost: tuple[DeviceLost, float] | None = None
        self.wrong: list[str] = []
        self.colorizer = self._open()

    def _open(self) -> DeviceColorizer:
        seat = partial(seat_on_device, self._pool, (self._device, 0), self._open_device)
        return DeviceColorizer(OPTIONS, self._open_device, DEPTH, open_seat=seat)

    def work(self, until_s: float, come_and_go: bool) -> None:
        """Round after round; what goes wrong is kept."""
        try:
            rounds = 0
            while time.monotonic() < until_s or not rounds:
                shown = self.round()
                if self._expected and not all(map(np.array_equal, shown, self._expected)):
                    self.wrong.append(f"camera {self._number}: another picture in round {rounds}")
                rounds += 1
                if come_and_go and (rounds + self._number) % 3 == 0:
                    self.colorizer.close()
                    self.colorizer = self._open()
                else:
                    self.colorizer.reset()
        except DeviceLost as error:
            self.lost = error, time.monotonic()
        except Exception as error:  # noqa: BLE001 (the program fails with it, and closes the others before)
            self.wrong.append(f"camera {self._number}: {error!r}")

    def round(self) -> Shown:
        """The pan, once."""
        shown = []
        for index in range(len(self._luma) + DEPTH - 1):
            if index < len(self._luma):
                self.colorizer.submit(self._luma[index], index * FRAME_NS)
            if index >= DEPTH - 1:
                shown.append(self.colorizer.collect().rgb)
                self.frames += 1
        return shown


def left(driver: ctypes.CDLL) -> dict[str, int]:
    """What the stand-in has given and not got back."""
    found = (ctypes.c_int * 8)()
    driver.stand_in_left(found)
    return dict(zip(LEFT, found, strict=False))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="torch")
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--come-and-go", action="store_true")
    parser.add_argument("--lose", action="store_true")
    args = parser.parse_args()
    faulthandler.dump_traceback_later(args.seconds + HANGS_S, exit=True)
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    warned = Warned()
    logging.getLogger("irchroma").addHandler(warned)
    pool = SharedPool(BatchOptions())
    alone = Camera(0, args.device, SharedPool(BatchOptions(0, 1)), [])
    expected = alone.round()
    alone.colorizer.close()
    assert not any(left(driver).values()), left(driver)
    cameras = [Camera(number, args.device, pool, expected) for number in range(args.cameras)]
    for camera in cameras:  # all that is opened once, and recorded
        assert all(map(np.array_equal, camera.round(), expected)), "not the same pictures as alone"
        camera.colorizer.reset()
    print(f"{args.cameras} cameras:", ", ".join(f"{count} {name}" for name, count in left(driver).items()))
    assert left(driver)["modules"] == 1, "kernels are loaded once for all"
    until_s = time.monotonic() + args.seconds
    threads = [threading.Thread(target=one.work, args=(until_s, args.come_and_go)) for one in cameras]
    for thread in threads:
        thread.start()
    lost_s = time.monotonic() + args.seconds / 2
    if args.lose:
        time.sleep(args.seconds / 2)
        lost_s = time.monotonic()
        driver.stand_in_lose()
    for thread in threads:
        thread.join()
    for camera in cameras:
        try:
            camera.colorizer.close()
        except EngineError as error:
            camera.wrong += [] if args.lose else [f"closing: {error!r}"]
    frames = [camera.frames for camera in cameras]
    print(f"{sum(frames)} frames, of each camera {min(frames)} to {max(frames)}")
    wrong = [text for camera in cameras for text in camera.wrong]
    assert not wrong, wrong
    if args.lose:
        told = [camera.lost for camera in cameras]
        assert all(told), [number for number, one in enumerate(told) if one is None]
        latest_s = max(one[1] for one in told if one) - lost_s
        print(f"told after {latest_s:.2f} s at the latest")
        assert latest_s < TOLD_S, "told too late"
        print({str(one[0]) for one in told if one})
        assert left(driver)["contexts"] == 0, left(driver)
    else:
        assert not any(left(driver).values()), left(driver)
        assert not warned.said, warned.said[:3]
        assert all(one["cameras"] == 0 for one in pool.figures()), pool.figures()


if __name__ == "__main__":
    main()

"""Frames of a pan, several in flight at once, against those of the processor. A program.

Each frame is submitted before the one ahead of it is collected, so that what a device has not done yet is
what a frame of the next slot must not touch. Alone and of two cameras that share a network, recorded and not,
with the motion searched for on the device and with a picture that stays there.
"""

from __future__ import annotations

import argparse
import logging
import threading
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from tests.engines.gpu.programs.copying_network import CopyingOnHost, device_of
from tests.engines.moving_scene import FRAME_NS, texture

from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.temporal.stage import TemporalOptions

SIZE = (48, 80)
COUNT = 12
LARGEST_MISS_LEVELS = 0.05
Shown = list[np.ndarray[Any, Any]]


class Warned(logging.Handler):
    """What was warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.said.append(record.getMessage())


def pan() -> Shown:
    """Every frame another place."""
    wide = texture((SIZE[0], SIZE[1] + 5 * COUNT), 20, 200, seed=7).astype(np.uint8)
    return [np.ascontiguousarray(wide[:, 5 * one : 5 * one + SIZE[1]]) for one in range(COUNT)]


def color(colorizer: DeviceColorizer | NeuralColorizer, depth: int) -> Shown:
    """All of it, so many frames in flight."""
    frames, shown = pan(), []
    for index in range(COUNT + depth - 1):
        if index < COUNT:
            colorizer.submit(frames[index], index * FRAME_NS)
        if index >= depth - 1:
            shown.append(colorizer.collect().rgb.astype(int))
    return shown


def open_cameras(
    name: str, options: NeuralOptions, how: tuple[bool, bool, int], kernels: HostKernels | None
) -> list[DeviceColorizer]:
    """One, or two that share a network.

    Args:
        name: of the device, see `device_of`.
        options: of each.
        how: shared, recorded, frames in flight.
        kernels: of the CPU device.
    """
    shared, graphs, depth = how
    open_device = partial(device_of, name, kernels)
    seat = partial(seat_on_device, SharedPool(BatchOptions(20, 2)), (name, 0), open_device)
    stays = options.temporal.device_motion
    return [
        DeviceColorizer(
            options, open_device, depth, graphs, open_seat=seat if shared else None, packs=stays, stays=stays
        )
        for _ in range(1 + shared)
    ]


def run(cameras: list[DeviceColorizer], depth: int) -> list[Shown]:
    """All of them at once; what each has shown."""
    shown: dict[int, Shown] = {}

    def fill(index: int) -> None:
        shown[index] = color(cameras[index], depth)

    threads = [threading.Thread(target=fill, args=(index,)) for index in range(len(cameras))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown) == len(cameras), "a camera failed"
    return [*shown.values()]


def main() -> None:
    """Color, compare, close."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="torch")
    name = parser.parse_args().device
    kernels = HostKernels() if name == "cpu" else None
    warned = Warned()
    logging.getLogger("irchroma").addHandler(warned)
    for searches, depth in ((False, 2), (True, 3)):
        temporal = TemporalOptions(color_every=2, half_color=False, device_motion=searches)
        options = NeuralOptions(engine="nir", work_size_px=64, temporal=temporal)
        expected = color(NeuralColorizer(options, CopyingOnHost()), 1)  # type: ignore[arg-type]
        first: Shown = []
        for shared, graphs, flying in ((False, False, 1), *product((False, True), (False, True), (depth,))):
            cameras = open_cameras(name, options, (shared, graphs, flying), kernels)
            shown = run(cameras, flying)
            first = first or shown[0]
            recorded = sum(camera.chain.ring.recorded for camera in cameras if camera.chain is not None)
            for camera in cameras:
                camera.close()
            alike = all(np.array_equal(one, other) for one in shown for other in [first])
            off = max(float(np.abs(a - b).mean()) for a, b in zip(shown[0], expected, strict=True))
            how = f"{len(cameras)} cameras, {flying} in flight, {recorded} recorded{', searches' * searches}"
            print(f"{how}: {off:.4f} levels off, the same pictures: {alike}", flush=True)
            assert bool(recorded) == graphs
            assert not warned.said, "such as a recording that was refused"
            assert alike, how
            assert searches or off < LARGEST_MISS_LEVELS, off  # motion is searched for in another way there


if __name__ == "__main__":
    main()

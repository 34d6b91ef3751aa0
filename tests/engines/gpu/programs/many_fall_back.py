"""Cameras of one run whose GPU is lost in the middle: each goes on without color, then by the CPU. A program.

Over `driver_stand_in.cpp`: engines as a run opens them with `--device auto`, and guards them, networks that
copy in place of torch's. What they say is printed, each line with how often it was said.
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
from tests.engines.gpu.programs.in_flight import pan
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines import choice
from irchroma.engines.choice import DeviceWish, FailedRuntimes, open_neural
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.device import Device
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.interruptible import Deadlines

PERIOD_S = 0.1
DEADLINES = Deadlines(answer_s=5.0, start_s=30.0)  # of a busy machine
LONGEST_S = 60.0
"""Until the CPU colors: its network may have to be compiled."""


class Said(logging.Handler):
    """What was said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.lines.append(record.getMessage())


class Camera:
    """One camera of the run.

    Attributes:
        by: the name of the engine of each colored frame; empty for a raw one.
        longest_s: that a frame took.
    """

    def __init__(self, pool: SharedPool, failed: FailedRuntimes) -> None:
        """Args:
        pool, failed: the run's.
        """
        options = NeuralOptions(engine="nir", size="fast", work_size_px=64, network=NetworkOptions())
        frames = pan()
        wish = DeviceWish(frames[0].shape, pool, planes=True, failed=failed)  # type: ignore[arg-type]
        self._frames = frames
        self._guarded = GuardedColorizer(partial(open_neural, options, wish), deadlines=DEADLINES)
        self.by: list[str] = []
        self.longest_s = 0.0

    @property
    def failures(self) -> int:
        """How often its engine has failed."""
        return self._guarded.failures

    @property
    def by_the_cpu(self) -> bool:
        """Its last frame was colored there."""
        return bool(self.by) and self.by[-1] not in ("", self.by[0])

    def work(self, over: threading.Event) -> None:
        """Frames at an even rate until then."""
        index = 0
        while not over.wait(PERIOD_S):
            began_s = time.monotonic()
            luma = np.ascontiguousarray(self._frames[index % len(self._frames)])
            ticket = self._guarded.submit(luma, index * FRAME_NS, None, False)
            colored = ticket and self._guarded.collect(ticket)
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            self.by.append(self._guarded.name if colored is not None else "")
            index += 1
        self._guarded.close()


def open_stand_in(runtime: str, index: int) -> Device:
    """In the place of `choice.open_device`: of torch alone."""
    if runtime != "torch":
        raise EngineUnavailable(f"runtime {runtime} is not installed")
    return device_of("torch")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cameras", type=int, default=16)
    count = parser.parse_args().cameras
    faulthandler.dump_traceback_later(1.5 * LONGEST_S, exit=True)
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    choice.open_device = open_stand_in  # type: ignore[assignment]
    said = Said()
    logging.getLogger("irchroma").addHandler(said)
    pool, failed, over = SharedPool(BatchOptions()), FailedRuntimes(), threading.Event()
    pool.cameras = count
    cameras = [Camera(pool, failed) for _ in range(count)]
    threads = [threading.Thread(target=one.work, args=(over,)) for one in cameras]
    for thread in threads:
        thread.start()
    time.sleep(5 * PERIOD_S)
    assert not said.lines, said.lines
    driver.stand_in_lose()
    end_s = time.monotonic() + LONGEST_S
    while time.monotonic() < end_s and not all(one.by_the_cpu for one in cameras):
        time.sleep(PERIOD_S)
    over.set()
    for thread in threads:
        thread.join()
    for line in sorted(set(said.lines)):
        print(f"{said.lines.count(line)} times: {line}")
    print([(len(one.by), one.by.count(""), one.by[-1]) for one in cameras][:3])
    print(f"a frame took {max(one.longest_s for one in cameras):.2f} s at the most")
    assert all(one.by_the_cpu for one in cameras), "a camera has no color"
    assert all(one.failures == 1 for one in cameras), [one.failures for one in cameras]


if __name__ == "__main__":
    main()

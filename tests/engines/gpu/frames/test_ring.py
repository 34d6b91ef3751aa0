"""Frames go through a device in order, overlap, are recorded once warm, and fail with one clear error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.cpu_device import CpuDevice, device_array
from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.frames.ring import FrameRing, Slot, Step
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import launch

BYTES = 64


class Adder:
    """A network's place in the work: adds each frame to a sum, may be told to wait or to fail."""

    def __init__(self) -> None:
        self.values = np.zeros(BYTES, np.uint8)
        self.sum = np.zeros(BYTES, np.uint8)
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False
        self.runs = 0
        self.luma = device_array(self.values)
        self.ycc = self.confidence = device_array(self.sum)
        self.name = "adder"

    def run(self) -> None:
        assert self.gate.wait(30)
        self.runs += 1
        if self.fails:
            raise EngineError("the adder has failed")
        self.sum += self.values

    def close(self) -> None:
        """Nothing to do."""


def copy(source: DeviceArray, target: DeviceArray) -> Step:
    size = {"width": BYTES, "height": 1}
    return launch("extreme", (BYTES, 1, 1), **{"in": source}, out=target, radius=0, largest=0, **size)


Made = Callable[..., FrameRing]


@pytest.fixture
def make(host_kernels: HostKernels) -> Iterator[Made]:
    """Rings whose work is inbox -> adder -> outbox."""
    opened: list[tuple[FrameRing, CpuDevice]] = []

    def made(adder: Adder, depth: int = 2, captures: bool = True, graphs: bool = True) -> FrameRing:
        device = CpuDevice(kernels=host_kernels, captures=captures)
        slots = []
        for _ in range(depth):
            inbox, outbox = (device.allocate((BYTES,), np.uint8) for _ in range(2))
            steps = {"add": [copy(inbox, adder.luma), adder, copy(device_array(adder.sum), outbox)]}
            host = [device.pinned(BYTES) for _ in range(2)]
            marks = [device.make_mark() for _ in range(3)]
            slots.append(Slot(inbox, host[0], outbox, host[1], steps, *marks))
        ring = FrameRing(device, slots, graphs)
        opened.append((ring, device))
        return ring

    yield made
    for ring, device in opened:
        ring.close()
        device.close()


def submit(ring: FrameRing, value: int) -> None:
    slot = ring.take()
    slot.inbox_host[:] = value
    ring.submit(slot, "add", BYTES)


def collect(ring: FrameRing) -> int:
    slot = ring.collect()
    value = int(slot.outbox_host[0])
    assert set(slot.outbox_host) == {value}
    ring.release(slot)
    return value


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_each_frame_sees_the_work_of_those_before_it(make: Made, depth: int) -> None:
    ring, sums, total = make(Adder(), depth), [], []
    for index in range(12):
        submit(ring, index)
        total.append(sum(range(index + 1)))
        if index >= depth - 1:
            sums.append(collect(ring))
    while len(sums) < len(total):
        sums.append(collect(ring))
    assert sums == total


def test_submit_does_not_wait_for_the_work(make: Made) -> None:
    adder = Adder()
    adder.gate.clear()
    ring = make(adder)
    submit(ring, 1)
    submit(ring, 2)
    assert adder.runs == 0
    with pytest.raises(EngineError, match="more than 2 frames in flight"):
        ring.take()
    adder.gate.set()
    assert [collect(ring), collect(ring)] == [1, 3]


def test_work_is_recorded_for_each_slot_after_one_warm_run(make: Made) -> None:
    ring = make(Adder())
    recorded = []
    for _ in range(4):
        submit(ring, 1)
        recorded.append(ring.recorded)
        assert collect(ring) == len(recorded)
    assert recorded == [0, 1, 2, 2]


def test_a_thread_records_only_what_it_has_run_itself(make: Made) -> None:
    """cuDNN's handle and torch's choice of kernels are a thread's; engines are prepared in other threads."""
    ring, recorded = make(Adder()), []

    def prepare() -> None:
        for _ in range(2):
            submit(ring, 1)
            collect(ring)
            recorded.append(ring.recorded)
        ring.drop()

    for _ in range(2):  # a thread that comes later may get the number of one that is gone
        thread = threading.Thread(target=prepare)
        thread.start()
        thread.join()
    assert recorded == [0, 1, 1, 1]  # the first frame of each was not recorded


def test_work_that_cannot_be_recorded_is_done_all_the_same_and_said_once(
    make: Made, caplog: pytest.LogCaptureFixture
) -> None:
    ring = make(Adder(), captures=False)
    with caplog.at_level(logging.WARNING):
        for index in range(4):
            submit(ring, 1)
            assert collect(ring) == index + 1
    assert ring.recorded == 0
    assert [record.getMessage() for record in caplog.records] == [
        "frames are not recorded as graphs, each step is started by itself:"
        " this device was told to record nothing"
    ]


def test_graphs_can_be_left_out(make: Made) -> None:
    ring = make(Adder(), graphs=False)
    for _ in range(3):
        submit(ring, 1)
        collect(ring)
    assert ring.recorded == 0


def test_a_failure_of_the_device_comes_out_of_collect(make: Made) -> None:
    adder = Adder()
    ring = make(adder)
    submit(ring, 1)
    assert collect(ring) == 1
    adder.fails = True
    submit(ring, 1)
    with pytest.raises(EngineError, match="the adder has failed"):
        collect(ring)
    ring.drop()
    with pytest.raises(EngineError, match="collect without submit"):
        collect(ring)


def test_collect_without_submit_is_an_error(make: Made) -> None:
    with pytest.raises(EngineError, match="collect without submit"):
        make(Adder()).collect()


def test_a_submit_that_fails_gives_its_slot_back(make: Made) -> None:
    ring = make(Adder(), depth=1)
    for _ in range(3):
        with pytest.raises(KeyError):
            ring.submit(ring.take(), "no such kind", BYTES)
    submit(ring, 5)
    assert collect(ring) == 5

"""The CPU as a device: a thread for each queue, the kernels as C++, any CPU runtime for the network.

It is as asynchronous as a GPU: queues run beside each other and beside the caller, so that a wait left out
shows as a wrong picture here too. Slower than the ordinary CPU path, which is vectorized; it is there so that
everything above the `Device` protocol runs, and is held against that path, on machines without a GPU.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import CaptureRefused, DeviceArray, DeviceNetwork, Mark, WorkQueue
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.network.network import Network, NetworkOptions, open_network

Work = Callable[[], None]
LONGEST_WAIT_S = 60.0


class CpuDevice:
    """A `Device`."""

    def __init__(
        self,
        network: NetworkOptions | None = None,
        kernels: HostKernels | None = None,
        captures: bool = True,
    ) -> None:
        """Build the kernels unless they are given.

        Args:
            network: which runtime runs the network, and how.
            kernels: built before.
            captures: False to refuse to record work, as some drivers and networks do.

        Raises:
            EngineUnavailable: there is no C++ compiler here.
        """
        self.options = network or NetworkOptions()
        self.kernels = kernels or HostKernels()
        self.captures = captures
        self._queues: list[_CpuQueue] = []

    @property
    def name(self) -> str:
        """For people."""
        return "CPU"

    def allocate(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """See `Device`."""
        return device_array(np.zeros(tuple(shape), dtype))

    def free(self, array: DeviceArray) -> None:
        """Nothing to do: the array's owner goes with it."""

    def pinned(self, count: int) -> NDArray[np.uint8]:
        """See `Device`."""
        return np.zeros(count, np.uint8)

    def unpin(self, host: NDArray[np.uint8]) -> None:
        """Nothing to do, as in `free`."""

    def open_queue(self) -> WorkQueue:
        """See `Device`."""
        made = _CpuQueue(self)
        self._queues = [*(one for one in self._queues if one.is_open), made]
        return made

    def make_mark(self, spins: bool = False) -> Mark:
        """See `Device`."""
        return _CpuMark()

    def open_network(self, path: Path, size: tuple[int, int], frames: int = 1) -> DeviceNetwork:
        """See `Device`."""
        return _CpuNetwork(open_network(path, self.options), (frames, *size))

    def close(self) -> None:
        """End the queues' threads."""
        while self._queues:
            self._queues.pop().close()


def device_array(values: NDArray[Any]) -> DeviceArray:
    """An array of the host as this device's memory."""
    return DeviceArray(values.ctypes.data, values.shape, values.dtype, values)


def host_view(array: DeviceArray) -> NDArray[Any]:
    """This device's memory as an array of the host."""
    raw = memoryview((ctypes.c_ubyte * array.nbytes).from_address(array.address))
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


class _CpuMark:
    def __init__(self) -> None:
        self.behind: _CpuQueue | None = None
        self.passed = threading.Event()
        self.passed.set()

    def done(self) -> bool:
        return self.passed.is_set()

    def wait(self) -> None:
        if not self.passed.wait(LONGEST_WAIT_S):
            raise EngineError(f"the device did nothing for {LONGEST_WAIT_S:g} seconds")
        if self.behind is not None and self.behind.failure is not None:
            raise EngineError(str(self.behind.failure)) from self.behind.failure

    def close(self) -> None:
        self.behind = None


class _CpuNetwork:
    def __init__(self, network: Network, shape: tuple[int, int, int]) -> None:
        self._network = network
        frames, height, width = shape
        self._input = np.zeros((frames, 1, height, width), np.float32)
        self._ycc = np.zeros((frames, 3, height, width), np.float32)
        self._confidence = np.zeros((frames, 1, height, width), np.float32)
        self.luma = device_array(self._input)
        self.ycc = device_array(self._ycc)
        self.confidence = device_array(self._confidence)

    @property
    def name(self) -> str:
        return f"CPU device, {self._network.name}"

    def run(self) -> None:
        ycc, confidence = self._network.infer(self._input)
        self._ycc[...], self._confidence[...] = ycc, confidence

    def close(self) -> None:
        self._network.close()


class _CpuQueue:
    def __init__(self, device: CpuDevice) -> None:
        self.failure: Exception | None = None
        self._device = device
        self._recording: list[Work] | None = None
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._run, name="CPU device queue", daemon=True
        )
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return self._thread is not None

    def upload(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        part = array.part(0, (host.size,), np.uint8)
        self._add(lambda: np.copyto(host_view(part), host))

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        part = array.part(0, (array.nbytes,), np.uint8)
        self._add(lambda: np.copyto(host[: part.nbytes], host_view(part)))

    def launch(self, work: Launch) -> None:
        self._add(lambda: self._device.kernels.run(work))

    def infer(self, network: DeviceNetwork) -> None:
        self._add(cast(_CpuNetwork, network).run)

    def record(self, mark: Mark) -> None:
        own = cast(_CpuMark, mark)
        self._refuse_recorded("a mark")
        own.behind, own.passed = self, threading.Event()
        self._work.put(own.passed.set)

    def wait(self, mark: Mark) -> None:
        own = cast(_CpuMark, mark)
        self._refuse_recorded("a wait")
        passed, behind = own.passed, own.behind
        self._add(lambda: _pass(passed, behind))

    def capture(self, work: Callable[[], None]) -> Any:
        if not self._device.captures:
            raise CaptureRefused("this device was told to record nothing")
        recorded: list[Work] = []
        self._recording = recorded
        try:
            work()
        finally:
            self._recording = None
        return tuple(recorded)

    def replay(self, recorded: Any) -> None:
        for work in recorded:
            self._add(work)

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join()

    def _refuse_recorded(self, what: str) -> None:
        if self._recording is not None:
            raise CaptureRefused(f"{what} cannot be recorded")

    def _add(self, work: Work) -> None:
        if self._recording is not None:
            self._recording.append(work)
            return

        def guarded() -> None:
            if self.failure is None:
                work()

        self._work.put(guarded)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 (told to whoever waits for this queue)
                self.failure = error


def _pass(passed: threading.Event, behind: _CpuQueue | None) -> None:
    passed.wait()
    if behind is not None and behind.failure is not None:
        raise EngineError(str(behind.failure)) from behind.failure

"""The CPU as a device: a thread for each queue, the kernels as C++, any CPU runtime for the network.

It is as asynchronous as a GPU: queues run beside each other and beside the caller, so that a wait left out
shows as a wrong picture here too. Slower than the ordinary CPU path, which is vectorized; it is there so that
everything above the `Device` protocol runs, and is held against that path, on machines without a GPU.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import (
    CaptureRefused,
    DeviceArray,
    DeviceNetwork,
    DeviceTensors,
    Mark,
    PictureMemory,
    WorkQueue,
)
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.network.network import Graph, Network, NetworkOptions, open_graph, open_network

Work = Callable[[], None]
LONGEST_WAIT_S = 60.0


class CpuDevice:
    """A `Device`.

    Attributes:
        context: that its pictures say they are in.
    """

    context = 0

    def __init__(
        self, network: NetworkOptions | None = None, kernels: HostKernels | None = None, captures: bool = True
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
        return "CPU"

    def current(self) -> AbstractContextManager[Any]:
        """Nothing to do: it is every thread's."""
        return nullcontext()

    def allocate(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        return device_array(np.zeros(tuple(shape), dtype))

    def free(self, array: DeviceArray) -> None:
        """Nothing to do: the array's owner goes with it."""

    def pinned(self, count: int) -> NDArray[np.uint8]:
        return np.zeros(count, np.uint8)

    def unpin(self, host: NDArray[np.uint8]) -> None:
        """Nothing to do, as in `free`."""

    def open_pictures(self) -> PictureMemory:
        return CpuPictures(self.context)

    def open_queue(self) -> WorkQueue:
        made = _CpuQueue(self)
        self._queues = [*(one for one in self._queues if one.is_open), made]
        return made

    def make_mark(self, spins: bool = False) -> Mark:
        return _CpuMark()

    def open_network(
        self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
    ) -> DeviceNetwork:
        return _CpuNetwork(open_network(path, self.options), (frames, *size))

    def open_graph(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
    ) -> DeviceTensors:
        return _CpuTensors(open_graph(path, self.options), shapes, outputs)

    def close(self) -> None:
        """End the queues' threads."""
        while self._queues:
            self._queues.pop().close()


class CpuPictures:
    """A `PictureMemory`."""

    index = 0

    def __init__(self, context: int = 0) -> None:
        self.context = context

    def allocate(self, nbytes: int) -> DeviceArray:
        return device_array(np.zeros(nbytes, np.uint8))

    def free(self, array: DeviceArray) -> None:
        """Nothing to do: the array's owner goes with it."""

    def read(self, array: DeviceArray) -> NDArray[np.uint8]:
        return cast(NDArray[np.uint8], host_view(array).copy())

    def write(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        np.copyto(host_view(array.part(0, (host.size,), np.uint8)), host)

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        self.write(host_view(array), to)

    def close(self) -> None:
        """Nothing to do."""


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
        self.recording: _CpuRecording | None = None
        self.place = 0  # in the recording
        self.covers: dict[_CpuQueue, int] = {}

    def done(self) -> bool:
        self.refuse_recorded()
        return self.passed.is_set()

    def wait(self) -> None:
        self.refuse_recorded()
        if not self.passed.wait(LONGEST_WAIT_S):
            raise EngineError(f"the device did nothing for {LONGEST_WAIT_S:g} seconds")
        if self.behind is not None and self.behind.failure is not None:
            raise EngineError(str(self.behind.failure)) from self.behind.failure

    def close(self) -> None:
        self.behind = None

    def refuse_recorded(self) -> None:
        if self.recording is not None:
            raise EngineError("the mark is of a recording: nobody but its queues can wait for it")


class _CpuRecording:
    """What was recorded: in the order in which it came, work of its queues, marks, and waits for marks."""

    def __init__(self, first: _CpuQueue) -> None:
        self.first = first
        self.over = False
        self.items: list[tuple[_CpuQueue, Work | None, int, bool]] = []
        # For each of its queues, how much of each of them it is behind, as CUDA counts it at the end.
        self.covers: dict[_CpuQueue, dict[_CpuQueue, int]] = {first: {first: 0}}
        self.rows: dict[_CpuQueue, _CpuQueue] = {}  # where the work of each is done

    def add(self, where: _CpuQueue, work: Work) -> None:
        self.covers[where][where] += 1
        self.items.append((where, work, 0, False))

    def mark(self, where: _CpuQueue, mark: _CpuMark) -> None:
        mark.recording, mark.place, mark.covers = self, len(self.items), dict(self.covers[where])
        self.items.append((where, None, mark.place, False))

    def wait(self, where: _CpuQueue, mark: _CpuMark) -> None:
        covered = self.covers.setdefault(where, {where: 0})
        for one, count in mark.covers.items():
            covered[one] = max(covered.get(one, 0), count)
        self.items.append((where, None, mark.place, True))

    def end(self) -> None:
        self.over = True
        for one in self.covers:
            one.recording = None

    @property
    def joined(self) -> bool:
        end = self.covers[self.first]
        return all(end.get(one, 0) >= covered[one] for one, covered in self.covers.items())


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


class _CpuTensors:
    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]) -> None:
        self._graph = graph
        self._inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        made = graph.run(self._inputs)  # tells the outputs' shapes
        self._outputs = {name: np.zeros_like(made[name]) for name in outputs}
        self.tensors = {name: device_array(one) for name, one in (self._inputs | self._outputs).items()}

    @property
    def name(self) -> str:
        return f"CPU device, {self._graph.name}"

    def run(self) -> None:
        made = self._graph.run(self._inputs)
        for name, one in self._outputs.items():
            one[...] = made[name]

    def close(self) -> None:
        self._graph.close()


class _CpuQueue:
    def __init__(self, device: CpuDevice) -> None:
        self.failure: Exception | None = None
        self._device = device
        self.recording: _CpuRecording | None = None
        self._branches: list[_CpuQueue] = []  # of recordings: those that they were made with may be closed
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

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        part = to.part(0, array.shape, array.dtype)
        self._add(lambda: np.copyto(host_view(part), host_view(array)))

    def launch(self, work: Launch) -> None:
        self._add(lambda: self._device.kernels.run(work))

    def infer(self, network: DeviceNetwork | DeviceTensors) -> None:
        self._add(cast(_CpuNetwork | _CpuTensors, network).run)

    def record(self, mark: Mark) -> None:
        own = cast(_CpuMark, mark)
        if self.recording is not None:
            self.recording.mark(self, own)
            return
        own.behind, own.passed, own.recording = self, threading.Event(), None
        self._work.put(own.passed.set)

    def wait(self, mark: Mark) -> None:
        own = cast(_CpuMark, mark)
        if own.recording is None and self.recording is None:
            passed, behind = own.passed, own.behind
            self._add(lambda: _pass(passed, behind))
            return
        if own.recording is None:
            raise CaptureRefused("a wait for a mark of no recording cannot be recorded")
        if own.recording.over or self.recording not in (None, own.recording):
            raise CaptureRefused("the mark is of another recording")
        self.recording = own.recording
        own.recording.wait(self, own)

    def capture(self, work: Callable[[], None]) -> Any:
        if not self._device.captures:
            raise CaptureRefused("this device was told to record nothing")
        recorded = self.recording = _CpuRecording(self)
        try:
            work()
        finally:
            recorded.end()
        if not recorded.joined:
            raise CaptureRefused("the recording does not wait for all of its branches")
        others = [one for one in recorded.covers if one is not self]
        while len(self._branches) < len(others):
            self._branches.append(_CpuQueue(self._device))
        recorded.rows = {self: self, **dict(zip(others, self._branches, strict=False))}
        return recorded

    def replay(self, recorded: Any) -> None:
        passed: dict[int, tuple[threading.Event, _CpuQueue]] = {}
        for one, work, place, waits in cast(_CpuRecording, recorded).items:
            where = recorded.rows[one]
            if work is not None:
                where._add(work)
            elif waits:
                where._add(partial(_pass, *passed[place]))
            else:
                passed[place] = threading.Event(), where
                where._work.put(passed[place][0].set)

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join()
        while self._branches:
            self._branches.pop().close()

    def _add(self, work: Work) -> None:
        if self.recording is not None:
            self.recording.add(self, work)
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

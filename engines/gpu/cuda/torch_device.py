"""A CUDA device by torch, for machines without TensorRT: the same kernels, frame path and recorded work.

Streams are our own; memory, events and recordings are torch's, since a network's intermediate tensors must
come from a pool of the graph's.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from irchroma.engines.errors import DeviceLost, EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.capture.capture_lock import recordings
from irchroma.engines.gpu.cuda.context import Current, is_sticky, note_lost, refuse_lost
from irchroma.engines.gpu.cuda.driver import CudaDriver, EventMark, HeldKernels, KernelModule
from irchroma.engines.gpu.cuda.picture_memory import CudaPictures
from irchroma.engines.gpu.device import (
    CaptureRefused,
    DeviceArray,
    DeviceNetwork,
    DeviceTensors,
    Mark,
    PictureMemory,
    WorkQueue,
)
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.weight_storage import float16_twin

log = logging.getLogger(__name__)

_TYPES = {np.dtype(np.float16): torch.float16, np.dtype(np.float32): torch.float32}
_one_recording = threading.Lock()
"""One recording at a time, which is all that torch promises; others wait some milliseconds."""
_abandoned: list[Any] = []
"""Graphs whose recording failed: a few at the most, see `TorchQueue._abandon`."""


class Runs(Protocol):
    """A network of a torch device."""

    def run(self) -> None:
        """In torch's current stream."""


class TorchQueue:
    """A `WorkQueue`: a stream of our own, with torch's recordings of it."""

    def __init__(self, device: TorchDevice, cuda_stream: Any) -> None:
        self._device = device
        self._cuda_stream = cuda_stream
        self._graphs: list[Any] = []
        # Shared by this queue's graphs: they run one after another, and leave nothing there for each other.
        self._pool = torch.cuda.graph_pool_handle()

    def upload(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        part = array.part(0, (host.size,), np.uint8)
        with self._device.current():
            self._device.driver.copy_in(part.address, host.ctypes.data, host.size, self.handle)

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        with self._device.current():
            self._device.driver.copy_out(host.ctypes.data, array.address, array.nbytes, self.handle)

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        part = to.part(0, array.shape, array.dtype)
        with self._device.current():
            self._device.driver.copy_within(array.address, part.address, array.nbytes, self.handle)

    def launch(self, work: Launch) -> None:
        with self._device.current():
            self._device.kernels().launch(work, self.handle)

    def infer(self, network: DeviceNetwork | DeviceTensors) -> None:
        with self._device.current(), torch.cuda.stream(self._cuda_stream):
            cast(Runs, network).run()

    def record(self, mark: Mark) -> None:
        with self._device.current():
            cast(EventMark, mark).event.record(self._cuda_stream)

    def wait(self, mark: Mark) -> None:
        with self._device.current():
            self._cuda_stream.wait_event(cast(EventMark, mark).event)

    def capture(self, work: Callable[[], None]) -> Any:
        # torch's own recording: the network's intermediate tensors must come from a pool of the graph's.
        # Without `torch.cuda.graph`, which waits for the whole device first: that is refused while another
        # thread records.
        graph = torch.cuda.CUDAGraph()
        failure: Exception | None = None
        began = False
        try:
            with (
                _one_recording,
                recordings.recording(),
                self._device.current(),
                torch.cuda.stream(self._cuda_stream),
            ):
                began = True  # for the allocator, which is told before the stream is
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    work()
                except Exception as error:  # noqa: BLE001 (whatever it is, the stream must leave its recording)
                    failure = error
                finally:
                    graph.capture_end()
        except CaptureRefused:
            raise
        except EngineError as error:
            failure = failure or error
        if failure is not None:
            if began:
                self._abandon(graph)
            if isinstance(failure, DeviceLost):
                raise failure
            raise CaptureRefused(str(failure)) from failure
        self._graphs.append(graph)
        return graph

    def _abandon(self, graph: Any) -> None:
        """Take leave of a recording that has failed, so that the next one can begin.

        `CUDAGraph::capture_begin` throws after it has told the allocator of a recording, and `capture_end`
        before it has told it that the recording is over (torch 2.11 to 2.13, ATen/cuda/CUDAGraph.cpp): the
        pool could never be recorded to again, and the allocator would go on asking the graph, which must not
        go then.
        """
        try:
            torch._C._cuda_endAllocateToPool(self._device.device.index, self._pool)
        except (RuntimeError, AttributeError) as error:  # it was told
            log.debug("the pool of a failed recording: %s", error)
        _abandoned.append(graph)
        self._pool = torch.cuda.graph_pool_handle()

    def replay(self, recorded: Any) -> None:
        with self._device.current(), torch.cuda.stream(self._cuda_stream):
            recorded.replay()

    def close(self) -> None:
        cuda_stream, self._cuda_stream = self._cuda_stream, None
        if cuda_stream is not None:
            with self._device.current():
                cuda_stream.synchronize()
                # A graph's beginning and end change one list of the device's random numbers, to which torch
                # 2.11 has no lock (CUDAGeneratorImpl.h, registered_graphs_).
                with _one_recording:
                    while self._graphs:
                        self._graphs.pop().reset()
                self._device.driver.destroy_stream(int(cuda_stream.cuda_stream))

    @property
    def handle(self) -> int:
        """The CUDA stream, as libraries take it."""
        if self._cuda_stream is None:
            raise EngineError("the queue is closed")
        return int(self._cuda_stream.cuda_stream)


class TorchDevice:
    """A `Device`."""

    def __init__(self, index: int = 0) -> None:
        """Start CUDA and load the kernels.

        Args:
            index: of the device.

        Raises:
            EngineUnavailable: this torch has no CUDA, there is no driver, or no compiler for the kernels.
            EngineOptionError: there is no device of that index.
            EngineError: it has no room for a context, or lets nobody else in.
        """
        refuse_lost(index)
        if not torch.cuda.is_available():
            raise EngineUnavailable(f"torch {torch.__version__} sees no CUDA device here: --device cpu")
        count = torch.cuda.device_count()
        if not 0 <= index < count:
            raise EngineOptionError(f"there is no device {index}: this machine has {count}, counted from 0")
        self.driver = CudaDriver()
        # Shapes are fixed here: each convolution's kernel is chosen by measuring, once, in a frame that is
        # not yet recorded.
        torch.backends.cudnn.benchmark = True
        self.device = torch.device("cuda", index)
        self._index = index
        self._device_name = f"GPU {index}"
        self._kernels: HeldKernels | None = None
        self._pinned: dict[int, Any] = {}
        self._context = self.driver.retain_primary(index)
        try:
            with self.current():  # torch makes its own context by its first questions
                self._device_name = str(torch.cuda.get_device_name(self.device))
                capability = ".".join(map(str, torch.cuda.get_device_capability(self.device)))
                self._kernels = HeldKernels(self.driver, self._context, capability)
        except BaseException:
            self.driver.release_primary(index)
            raise
        log.info("%s, kernels by %s", self._device_name, self._kernels.compiler)

    @property
    def name(self) -> str:
        return self._device_name

    def current(self) -> Current:
        """See `Device`; torch's errors come out as one of ours."""
        return self._current

    @cached_property
    def _current(self) -> Current:
        here = threading.local()

        def enter() -> None:
            here.device = torch.cuda.device(self.device)
            here.device.__enter__()
            try:
                self.driver.set_current(self._context)  # torch leaves that to its own first call in a thread
            except BaseException:
                leave()
                raise

        def leave() -> None:
            here.device.__exit__(None, None, None)

        return Current(enter, leave, self._translated)

    def _translated(self, error: BaseException) -> EngineError | None:
        if isinstance(error, DeviceLost):
            return note_lost(self._index, error)
        if isinstance(error, torch.cuda.OutOfMemoryError):
            return EngineError(f"{self._device_name} has too little memory: {_first_line(error)}")
        if isinstance(error, EngineError) or not isinstance(error, RuntimeError):
            return None
        if is_sticky(str(error)):
            return note_lost(self._index, EngineError(_first_line(error)))
        return EngineError(f"{self._device_name} fails: {_first_line(error)}")

    def allocate(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        kind = np.dtype(dtype)
        nbytes = max(math.prod(shape) * kind.itemsize, 1)
        with self.current():
            memory = torch.zeros(nbytes, dtype=torch.uint8, device=self.device)
            # No queue waits for this stream. To wait for the device is refused while any thread records.
            torch.cuda.current_stream(self.device).synchronize()
        return DeviceArray(memory.data_ptr(), tuple(shape), kind, memory)

    def free(self, array: DeviceArray) -> None:
        """Nothing to do: torch takes the memory back when the array goes."""

    def pinned(self, count: int) -> NDArray[np.uint8]:
        with self.current():
            memory = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        self._pinned[memory.data_ptr()] = memory
        return cast(NDArray[np.uint8], memory.numpy())

    def unpin(self, host: NDArray[np.uint8]) -> None:
        self._pinned.pop(host.ctypes.data, None)

    def open_pictures(self) -> PictureMemory:
        return CudaPictures(self._index)

    def open_queue(self) -> WorkQueue:
        # Not torch's own: those come from a pool of 32, and one that is recorded must not be another's too.
        with self.current():
            return TorchQueue(self, torch.cuda.ExternalStream(self.driver.make_stream(), self.device))

    def make_mark(self, spins: bool = False) -> Mark:
        with self.current():
            return EventMark(self.current, torch.cuda.Event(blocking=not spins))

    def open_network(
        self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
    ) -> DeviceNetwork:
        """See `Device`; in float16. All recordings of a queue share memory by themselves."""
        return _TorchExecution(self, float16_twin(path), (frames, *size))

    def open_graph(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
    ) -> DeviceTensors:
        """Refused: torch has no way from our files to networks of several inputs."""
        raise EngineOptionError(f"{path.stem} runs by TensorRT only, not by torch: --runtime tensorrt")

    def kernels(self) -> KernelModule:
        """The kernels of this device's context."""
        if self._kernels is None:
            raise EngineError("the device is closed")
        return self._kernels.module

    def close(self) -> None:
        """Let go of the kernels and of pinned memory; may be called twice."""
        kernels, self._kernels = self._kernels, None
        self._pinned.clear()
        if kernels is not None:
            try:
                with self.current():
                    kernels.close()  # every queue has been finished by whoever opened it
                    # Torch caches memory for each stream by itself, also for those that are no more.
                    with recordings.waiting_for_all():
                        torch.cuda.empty_cache()
            except EngineError as error:
                log.debug("closing %s: %s", self._device_name, error)
            try:
                self.driver.release_primary(self._index)
            except EngineError as error:  # lost: whoever closes has others to close
                log.debug("closing %s: %s", self._device_name, error)


class _TorchExecution:
    def __init__(self, device: TorchDevice, path: Path, shape: tuple[int, int, int]) -> None:
        try:  # not above: kernels and copies go without `onnx`, which a machine that is lent may lack
            from irchroma.engines.network.torch_runtime import TorchNetwork
        except ImportError as error:
            raise EngineUnavailable(f"torch cannot read networks ({error}): pip install onnx") from error
        with device.current():
            self._network = TorchNetwork(path, NetworkOptions(), str(device.device))
        kind = np.float16 if self._network.half else np.float32
        frames, height, width = shape
        self.luma, self.ycc, self.confidence = (
            device.allocate((frames, depth, height, width), kind) for depth in (1, 3, 1)
        )
        self.name = f"torch {torch.__version__} {'fp16' if self._network.half else 'fp32'} on {device.name}"
        self._chosen = threading.local()

    def run(self) -> None:
        """In the current stream."""
        if hasattr(self._chosen, "all") or torch.cuda.is_current_stream_capturing():
            self._run()
            return
        # A thread's first run makes cuDNN's handle and measures which kernels to take, for which it takes
        # memory, waits, and gives back what torch has cached. While another thread records, some versions of
        # torch fail over that ("captures_underway.empty() INTERNAL ASSERT FAILED"), or spoil the recording.
        with recordings.waiting_for_all():
            self._run()
        self._chosen.all = True

    def _run(self) -> None:
        ycc, confidence = self._network.run(tensor_of(self.luma))
        tensor_of(self.ycc).copy_(ycc)
        tensor_of(self.confidence).copy_(confidence)

    def close(self) -> None:
        self._network.close()


def tensor_of(array: DeviceArray) -> Any:
    """The tensor that lies in an array's memory, all of it."""
    return array.owner.view(_TYPES[array.dtype]).view(array.shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

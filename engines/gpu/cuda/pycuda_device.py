"""A CUDA device by PyCUDA: streams, events, pinned and device memory; the only file that imports `pycuda`.

The primary context is retained, never a context of our own made, so that torch and TensorRT live in the same
one. It is made current for the length of each call, in whichever thread calls: by the driver itself for work,
by PyCUDA where its objects are made and go, which ask PyCUDA's own stack of contexts. That stack must not be
used more than needed: a lost device fails its `pop`, which then leaves the context there, and PyCUDA aborts
the process when a thread ends whose stack is not empty (`context_stack::~context_stack` of PyCUDA 2026.1).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import DeviceLost, EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.capture.capture_lock import recordings
from irchroma.engines.gpu.cuda.context import Current, is_sticky, note_lost, raise_translated, refuse_lost
from irchroma.engines.gpu.cuda.driver import CudaDriver, CudaGraph, EventMark, HeldKernels, KernelModule
from irchroma.engines.gpu.cuda.picture_memory import CudaPictures
from irchroma.engines.gpu.device import (
    DeviceArray,
    DeviceNetwork,
    DeviceTensors,
    Mark,
    PictureMemory,
    WorkQueue,
)
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.gpu.plans.execution import PlanExecution, PlanTensors, open_graph_plan, open_plan

log = logging.getLogger(__name__)

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream, nor it for us
_left_alone: list[Any] = []
"""PyCUDA's objects of lost devices, whose ends would abort the process."""


class PyCudaQueue:
    """A `WorkQueue`: a stream of PyCUDA, with the graphs that were recorded on it."""

    def __init__(self, device: PyCudaDevice, cuda_stream: Any) -> None:
        self._device = device
        self._cuda_stream = cuda_stream
        self._graphs: list[CudaGraph] = []
        self._recording = False

    @property
    def is_open(self) -> bool:
        """False once it is closed."""
        return self._cuda_stream is not None

    @property
    def handle(self) -> int:
        """The CUDA stream, as libraries take it."""
        if self._cuda_stream is None:
            raise EngineError("the queue is closed")
        return int(self._cuda_stream.handle)

    def upload(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        part = array.part(0, (host.size,), np.uint8)
        with self._device.current() as pycuda:
            pycuda.memcpy_htod_async(part.address, host, self._cuda_stream)

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        with self._device.current() as pycuda:
            pycuda.memcpy_dtoh_async(host[: array.nbytes], array.address, self._cuda_stream)

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        part = to.part(0, array.shape, array.dtype)
        with self._device.current():
            self._device.driver.copy_within(array.address, part.address, array.nbytes, self.handle)

    def launch(self, work: Launch) -> None:
        with self._device.current():
            self._device.kernels().launch(work, self.handle)

    def infer(self, network: DeviceNetwork | DeviceTensors) -> None:
        with self._device.current():
            own = cast(PlanTensors, network)
            if self._recording:
                own.check_recordable()
            else:
                own.ask_recordable(self.handle)
            own.enqueue(self.handle)

    def record(self, mark: Mark) -> None:
        with self._device.current():
            cast(EventMark, mark).event.record(self._cuda_stream)

    def wait(self, mark: Mark) -> None:
        with self._device.current():
            self._cuda_stream.wait_for_event(cast(EventMark, mark).event)

    def capture(self, work: Callable[[], None]) -> Any:
        with self._device.current():
            self._recording = True
            try:
                made = self._device.capture(self.handle, work)
            finally:
                self._recording = False
        self._graphs.append(made)
        return made

    def replay(self, recorded: Any) -> None:
        with self._device.current():
            recorded.launch(self.handle)

    def close(self) -> None:
        cuda_stream, self._cuda_stream = self._cuda_stream, None
        if cuda_stream is None:
            return
        with self._device.current():
            cuda_stream.synchronize()
        with self._device.making():
            while self._graphs:
                self._graphs.pop().close()
            del cuda_stream


class PyCudaDevice:
    """A `Device`."""

    def __init__(self, index: int = 0, runtime: str = "tensorrt") -> None:
        """Retain the device's primary context and load the kernels.

        Args:
            index: of the device.
            runtime: `tensorrt` or `tensorrt-rtx`, which runs the network.

        Raises:
            EngineUnavailable: there is no driver, no PyCUDA, or no compiler for the kernels.
            EngineOptionError: there is no device of that index.
            EngineError: it has no room for a context, or lets nobody else in.
        """
        refuse_lost(index)
        self.driver = CudaDriver()
        self._pycuda = _pycuda()
        self._runtime = runtime
        self._context: Any = None
        try:
            self._pycuda.init()
            count = self._pycuda.Device.count()
        except self._pycuda.Error as error:
            raise EngineUnavailable(f"CUDA does not start: {error}") from error
        if not 0 <= index < count:
            raise EngineOptionError(f"there is no device {index}: this machine has {count}, counted from 0")
        self._index = index
        self._device_name = f"GPU {index}"
        with self._told():
            device = self._pycuda.Device(index)
            self._device_name = str(device.name())
            capability = ".".join(map(str, device.compute_capability()))
            self._handle = self.driver.retain_primary(index)
            try:
                self._context = device.retain_primary_context()
            except BaseException:
                self._release()
                raise
        self._made_here = threading.local()
        self._allocations: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self._marks: list[EventMark] = []
        self._queues: list[PyCudaQueue] = []
        self._kernels: HeldKernels | None = None
        try:
            with self.making():
                self._kernels = HeldKernels(self.driver, self._handle, capability)
        except BaseException:
            self.close()
            raise
        compiler = self._kernels.compiler
        log.info("%s, compute capability %s, kernels by %s", self._device_name, capability, compiler)

    @property
    def name(self) -> str:
        return self._device_name

    def current(self) -> Current:
        """See `Device`; gives PyCUDA's module."""
        return self._current

    @cached_property
    def _current(self) -> Current:
        return Current(self._push, lambda: self.driver.pop_context(), self._translated)

    def _push(self) -> Any:
        if self._context is None:
            raise self._gone()
        self.driver.push_context(self._handle)
        return self._pycuda

    def _gone(self) -> EngineError:
        """Why there is no context: closed, or taken off by the call that found the GPU lost, see `making`."""
        refuse_lost(self._index)
        return EngineError("the device is closed")

    @contextmanager
    def making(self) -> Iterator[Any]:
        """As `current`, on PyCUDA's own stack too: for its objects' beginning and end. May be nested."""
        with self._told():
            if self._context is None:
                raise self._gone()
            if getattr(self._made_here, "depth", 0):
                yield self._pycuda
                return
            self._context.push()
            self._made_here.depth = 1
            try:
                yield self._pycuda
            finally:
                self._made_here.depth = 0
                try:
                    self._pycuda.Context.pop()
                except self._pycuda.Error as error:
                    # A context that is no longer valid is taken off by the very call that ends it.
                    context, self._context = self._context, None
                    if context is not None:
                        context.detach()
                        self._release()
                    raise note_lost(self._index, error) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise_translated(error, self._translated)
            raise

    def _translated(self, error: BaseException) -> EngineError | None:
        if isinstance(error, self._pycuda.MemoryError):
            return EngineError(f"{self._device_name} has too little memory: {error}")
        if isinstance(error, self._pycuda.Error) and not is_sticky(str(error)):
            return EngineError(f"{self._device_name} fails: {error}")
        if isinstance(error, (self._pycuda.Error, DeviceLost)):
            return note_lost(self._index, error)
        return None

    def _release(self) -> None:
        try:
            self.driver.release_primary(self._index)
        except EngineError as error:
            log.debug("closing %s: %s", self._device_name, error)

    def allocate(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        kind = np.dtype(dtype)
        nbytes = max(int(np.prod(shape, dtype=np.int64)) * kind.itemsize, 1)
        with self.making() as pycuda:
            memory = pycuda.mem_alloc(nbytes)
            self._allocations[int(memory)] = memory
            self.driver.zero(int(memory), nbytes)
        return DeviceArray(int(memory), tuple(shape), kind, memory)

    def free(self, array: DeviceArray) -> None:
        memory = self._allocations.pop(array.address, None)
        if memory is not None and self._context is not None:
            with self.making():
                memory.free()

    def pinned(self, count: int) -> NDArray[np.uint8]:
        with self.making() as pycuda:
            host = pycuda.pagelocked_empty(count, np.uint8)
        self._pinned[host.ctypes.data] = host.base
        return cast(NDArray[np.uint8], host)

    def unpin(self, host: NDArray[np.uint8]) -> None:
        memory = self._pinned.pop(host.ctypes.data, None)
        if memory is not None and self._context is not None:
            with self.making():
                memory.free()

    def open_pictures(self) -> PictureMemory:
        return CudaPictures(self._index)

    def open_queue(self) -> WorkQueue:
        with self.making() as pycuda:
            made = PyCudaQueue(self, pycuda.Stream(_NON_BLOCKING))
        self._queues = [*(one for one in self._queues if one.is_open), made]
        return made

    def make_mark(self, spins: bool = False) -> Mark:
        with self.making() as pycuda:
            flags = pycuda.event_flags
            event = pycuda.Event(flags.DISABLE_TIMING | (0 if spins else flags.BLOCKING_SYNC))
            made = EventMark(self.current, event, self.making)
        self._marks = [*(one for one in self._marks if one.event is not None), made]
        return made

    def open_network(
        self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
    ) -> DeviceNetwork:
        """See `Device`. A plan that is not in the cache is built, which takes seconds to minutes."""
        with self.current(), recordings.waiting_for_all():
            plan = open_plan(self._runtime, self._index, path, size, frames)
            return PlanExecution(plan, self, size, frames, cast(PlanExecution | None, turns))

    def open_graph(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
    ) -> DeviceTensors:
        """See `Device`; as `open_network`."""
        with self.current(), recordings.waiting_for_all():
            plan = open_graph_plan(self._runtime, self._index, path, shapes)
            return PlanTensors(plan, self, shapes, outputs)

    def kernels(self) -> KernelModule:
        """The kernels of this device's context."""
        if self._kernels is None:
            raise self._gone()
        return self._kernels.module

    def capture(self, cuda_stream: int, work: Callable[[], None]) -> CudaGraph:
        """See `CudaDriver.capture`; the context is current."""
        return self.driver.capture(cuda_stream, work)

    def close(self) -> None:
        """Let go of everything, of a lost device as far as it lets us; may be called twice."""
        if self._context is None:
            return
        steps: list[Callable[[], Any]] = [queue.close for queue in self._queues]
        steps += [mark.close for mark in self._marks]
        steps += [memory.free for memory in (*self._allocations.values(), *self._pinned.values())]
        if self._kernels is not None:
            steps.append(self._kernels.close)
        try:
            self._context.push()
        except self._pycuda.Error as error:
            # Nothing can be given back, and what PyCUDA's objects then do in their ends aborts the process.
            log.debug("closing %s: %s", self._device_name, error)
            _left_alone.append((self._queues[:], self._marks[:], [*self._allocations.values()]))
            _left_alone.append(([*self._pinned.values()], self._kernels, self._context))
            self._forget()
            self._context = self._kernels = None
            self._release()
            return
        self._made_here.depth = 1
        for step in steps:
            try:
                step()
            except (EngineError, self._pycuda.Error) as error:
                log.debug("closing %s: %s", self._device_name, error)
        self._made_here.depth = 0
        self._forget()
        context, self._context, self._kernels = self._context, None, None
        context.detach()
        self._release()
        try:
            self.driver.pop_context()  # PyCUDA releases a primary context without taking it off the stack
        except EngineError as error:
            log.debug("closing %s: %s", self._device_name, error)

    def _forget(self) -> None:
        for one in (self._queues, self._marks, self._allocations, self._pinned):
            one.clear()


def _pycuda() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise EngineUnavailable(
            f"pycuda does not load ({error}): pip install 'irchroma[pycuda]', which needs a CUDA toolkit"
        ) from error
    return pycuda.driver

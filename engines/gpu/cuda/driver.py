"""The parts of the CUDA driver that PyCUDA and torch leave out, or that both need: kernels and graphs.

All calls act on the calling thread's current context.

Reference: CUDA Driver API 13.0, sections 6.12 (modules), 6.15 (memory), 6.18 (streams), 6.22 (execution),
6.24 (graphs).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from irchroma.engines.errors import DeviceLost, EngineError, EngineUnavailable
from irchroma.engines.gpu.capture.capture_lock import recordings
from irchroma.engines.gpu.cuda.compile import kernel_binaries
from irchroma.engines.gpu.cuda.context import STICKY
from irchroma.engines.gpu.device import CaptureRefused
from irchroma.engines.gpu.kernels.source import BLOCK, ExtentStruct, Launch, kernel_names

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_HINTS = {
    2: "fewer streams, a smaller size",  # CUDA_ERROR_OUT_OF_MEMORY
    46: "another process may have it for itself (nvidia-smi -q -d COMPUTE)",  # CUDA_ERROR_DEVICE_UNAVAILABLE
    807: "the MPS server is not ready",  # CUDA_ERROR_MPS_SERVER_NOT_READY
    808: "too many processes share it by MPS",  # CUDA_ERROR_MPS_MAX_CLIENTS_REACHED
}


_int, _uint, _size = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
_address, _handle = ctypes.c_uint64, ctypes.c_void_p
_ARGUMENTS = {
    "cuCtxPushCurrent_v2": (_handle,),
    "cuCtxSetCurrent": (_handle,),
    "cuMemcpyHtoDAsync_v2": (_address, _handle, _size, _handle),
    "cuMemcpyDtoHAsync_v2": (_handle, _address, _size, _handle),
    "cuMemcpyDtoDAsync_v2": (_address, _address, _size, _handle),
    "cuLaunchKernel": (_handle, *[_uint] * 7, _handle, _handle, _handle),
    "cuGraphLaunch": (_handle, _handle),
}
"""Of what a frame calls: numbers are then given as they are, in a third of the time."""


class CudaDriver:
    """libcuda, loaded."""

    def __init__(self, library: str = "libcuda.so.1") -> None:
        """Load it.

        Raises:
            EngineUnavailable: there is no NVIDIA driver here, or it lacks what a frame needs.
        """
        try:
            self._library: Any = ctypes.CDLL(library)
            for name, types in _ARGUMENTS.items():
                getattr(self._library, name).argtypes = types
        except OSError as error:
            raise EngineUnavailable(
                f"no NVIDIA driver here ({library}): networks run on the CPU, --device cpu"
            ) from error
        except AttributeError as error:
            raise EngineUnavailable(
                f"the NVIDIA driver here cannot be used ({error}): networks run on the CPU, --device cpu"
            ) from error

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a CUresult.

        Raises:
            DeviceLost: the context is broken for good.
            EngineError: it did not succeed; says which call and the driver's own words.
        """
        status = getattr(self._library, name)(*arguments)
        if status in STICKY:
            raise DeviceLost(f"{name} fails: {self._words(status)}")
        if status:
            hint = f": {_HINTS[status]}" if status in _HINTS else ""
            raise EngineError(f"{name} fails: {self._words(status)}{hint}")

    def copy_in(self, address: int, host: int, nbytes: int, cuda_stream: int) -> None:
        """Copy from pinned host memory; does not block."""
        self.call("cuMemcpyHtoDAsync_v2", address, host, nbytes, cuda_stream)

    def copy_out(self, host: int, address: int, nbytes: int, cuda_stream: int) -> None:
        """Copy to pinned host memory; does not block."""
        self.call("cuMemcpyDtoHAsync_v2", host, address, nbytes, cuda_stream)

    def copy_within(self, address: int, to: int, nbytes: int, cuda_stream: int) -> None:
        """Copy from the device's memory to it; does not block."""
        self.call("cuMemcpyDtoDAsync_v2", to, address, nbytes, cuda_stream)

    def zero(self, address: int, nbytes: int) -> None:
        """Fill memory with zeros; blocks until it is done.

        In a stream of its own, for as long as it takes: what the default stream does no queue waits for, to
        wait for the whole context is refused, and spoils the recording, while any thread records (CUDA C++
        Programming Guide, "Prohibited and Unhandled Operations" of stream capture), and a device tells 32
        streams apart.
        """
        stream = self.make_stream()
        try:
            where = ctypes.c_void_p(stream)
            self.call("cuMemsetD8Async", _address(address), ctypes.c_ubyte(0), _size(nbytes), where)
            self.call("cuStreamSynchronize", where)
        finally:
            self.destroy_stream(stream)

    def retain_primary(self, index: int) -> int:
        """The primary context of a device, which every runtime in the process uses; counted."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", ctypes.c_uint(0))
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        return context.value or 0

    def release_primary(self, index: int) -> None:
        """The reverse of `retain_primary`."""
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self.call("cuDevicePrimaryCtxRelease_v2", device)

    def set_current(self, context: int) -> None:
        """Make a context the calling thread's; a thread that has used no CUDA yet has none."""
        self.call("cuCtxSetCurrent", context)

    def push_context(self, context: int) -> None:
        """Make a context the calling thread's until `pop_context`."""
        self.call("cuCtxPushCurrent_v2", context)

    def make_stream(self) -> int:
        """A stream that does not wait for the default stream, nor it for this one."""
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(_NON_BLOCKING))
        return stream.value or 0

    def destroy_stream(self, cuda_stream: int) -> None:
        """Give a stream back."""
        self.call("cuStreamDestroy_v2", ctypes.c_void_p(cuda_stream))

    def pop_context(self) -> None:
        """Take the current context off the calling thread's stack.

        Raises:
            DeviceLost: work that was started before has broken the context.
            EngineError: there is none.
        """
        self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def capture(self, cuda_stream: int, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` puts into the stream.

        Raises:
            RecordingPutOff: not just now.
            CaptureRefused: something of it cannot be recorded; nothing of it was done.
            DeviceLost: it is not the recording that fails.
        """
        with recordings.recording():
            return self._capture(cuda_stream, work)

    def _capture(self, cuda_stream: int, work: Callable[[], None]) -> CudaGraph:
        stream = ctypes.c_void_p(cuda_stream)
        graph = ctypes.c_void_p()
        failure: Exception | None = None
        try:
            self.call("cuStreamBeginCapture_v2", stream, ctypes.c_int(_THREAD_LOCAL))
        except DeviceLost:
            raise
        except EngineError as error:
            raise CaptureRefused(str(error)) from error
        try:
            work()
        except Exception as error:  # noqa: BLE001 (whatever it is, the stream must leave its recording)
            failure = error
        try:
            self.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        except EngineError as error:
            failure = failure or error
        if failure is None:
            return CudaGraph(self, graph)
        if graph.value:
            self.call("cuGraphDestroy", graph)
        if isinstance(failure, DeviceLost):
            raise failure
        raise CaptureRefused(str(failure)) from failure

    def _words(self, status: int) -> str:
        found = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            if getattr(self._library, function)(status, ctypes.byref(text)) == 0 and text.value:
                found.append(text.value.decode())
        return ", ".join(found) or f"error {status}"


class CudaGraph:
    """Recorded work, ready to be done again and again."""

    def __init__(self, driver: CudaDriver, graph: ctypes.c_void_p) -> None:
        """Make it ready; `graph` is used up.

        Raises:
            CaptureRefused: the driver does not make it ready.
            DeviceLost: it is not the recording that fails.
        """
        self._driver = driver
        self._ready = ctypes.c_void_p()
        try:
            driver.call("cuGraphInstantiateWithFlags", ctypes.byref(self._ready), graph, ctypes.c_uint64(0))
        except DeviceLost:
            raise
        except EngineError as error:
            raise CaptureRefused(str(error)) from error
        finally:
            driver.call("cuGraphDestroy", graph)

    def launch(self, cuda_stream: int) -> None:
        """Do the work, in order with the stream's."""
        self._driver.call("cuGraphLaunch", self._ready, cuda_stream)

    def close(self) -> None:
        """Give it back; may be called twice."""
        ready, self._ready = self._ready, ctypes.c_void_p()
        if ready.value:
            self._driver.call("cuGraphExecDestroy", ready)


class KernelModule:
    """The kernels, loaded into the current context."""

    def __init__(self, driver: CudaDriver, code: bytes) -> None:
        """Load them.

        Args:
            driver: whose context is current.
            code: of one of `kernel_binaries`.

        Raises:
            EngineError: the driver does not take the code.
        """
        self._driver = driver
        self._module = ctypes.c_void_p()
        driver.call("cuModuleLoadData", ctypes.byref(self._module), code)
        self._functions: dict[str, ctypes.c_void_p] = {}
        for name in kernel_names():
            function = ctypes.c_void_p()
            driver.call("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
            self._functions[name] = function

    def launch(self, work: Launch, cuda_stream: int) -> None:
        """Start a kernel; does not block. Its arguments are copied at once."""
        extent = ExtentStruct(*work.extent)
        parameters = (ctypes.c_void_p * 2)(ctypes.addressof(extent), ctypes.addressof(work.arguments))
        self._driver.call(
            "cuLaunchKernel",
            self._functions[work.kernel],
            *work.blocks,
            *BLOCK,
            1,
            work.shared_bytes,
            cuda_stream,
            parameters,
            None,
        )

    def close(self) -> None:
        """Unload; may be called twice."""
        module, self._module = self._module, ctypes.c_void_p()
        if module.value:
            self._driver.call("cuModuleUnload", module)


def load_kernels(driver: CudaDriver, compute_capability: str) -> tuple[KernelModule, str]:
    """The kernels, by the first compiler whose code the driver takes, and which that was.

    Raises:
        EngineUnavailable: there is no compiler here.
        EngineError: the driver takes none of it, or no compiler knows the device.
    """
    refused = []
    try:
        for binary in kernel_binaries(compute_capability):
            try:
                return KernelModule(driver, binary.code), binary.compiler
            except EngineError as error:
                refused.append(f"{binary.compiler}: {error}")
    except EngineError as error:
        if not refused:
            raise
        refused.append(str(error))
    raise EngineError("the driver takes no kernels: " + "; ".join(refused))


class _ContextKernels:
    """The kernels of one context, as long as somebody holds them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.module: KernelModule | None = None
        self.compiler = ""
        self.users = 0


_kernels_of: dict[int, _ContextKernels] = {}
"""By context: of each GPU one, which all that is opened on it in this process shares."""


class HeldKernels:
    """One device's hold on the kernels of its context, which are loaded with the first and unloaded with the
    last: so neither happens while another camera of that GPU works or records.

    Attributes:
        module: the kernels.
        compiler: of which they are, for people.
    """

    def __init__(self, driver: CudaDriver, context: int, compute_capability: str) -> None:
        """Load them, or take those that are loaded; whoever opens at the same time waits for that.

        Args:
            driver: whose current context is `context`.
            context: the CUcontext.
            compute_capability: such as `9.0`.

        Raises:
            EngineUnavailable, EngineError: see `load_kernels`.
        """
        shared = _kernels_of.setdefault(context, _ContextKernels())
        with shared.lock:
            if shared.module is None:
                shared.module, shared.compiler = load_kernels(driver, compute_capability)
            shared.users += 1
            self.module, self.compiler = shared.module, shared.compiler
        self._shared: _ContextKernels | None = shared

    def close(self) -> None:
        """Let go, with the context current; may be called twice."""
        shared, self._shared = self._shared, None
        if shared is None:
            return
        with shared.lock:
            shared.users -= 1
            if shared.users == 0:
                shared.module = None
                self.module.close()


class EventMark:
    """A `Mark`: an event of PyCUDA or of torch, which are asked alike."""

    def __init__(
        self,
        current: Callable[[], AbstractContextManager[Any]],
        event: Any,
        closing: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        """Args:
        current: makes the event's device the calling thread's own, and its failures EngineErrors.
        event: with `query` and `synchronize`.
        closing: as `current`, for the event's end; None for the same.
        """
        self._current = current
        self._closing = closing or current
        self.event = event

    def done(self) -> bool:
        with self._current():
            return bool(self._opened().query())

    def wait(self) -> None:
        with self._current():
            self._opened().synchronize()

    def close(self) -> None:
        """See `Mark`; the event goes while its context is current, as PyCUDA demands."""
        if self.event is not None:
            with self._closing():
                self.event = None

    def _opened(self) -> Any:
        if self.event is None:
            raise EngineError("the mark is closed")
        return self.event

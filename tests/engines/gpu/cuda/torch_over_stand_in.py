"""Another program of ours with a torch that takes `driver_stand_in.cpp` for a GPU, whatever torch is here.

`torch_over_stand_in PROGRAM WORDS...`. The stand-in's memory is the host's, so torch's tensors are those of
the processor; streams, events and recordings are the stand-in's. What torch computes itself is not recorded:
networks must be kernels of ours (`copying_network`).
"""

from __future__ import annotations

import ctypes
import runpy
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

DRIVER = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
ALIGNMENT_BYTES = 512  # of torch's allocator
NOT_READY = 600  # CUDA_ERROR_NOT_READY
_here = threading.local()


def ask(name: str, *arguments: Any) -> None:
    """A call of the driver; its refusal is torch's error."""
    status = getattr(DRIVER, name)(*arguments)
    if status:
        said = "unspecified launch failure" if status == 719 else f"error {status}"
        raise RuntimeError(f"CUDA error: {said} ({name})\nCUDA kernel errors might be told later")


class Stream:
    """`torch.cuda.ExternalStream`."""

    def __init__(self, cuda_stream: int = 0, device: Any = None) -> None:
        self.cuda_stream = cuda_stream

    def synchronize(self) -> None:
        if self.cuda_stream:
            ask("cuStreamSynchronize", ctypes.c_void_p(self.cuda_stream))

    def wait_event(self, event: Event) -> None:
        ask("cuStreamWaitEvent", ctypes.c_void_p(self.cuda_stream), event.handle, 0)


class Event:
    """`torch.cuda.Event`."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.handle = ctypes.c_void_p()
        ask("cuEventCreate", ctypes.byref(self.handle), 2)

    def record(self, stream: Stream) -> None:
        ask("cuEventRecord", self.handle, ctypes.c_void_p(stream.cuda_stream))

    def query(self) -> bool:
        status = DRIVER.cuEventQuery(self.handle)
        if status not in (0, NOT_READY):
            ask("cuEventSynchronize", self.handle)
        return bool(status == 0)

    def synchronize(self) -> None:
        ask("cuEventSynchronize", self.handle)

    def __del__(self) -> None:
        DRIVER.cuEventDestroy_v2(self.handle)


class Graph:
    """`torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self._ready = ctypes.c_void_p()

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        assert capture_error_mode == "thread_local"
        ask("cuStreamBeginCapture_v2", ctypes.c_void_p(current_stream().cuda_stream), 1)

    def capture_end(self) -> None:
        graph = ctypes.c_void_p()
        ask("cuStreamEndCapture", ctypes.c_void_p(current_stream().cuda_stream), ctypes.byref(graph))
        try:
            ask("cuGraphInstantiateWithFlags", ctypes.byref(self._ready), graph, ctypes.c_ulonglong(0))
        finally:
            ask("cuGraphDestroy", graph)

    def replay(self) -> None:
        ask("cuGraphLaunch", self._ready, ctypes.c_void_p(current_stream().cuda_stream))

    def reset(self) -> None:
        ready, self._ready = self._ready, ctypes.c_void_p()
        if ready.value:
            ask("cuGraphExecDestroy", ready)


def current_stream(device: Any = None) -> Stream:
    return getattr(_here, "stream", None) or Stream()


@contextmanager
def within(stream: Stream) -> Iterator[None]:
    before, _here.stream = current_stream(), stream
    try:
        yield
    finally:
        _here.stream = before


def on_host(make: Callable[..., Any]) -> Callable[..., Any]:
    """A maker of tensors that puts a GPU's on the processor."""

    def made(*arguments: Any, **named: Any) -> Any:
        if named.pop("pin_memory", False):
            pinned = make(*arguments, **named)
            DRIVER.stand_in_pin(ctypes.c_void_p(pinned.data_ptr()), ctypes.c_size_t(pinned.nbytes))
            weakref.finalize(
                pinned, DRIVER.stand_in_pin, ctypes.c_void_p(pinned.data_ptr()), ctypes.c_size_t(0)
            )
            return pinned
        if not str(named.get("device", "")).startswith("cuda"):
            return make(*arguments, **named)
        (count,) = arguments
        whole = make(count + ALIGNMENT_BYTES, **named | {"device": "cpu"})
        begins = -whole.data_ptr() % ALIGNMENT_BYTES
        return whole[begins : begins + count]

    return made


def take_for_a_gpu() -> None:
    """Torch has one from now on."""
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda device=None: "stand-in",
        "get_device_capability": lambda device=None: (9, 0),
        "device": lambda device: nullcontext(),
        "current_stream": current_stream,
        "stream": within,
        "graph_pool_handle": lambda: (0, 1),
        "empty_cache": lambda: None,
        "ExternalStream": Stream,
        "Event": Event,
        "CUDAGraph": Graph,
    }
    for name, answer in answers.items():
        assert hasattr(torch.cuda, name), f"torch {torch.__version__} has no torch.cuda.{name}"
        setattr(torch.cuda, name, answer)
    torch.zeros, torch.empty = on_host(torch.zeros), on_host(torch.empty)


if __name__ == "__main__":
    take_for_a_gpu()
    sys.argv = sys.argv[1:]
    runpy.run_module(f"tests.engines.gpu.{sys.argv[0]}", run_name="__main__", alter_sys=True)

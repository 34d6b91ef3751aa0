"""What the frame path asks of a device: memory, ordered queues of work, marks between them, recorded work.

PyCUDA's, torch's and the CPU's (threads, the kernels as C++) share every test that can run without a GPU.
`Block` and `Workspace` are memory by name: what is copied at once, and what steps of a frame hand to others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.kernels.source import Launch

_ALIGNMENT_BYTES = 256


class CaptureRefused(EngineError):
    """A device cannot record this work; nothing of it was done."""


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A piece of a device's memory.

    Attributes:
        address: of its first byte.
        shape: of the values.
        dtype: of the values.
        owner: what keeps the memory alive.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: Any

    @property
    def nbytes(self) -> int:
        """Its length."""
        return math.prod(self.shape) * self.dtype.itemsize

    def part(self, offset_bytes: int, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """Some of it under another shape and type."""
        kind = np.dtype(dtype)
        made = DeviceArray(self.address + offset_bytes, tuple(shape), kind, self.owner)
        if offset_bytes < 0 or offset_bytes + made.nbytes > self.nbytes:
            raise EngineError(f"{made.nbytes} bytes at {offset_bytes} do not lie within {self.nbytes}")
        return made


class Mark(Protocol):
    """A place in a queue's work (a CUDA event), or in a recording of it: then only queues can wait for it."""

    def done(self) -> bool:
        """Whether the work before the last record has been done; True if it was never recorded."""

    def wait(self) -> None:
        """Block until it is done.

        Raises:
            EngineError: that work, or the device, has failed; or the mark is of a recording.
        """

    def close(self) -> None:
        """Give it back; may be called twice."""


class DeviceNetwork(Protocol):
    """A network with fixed input and output memory, for batches of one shape and one queue at a time."""

    @property
    def name(self) -> str:
        """Runtime, device and precision for people."""

    @property
    def luma(self) -> DeviceArray:
        """(N, 1, H, W) float16 or float32 input, [0, 1]."""

    @property
    def ycc(self) -> DeviceArray:
        """(N, 3, H, W), of the input's type; see `network.Network.infer`."""

    @property
    def confidence(self) -> DeviceArray:
        """(N, 1, H, W), of the input's type."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


class DeviceTensors(Protocol):
    """A network of several inputs with fixed memory, for inputs of one shape and one queue at a time."""

    @property
    def name(self) -> str:
        """Runtime, device and precision for people."""

    @property
    def tensors(self) -> Mapping[str, DeviceArray]:
        """Every input and output by name, all float16 or all float32."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


class WorkQueue(Protocol):
    """Work that a device does in order, beside that of other queues (a CUDA stream). Calls do not block."""

    def upload(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        """Copy pinned host bytes to the start of `array`; the host's must stay until a mark behind it."""

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        """Copy all of `array` into pinned host bytes."""

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        """Copy all of `array` to the start of another."""

    def launch(self, work: Launch) -> None:
        """Run a kernel."""

    def infer(self, network: DeviceNetwork | DeviceTensors) -> None:
        """Run a network of this device on its input memory."""

    def record(self, mark: Mark) -> None:
        """Put the mark behind the work so far. While the queue is recorded, it is a mark of the recording."""

    def wait(self, mark: Mark) -> None:
        """Let further work wait for what the mark was last put behind.

        A queue that waits for a mark of a recording is part of that recording from then on, as a branch; a
        queue that is recorded can wait for no other marks.

        Raises:
            CaptureRefused: the mark is of another recording, or one that is over, or of none.
        """

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what `work` does on this queue, and on those that join it by a mark, without doing it.

        Raises:
            CaptureRefused: it cannot be recorded, or this queue does not wait for all that has joined it in
                the end; `recording.RecordingPutOff` where it cannot just now.
            DeviceLost: nothing can be done on the device any more.
        """

    def replay(self, recorded: Any) -> None:
        """Do what was recorded."""

    def close(self) -> None:
        """Finish what is under way and let go; may be called twice."""


class PictureMemory(Protocol):
    """Memory of a device that outlives whoever colors on it, for pictures that others still read. Any thread.

    Attributes:
        index: of the device.
        context: the CUcontext that its addresses belong to, the device's primary one.
    """

    index: int
    context: int

    def allocate(self, nbytes: int) -> DeviceArray:
        """Some of it. Raises EngineError when there is too little."""

    def free(self, array: DeviceArray) -> None:
        """Give back what `allocate` gave."""

    def read(self, array: DeviceArray) -> NDArray[np.uint8]:
        """(nbytes,) uint8, a copy on the host; blocks until it is there."""

    def write(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        """Copy host bytes to the start of `array`; blocks until they are there."""

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        """Copy all of `array` to the start of another; blocks until it is there."""

    def close(self) -> None:
        """Let go of the device; what it gave has been given back. May be called twice."""


class Device(Protocol):
    """One device. Made, used and closed by any thread."""

    @property
    def name(self) -> str:
        """For people."""

    def current(self) -> AbstractContextManager[Any]:
        """The device is the calling thread's within: its calls make it so by themselves, but each anew.

        Raises:
            EngineError: the device is closed, or a call within has failed in another library's words.
        """

    def allocate(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """Memory of the device, zeroed. Raises EngineError when there is too little."""

    def free(self, array: DeviceArray) -> None:
        """Give back what `allocate` gave; not a part of it."""

    def pinned(self, count: int) -> NDArray[np.uint8]:
        """Host memory from and to which copies can overlap with work."""

    def unpin(self, host: NDArray[np.uint8]) -> None:
        """Give back what `pinned` gave, which nobody may look at any more."""

    def open_pictures(self) -> PictureMemory:
        """Memory of this device that may stay when it is closed."""

    def open_queue(self) -> WorkQueue:
        """A new queue."""

    def make_mark(self, spins: bool = False) -> Mark:
        """A new mark.

        Args:
            spins: whoever waits for it burns a core until then, and goes on some 20 to 50 us sooner.
        """

    def open_network(
        self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
    ) -> DeviceNetwork:
        """A network for batches of one size.

        Args:
            path: the float32 ONNX file.
            size: (H, W) of the pictures, multiples of 32.
            frames: of one call.
            turns: one of this device, of a larger batch, closed after this one: both run in one queue only,
                so that they may share the memory that they compute in.

        Raises:
            EngineError: it cannot be loaded, or not be built, here.
        """

    def open_graph(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
    ) -> DeviceTensors:
        """A network of several inputs.

        Args:
            path: the float32 ONNX file.
            shapes: of every input.
            outputs: their names.

        Raises:
            EngineError: it cannot be loaded, or not be built, here.
        """

    def close(self) -> None:
        """Let go of everything; may be called twice."""


class Block:
    """Where in one block of memory, which is copied at once, each part lies.

    Attributes:
        nbytes: of the block.
    """

    def __init__(self, parts: dict[str, tuple[tuple[int, ...], Any]]) -> None:
        """Args:
        parts: name -> shape and type, in their order.
        """
        self._parts: dict[str, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}
        self.nbytes: int = 0
        for name, (shape, dtype) in parts.items():
            self._parts[name] = (self.nbytes, shape, np.dtype(dtype))
            nbytes = math.prod(shape) * np.dtype(dtype).itemsize
            self.nbytes += -(-nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES

    def nbytes_up_to(self, name: str) -> int:
        """Of the parts until that one, with it."""
        ends = [offset for offset, _, _ in self._parts.values()]
        after = list(self._parts).index(name) + 1
        return ends[after] if after < len(ends) else self.nbytes

    def on_device(self, block: DeviceArray) -> dict[str, DeviceArray]:
        """The parts of a device's block."""
        return {name: block.part(*where) for name, where in self._parts.items()}

    def on_host(self, block: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The parts of a host's block (nbytes,) uint8, as views."""
        views = {}
        for name, (offset, shape, dtype) in self._parts.items():
            count = math.prod(shape) * dtype.itemsize
            views[name] = block[offset : offset + count].view(dtype).reshape(shape)
        return views


class Workspace:
    """Arrays of one device; asked for again by name, so that frames that follow each other share them."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._arrays: dict[str, DeviceArray] = {}

    def array(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> DeviceArray:
        """The array of that name, made at the first call.

        Raises:
            EngineError: the device has too little memory, or the name is in use for another shape or type.
        """
        made = self._arrays.get(name)
        if made is None:
            made = self._arrays[name] = self._device.allocate(shape, dtype)
        elif made.shape != tuple(shape) or made.dtype != np.dtype(dtype):
            raise EngineError(f"{name} is {made.shape} {made.dtype}, asked for is {tuple(shape)} {dtype}")
        return made

    def close(self) -> None:
        """Give all of it back; may be called twice."""
        while self._arrays:
            self._device.free(self._arrays.popitem()[1])

"""Queues of a torch device: streams of our own, and torch's way of recording them. Never yet run on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture_lock import recordings
from irchroma.engines.gpu.cuda.cuda_event import EventMark
from irchroma.engines.gpu.device import CaptureRefused, DeviceArray, DeviceNetwork, Mark
from irchroma.engines.gpu.kernels.source import Launch

if TYPE_CHECKING:
    from irchroma.engines.gpu.cuda.torch_device import TorchDevice

_one_recording = threading.Lock()
"""One recording at a time, which is all that torch promises; others wait some milliseconds."""


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
            self._device.driver.copy_in(part.address, host.ctypes.data, host.size, self._handle)

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        with self._device.current():
            self._device.driver.copy_out(host.ctypes.data, array.address, array.nbytes, self._handle)

    def launch(self, work: Launch) -> None:
        with self._device.current():
            self._device.kernels().launch(work, self._handle)

    def infer(self, network: DeviceNetwork) -> None:
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
        try:
            with (
                _one_recording,
                recordings.recording(),
                self._device.current(),
                torch.cuda.stream(self._cuda_stream),
            ):
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
            raise CaptureRefused(str(failure)) from failure
        self._graphs.append(graph)
        return graph

    def replay(self, recorded: Any) -> None:
        with self._device.current(), torch.cuda.stream(self._cuda_stream):
            recorded.replay()

    def close(self) -> None:
        cuda_stream, self._cuda_stream = self._cuda_stream, None
        if cuda_stream is not None:
            with self._device.current():
                cuda_stream.synchronize()
                while self._graphs:
                    self._graphs.pop().reset()
                self._device.driver.destroy_stream(int(cuda_stream.cuda_stream))

    @property
    def _handle(self) -> int:
        if self._cuda_stream is None:
            raise EngineError("the queue is closed")
        return int(self._cuda_stream.cuda_stream)

"""Queues and marks of a PyCUDA device: its streams and events. PyCUDA itself comes from the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.cuda.cuda_event import EventMark
from irchroma.engines.gpu.cuda.driver import CudaGraph
from irchroma.engines.gpu.device import DeviceArray, DeviceNetwork, Mark
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.gpu.plans.execution import PlanExecution

if TYPE_CHECKING:
    from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice


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
        """See `WorkQueue`."""
        part = array.part(0, (host.size,), np.uint8)
        with self._device.current() as pycuda:
            pycuda.memcpy_htod_async(part.address, host, self._cuda_stream)

    def download(self, array: DeviceArray, host: NDArray[np.uint8]) -> None:
        """See `WorkQueue`."""
        with self._device.current() as pycuda:
            pycuda.memcpy_dtoh_async(host[: array.nbytes], array.address, self._cuda_stream)

    def launch(self, work: Launch) -> None:
        """See `WorkQueue`."""
        with self._device.current():
            self._device.kernels().launch(work, self.handle)

    def infer(self, network: DeviceNetwork) -> None:
        """See `WorkQueue`."""
        with self._device.current():
            own = cast(PlanExecution, network)
            if self._recording:
                own.check_recordable()
            else:
                own.ask_recordable(self.handle)
            own.enqueue(self.handle)

    def record(self, mark: Mark) -> None:
        """See `WorkQueue`."""
        with self._device.current():
            cast(EventMark, mark).event.record(self._cuda_stream)

    def wait(self, mark: Mark) -> None:
        """See `WorkQueue`."""
        with self._device.current():
            self._cuda_stream.wait_for_event(cast(EventMark, mark).event)

    def capture(self, work: Callable[[], None]) -> Any:
        """See `WorkQueue`."""
        with self._device.current():
            self._recording = True
            try:
                made = self._device.capture(self.handle, work)
            finally:
                self._recording = False
        self._graphs.append(made)
        return made

    def replay(self, recorded: Any) -> None:
        """See `WorkQueue`."""
        with self._device.current():
            recorded.launch(self.handle)

    def close(self) -> None:
        """See `WorkQueue`."""
        cuda_stream, self._cuda_stream = self._cuda_stream, None
        if cuda_stream is None:
            return
        with self._device.current():
            cuda_stream.synchronize()
            while self._graphs:
                self._graphs.pop().close()
            del cuda_stream

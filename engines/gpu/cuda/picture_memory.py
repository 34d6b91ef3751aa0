"""Memory of a CUDA device for pictures that somebody else reads, an encoder: it outlives whoever colors.

It retains the device's primary context itself, and takes and copies with a stream of its own. PyCUDA and
torch give up their memory with the device that they belong to; a picture may be in an encoder's hands for
longer.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.cuda.context import note_lost
from irchroma.engines.gpu.cuda.driver import CudaDriver
from irchroma.engines.gpu.device import DeviceArray

log = logging.getLogger(__name__)


class CudaPictures:
    """A `PictureMemory` by the driver alone."""

    def __init__(self, index: int = 0, driver: CudaDriver | None = None) -> None:
        """Retain the device's primary context.

        Args:
            index: of the device.
            driver: None for this machine's.

        Raises:
            EngineError: there is no such device, or it fails.
        """
        self.index = index
        self._driver = driver or CudaDriver()
        self._lock = threading.Lock()  # of the stream: two threads would wait for each other's copies
        self.context = self._driver.retain_primary(index)
        self._stream = 0
        try:
            with self._current():
                self._stream = self._driver.make_stream()
        except BaseException:
            self._driver.release_primary(index)
            raise

    def allocate(self, nbytes: int) -> DeviceArray:
        address = ctypes.c_uint64()
        with self._current():
            self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(nbytes))
        return DeviceArray(address.value, (nbytes,), np.dtype(np.uint8), self)

    def free(self, array: DeviceArray) -> None:
        with self._current():
            self._driver.call("cuMemFree_v2", ctypes.c_uint64(array.address))

    def read(self, array: DeviceArray) -> NDArray[np.uint8]:
        host = np.empty(array.nbytes, np.uint8)
        with self._copying():
            self._driver.copy_out(host.ctypes.data, array.address, host.size, self._stream)
        return host

    def write(self, host: NDArray[np.uint8], array: DeviceArray) -> None:
        part, given = array.part(0, (host.size,), np.uint8), np.ascontiguousarray(host)
        with self._copying():
            self._driver.copy_in(part.address, given.ctypes.data, given.size, self._stream)

    def copy(self, array: DeviceArray, to: DeviceArray) -> None:
        part = to.part(0, (array.nbytes,), np.uint8)
        with self._copying():
            self._driver.copy_within(array.address, part.address, array.nbytes, self._stream)

    def close(self) -> None:
        """See `PictureMemory`; a lost device is left as it is."""
        context, self.context = self.context, 0
        if not context:
            return
        with self._said():
            self._driver.push_context(context)
            try:
                self._driver.destroy_stream(self._stream)
            finally:
                self._driver.pop_context()
        with self._said():
            self._driver.release_primary(self.index)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What fails within is said, and what comes behind is done all the same."""
        try:
            yield
        except EngineError as error:
            log.debug("closing the pictures of GPU %d: %s", self.index, error)

    @contextmanager
    def _copying(self) -> Iterator[None]:
        """Waits for what is copied within; pinned or not, the host's memory has been read or written then."""
        with self._lock, self._current():
            yield
            self._driver.call("cuStreamSynchronize", ctypes.c_void_p(self._stream))

    @contextmanager
    def _current(self) -> Iterator[None]:
        if not self.context:
            raise EngineError("the device's pictures are closed")
        try:
            self._driver.push_context(self.context)
            try:
                yield
            finally:
                self._driver.pop_context()
        except DeviceLost as error:
            raise note_lost(self.index, error) from error

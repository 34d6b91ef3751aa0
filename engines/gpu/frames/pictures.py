"""Colored pictures that stay on the device for an encoder there, and come to the host when somebody asks.

A picture is copied out of its frame's slot within the device, as an encoder holds it for longer than a slot
may wait. Its memory goes back to the pool when the last who holds it lets go, and the pool's to the device
when that has happened to all of it after `close`.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import DeviceArray, PictureMemory
from irchroma.engines.gpu.steps.i420 import packed_bytes
from irchroma.engines.recolor.color_space import video_to_rgb

log = logging.getLogger(__name__)

MOST = 24
"""Pictures that an encoder and those in front of it may hold at once; further ones come to the host."""
_WIDTH_STEP, _HEIGHT_STEP = 16, 2  # pitches: multiples of 16 (NVENC API, NV_ENC_REGISTER_RESOURCE)

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def can_stay(size: tuple[int, int]) -> bool:
    """Whether encoders on a device take a picture of (H, W) without padding."""
    return size[0] % _HEIGHT_STEP == 0 and size[1] % _WIDTH_STEP == 0


class HeldPicture:
    """A picture in a device's memory, which is its own until it goes; not written to once it is handed out.

    Attributes:
        array: (packed_bytes,) uint8.
        size: (H, W).
    """

    format = "NV12"

    def __init__(self, pool: PicturePool, array: DeviceArray) -> None:
        self._pool, self.array, self.size = pool, array, pool.size
        weakref.finalize(self, pool.take_back, array).atexit = False

    @property
    def addresses(self) -> tuple[int, int]:
        """Of Y' and of CbCr."""
        return self.array.address, self.array.address + self.size[0] * self.size[1]

    @property
    def pitches(self) -> tuple[int, int]:
        """Bytes from row to row."""
        return self.size[1], self.size[1]

    @property
    def context(self) -> int:
        """Of the memory."""
        return self._pool.memory.context

    @property
    def index(self) -> int:
        """Of the device."""
        return self._pool.memory.index

    def rows(self, top: int, bottom: int) -> Planes:
        """Y' (h, W), Cb and Cr (h / 2, W / 2) of rows [top, bottom), both even, on the host, shared.

        Raises:
            EngineError: the device fails.
        """
        if (top, bottom) == (0, self.size[0]):
            return self._whole
        return self._fetched(top, bottom)

    @cached_property
    def _whole(self) -> Planes:
        return self._fetched(0, self.size[0])

    def _fetched(self, top: int, bottom: int) -> Planes:
        luma, chroma = (self._pool.memory.read(part) for part in self._parts(top, bottom))
        width = self.size[1]
        pairs = chroma.reshape(-1, width // 2, 2)
        return luma.reshape(-1, width), *(np.ascontiguousarray(pairs[..., one]) for one in (0, 1))  # type: ignore[return-value]

    def with_rows(self, top: int, planes: Sequence[NDArray[np.uint8]]) -> HeldPicture | None:
        """A copy on the device with other rows from `top` on; None where there is no room for one.

        Raises:
            EngineError: the device fails.
        """
        made = self._pool.take()
        if made is None:
            return None
        luma, first, second = planes
        self._pool.memory.copy(self.array, made.array)
        parts = made._parts(top, top + luma.shape[0])
        for host, part in zip((luma, np.stack([first, second], -1)), parts, strict=True):
            self._pool.memory.write(np.ascontiguousarray(host).ravel(), part)
        return made

    def _parts(self, top: int, bottom: int) -> tuple[DeviceArray, DeviceArray]:
        height, width = self.size
        return (
            self.array.part(top * width, ((bottom - top) * width,), np.uint8),
            self.array.part((height + top // 2) * width, ((bottom - top) // 2 * width,), np.uint8),
        )


class PicturePool:
    """Memory for pictures of one size. Any thread.

    Attributes:
        memory: closed by the pool with its last picture.
        size: (H, W).
        nbytes: of one.
    """

    def __init__(self, memory: PictureMemory, size: tuple[int, int], most: int = MOST) -> None:
        self.memory, self.size, self.nbytes = memory, size, packed_bytes(size)
        self._most, self._made = most, 0
        # What comes back may come from the garbage collector, in the middle of any of these methods.
        self._free: deque[DeviceArray] = deque()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def out(self) -> int:
        """Pictures that somebody holds."""
        return self._made - len(self._free)

    def take(self) -> HeldPicture | None:
        """Memory for one more picture; None where as many as may be are out, or the device has no more."""
        with self._lock:
            if self._closed:
                return None
            try:
                return HeldPicture(self, self._free.pop())
            except IndexError:
                if self._made >= self._most:
                    return None
            try:
                array = self.memory.allocate(self.nbytes)
            except EngineError as error:
                self._most = self._made
                log.warning("no more than %d pictures stay on the device: %s", self._most, error)
                return None
            self._made += 1
            return HeldPicture(self, array)

    def take_back(self, array: DeviceArray) -> None:
        """Nobody holds that picture any more. Called by whoever let go last."""
        self._free.append(array)
        if self._closed:
            self._end_with_last()

    def close(self) -> None:
        """Give out no more; the memory goes with the last picture that is out. May be called twice."""
        with self._lock:
            self._closed = True
        self._end_with_last()

    def _end_with_last(self) -> None:
        with self._lock:
            if self.out:
                return
            while self._free:
                self._made -= 1
                try:
                    self.memory.free(self._free.pop())
                except EngineError as error:
                    log.debug("a picture's memory is not given back: %s", error)
            self.memory.close()


@dataclass(frozen=True)
class PictureOnDevice:
    """A colored frame that lies on the device; made on the host only where somebody asks.

    Attributes:
        device: where.
        confidence: (h, w) uint8 at work size, 255 = sure.
    """

    device: HeldPicture
    confidence: NDArray[np.uint8] | None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.device.size

    @property
    def planes(self) -> Planes:
        """Y' (H, W), Cb and Cr (H / 2, W / 2), copied from the device once."""
        return self.device.rows(0, self.size[0])

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 R'G'B', full range, chroma of half the size."""
        return video_to_rgb(*self.planes)

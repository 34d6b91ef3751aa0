"""The search for motion on a device: two pictures in, motion into the next frame's memory, what decides back.

The host waits for it, since whether a scene was cut, whether the gain jumped and whether the network is asked
follow from it. It is in the queue of the copies in, so that it waits for no frame's network.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Device, DeviceArray, WorkQueue, Workspace
from irchroma.engines.gpu.frames.ring import FrameRing, Slot
from irchroma.engines.gpu.kernels.source import search_state_struct
from irchroma.engines.gpu.steps.motion import SQUARED_PARTS, SearchSteps, asked_block, found_block
from irchroma.engines.temporal.motion import Area, Found

Luma = NDArray[np.uint8]


class _OneByOne(FrameRing):
    """One search at a time: copies and work follow each other in a queue that is another's."""

    def __init__(self, device: Device, slot: Slot, queue: WorkQueue, graphs: bool) -> None:
        self._lent = queue
        super().__init__(device, [slot], graphs)

    def _open_queues(self, device: Device) -> tuple[WorkQueue, WorkQueue, WorkQueue]:
        return self._lent, self._lent, self._lent

    def _queues(self) -> list[WorkQueue]:
        return []


class DeviceSearch:
    """A `motion.MotionSearch` for pictures of one size; not safe for use by several threads at once."""

    def __init__(
        self,
        device: Device,
        queue: WorkQueue,
        size: tuple[int, int],
        places: Sequence[tuple[DeviceArray, DeviceArray]],
        graphs: bool = True,
    ) -> None:
        """Take the memory, put the work together.

        Args:
            device: stays the caller's.
            queue: of the device, which the calls come to in order; stays the caller's.
            size: (h, w) of the pictures, at least `motion.SMALLEST_PX`.
            places: for each frame in flight, where the motion goes: (h, w, 2) float32 and (h, w) uint8, see
                `FrameLayout`.
            graphs: record the work once it has run.

        Raises:
            EngineError: too little memory.
        """
        self._size, self._device = size, device
        self._space = Workspace(device)
        self._ring: FrameRing | None = None
        self._place = 0
        asked, found = asked_block(size), found_block(size)
        inbox = self._space.array("search.asked", (asked.nbytes,), np.uint8)
        outbox = self._space.array("search.found", (found.nbytes,), np.uint8)
        steps = SearchSteps(self._space, asked.on_device(inbox), found.on_device(outbox), size)
        self._pinned = [device.pinned(block.nbytes) for block in (asked, found)]
        self._asked, self._found = asked.on_host(self._pinned[0]), found.on_host(self._pinned[1])
        self._state = search_state_struct().from_buffer(self._asked["state"])
        slot = Slot(
            inbox=inbox,
            inbox_host=self._pinned[0],
            outbox=outbox,
            outbox_host=self._pinned[1],
            steps={_search_for(index): steps.build(*place) for index, place in enumerate(places)},
            arrived=device.make_mark(),
            worked=device.make_mark(),
            returned=device.make_mark(spins=True),
        )
        self._ring = _OneByOne(device, slot, queue, graphs)
        self._some, self._all = asked.nbytes, asked.nbytes_up_to("pictures")

    @property
    def ring(self) -> FrameRing:
        """The order of its work.

        Raises:
            EngineError: it is closed.
        """
        if self._ring is None:
            raise EngineError("the search for motion is closed")
        return self._ring

    def aim(self, place: int) -> None:
        """From now on, leave the motion in that one of the places."""
        self._place = place

    def search(
        self, previous: Luma, current: Luma, area: Area, near: Luma | None, start: tuple[float, float]
    ) -> Found:
        """See `motion.MotionSearch`; blocks until it is found.

        Raises:
            EngineError: the device has failed, or the pictures are of another size.
        """
        if current.shape != self._size or previous.shape != self._size:
            raise EngineError(f"motion is searched in pictures of {self._size}, got {current.shape}")
        ring = self.ring
        slot = ring.take()
        rows, columns = area
        self._state.area = (ctypes.c_int * 4)(columns.start, rows.start, columns.stop, rows.stop)
        self._state.all = int(near is None)
        self._state.start = (ctypes.c_float * 2)(*start)
        np.copyto(self._asked["pictures"][0], current)
        np.copyto(self._asked["pictures"][1], previous)
        if near is not None:
            np.copyto(self._asked["near"], near)
        ring.submit(slot, _search_for(self._place), self._all if near is None else self._some)
        try:
            ring.collect()
        except EngineError:
            ring.drop()  # or the next search would be refused for want of memory, and nobody told why
            raise
        found = self._found
        try:
            return Found(
                moving=found["moves"][area].copy(),
                occluded=found["occluded"][area].copy(),
                squared_px=float(found["rows"].sum(dtype=np.int64)) / SQUARED_PARTS,
                predicted=found["predicted"].copy(),
            )
        finally:
            ring.release(slot)

    def close(self) -> None:
        """Give everything back, all of it even if the device fails over some; may be called twice."""
        with ExitStack() as last_first:
            last_first.callback(self._space.close)
            while self._pinned:
                last_first.callback(self._device.unpin, self._pinned.pop())
            ring, self._ring = self._ring, None
            if ring is not None:
                last_first.callback(ring.close)


def _search_for(place: int) -> str:
    """The kind of work that leaves the motion there."""
    return f"search {place}"

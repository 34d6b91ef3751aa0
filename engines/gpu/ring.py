"""The order of work of one video on a device: slots, three queues, and recorded work once it has run warm.

A frame's copy to the device, its work and its copy back are in three queues, with marks between them, so that
the next frame's copy and the last one's copy back overlap with the work. What lies between the copies is
recorded as one graph for each slot and kind of frame. The copies stay outside of it: inside, they would be in
the order of the work and overlap with nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture_lock import RecordingPutOff
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray, DeviceNetwork, Mark, WorkQueue
from irchroma.engines.gpu.kernels.source import Launch

log = logging.getLogger(__name__)

Step = Launch | DeviceNetwork
_MOST_REFUSALS = 3
"""One may be another thread's fault, which did something that nobody may while a stream is recorded."""


@dataclass(slots=True)
class Slot:
    """Memory and work of one frame in flight.

    Attributes:
        inbox: of the device, with its host's twin.
        inbox_host: pinned.
        outbox: of the device.
        outbox_host: pinned.
        steps: kind of frame -> what is done with it.
    """

    inbox: DeviceArray
    inbox_host: NDArray[np.uint8]
    outbox: DeviceArray
    outbox_host: NDArray[np.uint8]
    steps: Mapping[str, Sequence[Step]]
    arrived: Mark
    worked: Mark
    returned: Mark
    graphs: dict[str, Any] = field(default_factory=dict)


class FrameRing:
    """Takes frames in order and gives them back in order. One thread submits, another may collect."""

    def __init__(self, device: Device, slots: Sequence[Slot], graphs: bool = True) -> None:
        """Open the queues.

        Args:
            device: of all slots.
            slots: as many frames can be in flight.
            graphs: record work once it has run.
        """
        self._slots = slots
        self._free = deque(slots)
        self._in_flight: deque[Slot] = deque()
        self._graphs = graphs
        self._refusals = 0
        self._warm: set[str] = set()
        self._inward = device.open_queue()
        self._work = device.open_queue()
        self._outward = device.open_queue()

    @property
    def in_flight(self) -> int:
        """Frames that were submitted and not yet collected."""
        return len(self._in_flight)

    @property
    def recorded(self) -> int:
        """Graphs that replace eager work by now."""
        return sum(len(slot.graphs) for slot in self._slots)

    def steps(self, kind: str) -> Sequence[Step]:
        """The work of one kind of frame, of the first slot."""
        return self._slots[0].steps[kind]

    def take(self) -> Slot:
        """A slot whose host's inbox may be written to.

        Raises:
            EngineError: all are in flight.
        """
        if not self._free:
            raise EngineError(f"more than {len(self._slots)} frames in flight: collect before you submit")
        return self._free.popleft()

    def submit(self, slot: Slot, kind: str, nbytes: int) -> None:
        """Start a frame whose host's inbox is written.

        Args:
            slot: of `take`.
            kind: key of its steps.
            nbytes: of the inbox that are needed.
        """
        try:
            self._inward.upload(slot.inbox_host[:nbytes], slot.inbox)
            self._inward.record(slot.arrived)
            self._work.wait(slot.arrived)
            self._run(self._work, slot, kind)
            self._send_back(slot)
        except Exception:
            self._free.append(slot)
            raise
        self._in_flight.append(slot)

    def collect(self) -> Slot:
        """The oldest frame in flight, its host's outbox filled; blocks until then. Give it to `release`.

        Raises:
            EngineError: nothing is in flight, or the device has failed.
        """
        if not self._in_flight:
            raise EngineError("collect without submit")
        slot = self._in_flight[0]
        slot.returned.wait()
        return self._in_flight.popleft()

    def release(self, slot: Slot) -> None:
        """The slot's memory is no longer read."""
        self._free.append(slot)

    def drop(self) -> None:
        """Forget what is in flight, once it is done; errors of it are forgotten too."""
        while self._in_flight:
            slot = self._in_flight.popleft()
            try:
                slot.returned.wait()
            except EngineError as error:
                log.debug("a dropped frame had failed: %s", error)
            self.release(slot)

    def close(self) -> None:
        """Finish and close the queues; may be called twice."""
        self._in_flight.clear()
        with ExitStack() as last_first:
            for slot in self._slots:
                for mark in (slot.arrived, slot.worked, slot.returned):
                    last_first.callback(mark.close)
            for work_queue in (self._outward, self._work, self._inward):
                last_first.callback(work_queue.close)

    def _send_back(self, slot: Slot) -> None:
        self._work.record(slot.worked)
        self._outward.wait(slot.worked)
        self._outward.download(slot.outbox, slot.outbox_host)
        self._outward.record(slot.returned)

    def _run(self, queue: WorkQueue, slot: Slot, kind: str) -> None:
        recorded = slot.graphs.get(kind)
        if recorded is None and self._graphs and kind in self._warm:
            recorded = self._record(queue, slot, kind)
        if recorded is not None:
            queue.replay(recorded)
            return
        _enqueue(queue, slot.steps[kind])
        self._warm.add(kind)  # whatever is set up at the first run has been set up

    def _record(self, queue: WorkQueue, slot: Slot, kind: str) -> Any:
        try:
            recorded = queue.capture(lambda: _enqueue(queue, slot.steps[kind]))
        except RecordingPutOff as error:
            log.debug("recorded later: %s", error)
            return None
        except CaptureRefused as error:
            self._refusals += 1
            if self._refusals == _MOST_REFUSALS:
                self._graphs = False
                log.warning("frames are not recorded as graphs, each step is started by itself: %s", error)
            return None
        slot.graphs[kind] = recorded
        return recorded


def _enqueue(queue: WorkQueue, steps: Sequence[Step]) -> None:
    for step in steps:
        if isinstance(step, Launch):
            queue.launch(step)
        else:
            queue.infer(step)

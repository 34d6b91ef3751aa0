"""The order of work of one video on a device: slots, three queues, and recorded work once it has run warm.

A frame's copy to the device, its work and its copy back are in three queues, with marks between them, so that
the next frame's copy and the last one's copy back overlap with the work. What lies between the copies is
recorded as one graph for each slot and kind of frame, in which steps that hand each other nothing lie beside
each other (`branches`). The copies stay outside of it: inside, they would be in the order of the work and
overlap with nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture.branches import BRANCHES, Step, branched, enqueue, plan_branches
from irchroma.engines.gpu.capture.capture_lock import RecordingPutOff
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray, Mark, WorkQueue
from irchroma.engines.gpu.frames.pictures import HeldPicture, PicturePool
from irchroma.engines.gpu.stages import stage

log = logging.getLogger(__name__)

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
        laid: of the device, beside `inbox`: what is laid over the frame; None for nothing.
        laid_host: pinned, its twin.
        stays: where on the device its picture is copied to; None where that comes back with the rest.
    """

    inbox: DeviceArray
    inbox_host: NDArray[np.uint8]
    outbox: DeviceArray
    outbox_host: NDArray[np.uint8]
    steps: Mapping[str, Sequence[Step]]
    arrived: Mark
    worked: Mark
    returned: Mark
    laid: DeviceArray | None = None
    laid_host: NDArray[np.uint8] | None = None
    graphs: dict[str, Any] = field(default_factory=dict)
    stays: HeldPicture | None = None


class FrameRing:
    """Takes frames in order and gives them back in order. One thread submits, another may collect."""

    def __init__(
        self,
        device: Device,
        slots: Sequence[Slot],
        graphs: bool = True,
        branches: int = BRANCHES,
        pictures: PicturePool | None = None,
    ) -> None:
        """Open the queues.

        Args:
            device: of all slots.
            slots: as many frames can be in flight.
            graphs: record work once it has run.
            branches: into how many a recording may fork.
            pictures: memory for the beginning of each outbox, which then stays on the device; None to copy it
                back with the rest.
        """
        self._device, self._slots = device, slots
        self._pictures = pictures
        self._most_branches = branches
        self._free = deque(slots)
        self._in_flight: deque[Slot] = deque()
        self._graphs = graphs
        self._refusals = 0
        # Of each thread: cuDNN's handle and torch's choice of its kernels are a thread's own, and whatever is
        # set up while a stream is recorded spoils the recording. Engines are prepared in other threads than
        # used.
        self._warm = threading.local()
        self._inward, self._work, self._outward = self._open_queues(device)

    def _open_queues(self, device: Device) -> tuple[WorkQueue, WorkQueue, WorkQueue]:
        """For copies in, work and copies back."""
        return device.open_queue(), device.open_queue(), device.open_queue()

    @property
    def recorded(self) -> int:
        """Graphs that replace eager work by now."""
        return sum(len(slot.graphs) for slot in self._slots)

    @property
    def inward(self) -> WorkQueue:
        """Where the next frame's work begins; for the thread that submits."""
        return self._inward

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

    def submit(self, slot: Slot, kind: str, nbytes: int, laid_nbytes: int = 0) -> None:
        """Start a frame whose host's inbox is written.

        Args:
            slot: of `take`.
            kind: key of its steps.
            nbytes: of the inbox that are needed.
            laid_nbytes: of what is laid over it that are others than last time.
        """
        try:
            with stage(kind), self._device.current():
                send(self._inward, slot, nbytes, laid_nbytes)
                if self._inward is not self._work:
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
        with stage("wait"):
            slot.returned.wait()
        return self._in_flight.popleft()

    def release(self, slot: Slot) -> None:
        """The slot's memory is no longer read."""
        slot.stays = None
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
            last_first.callback(self._let_go)  # when nothing is copied to them any more
            for slot in self._slots:
                for mark in (slot.arrived, slot.worked, slot.returned):
                    last_first.callback(mark.close)
            for work_queue in self._queues():
                last_first.callback(work_queue.close)

    def _let_go(self) -> None:
        for slot in self._slots:
            slot.stays = None

    def _queues(self) -> list[WorkQueue]:
        """Those that are this ring's own."""
        return list({id(one): one for one in (self._outward, self._work, self._inward)}.values())

    def _send_back(self, slot: Slot) -> None:
        if self._outward is not self._work:
            self._work.record(slot.worked)
            self._outward.wait(slot.worked)
        slot.stays = self._pictures.take() if self._pictures is not None else None
        first = 0
        if slot.stays is not None:
            first = slot.stays.array.nbytes
            self._outward.copy(slot.outbox.part(0, (first,), np.uint8), slot.stays.array)
        rest = slot.outbox.part(first, (slot.outbox.nbytes - first,), np.uint8)
        self._outward.download(rest, slot.outbox_host[first:])
        self._outward.record(slot.returned)

    def _run(self, queue: WorkQueue, slot: Slot, kind: str) -> None:
        recorded = slot.graphs.get(kind)
        warm: set[str] = self._warm.__dict__.setdefault("kinds", set())
        if recorded is None and self._graphs and kind in warm:
            recorded = self._record(queue, slot, kind)
        if recorded is not None:
            queue.replay(recorded)
            return
        enqueue(queue, slot.steps[kind])
        warm.add(kind)  # whatever is set up at the first run has been set up

    def _record(self, queue: WorkQueue, slot: Slot, kind: str) -> Any:
        plan = plan_branches(slot.steps[kind], self._most_branches)
        try:
            with branched(self._device, queue, plan) as work:
                recorded = queue.capture(work)
        except RecordingPutOff as error:
            log.debug("recorded later: %s", error)
            return None
        except CaptureRefused as error:
            if plan.branches > 1:  # perhaps it is they that cannot be recorded
                self._most_branches = 1
                log.warning("frames are not recorded in %d branches: %s", plan.branches, error)
                return None
            self._refusals += 1
            if self._refusals == _MOST_REFUSALS:
                self._graphs = False
                log.warning("frames are not recorded as graphs, each step is started by itself: %s", error)
            return None
        slot.graphs[kind] = recorded
        return recorded


def send(queue: WorkQueue, slot: Slot, nbytes: int, laid_nbytes: int) -> None:
    """Copy what the host has written of a frame to the device."""
    queue.upload(slot.inbox_host[:nbytes], slot.inbox)
    if laid_nbytes and slot.laid is not None and slot.laid_host is not None:
        queue.upload(slot.laid_host[:laid_nbytes], slot.laid)

"""The order of work of one video on a device: slots, three queues, and recorded work once it has run warm.

A frame's copy to the device, its work and its copy back are in three queues, with marks between them, so that
the next frame's copy and the last one's copy back overlap with the work. What lies between the copies is
recorded as one graph for each slot and kind of frame, in which steps that hand each other nothing lie beside
each other (`branches`). The copies stay outside of it: inside, they would be in the order of the work and
overlap with nothing.

The order of work of one video whose network is shared with others, see `batching`.

Two queues instead of three: what comes before the network and what comes after it are apart, each with its
copy, since the second half of one frame may wait for a batch while the first half of the next runs. Second
halves are put
into their queue in the order of the frames, by whichever thread comes last: the one that submits, or that of
the batches.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture.branches import BRANCHES, Step, branched, enqueue, plan_branches
from irchroma.engines.gpu.capture.capture_lock import RecordingPutOff
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray, Mark, WorkQueue
from irchroma.engines.gpu.frames.batching import BatchedFrame, BatchSeat
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
                _send(self._inward, slot, nbytes, laid_nbytes)
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


def _send(queue: WorkQueue, slot: Slot, nbytes: int, laid_nbytes: int) -> None:
    queue.upload(slot.inbox_host[:nbytes], slot.inbox)
    if laid_nbytes and slot.laid is not None and slot.laid_host is not None:
        queue.upload(slot.laid_host[:laid_nbytes], slot.laid)


LOOK, AFTER = "look", "after"
"""Kinds of work of a slot: before the network and after it."""
LONGEST_WAIT_S = 60.0


@dataclass(slots=True, eq=False)
class _Tail:
    """The second half of one frame."""

    slot: Slot
    ready: bool = False
    batch: Mark | None = None
    failure: Exception | None = None
    enqueued: threading.Event = field(default_factory=threading.Event)


class BatchedRing(FrameRing):
    """A `FrameRing` whose slots have the work LOOK and AFTER."""

    def __init__(
        self,
        device: Device,
        slots: Sequence[Slot],
        seat: BatchSeat,
        frames: Mapping[int, BatchedFrame],
        graphs: bool = True,
        branches: int = BRANCHES,
        pictures: PicturePool | None = None,
    ) -> None:
        """Open the queues.

        Args:
            device: of all slots.
            slots: as many frames can be in flight.
            seat: where the network is.
            frames: a slot's id -> its memory around the network.
            graphs: record work once it has run.
            branches, pictures: see `FrameRing`.
        """
        super().__init__(device, slots, graphs, branches, pictures)
        self._seat = seat
        self._frames = frames
        self._look = self._inward
        self._tails: deque[_Tail] = deque()
        self._order = threading.Lock()
        self._waited: deque[_Tail] = deque()

    def submit(self, slot: Slot, kind: str, nbytes: int, laid_nbytes: int = 0) -> None:
        """See `FrameRing.submit`; with LOOK the network is not asked, with AFTER it is."""
        frame, tail = self._frames[id(slot)], _Tail(slot)
        try:
            with stage(LOOK), self._device.current():
                _send(self._look, slot, nbytes, laid_nbytes)
                self._run(self._look, slot, LOOK)
                self._look.record(frame.looked)
        except Exception:
            self._free.append(slot)
            raise
        with self._order:
            self._tails.append(tail)
        self._waited.append(tail)
        self._in_flight.append(slot)
        if kind == AFTER:
            self._seat.ask(frame, partial(self._go_on, tail))
        else:
            self._go_on(tail, None, None)

    def collect(self) -> Slot:
        """See `FrameRing.collect`."""
        if not self._in_flight:
            raise EngineError("collect without submit")
        try:
            _wait_for(self._waited[0])
            slot = super().collect()
        except EngineError:
            self._seat.report()
            raise
        self._waited.popleft()
        return slot

    def drop(self) -> None:
        """See `FrameRing.drop`."""
        for tail in self._waited:
            tail.enqueued.wait(LONGEST_WAIT_S)
        self._waited.clear()
        super().drop()

    def close(self) -> None:
        """See `FrameRing.close`; the seat stays open."""
        self._seat.withdraw()
        self._waited.clear()
        super().close()

    def _open_queues(self, device: Device) -> tuple[WorkQueue, WorkQueue, WorkQueue]:
        """Two: copies lie with the half of the work that they belong to.

        They overlap with the other cameras' work; and a device has 32 hardware connections at the most for
        the streams of a process (CUDA_DEVICE_MAX_CONNECTIONS), beyond which one camera's waiting stream holds
        up another's.
        """
        look, after = device.open_queue(), device.open_queue()
        return look, after, after

    def _go_on(self, tail: _Tail, batch: Mark | None, failure: Exception | None) -> None:
        with self._order:
            tail.ready, tail.batch, tail.failure = True, batch, failure
            while self._tails and self._tails[0].ready:
                first = self._tails.popleft()
                try:
                    self._finish(first)
                except Exception as error:  # noqa: BLE001 (told by the thread that collects)
                    first.failure = error
                first.enqueued.set()

    def _finish(self, tail: _Tail) -> None:
        if tail.failure is not None:
            return
        slot = tail.slot
        with stage(AFTER), self._device.current():
            self._work.wait(self._frames[id(slot)].looked)
            if tail.batch is not None:
                self._work.wait(tail.batch)
            self._run(self._work, slot, AFTER)
            self._send_back(slot)


def _wait_for(tail: _Tail) -> None:
    if not tail.enqueued.wait(LONGEST_WAIT_S):
        raise EngineError(f"the network was not asked for {LONGEST_WAIT_S:g} seconds")
    if tail.failure is not None:
        raise EngineError(str(tail.failure)) from tail.failure

"""The order of work of one video whose network is shared with others, see `batching`.

Two queues instead of the three of `ring`: what comes before the network and what comes after it are apart,
each with its copy, since the second half of one frame may wait for a batch while the first half of the next
runs. Second halves are put into their queue in the order of the frames, by whichever thread comes last: the
one that submits, or that of the batches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture.branches import BRANCHES
from irchroma.engines.gpu.device import Device, Mark, WorkQueue
from irchroma.engines.gpu.frames.batching import BatchedFrame, BatchSeat
from irchroma.engines.gpu.frames.pictures import PicturePool
from irchroma.engines.gpu.frames.ring import FrameRing, Slot, send
from irchroma.engines.gpu.stages import stage

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
            device, slots, graphs, branches, pictures: see `FrameRing`.
            seat: where the network is.
            frames: a slot's id -> its memory around the network.
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
                send(self._look, slot, nbytes, laid_nbytes)
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
    failure = tail.failure
    if failure is not None:
        # Anew, since one may be several cameras'; of its kind, or nobody knows a device that is lost by it.
        kind = type(failure) if isinstance(failure, EngineError) else EngineError
        raise kind(str(failure)) from failure

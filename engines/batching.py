"""One network for several cameras: their frames share calls where that pays, and none waits for long."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from irchroma.engines.batch_options import BatchOptions
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.network import Network, Tensor
from irchroma.engines.turns import Turns


@dataclass(slots=True, eq=False)
class _Request:
    """One camera's call on its way."""

    luma: Tensor
    asked_s: float
    answer: Future[tuple[Tensor, Tensor]] = field(default_factory=Future)


class SharedNetwork:
    """Answers the calls of several seats by one network, oldest first.

    A seat has at most one frame waiting, as its caller waits with it: a camera that has just been served
    queues up behind all others, so a fast one cannot starve a slow one. The oldest frame takes those
    of its size along, up to the batch's size, and waits for company only while some other camera's next
    frame is due before the deadline.

    Attributes:
        calls, frames: what the network has done so far.
        waited_s, longest_wait_s: what frames have waited for company and for their turn, all and at most.
        most_seats: how many callers there have been at once.
        failed: the network threw an error; it serves on, but whoever comes new wants another.
    """

    def __init__(
        self, network: Network, options: BatchOptions | None = None, turns: Turns | None = None
    ) -> None:
        """Take a network over, which is closed with the last seat.

        Args:
            network: an open one.
            options: how calls are shared.
            turns: limits the calls that run at once, of this network and others; None for its lanes only.
        """
        self._turns = turns or Turns(network.lanes)
        self._network, options = network, options or BatchOptions()
        self.batch_frames = options.frames or network.best_batch
        self._wait_s = options.wait_ms / 1e3 if self.batch_frames > 1 else 0.0
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._seats: set[NetworkSeat] = set()
        self._closed = False
        self.failed = False
        self.calls = self.frames = self.most_seats = 0
        self.waited_s = self.longest_wait_s = 0.0
        self._workers = [
            threading.Thread(target=self._work, name=f"network lane {lane + 1}", daemon=True)
            for lane in range(network.lanes)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def name(self) -> str:
        """The network's."""
        return self._network.name

    @property
    def closed(self) -> bool:
        """True once its last seat has left."""
        return self._closed

    @property
    def seats(self) -> int:
        """How many callers share the network now."""
        return len(self._seats)

    def seat(self) -> NetworkSeat | None:
        """One more caller; None where the last one has just closed the network."""
        with self._changed:
            if self._closed:
                return None
            seat = NetworkSeat(self)
            self._seats.add(seat)
            self.most_seats = max(self.most_seats, len(self._seats))
            return seat

    def leave(self, seat: NetworkSeat) -> None:
        """One caller less; the network is closed with its last one."""
        with self._changed:
            self._seats.discard(seat)
            if self._seats or self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        for request in self._waiting:
            request.answer.set_exception(EngineUnavailable("the network was closed"))
        self._network.close()

    def ask(self, seat: NetworkSeat, luma: Tensor) -> tuple[Tensor, Tensor]:
        """Answer one call; blocks until done. Raises EngineError with the network's reason."""
        request = _Request(luma, time.monotonic())
        with self._changed:
            if self._closed or seat not in self._seats:
                raise EngineUnavailable("the network is closed")
            seat.note_call(luma.shape[1:], request.asked_s)
            self._waiting.append(request)
            self._changed.notify_all()
        try:
            return request.answer.result()
        except EngineError:
            raise
        except Exception as error:  # one error for several threads: each raises its own
            raise EngineError(f"{self.name}: {error}") from error

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                lumas = [request.luma for request in batch]
                luma = np.concatenate(lumas) if len(lumas) > 1 else lumas[0]
                with self._turns.turn():
                    self._note_waits(batch)
                    ycc, confidence = self._network.infer(luma)
                first = 0
                for request in batch:
                    after = first + len(request.luma)
                    # The network's arrays are good until the next call only.
                    request.answer.set_result((ycc[first:after].copy(), confidence[first:after].copy()))
                    first = after
                with self._changed:
                    self.calls += 1
                    self.frames += first
            except Exception as error:  # noqa: BLE001 (each caller gets it and decides)
                self.failed = True
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(_own_copy(error))

    def _note_waits(self, batch: list[_Request]) -> None:
        now_s = time.monotonic()
        with self._changed:
            for request in batch:
                self.waited_s += now_s - request.asked_s
                self.longest_wait_s = max(self.longest_wait_s, now_s - request.asked_s)

    def _next_batch(self) -> list[_Request]:
        """Blocks until there is something to do; empty at the end."""
        with self._changed:
            while not self._closed:
                if not self._waiting:
                    self._changed.wait()
                    continue
                batch = self._company_of(self._waiting[0])
                left_s = self._worth_waiting_s(batch)
                if left_s > 0:
                    self._changed.wait(left_s)
                    continue
                for request in batch:
                    self._waiting.remove(request)
                return batch
        return []

    def _company_of(self, oldest: _Request) -> list[_Request]:
        batch, frames = [oldest], len(oldest.luma)
        for request in self._waiting:
            fits = frames + len(request.luma) <= self.batch_frames
            if request is not oldest and fits and request.luma.shape[1:] == oldest.luma.shape[1:]:
                batch.append(request)
                frames += len(request.luma)
        return batch

    def _worth_waiting_s(self, batch: list[_Request]) -> float:
        """Seconds until the oldest frame's deadline; 0 where the batch is full or nobody else is due."""
        oldest = batch[0]
        deadline_s = oldest.asked_s + self._wait_s
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or sum(len(request.luma) for request in batch) >= self.batch_frames:
            return 0.0
        shape = oldest.luma.shape[1:]
        others = sum(seat.is_due(shape, oldest.asked_s, deadline_s) for seat in self._seats)
        return left_s if others else 0.0


class NetworkSeat:
    """One caller's place at a `SharedNetwork`; itself a `Network`."""

    lanes, best_batch = 1, 1

    def __init__(self, shared: SharedNetwork) -> None:
        self._shared = shared
        self._shape: tuple[int, ...] = ()
        self._asked_s = 0.0
        self._period_s = float("inf")

    @property
    def name(self) -> str:
        """The shared network's."""
        return self._shared.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network.infer`; the arrays are the caller's to keep."""
        return self._shared.ask(self, luma)

    def close(self) -> None:
        """Leave; the others are not disturbed."""
        self._shared.leave(self)

    def note_call(self, shape: tuple[int, ...], now_s: float) -> None:
        """Remember how often frames of which (1, H, W) come."""
        self._period_s = now_s - self._asked_s if shape == self._shape else float("inf")
        self._shape, self._asked_s = shape, now_s

    def is_due(self, shape: tuple[int, ...], after_s: float, before_s: float) -> bool:
        """True where the next frame, of that shape, is expected before the deadline."""
        if self._shape != shape or self._asked_s >= after_s:
            return False
        due_s = self._asked_s + self._period_s
        # A camera that has been silent for a whole period more is not waited for.
        return after_s - self._period_s < due_s <= before_s


def _own_copy(error: Exception) -> Exception:
    """The error once more, for one of several threads: raising an exception writes to it."""
    try:
        copy = type(error)(*error.args)
    except Exception:  # noqa: BLE001 (an error that cannot be made again is passed on as a line)
        copy = EngineError(str(error))
    copy.__cause__ = error
    return copy

"""One network for several cameras: their frames share calls where that pays, and none waits for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.network.line import BatchLine, BatchOptions
from irchroma.engines.network.network import Network, NetworkOptions, Tensor, open_network
from irchroma.engines.network.rewriting.early import KnowsEarly
from irchroma.engines.processor import Turns, make_nice, usable_cores

log = logging.getLogger(__name__)

_LEAVE_S = 10.0  # for a call that is under way when the last camera leaves
OPENS_WITHIN_S = 600.0
"""A plan takes minutes to build; who waits for longer is told, and asks again."""
_SILENT_S = 3.0  # after which a camera that tells nothing is not there


@dataclass(slots=True, eq=False)
class _Request:
    """One camera's call on its way."""

    luma: Tensor
    asked_s: float
    early: bool = False
    answer: Future[tuple[Tensor, ...]] = field(default_factory=Future)


class SharedNetwork:
    """Answers the calls of several seats by one network, in the order of `batch_line`.

    A seat has at most one frame waiting, as its caller waits with it.

    Attributes:
        calls, frames: what the network has done so far.
        most_seats: how many callers there have been at once.
        failed: the network threw an error; it serves on, but whoever comes new wants another.
        knows_early: the network, where it tells what its first layers know.
    """

    def __init__(
        self,
        network: Network,
        options: BatchOptions | None = None,
        turns: Turns | None = None,
        beside: bool = False,
    ) -> None:
        """Take a network over, which is closed with the last seat.

        Args:
            network: an open one.
            options: how calls are shared.
            turns: limits the calls that run at once, of this network and others; None for its lanes only.
            beside: calls give way to everything else, see `make_nice`.
        """
        self._turns, self._beside = turns or Turns(network.lanes), beside
        self._network, options = network, options or BatchOptions()
        self.knows_early = network if isinstance(network, KnowsEarly) else None
        self.batch_frames = options.frames or network.best_batch
        self.line = BatchLine[_Request](options.wait_ms / 1e3, self.batch_frames)
        self._changed = threading.Lock()
        self._seats: set[NetworkSeat] = set()
        self._closed = False
        self.failed = False
        self.calls = self.frames = self.most_seats = 0
        self._workers = [
            threading.Thread(target=self._work, name=f"network lane {lane + 1}", daemon=True)
            for lane in range(network.lanes)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def name(self) -> str:
        return self._network.name

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
            last = not self._seats and not self._closed
            self._closed = self._closed or last
        for request in self.line.withdraw(seat):
            request.answer.set_exception(EngineUnavailable("the network was closed"))
        if not last:
            return
        self.line.close()
        deadline_s = time.monotonic() + _LEAVE_S
        for worker in self._workers:
            worker.join(max(0.0, deadline_s - time.monotonic()))
        for request in self.line.rest():
            request.answer.set_exception(EngineUnavailable("the network was closed"))
        if any(worker.is_alive() for worker in self._workers):
            log.warning("%s hangs and is left behind", self.name)
            return
        self._network.close()

    def ask(self, seat: NetworkSeat, luma: Tensor, early: bool = False) -> tuple[Tensor, ...]:
        """Answer one call, `early` as `KnowsEarly.infer_early` does; blocks until done. Raises EngineError
        with the network's reason."""
        request = _Request(luma, time.monotonic(), early)
        with self._changed:
            here = not self._closed and seat in self._seats
        if not here or not self.line.put(seat, request, luma.shape[1:], len(luma)):
            raise EngineUnavailable("the network is closed")
        try:
            return request.answer.result()
        except EngineError:
            raise
        except Exception as error:  # one error for several threads: each raises its own
            raise EngineError(f"{self.name}: {error}") from error

    def _work(self) -> None:
        if self._beside:
            make_nice()
        while batch := self.line.take():
            try:
                lumas = [request.luma for request in batch]
                luma = np.concatenate(lumas) if len(lumas) > 1 else lumas[0]
                with self._turns.turn():
                    now_s = time.monotonic()
                    self.line.note_waits([now_s - request.asked_s for request in batch])
                    answer = self._answer(luma, any(request.early for request in batch))
                first = 0
                for request in batch:
                    after = first + len(request.luma)
                    # The network's arrays are good until the next call only.
                    request.answer.set_result(tuple(part[first:after].copy() for part in answer))
                    first = after
                with self._changed:
                    self.calls += 1
                    self.frames += first
            except Exception as error:  # noqa: BLE001 (each caller gets it and decides)
                self.failed = True
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(_own_copy(error))

    def _answer(self, luma: Tensor, early: bool) -> tuple[Tensor, ...]:
        if not early:
            return self._network.infer(luma)
        if self.knows_early is None:
            raise EngineError(f"{self.name} does not tell what its first layers know")
        return self.knows_early.infer_early(luma)


class NetworkSeat(KnowsEarly):
    """One caller's place at a `SharedNetwork`; itself a `Network`."""

    lanes, best_batch = 1, 1

    def __init__(self, shared: SharedNetwork) -> None:
        self._shared = shared

    @property
    def name(self) -> str:
        return self._shared.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """See `Network.infer`; the arrays are the caller's to keep."""
        ycc, confidence, *_ = self._shared.ask(self, luma)
        return ycc, confidence

    def first_layers(self) -> list[Tensor]:
        network = self._shared.knows_early
        return network.first_layers() if network is not None else []

    def infer_early(self, luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `KnowsEarly`; the arrays are the caller's to keep."""
        ycc, confidence, early = self._shared.ask(self, luma, early=True)
        return ycc, confidence, early

    def prepare_early(self, shape: tuple[int, ...]) -> None:
        if (network := self._shared.knows_early) is not None:
            network.prepare_early(shape)

    def abandon(self) -> None:
        """The network hangs: whoever comes new gets another one."""
        self._shared.failed = True

    def close(self) -> None:
        """Leave; the others are not disturbed."""
        self._shared.leave(self)


def _own_copy(error: Exception) -> Exception:
    """The error once more, for one of several threads: raising an exception writes to it."""
    try:
        copy = type(error)(*error.args)
    except Exception:  # noqa: BLE001 (an error that cannot be made again is passed on as a line)
        copy = EngineError(str(error))
    copy.__cause__ = error
    return copy


class Shareable(Protocol):
    """What several cameras have seats at: a `SharedNetwork`, or a batcher on a device."""

    failed: bool
    calls: int
    frames: int
    most_seats: int
    batch_frames: int

    @property
    def line(self) -> BatchLine[Any]:
        """Where frames wait."""

    @property
    def name(self) -> str:
        """The network's."""

    @property
    def seats(self) -> int:
        """How many cameras there are now."""

    def seat(self) -> Any:
        """One more; None where the last one has just closed it."""


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What cameras must have in common to share a network.

    Attributes:
        weights: the ONNX file.
        device: a GPU's runtime and index; None for the CPU.
        wanted: everything else: options, size of the input.
    """

    weights: Path
    device: tuple[str, int] | None
    wanted: Hashable


class SharedPool:
    """The networks of one process, on the CPU and on GPUs, each opened once for all cameras that want it.

    A lock for each key: who wants a network that is being opened waits for it (a plan may take minutes to
    build), and who wants another one does not. An opening that fails, or a network that has failed at work,
    is opened anew for whoever asks next.

    Args:
        options: how calls are shared.
        cameras: how many there will be.
        beside: frames do not wait for a network on the CPU, whose calls then give way to everything else.
    """

    def __init__(self, options: BatchOptions | None = None, cameras: int = 1, beside: bool = False) -> None:
        self.options, self.cameras, self.beside = options or BatchOptions(), cameras, beside
        self.turns = Turns(usable_cores())
        self._lock = threading.Lock()
        self._opening: dict[PoolKey, threading.Lock] = {}
        self._networks: dict[PoolKey, Shareable] = {}
        self._done: set[str] = set()
        self._doing: dict[object, tuple[float, Hashable]] = {}

    def first_to(self, what: str) -> bool:
        """Whether a camera is the first to ask for this, which one of them does for all."""
        with self._lock:
            first = what not in self._done
            self._done.add(what)
        return first

    def alike(self, who: object, does: Hashable, now_s: float) -> bool:
        """Whether all of the cameras do the same by now.

        Args:
            who: one of them, which tells it at every frame.
            does: what it does.
            now_s: on a steady clock of all, seconds; who has told nothing for long is not there.
        """
        with self._lock:
            self._doing[who] = now_s, does
            self._doing = {one: told for one, told in self._doing.items() if now_s - told[0] < _SILENT_S}
            return len(self._doing) == self.cameras and {does} == {told[1] for told in self._doing.values()}

    def seat(self, key: PoolKey, open_shared: Callable[[], Shareable]) -> Any:
        """A seat at the network of that key, which is opened where there is none that works.

        Raises:
            EngineError: what `open_shared` raises; or another has been opening it for so long that it hangs.
        """
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        if not opening.acquire(timeout=OPENS_WITHIN_S):
            raise EngineError(
                f"{key.weights.stem} is still being opened for another camera after {OPENS_WITHIN_S:g} s"
            )
        try:
            with self._lock:
                shared = self._networks.get(key)
            seat = shared.seat() if shared is not None and not shared.failed else None
            if seat is None:
                shared = open_shared()
                seat = shared.seat()
                with self._lock:
                    self._networks[key] = shared
            return seat
        finally:
            opening.release()

    def open(self, path: Path, options: NetworkOptions | None = None) -> NetworkSeat:
        """A seat at the network at `path` on the CPU; close the seat.

        The network's CPU threads are divided into as many lanes as there are cameras, at most one for each
        core: two calls side by side on one thread each need a tenth to a third less CPU time than two calls
        in turn on two threads each (measured on two cores), and the cameras together never have more threads
        at work than there are cores.

        Raises:
            EngineUnavailable, EngineOptionError: as `open_network`.
        """
        wanted = options or NetworkOptions()

        def open_shared() -> SharedNetwork:
            network = open_network(path, self._with_lanes(wanted))
            shared = SharedNetwork(network, self.options, self.turns, self.beside)
            if self.cameras > 1:
                calls, frames = network.lanes, shared.batch_frames
                log.info(
                    "%s on %s: one network for its cameras, %s, %s",
                    path.stem,
                    shared.name,
                    f"{calls} calls at once" if calls > 1 else "one call at a time",
                    f"up to {frames} frames in each"
                    if frames > 1
                    else "one frame in each, as batches pay not",
                )
            return shared

        seat: NetworkSeat = self.seat(PoolKey(path.resolve(), None, wanted), open_shared)
        return seat

    def figures(self) -> list[dict[str, Any]]:
        """Of each network: what it is, its cameras now and at most, calls, frames and their waits so far."""
        with self._lock:
            networks = list(self._networks.items())
        return [
            {
                "network": key.weights.stem,
                "runtime": shared.name,
                **({} if key.device is None else {"device": key.device[1]}),
                "cameras": shared.seats,
                "most_cameras": shared.most_seats,
                "frames": shared.frames,
                "calls": shared.calls,
                "largest_batch": shared.batch_frames,
                "wait_avg_ms": round(1e3 * shared.line.waited_s / max(shared.frames, 1), 3),
                "wait_max_ms": round(1e3 * shared.line.longest_wait_s, 3),
            }
            for key, shared in networks
        ]

    def _with_lanes(self, options: NetworkOptions) -> NetworkOptions:
        if options.lanes:
            return options
        threads = options.threads or usable_cores()
        return replace(options, threads=threads, lanes=max(1, min(self.cameras, threads)))

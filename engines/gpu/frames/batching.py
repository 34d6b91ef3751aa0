"""One network on a device for several cameras: their frames go through it in batches.

The design. Each camera keeps memory, queues and recorded work of its own for all that comes before the
network (shrinking, gain) and after it (color memory, recoloring, copy back). Between the two, its frame
stands in a `BatchLine`, whose rules are those of the CPU's shared networks. One thread takes the next batch
from the line and puts into one queue: a wait for each frame's first half; a kernel for each frame that writes
the network's input into the frame's place of the batch, so that the batch lies in one piece without any
copying; the network, for the smallest of a few fixed batches that holds the frames; a kernel for each frame
that fetches its part of the output. Then it lets each camera go on, whose second half waits on the device for
the batch, not on the host.

Batches are of 1, 2, 4 and 8 frames, each opened, run once and recorded beforehand, with memory of its own for
input and output, and memory to compute in that they take in turns: nothing is set up while videos run, and
no shape changes under recorded work. Places of a batch that no frame fills are computed and not looked at.
At most two batches are in the device's queue; while it is busy, frames gather in the line, where they can
still be put together.

Over the CPU device its pictures are those of unbatched work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.gpu.capture.capture_lock import RecordingPutOff
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray, DeviceNetwork, Mark
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.gpu.stages import stage
from irchroma.engines.gpu.steps.temporal import input_step, output_step, place_of
from irchroma.engines.network.line import BatchLine, BatchOptions
from irchroma.engines.network.sharing import PoolKey, SharedPool

log = logging.getLogger(__name__)

BATCHES = (1, 2, 4, 8)
"""Frames of one call: on a GPU a small network gains little beyond the largest of them."""
_IN_QUEUE = 2
GoOn = Callable[[Mark | None, Exception | None], None]
"""See `DeviceBatcher.ask`."""


@dataclass(slots=True, eq=False)
class BatchedFrame:
    """A camera's memory that a batch reads and writes; one for each of its slots.

    Attributes:
        small: (h, w) uint8, as the network is to see it.
        news: (4, h, w) float32, written: Y', Cb, Cr and confidence.
        fades: chroma fades out in the dark.
        looked: `small` is there once this has been passed.
    """

    small: DeviceArray
    news: DeviceArray
    fades: bool
    looked: Mark
    steps: dict[tuple[int, int], tuple[Launch, Launch]] = field(default_factory=dict)

    def at(self, frames: int, place: int, network: DeviceNetwork) -> tuple[Launch, Launch]:
        """How it gets into that place of a batch of so many frames, and out of it."""
        found = self.steps.get((frames, place))
        if found is None:
            tensors = place_of(network, place)
            found = (input_step(self.small, tensors), output_step(tensors, self.small, self.news, self.fades))
            self.steps[frames, place] = found
        return found


class BatchSeat:
    """One camera's place at a `DeviceBatcher`.

    Attributes:
        under_way: its frames that have not been answered.
    """

    def __init__(self, batcher: DeviceBatcher) -> None:
        self._batcher = batcher
        self.under_way = 0

    @property
    def name(self) -> str:
        return self._batcher.name

    def ask(self, frame: BatchedFrame, go_on: GoOn) -> None:
        self._batcher.ask(self, frame, go_on)

    def report(self) -> None:
        """The camera's frames fail: whoever comes new gets another network."""
        self._batcher.failed = True

    def withdraw(self) -> None:
        self._batcher.withdraw(self)

    def close(self) -> None:
        """Leave; the others are not disturbed. May be called twice."""
        self._batcher.leave(self)


@dataclass(slots=True)
class _Asked:
    seat: BatchSeat
    frame: BatchedFrame
    go_on: GoOn
    asked_s: float


class DeviceBatcher:
    """Answers several cameras' frames of one size by one network on one device.

    Attributes:
        calls, frames: what the network has done so far.
        most_seats: how many cameras there have been at once.
        failed: the device threw an error; whoever comes new wants another.
        line: where frames wait.
        batch_frames: the most of one call.
    """

    def __init__(
        self,
        open_device: Callable[[], Device],
        weights: Path,
        size: tuple[int, int],
        options: BatchOptions | None = None,
    ) -> None:
        """Open the device and the network for all batches, and run each once.

        Args:
            open_device: called once; closed with the last seat.
            weights: the float32 ONNX file.
            size: (H, W) of the network's input.
            options: how long frames wait, and how many go together.

        Raises:
            EngineError: the device does not work, or has too little memory.
        """
        options = options or BatchOptions()
        most = options.frames or BATCHES[-1]
        self.batches = (*(frames for frames in BATCHES if frames < most), most)
        self.batch_frames = most
        self.line = BatchLine[_Asked](options.wait_ms / 1e3, most)
        self.failed = False
        self.calls = self.frames = self.most_seats = 0
        self._changed = threading.Condition()
        self._seats: set[BatchSeat] = set()
        self._closed = False
        self._networks: dict[int, DeviceNetwork] = {}
        self._recorded: dict[int, Any] = {}
        self._later: set[int] = set()
        # In the thread that answers: cuDNN's handle and torch's choice of its kernels are a thread's own, see
        # `FrameRing`, and whoever opened the networks has run them in another.
        self._warm: set[int] = set()
        self._closing = ExitStack()
        device = self._device = open_device()
        self._closing.callback(device.close)
        try:
            self._queue = device.open_queue()
            self._done = [device.make_mark() for _ in range(_IN_QUEUE)]
            for mark in self._done:
                self._closing.callback(mark.close)
            for frames in reversed(self.batches):
                largest = self._networks.get(most)
                network = device.open_network(weights, size, frames, largest)
                self._networks[frames] = network
                self._closing.callback(network.close)
            self._closing.callback(self._queue.close)  # the first to be closed
            self._warm_up()
        except BaseException:
            self._closing.close()
            raise
        self._thread = threading.Thread(target=self._work, name="device batches", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return self._networks[self.batches[0]].name

    @property
    def recorded(self) -> int:
        """For how many batches the network is recorded."""
        return len(self._recorded)

    @property
    def seats(self) -> int:
        """How many cameras share the network now."""
        return len(self._seats)

    def seat(self) -> BatchSeat | None:
        """One more camera; None where the last one has just closed the network, or the device has failed."""
        with self._changed:
            if self._closed or self.failed:
                return None
            seat = BatchSeat(self)
            self._seats.add(seat)
            self.most_seats = max(self.most_seats, len(self._seats))
            return seat

    def ask(self, seat: BatchSeat, frame: BatchedFrame, go_on: GoOn) -> None:
        """Put a frame into the line; returns at once.

        Args:
            seat: whose frame.
            frame: its `looked` is recorded already.
            go_on: called once, from any thread, when the batch is in the device's queue: with the mark behind
                it, to be waited for at once, or with what went wrong.
        """
        asked = _Asked(seat, frame, go_on, time.monotonic())
        with self._changed:
            seat.under_way += 1
        if not self.line.put(seat, asked, ()):
            self._answer([asked], None, EngineUnavailable("the network is closed"))

    def withdraw(self, seat: BatchSeat) -> None:
        """Nothing of a camera's memory is touched any more on return."""
        self._answer(self.line.withdraw(seat), None, EngineUnavailable("the network was closed"))
        with self._changed:  # what has left the line is on its way into the device's queue
            self._changed.wait_for(lambda: seat.under_way == 0)
        for mark in self._done:
            try:
                mark.wait()
            except EngineError as error:
                log.debug("a batch had failed: %s", error)

    def leave(self, seat: BatchSeat) -> None:
        """One camera less; the network is closed with the last one."""
        self.withdraw(seat)
        with self._changed:
            if seat not in self._seats:
                return
            self._seats.discard(seat)
            if self._seats or self._closed:
                return
            self._closed = True
        self.line.close()
        self._thread.join()
        self._answer(self.line.rest(), None, EngineUnavailable("the network was closed"))
        self._closing.close()

    def _warm_up(self) -> None:
        for frames in self.batches:
            self._queue.infer(self._networks[frames])
            self._queue.record(self._done[0])
            self._done[0].wait()
            self._record(frames)

    def _record(self, frames: int) -> None:
        try:
            work = partial(self._queue.infer, self._networks[frames])
            self._recorded[frames] = self._queue.capture(work)
        except RecordingPutOff:
            self._later.add(frames)
        except CaptureRefused as error:
            log.warning("batches of %d are not recorded as graphs: %s", frames, error)

    def _work(self) -> None:
        turn = 0
        while True:
            done = self._done[turn % _IN_QUEUE]
            failure: Exception | None = None
            try:
                done.wait()  # of the batch before the last
            except EngineError as error:
                failure = error
            batch = self.line.take()
            if not batch:
                return
            try:
                if failure is not None:
                    raise failure
                with stage(f"batch of {len(batch)}"), self._device.current():
                    self._enqueue([asked.frame for asked in batch], done)
            except Exception as error:  # noqa: BLE001 (each camera gets it and decides)
                failure = error
                self.failed = True
            now_s = time.monotonic()
            self.line.note_waits([now_s - asked.asked_s for asked in batch])
            self._answer(batch, done, failure)
            turn += 1

    def _answer(self, batch: Sequence[_Asked], done: Mark | None, failure: Exception | None) -> None:
        for asked in batch:
            asked.go_on(None if failure else done, failure)
            with self._changed:
                asked.seat.under_way -= 1
                self._changed.notify_all()

    def _enqueue(self, batch: Sequence[BatchedFrame], done: Mark) -> None:
        frames = next(frames for frames in self.batches if frames >= len(batch))
        network = self._networks[frames]
        if frames in self._later and frames in self._warm:
            self._later.discard(frames)
            self._record(frames)
        ways = [frame.at(frames, place, network) for place, frame in enumerate(batch)]
        try:
            for frame, (way_in, _) in zip(batch, ways, strict=True):
                self._queue.wait(frame.looked)
                self._queue.launch(way_in)
            if frames in self._recorded:
                self._queue.replay(self._recorded[frames])
            else:
                self._queue.infer(network)
                self._warm.add(frames)
            for _, way_out in ways:
                self._queue.launch(way_out)
        finally:
            self._queue.record(done)  # `withdraw` waits for what has been put there, however little
        self.calls += 1
        self.frames += len(batch)


def seat_on_device(
    pool: SharedPool,
    device: tuple[str, int],
    open_device: Callable[[], Device],
    weights: Path,
    size: tuple[int, int],
) -> BatchSeat:
    """A seat at a network that other cameras of the pool use too; close the seat.

    Args:
        pool: of the process.
        device: runtime and index.
        open_device: opens it, for a network that is not there yet.
        weights: the float32 ONNX file.
        size: (H, W) of the network's input.

    Raises:
        EngineError: the device or the network is not to be had.
    """

    def open_shared() -> DeviceBatcher:
        batcher = DeviceBatcher(open_device, weights, size, pool.options)
        log.info(
            "%s at %dx%d on %s: one network for its cameras, up to %d frames in each call%s",
            weights.stem,
            size[1],
            size[0],
            batcher.name,
            batcher.batch_frames,
            ", recorded" if batcher.recorded == len(batcher.batches) else "",
        )
        return batcher

    seat: BatchSeat = pool.seat(PoolKey(weights.resolve(), device, size), open_shared)
    return seat

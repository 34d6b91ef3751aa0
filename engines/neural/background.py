"""The network beside the frames of a live video: it works on the newest one, and no frame waits for it.

What it says of a frame comes some frames later, and is carried there along the motion that is measured
anyway. One call at a time: while it runs, newer frames are looked at by nobody, so nothing queues up.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import Network, Tensor
from irchroma.engines.processor import make_nice
from irchroma.engines.recolor.work_picture import answer_at, padded, reduced, work_size
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import move, pixel_grid
from irchroma.engines.temporal.schedule import MOST_FRAMES
from irchroma.engines.temporal.stage import TemporalStage, half_size

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]
Answer = tuple[Plane, Plane]
"""(hh, hw, 3) `ycc` and (hh, hw) confidence."""

FIRST_WAIT_S, CUT_WAIT_S = 0.03, 0.012
"""How long the first frame of a run, and of a scene after a cut, waits for its color: not until another one
comes at 30 a second, which would be dropped."""
FADE_S = 0.35
"""In which color comes that was not there in time."""
STUCK_S = 20.0
"""Without an answer the network counts as hung, and is opened anew. The longest first call, which compiles
on a loaded machine, took 6."""
SLEPT_S = 1.0
"""For which it has time even then: the process may have been stopped meanwhile, and the network with it."""

_FIRST_ANSWERS = 2
"""Calls before a network gives way: one that compiles it, and the first frame's."""


class Journey:
    """Where the pixels of now were in the frame that the network is looking at, and how sure that is.

    At the half size at which motion is measured. Each frame's motion is put behind the last one's: one
    remap of three channels a frame, however long the network takes.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """Begin at a frame of half size (hh, hw)."""
        self._size = size
        self._way: Plane | None = None  # (hh, hw, 3): x, y, trust; None for no way at all

    def follow(self, seen: Observation) -> None:
        """One frame on; after a cut there is no way back, and the journey is to be forgotten."""
        if seen.half_area is None and seen.trust is None:
            return
        way = self._way
        if way is None:
            grid = pixel_grid(self._size)
            way = np.dstack([grid, np.ones(self._size, np.float32)])
        way = np.asarray(move(way, seen.half_area, seen.half_source, in_place=True), np.float32)
        if seen.trust is not None:
            way[..., 2] *= seen.trust
        self._way = way

    def bring(self, answer: Answer) -> tuple[Answer, Plane | None]:
        """What the network said then, where it belongs now; and (hh, hw) how far it does, None for fully."""
        way = self._way
        if way is None:
            return answer, None
        source = np.ascontiguousarray(way[..., :2])
        ycc, confidence = (
            np.asarray(
                cv2.remap(part, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
            )
            for part in answer
        )
        return (ycc, confidence), np.ascontiguousarray(way[..., 2])


@dataclass(slots=True)
class _Call:
    network: Network
    luma: Callable[[], Tensor]
    finish: Callable[[tuple[Tensor, Tensor]], Answer]
    answer: Answer | None = None
    error: Exception | None = None
    cost_s: float = 0.0
    dropped: bool = False
    asked_s: float = field(default_factory=time.perf_counter)
    overdue_s: float | None = None


class NetworkBeside:
    """Calls a network in a thread of its own, one frame at a time.

    Used by one thread, but for `close`.

    Args:
        alone: the network has no other thread than the one that calls it, which then gives way (`make_nice`)
            after its first answers only: they compile it and give the first color, which would be late
            beside other work. Threads of a network's own keep the priority of the first call for ever.

    Attributes:
        worked_s: seconds that it has spent in calls so far.
        calls: how many have ended.
    """

    def __init__(self, alone: bool = False) -> None:
        self._alone = alone
        self._changed = threading.Condition()
        self._call: _Call | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self.worked_s, self.calls = 0.0, 0

    @property
    def idle(self) -> bool:
        """True where the next frame may be given."""
        with self._changed:
            return self._call is None

    def ask(
        self, network: Network, luma: Callable[[], Tensor], finish: Callable[[tuple[Tensor, Tensor]], Answer]
    ) -> None:
        """Begin a call; only where `idle`.

        Args:
            network: stays open until the call has ended.
            luma: makes its input, on the network's thread.
            finish: makes the answer of its output, there too.
        """
        with self._changed:
            if self._call is not None:
                raise EngineError("the network beside the frames was asked while it is busy")
            self._call = _Call(network, luma, finish)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="network", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def take(self, wait_s: float = 0.0) -> tuple[Answer, float] | None:
        """The answer, once, with the seconds it took; None while there is none.

        Args:
            wait_s: how long the caller has time.

        Raises:
            Exception: whatever the network threw.
        """
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(self._ready, wait_s)
            call = self._call
            if call is None:
                return None
            if not self._ready():
                now_s = time.perf_counter()
                if now_s - call.asked_s > STUCK_S:
                    call.overdue_s = call.overdue_s or now_s
                    if now_s - call.overdue_s > SLEPT_S:
                        raise EngineError(f"{call.network.name} has not answered for {STUCK_S:g} s")
                return None
            self._call = None
            if call.error is not None:
                raise call.error
            return None if call.answer is None else (call.answer, call.cost_s)

    def forget(self) -> None:
        """What is being looked at has nothing to do with what comes; its answer goes nowhere."""
        with self._changed:
            if self._call is not None:
                if self._ready():
                    self._call = None
                else:
                    self._call.dropped = True

    def close(self) -> None:
        """Wait for the call in hand, unless it hangs, then end; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(STUCK_S)
        with self._changed:
            self._call = None  # it knows who asked, who knows this object

    def _ready(self) -> bool:
        return self._call is not None and (self._call.answer is not None or self._call.error is not None)

    def _work(self) -> None:
        nice = False
        while True:
            if not nice and (not self._alone or self.calls >= _FIRST_ANSWERS):
                make_nice()
                nice = True
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._call is not None and not self._ready()))
                if self._closed:
                    return
                call = self._call
            if call is None:
                continue
            start_s = time.perf_counter()
            try:
                answer, error = call.finish(call.network.infer(call.luma())), None
            except Exception as caught:  # noqa: BLE001 (handed to the thread that asks for the answer)
                traceback.clear_frames(caught.__traceback__)  # which keep what the network works with
                answer, error = None, caught
            cost_s = time.perf_counter() - start_s
            with self._changed:
                self.worked_s += cost_s
                self.calls += 1
                call.answer, call.error, call.cost_s = answer, error, cost_s
                if call.dropped:
                    self._call = None
                self._changed.notify_all()


class CallsInOrder:
    """Makes calls in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[], Answer], Future[Answer]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # behind what `close` puts in, nobody would look
        self._closed = False

    def ask(self, call: Callable[[], Answer]) -> Future[Answer]:
        """Have a call made after those before it; returns at once. Used by one thread, but for `close`.

        Raises:
            EngineError: it is closed.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                raise EngineError("the network is closed")
            if self._thread is None:  # not one of an executor's, which the interpreter waits for at its end
                self._thread = threading.Thread(target=self._work, name="network", daemon=True)
                self._thread.start()
            self._asked.put((call, future))
        return future

    def close(self) -> None:
        """Wait for what was asked for, unless it hangs, then end; may be called twice."""
        with self._lock:
            self._closed = True
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(STUCK_S)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            call, future = asked
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 (handed to the thread that asks for the answer)
                future.set_exception(error)


class ColorBeside:
    """The color of one video's frames by what the network has said of frames before them.

    Used by one thread. Color is kept at half the work size (`stage.half_size`) throughout.

    Attributes:
        news: the last frame's color is not only that of the frame before, moved.
    """

    def __init__(
        self,
        stage: TemporalStage,
        keep_dark: Callable[[Plane, Luma], None],
        alone: bool = False,
        at_scene: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        stage: of the video.
        keep_dark: fades in place what the network says of black places: `ycc`, and the luma at its size.
        alone: see `NetworkBeside`.
        at_scene: called by the network's thread before a new scene; frames of the old one may wait for it.
        """
        self._stage, self._keep_dark = stage, keep_dark
        self._at_scene, self._is_new = at_scene, False
        self._beside = NetworkBeside(alone)
        self._journey: Journey | None = None
        self._wanted, self._shown, self._wait_s = False, 0.0, FIRST_WAIT_S
        self._frames = 0  # since the last answer
        self.news = True

    @property
    def worked_s(self) -> float:
        """Seconds that the network has worked so far."""
        return self._beside.worked_s

    @property
    def said(self) -> float:
        """How much of the last frame's color is shown yet, [0, 1]: none before a scene's first answer."""
        return self._shown

    def prepare(self, network: Network, first: Tensor) -> None:
        """Compile a network where it will run: its threads get that thread's priority.

        Raises:
            EngineError: the network does not work.
        """
        self._beside.ask(network, lambda: first, lambda answer: answer)
        self._beside.take(STUCK_S)

    def color(self, seen: Observation, work: Luma, network: Network, seen_px: int) -> Answer:
        """One frame's (hh, hw, 3) `ycc` and (hh, hw) confidence; the network gets it if it is free.

        Args:
            seen: what the stage saw in it.
            work: (h, w) luma at work size, kept until the network has looked at it.
            network: that looks next.
            seen_px: long side of the picture that it sees.
        """
        stage, half = self._stage, half_size((work.shape[0], work.shape[1]))
        if seen.cut:
            self.forget()
        elif self._journey is not None:
            self._journey.follow(seen)
        taken, trust = self._beside.take(), None
        if taken is not None and self._journey is not None:
            answer, trust = self._journey.bring(taken[0])
            taken = answer, taken[1]
        without = seen.cut or not stage.has_color
        self._wanted = self._wanted or seen.needs_color or without
        if self._wanted and self._beside.idle:
            self._ask(work, network, seen_px, half)
            if taken is None and without:
                taken = self._beside.take(self._wait_s)
                self._shown = 1.0 if taken is not None and self._wait_s > 0 else 0.0
        self._wait_s = CUT_WAIT_S
        self._frames = 1 if without else min(self._frames + 1, MOST_FRAMES)
        gray = reduced(work, half) * np.float32(1 / 255)
        self.news = taken is not None or without or self._shown < 1.0
        if taken is None and without:
            stage.forget_color()
            return np.dstack([gray, gray * 0, gray * 0]), gray * 0
        if taken is None:
            ycc, confidence = stage.update(seen, None)
        else:
            (answered, sure), cost_s = taken
            ycc, confidence = stage.update(seen, answered, sure, cost_s, trust, self._frames)
            self._frames = 0
        if self._shown < 1.0:
            self._shown = min(1.0, self._shown + max(seen.elapsed_s, 1e-3) / FADE_S)
            ycc[..., 1:] *= np.float32(self._shown)
            ycc[..., 0] = gray + np.float32(self._shown) * (ycc[..., 0] - gray)
        return ycc, confidence

    def fade_in(self) -> None:
        """Pictures without color have gone before: the first answer is not waited for, it fades in."""
        self._wait_s = 0.0

    def forget(self) -> None:
        """A new scene begins."""
        self._beside.forget()
        self._journey, self._shown, self._is_new = None, 0.0, True

    def resize(self, size: tuple[int, int]) -> None:
        """Frames come at work size (h, w): what the network is looking at belongs to the one before."""
        self._stage.resize(size)
        self._beside.forget()
        self._journey, self._wanted = None, True

    def close(self) -> None:
        """Wait for the network's call in hand; may be called twice."""
        self._beside.close()

    def _ask(self, work: Luma, network: Network, seen_px: int, half: tuple[int, int]) -> None:
        """Let the network look at a frame, from which a journey begins."""
        size = work_size((work.shape[0], work.shape[1]), seen_px)

        def finish(answer: tuple[Tensor, Tensor]) -> Answer:
            ycc, confidence = answer_at(answer, 0, size, half)
            self._keep_dark(ycc, reduced(work, half))
            return ycc, confidence

        begin = self._at_scene if self._is_new else None

        def luma() -> Tensor:
            if begin is not None:
                begin()
            return padded(reduced(work, size))

        self._beside.ask(network, luma, finish)
        self._journey, self._wanted, self._is_new = Journey(half), False, False

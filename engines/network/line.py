"""The line in which frames of several cameras wait for a call of their network: who goes together, and when.

Oldest first: a camera that has just been served stands behind all others, so a fast one cannot starve a slow
one. The oldest frame takes those of its shape along, as many as a call holds, and waits for company only
while some other camera's next frame is due before its deadline.

How frames of several cameras share calls of one network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from irchroma.engines.errors import EngineOptionError

_LONGEST_WAIT_MS = 1000.0


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How frames of several cameras share calls of one network.

    Attributes:
        wait_ms: how long a frame may wait for other cameras' frames, milliseconds; 0 = never.
        frames: most frames of one call; 0 for what pays: 1 on a CPU, where a frame in a batch costs what it
            costs alone, and 8 on a GPU, which one small frame leaves half empty.
    """

    wait_ms: float = 3.0
    frames: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wait_ms <= _LONGEST_WAIT_MS:
            raise EngineOptionError(
                f"batch wait must be from 0 to {_LONGEST_WAIT_MS:g} ms, got {self.wait_ms:g}"
            )
        if self.frames < 0:
            raise EngineOptionError(f"frames of a batch must be 1 or more, or 0 for auto, got {self.frames}")


Item = TypeVar("Item")
Shape = tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Place(Generic[Item]):
    item: Item
    seat: Hashable
    shape: Shape
    frames: int
    asked_s: float


class BatchLine(Generic[Item]):
    """Used by all cameras' threads and by those that call the network.

    Attributes:
        most_frames: of one call.
        waited_s, longest_wait_s: what frames have waited for company and for their turn, all and at most.
    """

    def __init__(self, wait_s: float, most_frames: int) -> None:
        """Args:
        wait_s: how long a frame may wait for company, seconds.
        most_frames: of one call.
        """
        self.most_frames = most_frames
        self._wait_s = wait_s if most_frames > 1 else 0.0
        self._changed = threading.Condition()
        self._waiting: deque[_Place[Item]] = deque()
        self._rhythms: dict[Hashable, _Rhythm] = {}
        self._closed = False
        self.waited_s = self.longest_wait_s = 0.0

    def put(self, seat: Hashable, item: Item, shape: Shape, frames: int = 1) -> bool:
        """Stand at the end; False where the line is closed."""
        now_s = time.monotonic()
        with self._changed:
            if self._closed:
                return False
            self._rhythms.setdefault(seat, _Rhythm()).note(shape, now_s)
            self._waiting.append(_Place(item, seat, shape, frames, now_s))
            self._changed.notify_all()
            return True

    def take(self) -> list[Item]:
        """Those of the next call; blocks until there are some, and is empty once the line is closed."""
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
                for place in batch:
                    self._waiting.remove(place)
                return [place.item for place in batch]
        return []

    def withdraw(self, seat: Hashable) -> list[Item]:
        """Forget a camera; what it had in the line."""
        with self._changed:
            self._rhythms.pop(seat, None)
            gone = [place for place in self._waiting if place.seat == seat]
            for place in gone:
                self._waiting.remove(place)
            self._changed.notify_all()
            return [place.item for place in gone]

    def close(self) -> None:
        """Let nobody in any more; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def rest(self) -> list[Item]:
        """Take out of the line all that still waits in it."""
        with self._changed:
            left = [place.item for place in self._waiting]
            self._waiting.clear()
            return left

    def note_waits(self, waits_s: list[float]) -> None:
        """Add to the sum the seconds that the frames of a call have waited."""
        with self._changed:
            self.waited_s += sum(waits_s)
            self.longest_wait_s = max(self.longest_wait_s, *waits_s)

    def _company_of(self, oldest: _Place[Item]) -> list[_Place[Item]]:
        batch, frames = [oldest], oldest.frames
        for place in self._waiting:
            fits = frames + place.frames <= self.most_frames
            if place is not oldest and fits and place.shape == oldest.shape:
                batch.append(place)
                frames += place.frames
        return batch

    def _worth_waiting_s(self, batch: list[_Place[Item]]) -> float:
        """Seconds until the oldest frame's deadline; 0 where the batch is full or nobody else is due."""
        oldest = batch[0]
        deadline_s = oldest.asked_s + self._wait_s
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or sum(place.frames for place in batch) >= self.most_frames:
            return 0.0
        rhythms = self._rhythms.values()
        others = sum(rhythm.is_due(oldest.shape, oldest.asked_s, deadline_s) for rhythm in rhythms)
        return left_s if others else 0.0


class _Rhythm:
    """How often frames of which shape come from one camera."""

    def __init__(self) -> None:
        self._shape: Shape = ()
        self._asked_s = 0.0
        self._period_s = float("inf")

    def note(self, shape: Shape, now_s: float) -> None:
        self._period_s = now_s - self._asked_s if shape == self._shape else float("inf")
        self._shape, self._asked_s = shape, now_s

    def is_due(self, shape: Shape, after_s: float, before_s: float) -> bool:
        """True where the next frame, of that shape, is expected before the deadline."""
        if self._shape != shape or self._asked_s >= after_s:
            return False
        due_s = self._asked_s + self._period_s
        # A camera that has been silent for a whole period more is not waited for.
        return after_s - self._period_s < due_s <= before_s

"""When a run that cannot keep up takes cheaper settings, and when it dares to take better ones again.

Down fast, up slowly: half a second of dropped or late frames is enough for a step down (two steps where
most frames are hit), a step up needs calm, room for what the better setting costs, and after each step up
that had to be taken back, twice the calm. So a load at the border between two settings cannot make the run
swing between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from irchroma.engines.errors import EngineError

_FEWEST_HITS = 2
"""One frame that is late says nothing, however few frames a slow camera gives."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What counts as too slow; times in seconds.

    Attributes:
        window_s: what is looked at for a step down.
        late_share: share of the frames in it that may be later than the limit.
        drops: dropped frames in it that are borne.
        hopeless_share: share of late or dropped frames from which it steps down twice.
        settle_s: after a step nothing is judged: old frames are still on their way.
        calm_s: without late or dropped frames before a step up.
        longest_calm_s: most that this grows to.
        room: a step up must leave latency below this share of the limit, as if all of it were the
            network's.
        proven_s: a step up that has held so long was right.
    """

    window_s: float = 0.5
    late_share: float = 0.25
    drops: int = 1
    hopeless_share: float = 0.7
    settle_s: float = 1.0
    calm_s: float = 8.0
    longest_calm_s: float = 240.0
    room: float = 0.8
    proven_s: float = 30.0


@dataclass(frozen=True, slots=True)
class RungChange:
    """A change of settings: from rung to rung (0 is the best), and why."""

    before: int
    after: int
    reason: str


@dataclass(slots=True)
class _Seen:
    at_s: float
    latency_s: float
    drops: int


@dataclass(slots=True)
class LoadController:
    """Watches frames and says when to step. No clock of its own; used by one thread.

    Attributes:
        costs: relative cost of each rung, best first, descending.
        limit_s: latency above which a frame is late.
        options: what counts as too slow.
        rung: where the run is.
    """

    costs: Sequence[float]
    limit_s: float
    options: LoadOptions = field(default_factory=LoadOptions)
    rung: int = 0
    _frames: deque[_Seen] = field(default_factory=deque)
    _judge_from_s: float | None = None
    _calm_from_s: float = 0.0
    _calm_s: float = 0.0
    _raised_at_s: float | None = None

    def __post_init__(self) -> None:
        if not self.costs or any(a < b for a, b in pairwise(self.costs)):
            raise ValueError("costs of the rungs must descend")
        if self.limit_s <= 0:
            raise ValueError(f"the latency limit must be above 0 seconds, got {self.limit_s}")
        self._calm_s = self.options.calm_s

    def observe(self, now_s: float, latency_s: float, drops: int) -> RungChange | None:
        """One frame went through.

        Args:
            now_s: on any steady clock, seconds.
            latency_s: of this frame, from its arrival until its picture was ready.
            drops: frames that were dropped since the last call.

        Returns:
            The step to take now, which `rung` already shows; None to stay.
        """
        if self._judge_from_s is None:  # the first frames pay for what is being prepared
            self._judge_from_s = self._calm_from_s = now_s + self.options.settle_s
        if now_s < self._judge_from_s:
            return None
        if drops or latency_s > self.limit_s:
            self._calm_from_s = now_s
        self._frames.append(_Seen(now_s, latency_s, drops))
        while self._frames[0].at_s < now_s - max(self.options.window_s, self._calm_s):
            self._frames.popleft()
        if (
            self._raised_at_s is not None
            and self._calm_from_s <= now_s - self.options.proven_s
            and now_s - self._raised_at_s >= self.options.proven_s
        ):
            self._raised_at_s, self._calm_s = None, self.options.calm_s
        return self._down(now_s) or self._up(now_s)

    def _down(self, now_s: float) -> RungChange | None:
        window = [seen for seen in self._frames if seen.at_s >= now_s - self.options.window_s]
        late = sum(seen.latency_s > self.limit_s for seen in window)
        drops = sum(seen.drops for seen in window)
        if drops <= self.options.drops and late <= self.options.late_share * len(window):
            return None
        if self._judge_from_s is None:
            raise EngineError("nothing has been observed yet")
        too_early = now_s < self._judge_from_s + self.options.window_s
        if too_early or late + drops < _FEWEST_HITS or self.rung == len(self.costs) - 1:
            return None
        if self._raised_at_s is not None:  # that step up was too much: wait longer before the next
            self._calm_s = min(2 * self._calm_s, self.options.longest_calm_s)
            self._raised_at_s = None
        hit = (late + drops) / (len(window) + drops)
        steps = 2 if hit > self.options.hopeless_share else 1
        reason = f"{drops} dropped and {late} late of {len(window) + drops} frames"
        return self._step(now_s, min(self.rung + steps, len(self.costs) - 1), reason)

    def _up(self, now_s: float) -> RungChange | None:
        if self.rung == 0 or now_s - self._calm_from_s < self._calm_s:
            return None
        latencies = sorted(seen.latency_s for seen in self._frames)
        typical_s = latencies[int(0.9 * (len(latencies) - 1))]
        growth = self.costs[self.rung - 1] / self.costs[self.rung]
        if typical_s * growth > self.options.room * self.limit_s:
            return None
        reason = f"calm for {now_s - self._calm_from_s:.0f} s at {typical_s * 1e3:.0f} ms"
        step = self._step(now_s, self.rung - 1, reason)
        self._raised_at_s = now_s
        return step

    def _step(self, now_s: float, after: int, reason: str) -> RungChange:
        step = RungChange(self.rung, after, reason)
        self.rung = after
        self._frames.clear()
        self._judge_from_s = self._calm_from_s = now_s + self.options.settle_s
        return step

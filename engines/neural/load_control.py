"""When a run that cannot keep up takes cheaper settings, and when it dares to take better ones again.

Down fast, up slowly: half a second of dropped or late frames is enough for a step down (two steps where
most frames are hit), and so are some seconds in which a few of a hundred frames stutter, unless the last such
step has not helped. A step up needs calm, room for what the better setting costs, and after each step up that
had to be taken back, twice the calm. So a load at the border between two settings cannot make the run swing
between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from irchroma.engines.errors import EngineError

_FEWEST_HITS = 2
"""One frame that is late says nothing, however few frames a slow camera gives."""
_FEWEST_STUTTERS, _MANY_STUTTERS = 4, 12
"""For a step down, and for two at once."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What counts as too slow; times in seconds.

    Attributes:
        window_s: what is looked at for a step down.
        late_share: share of the frames in it that may be later than the limit.
        drops: dropped frames in it that are borne.
        hopeless_share: share of late or dropped frames from which it steps down twice.
        stutter: share of the limit above which a frame stutters: of 50 ms, the time of one at 30 a second.
        stutter_share: of the frames, that may: at 30 frames a second a p99 below the frame's time needs this.
        stutter_s: what is looked at for that.
        often_share: of frames that stutter, from which it steps down twice.
        helped: share of what stuttered before a step for that reason, which may stutter after it, at most;
            else the network is not what makes frames stutter, and there are no more such steps until it is
            calm.
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
    stutter: float = 2 / 3
    stutter_share: float = 0.02
    stutter_s: float = 5.0
    often_share: float = 0.15
    helped: float = 0.7
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
        period_s: of the camera's frames: no frame stutters that is there before the next one.
    """

    costs: Sequence[float]
    limit_s: float
    options: LoadOptions = field(default_factory=LoadOptions)
    rung: int = 0
    period_s: float = 0.0
    _frames: deque[_Seen] = field(default_factory=deque)
    _judge_from_s: float | None = None
    _calm_from_s: float = 0.0
    _calms_s: dict[int, float] = field(default_factory=dict)  # before a step up to a rung that was too much
    _raised_at_s: float | None = None
    _stuttered: float | None = None

    def __post_init__(self) -> None:
        if not self.costs or any(a < b for a, b in pairwise(self.costs)):
            raise ValueError("costs of the rungs must descend")
        if self.limit_s <= 0:
            raise ValueError(f"the latency limit must be above 0 seconds, got {self.limit_s}")

    @property
    def _calm_s(self) -> float:
        return self._calms_s.get(self.rung - 1, self.options.calm_s)

    def observe(
        self, now_s: float, latency_s: float, drops: int, under_way: bool = False
    ) -> RungChange | None:
        """One frame went through.

        Args:
            now_s: on any steady clock, seconds.
            latency_s: of this frame, from its arrival until its picture was ready.
            drops: frames that were dropped since the last call.
            under_way: the last step has not been taken yet, so nothing is known of what it does.

        Returns:
            The step to take now, which `rung` already shows; None to stay.
        """
        if self._judge_from_s is None:  # the first frames pay for what is being prepared
            self._judge_from_s = self._calm_from_s = now_s + self.options.settle_s
        if under_way:
            self._frames.clear()
            self._judge_from_s = self._calm_from_s = now_s + self.options.settle_s
        if now_s < self._judge_from_s:
            return None
        if drops or latency_s > self.limit_s:
            self._calm_from_s = now_s
        self._frames.append(_Seen(now_s, latency_s, drops))
        kept_s = max(self.options.window_s, self.options.stutter_s, self._calm_s)
        while self._frames[0].at_s < now_s - kept_s:
            self._frames.popleft()
        if (
            self._raised_at_s is not None
            and self._calm_from_s <= now_s - self.options.proven_s
            and now_s - self._raised_at_s >= self.options.proven_s
        ):
            self._raised_at_s = None
            self._calms_s.pop(self.rung, None)
        return self._down(now_s) or self._smoother(now_s) or self._up(now_s)

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
        hit = (late + drops) / (len(window) + drops)
        steps = 2 if hit > self.options.hopeless_share else 1
        reason = f"{drops} dropped and {late} late of {len(window) + drops} frames"
        return self._lower(now_s, steps, reason)

    def _smoother(self, now_s: float) -> RungChange | None:
        """A step down since frames stutter, though few of them."""
        window = [seen for seen in self._frames if seen.at_s >= now_s - self.options.stutter_s]
        stutters = self._stutters(window)
        share = stutters / len(window)
        if share <= self.options.stutter_share or stutters < _FEWEST_STUTTERS:
            return None
        if self._judge_from_s is None:
            raise EngineError("nothing has been observed yet")
        many, whole = share > self.options.often_share, now_s >= self._judge_from_s + self.options.stutter_s
        if self.rung == len(self.costs) - 1 or not (whole or stutters >= _MANY_STUTTERS or not many):
            return None  # more of them soon say how far down
        if self._stuttered is not None:  # a step was taken against this: has it helped?
            if not whole:
                return None
            if share > self.options.helped * self._stuttered:
                self._stuttered = 0.0
                return None
        self._stuttered = share
        return self._lower(now_s, 2 if many else 1, f"{stutters} of {len(window)} frames stuttered")

    def _stutters(self, seen: Sequence[_Seen]) -> int:
        bound_s = min(self.limit_s, max(self.options.stutter * self.limit_s, self.period_s))
        return sum(one.latency_s > bound_s or one.drops > 0 for one in seen)

    def _lower(self, now_s: float, steps: int, reason: str) -> RungChange:
        if self._raised_at_s is not None:  # that step up was too much: wait longer before the next
            calm_s = self._calms_s.get(self.rung, self.options.calm_s)
            self._calms_s[self.rung] = min(2 * calm_s, self.options.longest_calm_s)
            self._raised_at_s = None
        return self._step(now_s, min(self.rung + steps, len(self.costs) - 1), reason)

    def _up(self, now_s: float) -> RungChange | None:
        if now_s - self._calm_from_s < self._calm_s:
            return None
        if self._stutters(self._frames) > self.options.stutter_share * len(self._frames) / 2:
            return None
        self._stuttered = None
        if self.rung == 0:
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

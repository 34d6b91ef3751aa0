"""When a run that cannot keep up takes cheaper settings, and when it dares to take better ones again.

Down fast, up slowly: half a second of dropped or late frames is enough for a step down (two steps where
most frames are hit), and so are some seconds in which a few of a hundred frames stutter. A step against
stutter that has not helped is taken back, and the next one waits for minutes: something else makes frames
stutter, such as another process. A step up needs calm, room for what the better setting costs, and after
each step up that had to be taken back, twice the calm. So a load at the border between two settings cannot
make the run swing between them. Single late frames and stutter put a step up off for minutes at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from math import inf

LIMIT_MS = 44.0
"""From its arrival, above which a live frame is late where nobody says another limit; three quarters of it,
above which frames may stutter, are a period of 30 frames a second."""
_FEWEST_HITS = 2
"""One frame that is late says nothing, however few frames a slow camera gives."""
_FEWEST_STUTTERS, _MANY_STUTTERS = 4, 12
"""For a step down, and for two at once."""


WINDOW_S = 0.5
"""What is looked at for a step down."""
LATE_SHARE, DROPS = 0.25, 1
"""Of the frames in it, what may be later than the limit, and dropped frames that are borne."""
HOPELESS_SHARE = 0.7
"""Of late or dropped frames, from which it steps down twice."""
STUTTER, UNEVEN = 0.75, 4 / 3
"""A frame may stutter above this share of the limit (what calibration lets settings take), and from so many
times as late as the quickest tenth of the frames on: those that are all equally late come evenly."""
STUTTER_SHARE, STUTTER_S, OFTEN_SHARE = 0.02, 5.0, 0.15
"""Share of the frames that may stutter, what is looked at for that, and the share for two steps at once."""
HELPED, TRIAL_S = 0.6, 10.0
"""Share of what stuttered before a step for that reason, which may stutter after it, at most; else the
network is not what makes frames stutter, and the step is taken back. And what is looked at for that: a few
stutters of a hundred frames are often fewer by chance."""
AGAIN_S, LONGEST_AGAIN_S = 120.0, 960.0
"""Until the next step for that reason then; twice as long each time, while none helps."""
SETTLE_S = 1.0
"""After a step nothing is judged: old frames are still on their way."""
CALM_S, LONGEST_CALM_S = 8.0, 240.0
"""Without late or dropped frames before a step up, and most that this grows to, and that single late frames
and stutter put a step up off."""
ROOM = 0.8
"""A step up must leave latency below this share of the limit, as if all of it were the network's, unless that
rung or a better one has held before."""
PROVEN_S = 30.0
"""A step up that has held so long was right, and a rung that has can be had again."""


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


@dataclass(frozen=True, slots=True)
class _Overload:
    late: int
    drops: int
    frames: int

    def __str__(self) -> str:
        return f"{self.drops} dropped and {self.late} late of {self.frames} frames"


@dataclass(frozen=True, slots=True)
class _Trial:
    """A step down against stutter, of which it is to be seen whether it helps."""

    from_rung: int
    share: float


@dataclass(slots=True)
class LoadController:
    """Watches frames and says when to step. No clock of its own; used by one thread.

    Attributes:
        costs: relative cost of each rung, best first, descending.
        limit_s: latency above which a frame is late.
        rung: where the run is.
        period_s: of the camera's frames: no frame stutters that is there before the next one.
    """

    costs: Sequence[float]
    limit_s: float
    rung: int = 0
    period_s: float = 0.0
    _frames: deque[_Seen] = field(default_factory=deque)
    _judge_from_s: float | None = None
    _calm_from_s: float = 0.0
    _calms_s: dict[int, float] = field(default_factory=dict)  # before a step up to a rung that was too much
    _raised_at_s: float | None = None
    _rung_since_s: float = 0.0
    _best_held: float = inf  # the best rung that the run was calm on for as long as proves one
    _waits_up: int | None = None  # the rung that still colors, while the better one is made ready
    _trial: _Trial | None = None
    _foreign_until_s: float = -inf  # until when stutter counts as not the network's
    _again_s: float = 0.0
    _look_up_from_s: float = -inf  # not at each frame: a calm of minutes is thousands of them

    def __post_init__(self) -> None:
        if not self.costs or any(a < b for a, b in pairwise(self.costs)):
            raise ValueError("costs of the rungs must descend")
        if self.limit_s <= 0:
            raise ValueError(f"the latency limit must be above 0 seconds, got {self.limit_s}")

    @property
    def _calm_s(self) -> float:
        return self._calms_s.get(self.rung - 1, CALM_S)

    def observe(
        self, now_s: float, latency_s: float, drops: int, under_way: bool = False
    ) -> RungChange | None:
        """One frame went through.

        Args:
            now_s: on any steady clock, seconds.
            latency_s: of this frame, from its arrival until its picture was ready, or taken by the sinks.
            drops: frames that were dropped since the last call.
            under_way: the last step has not been taken yet, so nothing is known of what it does. One down is
                waited for; one up is withdrawn where the run is too slow meanwhile.

        Returns:
            The step to take now, which `rung` already shows; None to stay.
        """
        if self._judge_from_s is None:  # the first frames pay for what is being prepared
            self._rung_since_s = now_s
            self._settle(now_s)
        if self._waits_up is not None and not under_way:  # the better rung colors now
            self._waits_up = None
            self._settle(now_s)
        if under_way and self._waits_up is None:
            self._settle(now_s)
        if self._judge_from_s is None or now_s < self._judge_from_s:
            return None
        self._frames.append(_Seen(now_s, latency_s, drops))
        kept_s = max(WINDOW_S, STUTTER_S, TRIAL_S, self._calm_s)
        while self._frames[0].at_s < now_s - kept_s:
            self._frames.popleft()
        over = self._overload(now_s)
        if over or ((drops or latency_s > self.limit_s) and not self._foreign(now_s)):
            self._calm_from_s = now_s
        if self._waits_up is not None:
            return self._withdrawn(now_s, over)
        if self._calm_from_s <= now_s - PROVEN_S:
            self._best_held = min(self._best_held, self.rung)
            if self._raised_at_s is not None and now_s - self._raised_at_s >= PROVEN_S:
                self._raised_at_s = None
                self._calms_s.pop(self.rung, None)
        if over:
            self._trial = None  # no matter of stutter any more
            return self._down(now_s, over)
        return self._smoother(now_s) or self._up(now_s)

    def _foreign(self, now_s: float) -> bool:
        """Whether single late frames and stutter are taken as what no step changes."""
        return now_s < self._foreign_until_s or now_s - self._rung_since_s >= LONGEST_CALM_S

    def _overload(self, now_s: float) -> _Overload | None:
        """Late and dropped frames, of how many, where they are more than is borne."""
        window = self._since(now_s - WINDOW_S)
        late = sum(seen.latency_s > self.limit_s for seen in window)
        drops = sum(seen.drops for seen in window)
        if drops <= DROPS and late <= LATE_SHARE * len(window):
            return None
        return _Overload(late, drops, len(window) + drops) if late + drops >= _FEWEST_HITS else None

    def _since(self, from_s: float) -> list[_Seen]:
        return list(takewhile(lambda seen: seen.at_s >= from_s, reversed(self._frames)))

    def _down(self, now_s: float, over: _Overload) -> RungChange | None:
        if self.rung == len(self.costs) - 1 or not self._watched(now_s, WINDOW_S):
            return None
        steps = 2 if (over.late + over.drops) / over.frames > HOPELESS_SHARE else 1
        return self._lower(now_s, steps, str(over))

    def _withdrawn(self, now_s: float, over: _Overload | None) -> RungChange | None:
        """Back to the rung that still colors, which is too much already while a better one is made ready."""
        self._raised_at_s = now_s
        before = self._waits_up
        if over is None or before is None or not self._watched(now_s, WINDOW_S):
            return None
        step = self._step(now_s, before, f"{over} while a better network was made ready")
        self._judge_from_s = now_s  # nothing changes: what comes from now on tells
        self._raised_at_s = self._waits_up = None
        return step

    def _smoother(self, now_s: float) -> RungChange | None:
        """A step down since frames stutter, though few of them."""
        looked_at_s = TRIAL_S if self._trial is not None else STUTTER_S
        window = self._since(now_s - looked_at_s)
        stutters = sum(self._stutters(window))
        share = stutters / len(window)
        whole = self._watched(now_s, looked_at_s)
        reason = f"{stutters} of {len(window)} frames stuttered"
        if self._trial is not None:  # a step was taken against this: has it helped?
            if not whole:
                return None
            trial, self._trial = self._trial, None
            if share > HELPED * trial.share and stutters >= _FEWEST_STUTTERS:
                self._again_s = min(max(2 * self._again_s, AGAIN_S), LONGEST_AGAIN_S)
                self._foreign_until_s = now_s + self._again_s
                return self._step(now_s, trial.from_rung, f"{reason} as before: the network is not why")
            self._again_s = 0.0
        if share <= STUTTER_SHARE or stutters < _FEWEST_STUTTERS:
            return None
        if self.rung == len(self.costs) - 1 or now_s < self._foreign_until_s:
            return None
        many = share > OFTEN_SHARE
        if not whole and stutters < _MANY_STUTTERS:
            return None  # more of them soon say whether, and how far down
        self._trial = _Trial(self.rung, share)
        return self._lower(now_s, 2 if many else 1, reason)

    def _watched(self, now_s: float, seconds: float) -> bool:
        """Whether this rung has been judged for so long."""
        return self._judge_from_s is not None and now_s >= self._judge_from_s + seconds

    def _stutters(self, seen: Sequence[_Seen]) -> list[bool]:
        """Which frames a viewer sees stutter: clearly late ones, and ones with frames lost before them."""
        bound_s = max(STUTTER * self.limit_s, self.period_s)
        if any(one.latency_s > bound_s for one in seen):
            quick_s = sorted(one.latency_s for one in seen)[len(seen) // 10]
            bound_s = max(bound_s, UNEVEN * quick_s)
        bound_s = min(self.limit_s, bound_s)
        return [one.latency_s > bound_s or one.drops > 0 for one in seen]

    def _lower(self, now_s: float, steps: int, reason: str) -> RungChange:
        if self._raised_at_s is not None:  # that step up was too much: wait longer before the next
            calm_s = self._calms_s.get(self.rung, CALM_S)
            self._calms_s[self.rung] = min(2 * calm_s, LONGEST_CALM_S)
            self._raised_at_s = None
        return self._step(now_s, min(self.rung + steps, len(self.costs) - 1), reason)

    def _up(self, now_s: float) -> RungChange | None:
        if now_s - self._calm_from_s < self._calm_s:
            return None
        if self.rung == 0 or self._trial is not None or now_s < self._look_up_from_s:
            return None
        self._look_up_from_s = now_s + WINDOW_S
        stutters = self._stutters(self._frames)
        foreign = self._foreign(now_s)
        if not foreign and sum(stutters) > STUTTER_SHARE * len(stutters) / 2:
            return None
        even = [seen for seen, out in zip(self._frames, stutters, strict=True) if not (foreign and out)]
        if not even:
            return None
        latencies = sorted(seen.latency_s for seen in even)
        typical_s = latencies[int(0.9 * (len(latencies) - 1))]
        growth = self.costs[self.rung - 1] / self.costs[self.rung]
        held = self._best_held < self.rung  # not all of the latency is the network's
        if not held and typical_s * growth > ROOM * self.limit_s:
            return None
        reason = f"calm for {now_s - self._calm_from_s:.0f} s at {typical_s * 1e3:.0f} ms"
        step = self._step(now_s, self.rung - 1, reason)
        self._raised_at_s, self._waits_up = now_s, step.before
        return step

    def _step(self, now_s: float, after: int, reason: str) -> RungChange:
        step = RungChange(self.rung, after, reason)
        self.rung, self._rung_since_s = after, now_s
        self._settle(now_s)
        return step

    def _settle(self, now_s: float) -> None:
        self._frames.clear()
        self._judge_from_s = self._calm_from_s = now_s + SETTLE_S

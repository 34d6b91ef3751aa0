"""Which of a frame's steps run beside each other once they are recorded: those that hand each other nothing.

What a step reads and writes is known: of a kernel by the `const` marks of its arguments, of a network by its
tensors. A step waits for whatever wrote what it reads, and for whatever read or wrote what it writes; nothing
else orders it. Steps are given to a few branches so that each begins as soon as it can, a network counting as
much as a row of kernels: what the sensor's luma alone is needed for is done beside it.

A recorded branch is a queue of its own that waits for marks of the others and is waited for in the end (a
CUDA graph made by capture across streams). Outside of a recording all steps are put into one queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Device, DeviceNetwork, Mark, WorkQueue
from irchroma.engines.gpu.kernels.source import Launch, Span

Step = Launch | DeviceNetwork

log = logging.getLogger(__name__)

BRANCHES = 3
"""A frame of 640x512 by `best` is 19 kernels and the network one after another on three branches, 22 on two,
and 38 on one; a fourth gains nothing."""
_NETWORK_COST = 24
"""Of a network against 1 of a kernel: a small one in float16 is some 60 kernels, most of them shorter."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A step with its place.

    Attributes:
        step: what is done.
        branch: where; 0 is the queue that the work was asked of, in which every network is.
        after: steps of other branches, by their index, that it waits for; -1 is the beginning of it all.
        awaited: a step of another branch waits for it, or the end does.
    """

    step: Step
    branch: int
    after: tuple[int, ...] = ()
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """Steps in an order that no step is before what it waits for.

    Attributes:
        placed: all steps.
        last: those of other branches that the end waits for.
        longest: how many steps follow one another at the most.
    """

    placed: tuple[Placed, ...]
    last: tuple[int, ...]
    longest: int

    @property
    def branches(self) -> int:
        """How many are used."""
        return 1 + max((one.branch for one in self.placed), default=0)

    @property
    def marks(self) -> int:
        """How many places are waited for, the beginning among them."""
        return 1 + sum(one.awaited for one in self.placed)


def dependencies(steps: Sequence[Step]) -> list[set[int]]:
    """For each step the earlier ones that must be done before it."""
    reads: list[tuple[Span, ...]] = []
    writes: list[tuple[Span, ...]] = []
    found: list[set[int]] = []
    for index, step in enumerate(steps):
        read, written = _touched(step)
        before = {
            earlier
            for earlier in range(index)
            if _meet(writes[earlier], (*read, *written)) or _meet(reads[earlier], written)
        }
        reads.append(read)
        writes.append(written)
        found.append(before)
    return found


def plan_branches(steps: Sequence[Step], most: int = BRANCHES) -> BranchPlan:
    """Give each step a branch, in the order of the steps.

    Args:
        steps: as they are done one after another.
        most: how many branches there may be.
    """
    before = dependencies(steps)
    placed: list[Placed] = []
    ends: list[int] = []  # when each step is done
    depths: list[int] = []
    free = [0] * most  # when each branch is
    heads = [-1] * most  # the last step of each branch
    known: list[dict[int, int]] = []  # for each step, the last step of each branch that it is behind
    for index, step in enumerate(steps):
        ready = max((ends[one] for one in before[index]), default=0)
        newest = max(before[index], key=ends.__getitem__, default=-1)
        # The earliest; of these where what it waits for was done, so that there is one wait less.
        choices = [
            (max(ready, free[one]), heads[one] != newest, one)
            for one in range(most if isinstance(step, Launch) else 1)
        ]
        branch = min(choices)[2]
        behind = dict(known[heads[branch]]) if heads[branch] >= 0 else {}
        after = []
        for one in sorted(before[index], reverse=True):
            if behind.get(placed[one].branch, -1) < one and placed[one].branch != branch:
                after.append(one)
                for other, newest in known[one].items():
                    behind[other] = max(behind.get(other, -1), newest)
        if branch and heads[branch] < 0 and not after:
            after.append(-1)
        behind[branch] = index
        known.append(behind)
        ends.append(max(ready, free[branch]) + (1 if isinstance(step, Launch) else _NETWORK_COST))
        ahead = [depths[one] for one in (*before[index], heads[branch]) if one >= 0]
        depths.append(1 + max(ahead, default=0))
        free[branch], heads[branch] = ends[index], index
        placed.append(Placed(step, branch, tuple(after)))
    end = known[heads[0]] if heads[0] >= 0 else {}
    last = tuple(head for branch, head in enumerate(heads) if branch and head > end.get(branch, -1))
    awaited = {one for each in placed for one in each.after} | set(last)
    whole = tuple(replace(one, awaited=index in awaited) for index, one in enumerate(placed))
    return BranchPlan(whole, last, max(depths, default=0))


@contextmanager
def branched(device: Device, queue: WorkQueue, plan: BranchPlan) -> Iterator[Callable[[], None]]:
    """What puts a plan into `queue` and the branches beside it, to be called while `queue` is recorded.

    Their queues and marks go with the `with`: what was recorded needs them no longer, and a device has few
    queues that it tells apart.

    Raises:
        EngineError: the device gives no more queues.
    """
    with ExitStack() as last_first:
        marks, queues = list[Mark](), [queue]
        for _ in range(plan.marks):
            marks.append(device.make_mark())
            last_first.callback(_give_back, marks[-1])
        for _ in range(plan.branches - 1):
            queues.append(device.open_queue())
            last_first.callback(_give_back, queues[-1])
        yield lambda: _enqueue(queues, iter(marks), plan)


def _give_back(one: Mark | WorkQueue) -> None:
    try:
        one.close()
    except EngineError as error:  # of a device that is lost, which the next call tells
        log.debug("a branch is not given back: %s", error)


def _enqueue(queues: Sequence[WorkQueue], free: Iterator[Mark], plan: BranchPlan) -> None:
    marks: dict[int, Mark] = {}
    if any(-1 in one.after for one in plan.placed):
        marks[-1] = next(free)
        queues[0].record(marks[-1])
    for index, one in enumerate(plan.placed):
        for earlier in one.after:
            queues[one.branch].wait(marks[earlier])
        enqueue(queues[one.branch], [one.step])
        if one.awaited:
            marks[index] = next(free)
            queues[one.branch].record(marks[index])
    for index in plan.last:
        queues[0].wait(marks[index])


def enqueue(queue: WorkQueue, steps: Sequence[Step]) -> None:
    """Put steps into a queue, one after another."""
    for step in steps:
        if isinstance(step, Launch):
            queue.launch(step)
        else:
            queue.infer(step)


def _touched(step: Step) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    if isinstance(step, Launch):
        return step.reads, step.writes
    tensors = (step.luma, step.ycc, step.confidence)
    read, *written = [(array.address, array.address + array.nbytes) for array in tensors]
    return (read,), tuple(written)


def _meet(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(begin < other_end and other < end for begin, end in some for other, other_end in others)

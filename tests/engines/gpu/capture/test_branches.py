"""Steps that hand each other nothing lie beside each other in a recording, all others in their order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.gpu.programs.copying_network import copying
from tests.engines.moving_scene import FRAME_NS, texture
from tests.waiting import wait_for

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import cpu_device
from irchroma.engines.gpu.capture.branches import Step, branched, dependencies, plan_branches
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice, device_array
from irchroma.engines.gpu.device import CaptureRefused, DeviceArray, WorkQueue
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch, Span, constant_fields, launch
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.recolor import recoloring
from irchroma.engines.temporal.stage import TemporalOptions

SIDE = 16


def plane(level: int = 0) -> DeviceArray:
    return device_array(np.full((SIDE, SIDE), level, np.uint8))


def copied(source: DeviceArray, target: DeviceArray) -> Launch:
    size = {"width": SIDE, "height": SIDE, "radius": 0, "largest": 0}
    return launch("extreme", (SIDE, SIDE, 1), **{"in": source}, out=target, **size)


@dataclass
class Network:
    """Gives what it sees, once its gate is open."""

    luma: DeviceArray
    ycc: DeviceArray
    gate: threading.Event
    name: str = "gated"

    @property
    def confidence(self) -> DeviceArray:
        return self.ycc

    def run(self) -> None:
        assert self.gate.wait(60)
        self.ycc.owner[...] = self.luma.owner

    def close(self) -> None:
        """Nothing to do."""


def ordered(steps: Sequence[Step], most: int) -> set[tuple[int, int]]:
    """All pairs of which a plan does the first before the second."""
    plan = plan_branches(steps, most)
    assert [one.step for one in plan.placed] == list(steps)
    before: set[tuple[int, int]] = set()
    last: dict[int, int] = {}
    for index, one in enumerate(plan.placed):
        behind = [earlier for earlier in (*one.after, last.get(one.branch, -1)) if earlier >= 0]
        for earlier in behind:
            assert earlier < index
            before |= {(first, index) for first, second in before if second == earlier} | {(earlier, index)}
        last[one.branch] = index
    for index, one in enumerate(plan.placed):
        assert one.awaited == (index in plan.last or any(index in other.after for other in plan.placed))
    ends = {last[0], *plan.last} if steps else set()
    joined = ends | {first for first, second in before if second in ends}
    assert joined == set(range(len(steps))), "the end does not wait for all"
    return before


def test_what_is_read_waits_for_its_writer_and_what_is_written_for_its_readers() -> None:
    a, b, c, d = (plane() for _ in range(4))
    steps = [copied(a, b), copied(b, c), copied(d, b), copied(d, c), copied(a, d)]
    assert dependencies(steps) == [set(), {0}, {0, 1}, {1}, {2, 3}]


def test_a_part_of_memory_counts_by_its_bytes() -> None:
    whole = device_array(np.zeros((2, SIDE, SIDE), np.uint8))
    first, second = (whole.part(at * SIDE * SIDE, (SIDE, SIDE), np.uint8) for at in range(2))
    a = plane()
    assert dependencies([copied(a, first), copied(a, second), copied(second, a)]) == [set(), set(), {0, 1}]


def test_work_that_needs_no_network_is_done_beside_it() -> None:
    seen, network = plane(), Network(plane(), plane(), threading.Event())
    steps: list[Step] = [copied(seen, network.luma), network, copied(network.ycc, plane())]
    steps += [copied(seen, plane()), copied(seen, plane())]
    plan = plan_branches(steps, 2)
    assert [one.branch for one in plan.placed] == [0, 0, 0, 1, 1]
    assert plan.longest == 3
    assert plan.last == (4,)
    alone = plan_branches(steps, 1)
    assert (alone.branches, alone.longest, alone.last) == (1, 5, ())


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_plan_puts_a_step_before_what_it_waits_for(most: int) -> None:
    rng = np.random.default_rng(3)
    for count in (0, 1, 7, 25, 25, 25):
        planes = [plane() for _ in range(8)]
        steps: list[Step] = []
        for _ in range(count):
            source, target = rng.choice(8, 2, replace=False)
            if rng.random() < 0.1:
                steps.append(Network(planes[source], planes[target], threading.Event()))
            else:
                steps.append(copied(planes[source], planes[target]))
        held = ordered(steps, most)
        for index, before in enumerate(dependencies(steps)):
            assert {(earlier, index) for earlier in before} <= held


class Desk:
    """A CPU device with one queue that is recorded."""

    def __init__(self, kernels: HostKernels) -> None:
        self.device = CpuDevice(kernels=kernels)
        self.queue: Any = self.device.open_queue()

    def recorded(self, steps: Sequence[Step], most: int = 2) -> Any:
        with branched(self.device, self.queue, plan_branches(steps, most)) as work:
            return self.queue.capture(work)

    def finish(self) -> None:
        mark = self.device.make_mark()
        self.queue.record(mark)
        mark.wait()

    def close(self) -> None:
        self.device.close()


@pytest.fixture
def desk(host_kernels: HostKernels) -> Iterator[Desk]:
    made = Desk(host_kernels)
    yield made
    made.close()


def test_a_branch_runs_while_the_network_does_and_the_end_waits_for_both(desk: Desk) -> None:
    seen, beside, out = plane(), plane(), plane()
    network = Network(plane(), plane(), threading.Event())
    both = device_array(np.zeros((2, SIDE, SIDE), np.uint8))
    steps: list[Step] = [copied(seen, network.luma), network, copied(seen, beside)]
    steps += [copied(network.ycc, both.part(0, (SIDE, SIDE), np.uint8))]
    steps += [copied(beside, both.part(SIDE * SIDE, (SIDE, SIDE), np.uint8))]
    recorded = desk.recorded(steps)
    for level in (7, 9):
        network.gate.clear()
        seen.owner[...] = level
        desk.queue.replay(recorded)
        desk.queue.launch(copied(both, out))
        wait_for(lambda level=level: (both.owner[1] == level).all())  # type: ignore[misc]
        assert (both.owner[0] != level).all()
        network.gate.set()
        desk.finish()
        assert (both.owner == level).all()


def test_the_queues_that_a_recording_was_made_with_are_given_back(desk: Desk) -> None:
    """A GPU tells 32 apart: 16 cameras held 98, two thirds of them for what is done once."""
    seen, network = plane(), Network(plane(), plane(), threading.Event())
    network.gate.set()
    recorded = desk.recorded([network, copied(seen, plane()), copied(seen, plane())], 3)
    assert len(recorded.covers) == 3
    assert [one for one in desk.device._queues if one.is_open] == [desk.queue]
    desk.queue.replay(recorded)
    desk.finish()


def test_a_failure_in_a_branch_comes_out_of_the_whole(desk: Desk) -> None:
    seen, network = plane(), Network(plane(), plane(), threading.Event())
    network.gate.set()
    steps: list[Step] = [network, copied(seen, plane()), copied(seen, plane())]
    recorded = desk.recorded(steps)
    bad = Launch("no_such_kernel", (1, 1, 1), steps[1].arguments)  # type: ignore[union-attr]
    desk.queue._branches[0].launch(bad)
    desk.queue.replay(recorded)
    with pytest.raises(EngineError, match="no_such_kernel"):
        desk.finish()


def both_ways(queue: WorkQueue, other: WorkQueue, device: CpuDevice) -> dict[str, Callable[[], None]]:
    """What no CUDA device records, by name."""
    plain, forked, free = (device.make_mark() for _ in range(3))
    queue.record(plain)

    def forks() -> None:
        queue.record(forked)
        other.wait(forked)
        other.launch(copied(plane(), plane()))

    def half_joined() -> None:
        forks()
        other.record(free)
        other.launch(copied(plane(), plane()))
        queue.wait(free)

    return {"outside": lambda: queue.wait(plain), "no join": forks, "half a join": half_joined}


@pytest.mark.parametrize("what", ["outside", "no join", "half a join"])
def test_a_recording_takes_no_marks_from_outside_and_leaves_no_branch(desk: Desk, what: str) -> None:
    other = desk.device.open_queue()
    with pytest.raises(CaptureRefused, match=r"recording|recorded"):
        desk.queue.capture(both_ways(desk.queue, other, desk.device)[what])
    seen, out = plane(5), plane()
    for queue in (desk.queue, other):  # neither is left within a recording
        out.owner[...] = 0
        queue.launch(copied(seen, out))
        mark = desk.device.make_mark()
        queue.record(mark)
        mark.wait()
        assert (out.owner == 5).all()


def test_a_mark_of_a_recording_is_of_no_use_outside_of_it(desk: Desk) -> None:
    mark = desk.device.make_mark()
    desk.queue.capture(lambda: desk.queue.record(mark))
    for use in (mark.wait, mark.done, lambda: desk.queue.wait(mark)):
        with pytest.raises(EngineError, match="recording"):
            use()
    desk.queue.record(mark)
    mark.wait()


def steps_of(
    kernels: HostKernels, engine: str, temporal: TemporalOptions | None, packs: bool
) -> list[Launch]:
    """Of a small frame whose color is made at half the size, as that of a large one; with its search."""
    device = copying(CpuDevice, kernels=kernels)
    options = NeuralOptions(
        engine=engine, work_size_px=96, temporal=temporal or TemporalOptions(), steady=temporal is not None
    )
    colorizer = DeviceColorizer(options, lambda: device, packs=packs)
    wide = texture((96, 160), 0, 200, seed=5).astype(np.uint8)
    wide[:4] = 0  # a black border
    for index in range(3):
        colorizer.submit(np.ascontiguousarray(wide[:, 5 * index : 5 * index + 128]), index * FRAME_NS)
        colorizer.collect()
    assert colorizer.chain is not None
    found: list[Launch] = []
    for slot in colorizer.chain.ring._slots[:1]:
        for steps in slot.steps.values():
            found += [step for step in steps if isinstance(step, Launch)]
    if colorizer.chain.search is not None:
        found += [step for step in colorizer.chain.search.ring.steps("search 0") if isinstance(step, Launch)]
    colorizer.close()
    return found


def outside(owner: NDArray[Any], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which bytes of an array lie in none of the spans."""
    free = np.ones(owner.nbytes, bool)
    for begin, end in spans:
        first = begin - owner.ctypes.data
        free[max(first, 0) : max(end - owner.ctypes.data, 0)] = False
    return free


@pytest.mark.parametrize(
    ("engine", "temporal", "packs"),
    [
        ("nir", TemporalOptions(color_every=2), True),
        ("thermal", TemporalOptions(), False),
        ("nir", None, False),
    ],
    ids=["nir video, packed", "thermal video", "nir picture"],
)
def test_kernels_touch_what_their_arguments_say_and_nothing_else(
    host_kernels: HostKernels,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    temporal: TemporalOptions | None,
    packs: bool,
) -> None:
    """What lies elsewhere is turned to noise: that changes nothing that is written, nor is it written."""
    monkeypatch.setattr(recoloring, "HALVED_CHROMA", 96 * 128)
    if not catalog.weights_path(engine, "best").is_file():
        pytest.skip("no weights here")
    steps = steps_of(host_kernels, engine, temporal, packs)
    held = [one for step in steps for one in step.holds if isinstance(one, DeviceArray)]
    owners = list({id(one.owner): one.owner for one in held}.values())
    flat = [owner.reshape(-1).view(np.uint8) for owner in owners]
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, owner.nbytes, np.uint8) for owner in flat]
    for step in steps:
        before = [one.copy() for one in flat]
        host_kernels.run(step)
        done = [one.copy() for one in flat]
        for index, one in enumerate(flat):
            untouched = outside(owners[index], (*step.reads, *step.writes))
            unwritten = outside(owners[index], step.writes)
            np.testing.assert_array_equal(done[index][unwritten], before[index][unwritten], step.kernel)
            one[...] = np.where(untouched, noise[index], before[index])
        host_kernels.run(step)
        for index, one in enumerate(flat):
            written = ~outside(owners[index], step.writes)
            np.testing.assert_array_equal(one[written], done[index][written], step.kernel)
            one[...] = done[index]


def test_only_pointers_to_const_count_as_read() -> None:
    fields = constant_fields()
    assert fields["keep_neutral"] == {"luma", "shown", "opened", "borders"}
    assert fields["weigh_news"] >= {"frame", "trust", "tolerance"}  # two of them in one declaration
    assert fields["border_votes"] == {"luma", "black"}


def test_where_branches_are_refused_frames_are_recorded_in_one_row(
    host_kernels: HostKernels,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(cpu_device._CpuRecording, "joined", property(lambda self: len(self.covers) == 1))
    colorizer = DeviceColorizer(
        NeuralOptions(work_size_px=64), lambda: copying(CpuDevice, kernels=host_kernels)
    )
    with caplog.at_level(logging.WARNING):
        for index in range(5):
            colorizer.submit(np.full((64, 96), 90, np.uint8), index * FRAME_NS)
            colorizer.collect()
    assert colorizer.chain is not None
    assert colorizer.chain.ring.recorded == 2
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("frames are not recorded in 3 branches: ")
    colorizer.close()

"""What a frame costs on a device: launches, bytes to and from it."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.engines import catalog
from irchroma.engines.gpu.capture.branches import Step, plan_branches
from irchroma.engines.gpu.chain import CARRIED, COLORED, ChainOptions, DeviceChain
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Mark
from irchroma.engines.gpu.frames.transfer import FrameLayout
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch, kernel_names
from irchroma.engines.gpu.steps.scenery import LaidLayout
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.recolor import night
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.recolor.work_picture import work_size
from irchroma.engines.temporal.stage import TemporalOptions

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")

FRAME, SMALL_FRAME = (512, 640), (96, 128)
SEARCHED = "searched"
"""A kind of work beside those of a frame: for the motion in one that moves."""


def launches(
    kernels: HostKernels,
    engine: str,
    size: str,
    temporal: TemporalOptions | None,
    kind: str,
    **more: Any,
) -> list[str]:
    steps = work(kernels, engine, size, temporal, kind, **more)
    return [step.kernel for step in steps if isinstance(step, Launch)]


def work(
    kernels: HostKernels,
    engine: str,
    size: str,
    temporal: TemporalOptions | None,
    kind: str,
    packs: bool = True,
    frame: tuple[int, int] = FRAME,
    **more: Any,
) -> list[Step]:
    path = catalog.weights_path(engine, size)
    if not path.is_file():
        pytest.skip("no weights here")
    device = CpuDevice(NetworkOptions("openvino", 1, cache=None, exact=True), kernels)
    look = catalog.BANDS[engine].look
    options = ChainOptions(path, RecolorOptions(), look, temporal, packs=packs, **more)
    chain = DeviceChain(device, frame, work_size(frame, catalog.WORK_SIZE_PX[size]), options)
    ring = chain.ring
    if kind == SEARCHED:
        assert chain.search is not None
        ring, kind = chain.search.ring, "search 0"
    found = list(ring.steps(kind))
    chain.close()
    device.close()
    return found


@pytest.mark.parametrize(
    ("engine", "size", "before", "now", "row"),
    [("nir", "fast", 79, 38, 20), ("nir", "best", 79, 38, 20), ("thermal", "best", 80, 37, 19)],
)
def test_a_frame_is_half_of_the_launches_that_it_was(
    host_kernels: HostKernels, engine: str, size: str, before: int, now: int, row: int
) -> None:
    """Each is some microseconds on a GPU whatever it does: they were most of a frame beside the network.

    Nine of them, `believe` and those that lead smooth places, do what a frame did not do then, two more take
    the fog out of near infrared's shade and three part a thermal sky by its heat; and one is by itself so
    that it can run beside the network. The longest row of those that wait for each other, with the network,
    is hardly more than half.
    """
    steps = work(host_kernels, engine, size, TemporalOptions(), COLORED)
    found = [step.kernel for step in steps if isinstance(step, Launch)]
    assert len(found) == now < 0.5 * before, Counter(found)
    assert plan_branches(steps).longest == row < 0.6 * now
    first = next(index for index, step in enumerate(steps) if not isinstance(step, Launch))
    beside = [
        one for one in plan_branches(steps).placed[first:] if one.branch and max(one.after, default=0) < first
    ]
    kernels = {one.step.kernel for one in beside if isinstance(one.step, Launch)}
    assert kernels >= {"carry", "see_work", "window_means", "black_lines", "extreme", "border_votes"}
    carried = launches(host_kernels, engine, size, TemporalOptions(), CARRIED)
    assert len(carried) == now - 2  # into the network and out of it
    alone = launches(host_kernels, engine, size, None, COLORED)
    assert len(alone) == now - 2  # no memory of three, the confidence by itself


def test_what_a_night_alone_needs_is_told_to_look_whether_it_is_one(host_kernels: HostKernels) -> None:
    """Its windows are the widest of all: unless they are, they take more than all others by day, too."""
    for engine, wanted in (("nir", NIGHTS.keys() - {"smooth_moved"}), ("thermal", set())):
        steps = work(host_kernels, engine, "best", TemporalOptions(), COLORED)
        told = [one for one in steps if isinstance(one, Launch) and one.kernel in NIGHTS]
        looks = [one for one in told if getattr(one.arguments, NIGHTS[one.kernel])]
        assert {one.kernel for one in looks} == wanted  # a thermal camera's dark is none
        always = [one for one in told if one not in looks and one.kernel.startswith("window")]
        assert max(one.arguments.radius for one in always) < night.RADIUS_PX // 2


NIGHTS = {
    "window_means": "nights",
    "window_models": "count",
    "even_chroma": "count",
    "smooth_moves": "count",
    "smooth_moved": "count",
}
"""Kernel -> its argument that is null where it works always."""


def test_every_kernel_is_part_of_some_frame(host_kernels: HostKernels) -> None:
    # Models of a small frame are not made at half of its work size.
    used = set(launches(host_kernels, "nir", "best", None, COLORED, frame=SMALL_FRAME))
    for packs in (True, False):  # and pictures that come back as R'G'B'
        used |= set(launches(host_kernels, "nir", "fast", None, COLORED, packs=packs, scenery=1.0))
    for engine in catalog.BANDS:
        used |= set(launches(host_kernels, engine, "best", TemporalOptions(), SEARCHED))
        for temporal in (TemporalOptions(), None):
            used |= set(launches(host_kernels, engine, "best", temporal, COLORED))
    assert used == set(kernel_names())


@pytest.mark.parametrize(("size", "count"), [("fast", 10), ("best", 14)])
def test_motion_is_searched_for_in_few_launches(host_kernels: HostKernels, size: str, count: int) -> None:
    """Both ways at once, and nothing where the picture stands still: they were none, on the host."""
    found = launches(host_kernels, "nir", size, TemporalOptions(), SEARCHED)
    assert len(found) == count, Counter(found)
    assert len(launches(host_kernels, "nir", size, TemporalOptions(), COLORED)) == 38


def test_a_reference_is_seven_launches_more_and_few_bytes_where_the_camera_stands_still(
    host_kernels: HostKernels,
) -> None:
    """It was the host's: a GPU that was asked for with a reference was refused, and `auto` took the CPU."""
    plain = Counter(launches(host_kernels, "nir", "best", TemporalOptions(), COLORED))
    with_it = Counter(launches(host_kernels, "nir", "best", TemporalOptions(), COLORED, scenery=1.0))
    more = ["lay_color", *["sum_rows", "mean_columns"] * 2, "put_behind_video"]
    assert with_it - plain == Counter([*more, "show_confidence"])
    assert not plain - with_it
    layout = LaidLayout(FRAME, (333, 416), video=True)
    assert layout.nbytes_up_to("share") < 0.56e6
    assert layout.nbytes < 3.3e6  # of a camera that shakes, whose reference is laid anew


def test_motion_goes_to_the_device_at_half_size_alone() -> None:
    """It was 2.11 MB a moving frame of 640x512 by the best network, and 0.73 MB a still one."""
    layout = FrameLayout(FRAME, (333, 416))
    assert layout.still_nbytes < 0.75e6
    assert layout.nbytes < 1.1e6


def test_a_picture_that_the_host_has_no_memory_for_leaves_its_slot_to_the_next() -> None:
    class Full:
        def __getitem__(self, part: slice) -> Any:
            raise MemoryError

    given: list[Any] = []
    chain: Any = object.__new__(DeviceChain)
    slot = SimpleNamespace(outbox_host=Full(), stays=None)
    chain._ring = SimpleNamespace(collect=lambda: slot, release=given.append)
    chain._picture_bytes, chain.work = 12, (2, 2)
    with pytest.raises(MemoryError):
        chain.collect()
    assert given == [slot]


class Asked(CpuDevice):
    """Knows how its marks are waited for."""

    def make_mark(self, spins: bool = False) -> Mark:
        self.spins = [*getattr(self, "spins", []), spins]
        return super().make_mark(spins)


@pytest.mark.parametrize(("depth", "awake"), [(1, 1), (2, 0)])
def test_one_frame_at_a_time_is_waited_for_awake(host_kernels: HostKernels, depth: int, awake: int) -> None:
    """Who asks so wants each as soon as it can be had; several cameras leave the processor to others."""
    path = catalog.weights_path("nir", "fast")
    if not path.is_file():
        pytest.skip("no weights here")
    device = Asked(NetworkOptions("openvino", 1, cache=None, exact=True), host_kernels)
    options = ChainOptions(path, RecolorOptions(), catalog.BANDS["nir"].look, None, depth)
    DeviceChain(device, SMALL_FRAME, SMALL_FRAME, options).close()
    assert sum(device.spins) == awake
    device.close()

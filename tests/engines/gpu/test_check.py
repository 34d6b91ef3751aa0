"""A device that computes something else than the CPU is found out before its first frame."""

from __future__ import annotations

import pytest
from tests.engines.on_device import OnDevice

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.check import LARGEST_MEAN, LARGEST_MISS_PX, check_kernels, check_motion
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Mark
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch


class OneKernelWrong(CpuDevice):
    """Leaves one kernel out."""

    def __init__(self, kernels: HostKernels, wrong: str) -> None:
        super().__init__(kernels=Skipping(kernels, wrong))  # type: ignore[arg-type]


class Skipping:
    def __init__(self, kernels: HostKernels, wrong: str) -> None:
        self._kernels, self._wrong = kernels, wrong

    def run(self, work: Launch) -> None:
        if work.kernel != self._wrong:
            self._kernels.run(work)


def test_a_device_that_is_right_is_far_within_the_bound(on_device: OnDevice) -> None:
    assert check_kernels(on_device.device) < LARGEST_MEAN / 10


WRONG = (
    "compose",
    "window_means",
    "finish_tone",
    "fade_chroma",
    "average_models",
    "video_chroma",
    "video_luma",
)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_kernel_that_does_nothing_is_found_out(host_kernels: HostKernels, wrong: str) -> None:
    device = OneKernelWrong(host_kernels, wrong)
    with pytest.raises(EngineError, match="does not compute what the CPU does"):
        check_kernels(device)
    device.close()


def test_a_device_that_is_right_finds_the_motion(on_device: OnDevice) -> None:
    assert check_motion(on_device.device) < LARGEST_MISS_PX / 3


@pytest.mark.parametrize(
    "wrong", ["reduce_pair", "search_patches", "spread_patches", "enlarge_flow", "check_flow"]
)
def test_a_step_of_the_search_that_does_nothing_is_found_out(host_kernels: HostKernels, wrong: str) -> None:
    device = OneKernelWrong(host_kernels, wrong)
    with pytest.raises(EngineError, match=r"does not find a motion of \(5, -3\) pixels"):
        check_motion(device)
    device.close()


class Counting(CpuDevice):
    """Knows which of its marks have not been given back."""

    def __init__(self, kernels: HostKernels) -> None:
        super().__init__(kernels=kernels)
        self.open: set[int] = set()

    def make_mark(self, spins: bool = False) -> Mark:
        made = super().make_mark(spins)
        close = made.close
        self.open.add(id(made))

        def closing() -> None:
            self.open.discard(id(made))
            close()

        made.close = closing  # type: ignore[method-assign]
        return made


def test_checks_give_back_their_marks(host_kernels: HostKernels) -> None:
    device = Counting(host_kernels)
    check_kernels(device)
    assert device.open == set()
    check_motion(device)
    assert device.open == set()
    device.close()

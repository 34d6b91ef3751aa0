"""The kernels as a GPU's compiler is given them, blocks and lanes, against the same text as plain C++."""

from __future__ import annotations

import ctypes
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.programs import frames
from tests.engines.on_device import OnDevice

from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.kernels import host
from irchroma.engines.gpu.kernels.host import FLAGS, HostKernels
from irchroma.engines.gpu.kernels.source import (
    BLOCK,
    FILES,
    FOLDER,
    UNIT,
    ExtentStruct,
    Launch,
    kernel_names,
    launch,
    source,
    tiled_kernels,
)

pytestmark = pytest.mark.timeout(600)  # as the sanitizers: a busy machine takes minutes


class _Place(ctypes.Structure):
    _fields_ = [("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint)]


class AsCuda:
    """All kernels as `as_cuda.h` makes them, over `cuda_on_cpu.h`."""

    def __init__(self, folder: Path) -> None:
        command = host.compiler()
        if command is None:
            pytest.skip("no C++ compiler on this machine: install g++")
        text = "".join(source(name) for name in FILES)
        together = {
            name: name in tiled_kernels() or f"LANE_KERNEL({name})" in text for name in kernel_names()
        }
        runs = "".join(
            f'extern "C" void run_{name}(Place3 blocks, Extent extent, const {name}_arguments *args, unsigned'
            f" bytes) {{ run_grid(blocks, bytes, {int(waits)}, [&] {{ {name}(extent, *args); }}); }}\n"
            for name, waits in together.items()
        )
        unit = '#include "cuda_on_cpu.h"\n' + UNIT + runs
        # Memory that a block shares has no length in CUDA, and is nobody's own here.
        words = [command, *FLAGS, "-Wno-unused-function", f"-I{FOLDER}", f"-I{Path(__file__).parent}"]
        words.append("-U_FORTIFY_SOURCE")  # set in Ubuntu's compiler, ends who jumps between stacks
        made = folder / "as_cuda.so"
        done = subprocess.run(
            [*words, "-o", str(made), "-"], input=unit, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr[:3000]
        self._library = ctypes.CDLL(str(made))
        self._one_at_a_time = threading.Lock()  # the library has one block

    def run(self, work: Launch) -> None:
        """As `cuLaunchKernel` is asked to."""
        extent, arguments = ExtentStruct(*work.extent), ctypes.byref(work.arguments)
        with self._one_at_a_time:
            function = getattr(self._library, f"run_{work.kernel}")
            function(_Place(*work.blocks), extent, arguments, work.shared_bytes)


class Both:
    """Every launch by both, which must leave the same bytes, in whatever order a GPU goes."""

    def __init__(self, plain: HostKernels, as_cuda: AsCuda, times: int = 3) -> None:
        self._plain, self._as_cuda, self._times = plain, as_cuda, times
        self.ran: set[str] = set()
        self.differ: list[str] = []

    def run(self, work: Launch) -> None:
        """The device goes on with what the plain ones made."""
        written = [(ctypes.c_ubyte * (end - begin)).from_address(begin) for begin, end in work.writes]
        before = [bytes(one) for one in written]
        made = []
        for run in (*[self._as_cuda.run] * self._times, self._plain.run):
            for one, old in zip(written, before, strict=True):
                ctypes.memmove(one, old, len(old))
            run(work)
            made.append([bytes(one) for one in written])
        self.ran.add(work.kernel)
        if any(one != made[-1] for one in made):
            self.differ.append(f"{work.kernel} of {work.extent}")


@pytest.fixture(scope="module")
def as_cuda(tmp_path_factory: pytest.TempPathFactory) -> AsCuda:
    assert BLOCK == (32, 8)
    return AsCuda(tmp_path_factory.mktemp("as_cuda"))


@pytest.mark.slow
def test_frames_of_no_whole_blocks_are_those_of_plain_cpp_to_the_last_bit(
    host_kernels: HostKernels, as_cuda: AsCuda
) -> None:
    both: Any = Both(host_kernels, as_cuda, times=1)  # each kernel runs dozens of times
    frames.color("cpu", ["80x50", "35x21"], both)
    assert both.differ == []
    assert set(kernel_names()) - both.ran == set()


def test_float16_goes_in_and_out_as_by_numpy(as_cuda: AsCuda) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    device: Any = CpuDevice(kernels=as_cuda)  # type: ignore[arg-type]
    desk = OnDevice(device)
    given, out = desk.put(levels), desk.room((8, 32), np.float16)
    size = {"width": 32, "height": 8, "padded_width": 32, "half": 1}
    desk.run(launch("fill_input", (32, 8, 1), small=given, out=out, **size))
    expected = (levels.astype(np.float32) * np.float32(1 / 255)).astype(np.float16)
    np.testing.assert_array_equal(desk.get(out), expected)
    desk.close()


def test_what_a_gpu_would_get_wrong_is_found_out(host_kernels: HostKernels, as_cuda: AsCuda) -> None:
    """Or that both agree would mean nothing: a launch that covers a part of its picture only."""

    class Short(Launch):
        blocks = (1, 1, 1)  # type: ignore[assignment]

    both: Any = Both(host_kernels, as_cuda)
    device = CpuDevice(kernels=both)
    desk = OnDevice(device)
    values = desk.put(np.ones((40, 40), np.float32))
    whole, short = (
        launch("box", (40, 40, 1), planes=values, out=desk.room((40, 40)), width=40, height=40, radius=3)
        for _ in range(2)
    )
    desk.run(whole)
    assert both.differ == []
    desk.run(Short(*(getattr(short, name) for name in short.__dataclass_fields__)))
    assert both.differ == ["box of (40, 40, 1)"]
    desk.close()


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in place"])
def test_places_that_read_what_others_write_are_found_out(
    host_kernels: HostKernels, as_cuda: AsCuda, apart: bool
) -> None:
    """Windows' means in place: each block reads what its neighbors may have written already."""
    both: Any = Both(host_kernels, as_cuda)
    desk = OnDevice(CpuDevice(kernels=both))
    values = desk.put(np.random.default_rng(5).random((40, 70), np.float32))
    out = desk.room((40, 70)) if apart else values
    desk.run(launch("box", (70, 40, 1), planes=values, out=out, width=70, height=40, radius=3))
    assert both.differ == ([] if apart else ["box of (70, 40, 1)"])
    desk.close()

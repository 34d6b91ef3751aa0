"""Cameras of one GPU share what a context has once, and lose it together: over a stand-in for the driver."""

from __future__ import annotations

import importlib.util
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from tests.engines.gpu.cuda.conftest import CUBIN, Desk

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.cuda import driver as driver_module
from irchroma.engines.gpu.cuda.compile import KernelBinary
from irchroma.engines.gpu.cuda.driver import HeldKernels

Program = Callable[..., subprocess.CompletedProcess[str]]
CONTEXT = 5


@pytest.fixture
def held(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], HeldKernels]]:
    """Opens what each camera's device opens of the kernels."""

    def binaries(compute_capability: str) -> Iterator[KernelBinary]:
        yield KernelBinary(CUBIN, "a double")

    monkeypatch.setattr(driver_module, "kernel_binaries", binaries)

    def hold() -> HeldKernels:
        desk.driver.set_current(desk.driver.retain_primary(0))
        desk.driver.release_primary(0)
        return HeldKernels(desk.driver, CONTEXT, "9.0")

    yield hold
    assert driver_module._kernels_of[CONTEXT].users == 0


def modules(desk: Desk) -> int:
    """That are loaded beside the desk's own."""
    return desk.left()[5] - 1


def test_kernels_are_loaded_with_the_first_camera_and_unloaded_with_the_last(
    desk: Desk, held: Callable[[], HeldKernels]
) -> None:
    """Each loaded its own: that may wait for the whole device, on which the others record."""
    found: list[HeldKernels] = []
    threads = [threading.Thread(target=lambda: found.append(held())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), modules(desk)) == (4, 1)
    assert len({id(one.module) for one in found}) == 1
    for one in found[:3]:
        one.close()
        one.close()
    assert modules(desk) == 1
    found[3].close()
    assert modules(desk) == 0
    again = held()
    assert (again.compiler, modules(desk)) == ("a double", 1)
    again.close()


def test_kernels_that_cannot_be_loaded_are_nobodys(
    desk: Desk, held: Callable[[], HeldKernels], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(compute_capability: str) -> Iterator[KernelBinary]:
        raise EngineError("no compiler")
        yield

    good = driver_module.kernel_binaries
    monkeypatch.setattr(driver_module, "kernel_binaries", none)
    for _ in range(2):
        with pytest.raises(EngineError, match="no compiler"):
            held()
    monkeypatch.setattr(driver_module, "kernel_binaries", good)
    one = held()
    assert modules(desk) == 1
    one.close()


def test_a_device_that_is_lost_while_it_records_is_no_recording_that_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told as one: a camera said that it goes on without branches, and then that its GPU is lost."""

    def lost() -> None:
        raise DeviceLost("cuLaunchKernel fails: unspecified launch failure")

    with pytest.raises(DeviceLost, match="cuLaunchKernel"):
        desk.driver.capture(desk.stream, lost)
    for call in ("cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"):
        monkeypatch.setattr(desk.driver, "_library", Lost(desk.driver._library, call))
        with pytest.raises(DeviceLost, match=call):
            desk.driver.capture(desk.stream, lambda: None)
        monkeypatch.undo()


class Lost:
    """A driver whose device is lost with one call."""

    def __init__(self, real: Any, call: str) -> None:
        self._real, self._call = real, call

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: 719) if name == self._call else getattr(self._real, name)


needs_pycuda = pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is None, reason="pycuda is not installed"
)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
DEVICES = [pytest.param("torch", marks=needs_torch), pytest.param("pycuda", marks=needs_pycuda)]


def program_of(device: str, over_stand_in: Program) -> Program:
    """Runs one of `programs` on that device over the stand-in."""
    if device == "torch":
        return lambda name, words, **more: over_stand_in(
            "cuda.torch_over_stand_in", f"{name} {words}", **more
        )
    return partial(over_stand_in)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("words", "when"), [("", "any"), ("--come-and-go", "late"), ("--come-and-go --lose", "any")]
)
def test_sixteen_cameras_of_a_gpu_show_what_one_shows_and_leave_nothing(
    over_stand_in: Program, device: str, words: str, when: str
) -> None:
    run = program_of(device, over_stand_in)
    done = run("programs.many_cameras", f"--device {device} {words}", when=when)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "33 streams" in done.stdout
    assert ", 1 modules" in done.stdout
    assert ("told after" in done.stdout) == ("--lose" in words)


@needs_torch
def test_cameras_whose_gpu_is_lost_go_on_by_the_cpu_and_say_each_thing_once(over_stand_in: Program) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    done = over_stand_in("cuda.torch_over_stand_in", "programs.many_fall_back --cameras 8", when="any")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if " times: " in line]
    assert [line.partition(" times")[0] for line in said] == ["8", "8"], done.stdout
    assert all("restart irchroma" in line for line in said)

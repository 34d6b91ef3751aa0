"""PyCUDA itself over a stand-in for the driver: nothing is left behind, whatever fails."""

from __future__ import annotations

import importlib.util
import subprocess
import threading
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engines.conftest import _on_gpu

from irchroma.engines.errors import DeviceLost, EngineError, EngineUnavailable
from irchroma.engines.gpu.cuda import context, pycuda_device
from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice, _left_alone

needs_pycuda = pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is None, reason="pycuda is not installed"
)


@needs_pycuda
@pytest.mark.parametrize(
    ("words", "fails"),
    [
        *product(["", "--shared"], ["", "begin", "end", "branches", "instantiate", "memory", "lost"]),
        *product(["--stays", "--shared --stays"], ["", "memory", "lost"]),
        *product(["--reference", "--shared --reference"], ["", "branches", "memory", "lost"]),
        ("--stays --reference", ""),
    ],
)
def test_the_frame_path_of_pycuda_gives_everything_back(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]], fails: str, words: str
) -> None:
    done = over_stand_in("cuda.pycuda_over_stand_in", words, fails)
    assert done.returncode == 0, done.stderr


@needs_pycuda
@pytest.mark.parametrize("fails", ["", "memory", "lost"])
def test_the_engine_reference_by_pycuda_gives_everything_back(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]], fails: str
) -> None:
    done = over_stand_in("cuda.reference_over_stand_in", "", fails)
    assert done.returncode == 0, done.stderr


@needs_pycuda
@pytest.mark.parametrize("when", ["", "late", "any"])
def test_frames_in_flight_by_pycuda_wait_for_all_that_they_need(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]], when: str
) -> None:
    done = over_stand_in("programs.in_flight", "--device pycuda", when=when)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cameras, 3 in flight, 12 recorded, searches" in done.stdout


@needs_pycuda
def test_the_program_that_loses_a_gpu_on_purpose_ends_well(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Of `first_gpu_run`: on a GPU it has no second try."""
    done = over_stand_in("programs.lost", "--device pycuda")
    assert done.returncode == 0, done.stderr
    assert "refused: GPU 0 is lost" in done.stdout


def test_a_context_that_cannot_be_made_current_any_more_is_closed_without_an_error() -> None:
    """PyCUDA's objects then stay: their ends would abort the process."""

    class Refused(Exception):
        pass

    def refuse() -> None:
        raise Refused("cuCtxPushCurrent failed: unspecified launch failure")

    released: list[int] = []
    memory = SimpleNamespace(free=lambda: pytest.fail("given back without a context"))
    device: Any = object.__new__(PyCudaDevice)
    device._pycuda = SimpleNamespace(Error=Refused, MemoryError=Refused)
    device._context = SimpleNamespace(push=refuse)
    device.driver = SimpleNamespace(release_primary=released.append)
    device._device_name, device._index, device._made_here = "double", 0, threading.local()
    device._allocations, device._pinned = {1: memory}, {2: memory}
    device._queues, device._marks, device._kernels = [], [], None
    before = len(_left_alone)
    device.close()
    device.close()
    assert released == [0]
    assert len(_left_alone) > before
    with pytest.raises(EngineError, match="closed"), device.current():
        pass


def test_a_device_that_a_call_found_lost_says_so_and_not_that_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gives back a recording's branches hears it first, and goes on."""

    class Refused(Exception):
        pass

    def fail() -> None:
        raise Refused("cuCtxPopCurrent failed: unspecified launch failure")

    monkeypatch.setattr(context, "_lost", {})
    device: Any = object.__new__(PyCudaDevice)
    device._pycuda = SimpleNamespace(Error=Refused, MemoryError=(), Context=SimpleNamespace(pop=fail))
    device._context = SimpleNamespace(push=lambda: None, detach=lambda: None)
    device.driver = SimpleNamespace(release_primary=lambda index: None)
    device._device_name, device._index, device._made_here = "double", 0, threading.local()
    device._kernels = None
    with pytest.raises(DeviceLost, match="restart"), device.making():
        pass
    for asks in (device.making, device.current):
        with pytest.raises(DeviceLost, match="restart"), asks():
            pass
    with pytest.raises(DeviceLost, match="restart"):
        device.kernels()


def test_what_is_tested_on_every_device_skips_pycuda_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is lent they were errors, half of all."""

    def missing() -> None:
        raise EngineUnavailable("pycuda does not load")

    monkeypatch.setattr(pycuda_device, "CudaDriver", lambda: None)
    monkeypatch.setattr(pycuda_device, "_pycuda", missing)
    with pytest.raises(pytest.skip.Exception, match="pycuda does not load"):
        _on_gpu("pycuda")


def test_a_network_that_takes_turns_is_told_with_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches of a shared network compute in one piece of memory, and otherwise in twice as much."""
    device: Any = object.__new__(PyCudaDevice)
    device._runtime, device._index = "tensorrt", 0
    device.__dict__["_current"] = nullcontext()
    monkeypatch.setattr(pycuda_device, "open_plan", lambda *words: words)
    told: list[Any] = []

    class Execution:
        def __init__(self, *words: Any) -> None:
            told.extend(words)

    monkeypatch.setattr(pycuda_device, "PlanExecution", Execution)
    largest: Any = object()
    path, size = Path("a.onnx"), (64, 96)
    device.open_network(path, size, 2, largest)
    assert told == [("tensorrt", 0, path, size, 2), device, size, 2, largest]


@pytest.mark.parametrize(("spins", "flags"), [(True, 2), (False, 3)])
def test_a_mark_is_waited_for_awake_where_that_is_asked_for(spins: bool, flags: int) -> None:
    device: Any = object.__new__(PyCudaDevice)
    flag = SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2)
    module = SimpleNamespace(event_flags=flag, Event=lambda made_of: made_of, Error=EngineError)
    device._pycuda, device._made_here, device._marks = module, threading.local(), []
    device._made_here.depth, device._context = 1, "current"
    assert device.make_mark(spins).event == flags


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("pycuda", "GPU has too little memory: cuDevicePrimaryCtxRetain failed: out of memory"),
        ("driver", "busy"),
    ],
)
def test_a_gpu_without_room_for_a_context_is_refused_in_one_line_and_let_go(
    fails: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was an error of PyCUDA's own: nobody who catches ours saw it, and `FailedRuntimes` kept it."""

    class Refused(Exception):
        pass

    class Full(Refused):
        pass

    held: list[int] = []

    def retain(index: int) -> int:
        if fails == "driver":
            raise EngineError("cuDevicePrimaryCtxRetain fails: busy")
        held.append(index)
        return 1

    def full() -> None:
        raise Full("cuDevicePrimaryCtxRetain failed: out of memory")

    class Device:
        count = staticmethod(lambda: 1)

        def __init__(self, index: int) -> None:
            self.retain_primary_context = full

        def name(self) -> str:
            return "GPU"

        def compute_capability(self) -> tuple[int, int]:
            return 8, 9

    module = SimpleNamespace(Error=Refused, MemoryError=Full, Device=Device, init=lambda: None)
    driver = SimpleNamespace(retain_primary=retain, release_primary=held.remove)
    monkeypatch.setattr(pycuda_device, "_pycuda", lambda: module)
    monkeypatch.setattr(pycuda_device, "CudaDriver", lambda: driver)
    with pytest.raises(EngineError, match=says):
        PyCudaDevice(0)
    assert held == []

"""Calls to the CUDA driver, their arguments and what becomes of its errors, against a stand-in for it.

What needs a real driver is in the tests marked `gpu`. PyCUDA itself, where it is installed, runs over the
same stand-in in a process of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.cuda.conftest import Desk

from irchroma.engines.errors import DeviceLost, EngineError, EngineUnavailable
from irchroma.engines.gpu.cpu_device import device_array
from irchroma.engines.gpu.cuda import context
from irchroma.engines.gpu.cuda.driver import CudaDriver, KernelModule
from irchroma.engines.gpu.cuda.nvrtc import packaged_folders
from irchroma.engines.gpu.cuda.picture_memory import CudaPictures
from irchroma.engines.gpu.device import CaptureRefused
from irchroma.engines.gpu.frames.pictures import PicturePool
from irchroma.engines.gpu.kernels.source import Launch, launch


def doubled(values: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> Launch:
    """A kernel that halves a picture's sides; of a flat one, only its size changes."""
    sizes = {"width": values.shape[1], "height": values.shape[0]}
    to = {"to_width": out.shape[1], "to_height": out.shape[0]}
    extent = (out.shape[1], out.shape[0], 1)
    arrays = {"luma": device_array(values), "out": device_array(out)}
    return launch("shrink_luma", extent, **arrays, **sizes, **to)


class Fork:
    """Two streams and the events between them, by the driver's own calls."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.streams = desk.stream, desk.driver.make_stream()
        self.events = [ctypes.c_void_p() for _ in range(3)]
        for event in self.events:
            desk.driver.call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(2))

    def launch(self, source: np.ndarray[Any, Any], target: np.ndarray[Any, Any], stream: int) -> None:
        self._desk.kernels.launch(doubled(source, target), self.streams[stream])

    def record(self, event: int, stream: int) -> None:
        self._desk.driver.call("cuEventRecord", self.events[event], ctypes.c_void_p(self.streams[stream]))

    def wait(self, event: int, stream: int) -> None:
        where = ctypes.c_void_p(self.streams[stream])
        self._desk.driver.call("cuStreamWaitEvent", where, self.events[event], ctypes.c_uint(0))

    def close(self) -> None:
        for event in self.events:
            self._desk.driver.call("cuEventDestroy_v2", event)
        self._desk.driver.destroy_stream(self.streams[1])


@pytest.fixture
def fork(desk: Desk) -> Iterator[Fork]:
    made = Fork(desk)
    yield made
    made.close()


def test_a_kernel_gets_its_grid_and_its_arguments(desk: Desk) -> None:
    values, out = np.full((66, 130), 42, np.uint8), np.zeros((33, 65), np.uint8)
    desk.kernels.launch(doubled(values, out), desk.stream)
    assert (out == 42).all()


def test_copies_go_both_ways(desk: Desk) -> None:
    host, device, back = (np.zeros(64, np.uint8) for _ in range(3))
    host[:] = np.arange(64)
    desk.driver.copy_in(device.ctypes.data, host.ctypes.data, 64, desk.stream)
    desk.driver.copy_out(back.ctypes.data, device.ctypes.data, 64, desk.stream)
    np.testing.assert_array_equal(back, host)


def test_work_is_done_when_somebody_waits_for_it_and_nothing_else_is(
    desk: Desk, fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the stand-in is as late as a GPU may be: or no wait that was left out would be found over it."""
    monkeypatch.setenv("STAND_IN_WHEN", "late")
    seen, half, quarter, beside = (np.full((side, side), 5, np.uint8) for side in (64, 32, 16, 16))
    fork.launch(seen, half, 0)
    fork.record(0, 0)
    fork.wait(0, 1)
    fork.launch(half, quarter, 1)
    fork.record(1, 1)
    fork.launch(half, beside, 0)
    seen[:], beside[:] = 9, 7  # before the kernel has read it
    assert desk.library.cuEventQuery(fork.events[1]) == 600  # CUDA_ERROR_NOT_READY
    desk.driver.call("cuEventSynchronize", fork.events[1])
    assert (quarter == 9).all()
    assert (beside == 7).all()
    desk.driver.call("cuStreamSynchronize", ctypes.c_void_p(desk.stream))
    assert (beside == 9).all()


def test_copies_out_of_pinned_memory_read_it_later_and_others_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_WHEN", "late")
    host, device = np.full(64, 1, np.uint8), np.zeros(64, np.uint8)
    for pins, arrives in ((False, 1), (True, 2)):
        if pins:
            desk.library.stand_in_pin(ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(64))
        host[:] = 1
        desk.driver.copy_in(device.ctypes.data, host.ctypes.data, 64, desk.stream)
        host[:] = 2
        desk.driver.call("cuStreamSynchronize", ctypes.c_void_p(desk.stream))
        assert (device == arrives).all()
    desk.library.stand_in_pin(ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(0))


def test_a_copy_beyond_the_end_of_memory_is_refused(desk: Desk) -> None:
    address, host = ctypes.c_uint64(), np.zeros(64, np.uint8)
    desk.driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(60))
    with pytest.raises(EngineError, match="cuMemcpyHtoDAsync"):
        desk.driver.copy_in(address.value, host.ctypes.data, 64, desk.stream)
    desk.driver.call("cuMemFree_v2", address)


def test_whoever_records_waits_for_nothing(desk: Desk, fork: Fork) -> None:
    """Capture mode "thread local" forbids its thread what is potentially unsafe: held to the strict."""
    for name, what in (("cuStreamSynchronize", fork.streams[1]), ("cuEventQuery", fork.events[2])):
        call = partial(
            desk.driver.call, name, what if isinstance(what, ctypes.c_void_p) else ctypes.c_void_p(what)
        )
        with pytest.raises(CaptureRefused, match=name):
            desk.driver.capture(desk.stream, call)


def test_recorded_work_is_done_at_each_replay_and_not_before(desk: Desk) -> None:
    values, out = np.full((64, 64), 7, np.uint8), np.zeros((32, 32), np.uint8)
    graph = desk.driver.capture(desk.stream, lambda: desk.kernels.launch(doubled(values, out), desk.stream))
    assert (out == 0).all()
    for level in (9, 11):
        values[:] = level
        graph.launch(desk.stream)
        assert (out == level).all()
    graph.close()
    graph.close()


@pytest.mark.parametrize("where", ["begin", "end", "instantiate"])
def test_a_refusal_to_record_is_told_and_leaves_the_stream_usable(
    desk: Desk, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, out = np.full((64, 64), 7, np.uint8), np.zeros((32, 32), np.uint8)
    work = doubled(values, out)
    monkeypatch.setenv("STAND_IN_FAILS", where)
    with pytest.raises(CaptureRefused, match="CUDA_ERROR_O"):
        desk.driver.capture(desk.stream, lambda: desk.kernels.launch(work, desk.stream))
    assert (out == 0).all()
    desk.kernels.launch(work, desk.stream)
    assert (out == 7).all()


def test_work_that_fails_while_it_is_recorded_ends_the_recording(desk: Desk) -> None:
    def work() -> None:
        raise EngineError("the network cannot be recorded")

    with pytest.raises(CaptureRefused, match="the network cannot be recorded"):
        desk.driver.capture(desk.stream, work)
    values, out = np.full((64, 64), 7, np.uint8), np.zeros((32, 32), np.uint8)
    desk.kernels.launch(doubled(values, out), desk.stream)
    assert (out == 7).all()


@pytest.mark.parametrize("waits", [True, False], ids=["waits", "wait left out"])
def test_branches_of_a_recording_keep_the_order_that_events_give_and_no_other(
    desk: Desk, fork: Fork, waits: bool
) -> None:
    """Halved by one stream, again by the other, and a third time by the first, which does more meanwhile."""
    seen, half, quarter, eighth = (np.zeros((64 >> at, 64 >> at), np.uint8) for at in range(4))
    beside = np.zeros((32, 32), np.uint8)

    def work() -> None:
        fork.launch(seen, half, 0)
        fork.record(0, 0)
        fork.wait(0, 1)
        fork.launch(half, quarter, 1)
        fork.record(1, 1)
        fork.launch(seen, beside, 0)
        if waits:
            fork.wait(1, 0)
        fork.launch(quarter, eighth, 0)
        fork.wait(1, 0)

    graph = desk.driver.capture(desk.stream, work)
    right = []
    for level in range(3, 15):  # each in another of the orders that are left open
        seen[:] = level
        graph.launch(desk.stream)
        assert (quarter == level).all()
        assert (beside == level).all()
        right.append(bool((eighth == level).all()))
    nodes, row = ctypes.c_int(), ctypes.c_int()
    desk.library.stand_in_shape(ctypes.byref(nodes), ctypes.byref(row))
    assert (nodes.value, row.value) == (4, 3)
    assert all(right) == waits
    graph.close()


def test_events_are_of_a_recording_or_of_none(desk: Desk, fork: Fork) -> None:
    seen, half = np.full((64, 64), 9, np.uint8), np.zeros((32, 32), np.uint8)
    fork.record(2, 1)

    def joins_nothing() -> None:
        fork.record(0, 0)
        fork.wait(0, 1)
        fork.launch(seen, half, 1)

    for work in (lambda: fork.wait(2, 0), joins_nothing):
        with pytest.raises(CaptureRefused):
            desk.driver.capture(desk.stream, work)
        assert (half == 0).all()
    for stream in (0, 1):  # neither is left within a recording
        half[:] = 0
        fork.launch(seen, half, stream)
        assert (half == 9).all()
    desk.driver.capture(desk.stream, lambda: fork.record(0, 0)).close()
    with pytest.raises(EngineError):
        fork.wait(0, 1)
    with pytest.raises(EngineError):
        desk.driver.call("cuEventSynchronize", fork.events[0])


def test_errors_are_the_drivers_own_words(desk: Desk) -> None:
    with pytest.raises(EngineError, match="cuModuleLoadData fails: CUDA_ERROR_OTHER, in the driver's words"):
        KernelModule(desk.driver, b"no machine code at all")
    with pytest.raises(EngineError, match=r"OUT_OF_MEMORY.*fewer streams"):
        desk.driver.call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(1 << 40))


def test_a_broken_context_is_told_from_other_failures(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_lost", {})
    for status, kind in ((719, DeviceLost), (999, DeviceLost), (1, EngineError)):
        monkeypatch.setattr(desk.driver, "_library", Answering(desk.driver._library, status))
        with pytest.raises(EngineError) as caught:
            desk.driver.call("cuCtxSynchronize")
        assert type(caught.value) is kind
        monkeypatch.undo()
    assert context.is_sticky("cuMemcpyHtoDAsync failed: an illegal memory access was encountered")
    assert not context.is_sticky("cuMemAlloc failed: out of memory")


def test_what_breaks_a_context_is_known_by_the_runtimes_own_words() -> None:
    """Which PyCUDA and torch hand on: its library says them without a GPU."""
    found = [path for folder in packaged_folders() for path in folder.glob("cu13/lib/libcudart.so.13")]
    if not found:
        pytest.skip("no CUDA runtime library here: pip install 'irchroma[cuda-compiler]'")
    says = ctypes.CDLL(str(found[0])).cudaGetErrorString
    says.restype = ctypes.c_char_p
    for status, words in context.STICKY.items():
        assert words in says(status).decode(), status
    for status in (2, 100, 201, 600, 900, 901, 906, 907):  # memory, no device, context, not ready, recordings
        assert not context.is_sticky(says(status).decode()), status


class Answering:
    """A driver that answers one call so."""

    def __init__(self, real: Any, status: int) -> None:
        self._real, self._status = real, status

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: self._status) if name == "cuCtxSynchronize" else getattr(self._real, name)


def test_no_driver_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no NVIDIA driver here"):
        CudaDriver(str(tmp_path / "libcuda.so.1"))


def test_memory_for_pictures_is_the_driver_s_own_and_given_back(desk: Desk) -> None:
    before = desk.left()
    memory = CudaPictures(0, desk.driver)
    assert memory.context == desk.driver.retain_primary(0)
    desk.driver.release_primary(0)
    pool = PicturePool(memory, (32, 48))
    held = pool.take()
    assert held is not None
    noise = np.random.default_rng(3).integers(0, 256, held.array.nbytes, np.uint8)
    memory.write(noise, held.array)
    assert np.array_equal(memory.read(held.array), noise)
    drawn = held.with_rows(8, [255 - plane for plane in held.rows(8, 12)])
    assert drawn is not None
    expected = noise.reshape(48, 48).copy()
    expected[8:12], expected[36:38] = 255 - expected[8:12], 255 - expected[36:38]
    assert np.array_equal(memory.read(drawn.array), expected.ravel())
    pool.close()
    held = None
    assert desk.left() != before
    drawn = None
    assert desk.left() == before
    memory.close()
    with pytest.raises(EngineError, match="closed"):
        memory.allocate(10)
    assert desk.left() == before


def test_pictures_of_a_lost_device_are_let_go_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context, "_lost", {})
    lost: list[bool] = []
    released: list[int] = []

    def push(context: int) -> None:
        if lost:
            raise DeviceLost("cuCtxPushCurrent_v2 fails: launch failure")

    driver: Any = SimpleNamespace(
        retain_primary=lambda index: 5,
        make_stream=lambda: 7,
        push_context=push,
        pop_context=lambda: None,
        call=lambda *words: None,
        release_primary=released.append,
    )
    pool = PicturePool(CudaPictures(0, driver), (32, 48))
    held = pool.take()
    assert held is not None
    lost.append(True)
    with pytest.raises(DeviceLost, match="restart"):
        held.rows(0, 32)
    assert pool.take() is None
    pool.close()
    assert not released
    held = None
    assert pool.out == 0
    pool.close()
    assert released == [0]


def test_a_library_without_what_a_frame_needs_is_no_driver() -> None:
    with pytest.raises(EngineUnavailable, match=r"cuCtxPushCurrent_v2.*--device cpu"):
        CudaDriver("libm.so.6")

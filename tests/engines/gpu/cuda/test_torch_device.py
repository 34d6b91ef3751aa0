"""Torch's recordings, over a double of its graphs and pools that keeps the rules of its C++ sources.

What `CUDAGraph.cpp` and `CUDACachingAllocator.cpp` of torch 2.11 to 2.13 do with a recording that was
spoiled: `capture_end` throws at `cudaStreamEndCapture`, before the allocator is told, and the next
`capture_begin` on that pool finds it still being recorded to.
"""

from __future__ import annotations

import gc
import subprocess
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.capture.capture_lock import recordings
from irchroma.engines.gpu.cuda import context
from irchroma.engines.gpu.device import CaptureRefused

torch: Any = pytest.importorskip("torch")
torch_device: Any = pytest.importorskip("irchroma.engines.gpu.cuda.torch_device")
TorchDevice, TorchQueue = torch_device.TorchDevice, torch_device.TorchQueue


class Allocator:
    """Of one device: which pools are recorded to, and whose graphs it would ask."""

    def __init__(self) -> None:
        self.pools = 0
        self.underway: dict[int, GraphDouble] = {}
        self.spoiled = self.refuses = False

    def handle(self) -> int:
        self.pools += 1
        return self.pools

    def end(self, index: int, pool: int) -> None:
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        del self.underway[pool]


class GraphDouble:
    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator

    def capture_begin(self, pool: int, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        if pool in self.allocator.underway:
            raise RuntimeError("beginAllocateToPool: already recording to mempool_id")
        self.allocator.underway[pool] = self
        self.pool = pool
        self.allocator.spoiled = False
        if self.allocator.refuses:  # at cudaStreamBeginCapture, when the allocator has been told
            raise RuntimeError(
                "CUDA error: operation would make the legacy stream depend on a capturing stream"
            )

    def capture_end(self) -> None:
        if self.allocator.spoiled:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.allocator.end(0, self.pool)

    def reset(self) -> None:
        assert torch_device._one_recording.locked(), "a graph of another thread may be beginning"

    def __del__(self) -> None:
        assert self not in self.allocator.underway.values(), "the allocator would ask a graph that is gone"


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    made = Allocator()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", partial(GraphDouble, made))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", made.handle)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", made.end)
    monkeypatch.setattr(context, "_lost", {})
    return made


@pytest.fixture
def device() -> Any:
    """Without a GPU, as far as recordings go."""
    made = object.__new__(TorchDevice)
    made.driver = SimpleNamespace(set_current=lambda context: None)
    made.device, made._index, made._context, made._device_name = torch.device("cuda", 0), 0, 1, "double"
    return made


def test_a_recording_that_was_spoiled_leaves_a_queue_that_can_record(
    allocator: Allocator, device: Any
) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))

    def waits_for_a_result() -> None:
        """What `.item()` within a recording comes to."""
        allocator.spoiled = True
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    for _ in range(3):
        with pytest.raises(CaptureRefused, match="operation not permitted when stream is capturing"):
            queue.capture(waits_for_a_result)
        assert allocator.underway == {}
    recorded = queue.capture(lambda: None)
    assert recorded.pool == allocator.pools
    assert allocator.underway == {}


def test_a_recording_that_could_not_begin_leaves_a_queue_that_can_record(
    allocator: Allocator, device: Any
) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))
    allocator.refuses = True
    with pytest.raises(CaptureRefused, match="legacy stream"):
        queue.capture(lambda: pytest.fail("nothing is recorded"))
    allocator.refuses = False
    gc.collect()
    queue.capture(lambda: None)
    assert allocator.underway == {}


def test_a_torch_that_cannot_be_told_has_another_pool_for_the_next_recording(
    allocator: Allocator, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tells the allocator is torch's own business, and may go by another name one day."""
    monkeypatch.delattr(torch._C, "_cuda_endAllocateToPool")
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))
    with pytest.raises(CaptureRefused):
        queue.capture(lambda: setattr(allocator, "spoiled", True))
    queue.capture(lambda: None)
    allocator.underway.clear()  # as nobody could


def test_graphs_end_while_no_other_begins(allocator: Allocator, device: Any) -> None:
    """Torch 2.11 has a list of them that threads share."""
    device.driver.destroy_stream = lambda cuda_stream: None
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1, synchronize=lambda: None))
    queue.capture(lambda: None)
    queue.close()
    assert not torch_device._one_recording.locked()


def test_what_spoils_a_recording_without_an_error_of_its_own_is_told_too(
    allocator: Allocator, device: Any
) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))
    with pytest.raises(CaptureRefused, match="previous error during capture"):
        queue.capture(lambda: setattr(allocator, "spoiled", True))
    queue.capture(lambda: None)
    gc.collect()


def test_work_that_fails_by_itself_ends_its_recording(allocator: Allocator, device: Any) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))

    def fails() -> None:
        raise EngineError("the network cannot be recorded")

    with pytest.raises(CaptureRefused, match="cannot be recorded"):
        queue.capture(fails)
    queue.capture(lambda: None)


def test_a_device_that_is_lost_while_it_records_is_told_as_lost(allocator: Allocator, device: Any) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))

    def lost() -> None:
        allocator.spoiled = True
        with device.current():  # as each call does
            raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(DeviceLost, match="restart irchroma"):
        queue.capture(lost)
    assert allocator.underway == {}


def test_a_lost_device_is_lost_for_the_process_and_says_what_helps(allocator: Allocator, device: Any) -> None:
    said = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later"
    with (
        pytest.raises(
            DeviceLost, match=r"GPU 0 is lost .* restart irchroma: .*illegal memory access"
        ) as caught,
        device.current(),
    ):
        raise RuntimeError(said)
    assert "\n" not in str(caught.value)
    for opens in (lambda: TorchDevice(0), lambda: context.refuse_lost(0)):
        with pytest.raises(DeviceLost, match="illegal memory access"):
            opens()
    context.refuse_lost(1)


def test_a_gpu_that_torch_cannot_start_on_is_refused_in_one_line_and_let_go(
    allocator: Allocator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def busy(device: Any) -> str:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore of it")

    double = SimpleNamespace(
        retain_primary=lambda index: held.append(index) or 1,
        release_primary=held.remove,
        set_current=lambda context: None,
    )
    monkeypatch.setattr(torch_device, "CudaDriver", lambda: double)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", busy)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    with pytest.raises(EngineError, match=r"GPU 0 fails: CUDA error: .* busy or unavailable$"):
        TorchDevice(0)
    assert held == []
    assert torch.backends.cudnn.benchmark, "shapes are fixed: each convolution's kernel is measured"


@pytest.mark.parametrize("spins", [True, False])
def test_a_mark_is_waited_for_awake_where_that_is_asked_for(
    allocator: Allocator, device: Any, spins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "Event", lambda **how: how)
    assert device.make_mark(spins).event == {"blocking": not spins}


def test_other_errors_are_not_taken_for_a_lost_device(allocator: Allocator, device: Any) -> None:
    with pytest.raises(EngineError, match="double fails: no such thing") as caught, device.current():
        raise RuntimeError("no such thing")
    assert not isinstance(caught.value, DeviceLost)
    context.refuse_lost(0)


def test_a_graph_that_failed_stays(allocator: Allocator, device: Any) -> None:
    queue = TorchQueue(device, SimpleNamespace(cuda_stream=1))
    before = len(torch_device._abandoned)
    with pytest.raises(CaptureRefused):
        queue.capture(lambda: setattr(allocator, "spoiled", True))
    assert len(torch_device._abandoned) == before + 1


def test_a_lost_device_is_closed_without_an_error(allocator: Allocator, device: Any) -> None:
    """Whoever closes it has others to close."""
    asked = []

    def lost(*arguments: Any) -> None:
        asked.append(arguments)
        raise DeviceLost("cuDevicePrimaryCtxRelease_v2 fails: unspecified launch failure")

    device.driver = SimpleNamespace(set_current=lambda context: None, release_primary=lost)
    device._kernels, device._pinned = SimpleNamespace(close=lost), {}
    device.close()
    device.close()
    assert asked == [(), (0,)]


def test_a_threads_first_run_of_a_network_waits_for_others_recordings_and_no_later_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It measures kernels, and gives back torch's cached memory, which fails while anybody records."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    network = object.__new__(torch_device._TorchExecution)
    network._chosen = threading.local()
    ran: list[str] = []
    network._run = lambda: ran.append(threading.current_thread().name)
    begun = threading.Event()

    def run() -> None:
        begun.set()
        network.run()

    with recordings.recording():
        thread = threading.Thread(target=run, name="first")
        thread.start()
        assert begun.wait(10)
        thread.join(0.2)
        assert ran == []
    thread.join(10)
    assert ran == ["first"]
    network.run()
    with recordings.recording():  # nobody else has to have ended
        network.run()
    assert len(ran) == 3


def test_what_is_recorded_does_not_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    network = object.__new__(torch_device._TorchExecution)
    network._chosen = threading.local()
    ran: list[bool] = []
    network._run = lambda: ran.append(True)
    with recordings.recording():
        network.run()
    assert ran == [True]
    assert not hasattr(network._chosen, "all")


def test_a_device_that_is_closed_leaves_nothing_in_torchs_cache(
    allocator: Allocator, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is cached for each stream, and streams that are no more never ask for theirs again."""
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("cache"))
    device._kernels, device._pinned = SimpleNamespace(close=lambda: done.append("kernels")), {}
    device.driver.release_primary = lambda index: done.append("context")
    device.close()
    device.close()
    assert done == ["kernels", "cache", "context"]


def test_frames_by_torch_over_the_stand_in_are_those_of_the_processor(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """What the sanitizers watch on a GPU: streams, events and memory as torch hands them on."""
    done = over_stand_in("cuda.torch_over_stand_in", "programs.frames --device torch --sizes 67x45,80x50")
    assert done.returncode == 0, done.stderr
    assert "80x50, packs True, searches, stays, with a reference" in done.stdout


@pytest.mark.parametrize("when", ["late", "any"])
def test_frames_in_flight_by_torch_wait_for_all_that_they_need(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]], when: str
) -> None:
    """A GPU has done none of what it was asked for when the next frame is prepared, or some of it."""
    done = over_stand_in("cuda.torch_over_stand_in", "programs.in_flight --device torch", when=when)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cameras, 3 in flight, 12 recorded, searches" in done.stdout


def test_the_program_that_loses_a_gpu_on_purpose_ends_well_by_torch(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = over_stand_in("cuda.torch_over_stand_in", "programs.lost --device torch")
    assert done.returncode == 0, done.stderr
    assert "refused: GPU 0 is lost" in done.stdout


def test_the_engine_reference_runs_on_torchs_streams_too(
    over_stand_in: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Where PyCUDA is not here its copies, marks and shapes are seen by torch, at the size of a camera."""
    words = "cuda.reference_over_stand_in --device torch --size 640x512 --work-size 0"
    done = over_stand_in("cuda.torch_over_stand_in", words)
    assert done.returncode == 0, done.stderr
    assert "frame 7" in done.stdout

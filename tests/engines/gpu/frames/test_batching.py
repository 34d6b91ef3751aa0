"""Cameras that share a network on a device show the pictures they show alone, in turn, and fail alone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.gpu.test_colorizer import EXACT, video
from tests.engines.moving_scene import FRAME_NS
from tests.waiting import at_once

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture.capture_lock import RecordingPutOff
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import CaptureRefused, DeviceNetwork
from irchroma.engines.gpu.frames.batching import DeviceBatcher, seat_on_device
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import installed
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.temporal.stage import TemporalOptions

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")

MEAN_LEVELS, FAR_SHARE = 0.01, 1e-4
"""As in test_device_colorizer: a batch's sums are rounded in another order."""

Luma = NDArray[np.uint8]


class Gate(CpuDevice):
    """A device whose network waits until it is let through, and can be told to fail."""

    def __init__(self, kernels: HostKernels, **more: Any) -> None:
        super().__init__(EXACT, kernels, **more)
        self.open = threading.Event()
        self.open.set()
        self.fails = False
        self.sizes: list[int] = []
        self.turns: dict[int, int | None] = {}

    def open_network(self, path: Path, size: tuple[int, int], *batches: Any) -> DeviceNetwork:
        made: Any = super().open_network(path, size, *batches)
        self.turns[batches[0]] = None if batches[1] is None else batches[1].luma.shape[0]
        run = made.run

        def gated() -> None:
            assert self.open.wait(30)
            if self.fails:
                raise EngineError("the network has failed")
            self.sizes.append(made.luma.shape[0])
            run()

        made.run = gated
        return made


class PickyDevice(Gate):
    """Puts recordings off while it is told, and refuses them in a thread that has not run the network."""

    def __init__(self, kernels: HostKernels) -> None:
        super().__init__(kernels)
        self.busy = True

    def open_queue(self) -> Any:
        made: Any = super().open_queue()
        infer, capture, warm = made.infer, made.capture, set()

        def inferring(network: DeviceNetwork) -> None:
            if made.recording is None:
                warm.add(threading.get_ident())
            infer(network)

        def capturing(work: Callable[[], None]) -> Any:
            if self.busy:
                raise RecordingPutOff("a plan is being built")
            if threading.get_ident() not in warm:
                raise CaptureRefused("cuDNN would be set up within the recording")
            return capture(work)

        made.infer, made.capture = inferring, capturing
        return made


class Desk:
    """Cameras of one pool, each a colorizer on a device of its own."""

    def __init__(self, kernels: HostKernels, options: NeuralOptions, batch: BatchOptions) -> None:
        self._kernels, self._options = kernels, options
        self.pool = SharedPool(batch)
        self.gates: list[Gate] = []
        self.captures = True
        self.cameras: list[DeviceColorizer] = []

    def camera(self, depth: int = 2) -> DeviceColorizer:
        def gate() -> Gate:
            self.gates.append(Gate(self._kernels, captures=self.captures))
            return self.gates[-1]

        self.cameras.append(
            DeviceColorizer(
                self._options,
                lambda: CpuDevice(EXACT, self._kernels, captures=self.captures),
                depth,
                open_seat=partial(seat_on_device, self.pool, ("cpu", 0), gate),
            )
        )
        return self.cameras[-1]


MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk(host_kernels: HostKernels, tiny_network: Path) -> Iterator[MakeDesk]:
    made: list[Desk] = []

    def make(options: NeuralOptions | None = None, batch: BatchOptions | None = None) -> Desk:
        tiny = NeuralOptions(weights=tiny_network, work_size_px=96, network=EXACT)
        made.append(Desk(host_kernels, options or tiny, batch or BatchOptions(50, 4)))
        return made[-1]

    yield make
    for one in made:
        for camera in one.cameras:
            camera.close()
        for gate in one.gates:
            assert not gate._queues or not any(queue.is_open for queue in gate._queues)


def pictures(colorizer: DeviceColorizer, frames: list[Luma], into: list[Any]) -> None:
    """Two frames in flight, as in a run; the first picture in false color is the reference, if any."""
    day = np.dstack([frames[0], 255 - frames[0], frames[0] // 2])
    colorizer.exchange_references([Reference(day, np.full(day.shape[:2], 255, np.uint8), "day")])
    for index, luma in enumerate(frames):
        colorizer.submit(luma, index * FRAME_NS, held=index == 3)
        if index:
            into.append(colorizer.collect())
    into.append(colorizer.collect())


@pytest.mark.parametrize(
    "options",
    [
        NeuralOptions(work_size_px=128, network=EXACT),
        NeuralOptions("thermal", work_size_px=96, temporal=TemporalOptions(color_every=3), network=EXACT),
        NeuralOptions(work_size_px=96, steady=False, network=EXACT),
        NeuralOptions(work_size_px=128, reference=AUTO, network=EXACT),
    ],
    ids=["nir", "thermal, every third", "not steady", "steered by a reference"],
)
def test_the_pictures_are_those_of_cameras_alone(
    desk: MakeDesk, host_kernels: HostKernels, options: NeuralOptions
) -> None:
    if not catalog.weights_path(options.engine, options.size).is_file():
        pytest.skip("no weights here")
    scenes = [[np.ascontiguousarray(np.roll(f, 9 * n, 1)) for f in video(11, (120, 160))] for n in range(3)]
    together = desk(options)
    cameras = [together.camera() for _ in scenes]
    found: list[list[Any]] = [[] for _ in scenes]
    at_once([partial(pictures, *one) for one in zip(cameras, scenes, found, strict=True)])
    (figures,) = together.pool.figures()
    assert figures["frames"] > figures["calls"]  # some went together
    for camera in cameras:
        assert camera._steering is None or camera._steering.alignment is not None
    assert all(camera.chain is not None and camera.chain.ring.recorded == 4 for camera in cameras)
    for scene, shown in zip(scenes, found, strict=True):
        alone = DeviceColorizer(options, lambda: CpuDevice(EXACT, host_kernels))
        expected: list[Any] = []
        pictures(alone, scene, expected)
        alone.close()
        for one, other in zip(shown, expected, strict=True):
            off = np.abs(one.rgb.astype(int) - other.rgb)
            assert off.mean() < MEAN_LEVELS
            assert (off > 2).mean() < FAR_SHARE
            assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1


def test_a_camera_has_two_streams_of_the_few_that_a_device_keeps_apart(desk: MakeDesk) -> None:
    made = desk()
    cameras = [made.camera() for _ in range(2)]
    for camera in cameras:
        camera.submit(next(video(1, (96, 128))), 0)
        camera.collect()
    devices: list[Any] = [camera._device for camera in cameras]
    assert [sum(queue.is_open for queue in device._queues) for device in devices] == [2, 2]
    assert [sum(queue.is_open for queue in gate._queues) for gate in made.gates] == [1]  # the network's own


def test_frames_that_come_while_the_device_is_busy_go_together(desk: MakeDesk) -> None:
    together = desk(batch=BatchOptions(0, 4))
    cameras = [together.camera(depth=1) for _ in range(6)]
    luma = next(video(1, (64, 96)))
    for camera in cameras:
        camera.prepare((64, 96))
    (gate,) = together.gates
    gate.open.clear()
    gate.sizes.clear()
    for index, camera in enumerate(cameras):
        camera.submit(np.roll(luma, index, 1), 0)
    assert together.pool.figures()[0]["frames"] < 6 + 6  # the last ones stand in the line
    gate.open.set()
    for camera in cameras:
        camera.collect()
    assert sum(gate.sizes) >= 6
    assert max(gate.sizes) > 1
    assert set(gate.sizes) <= {1, 2, 4}


@pytest.mark.alone
def test_a_frame_waits_for_company_until_its_deadline_and_no_longer(desk: MakeDesk) -> None:
    together = desk(batch=BatchOptions(100, 2))
    first, second = together.camera(depth=1), together.camera(depth=1)
    frames = list(video(6, (64, 96)))
    for index in range(2):  # both have a rhythm now
        for camera in (first, second):
            camera.submit(frames[index], index * FRAME_NS)
            camera.collect()
    start = time.monotonic()
    first.submit(frames[2], 2 * FRAME_NS)
    first.collect()
    assert time.monotonic() - start < 1.0  # the second one did not come
    assert together.pool.figures()[0]["wait_max_ms"] < 1000


def test_a_fast_camera_does_not_starve_a_slow_one(desk: MakeDesk) -> None:
    together = desk(batch=BatchOptions(0, 1))
    fast, slow = together.camera(depth=2), together.camera(depth=1)
    frames = list(video(8, (64, 96)))
    fast.prepare((64, 96))
    slow.prepare((64, 96))
    stop, served = threading.Event(), []

    def hurry() -> None:
        count = 0
        while not stop.is_set():
            fast.submit(frames[count % 8], count * FRAME_NS)
            fast.collect()
            count += 1

    thread = threading.Thread(target=hurry, daemon=True)
    thread.start()
    for index in range(10):
        start = time.monotonic()
        slow.submit(frames[index % 8], index * FRAME_NS)
        slow.collect()
        served.append(time.monotonic() - start)
    stop.set()
    thread.join(30)
    assert max(served) < 5.0


def test_a_failure_reaches_every_camera_of_the_batch_and_a_new_network_serves_them(desk: MakeDesk) -> None:
    together = desk()
    frames = list(video(6, (64, 96)))
    cameras = [together.camera() for _ in range(2)]
    for camera in cameras:
        camera.submit(frames[0], 0)
        camera.collect()
    together.gates[0].fails = True
    for camera in cameras:
        camera.submit(frames[2], FRAME_NS)
        with pytest.raises(EngineError, match="the network has failed"):
            camera.collect()
        camera.close()
    again = together.camera()
    again.submit(frames[0], 0)
    assert again.collect().rgb.shape == (64, 96, 3)
    assert len(together.gates) == 2


def test_a_camera_may_leave_with_frames_in_the_line(desk: MakeDesk) -> None:
    together = desk()
    staying, leaving = together.camera(), together.camera()
    frames = list(video(4, (64, 96)))
    for camera in (staying, leaving):
        camera.prepare((64, 96))
    (gate,) = together.gates
    gate.open.clear()
    for index in range(2):
        leaving.submit(frames[index], index * FRAME_NS)
    threading.Timer(0.2, gate.open.set).start()
    leaving.close()
    staying.submit(frames[0], 0)
    assert staying.collect().rgb.shape == (64, 96, 3)
    assert together.pool.figures()[0]["cameras"] == 1


def test_the_size_of_one_camera_may_change(desk: MakeDesk) -> None:
    together = desk()
    first, second = together.camera(), together.camera()
    for index, size in enumerate([(64, 96), (64, 96), (96, 96)]):
        for camera in (first, second):
            camera.submit(next(video(1, size if camera is first else (64, 96))), index * FRAME_NS)
        assert first.collect().rgb.shape[:2] == size
        second.collect()
    assert sorted(one["cameras"] for one in together.pool.figures()) == [1, 1]


def test_work_that_cannot_be_recorded_is_done_all_the_same(
    desk: MakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    together = desk()
    together.captures = False
    with caplog.at_level(logging.WARNING):
        camera = together.camera()
        for index, luma in enumerate(video(4, (64, 96))):
            camera.submit(luma, index * FRAME_NS)
            camera.collect()
    assert camera.chain is not None
    assert camera.chain.ring.recorded == 0
    assert any("are not recorded" in record.getMessage() for record in caplog.records)


def test_batches_are_opened_beforehand_and_no_larger_than_asked(
    host_kernels: HostKernels, tiny_network: Path
) -> None:
    for most, expected in ((0, (1, 2, 4, 8)), (1, (1,)), (3, (1, 2, 3)), (6, (1, 2, 4, 6))):
        gate = Gate(host_kernels)
        batcher = DeviceBatcher(lambda gate=gate: gate, tiny_network, (64, 96), BatchOptions(0, most))
        assert batcher.batches == expected
        assert tuple(gate.sizes) == expected
        assert batcher.recorded == len(expected)
        # They compute in the memory of the largest, by turns: each had its own, together twice as much.
        assert gate.turns == {frames: None if frames == expected[-1] else expected[-1] for frames in expected}
        seat = batcher.seat()
        assert seat is not None
        seat.close()
        seat.close()
        assert batcher.seat() is None


def test_what_fails_while_a_network_is_opened_leaves_nothing_open(
    desk: MakeDesk, host_kernels: HostKernels, tiny_network: Path
) -> None:
    class Poor(CpuDevice):
        def open_network(self, path: Path, size: tuple[int, int], *batches: Any) -> DeviceNetwork:
            if batches[0] == 2:  # the larger ones are open by then
                raise EngineError("too little memory")
            return super().open_network(path, size, *batches)

    opened: list[Poor] = []

    def poor() -> Poor:
        opened.append(Poor(EXACT, host_kernels))
        return opened[-1]

    options = replace(NeuralOptions(weights=tiny_network, work_size_px=96), network=EXACT)
    pool = SharedPool()
    camera = DeviceColorizer(options, poor, open_seat=partial(seat_on_device, pool, ("cpu", 0), poor))
    with pytest.raises(EngineError, match="too little memory"):
        camera.prepare((64, 96))
    camera.close()
    assert pool.figures() == []
    assert not any(queue.is_open for device in opened for queue in device._queues)


def test_what_was_put_off_is_recorded_in_a_thread_that_has_run_the_network(
    host_kernels: HostKernels, tiny_network: Path
) -> None:
    device = PickyDevice(host_kernels)
    pool = SharedPool(BatchOptions(0, 1))
    seat = partial(seat_on_device, pool, ("cpu", 0), lambda: device)
    options = NeuralOptions(weights=tiny_network, work_size_px=96, network=EXACT)
    camera = DeviceColorizer(options, lambda: CpuDevice(EXACT, host_kernels), open_seat=seat)
    first = seat(tiny_network, (96, 96))  # the camera's frames are of that size there
    device.busy = False
    try:
        found: list[Any] = []
        pictures(camera, list(video(4, (96, 128))), found)
        assert camera.chain is not None
        batcher = camera.chain.network._batcher
        assert batcher is first._batcher
        assert batcher.recorded == 1
        assert len(found) == 4
    finally:
        first.close()
        camera.close()

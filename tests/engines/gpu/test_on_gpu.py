"""The frame path on a GPU without TensorRT: a network of ours by PyCUDA, a plan's class over a double."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.plans.engine_double import EngineDouble, LibraryDouble, Shape
from tests.engines.gpu.programs.copying_network import CopyingOnHost, device_of
from tests.engines.gpu.test_colorizer import video
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device, DeviceArray
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.gpu.frames.pictures import PictureOnDevice
from irchroma.engines.gpu.frames.transfer import DevicePicture
from irchroma.engines.gpu.plans.execution import LoadedPlan, PlanExecution
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.temporal.stage import TemporalOptions

OPTIONS = NeuralOptions(work_size_px=128, temporal=TemporalOptions(half_color=False, device_motion=False))
COUNT = 10
DEVICES = [
    "cpu",
    pytest.param("pycuda", marks=pytest.mark.gpu),
    pytest.param("torch", marks=pytest.mark.gpu),
]


@pytest.fixture(params=DEVICES)
def opener(request: pytest.FixtureRequest) -> Callable[[], Device]:
    """Opens a device whose networks copy; skips libraries that are not here."""
    if request.param == "torch":
        pytest.importorskip("torch")
    kernels = request.getfixturevalue("host_kernels") if request.param == "cpu" else None
    opens = partial(device_of, request.param, kernels)
    try:
        opens().close()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    return opens


def expected(count: int = COUNT) -> list[Any]:
    ordinary = NeuralColorizer(OPTIONS, CopyingOnHost())  # type: ignore[arg-type]
    shown = []
    for index, luma in enumerate(video(count)):
        ordinary.submit(luma, index * FRAME_NS)
        shown.append(ordinary.collect().rgb)
    return shown


def assert_alike(colorizer: DeviceColorizer, shown: list[Any]) -> None:
    for index, luma in enumerate(video(len(shown))):
        colorizer.submit(luma, index * FRAME_NS)
        assert np.abs(colorizer.collect().rgb.astype(int) - shown[index]).mean() < 0.01


def test_a_camera_alone_shows_the_pictures_of_the_cpu_and_is_recorded(opener: Callable[[], Device]) -> None:
    colorizer = DeviceColorizer(OPTIONS, opener)
    assert_alike(colorizer, expected())
    assert colorizer.chain is not None
    assert colorizer.chain.ring.recorded == 2
    colorizer.submit(np.zeros((100, 100), np.uint8), COUNT * FRAME_NS)  # another size, other memory
    colorizer.collect()
    colorizer.close()
    colorizer.close()


def test_pictures_that_stay_are_those_that_come_back_and_outlive_the_colorizer(
    opener: Callable[[], Device],
) -> None:
    stays, packs = DeviceColorizer(OPTIONS, opener, stays=True), DeviceColorizer(OPTIONS, opener, packs=True)
    held: list[PictureOnDevice] = []
    shown: list[Any] = []
    for index, luma in enumerate(video(6)):
        for one in (stays, packs):
            one.submit(luma, index * FRAME_NS)
        found, back = stays.collect(), packs.collect()
        assert isinstance(found, PictureOnDevice)
        assert isinstance(back, DevicePicture)
        held.append(found)
        shown.append(back.planes)
    packs.close()
    stays.close()
    for found, planes in zip(held, shown, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(found.planes, planes, strict=True))


def test_cameras_of_two_threads_share_a_network(opener: Callable[[], Device]) -> None:
    pool, shown = SharedPool(BatchOptions(20, 4)), expected()
    seat = partial(seat_on_device, pool, ("double", 0), opener)
    cameras = [DeviceColorizer(OPTIONS, opener, open_seat=seat) for _ in range(2)]
    failures: list[BaseException] = []

    def color(camera: DeviceColorizer) -> None:
        try:
            assert_alike(camera, shown)
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=color, args=(camera,)) for camera in cameras]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    for camera in cameras:
        assert camera.chain is not None
        assert camera.chain.ring.recorded == 4
        camera.close()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch", "pycuda"])
def test_a_plans_class_runs_on_a_real_stream_over_a_double_and_is_recorded(name: str, tmp_path: Path) -> None:
    """Binding, memory, order and end of `PlanExecution`; torch does the double's work, in that stream."""
    torch: Any = pytest.importorskip("torch")
    try:
        device: Any = device_of(name)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    where = torch.device("cuda", 0)

    def tensor(address: int, shape: Shape) -> Any:
        described = {
            "shape": shape,
            "typestr": "<f4",
            "data": (address, False),
            "version": 3,
            "strides": None,
        }
        return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=described), device=where)

    def compute(tensors: dict[str, tuple[int, Shape]], stream: int) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream, where)):
            luma = tensor(*tensors["luma"])
            torch.mul(luma.expand(-1, 3, -1, -1), 0.5, out=tensor(*tensors["ycc"]))
            torch.add(luma, 1.0, out=tensor(*tensors["confidence"]))

    for low, high in (((2, 1, 64, 96),) * 2, ((1, 1, 32, 32), (4, 1, 96, 96))):
        plan = LoadedPlan(
            ("tensorrt", 0, tmp_path / "a.plan", "ab" * 32),
            LibraryDouble(),  # type: ignore[arg-type]
            EngineDouble(low, high, compute),
            "double",
            1,
        )
        with device.current():
            network = PlanExecution(plan, device, (64, 96), 2)
        queue, mark = device.open_queue(), device.make_mark()
        host, back = (device.pinned(array.nbytes) for array in (network.luma, network.ycc))
        if name == "torch":
            network = _InCurrentStream(network, torch)
        for value in (0.25, 0.5, 0.75):  # run, recorded, done again
            host.view(np.float32)[:] = value
            queue.upload(host, network.luma)
            if value == 0.25:
                queue.infer(network)
            elif value == 0.5:
                recorded = queue.capture(partial(queue.infer, network))
                queue.replay(recorded)
            else:
                queue.replay(recorded)
            queue.download(network.ycc, back)
            queue.record(mark)
            mark.wait()
            np.testing.assert_array_equal(back.view(np.float32), np.float32(value / 2))
        for thing in (mark, queue, network):
            thing.close()
        for pinned in (host, back):
            device.unpin(pinned)
    device.close()


class _InCurrentStream:
    """A plan as a network of a torch device, which runs in torch's current stream."""

    def __init__(self, execution: PlanExecution, torch: Any) -> None:
        self._execution, self._torch = execution, torch
        self.luma: DeviceArray = execution.luma
        self.ycc: DeviceArray = execution.ycc

    def run(self) -> None:
        self._execution.enqueue(int(self._torch.cuda.current_stream().cuda_stream))

    def close(self) -> None:
        self._execution.close()

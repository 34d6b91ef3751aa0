"""The whole frame path on a GPU, by every runtime that is here: never yet run, written to be run there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.engines.gpu.test_colorizer import video
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines import catalog
from irchroma.engines.choice import GPU_RUNTIMES, open_device
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions

pytestmark = pytest.mark.gpu

MEAN_LEVELS, FAR_SHARE = 0.5, 0.01
"""Against float32 on the CPU: float16 has 11 bits of mantissa, which in these networks is 0.001 of full scale
(`test_fp16_accuracy`), a quarter of a level, and rounds about as many pixels the other way."""

OpenDevice = Callable[[], Device]


@pytest.fixture(params=GPU_RUNTIMES)
def opener(request: pytest.FixtureRequest) -> OpenDevice:
    """Opens device 0 for a runtime; skips runtimes whose library is not installed here."""
    made = partial(open_device, request.param, 0)
    try:
        made().close()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    return made


@pytest.fixture
def options() -> NeuralOptions:
    if not catalog.weights_path("nir", "fast").is_file():
        pytest.skip("no weights here")
    return NeuralOptions(engine="nir", size="fast")


@pytest.mark.parametrize("graphs", [True, False])
def test_the_picture_is_that_of_the_cpu_with_the_float32_network(
    opener: OpenDevice, options: NeuralOptions, graphs: bool
) -> None:
    options = replace(options, temporal=replace(options.temporal, device_motion=False))
    exact = replace(
        options,
        network=NetworkOptions(exact=True, cache=None, device="cpu"),
        temporal=replace(options.temporal, half_color=False),
    )
    ordinary, device = NeuralColorizer(exact), DeviceColorizer(options, opener, graphs=graphs)
    expected = []
    for index, luma in enumerate(video(12, (512, 640))):
        ordinary.submit(luma, index * FRAME_NS)
        expected.append(ordinary.collect().rgb)
        device.submit(luma, index * FRAME_NS)
        if index:
            off = np.abs(device.collect().rgb.astype(int) - expected[index - 1])
            assert off.mean() < MEAN_LEVELS
            assert (off > 4).mean() < FAR_SHARE
    device.collect()
    assert device.chain is not None
    if not graphs:
        assert device.chain.ring.recorded == 0
    device.close()
    ordinary.close()


def test_two_videos_on_one_device_do_not_disturb_each_other(
    opener: OpenDevice, options: NeuralOptions
) -> None:
    alone, first, second = (DeviceColorizer(options, opener) for _ in range(3))
    frames = list(video(8, (240, 320)))
    for index, luma in enumerate(frames):
        alone.submit(luma, index * FRAME_NS)
        first.submit(luma, index * FRAME_NS)
        second.submit(np.ascontiguousarray(luma[::-1]), index * FRAME_NS)
        one, other = alone.collect(), first.collect()
        second.collect()
        np.testing.assert_array_equal(one.rgb, other.rgb)
    for colorizer in (alone, first, second):
        colorizer.close()


def test_cameras_that_share_a_network_show_the_pictures_they_show_alone(
    opener: OpenDevice, options: NeuralOptions
) -> None:
    pool = SharedPool(BatchOptions(5, 4))
    scenes = [[np.roll(luma, 40 * n, 1) for luma in video(12, (240, 320))] for n in range(3)]
    alone, together = DeviceColorizer(options, opener), []
    expected = []
    for scene in scenes:
        shown = []
        for index, luma in enumerate(scene):
            alone.submit(luma, index * FRAME_NS)
            shown.append(alone.collect().rgb)
        alone.reset()
        expected.append(shown)
    for _ in scenes:
        seat = partial(seat_on_device, pool, ("any", 0), opener)
        together.append(DeviceColorizer(options, opener, open_seat=seat))
    for index in range(12):
        for camera, scene in zip(together, scenes, strict=True):
            camera.submit(scene[index], index * FRAME_NS)
        for camera, shown in zip(together, expected, strict=True):
            off = np.abs(camera.collect().rgb.astype(int) - shown[index])
            assert off.mean() < MEAN_LEVELS
            assert (off > 4).mean() < FAR_SHARE
    (figures,) = pool.figures()
    assert figures["frames"] > figures["calls"]
    for camera in (alone, *together):
        camera.close()


def test_a_device_can_be_opened_while_another_video_records_its_work(
    opener: OpenDevice, options: NeuralOptions
) -> None:
    """Memory is taken and zeroed while streams of the same context are recorded in other threads."""
    failures: list[Exception] = []

    def color(number: int) -> None:
        try:
            for _ in range(3):
                colorizer = DeviceColorizer(options, opener)
                for index, luma in enumerate(video(6, (240, 320))):
                    colorizer.submit(luma, index * FRAME_NS)
                    colorizer.collect()
                assert colorizer.chain is not None
                assert colorizer.chain.ring.recorded > 0
                colorizer.close()
        except Exception as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=color, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    assert failures == []


def test_too_little_memory_is_one_clear_error_and_the_device_goes_on(opener: OpenDevice) -> None:
    device = opener()
    with pytest.raises(EngineError, match="too little memory") as caught:
        device.allocate((1 << 44,), np.uint8)
    assert "\n" not in str(caught.value)
    device.free(device.allocate((1024,), np.uint8))
    device.close()
    device.close()

"""The whole frame path on a GPU, by every runtime that is here: never yet run, written to be run there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.engines.moving_scene import FRAME_NS
from tests.engines.test_device_colorizer import video

from irchroma.engines import catalog
from irchroma.engines.device import Device
from irchroma.engines.device_choice import GPU_RUNTIMES, open_device
from irchroma.engines.device_colorizer import DeviceColorizer
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.network import NetworkOptions
from irchroma.engines.neural import NeuralColorizer, NeuralOptions

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
    exact = replace(options, network=NetworkOptions(exact=True, cache=None))
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


def test_too_little_memory_is_one_clear_error_and_the_device_goes_on(opener: OpenDevice) -> None:
    device = opener()
    with pytest.raises(EngineError, match="too little memory") as caught:
        device.allocate((1 << 44,), np.uint8)
    assert "\n" not in str(caught.value)
    device.free(device.allocate((1024,), np.uint8))
    device.close()
    device.close()

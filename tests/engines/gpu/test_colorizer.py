"""The device path as a whole gives the picture of the ordinary CPU colorizer, frame after frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import FRAME_NS, noisy, texture

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.gpu import colorizer as colorizer_module
from irchroma.engines.gpu.chain import DeviceChain
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.frames.transfer import DevicePicture
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions, NeuralPicture
from irchroma.engines.recolor import work_picture
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.stage import TemporalOptions

Luma = NDArray[np.uint8]

EXACT = NetworkOptions(runtime="openvino", exact=True, threads=1, cache=None)
MEAN_LEVELS, FAR_SHARE = 0.01, 1e-4
"""Mean difference of a picture, and share of its values that are more than 2 levels off: the network is the
same float32 one, what is left are sums in another order that round the other way here and there."""

HOST_MOTION = TemporalOptions(device_motion=False)

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")


def video(count: int, size: tuple[int, int] = (240, 320)) -> Iterator[Luma]:
    """Still, then a pan with something moving in front of it, then a jump of the gain."""
    rng = np.random.default_rng(2)
    wide = texture((size[0], size[1] + 200), 20, 200, seed=5)
    for index in range(count):
        shift = 5 * max(0, index - 4)
        frame = wide[:, shift : shift + size[1]].copy()
        cv2.circle(frame, (60 + 9 * index, size[0] // 2), 18, 235, -1)
        yield noisy(frame * (1.25 if index > 8 else 1.0), rng)


@pytest.fixture
def devices(host_kernels: HostKernels) -> Any:
    """Opens CPU devices that share their kernels."""
    return lambda: CpuDevice(EXACT, host_kernels)


@pytest.mark.parametrize(
    "options",
    [
        NeuralOptions(work_size_px=192),
        NeuralOptions(engine="thermal", work_size_px=160, temporal=TemporalOptions(color_every=3)),
        NeuralOptions(work_size_px=128, steady=False),
        NeuralOptions(
            work_size_px=160,
            recolor=RecolorOptions(mode="chroma", chroma_limit=30),
            temporal=TemporalOptions(steady_brightness=False),
        ),
    ],
    ids=["nir", "thermal, every third", "not steady", "chroma alone"],
)
def test_the_picture_is_that_of_the_cpu_colorizer(devices: Any, options: NeuralOptions) -> None:
    whole = replace(options.temporal, half_color=False, device_motion=False)
    options = replace(options, network=EXACT, temporal=whole)
    if not catalog.weights_path(options.engine, options.size).is_file():
        pytest.skip("no weights here")
    ordinary, device = NeuralColorizer(options), DeviceColorizer(options, devices)
    expected: list[Any] = []
    found = []
    for index, luma in enumerate(video(13)):
        held = index == 3
        ordinary.submit(luma, index * FRAME_NS, held=held)
        expected.append(ordinary.collect())
        device.submit(luma, index * FRAME_NS, held=held)
        if index:
            found.append(device.collect())
    found.append(device.collect())
    assert device.chain is not None
    assert device.chain.ring.recorded >= 2  # part of it came out of recorded work
    device.close()
    ordinary.close()
    for one, other in zip(found, expected, strict=True):
        off = np.abs(one.rgb.astype(int) - other.rgb)
        assert off.mean() < MEAN_LEVELS
        assert (off > 2).mean() < FAR_SHARE
        assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1


@pytest.mark.parametrize("every", [1, 3])
def test_motion_that_the_device_finds_shows_the_same_picture(
    devices: Any, tiny_network: Path, every: int
) -> None:
    """Of OpenCV's motion, by another search: what differs is color beside edges, by a level or two."""
    options = NeuralOptions(
        weights=tiny_network,
        work_size_px=192,
        network=EXACT,
        temporal=TemporalOptions(color_every=every, device_motion=False),
    )
    host = DeviceColorizer(options, devices)
    device = DeviceColorizer(
        replace(options, temporal=replace(options.temporal, device_motion=True)), devices
    )
    for index, luma in enumerate(video(13)):
        shown = []
        for colorizer in (host, device):
            colorizer.submit(luma, index * FRAME_NS, held=index == 3)
            shown.append(colorizer.collect().rgb.astype(int))
        off = np.abs(shown[1] - shown[0])
        assert off.mean() < 0.8  # 0.02 while still, 0.2 to 0.6 in the pan
        assert (off > 8).mean() < 5e-3
    assert device.chain is not None
    assert device.chain.search is not None
    assert device.chain.search.ring.recorded == 2
    assert host.chain is not None
    assert host.chain.search is None
    host.close()
    device.close()


def test_a_device_that_searches_for_the_motion_needs_no_picture_at_work_size_here(
    devices: Any, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes that itself; here it took 0.9 ms of a core for each frame of 640x512, 3.5 of 1920x1080."""
    asked: list[tuple[int, ...]] = []

    def reduced(luma: Luma, size: tuple[int, int]) -> Luma:
        asked.append(size)
        return np.asarray(cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)

    monkeypatch.setattr(colorizer_module, "reduced", reduced)
    monkeypatch.setattr(work_picture, "reduced", reduced)
    for motion in (True, False):
        temporal = TemporalOptions(device_motion=motion)
        options = NeuralOptions(weights=tiny_network, work_size_px=128, network=EXACT, temporal=temporal)
        device = DeviceColorizer(options, devices)
        for index, luma in enumerate(video(2)):
            device.submit(luma, index * FRAME_NS)
            device.collect()
        device.close()
        assert ((96, 128) in asked) == (not motion)


@pytest.mark.parametrize("engine", ["nir", "thermal"])
def test_pictures_for_encoders_are_the_planes_of_the_cpu(
    devices: Any, tiny_network: Path, engine: str
) -> None:
    """They were its R'G'B' in another matrix, rounded twice, which still places show as flicker."""
    temporal = replace(HOST_MOTION, half_color=False)
    options = NeuralOptions(
        engine=engine, weights=tiny_network, work_size_px=96, network=EXACT, temporal=temporal
    )
    ordinary, device = NeuralColorizer(options), DeviceColorizer(options, devices, packs=True)
    for index, luma in enumerate(video(5, (96, 128))):
        for one in (ordinary, device):
            one.submit(luma, index * FRAME_NS)
        expected, found = ordinary.collect(), device.collect()
        assert isinstance(found, DevicePicture)
        assert found.packed.size == 96 * 128 * 3 // 2
        for plane, other in zip(found.planes, expected.planes, strict=True):
            off = np.abs(plane.astype(int) - other)
            assert off.mean() < MEAN_LEVELS
            assert off.max() <= 2
        assert np.abs(found.confidence.astype(int) - expected.confidence).max() <= 1
        assert np.abs(found.rgb.astype(int) - expected.rgb).mean() < MEAN_LEVELS
    device.submit(next(video(1, (90, 121))), 9 * FRAME_NS)  # would be padded for GStreamer
    assert isinstance(device.collect(), NeuralPicture)
    ordinary.close()
    device.close()


def test_two_threads_may_submit_and_collect(devices: Any, tiny_network: Path) -> None:
    options = NeuralOptions(weights=tiny_network, work_size_px=96, network=EXACT, temporal=HOST_MOTION)
    frames = list(video(20, (96, 128)))
    ordinary, device = NeuralColorizer(options), DeviceColorizer(options, devices)
    places, found = threading.Semaphore(2), []
    submitted = threading.Semaphore(0)

    def collect() -> None:
        for _ in frames:
            assert submitted.acquire(timeout=30)
            found.append(device.collect().rgb)
            places.release()

    thread = threading.Thread(target=collect)
    thread.start()
    for index, luma in enumerate(frames):
        assert places.acquire(timeout=30)
        device.submit(luma, index * FRAME_NS)
        submitted.release()
    thread.join(30)
    for index, luma in enumerate(frames):
        ordinary.submit(luma, index * FRAME_NS)
        assert np.abs(found[index].astype(int) - ordinary.collect().rgb).mean() < MEAN_LEVELS
    device.close()


def test_the_size_may_change_while_frames_are_in_flight(devices: Any, tiny_network: Path) -> None:
    device = DeviceColorizer(NeuralOptions(weights=tiny_network, work_size_px=64, network=EXACT), devices)
    sizes = [(64, 96), (64, 96), (80, 64), (64, 96)]
    seen = []
    for index, size in enumerate(sizes):
        device.submit(next(video(1, size)), index * FRAME_NS)
        if index:
            seen.append(device.collect().rgb.shape[:2])
    seen.append(device.collect().rgb.shape[:2])
    assert seen == sizes
    assert not device._retired
    device.close()


def test_reset_forgets_what_is_in_flight(devices: Any, tiny_network: Path) -> None:
    device = DeviceColorizer(NeuralOptions(weights=tiny_network, work_size_px=64, network=EXACT), devices)
    first, second = list(video(2, (64, 96)))
    device.submit(first, 0)
    device.submit(first, FRAME_NS)
    device.reset()
    device.submit(second, 0)
    after = device.collect().rgb
    device.reset()
    device.submit(second, 0)
    np.testing.assert_array_equal(after, device.collect().rgb)
    with pytest.raises(EngineError, match="collect without submit"):
        device.collect()
    device.close()
    device.close()


def test_a_network_that_fails_is_one_clear_error(devices: Any, tiny_network: Path) -> None:
    device = DeviceColorizer(NeuralOptions(weights=tiny_network, work_size_px=64, network=EXACT), devices)
    first, second = list(video(2, (64, 96)))
    device.submit(first, 0)
    device.collect()
    assert device.chain is not None
    device.chain.network.close()
    device.submit(second, FRAME_NS)
    with pytest.raises(EngineError, match="closed"):
        device.collect()
    device.close()


def test_what_a_device_leaves_out_is_said(
    devices: Any, tiny_network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = NeuralOptions(engine="thermal", weights=tiny_network, network=EXACT, celsius=(0.01, -273.15))
    DeviceColorizer(options, devices).close()
    assert "people are not told by their temperature on a GPU" in caplog.text


def test_what_a_device_cannot_do_is_refused(devices: Any, tiny_network: Path) -> None:
    with pytest.raises(EngineOptionError, match="networks alone"):
        DeviceColorizer(NeuralOptions(engine="reference", size="thermal"), devices)
    device = DeviceColorizer(NeuralOptions(weights=tiny_network, network=EXACT), devices)
    with pytest.raises(EngineOptionError, match="expected \\(H, W\\) uint8 luma"):
        device.submit(np.zeros((4, 4), np.uint16), 0)
    device.close()


def test_the_host_makes_motion_of_half_size_and_looks_at_no_more(
    devices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the device makes larger by itself took an eighth of the host's time of a frame."""
    seen: list[Observation] = []
    halves: list[tuple[int, ...]] = []
    submit, by_halves = DeviceChain.submit, work_picture.reduced_by_halves

    def submitting(chain: DeviceChain, luma: Luma, observed: Any, *more: Any) -> None:
        seen.append(observed)
        submit(chain, luma, observed, *more)

    def halving(luma: Luma, size: tuple[int, int]) -> Luma:
        halves.append(size)
        return by_halves(luma, size)

    monkeypatch.setattr(DeviceChain, "submit", submitting)
    monkeypatch.setattr(colorizer_module, "reduced_by_halves", halving)
    for temporal in (HOST_MOTION, TemporalOptions()):
        colorizer = DeviceColorizer(NeuralOptions(work_size_px=128, temporal=temporal), devices)
        for index, luma in enumerate(video(7)):
            colorizer.submit(luma, index * FRAME_NS)
            colorizer.collect()
        colorizer.close()
    moved = [one for one in seen[:7] if one.half_source is not None]
    assert moved
    assert all(one.source is None for one in moved)
    assert halves == [(48, 64)] * 7, "where the device searches, the picture of half the size is all"

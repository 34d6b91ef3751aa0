"""A reference of the scene on a device: pictures are those of the CPU colorizer, and no frame waits."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import daytime_scene
from tests.engines.gpu.test_colorizer import EXACT, FAR_SHARE, HOST_MOTION, MEAN_LEVELS
from tests.engines.moving_scene import FRAME_NS, noisy
from tests.engines.tiny_network import write_tiny_network
from tests.waiting import wait_for

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import colorizer as colorizer_module
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import installed
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.reference import registration
from irchroma.engines.reference.pictures import AUTO, Reference, save_references

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")


@pytest.fixture
def devices(host_kernels: HostKernels) -> Any:
    """Opens CPU devices that share their kernels."""
    return lambda: CpuDevice(EXACT, host_kernels)


@pytest.mark.parametrize(
    ("still", "steady", "mode", "packs", "unsure"),
    [
        (True, True, "full", False, False),
        (False, True, "full", False, False),
        (True, False, "full", False, False),
        (True, True, "chroma", False, False),
        (True, True, "full", True, False),
        (False, True, "full", True, False),
        (True, True, "full", False, True),
        (True, True, "full", True, True),
    ],
    ids=[
        "several pictures",
        "one picture",
        "not steady",
        "chroma alone",
        "packed",
        "packed, one picture",
        "unsure thermal",
        "packed, unsure thermal",
    ],
)
def test_a_reference_of_the_scene_steers_on_a_device_as_on_the_cpu(
    devices: Any,
    tiny_network: Path,
    tmp_path: Path,
    still: bool,
    steady: bool,
    mode: Any,
    packs: bool,
    unsure: bool,
) -> None:
    """The camera shakes, somebody walks past, the reference is exchanged for another and taken away.

    Where the network is not sure, thermal is a night under lamps beneath the reference.
    """
    if unsure:
        tiny_network = tmp_path / "unsure.onnx"
        write_tiny_network(tiny_network, -2.5)
    size = (240, 320)
    rgb, infrared = daytime_scene.draw(3, size)
    reference = Reference(rgb, np.full(size, 255, np.uint8), "day", still=still)
    path = tmp_path / "day.png"
    save_references(path, [reference])
    options = NeuralOptions(
        weights=tiny_network,
        work_size_px=160,
        steady=steady,
        network=EXACT,
        recolor=RecolorOptions(mode=mode),
        engine="thermal" if unsure or mode == "chroma" else "nir",
        temporal=replace(HOST_MOTION, half_color=False),
        reference=path,
    )
    engines = (NeuralColorizer(options), DeviceColorizer(options, devices, packs=packs))
    assert all("+ reference" in engine.name for engine in engines)
    engines[1].prepare(size)
    colored = []
    for index in range(12 if steady else 4):
        frame = noisy(np.roll(infrared, 3 * (index // 3 % 3), axis=1), np.random.default_rng(index))
        cv2.circle(frame, (40 + 16 * index, 150), 14, 235, -1)
        for engine in engines:
            if index in (0, 4, 9):
                engine.exchange_references([] if index == 9 else [replace(reference, still=still)])
            if index == 7:
                engine.set_reference_strength(0.5)
            engine.submit(frame, index * 6 * FRAME_NS)
        pictures = [engine.collect() for engine in engines]
        planes = [one.planes if packs else [one.rgb] for one in pictures]
        for one, other in zip(*planes, strict=True):
            off = np.abs(one.astype(int) - other)
            assert off.mean() < MEAN_LEVELS
            assert (off > 2).mean() < FAR_SHARE
        sure = [one.confidence for one in pictures]
        assert sure[0] is not None
        assert sure[1] is not None
        assert np.abs(sure[0].astype(int) - sure[1]).max() <= 1
        colored.append(pictures[1].rgb.astype(int))
    chain = engines[1].chain
    assert chain is not None
    assert chain.ring.recorded >= 1
    alone = DeviceColorizer(replace(options, reference=None), devices)
    alone.submit(infrared, 0)
    assert np.abs(colored[3] - alone.collect().rgb).mean() > 2, "the reference shows nowhere"
    for engine in (*engines, alone):
        engine.close()


def test_a_frame_that_could_not_be_sent_leaves_no_half_of_a_reference_there(
    devices: Any, tiny_network: Path
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    options = NeuralOptions(weights=tiny_network, work_size_px=96, network=EXACT, reference=AUTO)
    device = DeviceColorizer(options, devices, depth=1)
    device.prepare(infrared.shape)
    device.exchange_references([Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day", still=True)])
    chain = device.chain
    assert chain is not None
    upload = chain.ring.inward.upload

    def refuse(*_: Any) -> None:
        raise EngineError("no memory to copy by")

    chain.ring.inward.upload = refuse  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="no memory"):
        device.submit(infrared, 0)
    chain.ring.inward.upload = upload  # type: ignore[method-assign]
    for index in range(1, 6):
        device.submit(infrared, index * 6 * FRAME_NS)
        shown = device.collect().rgb.astype(int)
    assert np.abs(shown - rgb).mean() < 20, "its picture is not on the device"
    device.close()


def test_a_live_camera_does_not_wait_while_a_reference_is_looked_for(
    devices: Any, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, found = threading.Event(), threading.Event()
    ended: list[registration.Alignment] = []
    search = registration.register

    def slow(*given: Any) -> registration.Alignment:
        looking.set()
        assert found.wait(30)
        aligned = search(*given)
        ended.append(aligned)
        return aligned

    monkeypatch.setattr(registration, "register", slow)
    monkeypatch.setattr(colorizer_module, "make_nice", lambda: None)  # this process goes on
    rgb, infrared = daytime_scene.draw(3)
    options = NeuralOptions(weights=tiny_network, work_size_px=96, network=EXACT, beside=True, reference=AUTO)
    device = DeviceColorizer(options, devices)
    device.exchange_references([Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")])
    shown = []
    for index in range(15):
        if index == 3:
            assert looking.wait(30)
            found.set()
        device.submit(infrared, index * 2 * FRAME_NS)
        shown.append(device.collect().rgb.astype(int))
        if index == 3:
            wait_for(lambda: ended)  # then the next frame takes it
    assert np.abs(shown[2] - shown[1]).mean() < 1
    assert np.abs(shown[-1] - shown[2]).mean() > 2, "the reference was not taken when it was found"
    names = {thread.name for thread in threading.enumerate()}
    assert any(name.startswith("reference") for name in names)
    device.close()
    assert not any(thread.name.startswith("reference") for thread in threading.enumerate())

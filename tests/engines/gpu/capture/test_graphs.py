"""The engine `reference` with its networks on a device: the CPU's pictures, the reference copied once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.gpu.capture.graphs import DeviceGraph, GraphsOnDevice
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import DeviceTensors
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.network.rewriting import early
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.exemplar import ExemplarNetwork
from irchroma.engines.reference.pictures import Reference, save_references

EXACT = NetworkOptions(runtime="openvino", exact=True, threads=1, cache=None)
OPTIONS = NeuralOptions(engine="reference", size="thermal", work_size_px=160, steady=False, network=EXACT)

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")


class Closing(CpuDevice):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


def given(seed: int, tint: tuple[int, int, int] = (0, 0, 0)) -> Reference:
    rgb = np.clip(daytime_scene.draw(seed)[0].astype(int) + tint, 0, 255).astype(np.uint8)
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), f"{seed}")


def on_device(options: NeuralOptions, device: CpuDevice) -> NeuralColorizer:
    graphs = GraphsOnDevice(device)
    return NeuralColorizer(options, opener=graphs.open_network, graphs=graphs.open_graph)


def frames_graph(colorizer: NeuralColorizer) -> DeviceGraph:
    network = colorizer.network
    assert isinstance(network, ExemplarNetwork)
    graph = network._frames
    assert isinstance(graph, DeviceGraph)
    return graph


@pytest.fixture
def device(host_kernels: HostKernels) -> Closing:
    return Closing(EXACT, host_kernels)


def test_the_pictures_are_those_of_the_cpu_and_the_reference_is_copied_once(
    device: Closing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "_ALIKE", -1.0)  # the CPU has its first layers from `fast`, the device has not
    path = tmp_path / "day.png"
    save_references(path, [given(3)])
    options = replace(OPTIONS, reference=path)
    engines = (NeuralColorizer(options), on_device(options, device))
    # Next to white a level of chroma decides whether it has room at all, and is five levels of blue.
    infrared, other = (np.minimum(daytime_scene.draw(seed)[1], 200) for seed in (3, 9))

    def colored(at: int, luma: NDArray[np.uint8]) -> NDArray[np.int_]:
        pictures = []
        for engine in engines:
            engine.submit(luma, at * FRAME_NS)
            pictures.append(engine.collect().rgb.astype(int))
        off = np.abs(pictures[0] - pictures[1])
        assert off.max() <= 2
        assert off.mean() < 0.01
        return pictures[1]

    def each(ask: Callable[[NeuralColorizer], Any]) -> None:
        for engine in engines:
            ask(engine)

    graph = frames_graph(engines[1])
    steered = colored(0, infrared)
    for at in range(1, 4):
        colored(at, np.roll(infrared, at, axis=1))
    before = dict(graph.copied)
    each(lambda engine: engine.exchange_references([given(9, (16, 0, -16))]))
    colored(5, infrared)
    each(lambda engine: engine.set_reference_strength(0.5))
    colored(6, other)
    tokens = {"keys": 1, "values": 1, "scene": 1, "level": 1, "bias": 1}
    assert before == tokens | {"luma": 4, "own": 4, "sureness": 4, "there": 4} | {
        name: before[name] for name in ("place", "known", "strength")
    }
    assert before["place"] == 1
    assert (graph.copied["keys"], graph.copied["luma"]) == (2, 6)
    each(lambda engine: engine.exchange_references([]))
    each(lambda engine: engine.reset())
    alone = colored(7, infrared)
    assert graph.copied["luma"] == 6  # without a reference nothing is asked
    assert np.abs(steered - alone).mean() > 1
    each(lambda engine: engine.close())
    each(lambda engine: engine.close())
    assert device.closed == 1
    with pytest.raises(EngineError, match="closed"):
        graph.run({})


def test_a_device_that_fails_is_told_of_and_everything_is_given_back(device: Closing) -> None:
    engine = on_device(OPTIONS, device)
    engine.exchange_references([given(3)])
    _, infrared = daytime_scene.draw(3)
    engine.submit(infrared, 0)
    engine.collect()
    graph = frames_graph(engine)
    (held,) = graph._held.values()
    held.run.run = lambda: 1 / 0  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="division"):
        engine.submit(infrared, FRAME_NS)
    engine.close()
    assert device.closed == 1


def test_what_cannot_be_loaded_gives_the_device_back(device: Closing) -> None:
    graphs = GraphsOnDevice(device)

    def missing(path: Path, options: NetworkOptions) -> DeviceGraph:
        raise EngineUnavailable("no weights")

    with pytest.raises(EngineUnavailable, match="no weights"):
        NeuralColorizer(OPTIONS, opener=graphs.open_network, graphs=missing)
    assert device.closed == 1


def test_what_overflows_float16_does_not_stay_in_the_color_memory(device: Closing) -> None:
    engine = on_device(replace(OPTIONS, steady=True), device)
    engine.exchange_references([given(3)])
    _, infrared = daytime_scene.draw(3)

    def colored(at: int) -> NDArray[np.uint8]:
        engine.submit(infrared, at * FRAME_NS)
        return engine.collect().rgb

    colored(0)
    (held,) = frames_graph(engine)._held.values()
    tensors: Any = held.run
    right = tensors.run

    def overflowing() -> None:
        right()
        ycc, confidence = tensors._outputs["ycc"], tensors._outputs["confidence"]
        ycc[..., 40:60, 50:90], confidence[..., 40:60, 50:90] = np.inf, np.nan

    tensors.run = overflowing
    during = colored(1)
    assert np.ptp(during[60:80].astype(int)) > 20  # still a picture
    tensors.run = right
    engine.reset()
    whole = colored(2)
    tensors.run = overflowing
    colored(3)
    tensors.run = right
    after = [colored(at) for at in range(4, 12)][-1]
    assert np.abs(after.astype(int) - whole).mean() < 1.0
    engine.close()


def test_a_reference_that_overflows_is_refused(device: Closing) -> None:
    engine = on_device(OPTIONS, device)
    network = engine.network
    assert isinstance(network, ExemplarNetwork)
    network.given.give(given(3))
    pictures: Any = network.given._pictures
    (held,) = pictures._held.values()
    right = held.run.run

    def overflowing() -> None:
        right()
        held.run._outputs["keys"][0, 0, 0] = np.inf

    held.run.run = overflowing
    with pytest.raises(EngineError, match="keys and scene of the reference overflow"):
        engine.exchange_references([given(9)])
    engine.close()


def test_frames_go_on_while_a_plan_is_built_for_a_reference_of_another_shape(
    host_kernels: HostKernels,
) -> None:
    """A build takes minutes; whoever picks a picture on the page waits, the video does not."""
    building, built = threading.Event(), threading.Event()

    class Building(Closing):
        slow = False

        def open_graph(self, path: Path, *shapes: Any) -> DeviceTensors:
            if self.slow and not path.stem.endswith("picture"):
                building.set()
                assert built.wait(60)
            return super().open_graph(path, *shapes)

    device = Building(EXACT, host_kernels)
    engine = on_device(OPTIONS, device)
    engine.prepare(daytime_scene.SIZE)
    engine.exchange_references([given(3)])
    _, infrared = daytime_scene.draw(3)
    engine.submit(infrared, 0)
    before = engine.collect().rgb
    device.slow = True
    wide = daytime_scene.draw(9, (120, 320))[0]
    other = Reference(wide, np.full(wide.shape[:2], 255, np.uint8), "wide")
    giving = threading.Thread(target=engine.exchange_references, args=([other],))
    giving.start()
    assert building.wait(60)
    colored: list[NDArray[np.uint8]] = []

    def go_on() -> None:
        engine.submit(infrared, FRAME_NS)
        colored.append(engine.collect().rgb)

    frame = threading.Thread(target=go_on, daemon=True)
    frame.start()
    frame.join(30)
    built.set()
    giving.join(60)
    assert colored, "the frame waits for the build"
    np.testing.assert_array_equal(colored[0], before)
    go_on()
    assert np.abs(colored[1].astype(int) - before).mean() > 0.5
    engine.close()
    assert device.closed == 1

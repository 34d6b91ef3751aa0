"""References on a GPU: the engine `reference` by its networks, a band's network steered. A program.

Colors some frames of a drawn scene by its picture, then by one of another scene, by night and without any, on
the device and on the CPU, and says how far the pictures are apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.moving_scene import FRAME_NS, noisy

from irchroma.engines.choice import open_device
from irchroma.engines.gpu.capture.graphs import GraphsOnDevice
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Device
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.network.rewriting import early
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.temporal.stage import TemporalOptions

LARGEST_MEAN = 1.0
"""Levels: float16 on a device against float32 here, over moods and tones that add to what differs."""
FRAMES = 2
RUNTIME = "openvino" if installed("openvino") else "onnxruntime"
EXACT = NetworkOptions(RUNTIME, exact=True, cache=None)


def given(seed: int, size: tuple[int, int], share: float = 1.0, wished: bool = False) -> Reference:
    """A scene's picture, as bright as a share of it."""
    rgb = (daytime_scene.draw(seed, size)[0] * share).astype(np.uint8)
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), str(seed), wished=wished)


def opened(name: str) -> Device:
    """A GPU by `tensorrt` or `tensorrt-rtx`, or `cpu`."""
    return CpuDevice(EXACT) if name == "cpu" else open_device(name, 0)


def by_networks(name: str, options: NeuralOptions) -> NeuralColorizer:
    """The engine `reference`."""
    graphs = GraphsOnDevice(opened(name))
    return NeuralColorizer(options, opener=graphs.open_network, graphs=graphs.open_graph)


def steered(name: str, options: NeuralOptions) -> DeviceColorizer:
    """A band's network with all of its way on the device."""
    return DeviceColorizer(options, lambda: opened(name))


def farthest(device: Any, cpu: NeuralColorizer, size: tuple[int, int]) -> float:
    """Mean levels of the frame (H, W) that differs most."""
    pictures = [[given(3, size)], [given(9, size)], [given(3, size, 0.3, wished=True)], []]
    off, at = 0.0, 0
    for references in pictures:
        for one in (device, cpu):
            one.exchange_references(references)
        for _ in range(FRAMES):
            luma = noisy(daytime_scene.draw(3, size)[1], np.random.default_rng(at))
            shown: list[NDArray[np.int_]] = []
            for one in (device, cpu):
                one.submit(luma, at * 20 * FRAME_NS)
                shown.append(one.collect().rgb.astype(int))
            off, at = max(off, float(np.abs(shown[0] - shown[1]).mean())), at + 1
    return off


def main() -> None:
    """Say it of both bands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="tensorrt")
    parser.add_argument("--size", default="640x512", help="of the frames")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    early._ALIKE = -1.0  # the CPU would take its first layers from `fast`, a third of a level for thermal
    temporal = TemporalOptions(half_color=False, device_motion=False)
    kinds: list[tuple[str, str, Callable[[str, NeuralOptions], Any]]] = [
        ("reference", "nir", by_networks),
        ("reference", "thermal", by_networks),
        ("nir", "fast", steered),
        ("thermal", "fast", steered),
    ]
    for engine, size, on_device in kinds:
        options = NeuralOptions(engine, size, reference=AUTO, temporal=temporal, network=EXACT)
        device, cpu = on_device(args.device, options), NeuralColorizer(options)
        off = farthest(device, cpu, (height, width))
        print(f"{device.name}: {off:.3f} levels off", flush=True)
        assert off < LARGEST_MEAN, off
        device.close()
        cpu.close()


if __name__ == "__main__":
    main()

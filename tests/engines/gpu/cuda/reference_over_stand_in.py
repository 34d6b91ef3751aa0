"""The engine `reference` over `driver_stand_in.cpp`: a program, since a process has one driver.

Its networks are plans of `plans.execution` over a double of the library, which does their work on the
processor. With `--device torch` (by `torch_over_stand_in`) they run on torch's device, whose own networks
have one input each.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.gpu.plans.engine_double import GraphDouble, LibraryDouble, Shape
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import DeviceLost, EngineError
from irchroma.engines.gpu.capture.graphs import GraphsOnDevice
from irchroma.engines.gpu.device import Device, DeviceTensors
from irchroma.engines.gpu.plans.execution import LoadedPlan, PlanTensors
from irchroma.engines.network import network
from irchroma.engines.network.rewriting import early
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.reference.pictures import Reference

RUNTIME = "openvino" if network.installed("openvino") else "onnxruntime"
EXACT = network.NetworkOptions(RUNTIME, exact=True, threads=1, cache=None)
OPTIONS = NeuralOptions(engine="reference", size="thermal", work_size_px=160, steady=False, network=EXACT)
COUNT = 8
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def given(seed: int, size: tuple[int, int] = daytime_scene.SIZE) -> Reference:
    """A scene's picture."""
    rgb = daytime_scene.draw(seed, size)[0]
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), f"{seed}")


def array_at(address: int, shape: Shape) -> NDArray[np.float32]:
    """The stand-in's memory is the host's."""
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)


class InTorchsStream(PlanTensors):
    """As torch's device runs networks."""

    def run(self) -> None:
        """In torch's current stream."""
        import torch

        self.enqueue(torch.cuda.current_stream().cuda_stream)


def planned(
    kind: type[PlanTensors], device: Any, path: Path, shapes: Mapping[str, Shape], outputs: Sequence[str]
) -> PlanTensors:
    """A network's plan, as if it were loaded."""
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    asked: list[Any] = []
    graph = network.open_graph(path, EXACT)
    made = graph.run({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})

    def compute(tensors: dict[str, tuple[int, Shape]], cuda_stream: int) -> None:
        @HOST_FUNCTION
        def work(_: int | None) -> None:
            found = graph.run({name: array_at(*tensors[name]) for name in shapes})
            for name in outputs:
                array_at(*tensors[name])[...] = found[name]

        asked.append(work)  # or it would be gone when it is called
        driver.cuLaunchHostFunc(ctypes.c_void_p(cuda_stream), work, None)

    every = dict(shapes) | {name: made[name].shape for name in outputs}
    key = ("tensorrt", 0, path, "ab" * 32)
    library: Any = LibraryDouble()
    plan = LoadedPlan(key, library, GraphDouble(every, compute), "double", 1)
    with device.current():
        return kind(plan, device, shapes, outputs)


def opener(name: str) -> Callable[[], Device]:
    """Opens a device of that library on which the networks are such plans."""
    base: Any
    if name == "torch":
        from irchroma.engines.gpu.cuda.torch_device import TorchDevice

        base, kind = TorchDevice, InTorchsStream
    else:
        from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

        base, kind = PyCudaDevice, PlanTensors

    class Planned(base):  # type: ignore[misc]
        def open_graph(
            self, path: Path, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]
        ) -> DeviceTensors:
            return planned(kind, self, path, shapes, outputs)

    return Planned


def main() -> None:
    """Color, compare, close; or see the failure that was ordered come out as one clear error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="pycuda", choices=("pycuda", "torch"))
    parser.add_argument("--size", default="320x240", help="of the frames")
    parser.add_argument("--work-size", type=int, default=160, help="0 for what the engine ships with")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    options = replace(OPTIONS, work_size_px=args.work_size or None)
    driver = ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    open_device = opener(args.device)
    early._ALIKE = -1.0  # the processor has its first layers from `fast`, a device has not
    fails = os.environ["STAND_IN_FAILS"]
    graphs = GraphsOnDevice(open_device())
    device = NeuralColorizer(options, opener=graphs.open_network, graphs=graphs.open_graph)
    ordinary = NeuralColorizer(options)
    size = (height, width)
    infrared = daytime_scene.draw(3, size)[1]
    references = {0: [given(3, size)], 3: [given(9, size)], 5: [given(9, (height // 2, width))], 7: []}
    failures: list[str] = []

    def color() -> None:
        for index in range(COUNT):
            shown = []
            for one in (ordinary, device):
                if index in references:
                    one.exchange_references(references[index])
                if one is device and fails == "lost" and index == 4:
                    driver.stand_in_lose()
                one.submit(np.roll(infrared, index, axis=1), index * FRAME_NS)
                shown.append(one.collect().rgb.astype(int))
            off = float(np.abs(shown[0] - shown[1]).mean())
            print(f"frame {index}: {off:.4f} levels off", flush=True)
            assert off < 0.01, index

    def color_and_tell() -> None:
        try:
            color()
        except EngineError as error:
            failures.append(str(error))
        except BaseException as error:  # noqa: BLE001 (an assertion; the program fails with it)
            failures.append(f"unexpected: {error!r}")

    # In a thread that ends: PyCUDA aborts the process where its own stack of contexts is not empty by then.
    loop = threading.Thread(target=color_and_tell)
    loop.start()
    loop.join()
    assert len(failures) == (fails in ("memory", "lost")), failures
    assert not any(text.startswith("unexpected") for text in failures), failures
    for _ in range(2):
        device.close()
    if fails == "lost":
        with pytest.raises(DeviceLost, match="restart"):
            open_device()
    if args.device == "torch":  # whose events and memory are not the stand-in's
        return
    left = (ctypes.c_int * 8)()
    driver.stand_in_left(left)
    assert left[0] == left[7] == 0, list(left)
    assert fails == "lost" or not any(left), list(left)


if __name__ == "__main__":
    main()

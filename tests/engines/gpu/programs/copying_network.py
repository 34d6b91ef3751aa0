"""A network that needs no runtime: everything is as bright as it is and has the chroma of its brightness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Device, DeviceArray, DeviceNetwork
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.temporal import place_of


class CopyingNetwork:
    """On any device, by four launches a frame of a kernel that is one of ours."""

    name = "copies"

    def __init__(self, device: Any, size: tuple[int, int], frames: int) -> None:
        self._device = device
        self.luma, self.ycc, self.confidence = (
            device.allocate((frames, depth, *size), np.float32) for depth in (1, 3, 1)
        )

    def launches(self) -> list[Launch]:
        frames, _, height, width = self.luma.shape
        made = []
        for place in range(frames):
            tensors = place_of(self, place)  # type: ignore[arg-type]
            plane = height * width * 4
            parts = [tensors.ycc.part(index * plane, (height, width), np.float32) for index in range(3)]
            for target in (*parts, tensors.confidence):
                size = {"width": width, "height": height, "radius": 0}
                made.append(launch("box", (width, height, 1), planes=tensors.luma, out=target, **size))
        return made

    def enqueue(self, cuda_stream: int) -> None:
        """As a plan on a PyCUDA device."""
        for work in self.launches():
            self._device.kernels().launch(work, cuda_stream)

    def run(self) -> None:
        """As a network of a torch device, in its current stream, or of the CPU device."""
        if isinstance(self._device, CpuDevice):
            for work in self.launches():
                self._device.kernels.run(work)
            return
        import torch

        self.enqueue(int(torch.cuda.current_stream(self._device.device).cuda_stream))

    def ask_recordable(self, cuda_stream: int) -> None:
        """It can be."""

    def check_recordable(self) -> None:
        """It can be."""

    def close(self) -> None:
        arrays: tuple[DeviceArray, ...] = (self.luma, self.ycc, self.confidence)
        for array in arrays:
            self._device.free(array)


class CopyingOnHost:
    """The same for the CPU path."""

    name = "copies"
    best_batch = lanes = 1

    def infer(self, luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.repeat(luma, 3, axis=1), luma.copy()

    def close(self) -> None:
        """Nothing to do."""


def copying(device_class: type[Any], *arguments: Any, **more: Any) -> Device:
    """A device of that class whose networks copy."""

    class Copying(device_class):  # type: ignore[misc]
        def open_network(
            self, path: Path, size: tuple[int, int], frames: int = 1, turns: DeviceNetwork | None = None
        ) -> DeviceNetwork:
            return CopyingNetwork(self, size, frames)

    return Copying(*arguments, **more)  # type: ignore[no-any-return]


def device_of(name: str, kernels: HostKernels | None = None) -> Device:
    """`torch`, `pycuda` or `cpu` (with kernels that are built already), whose networks copy."""
    if name == "torch":
        from irchroma.engines.gpu.cuda.torch_device import TorchDevice

        return copying(TorchDevice, 0)
    if name == "pycuda":
        from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

        return copying(PyCudaDevice, 0)
    return copying(CpuDevice, kernels=kernels)

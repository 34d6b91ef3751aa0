"""A device that fails in the middle of a run: raw frames go out, the engine comes back by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines.moving_scene import FRAME_NS, texture
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import DeviceNetwork
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.stream.loop.guarded import GuardedColorizer
from irchroma.stream.loop.interruptible import Deadlines

DEADLINE_S = 20.0


class FragileDevice(CpuDevice):
    """A device whose network is lost when told so."""

    networks: list[DeviceNetwork] = []  # noqa: RUF012

    def open_network(self, path: Path, size: tuple[int, int]) -> DeviceNetwork:
        made = super().open_network(path, size)
        self.networks.append(made)
        return made


@pytest.fixture
def colorizer(tmp_path: Path, host_kernels: HostKernels) -> Any:
    if not installed("openvino"):
        pytest.skip("needs openvino")
    path = tmp_path / "tiny.onnx"
    write_tiny_network(path)
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    options = NeuralOptions(weights=path, work_size_px=96, network=network)
    made = GuardedColorizer(
        lambda: DeviceColorizer(options, lambda: FragileDevice(network, host_kernels)),
        deadlines=Deadlines(start_s=DEADLINE_S, answer_s=DEADLINE_S),  # a busy machine is slow, not lost
    )
    yield made
    made.close()


def test_raw_frames_go_out_while_a_device_is_lost_and_color_comes_back(colorizer: Any) -> None:
    def color(index: int) -> Any:
        luma = texture((64, 96), 20, 230, seed=index).astype(np.uint8)
        ticket = colorizer.submit(luma, index * FRAME_NS, None, False)
        return None if ticket is None else colorizer.collect(ticket)

    assert color(0).rgb.shape == (64, 96, 3)
    FragileDevice.networks[-1].close()
    assert color(1) is None
    assert colorizer.reason == "the network tiny is closed"
    assert colorizer.failures == 1
    deadline = time.monotonic() + DEADLINE_S
    index = 2
    while (colored := color(index)) is None:
        assert time.monotonic() < deadline
        index += 1
    assert colored.rgb.shape == (64, 96, 3)
    assert colorizer.reason is None

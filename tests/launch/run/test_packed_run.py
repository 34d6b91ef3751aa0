"""A run whose device packs the pictures for the encoder: the video is the same, R'G'B' is never made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import choice
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.kernels import host
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.steps.i420 import pack
from irchroma.engines.gpu.transfer import ENCODERS, DevicePicture
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.launch.cli import main
from irchroma.launch.run import wiring
from irchroma.launch.run.options import RunConfig
from irchroma.launch.run.wiring import encoders_only
from irchroma.stream.sinks.i420_packer import Yuv420Packer
from irchroma.stream.view.osd import OsdOptions
from irchroma.stream.view.views import ViewOptions

FRAMES = 8


def pictures(path: Path) -> NDArray[np.uint8]:
    """All frames of a video."""
    video, found = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        found.append(answer[1])
    return np.stack(found)


def coarse(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 8x8 pixels."""
    return cv2.resize(rgb.astype(np.float32), None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)


@pytest.mark.gst
def test_a_file_is_the_same_and_no_rgb_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed("openvino") or host.compiler() is None:
        pytest.skip("needs openvino and a C++ compiler")
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    kernels = HostKernels()
    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here if index == 0 else None)
    monkeypatch.setattr(choice, "open_device", lambda *_: CpuDevice(network, kernels))

    def run(name: str, *words: str) -> NDArray[np.uint8]:
        source = f"test:nir?size=160x120&frames={FRAMES}"
        weights = ["--engine", "nir", "--weights", str(tmp_path / "tiny.onnx")]
        assert main(["run", source, "--to", str(tmp_path / name), *weights, *words]) == 0
        return pictures(tmp_path / name)

    def never(picture: Any) -> None:
        pytest.fail("R'G'B' was made")

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "encoders_only", lambda config: False)
        plain = run("rgb.mp4", "--runtime", "tensorrt")
    with monkeypatch.context() as patched:
        patched.setattr(DevicePicture, "rgb", property(never))
        packed = run("gpu.mp4", "--runtime", "tensorrt")
    assert len(packed) == len(plain) == FRAMES
    # The encoder leaves out what it likes of each block, and a level's rounding makes it choose otherwise.
    off = np.stack([coarse(one) - coarse(other) for one, other in zip(packed, plain, strict=True)])
    assert np.abs(off).mean() < 1.2
    assert np.abs(off.mean((0, 1, 2))).max() < 0.3
    beside = run("side.mp4", "--runtime", "tensorrt", "--view", "side")
    assert beside.shape[2] == 2 * packed.shape[2]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"to": ("a.mp4", "rtsp://:8554/x", "http://:8080")}, True),
        ({"to": ("a.mp4", "window")}, False),
        ({"view": ViewOptions("side")}, False),
        ({"osd": OsdOptions(show=("rate",))}, False),
    ],
)
def test_what_encoders_alone_take_is_packed(change: dict[str, Any], expected: bool) -> None:
    assert encoders_only(RunConfig(**{"source": "x", "to": ("a.mp4",), **change})) is expected


def test_the_device_packs_as_the_encoders_packer_does() -> None:
    noise = np.random.default_rng(5).normal(128, 60, (96, 128, 3)).astype(np.float32)
    rgb = np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 2 - 128, 0, 255).astype(np.uint8)
    off = pack(rgb, ENCODERS).astype(int) - Yuv420Packer((96, 128)).pack(rgb)
    assert np.abs(off).max() <= 1  # OpenCV's matrix is in whole numbers, and rounds chroma before its mean
    assert np.abs(off).mean() < 0.3

"""`image` and `evaluate` on a GPU, with a CPU device in its place: the same pictures, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.engines.moving_scene import texture
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import choice
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.launch.cli import main

SIZES = ((96, 128), (96, 128), (80, 128), (64, 64))
MEAN_LEVELS = 0.01
"""As in test_device_colorizer; one picture is stored without loss."""


@pytest.fixture
def night(tmp_path: Path) -> Path:
    folder = tmp_path / "ir"
    folder.mkdir()
    for index, size in enumerate(SIZES):
        cv2.imwrite(str(folder / f"{index}.png"), texture(size, 10, 240, seed=index).astype(np.uint8))
    write_tiny_network(tmp_path / "tiny.onnx")
    return folder


@pytest.fixture
def one_gpu(host_kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which runtime and index were asked for."""
    if not installed("openvino"):
        pytest.skip("needs openvino")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    asked: list[tuple[str, int]] = []

    def open_here(runtime: str, index: int) -> CpuDevice:
        asked.append((runtime, index))
        return CpuDevice(network, host_kernels)

    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here if index == 0 else None)
    monkeypatch.setattr(choice, "open_device", open_here)
    return asked


def image(night: Path, target: Path, *words: str) -> int:
    network = ["--weights", str(night.parent / "tiny.onnx"), "--engine", "nir", "--work-size", "96"]
    return main(["image", str(night), str(target), *network, *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--runtime", "tensorrt", "--device", "cuda:0"], ("tensorrt", 0)),
        (["--runtime", "tensorrt"], ("tensorrt", 0)),
        (["--runtime", "torch", "--device", "0"], ("torch", 0)),
        (["--device", "cuda:0"], ("tensorrt", 0)),
    ],
    ids=["tensorrt", "tensorrt alone", "torch", "any runtime"],
)
def test_a_folder_of_several_sizes_is_what_the_cpu_makes_of_it(
    night: Path,
    one_gpu: list[tuple[str, int]],
    words: list[str],
    expected: tuple[str, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_cpu, on_gpu = night.parent / "cpu", night.parent / "gpu"
    assert image(night, on_cpu, "--runtime", "openvino") == 0
    assert one_gpu == []  # nobody asked for it
    assert image(night, on_gpu, *words) == 0
    assert one_gpu == [expected]
    assert "4 pictures" in capsys.readouterr().out
    for index in range(len(SIZES)):
        one, other = (cv2.imread(str(folder / f"{index}.png")).astype(int) for folder in (on_cpu, on_gpu))
        assert np.abs(one - other).mean() < MEAN_LEVELS


def test_evaluate_says_where_it_ran(night: Path, one_gpu: list[tuple[str, int]]) -> None:
    pytest.importorskip("skimage")
    colors = night.parent / "rgb"
    colors.mkdir()
    for path in night.iterdir():
        cv2.imwrite(str(colors / path.name), cv2.applyColorMap(cv2.imread(str(path), 0), cv2.COLORMAP_OCEAN))
    report = night.parent / "report.json"
    words = ["--engine", "nir", "--weights", str(night.parent / "tiny.onnx"), "--work-size", "96"]
    words += ["--runtime", "tensorrt", "--device", "cuda:0", "--json", str(report), "--brief"]
    assert main(["evaluate", str(night.parent), *words]) == 0
    told = json.loads(report.read_text())
    assert told["options"]["device"] == "cuda:0"
    assert len(told["pictures"]) == len(SIZES)
    assert told["names"] == ["nir best, CPU device, openvino f32"]
    assert one_gpu == [("tensorrt", 0)]


@pytest.mark.skipif(probe.device_at() is not None, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_line(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image(night, night.parent / "out", "--runtime", "torch", "--device", "0") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1

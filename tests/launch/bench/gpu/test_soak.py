"""A soak tells what is not given back, and which camera failed, whatever it failed of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.launch.bench.gpu import soak as gpu_soak

SIZE = (96, 128)


@pytest.fixture
def options(tmp_path: Path) -> NeuralOptions:
    if not installed("openvino"):
        pytest.skip("needs openvino")
    write_tiny_network(tmp_path / "tiny.onnx")
    return NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)


def test_what_is_not_given_back_shows_in_the_last_third() -> None:
    flat = [{"resident": 100.0 + step % 2} for step in range(12)]
    leaks = [{"resident": 100.0 + 5 * step} for step in range(12)]
    assert abs(gpu_soak.growth(flat)["resident"]) < 1
    assert gpu_soak.growth(leaks) == {"resident": 20.0}


@pytest.mark.parametrize(
    ("which", "times", "each_mb", "code"),
    [
        *(("soak", 30, *row) for row in ((0.0, 0), (2.0, 0), (4.0, 1))),
        *(("open_and_close", 30, *row) for row in ((0.0, 0), (2.0, 0), (4.0, 1))),
        *(("open_and_close", 6, *row) for row in ((0.0, 0), (2.0, 0), (5.0, 1))),  # a slow machine's
    ],
)
def test_a_gpus_memory_that_grows_is_a_failure(
    which: str,
    times: int,
    each_mb: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ended well whatever it had measured: the step that asks whether memory is left behind."""
    flat = [{"resident": 100.0, "gpu": 500.0}] * times
    grows = [{"resident": 100.0, "gpu": 500.0 + each_mb * step} for step in range(times)]
    found: dict[str, dict[str, Any]] = {
        name: {"times": times, "memory_mb": grows if name == which else flat}
        for name in ("soak", "open_and_close")
    }
    found["open_and_close"]["growth_mb"] = gpu_soak.growth(found["open_and_close"]["memory_mb"])
    for name in found:
        monkeypatch.setattr(gpu_soak, name, lambda *words, name=name: dict(found[name]))
    monkeypatch.setattr(gpu_soak, "HostKernels", lambda: None)
    monkeypatch.setattr(gpu_soak, "tune_process", lambda: None)
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # so that what the program sets is this test's
    assert gpu_soak.main(["--json", str(tmp_path / "soak.json"), "--device", "cpu"]) == code
    assert ("memory of the GPU is not given back" in capsys.readouterr().out) == bool(code)


def test_a_camera_that_fails_of_anything_is_told(
    options: NeuralOptions, host_kernels: HostKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was no error of ours ended its thread with a trace, and the soak well."""

    def fail(*words: Any, **more: Any) -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    monkeypatch.setattr(DeviceColorizer, "submit", fail)
    with pytest.raises(EngineError, match="captures_underway"):
        gpu_soak.soak(lambda: CpuDevice(network, host_kernels), options, SIZE, 2, 0.1)


def test_opening_and_closing_ends_in_time(
    options: NeuralOptions, host_kernels: HostKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its step is ended after a while, and what is written then is the part before it alone."""
    opened: list[Device] = []
    now_s: Iterator[float] = iter(range(0, 1000, 10))
    monkeypatch.setattr(gpu_soak.time, "monotonic", lambda: next(now_s))

    def open_on() -> Device:
        opened.append(CpuDevice(NetworkOptions("openvino", 1, cache=None, exact=True), host_kernels))
        return opened[-1]

    found = gpu_soak.open_and_close(open_on, options, SIZE, 30, 5)
    assert len(opened) == found["times"] == len(found["memory_mb"]) == gpu_soak.FEWEST

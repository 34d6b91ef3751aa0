"""`bench gpu` says in one line that there is no GPU; what it measures, it measures on any device."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import cuda_device, kernel_host
from irchroma.engines.cpu_device import CpuDevice
from irchroma.engines.kernel_host import HostKernels
from irchroma.engines.network import NetworkOptions, installed
from irchroma.engines.neural import NeuralOptions
from irchroma.launch.bench_gpu import measure
from irchroma.launch.cli import main
from irchroma.launch.gpu_throughput import Case

SIZE = (96, 128)


@pytest.mark.skipif(cuda_device.device_at() is not None, reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu", "--json", str(tmp_path / "gpu.json")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == ["irchroma bench: bench gpu needs an NVIDIA GPU and its driver: there is no device 0 here"]
    assert not (tmp_path / "gpu.json").exists()


def test_everything_it_measures_is_there_and_plausible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not installed("openvino") or kernel_host.compiler() is None:
        pytest.skip("needs openvino and a C++ compiler")
    write_tiny_network(tmp_path / "tiny.onnx")
    kernels, network = HostKernels(), NetworkOptions("openvino", 1, cache=None, exact=True)
    options = NeuralOptions(weights=tmp_path / "tiny.onnx")
    cases = [Case(SIZE, 1, 1, True), Case(SIZE, 2, 2, True), Case(SIZE, 1, 2, False)]
    found = measure(lambda: CpuDevice(network, kernels), options, cases, 0.2)
    assert "failed" not in found
    assert found["parity"]["mean_levels"] < 0.1
    assert found["parity"]["share_over_4_levels"] < 1e-3
    assert set(found["steps_ms"]) >= {"network", "compose", "box_rows", "remember"}
    assert found["copy_gb_s"]["in"] > 0.1
    assert [row["graphs_recorded"] for row in found["throughput"]] == [True, True, False]
    live = found["live_streams"]
    assert [row["streams"] for row in live] == [2**index for index in range(len(live))]
    assert not live[-1]["keeps_up"]
    for row in live[:-1]:
        assert row["ms_p99"] < 33
    for row in [*found["throughput"], *live]:
        assert row["frames"] > 0
        assert 0 < row["host_ms_p50"] <= row["ms_p50"] <= row["ms_p95"] <= row["ms_p99"]
    assert "fps" in capsys.readouterr().out

"""`bench gpu` says in one line that there is no GPU; what it measures, it measures on any device."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.capture.capture_lock import recordings
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Device, WorkQueue
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.probe import CudaDevice
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.launch.bench.gpu import command as bench_gpu
from irchroma.launch.bench.gpu import measure as gpu_measure
from irchroma.launch.bench.gpu import throughput as gpu_throughput
from irchroma.launch.bench.gpu.command import PARTS_FAILED, Parts, in_a_process, measure, plan_cases
from irchroma.launch.bench.gpu.measure import compare, judge, what_failed
from irchroma.launch.bench.gpu.throughput import Case
from irchroma.launch.cli import main

SIZE = (96, 128)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer repeats: a processor needs milliseconds for what a GPU does in one hundredth of it."""
    monkeypatch.setattr(gpu_measure, "_ROWS", 4)
    monkeypatch.setattr(gpu_measure, "_IN_A_ROW", 2)
    monkeypatch.setattr(gpu_measure, "_COPY_BYTES", 1 << 22)
    monkeypatch.setattr(gpu_throughput, "MOST_STREAMS", 2)


@pytest.mark.skipif(probe.device_at() is not None, reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "gpu", "--json", str(tmp_path / "gpu.json")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == ["irchroma bench: bench gpu needs an NVIDIA GPU and its driver: there is no device 0 here"]
    assert not (tmp_path / "gpu.json").exists()


def test_it_measures_in_a_process_as_a_run_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(probe, "device_at", lambda index=0: probe.CudaDevice("X", "9.0", "13.0"))
    monkeypatch.setattr(bench_gpu, "tune_process", lambda: done.append("tuned"))
    monkeypatch.setattr(bench_gpu, "_measure_one", lambda *_: done.append("measured") or 0)
    main(["bench", "gpu", "--json", str(tmp_path / "gpu.json"), "--runtime", "torch"])
    assert done == ["tuned", "measured"]


def test_everything_it_measures_is_there_and_plausible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host_kernels: HostKernels
) -> None:
    if not installed("openvino"):
        pytest.skip("needs openvino")
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    still = Case(SIZE, 1, 2, False, scene="still", temporal=False)
    cases = [Case(SIZE, 1, 1, True), Case(SIZE, 2, 2, True, batched=True), still]
    written: list[int] = []
    parts = Parts(lambda: written.append(1))
    measure(parts, lambda: CpuDevice(network, host_kernels), options, cases, 0.1)
    found = parts.found
    assert "errors" not in found
    assert len(written) > 5  # the file is kept up to date
    assert found["parity"]["mean_levels"] < 0.1
    assert found["parity"]["share_over_4_levels"] < 1e-3
    assert set(found["steps_ms"]) >= {"network", "compose", "window_models", "remember"}
    for name, step in found["steps_ms"].items():
        assert 0 < step["p50"] <= step["p95"] <= step["p99"]
        assert (step["bytes"] > 0) == (name != "network")
    assert found["copy_gb_s"]["in"] > 0.1
    assert found["frame_ms"]["launches"] > 20
    assert found["frame_ms"]["recorded_ms"] > 0
    assert found["frame_ms"]["eager_ms"] > 0
    assert [row["frames"] for row in found["network"]] == [1, 2, 4, 8]
    assert all(row["recorded"] and row["frames_per_second"] > 1 for row in found["network"])
    assert [row["graphs_recorded"] for row in found["throughput"]] == [True, True, False]
    assert [row["batched"] for row in found["throughput"]] == [False, True, False]
    for key in ("live_streams", "live_streams_batched"):
        streams = [row["streams"] for row in found[key]]
        assert streams == sorted(set(streams))
        assert streams[0] == 1
        assert all(row["batched"] == key.endswith("batched") for row in found[key])
    for row in [*found["throughput"], *found["live_streams"]]:
        assert row["frames"] > 0
        assert row["cpu_ms"] > 0
        assert 0 < row["host_ms_p50"] <= row["ms_p50"] <= row["ms_p95"] <= row["ms_p99"]
    assert "fps" in capsys.readouterr().out


def test_everything_is_recorded_before_the_time_that_is_measured(
    tmp_path: Path, host_kernels: HostKernels
) -> None:
    """Networks of torch choose their kernels in each thread's first frame, while which nobody can record."""
    if not installed("openvino"):
        pytest.skip("needs openvino")
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    ready = threading.Event()
    recorded: list[bool] = []
    streams, seen, warm = itertools.count(), itertools.count(1), threading.Event()

    class Choosing(CpuDevice):
        def open_queue(self) -> WorkQueue:
            made: Any = super().open_queue()
            infer, capture, chosen = made.infer, made.capture, threading.local()

            def choose(network: Any) -> None:
                if not hasattr(chosen, "all") and made.recording is None:
                    with recordings.waiting_for_all():
                        if next(streams) == 2:  # takes longer than the others need for all their warm frames
                            warm.wait(2)
                    chosen.all = True
                if next(seen) == 14:
                    warm.set()
                infer(network)

            def record(work: Any) -> Any:
                with recordings.recording():
                    found = capture(work)
                recorded.append(ready.is_set())
                return found

            made.infer, made.capture = choose, record
            return made  # type: ignore[no-any-return]

    row = gpu_throughput.throughput(
        lambda: Choosing(network, host_kernels), options, Case(SIZE, 3, 2, True), 0.3, ready.set
    )
    assert row["graphs_recorded"]
    assert recorded
    assert not any(recorded), f"{sum(recorded)} of {len(recorded)} recorded too late"


def test_a_stream_that_cannot_begin_is_told_and_nobody_waits_for_it(
    tmp_path: Path, host_kernels: HostKernels
) -> None:
    write_tiny_network(tmp_path / "tiny.onnx")
    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    opened: list[int] = []

    class Second(CpuDevice):
        def open_network(self, *_: Any) -> Any:
            opened.append(1)
            raise EngineError("no memory for a network")

    with pytest.raises(EngineError, match="no memory for a network"):
        gpu_throughput.throughput(lambda: Second(kernels=host_kernels), options, Case(SIZE, 2, 1, True), 0.1)
    assert len(opened) == 2


def test_a_part_that_fails_is_written_down_and_the_others_are_measured(
    tmp_path: Path, host_kernels: HostKernels
) -> None:
    if not installed("openvino"):
        pytest.skip("needs openvino")
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)

    class NoBatches(CpuDevice):
        def open_network(self, path: Path, size: tuple[int, int], *batches: Any) -> Any:
            if batches:
                raise EngineError("no batches on this device\nand more lines")
            return super().open_network(path, size)

    def opens() -> Device:
        return NoBatches(network, host_kernels)

    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    parts = Parts()
    cases = [Case(SIZE, 1, 1, True, batched=True), Case(SIZE, 1, 1, True)]
    measure(parts, opens, options, cases, 0.05)
    reason = "no batches on this device"
    failed = {"network", "throughput 1", "live_streams_batched"}
    assert parts.found["errors"] == dict.fromkeys(failed, reason)
    assert len(parts.found["throughput"]) == 1
    assert parts.found["live_streams"]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch_and_the_limits_are_measured_where_torch_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's CPU, without its compiler, which takes a minute there."""
    from irchroma.launch.bench.gpu import torch_speed

    monkeypatch.setattr(torch_speed, "WAYS", ("eager fp32", "eager fp16"))
    monkeypatch.setattr(torch_speed, "_CPU_COPY_BYTES", 1 << 22)
    monkeypatch.setattr(torch_speed, "_CPU_MATRIX", 128)
    write_tiny_network(tmp_path / "tiny.onnx")
    parts = Parts()
    compare(parts, tmp_path / "tiny.onnx", (64, 96), (1, 2), 0.05, "cpu")
    found = parts.found
    assert found["limits"]["copy_gb_s"] > 0
    assert found["limits"]["matrix_tflop_s"] > 0
    # 1 -> 1 planes by 4x4 windows at a quarter of the size, and 1 -> 4 planes by 1x1: 2 (16 + 4) operations
    # each.
    assert found["limits"]["network_fp32"]["flops"] == 40 * 16 * 24
    assert found["limits"]["network_fp32"]["bytes"] == 4 * (
        64 * 96 + 16 + 16 * 24 + 16 * 24 + 4 + 4 * 16 * 24
    )
    assert found["limits"]["network_fp16"]["flops"] == found["limits"]["network_fp32"]["flops"]
    assert 2 * found["limits"]["network_fp16"]["bytes"] == found["limits"]["network_fp32"]["bytes"]
    assert set(found["torch"]["eager fp32"]) == {"batch 1", "batch 2"}
    assert set(found["torch"]["eager fp16"]) == {"batch 1", "batch 2"}


def test_the_verdict_holds_a_runtime_against_torch_and_against_the_limits() -> None:
    results = {
        "comparison": {
            "limits": {
                "copy_gb_s": 1000.0,
                "matrix_tflop_s": 100.0,
                "network_fp16": {"flops": 5_000_000_000, "bytes": 20_000_000},
            },
            "torch": {"eager fp16": {"batch 1": {"in_a_row_ms": 0.6}}, "eager fp32": {"errors": {}}},
        },
        "runtimes": {
            "tensorrt": {
                "network": [{"frames": 1, "name": "tensorrt 11 fp16 on X", "in_a_row_ms": 0.2}],
                "steps_ms": {
                    "compose": {"mean": 0.01, "bytes": 2_000_000},
                    "network": {"mean": 0.2, "bytes": 0},
                },
                "live_streams": [
                    {"streams": 64, "keeps_up": True},
                    {"streams": 128, "keeps_up": False},
                ],
            },
            "torch": {"errors": {"opens": "no"}},
        },
    }
    assert judge(results) == {
        "tensorrt": {
            "times_as_fast_as_torch_eager_fp16": 3.0,
            "network_share_of_limit": 0.25,
            "kernels_share_of_limit": 0.2,
            "live_streams_that_fit": 64,
        },
        "torch": {},
    }
    assert judge({"runtimes": {}}) == {}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(-11, "its process ended with -11"), (subprocess.TimeoutExpired("x", 5), "not done after 0.2 seconds")],
)
def test_a_runtime_that_takes_its_process_with_it_leaves_the_others(
    outcome: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Child:
        """Writes, and then ends so, or not at all until it is killed."""

        def __init__(self, words: list[str]) -> None:
            path = Path(words[words.index("--json") + 1])
            path.write_text('{"runtimes": {"tensorrt": {"device": "X"}}}', encoding="utf-8")
            self.killed = False

        def wait(self, timeout: float | None = None) -> int:
            if isinstance(outcome, Exception) and not self.killed:
                raise outcome
            return -9 if self.killed else outcome

        def kill(self) -> None:
            self.killed = True

    monkeypatch.setattr(bench_gpu.subprocess, "Popen", Child)
    kept: list[dict[str, Any]] = []
    args = argparse.Namespace(engine="nir", device="0", seconds=1.0, quick=True, limit=0.2)
    found = in_a_process("tensorrt", args, kept.append)["runtimes"]["tensorrt"]
    assert found["device"] == "X"
    assert said in found["errors"]["process"]
    assert bool(kept) == isinstance(outcome, Exception)  # what a running child wrote is kept at once


def test_a_runtime_that_does_not_open_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who started the process sees it by its exit code and its last line, and the file says it too."""

    def refuses(runtime: str, index: int) -> Device:
        raise EngineError("no compiler for the kernels")

    monkeypatch.setattr(bench_gpu, "open_device", refuses)
    monkeypatch.setattr(bench_gpu.probe, "device_at", lambda index=0: CudaDevice("a GPU", "9.0", "13.0"))
    path = tmp_path / "gpu.json"
    parser = argparse.ArgumentParser()
    bench_gpu.add_arguments(parser)
    assert bench_gpu.run(parser.parse_args(["--json", str(path), "--runtime", "torch"])) == PARTS_FAILED
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "not measured: opens: no compiler for the kernels"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["runtimes"] == {"torch": {"errors": {"opens": "no compiler for the kernels"}}}


def test_a_part_that_failed_in_one_of_all_runtimes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the exit code, too; a runtime that is not here was not asked for."""
    measured: dict[str, Any] = {"torch": {"throughput": [], "errors": {"latency": "lost"}}}

    def one(part: str, *_: Any) -> dict[str, Any]:
        if part not in ("torch", *bench_gpu.GPU_RUNTIMES):
            return {part: {}}
        return {"runtimes": {part: measured.get(part, {"errors": {"opens": "not installed"}})}}

    monkeypatch.setattr(bench_gpu, "in_a_process", one)
    monkeypatch.setattr(bench_gpu, "judge", lambda results: {})
    monkeypatch.setattr(bench_gpu.probe, "device_at", lambda index=0: CudaDevice("a GPU", "9.0", "13.0"))
    parser = argparse.ArgumentParser()
    bench_gpu.add_arguments(parser)
    args = parser.parse_args(["--json", str(tmp_path / "gpu.json")])
    assert bench_gpu.run(args) == PARTS_FAILED
    assert capsys.readouterr().out.splitlines()[-1] == "not measured: runtimes, torch, latency: lost"
    del measured["torch"]["errors"]
    assert bench_gpu.run(args) == 0


def test_what_failed_within_parts_is_found() -> None:
    rows = {"batch 1": {"call_ms": 1.0}, "errors": {"batch 8": "too little memory"}}
    found = {"torch": {"eager fp16": rows}, "errors": {"limits": "no"}, "network": [{"frames": 1}]}
    assert what_failed(found) == {"limits": "no", "torch, eager fp16, batch 8": "too little memory"}


def test_a_count_of_live_streams_keeps_what_it_has_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = iter(range(0, 1000, 10))
    monkeypatch.setattr(gpu_throughput.time, "monotonic", lambda: next(now_s))
    seen: list[int] = []
    rows = gpu_throughput.most_that_keep_up(
        lambda count: {"streams": count, "keeps_up": count < 11}, 25, lambda rows: seen.append(len(rows)), 64
    )
    assert [row["streams"] for row in rows] == [1, 2]
    assert rows[-1]["stopped"] == "after 25 seconds"
    assert seen == [1, 2]
    monkeypatch.undo()
    rows = gpu_throughput.most_that_keep_up(
        lambda count: {"streams": count, "keeps_up": count < 11}, 60, lambda rows: None, 64
    )
    assert [row["streams"] for row in rows] == [1, 2, 4, 8, 9, 10, 12, 16] or max(
        row["streams"] for row in rows if row["keeps_up"]
    ) in (9, 10)
    assert not any("stopped" in row for row in rows)


def test_the_cases_cover_batches_and_large_frames() -> None:
    whole, quick = plan_cases(quick=False), plan_cases(quick=True)
    assert len(set(whole)) == len(whole)
    assert set(quick) <= set(whole)
    assert {case.size for case in whole} == set(bench_gpu.SIZES)
    assert any(case.batched for case in quick)
    assert {(case.scene, case.temporal) for case in quick} >= {
        ("still", True),
        ("still", False),
        ("pan", False),
    }

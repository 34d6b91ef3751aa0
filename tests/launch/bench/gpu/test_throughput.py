"""The scenes that `bench gpu` colors are what they are called, and what it counts ends in time."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import CaptureRefused
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.temporal.stage import TemporalStage
from irchroma.launch.bench.gpu import command as bench_gpu
from irchroma.launch.bench.gpu import measure as gpu_measure
from irchroma.launch.bench.gpu import throughput
from irchroma.launch.bench.gpu.first_run import plan_steps
from irchroma.launch.bench.gpu.measure import Parts
from irchroma.launch.bench.gpu.throughput import SCENES, Case

SIZE = (96, 128)


def shift_px(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> float:
    found, _ = cv2.phaseCorrelate(before.astype(np.float64), after.astype(np.float64))
    return float(np.hypot(*found))


def test_a_pan_moves_at_every_frame_and_a_still_scene_at_none_but_its_noise() -> None:
    """A still one that moved, or that was one picture again and again, measured something else unseen."""
    moving, still = (SCENES[name]((256, 320)) for name in ("pan", "still"))
    for frames, low, high in ((moving, 3.0, 5.0), (still, 0.0, 0.2)):
        pairs = list(zip(frames, frames[1:] + frames[:1], strict=True))
        assert len(pairs) == 8
        assert all(low <= shift_px(*pair) <= high for pair in pairs)
        assert all(np.abs(one.astype(int) - other).mean() > 1 for one, other in pairs)
    deviation = np.std(np.stack(still).astype(float), axis=0).mean()
    assert 1 < deviation < 2  # of a sensor, levels; the temporal stage takes it for none of the scene's


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_each_case_is_colored_as_it_says(
    tmp_path: Path, host_kernels: HostKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    moved: list[bool] = []
    observe, submit = TemporalStage.observe_half, DeviceColorizer.submit

    def observed(*words: Any) -> Any:
        seen = observe(*words)
        moved.append(seen.half_area is not None)
        return seen

    colored: list[bytes] = []

    def submitted(colorizer: DeviceColorizer, luma: Any, *words: Any) -> None:
        colored.append(luma.tobytes())
        submit(colorizer, luma, *words)

    monkeypatch.setattr(TemporalStage, "observe_half", observed)
    monkeypatch.setattr(DeviceColorizer, "submit", submitted)
    for scene in SCENES:
        for temporal in (True, False):
            moved.clear()
            colored.clear()
            case = Case(SIZE, 1, 1, True, scene=scene, temporal=temporal)
            row = throughput.throughput(lambda: CpuDevice(network, host_kernels), options, case, 0.2)
            assert (row["scene"], row["temporal"]) == (scene, temporal)
            assert set(colored) <= {frame.tobytes() for frame in SCENES[scene](SIZE)}
            assert bool(moved) == temporal  # without the stage it is the GPU's rate
            assert not temporal or np.mean(moved[2:]) == (scene == "pan")


def test_what_is_counted_for_so_long_fits_into_its_step_of_a_first_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that is ended has failed, whatever it has measured by then."""
    limits: dict[str, float] = {}

    def fitting(*words: Any) -> list[Any]:
        limits["batched" if words[4] else "alone"] = words[5]
        return []

    for name in ("parity", "network_times", "throughput", "_line"):
        monkeypatch.setattr(bench_gpu, name, lambda *words: {})
    monkeypatch.setattr(bench_gpu, "_steps", lambda *words: None)
    monkeypatch.setattr(bench_gpu, "fitting_streams", fitting)
    bench_gpu.measure(Parts(), CpuDevice, NeuralOptions(), [Case(SIZE, 1, 1, True)], 1.0)
    limits["processes"] = inspect.signature(bench_gpu.live_by_processes).parameters["limit_s"].default
    step = next(step for step in plan_steps("torch") if step.name == "bench-torch")
    assert sorted(limits) == ["alone", "batched", "processes"]
    assert all(limit_s >= 60 for limit_s in limits.values())  # 1 to 128 streams, each some seconds
    assert sum(limits.values()) <= step.limit_s - 60


def test_a_hundred_streams_can_be_counted_and_not_many_times_as_many() -> None:
    """They are doubled from one on: below 128 nobody would ever see the 100 that are asked for."""
    assert 128 <= throughput.MOST_STREAMS <= 256


CHILD = """
import json, sys, time
from pathlib import Path
print("a line of a library"); print("ready", flush=True)
assert sys.stdin.readline() == "go\\n"
path, each, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]) / sys.argv[2]
folder.mkdir(exist_ok=True)
(folder / path.stem).touch()
end_s = time.monotonic() + 20
while len(list(folder.iterdir())) < 2:
    assert time.monotonic() < end_s, "the other has not begun"
    time.sleep(0.01)
row = {"fps": 30.0 * each, "ms_p50": 1, "ms_p95": 2, "ms_p99": each, "keeps_up": each < 3}
path.write_text(json.dumps({"row": row}))
"""


def of_children(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Rows of two processes of that program in the place of `bench gpu --live`."""
    child = folder / "child.py"
    child.write_text(program, encoding="utf-8")
    monkeypatch.setattr(throughput, "MOST_STREAMS", 64)
    monkeypatch.setattr(bench_gpu, "MOST_STREAMS", 64)
    monkeypatch.setattr(
        bench_gpu,
        "_words",
        lambda args, runtime, path, *more: [sys.executable, str(child), str(path), more[1], str(folder)],
    )
    return bench_gpu.live_by_processes(argparse.Namespace(seconds=1.0), "torch", 2, lambda rows: None)


def test_live_streams_over_processes_are_measured_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each began when the one before it had ended: so many processes had the GPU to themselves by turns."""
    rows = of_children(CHILD, tmp_path, monkeypatch)
    assert [row["streams"] for row in rows] == [2, 4, 6, 8]
    assert [row["keeps_up"] for row in rows] == [True, True, False, False]
    assert rows[1]["fps"] == 120.0


@pytest.mark.parametrize("streams", [1, 25])
def test_streams_of_a_process_share_a_network_as_cameras_of_a_run_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    """Each had its own, and the count was of runs that nobody has."""
    asked: list[Case] = []

    def measured(opener: Any, options: Any, case: Case, seconds: float, when_ready: Any) -> dict[str, Any]:
        asked.append(case)
        return {"ms_p99": 5.0, "fps": 30.0 * streams, "streams": streams}

    monkeypatch.setattr(bench_gpu, "throughput", measured)
    args = argparse.Namespace(live=streams, seconds=1.0, json=tmp_path / "live.json")
    assert bench_gpu._measure_live(args, CpuDevice, NeuralOptions(), {}) == 0
    assert [(case.streams, case.batched, case.rate) for case in asked] == [(streams, streams > 1, 30.0)]
    assert json.loads(args.json.read_text(encoding="utf-8"))["row"]["keeps_up"]


@pytest.mark.parametrize("program", ["", "print('ready', flush=True)"])
def test_of_a_process_that_dies_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    with pytest.raises(EngineError, match="2 of 2 processes with 1 streams each failed"):
        of_children(program, tmp_path, monkeypatch)


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_a_frames_time_is_measured_where_branches_are_refused(
    tmp_path: Path,
    host_kernels: HostKernels,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All that was asked of a frame's time was lost with it."""

    @contextmanager
    def refused(*words: Any) -> Iterator[None]:
        raise CaptureRefused("not on this driver")
        yield

    monkeypatch.setattr(gpu_measure, "branched", refused)
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    device = CpuDevice(network, host_kernels)
    options = NeuralOptions(weights=tmp_path / "tiny.onnx", work_size_px=96)
    colorizer = DeviceColorizer(options, lambda: device)
    colorizer.prepare(SIZE)
    found = gpu_measure.frame_time(device, throughput.chain_of(colorizer))
    colorizer.close()
    assert found["recorded_ms"] > 0
    assert found["eager_ms"] > 0
    assert "branched_ms" not in found
    assert "branches: not on this driver" in capsys.readouterr().out

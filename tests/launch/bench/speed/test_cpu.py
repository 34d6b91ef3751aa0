"""`irchroma bench cpu`: every kind of run once, small, with what the JSON must say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from irchroma.launch.bench.speed import cpu
from irchroma.launch.bench.speed.cpu import MASKS
from irchroma.launch.cli import main

pytest.importorskip("openvino", reason="the CPU bench names OpenVINO's kernels")


@pytest.mark.gst
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_is_measured_once_and_the_mask_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(cpu._FRAMES_OF, 64, 300)
    monkeypatch.setattr(cpu, "_FILE_WARM_S", 0.1)
    out = tmp_path / "cpu.json"
    small = ["--size", "96x64", "--cameras", "1,2", "--seconds", "1", "--warm", "0.5"]
    assert main(["bench", "cpu", "--json", str(out), *small]) == 0
    said = json.loads(out.read_text())
    assert all("avx512" not in kernel for kernel in said["kernels"]["AVX2"])
    assert len(said["stages"]) == len(MASKS)
    assert set(said["stages"][0]["cpu_ms"]) >= {"tone map", "motion", "network", "steady", "picture"}
    tools = [one["what"] for one in said["files"]]
    assert tools == ["new", "new", *(["gst-launch"] if shutil.which("gst-launch-1.0") else [])]
    assert all(one["frames_per_second"] > 1 for one in said["files"])
    plain = [one for one in said["live"] if one["what"] == "gst-launch"]
    ours = [one for one in said["live"] if one["what"] == "new"]
    assert [one["cameras"] for one in ours] == [1, 1, 2, 2]
    assert all(one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] for one in ours)
    assert [one["cameras"] for one in plain] == ([2] if shutil.which("gst-launch-1.0") else [])
    assert all(one["frames_per_second"] > 1 for one in plain)


def test_an_older_checkout_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "cpu", "--json", str(tmp_path / "cpu.json"), "--old", str(tmp_path)]
    assert main(arguments) != 0
    assert "expected a checkout of irchroma" in capsys.readouterr().err

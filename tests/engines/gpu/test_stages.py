"""Stages of frames have names in a profiler's timeline where that is asked for, and cost nothing else."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from irchroma.engines.gpu import stages
from irchroma.engines.gpu.kernels import host
from irchroma.engines.gpu.stages import stage

NVTX = """
depth = 0
def push_range(name):
    global depth
    print(f"{depth} {name}", flush=True)
    depth += 1
def pop_range():
    global depth
    depth -= 1
"""


def test_without_being_asked_for_a_stage_is_the_same_nothing_every_time() -> None:
    assert stage("look") is stage("after")


def test_stages_are_ranges_of_nvtx_one_within_another(tmp_path: Path) -> None:
    (tmp_path / "nvtx.py").write_text(NVTX, encoding="utf-8")
    built = tmp_path / "kernels.so"
    host.build_library(built)
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    words = [sys.executable, "-m", "tests.engines.gpu.programs.frames", "--device", "cpu", "--sizes", "80x50"]
    done = subprocess.run(
        [*words, "--built", str(built)],
        env={**os.environ, "IRCHROMA_NVTX": "1", "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = set(done.stdout.splitlines())
    wanted = {"0 observe", "1 search 0", "1 wait", "0 colored", "0 carried", "0 wait", "0 lay the reference"}
    assert {f"{one[:2]}irchroma: {one[2:]}" for one in wanted} <= said
    assert done.stdout.splitlines()[-1].startswith("80x50")  # the last frame's ranges have ended


def test_a_torch_without_cuda_names_no_stage_and_hinders_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(*words: str) -> None:
        raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")

    nvtx = SimpleNamespace(range_push=refuses, range_pop=refuses)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(nvtx=nvtx)))
    monkeypatch.setitem(sys.modules, "nvtx", None)
    monkeypatch.setattr(stages, "_library", functools.cache(stages._library.__wrapped__))
    with stages._named("look"), stages._named("wait"):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "IRCHROMA_NVTX is set and no NVTX is here: pip install nvtx"
    ]

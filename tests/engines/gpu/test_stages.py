"""Stages of frames have names in a profiler's timeline where that is asked for, and cost nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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

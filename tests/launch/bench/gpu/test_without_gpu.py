"""What is shown without a GPU: of which kernels and networks it is, and what a compiler says of registers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.engines import catalog
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.cuda.compile import sources_digest
from irchroma.engines.gpu.plans.file import file_sha256
from irchroma.launch.bench.gpu import without_gpu
from irchroma.launch.bench.gpu.steps import ROOT
from irchroma.launch.bench.gpu.without_gpu import TESTS, changed_since, resources

SAID = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'box' for 'sm_75'
ptxas info    : Function properties for box
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 34 registers, used 1 barriers, 396 bytes cmem[0]
ptxas info    : Compiling entry function 'compose' for 'sm_75'
ptxas info    : Function properties for compose
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 416 bytes cmem[0]
ptxas info    : Compiling entry function 'box' for 'sm_90'
ptxas info    : Function properties for box
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers
"""


def test_what_ptxas_says_is_told_by_compute_capability() -> None:
    assert resources(SAID) == {
        "75": {"kernels": 2, "registers": 40, "of": "compose", "spilled_bytes": 20},
        "90": {"kernels": 1, "registers": 32, "of": "box", "spilled_bytes": 0},
    }


def test_every_test_that_it_runs_is_there() -> None:
    assert all((ROOT / path).exists() for paths in TESTS.values() for path in paths)


def test_what_is_left_out_is_of_the_tests_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    without_gpu.add_arguments(parser)
    assert parser.parse_args(["--json", "a.json", "--without", "plans,frames"]).without == "plans,frames"
    with pytest.raises(SystemExit):
        parser.parse_args(["--json", "a.json", "--without", "plan"])
    assert "got plan" in capsys.readouterr().err


def test_what_was_shown_of_other_kernels_or_networks_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = catalog.weights_path("nir", "fast")
    plan = {"network": path.name, "onnx_sha256": file_sha256(path)}
    results: dict[str, Any] = {"commit": "abc", "kernels": {"sources": sources_digest()}, "plans": [plan] * 2}
    assert changed_since(results) == []
    old = results | {"kernels": {"sources": "0"}, "plans": [plan | {"onnx_sha256": "0"}] * 2}
    assert changed_since(old) == ["other kernels than at abc", "another nir_fast.onnx than at abc"]
    file = tmp_path / "old.json"
    file.write_text(json.dumps(old), encoding="utf-8")
    assert without_gpu.run(argparse.Namespace(check=file)) == 1
    assert "other kernels than at abc" in capsys.readouterr().out


def test_what_cannot_be_done_here_is_written_down_beside_what_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part by itself: without nvcc there are NVRTC's, without TensorRT-RTX the tests."""

    def fails() -> None:
        raise EngineUnavailable("no such library")

    nvrtc = SimpleNamespace(version="13.5", architectures=lambda: (70, 90), compile=lambda *_: b"made")
    monkeypatch.setattr(without_gpu, "find_nvcc", lambda: None)
    monkeypatch.setattr(without_gpu, "Nvrtc", lambda: nvrtc)
    monkeypatch.setattr(without_gpu, "plans", fails)
    monkeypatch.setattr(without_gpu, "TESTS", {"one": ("tests/launch/bench/gpu/no_such_file.py",)})
    file = tmp_path / "shown.json"
    assert without_gpu.run(argparse.Namespace(check=None, json=file, without="")) == 1
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["compiled"]["nvrtc"] == {"version": "13.5", "bytes": {"90": 4}}
    assert found["compiled"]["errors"]["nvcc"].startswith("no nvcc here")
    assert found["errors"] == {"plans": "no such library"}
    assert found["tests"]["one"]["state"] == "failed"
    assert found["kernels"]["sources"] == sources_digest()

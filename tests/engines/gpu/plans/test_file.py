"""Plan files: there and back, and one clear line for each way in which one can be unusable."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from irchroma.engines.errors import PlanError
from irchroma.engines.gpu.plans.file import (
    MAGIC,
    PlanHeader,
    PlanSource,
    file_sha256,
    read_header,
    read_plan,
    why_unusable,
    write_plan,
)
from irchroma.engines.gpu.plans.proof import PlanLayer

PLAN = bytes(range(256)) * 20
SOURCE = PlanSource("a.onnx", "ab" * 32, "tensorrt", "11.4.0", "NVIDIA RTX 4090", "8.9", "fp16", "1x64x64")
HEADER = PlanHeader(
    source=SOURCE,
    driver="13.0",
    built_at="2026-01-02T03:04:05+00:00",
    build_s=1.5,
    convolutions=1,
    weights_bytes=10,
    activation_bytes=None,
    plan_bytes=len(PLAN),
    plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    layers=(PlanLayer("/Conv_0", "correlation", "fp16", "1x8x64x64", ("/Conv",)),),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a.plan"
    write_plan(place, HEADER, PLAN)
    return place


def test_header_and_plan_come_back_as_they_were_written(path: Path) -> None:
    assert read_plan(path) == (HEADER, PLAN)
    assert read_header(path) == HEADER
    assert [one.name for one in path.parent.iterdir()] == ["a.plan"]
    assert why_unusable(path, SOURCE) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"runtime": "tensorrt-rtx"}, "built by tensorrt, asked for is tensorrt-rtx"),
        ({"version": "10.13.3"}, "built by tensorrt 11.4.0, here is 10.13.3"),
        ({"onnx_sha256": "cd" * 32}, "a.onnx has changed since it was built"),
        ({"precision": "fp32"}, "built in fp16, asked for is fp32"),
        ({"shape": "8x64x64"}, "built for 1x64x64, asked for is 8x64x64"),
        (
            {"level": 5, "aux_streams": None},
            "built at level 3 with 0 auxiliary streams, asked for is level 5 with any auxiliary streams",
        ),
        (
            {"device": "NVIDIA H200", "compute_capability": "9.0"},
            "built on NVIDIA RTX 4090 (compute capability 8.9), this is NVIDIA H200 (compute capability 9.0)",
        ),
        (
            {"device": None, "compute_capability": None},
            "built on NVIDIA RTX 4090 (compute capability 8.9), this is a machine without a device",
        ),
    ],
)
def test_a_plan_for_something_else_is_explained(path: Path, change: dict[str, object], reason: str) -> None:
    assert why_unusable(path, replace(SOURCE, **change)) == reason


def test_a_tensorrt_rtx_plan_serves_other_devices(tmp_path: Path) -> None:
    portable = replace(SOURCE, runtime="tensorrt-rtx", device=None, compute_capability=None)
    write_plan(tmp_path / "a.plan", replace(HEADER, source=portable), PLAN)
    wanted = replace(portable, device="NVIDIA RTX 4090", compute_capability="8.9")
    assert why_unusable(tmp_path / "a.plan", wanted) is None


@pytest.mark.parametrize("length", [0, 10, len(MAGIC) + 4, len(MAGIC) + 50, 1000])
def test_a_plan_cut_short_anywhere_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(PlanError, match=r"cut short|not a plan"):
        read_header(path)
    assert why_unusable(path, SOURCE)


def test_a_plan_with_one_wrong_byte_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    assert why_unusable(path, SOURCE) == "damaged: the plan's bytes are not those that were written"


def test_other_files_are_no_plans(path: Path) -> None:
    path.write_bytes(b"ftrt" + PLAN)
    assert why_unusable(path, SOURCE) == "not a plan that this version of irchroma wrote"
    path.write_bytes(MAGIC + (2).to_bytes(8, "little") + b"{}")
    with pytest.raises(PlanError, match="header cannot be read"):
        read_header(path)
    with pytest.raises(PlanError, match="no such file"):
        read_plan(path.with_name("none.plan"))
    with pytest.raises(PlanError, match="no such file"):
        file_sha256(path.with_name("none.onnx"))
    assert why_unusable(path.with_name("none.plan"), SOURCE) == "not built yet"

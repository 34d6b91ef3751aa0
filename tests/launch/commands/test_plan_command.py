"""`irchroma engines build` and `irchroma engines inspect PLAN`, as a user calls them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irchroma.launch.cli import main

BUILD = ["engines", "build", "--size", "fast", "--shapes", "1x64x96"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_plan_is_built_found_again_and_inspected_as_float16(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    rtx = ["--runtime", "tensorrt-rtx"]
    assert main([*BUILD, *rtx]) == 0
    assert re.search(r"fp16 in (\d\d) of \1 convolutions", capsys.readouterr().out)
    assert main([*BUILD, *rtx, "--no-build"]) == 0
    assert "up to date" in capsys.readouterr().out
    (path,) = cache.rglob("*.plan")
    assert main(["engines", "inspect", str(path)]) == 0
    said = capsys.readouterr().out
    for words in (
        "nir_fast.onnx",
        "tensorrt-rtx 1.",
        "1x64x96",
        "memory      weights ",
        "/encoder/stem/Conv",
    ):
        assert words in said
    layers = [line for line in said.partition("output\n")[2].splitlines() if "correlation" in line]
    assert len(layers) >= 45
    assert all("fp16" in line and "fp32" not in line for line in layers)

    path.write_bytes(path.read_bytes()[:5000])
    assert main(["engines", "inspect", str(path)]) == 1
    assert main([*BUILD, *rtx, "--no-build"]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert said.count("cut short") == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--precision", "int8"], "precision int8 needs a network calibrated on your footage"),
        (["--precision", "fp8"], "precision fp8 needs a network calibrated on your footage"),
        (["--engine", "gray"], "engine gray has no network to build"),
        (["--engine", "nir:best"], "contradict each other"),
        (["--shapes", "1x63x64"], "multiples of 32"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(
    arguments: list[str], complaint: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BUILD, *arguments]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert not list(cache.rglob("*.plan"))

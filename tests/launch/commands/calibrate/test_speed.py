"""`calibrate speed` on a tiny camera: real measurements, a file that a run reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irchroma.engines.network.network import installed
from irchroma.launch.cli import main

pytestmark = [
    pytest.mark.gst,
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
    ),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.alone
def test_settings_are_measured_tried_live_written_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "machine.toml"
    demand = ["--rate", "10", "--size", "96x64", "--latency-ms", "500", "--threads", "1"]
    assert main(["calibrate", "speed", *demand, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "live trial" in said
    assert "holds" in said
    stats = tmp_path / "stats.json"
    source = "test:nir?size=96x64&rate=10&live=1&frames=10"
    assert main(["run", source, "--to", "null", "--config", str(out), "--quiet", "--stats", str(stats)]) == 0
    assert str(out) in json.loads(stats.read_text())["auto"]["chosen"]


def test_a_demand_that_nothing_meets_fails_with_what_is_within_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "machine.toml"
    demand = ["--rate", "1000", "--size", "256x192", "--latency-ms", "1", "--threads", "1"]
    assert main(["calibrate", "speed", *demand, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "nothing keeps 1000 frames a second within 1 ms" in said
    assert "would keep about" in said
    assert not out.exists()

"""`calibrate speed` on a tiny camera: real measurements, a file that a run reads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from irchroma.engines.network.network import installed
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.launch.cli import main
from irchroma.launch.commands.calibrate.speed import add_arguments, settings_toml
from irchroma.launch.run.settings.options import RunConfig, load

needs_runtime = pytest.mark.skipif(
    not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.alone
@pytest.mark.gst
@pytest.mark.slow
@needs_runtime
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


@pytest.mark.gst
@pytest.mark.slow
@needs_runtime
def test_a_demand_that_nothing_meets_fails_with_what_is_within_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "machine.toml"
    demand = ["--rate", "1000", "--size", "256x192", "--latency-ms", "1", "--threads", "1"]
    assert main(["calibrate", "speed", *demand, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "nothing keeps 1000 frames a second of 256x192 within 1 ms" in said
    assert "would keep about" in said
    assert not out.exists()


def test_the_file_is_a_configuration_with_the_measurement_in_its_comments(tmp_path: Path) -> None:
    path, weights = tmp_path / "speed.toml", tmp_path / 'a "name".onnx'
    words = ("--engine", "thermal", "--threads", "2", "--runtime", "onnxruntime", "--weights", str(weights))
    path.write_text(settings_toml(Rung("best", 256, 3), asked(*words), ["live trial: holds"]))
    assert "# live trial: holds\n" in path.read_text()
    config = load(path, {})
    assert (config.auto, config.engine, config.neural.size) == (True, "thermal", "best")
    assert (config.neural.work_size_px, config.neural.temporal.color_every) == (256, 3)
    assert (config.neural.network.runtime, config.neural.network.threads) == ("onnxruntime", 2)
    assert config.neural.weights == weights


def test_a_latency_that_nobody_asked_for_is_the_run_s_own(tmp_path: Path) -> None:
    path, rung = tmp_path / "speed.toml", Rung("fast", 320)
    assert asked().latency_ms == RunConfig().auto_latency_ms
    for words, limit_ms in (((), RunConfig().auto_latency_ms), (("--latency-ms", "50"), 50)):
        path.write_text(settings_toml(rung, asked(*words), ()))
        assert ("auto_latency_ms" in path.read_text()) == bool(words)
        assert load(path, {}).auto_latency_ms == limit_ms

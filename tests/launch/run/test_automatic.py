"""`irchroma run --auto`: whose settings win, what is stored where, and what a run says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irchroma.engines.network.network import installed
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.automatic import prepare, stored_path
from irchroma.launch.run.options import RunConfig, load
from irchroma.launch.run.wiring import build_loop

pytestmark = pytest.mark.skipif(
    not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
)

STORED = """
engine = "nir"
auto_latency_ms = 80
[neural]
size = "fast"
work_size_px = 192
[neural.temporal]
color_every = 3
"""


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's calibration, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = stored_path("nir")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STORED)
    return path


def prepared(settings: dict[str, Any], given: Path | None = None) -> RunConfig:
    config, governor = prepare(load(given, settings), given, settings)
    assert governor is not None
    return config


def test_the_stored_calibration_is_used_and_named(stored: Path) -> None:
    assert stored.parent.name == "irchroma"
    config, governor = prepare(load(None, {"engine": "nir"}), None, {"engine": "nir"})
    assert governor is not None
    neural = config.neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("fast", 192, 3)
    assert config.auto_latency_ms == 80
    assert str(stored) in governor.chosen


def test_what_the_user_said_wins(stored: Path, tmp_path: Path) -> None:
    neural = prepared({"neural.temporal.color_every": 2}).neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("fast", 192, 2)
    given = tmp_path / "mine.toml"
    given.write_text('[neural]\nsize = "best"\nwork-size-px = 256\n')
    neural = prepared({}, given).neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("best", 256, 3)


def test_other_bands_have_calibrations_of_their_own(stored: Path) -> None:
    assert stored_path("thermal") != stored
    assert not stored_path("thermal").exists()


def test_palettes_have_nothing_to_choose(stored: Path) -> None:
    config = load(None, {"engine": "palette:ironbow"})
    assert prepare(config, None, {"engine": "palette:ironbow"}) == (config, None)


@pytest.mark.slow
def test_without_a_calibration_a_few_seconds_of_measuring_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config, governor = prepare(load(None, {}), None, {})
    assert governor is not None
    assert "measured just now" in governor.chosen
    assert 160 <= config.neural.work_size_px <= 416


def test_a_demand_that_nothing_meets_gets_the_cheapest_and_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config, governor = prepare(load(None, {"auto_latency_ms": 0.01}), None, {})
    assert governor is not None
    assert "too slow, and the cheapest there is" in governor.chosen
    assert config.neural.work_size_px == 160


def test_a_live_run_says_where_it_spent_its_time(stored: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    source = "test:nir?size=96x64&rate=30&live=1&frames=45"
    arguments = ["run", source, "--to", "null", "--engine", "nir", "--threads", "1", "--quiet"]
    assert main([*arguments, "--auto", "--stats", str(stats)]) == 0
    said = json.loads(stats.read_text())
    assert said["engine"].startswith("nir auto, ")
    assert said["auto"]["limit_ms"] == 80
    assert next(iter(said["auto"]["seconds"])) == "fast at 192 px, every 3 frames"
    assert sum(said["auto"]["seconds"].values()) == pytest.approx(said["seconds"], abs=0.5)


def test_a_file_waits_for_its_color_at_the_best_settings(stored: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    arguments = ["run", "test:nir?size=96x64&frames=20", "--to", "null", "--engine", "nir", "--quiet"]
    assert main([*arguments, "--auto", "--threads", "1", "--stats", str(stats)]) == 0
    said = json.loads(stats.read_text())
    assert said["frames"] == 20
    assert said["auto"]["changes"] == []


def test_auto_on_a_palette_runs_and_says_that_there_is_nothing_to_choose(stored: Path) -> None:
    arguments = ["run", "test:nir?size=96x64&frames=5", "--to", "null", "--engine", "palette:ironbow"]
    assert main([*arguments, "--auto"]) == 0
    config, governor = prepare(load(None, {"engine": "gray", "auto": True}), None, {})
    assert governor is None
    assert not config.auto


def test_auto_without_what_governs_it_is_refused_rather_than_ignored(stored: Path) -> None:
    config = load(None, {"source": "test:nir?frames=2", "to": ["null"], "engine": "nir", "auto": True})
    with pytest.raises(ConfigError, match="a run of one camera"):
        build_loop(config)

"""A run's colors in 8 bits: taken where that is faster, found out in time, never with --exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("openvino")

from irchroma.engines import catalog
from irchroma.engines.network.eight_bit import twins
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.launch.cli import main


@pytest.mark.gst
def test_a_run_takes_the_twin_where_it_is_faster_and_exact_keeps_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(twins, "_known", {})
    monkeypatch.setattr(twins, "_ratio", lambda *_: (2.0, "f32"))
    stats = tmp_path / "stats.json"
    command = [
        "run",
        "test:nir?size=96x64&frames=2",
        "--to",
        "null",
        "--engine",
        "nir:fast",
        "--threads",
        "1",
    ]
    for flags, in_8_bits in (((), True), (("--exact",), False)):
        assert main([*command, "--quiet", "--stats", str(stats), *flags]) == 0
        engine = json.loads(stats.read_text("utf-8"))["engine"]
        assert engine.startswith("nir fast")
        assert ("int8" in engine) == in_8_bits, engine


def test_whether_8_bits_are_faster_is_found_out_long_after_a_live_run_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No first picture waits for that; the next start has both the twin and its pace."""
    asked: list[Path] = []

    def call(path: Path, options: NetworkOptions, size: tuple[int, int]) -> tuple[float, float, bool]:
        asked.append(path)
        return 30.0, 30.0, True

    cache = tmp_path / "compiled"
    cache.mkdir()
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=cache))
    monkeypatch.setattr(pace, "_call", call)
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured at the start"))
    demand = pace.Demand(options, (480, 640), 5.0)
    found = pace.measure(demand)
    assert (found.when, found.calm) == ("measured just now", False)
    monkeypatch.setattr(twins, "_ratio", lambda *_: (2.0, "f32"))
    pace.measure_again(demand)
    for _ in range(2):
        found = pace.measure(demand)
        assert (found.when, found.calm) == ("measured before", True)
        pace.measure_again(demand)
    assert asked == [catalog.weights_path("nir", "fast"), twins.twin_path("nir", "fast")]

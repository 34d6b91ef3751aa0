"""A run's colors in 8 bits: taken where that is faster, never with --exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("openvino")

from irchroma.engines.network import twins
from irchroma.launch.cli import main


@pytest.mark.gst
def test_a_run_takes_the_twin_where_it_is_faster_and_exact_keeps_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(twins, "_known", {})
    monkeypatch.setattr(twins, "_ratio", lambda *_: 2.0)
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

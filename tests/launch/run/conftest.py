"""What runs that choose their settings find on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from irchroma.engines.neural.speed import pace
from irchroma.launch.run.machine_settings import stored_path

STORED = """
engine = "nir"
auto_latency_ms = 80
[neural]
size = "fast"
work_size_px = 192
[neural.temporal]
color_every = 3
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, runs wait to be measured, and then choose."""
    monkeypatch.setattr(pace, "PATIENCE_S", 600.0)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's calibration, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = stored_path("nir")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STORED)
    return path

"""Whole runs with settings that they choose: the same bytes twice, and where the time went."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from irchroma.engines.measures.flicker_report import read_frames
from irchroma.engines.network.network import installed
from irchroma.launch.cli import main
from irchroma.launch.run.automatic import Governor
from irchroma.stream.loop.interruptible import AttendedEngine
from irchroma.stream.loop.loop import Loop

pytestmark = pytest.mark.skipif(
    not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
)


def test_the_same_file_gives_the_same_bytes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # A machine that is busy for ten seconds is no engine that hangs, whose frames go out raw.
    monkeypatch.setattr(AttendedEngine, "lost_after_s", lambda _, deadlines: deadlines.first_s)
    made = []
    for name in ("a.mkv", "b.mkv"):
        arguments = ["run", "test:nir?size=96x64&frames=12", "--to", str(tmp_path / name), "--engine", "nir"]
        assert main([*arguments, "--encoder", "x264", "--quiet"]) == 0
        frames = read_frames(tmp_path / name)[1]
        made.append(np.stack(list(frames)))
    np.testing.assert_array_equal(*made)


def test_a_live_run_says_where_it_spent_its_time(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_frame = Governor.on_frame
    calls: list[tuple[float, float]] = []  # when each began and ended
    colored = []

    def stop_once_colored(self: Governor, loop: Loop) -> None:  # however long the engine takes to open
        begun_s = time.monotonic()
        on_frame(self, loop)
        calls.append((begun_s, time.monotonic()))
        if self.summary()["seconds"]:
            colored.append(loop.frames)
        if len(colored) == 30:
            loop.stop()

    monkeypatch.setattr(Governor, "on_frame", stop_once_colored)
    stats = tmp_path / "stats.json"
    source = "test:nir?size=96x64&rate=30&live=1&frames=9000"
    arguments = ["run", source, "--to", "null", "--engine", "nir", "--threads", "1", "--quiet"]
    assert main([*arguments, "--auto", "--stats", str(stats)]) == 0
    said = json.loads(stats.read_text())
    assert said["engine"].startswith("nir auto, ")
    assert said["auto"]["limit_ms"] == 80
    assert next(iter(said["auto"]["seconds"])) == "fast at 192 px, every 3 frames"
    spent_s = said["auto"]["without_s"] + sum(said["auto"]["seconds"].values())
    assert calls[-1][0] - calls[0][1] - 0.05 <= spent_s <= calls[-1][1] - calls[0][0] + 0.05
    assert spent_s <= said["seconds"] + 0.05


def test_a_file_waits_for_its_color_at_the_best_settings(stored: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    arguments = ["run", "test:nir?size=96x64&frames=20", "--to", "null", "--engine", "nir", "--quiet"]
    assert main([*arguments, "--auto", "--threads", "1", "--stats", str(stats)]) == 0
    said = json.loads(stats.read_text())
    assert said["frames"] == 20
    assert said["auto"]["changes"] == []

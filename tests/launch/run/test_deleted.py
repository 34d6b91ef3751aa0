"""Recordings that somebody deletes while a run writes them: said once, everywhere, and no success."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from irchroma.launch.cli import main
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.stream.loop.loop import Loop
from irchroma.stream.sinks.files import exclusive

pytestmark = pytest.mark.gst

SOURCE = "test:nir?live=1&size=96x64&rate=20"


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Have something done after so many frames of a run, which ends some frames later."""
    monkeypatch.setattr(exclusive, "_LOOK_S", 0.0)

    def arrange(frames: int, work: Callable[[], None]) -> None:
        on_frame = Monitor.on_frame

        def then(monitor: Monitor, loop: Loop) -> None:
            on_frame(monitor, loop)
            if loop.frames == frames:
                work()
            if loop.frames == frames + 60:
                loop.stop()

        monkeypatch.setattr(Monitor, "on_frame", then)

    return arrange


@pytest.mark.parametrize("evidence", [False, True])
def test_a_recording_that_is_deleted_is_a_remark_and_a_failure(
    tmp_path: Path,
    after: Callable[[int, Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    evidence: bool,
) -> None:
    if evidence:
        pytest.importorskip("cryptography")
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    path, stats = tmp_path / "cam.mkv", tmp_path / "stats.json"
    after(30, path.unlink)
    words = ["--engine", "gray", "--to", str(path), "--stats", str(stats)]
    assert main(["run", SOURCE, *words, "--quiet", *(["--evidence"] if evidence else [])]) == 1
    text = f"{path}: was deleted while it was recorded: the pictures in it are lost"
    told = json.loads(stats.read_text())
    (said,) = [one for one in told["remarks"] if one["text"] == text]
    assert told["state"] == "failed"
    assert said["count"] > 10
    warned, failed = [line for line in capsys.readouterr().err.splitlines() if "deleted" in line]
    assert warned.endswith(f" W {text}")
    assert failed.startswith(f"irchroma run: the run is over, but not all was kept: {text} (")


def test_where_its_folder_is_gone_evidence_says_that(
    tmp_path: Path,
    after: Callable[[int, Callable[[], None]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    folder = tmp_path / "night"
    folder.mkdir()
    after(30, lambda: shutil.rmtree(folder))
    words = ["--engine", "gray", "--to", str(folder / "cam.mkv"), "--evidence", "--quiet"]
    assert main(["run", SOURCE, *words]) == 1
    assert (
        f"{folder / 'cam.mkv'}: the folder {folder} does not exist: make it first" in capsys.readouterr().err
    )

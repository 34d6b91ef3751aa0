"""What somebody sees who runs the demonstration for the first time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import pytest

from irchroma.launch import demo
from irchroma.launch.run.automatic import Governor

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]


def test_a_scene_whose_color_came_late_is_shown_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Governor.open
    times = []

    def late_once(self: Governor, options: Any) -> Any:  # as a network is that was never compiled here
        times.append(options)
        if len(times) == 1:
            threading.Event().wait(4)
        return opened(self, options)

    monkeypatch.setattr(Governor, "open", late_once)
    monkeypatch.setattr(demo, "tune_process", lambda: None)  # it is the test's process
    assert demo.main(["test:nir?size=96x64&seconds=3&live=1&ahead=1", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("once more") == 1
    assert len(times) >= 2
    assert "demo: its network was ready after " in said
    assert "\ntest:nir  " in said, "the table names the scene, not its switches"
    assert cv2.imread(str(tmp_path / "contact_sheet.png")) is not None


@pytest.mark.parametrize(
    ("stats", "share"),
    [
        ({"auto": {"without_s": 6.0}, "seconds": 8.0}, 0.75),
        ({"auto": {"without_s": 9.0}, "seconds": 8.0}, 1.0),
        ({"auto": None, "seconds": 8.0}, 0.0),
        ({"seconds": 0.0}, 0.0),
    ],
)
def test_the_share_without_color_is_of_the_run_s_time(stats: dict[str, Any], share: float) -> None:
    assert demo.without_color(stats) == share

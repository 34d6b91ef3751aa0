"""The time from a frame to a viewer, measured on a real run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from irchroma.launch.cli import main

SMALL = ("--engine", "palette:ironbow", "--size", "320x256", "--seconds", "1.5")


@pytest.mark.gst
def test_every_way_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "latency.json"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["latency", *SMALL, "--json", str(path)]) == 0
    said, drawn = capsys.readouterr()
    assert "0%" in drawn
    assert "the run begins" in drawn
    assert all(f"left  {way}" in drawn for way in ("webrtc", "mjpeg", "rtsp"))
    viewers = {one["over"]: one for one in json.loads(path.read_text(encoding="utf-8"))["viewers"]}
    assert set(viewers) == {"webrtc", "mjpeg", "rtsp"}
    for way, viewer in viewers.items():
        assert f"{way}: median " in said
        assert 1 < viewer["milliseconds"]["median"] < 1000
        assert viewer["unread"] <= viewer["milliseconds"]["count"] / 10


@pytest.mark.gst
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "96x96"), "width of 160 or more"),
        (("--seconds", "0"), "more than 0"),
        (("--engine", "palette:none"), "the run ended"),
    ],
)
def test_what_cannot_be_measured_is_told(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", *SMALL, *words]) == 1
    assert said in capsys.readouterr().err

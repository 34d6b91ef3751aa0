"""The description of what a port answers to, held against the answers by drawing requests from it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.stream.sinks.feeding import fed

from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.run_control import choices
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http import description, watching
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

SIZE = (48, 64)
_PLAIN = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
_HELD = ",".join((*_PLAIN, "response_schema_conformance"))


class Control:
    """Takes what a run's own would, and changes nothing."""

    engines = choices()

    def state(self) -> dict[str, Any]:
        return {"view": "color", "wipe": 0.5, "blend": 0.5, "latency_ms": None}

    def reload(self) -> list[str]:
        return []

    def change(self, wanted: dict[str, Any]) -> None:
        if set(wanted) - {"view", "wipe", "blend", "engine", "reference", "strength"}:
            raise ConfigError("unknown key")

    def thumbnail(self, key: str) -> bytes | None:
        return None


@pytest.fixture
def port() -> Iterator[int]:
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions("gate", control=Control()))
    sink.open(VideoInfo(SIZE, Fraction(25), live=True), SIZE)
    with fed(sink, np.full((*SIZE, 3), 90, np.uint8), rate=20):
        yield sink.port


def test_everything_that_the_page_asks_for_is_described(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    page = "".join(path.read_text(encoding="utf-8") for path in Path("stream/sinks/http/assets").glob("*.js"))
    for asked in ("stats.json", "control", "whep", "live.mjpg", "snapshot.jpg", "clip.mp4", "hls.js"):
        assert f'"{asked}' in page
        assert f"/{asked}" in paths
    assert "/hls/{show}/{part}" in paths


def drawn(port: int, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run"),
            *(f"http://127.0.0.1:{port}/openapi.json", "--checks", _HELD, "--seed", "1"),
            *("--request-timeout", "20", "--workers", "8", *words),
        ],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=150,
        cwd=folder,
    )


def test_requests_drawn_from_the_description_are_answered_as_it_says(port: int, tmp_path: Path) -> None:
    # Endless, or no JSON: see test_whep.py. Clips are drawn below.
    words = ("--max-examples", "25", "--phases", "examples,coverage,fuzzing")
    done = drawn(port, tmp_path, *words, "--exclude-path-regex", "live.mjpg|clip.mp4|whep$")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.gst
def test_clips_drawn_from_the_description_are_answered_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (description, watching):  # what is told and what is given: a clip is waited for
        monkeypatch.setattr(module, "LONGEST_S", 0.1)
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions("gate"))
    sink.open(VideoInfo(SIZE, Fraction(25), live=True), SIZE)
    with fed(sink, np.full((*SIZE, 3), 90, np.uint8)):
        done = drawn(
            sink.port, tmp_path, "--phases", "examples,coverage", "--include-path-regex", "clip.mp4$"
        )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "clip.mp4" in done.stdout or "1 selected" in done.stdout, done.stdout[-2000:]

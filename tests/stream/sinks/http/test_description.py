"""The description of what a port answers to, held against the answers by drawing requests from it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.run_control import choices
from irchroma.stream.protocols import VideoInfo
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
    ended = threading.Event()

    def show() -> None:
        number = 0
        while not ended.wait(0.05):
            sink.write(np.full((*SIZE, 3), 90, np.uint8), number * 50_000_000, 50_000_000)
            number += 1

    thread = threading.Thread(target=show)
    thread.start()
    yield sink.port
    ended.set()
    thread.join()
    sink.close()


def test_everything_that_the_page_asks_for_is_described(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=10) as answer:
        paths = json.load(answer)["paths"]
    page = "".join(path.read_text(encoding="utf-8") for path in Path("stream/sinks/http").glob("*.js"))
    for asked in ("stats.json", "control", "whep", "live.mjpg", "snapshot.jpg", "clip.mp4", "hls.js"):
        assert f'"{asked}' in page
        assert f"/{asked}" in paths
    assert "/hls/{show}/{part}" in paths


def test_requests_drawn_from_the_description_are_answered_as_it_says(port: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run"),
            *(f"http://127.0.0.1:{port}/openapi.json", "--checks", _HELD, "--seed", "1"),
            *("--max-examples", "25", "--phases", "examples,coverage,fuzzing", "--request-timeout", "20"),
            # endless, as long as is asked for, and no JSON: see test_clips.py and test_whep.py
            *("--exclude-path-regex", "live.mjpg|clip.mp4|whep$"),
        ],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=150,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-4000:]

"""Runs whose camera never gave a picture: what is said of it at the end, and where."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.waiting import free_port, wait_for

from irchroma.launch.cli import main

pytestmark = pytest.mark.gst


@pytest.mark.parametrize("beside", [True, False], ids=["beside another", "alone"])
def test_a_camera_that_was_waited_for_in_vain_is_in_the_statistics_and_no_success(
    beside: bool, tmp_path: Path
) -> None:
    """Whether it is alone or not: until now one that gave pictures made up for it."""
    stats, video = tmp_path / "stats.json", tmp_path / "here.mp4"
    gone = {"name": "gone", "source": f"rtsp://127.0.0.1:{free_port()}/x", "to": ["null"], "engine": "gray"}
    here = {"name": "here", "source": "test:nir?size=64x48&live=1", "to": [str(video)], "engine": "gray"}
    config = tmp_path / "cameras.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in gone.items()]
    lines += ["[[cameras]]", *(f"{key} = {json.dumps(value)}" for key, value in here.items())]
    config.write_text("\n".join(["[[cameras]]", *lines]), encoding="utf-8")
    words = ["--config", str(config)] if beside else [str(gone["source"]), "--to", "null"]
    command = [sys.executable, "-m", "irchroma.launch", "run", *words, "--wait", "--stats", str(stats)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
    assert process.stderr is not None
    said = ""
    while "trying again" not in said:
        said += process.stderr.readline()
    if beside:
        wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, said + errors
    assert re.search("no picture came: .* refuses connections", errors)
    told = json.loads(stats.read_text())
    told = told["cameras"]["gone"] if beside else told
    assert (told["state"], told["frames"]) == ("ended", 0)
    assert re.match("no picture came: .* refuses connections", told["reason"])
    assert told["remarks"] == [{"text": told["reason"], "count": 1}]


def test_a_page_says_why_and_not_where_the_camera_is(tmp_path: Path) -> None:
    at, page = free_port(), free_port()
    words = [f"rtsp://127.0.0.1:{at}/x", "--engine", "gray", "--wait", "--to", f"http://127.0.0.1:{page}"]
    command = [sys.executable, "-m", "irchroma.launch", "run", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:

        def reason() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{page}/stats.json", timeout=5) as answer:
                    return str(json.load(answer)["reason"])
            except OSError:
                return ""

        try:
            wait_for(lambda: "refuses" in reason())
            assert reason().startswith("the camera refuses connections: is the camera")
        finally:
            process.terminate()


def test_a_run_that_fails_before_its_first_picture_says_so_in_its_statistics(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    words = ["run", f"rtsp://127.0.0.1:{free_port()}/x", "--to", "null", "--engine", "gray", "--quiet"]
    assert main([*words, "--stats", str(stats)]) == 1
    told = json.loads(stats.read_text())
    assert (told["state"], told["frames"]) == ("failed", 0)
    assert "refuses connections" in told["reason"]

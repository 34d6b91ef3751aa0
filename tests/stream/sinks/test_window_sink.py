"""A window on a display that ends: whoever logs out takes the window away, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from tests.waiting import wait_for

pytestmark = pytest.mark.gst


def displayed() -> tuple[subprocess.Popen[bytes], str]:
    """A display of our own, and its name."""
    read, write = os.pipe()
    words = ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x24", "-nolisten", "tcp"]
    display = subprocess.Popen(words, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with open(read, "rb") as told:
        return display, f":{int(told.readline())}"


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_a_display_that_ends_takes_no_recording_with_it(tmp_path: Path) -> None:
    display, name = displayed()
    video, log = tmp_path / "night.mkv", tmp_path / "log"
    words = ["run", "test:nir?live=1&size=64x48&rate=25", "--engine", "gray", "--fixed"]
    command = [sys.executable, "-m", "irchroma.launch", *words, "--to", "window", "--to", str(video)]
    environment = {**os.environ, "DISPLAY": name, "WAYLAND_DISPLAY": ""}
    with log.open("wb") as said:
        run = subprocess.Popen(command, env=environment, stderr=said, stdout=said)
    try:
        wait_for(lambda: b"sink: window" in log.read_bytes(), 60)
        wait_for(lambda: video.is_file() and video.stat().st_size > 20_000, 60)
        display.terminate()
        display.wait(20)
        wait_for(lambda: b"sink lost: window: the display has ended" in log.read_bytes(), 60)
        size = video.stat().st_size
        wait_for(lambda: video.stat().st_size > size + 20_000, 60)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0, log.read_text()
    finally:
        run.kill()
        display.kill()
    with av.open(str(video)) as whole:
        assert whole.duration, "it was finished"

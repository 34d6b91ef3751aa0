"""What systemd is told of a run, by its own protocol."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from irchroma.launch.run.monitoring.notices import ServiceNotices


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service's manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        way.bind(str(tmp_path / "notify"))
        way.settimeout(20)
        yield way


def words_until(manager: socket.socket, wanted: str, seconds: float = 30.0) -> list[str]:
    words: list[str] = []
    deadline_s = time.monotonic() + seconds
    while not any(word.startswith(wanted) for word in words):
        assert time.monotonic() < deadline_s, words
        words += manager.recv(4096).decode().splitlines()
    return words


@pytest.mark.gst
def test_a_run_says_that_it_has_begun_lives_and_ends(manager: socket.socket, tmp_path: Path) -> None:
    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "900000"}
    command = [sys.executable, "-m", "irchroma.launch", "run", "test:nir?size=64x48&live=1", "--to", "null"]
    process = subprocess.Popen([*command, "--engine", "gray", "--quiet"], env=environment)
    try:
        assert words_until(manager, "READY=1")[0] == "READY=1"
        assert "STATUS=live" in words_until(manager, "STATUS=live")
        for _ in range(3):
            words_until(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        words_until(manager, "STOPPING=1")
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_a_run_that_does_not_turn_is_not_vouched_for(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle: list[float | None] = [None]
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    notices = ServiceNotices(lambda: idle[0], lambda: f"idle for {idle[0]}\nseconds")
    notices.start()
    words_until(manager, "WATCHDOG=1")  # before the first turn
    idle[0] = 0.01
    words_until(manager, "STATUS=idle for 0.01 seconds")
    words_until(manager, "WATCHDOG=1")
    idle[0] = 7.0
    words_until(manager, "STATUS=idle for 7.0 seconds")
    manager.settimeout(0.5)
    with pytest.raises(TimeoutError):
        words_until(manager, "WATCHDOG=1")
    notices.stop()
    notices.stop()
    assert words_until(manager, "STOPPING=1")[-1] == "STOPPING=1"


def test_without_a_manager_and_for_another_process_nothing_is_said(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    silent = ServiceNotices(lambda: 0.0, lambda: "live")
    silent.start()
    silent.stop()
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notices = ServiceNotices(lambda: 0.0, lambda: "live")
    notices.start()
    notices.stop()
    assert words_until(manager, "STOPPING=1") == ["READY=1", "STATUS=live", "STOPPING=1"]

"""What several tests wait for and listen on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any


def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of TCP (SOCK_STREAM) or UDP (SOCK_DGRAM) that nobody on this machine has."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

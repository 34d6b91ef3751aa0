"""What several tests wait for, listen on and do at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
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


def at_once(works: Sequence[Callable[[], object]], timeout_s: float = 60.0) -> None:
    """Run each in a thread of its own; the first error is raised here."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def answers(host: str, port: int) -> bool:
    """Whether something listens there. 127.0.0.2 stands for an address that other machines reach."""
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return False
    return True

"""What several tests wait for, listen on and do at once."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any


def wait_for(condition: Callable[[], Any], timeout_s: float = 90.0) -> None:
    """Until it holds. The limit is a guard: a busy machine takes 30 s to compile a network the first time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.02)


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
# Each worker has 1,500 ports of its own, taken one after the other: what the system gives to port 0 and to
# connections begins at 32768 (ip_local_port_range), and would be given twice between here and its use.
_PORTS = itertools.cycle(
    range(20000 + 1500 * (_WORKER % 8) + os.getpid() % 1000, 21500 + 1500 * (_WORKER % 8))
)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of TCP (SOCK_STREAM) or UDP (SOCK_DGRAM) that nobody has, and that is not given again soon."""
    for port in itertools.islice(_PORTS, 1500):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("expected a free port of 1,500, found none")


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

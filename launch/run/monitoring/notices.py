"""What the service's manager is told: that the run has begun, how it is, and that it still turns.

Reference: sd_notify(3) and sd_watchdog_enabled(3): datagrams of a few words to the socket in NOTIFY_SOCKET.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_STATUS_S = 5.0


class ServiceNotices:
    """Tells systemd, where a service of `Type=notify` runs; does nothing elsewhere.

    A run that does not turn for as long as the watchdog allows is not vouched for any more, and is then
    started anew by systemd. Before it has begun to turn, and while a camera is awaited, it is.

    Args:
        idle_s: seconds since the run's last turn; None before the first.
        status: one line for `systemctl status`.
    """

    def __init__(self, idle_s: Callable[[], float | None], status: Callable[[], str]) -> None:
        self._idle_s, self._status = idle_s, status
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._allowed_s = _watchdog_s()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._told = ""

    def start(self) -> None:
        """The run begins."""
        if not self._address:
            return
        self._send("READY=1")
        self._thread = threading.Thread(target=self._work, name="service notices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The run ends; may be called twice."""
        if self._thread is None:
            return
        self._ending.set()
        self._thread.join()
        self._thread = None
        self._send("STOPPING=1")

    def _work(self) -> None:
        wait_s = min(_STATUS_S, self._allowed_s / 3 if self._allowed_s else _STATUS_S)
        silent = False
        while True:
            words = []
            idle_s = self._idle_s()
            turns = idle_s is None or idle_s < self._allowed_s
            if self._allowed_s and turns:
                words.append("WATCHDOG=1")
            elif self._allowed_s and not silent:
                log.error("the run has not turned for %.0f s: the watchdog will end it", idle_s or 0.0)
            silent = not turns
            status = " ".join(self._status().split())
            if status != self._told:
                self._told = status
                words.append(f"STATUS={status}")
            if words:
                self._send("\n".join(words))
            if self._ending.wait(wait_s):
                return

    def _send(self, text: str) -> None:
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                way.settimeout(1.0)
                way.sendto(text.encode(), address)
        except OSError as error:
            log.debug("the service's manager cannot be told: %s", error)


def idle_since(turned_s: float | None) -> float | None:
    """Seconds since a turn at that `time.monotonic`; None where there was none."""
    return None if turned_s is None else time.monotonic() - turned_s


def _watchdog_s() -> float:
    """How long the watchdog waits, 0 where there is none or it watches another process."""
    try:
        other = os.environ.get("WATCHDOG_PID", "") not in ("", str(os.getpid()))
        return 0.0 if other else max(0, int(os.environ.get("WATCHDOG_USEC", "0"))) / 1e6
    except ValueError:
        return 0.0

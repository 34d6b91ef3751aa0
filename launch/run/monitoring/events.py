"""Tells a command or a web address what happens to a run, without ever holding the run up."""

from __future__ import annotations

import base64
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.sinks.open_sink import public
from irchroma.stream.sources.addresses import split_credentials

log = logging.getLogger(__name__)

_MOST_WAITING = 32
_LONGEST_S = 10.0  # of one command or request
_LAST_S = 5.0  # for what is still to be told when the run ends
_SAID_EVERY_S = 60.0
_LOOK_S = 0.2
_LEFT = "ended with 0 and left a process behind, whose messages nobody reads: start that with 2>/dev/null"


class EventHook:
    """Runs a command with each event as JSON on its standard input, or posts it to an address.

    One at a time and in order, in a thread of its own; where they come faster the oldest are left out,
    which the next one says (`missed`).

    Args:
        target: `http://..`, `https://..`, or a command with its arguments; no shell reads it.

    Raises:
        ConfigError: there is no such command.
    """

    def __init__(self, target: str) -> None:
        self._headers = {"Content-Type": "application/json"}
        self._url = self._address(target) if target.startswith(("http://", "https://")) else ""
        self._command = [] if self._url else _command(target)
        self._label = public(self._url) if self._url else self._command[0]
        self._waiting: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()
        self._closing = self._working = False
        self._missed = 0
        self._said_s = -_SAID_EVERY_S
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = feed_thread(self._work, "events")
        self._thread.start()

    def _address(self, target: str) -> str:
        """The address without its user and password, which go into a header."""
        address, user, password = split_credentials(target)
        if user:
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
        return address

    def tell(self, event: dict[str, Any]) -> None:
        """Take an event; returns at once."""
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
                self._missed += 1
            self._waiting.append(event)
            self._changed.notify_all()

    def close(self) -> None:
        """Wait a little for what is still to be told, then let go of the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._waiting or self._working), _LAST_S)
            self._missed += len(self._waiting)
            self._waiting.clear()
            process = self._process
        if process is not None:
            _kill(process)
        self._thread.join(_LAST_S)
        if self._missed:
            log.warning("on-event: %d events were not told to %s", self._missed, self._label)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
                if self._missed:
                    event = {**event, "missed": self._missed}
                    self._missed = 0
                self._working = True
            problem = self._deliver(json.dumps(event).encode())
            with self._changed:
                self._working = False
                self._changed.notify_all()
            if problem and time.monotonic() - self._said_s >= _SAID_EVERY_S:
                self._said_s = time.monotonic()
                log.warning("on-event: %s: %s", self._label, problem)

    def _deliver(self, body: bytes) -> str:
        """Why it failed; empty where it did not."""
        try:
            return self._post(body) if self._url else self._run(body)
        except Exception as error:  # noqa: BLE001 (whatever a receiver does, the run goes on)
            return str(error) or type(error).__name__

    def _post(self, body: bytes) -> str:
        import urllib.error  # with ssl and http 20 ms of every start, and few runs post
        import urllib.request

        request = urllib.request.Request(self._url, body, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=_LONGEST_S) as answer:
                answer.read(4096)
        except urllib.error.HTTPError as error:
            with error:
                return f"the answer was {error.code}"
        except urllib.error.URLError as error:
            return str(error.reason)
        return ""

    def _run(self, body: bytes) -> str:
        with subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                said, alone = _heard(process, body)
            except subprocess.TimeoutExpired:
                _kill(process)
                with suppress(subprocess.TimeoutExpired):  # who left its session may hold the pipe for days
                    process.communicate(timeout=_LAST_S)
                return f"did not end within {_LONGEST_S:g} s and was killed"
            finally:
                self._process = None
        if process.returncode == 0:
            return "" if alone else _LEFT
        lines = said.decode("utf-8", "replace").strip().splitlines()
        return f"ended with {process.returncode}" + (f": {lines[-1][:200]}" if lines else "")


def _heard(process: subprocess.Popen[bytes], body: bytes) -> tuple[bytes, bool]:
    """What a command says of `body` on its standard error, and whether all who could say something are gone.

    Raises:
        subprocess.TimeoutExpired: it goes on for longer than it may.
    """
    deadline_s, given = time.monotonic() + _LONGEST_S, body or None
    while True:
        ended = process.poll() is not None
        try:
            return process.communicate(given, _LOOK_S)[1], True
        except subprocess.TimeoutExpired as error:
            given = None
            if ended:  # what it started holds the pipe, and is none of ours
                return error.stderr or b"", False
            if time.monotonic() > deadline_s:
                raise


def _command(target: str) -> list[str]:
    try:
        words = shlex.split(target)
    except ValueError as error:
        raise ConfigError(f"--on-event: {str(error).lower()}") from error
    if not words or shutil.which(words[0]) is None:
        name = words[0] if words else repr(target)
        raise ConfigError(f"--on-event: there is no command {name}: give one that reads JSON, or a URL")
    return words


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass

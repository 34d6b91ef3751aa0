"""The program in a process of its own that need not import everything first.

A process that has imported the program, and begun nothing, forks one for each call: it is as fresh as one of
`python -m irchroma.launch`, which takes 0.7 s of CPU time more, most of a call that is refused.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

_SERVER = """
import json, os, sys
import irchroma.launch.commands.run
from irchroma.launch.cli import main
assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be forked"
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(path, os.O_RDWR), number)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.exit(main([os.fsdecode(bytes(word)) for word in order["words"]]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class _Server:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        atexit.register(self._close)

    def _close(self) -> None:
        self._process.kill()
        self._listener.join(20)
        with self._process:
            pass

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _next(self, timeout_s: float) -> int:
        line = self._said.get(timeout=timeout_s)
        assert line, "the process that forks has ended"
        return int(line)

    def run(self, order: dict[str, Any], timeout_s: float) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = self._next(60)
        try:
            return self._next(timeout_s)
        except queue.Empty:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            self._next(60)
            raise subprocess.TimeoutExpired(order["words"], timeout_s) from None


_servers: list[_Server] = []


def irchroma(
    *words: str | Path, cwd: Path | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """What `irchroma WORDS` returns and says, by this process's environment.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    if not _servers:
        _servers.append(_Server())
    with tempfile.TemporaryDirectory(prefix="irchroma-forked-") as name:
        out, err = Path(name) / "out", Path(name) / "err"
        out.touch()
        err.touch()
        order = {
            "words": [list(os.fsencode(word)) for word in words],
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ),
            "out": str(out),
            "err": str(err),
        }
        code = _servers[0].run(order, timeout_s)
        said = (path.read_text("utf-8", errors="replace") for path in (out, err))
        return subprocess.CompletedProcess(list(map(str, words)), code, *said)

"""Who colors segments: processes of this machine, or Ray's tasks on whatever machines a cluster has."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Protocol

from irchroma.launch.archive.segment import Job
from irchroma.launch.fleet.ray_door import connected

_LOOK_S = 0.05
_SAID_BYTES = 1 << 16


class Workers(Protocol):
    """Does jobs; never more than `count` at once."""

    @property
    def count(self) -> int:
        """How many at once."""

    def start(self, job: Job) -> None:
        """Begin one; returns at once."""

    def next(self) -> tuple[Job, str | None]:
        """Wait for any to end; why it failed, None where it did not."""

    def close(self) -> None:
        """Stop what is under way."""


class ProcessWorkers:
    """`Workers`: a process for each segment, which does not outlive this one, whatever ends that."""

    def __init__(self, count: int) -> None:
        self.count = count
        # Standard error goes into a file: whatever a worker says, nothing waits for a reader.
        self._running: list[tuple[Job, subprocess.Popen[bytes], IO[bytes]]] = []

    def start(self, job: Job) -> None:
        path = Path(job.target + ".job.json")
        job.write(path)
        command = [sys.executable, "-m", "irchroma.launch.archive.segment", str(path), "--held"]
        said = tempfile.TemporaryFile()  # noqa: SIM115 (closed where the process is seen to have ended)
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        except OSError:
            said.close()
            raise
        self._running.append((job, process, said))

    def next(self) -> tuple[Job, str | None]:
        while True:
            for at, (job, process, said) in enumerate(self._running):
                if process.poll() is None:
                    continue
                del self._running[at]
                with said:
                    told = _last_lines(said)
                _let_go(process)
                if process.returncode == 0:
                    return job, None
                died = f"its process was ended by signal {-process.returncode}"
                return job, died if process.returncode < 0 else (told[-1] if told else "it failed")
            time.sleep(_LOOK_S)

    def close(self) -> None:
        for _, process, _ in self._running:
            process.terminate()
        for _, process, said in self._running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _let_go(process)
            said.close()
        self._running.clear()


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Close what it was held by."""
    if process.stdin is not None:
        process.stdin.close()


def _last_lines(said: IO[bytes]) -> list[str]:
    """The last lines that a process printed."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID_BYTES))
    return said.read().decode("utf-8", "replace").strip().splitlines()


class RayWorkers:
    """`Workers`: Ray tasks. Input and output must lie where every node finds them by the same path.

    Args:
        count: how many at once.
        address: of a cluster; `local` for one on this machine for the time of the work.

    Raises:
        StreamError: Ray is not installed, or no cluster answers there.
    """

    def __init__(self, count: int, address: str) -> None:
        ray = connected(address, "--ray", cpus=count)
        self.count, self._ray = count, ray
        # A task's process may die; whoever waits here decides what is tried again.
        self._task = ray.remote(num_cpus=1, max_retries=0)(_ray_task)
        self._running: dict[Any, Job] = {}

    def start(self, job: Job) -> None:
        self._running[self._task.remote(job)] = job

    def next(self) -> tuple[Job, str | None]:
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready[0])
        try:
            failure: str | None = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return job, lines[0] if lines else type(error).__name__
        return job, failure

    def close(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        self._ray.shutdown()


def _ray_task(job: Job) -> str | None:
    """In a process of Ray's; the reason where it failed."""
    from irchroma.launch.archive.segment import work
    from irchroma.launch.arguments import one_line

    try:
        work(job)
    except Exception as error:  # noqa: BLE001 (told to whoever waits for it)
        return one_line(error) or type(error).__name__
    return None


def open_workers(count: int, ray_address: str | None) -> Workers:
    """Ray's where an address is given, otherwise processes.

    Raises:
        StreamError: Ray is asked for and not here.
    """
    if ray_address is not None:
        return RayWorkers(count, ray_address)
    return ProcessWorkers(count)

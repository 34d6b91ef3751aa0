"""Who colors segments: processes of this machine, or Ray's tasks on whatever machines a cluster has."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from irchroma.launch.archive.segment import Job
from irchroma.launch.ray_door import connected

log = logging.getLogger(__name__)

_LOOK_S = 0.05


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
    """A process for each segment."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._running: list[tuple[Job, subprocess.Popen[str]]] = []

    def start(self, job: Job) -> None:
        """See `Workers.start`."""
        path = Path(job.target + ".job.json")
        job.write(path)
        command = [sys.executable, "-m", "irchroma.launch.archive.segment", str(path)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._running.append((job, process))

    def next(self) -> tuple[Job, str | None]:
        """See `Workers.next`."""
        while True:
            for at, (job, process) in enumerate(self._running):
                if process.poll() is None:
                    continue
                del self._running[at]
                _, said = process.communicate()
                if process.returncode == 0:
                    return job, None
                told = said.strip().splitlines()
                died = f"its process was ended by signal {-process.returncode}"
                return job, died if process.returncode < 0 else (told[-1] if told else "it failed")
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """See `Workers.close`."""
        for _, process in self._running:
            process.terminate()
        for _, process in self._running:
            try:
                process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._running.clear()


class RayWorkers:
    """A Ray task for each segment. Input and output must lie where every node finds them by the same path.

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
        """See `Workers.start`."""
        self._running[self._task.remote(job)] = job

    def next(self) -> tuple[Job, str | None]:
        """See `Workers.next`."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        job = self._running.pop(ready[0])
        try:
            failure: str | None = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return job, lines[0] if lines else type(error).__name__
        return job, failure

    def close(self) -> None:
        """See `Workers.close`."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        self._ray.shutdown()


def _ray_task(job: Job) -> str | None:
    """In a process of Ray's; the reason where it failed."""
    from irchroma.launch.archive.segment import color_segment
    from irchroma.launch.arguments import one_line

    try:
        color_segment(job)
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

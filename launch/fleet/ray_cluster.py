"""Machines that Ray knows: an actor on each holds its cameras; another is where wishes and figures meet.

All that Ray carries is names, wishes, figures and log lines: passwords stay `${NAME}`, video never goes
through it. Each call is below the 100 kB that Ray sends beside its object store, but for the status of more
than some hundred cameras, of which one is there at a time: nothing fills the store, nothing is spilled.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from irchroma.launch.fleet.host import CameraHost
from irchroma.launch.fleet.placement import Node
from irchroma.launch.fleet.ray_door import connected
from irchroma.launch.fleet.reports import Line, LogBook
from irchroma.launch.fleet.supervisor import HostLost, NodeProcesses
from irchroma.stream.errors import StreamError

log = logging.getLogger(__name__)

_NAMESPACE, _BOARD = "irchroma", "fleet"
_ANSWER_S = 5.0
_CLOSE_S = 25.0
_AT_ONCE = 8  # of a host's calls
_LINES_AT_ONCE = 50


class Board:
    """What is wished for and how things are, for commands of other processes."""

    def __init__(self) -> None:
        self._draining: set[str] = set()
        self._status: dict[str, Any] = {}
        self._book = LogBook()

    def drain(self, node: str, leave: bool) -> bool:
        """Whether a machine is to be left; False where there is none of that name."""
        if leave and node not in self._status.get("nodes", {}):
            return False
        (self._draining.add if leave else self._draining.discard)(node)
        return True

    def tell(self, status: dict[str, Any], lines: list[Line]) -> set[str]:
        """The newest figures, and what was logged; the answer is which machines are to be left."""
        if not self._status:  # it was begun anew, elsewhere
            self._draining |= {name for name, node in status["nodes"].items() if node["draining"]}
        self._status = status
        self._book.add(lines)
        return self._draining

    def lines(self, after: int, camera: str = "") -> tuple[int, list[Line]]:
        """See `LogBook.after`."""
        return self._book.after(after, camera)

    def status(self) -> dict[str, Any]:
        """The newest figures."""
        return self._status


class RayCluster:
    """A `Cluster`: the machines of Ray's.

    Args:
        address: see `FleetOptions.address`.
        lost_after_s: how long a host may not answer.
        cameras_per_process: see `FleetOptions`.

    Raises:
        StreamError: Ray is not installed, or no cluster answers there.
    """

    def __init__(self, address: str, lost_after_s: float, cameras_per_process: int = 8) -> None:
        self.ray = joined(address)
        self._lost_after_s, self._most = lost_after_s, cameras_per_process
        self._ids: dict[str, str] = {}
        self._draining: set[str] = set()
        board = self.ray.remote(num_cpus=0, max_restarts=-1)(Board)
        try:
            self._board: Any = board.options(name=_BOARD, scheduling_strategy=self._here()).remote()
            self.ray.get(self._board.status.remote(), timeout=60)
        except ValueError as error:  # the name is taken
            self.ray.shutdown()
            raise StreamError("a fleet is up on this cluster already: irchroma fleet status") from error

    def nodes(self) -> list[Node]:
        found = []
        for told in self.ray.nodes():
            if not told["Alive"]:
                continue
            resources = told["Resources"]
            kind = "gpu" if resources.get("GPU") else "cpu"
            capacity = float(resources.get(kind.upper(), 0.0))
            if capacity > 0:
                name = f"{told['NodeManagerHostname']}-{told['NodeID'][:6]}"
                self._ids[name] = told["NodeID"]
                found.append(Node(name, kind, capacity))
        return found

    def _here(self) -> Any:
        """The board lies where this process runs, whose end is the fleet's anyway."""
        own = self.ray.get_runtime_context().get_node_id()
        return self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(own, soft=False)

    def open_host(self, node: str) -> NodeProcesses:
        pinned = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            self._ids[node], soft=False
        )
        kind = self.ray.remote(num_cpus=0, max_restarts=0, max_concurrency=_AT_ONCE)(CameraHost)

        def opened() -> RayHost:
            actor = kind.options(scheduling_strategy=pinned).remote(node)
            return RayHost(self.ray, actor, self._lost_after_s)

        return NodeProcesses(opened, self._most)

    def exchange(self, status: dict[str, Any], lines: list[Line]) -> set[str]:
        """Put figures and lines on the board; which machines are to be left."""
        try:
            for at in range(0, max(1, len(lines)), _LINES_AT_ONCE):
                told = self._board.tell.remote(status, lines[at : at + _LINES_AT_ONCE])
                self._draining = self.ray.get(told, timeout=_ANSWER_S)
        except self.ray.exceptions.RayError as error:
            log.warning("the board does not answer (%s); the cameras go on", type(error).__name__)
        return self._draining

    def close(self) -> None:
        self.ray.kill(self._board)
        self.ray.shutdown()


class RayHost:
    """A `Host`: `CameraHost` in an actor."""

    def __init__(self, ray: Any, actor: Any, lost_after_s: float) -> None:
        self._ray, self._actor, self._lost_after_s = ray, actor, lost_after_s
        self._asked: Any = None
        self._asked_s = 0.0
        self._told: dict[str, dict[str, Any]] | None = None
        self._calls: list[Any] = []
        self._lines_asked: Any = None
        self._lines_to = 0

    def begin(self, camera: str, text: str) -> None:
        self._calls.append(self._actor.begin.remote(camera, text))

    def end(self, camera: str) -> None:
        self._calls.append(self._actor.end.remote(camera))

    def figures(self) -> dict[str, dict[str, Any]]:
        if self._asked is None:
            self._asked, self._asked_s = self._actor.figures.remote(), time.monotonic()
        try:
            ready, _ = self._ray.wait([self._asked], timeout=0)
            if ready:
                self._told, self._asked = self._ray.get(self._asked), None
                self._collect()
        except self._ray.exceptions.RayError as error:
            raise HostLost(f"its process has ended ({type(error).__name__})") from error
        # Until its first answer a process is starting, which takes its time.
        longest_s = self._lost_after_s if self._told is not None else 60.0
        if self._asked is not None and time.monotonic() - self._asked_s > longest_s:
            raise HostLost(f"it has not answered for {longest_s:g} s")
        return self._told or {}

    def lines(self) -> list[Line]:
        """See `Host.lines`; the next are asked for, and come with the next call."""
        lines: list[Line] = []
        try:
            if self._lines_asked is not None:
                ready, _ = self._ray.wait([self._lines_asked], timeout=0)
                if not ready:
                    return []
                self._lines_to, lines = self._ray.get(self._lines_asked)
        except self._ray.exceptions.RayError as error:  # `figures` says that it is lost
            log.debug("no lines: %s", type(error).__name__)
        self._lines_asked = self._actor.lines.remote(self._lines_to)
        return lines

    def _collect(self) -> None:
        """Errors of calls that have ended; nothing is kept of them."""
        if self._calls:
            done, self._calls = self._ray.wait(self._calls, num_returns=len(self._calls), timeout=0)
            self._ray.get(done)

    def close(self) -> None:
        try:
            self._ray.get(self._actor.close.remote(), timeout=_CLOSE_S)
        except self._ray.exceptions.RayError as error:
            log.info("a host did not end by itself (%s)", type(error).__name__)
        self.abandon()

    def abandon(self) -> None:
        self._ray.kill(self._actor)


def joined(address: str) -> Any:
    """Ray, connected; see `ray_door.connected`."""
    return connected(address, "a fleet", namespace=_NAMESPACE)


def board(ray: Any) -> Any:
    """The board of the fleet that is up.

    Raises:
        StreamError: none is.
    """
    try:
        return ray.get_actor(_BOARD)
    except ValueError as error:
        raise StreamError("no fleet is up on this cluster: irchroma fleet up --config fleet.toml") from error

"""Keeps every camera of a fleet running on some machine: begins, moves and ends them as machines come and go.

A camera that moves begins on its new machine first, and ends on the old one once it is in color there: nobody
is dark while a machine is drained. What runs where is decided by `placement.place` alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from irchroma.launch.fleet.config import FleetConfig
from irchroma.launch.fleet.placement import Node, place
from irchroma.launch.fleet.reports import Line

log = logging.getLogger(__name__)

_SUSPECT_S = 10.0
_AGAIN_S = 5.0


class HostLost(Exception):
    """A machine's process has gone, or says nothing any more."""


class Host(Protocol):
    """`CameraHost` on another machine; calls return at once."""

    def begin(self, camera: str, text: str) -> None:
        """See `CameraHost.begin`."""

    def end(self, camera: str) -> None:
        """See `CameraHost.end`."""

    def figures(self) -> dict[str, dict[str, Any]]:
        """The newest answer of `CameraHost.figures`, empty before the first. HostLost where none comes."""

    def lines(self) -> list[Line]:
        """Its log lines since the last call."""

    def close(self) -> None:
        """End its cameras and its process, in good order."""

    def abandon(self) -> None:
        """End its process, if there is one; waits for nothing."""


class NodeProcesses:
    """A `Host`: a machine's cameras in as many processes as they need.

    A process that ends takes its own cameras with it only, which begin again beside the others.

    Args:
        open_process: makes one.
        most: cameras of each.
    """

    def __init__(self, open_process: Callable[[], Host], most: int) -> None:
        self._open, self._most = open_process, most
        self._processes: list[tuple[Host, dict[str, str]]] = []

    def begin(self, camera: str, text: str) -> None:
        chosen = next((one for one in self._processes if camera in one[1]), None)
        if chosen is None:
            with_room = [one for one in self._processes if len(one[1]) < self._most]
            chosen = max(with_room, key=lambda one: len(one[1]), default=None)
        if chosen is None:
            chosen = (self._open(), {})
            self._processes.append(chosen)
        chosen[1][camera] = text
        chosen[0].begin(camera, text)

    def end(self, camera: str) -> None:
        for process, texts in self._processes:
            if texts.pop(camera, None) is not None:
                process.end(camera)

    def figures(self) -> dict[str, dict[str, Any]]:
        """See `Host.figures`; the machine is lost with its last process."""
        told: dict[str, dict[str, Any]] = {}
        homeless: dict[str, str] = {}
        for one in list(self._processes):
            process, texts = one
            try:
                told |= process.figures()
            except HostLost as error:
                self._processes.remove(one)
                process.abandon()
                if not self._processes:
                    raise
                log.warning("a process of %d cameras: %s; they begin again beside it", len(texts), error)
                homeless |= texts
        for camera, text in homeless.items():
            self.begin(camera, text)
        return told

    def lines(self) -> list[Line]:
        return [line for process, _ in self._processes for line in process.lines()]

    def close(self) -> None:
        for process, _ in self._processes:
            process.close()
        self._processes.clear()

    def abandon(self) -> None:
        for process, _ in self._processes:
            process.abandon()
        self._processes.clear()


class Cluster(Protocol):
    """The machines."""

    def nodes(self) -> list[Node]:
        """The machines that are in the cluster now."""

    def open_host(self, node: str) -> Host:
        """A process for cameras there."""


@dataclass(slots=True)
class _Running:
    """A camera.

    Attributes:
        node: where it is meant to be; empty while no machine has room.
        leaving: machines where it ends once it is in color on `node`.
        failed_at: when it was last found to have failed, or None.
    """

    node: str = ""
    leaving: set[str] = field(default_factory=set)
    failed_at: float | None = None


class Fleet:
    """`step` again and again; one thread.

    Args:
        config: the cameras.
        cluster: the machines.
        clock: seconds.
    """

    def __init__(
        self, config: FleetConfig, cluster: Cluster, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config, self._cluster, self._clock = config, cluster, clock
        self._hosts: dict[str, Host] = {}
        self._suspect_until: dict[str, float] = {}
        self._running = {camera.name: _Running() for camera in config.cameras}
        self._figures: dict[str, dict[str, dict[str, Any]]] = {}
        self._nodes: dict[str, Node] = {}
        self._lines: list[Line] = []

    def use(self, config: FleetConfig) -> None:
        """Go on with other cameras, costs or settings: only what has changed begins, begins anew, or ends."""
        before, self._config = self._config, config
        for name, text in config.texts.items():
            camera = self._running.setdefault(name, _Running())
            if camera.node in self._hosts and before.texts.get(name) != text:
                log.info("%s: its configuration or a file of it has changed", name)
                camera.failed_at = None
                self._hosts[camera.node].begin(name, text)
        for name in set(self._running) - set(config.texts):
            camera = self._running.pop(name)
            log.info("%s: is no longer one of the fleet's", name)
            for node in {camera.node, *camera.leaving} & set(self._hosts):
                self._hosts[node].end(name)

    def lines(self) -> list[Line]:
        """The log lines of all machines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def step(self, draining: Iterable[str] = ()) -> None:
        """Look at the machines, and do what that asks for.

        Args:
            draining: machines that are to be left.
        """
        left = set(draining)
        there = {node.name: replace(node, draining=node.name in left) for node in self._cluster.nodes()}
        self._listen(there)
        now_s = self._clock()
        self._nodes = {
            name: node for name, node in there.items() if self._suspect_until.get(name, 0.0) <= now_s
        }
        self._place()
        self._finish_moves()
        self._mend(now_s)

    def _listen(self, there: dict[str, Node]) -> None:
        for name, host in list(self._hosts.items()):
            try:
                if name not in there:
                    raise HostLost("the machine is gone")
                self._figures[name] = host.figures()
                self._lines += [{**line, "node": name} for line in host.lines()]
            except HostLost as error:
                log.warning("%s: %s; its cameras go on elsewhere", name, error)
                self._forget(name)
                self._suspect_until[name] = self._clock() + _SUSPECT_S

    def _forget(self, name: str) -> None:
        host = self._hosts.pop(name)
        self._figures.pop(name, None)
        for camera in self._running.values():
            camera.leaving.discard(name)
            if camera.node == name:
                camera.node = ""
        host.abandon()

    def _place(self) -> None:
        now = {name: camera.node for name, camera in self._running.items() if camera.node in self._nodes}
        placed = place(self._config.cameras, self._nodes.values(), now, self._config.options.balance)
        for name, node in placed.node_of.items():
            camera = self._running[name]
            if camera.node == node:
                continue
            if camera.node in self._hosts:
                camera.leaving.add(camera.node)
            camera.leaving.discard(node)
            log.info("%s: %s", name, f"moves to {node}" if camera.node else f"begins on {node}")
            camera.node, camera.failed_at = node, None
            self._host(node).begin(name, self._config.texts[name])

    def _host(self, node: str) -> Host:
        if node not in self._hosts:
            self._hosts[node] = self._cluster.open_host(node)
        return self._hosts[node]

    def _finish_moves(self) -> None:
        for name, camera in self._running.items():
            if camera.leaving and self._in_color(name):
                for node in camera.leaving:
                    self._hosts[node].end(name)
                camera.leaving.clear()

    def _in_color(self, name: str) -> bool:
        told = self._told(name)
        return bool(told.get("frames")) and told.get("state") in ("live", "ended")

    def _told(self, name: str) -> dict[str, Any]:
        return self._figures.get(self._running[name].node, {}).get(name, {})

    def _mend(self, now_s: float) -> None:
        """A camera that was given up is begun again, where it is, after a while."""
        for name, camera in self._running.items():
            if not self._told(name).get("failure"):
                camera.failed_at = None
            elif camera.failed_at is None:
                camera.failed_at = now_s
                log.warning("%s on %s: %s", name, camera.node, self._told(name)["failure"])
            elif now_s - camera.failed_at >= _AGAIN_S:
                camera.failed_at = None
                self._hosts[camera.node].begin(name, self._config.texts[name])

    def status(self) -> dict[str, Any]:
        """Machines and cameras as they are."""
        loads = dict.fromkeys(self._nodes, 0.0)
        for camera in self._config.cameras:
            node = self._nodes.get(self._running[camera.name].node)
            if node is not None:
                loads[node.name] += camera.cost[node.kind] / node.capacity
        return {
            "nodes": {
                name: {"kind": node.kind, "draining": node.draining, "load": round(loads[name], 3)}
                for name, node in sorted(self._nodes.items())
            },
            "cameras": {
                name: {"node": camera.node or None, "moving_from": sorted(camera.leaving), **self._told(name)}
                for name, camera in self._running.items()
            },
            "waiting": sorted(name for name, camera in self._running.items() if not camera.node),
        }

    def close(self) -> None:
        """End everything in good order."""
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()

"""A month of a fleet in a second: nodes fail, are repaired and maintained; the placement is the real one."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.fleet.placement import Camera, Node, Placement, place

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is simulated; times in seconds unless they say otherwise.

    Attributes:
        cameras, nodes: how many.
        days: how long.
        seed: of all that is random.
        load: share of all nodes' capacity that the cameras take; nodes are of two kinds, one twice as fast.
        group: cameras that watch one place.
        between_failures_days: mean time between failures of a node, exponential.
        repair_h: mean time to repair, exponential.
        maintenance_days: every node is drained so often, 0 for never; for an hour.
        noticed_s: until the loss of a node is noticed.
        start_s: until a camera is in color on a node; a node starts its cameras one after the other.
    """

    cameras: int = 1000
    nodes: int = 60
    days: float = 30.0
    seed: int = 1
    load: float = 0.7
    group: int = 4
    between_failures_days: float = 30.0
    repair_h: float = 4.0
    maintenance_days: float = 30.0
    noticed_s: float = 3.0
    start_s: float = 0.5

    def __post_init__(self) -> None:
        if self.cameras < 1 or self.nodes < 1 or not self.days > 0 or not 0 < self.load <= 1:
            raise ConfigError("expected 1 or more cameras and nodes, more than 0 days, and a load up to 1")


class Simulation:
    """One run. Every event changes the nodes, then the cameras are placed by `place`."""

    def __init__(self, assumed: Assumptions) -> None:
        self._assumed, self._random = assumed, random.Random(assumed.seed)
        self._all = {
            node.name: node
            for node in (Node(f"node-{n:03d}", "fast" if n % 2 else "slow") for n in range(assumed.nodes))
        }
        fast = sum(node.kind == "fast" for node in self._all.values())
        # a camera takes `share` of a fast node and twice that of a slow one
        share = assumed.load * (fast + (assumed.nodes - fast) / 2) / assumed.cameras
        self._cameras = [
            Camera(
                f"camera-{n:04d}",
                _cost(share * self._random.uniform(0.5, 1.5)),
                f"place-{n // assumed.group}",
            )
            for n in range(assumed.cameras)
        ]
        self._up = dict(self._all)
        self._dark_s = dict.fromkeys((camera.name for camera in self._cameras), 0.0)
        self._waiting_since: dict[str, float] = {}
        self._events: list[tuple[float, int, str, str]] = []
        self._count = 0
        self._seen: dict[str, int] = {"failures": 0, "drains": 0, "moves": 0, "most_of_a_group": 0}
        self._uneven: list[float] = []
        self._longest_s = 0.0

    def run(self) -> dict[str, Any]:
        """The figures."""
        assumed, end_s = self._assumed, self._assumed.days * _DAY_S
        now = place(self._cameras, self._up.values()).node_of
        for name in self._all:
            self._after(0.0, assumed.between_failures_days * _DAY_S, "fails", name)
            if assumed.maintenance_days:
                self._at(self._random.uniform(0, assumed.maintenance_days * _DAY_S), "drains", name)
        while self._events and self._events[0][0] < end_s:
            time_s, _, what, name = heapq.heappop(self._events)
            lost = self._happen(time_s, what, name, now)
            placed = place(self._cameras, self._up.values(), now)
            self._account(time_s, placed, lost)
            now = placed.node_of
        for name, since_s in self._waiting_since.items():
            self._dark_s[name] += end_s - since_s
        return self._figures()

    def _happen(self, time_s: float, what: str, name: str, now: dict[str, str]) -> set[str]:
        """Change the nodes; the cameras that are dark from then on."""
        assumed = self._assumed
        lost: set[str] = set()
        if what == "fails":
            if name in self._up:
                self._seen["failures"] += 1
                lost = {camera for camera, node in now.items() if node == name}
                places = [camera.group for camera in self._cameras if camera.name in lost]
                most = max((places.count(one) for one in set(places)), default=0)
                self._seen["most_of_a_group"] = max(self._seen["most_of_a_group"], most)
                del self._up[name]
                self._after(time_s, assumed.repair_h * 3600, "returns", name)
            self._after(time_s, assumed.between_failures_days * _DAY_S, "fails", name)
        elif what == "returns":
            self._up[name] = self._all[name]
        elif what == "drains":
            if name in self._up:
                self._seen["drains"] += 1
                self._up[name] = replace(self._all[name], draining=True)
                self._at(time_s + 3600, "is back", name)
            self._at(time_s + assumed.maintenance_days * _DAY_S, "drains", name)
        elif name in self._up:
            self._up[name] = self._all[name]
        return lost

    def _account(self, time_s: float, placed: Placement, lost: set[str]) -> None:
        """Who was dark for how long. A camera on a node that is there goes on until it has moved."""
        started: dict[str, int] = {}
        for camera in sorted(lost & set(placed.node_of)):
            node = placed.node_of[camera]
            started[node] = started.get(node, 0) + 1
            self._dark(camera, self._assumed.noticed_s + started[node] * self._assumed.start_s)
        for camera in placed.waiting:
            self._waiting_since.setdefault(camera, time_s)
        for camera in [name for name in self._waiting_since if name in placed.node_of]:
            self._dark(camera, time_s - self._waiting_since.pop(camera) + self._assumed.start_s)
        self._seen["moves"] += len(placed.moved)
        loads = dict.fromkeys((name for name, node in self._up.items() if not node.draining), 0.0)
        costs = {camera.name: camera.cost for camera in self._cameras}
        for camera, node in placed.node_of.items():
            loads[node] += costs[camera][self._all[node].kind]
        self._uneven.append(max(loads.values()) - min(loads.values()) if loads else 0.0)

    def _dark(self, camera: str, seconds: float) -> None:
        self._dark_s[camera] += seconds
        self._longest_s = max(self._longest_s, seconds)

    def _after(self, time_s: float, mean_s: float, what: str, name: str) -> None:
        self._at(time_s + self._random.expovariate(1 / mean_s), what, name)

    def _at(self, time_s: float, what: str, name: str) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_s, self._count, what, name))

    def _figures(self) -> dict[str, Any]:
        total_s = self._assumed.cameras * self._assumed.days * _DAY_S
        dark = sorted(self._dark_s.values())
        return {
            **self._seen,
            "dark_s_in_all": round(sum(dark), 1),
            "dark_s_a_camera": {
                "median": round(dark[len(dark) // 2], 1),
                "p95": round(dark[int(0.95 * (len(dark) - 1))], 1),
                "most": round(dark[-1], 1),
            },
            "longest_dark_s": round(self._longest_s, 1),
            "in_color_share": round(1 - sum(dark) / total_s, 8),
            "imbalance": {
                "mean": round(sum(self._uneven) / max(1, len(self._uneven)), 3),
                "most": round(max(self._uneven, default=0.0), 3),
            },
        }


def _cost(share: float) -> dict[str, float]:
    return {"fast": share, "slow": 2 * share}

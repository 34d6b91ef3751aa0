"""Which camera runs on which node: within what each node can do, spread, and moved as little as can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TOLERANCE = 1e-9
"""Of sums of loads: nodes are full to their last share."""


@dataclass(frozen=True, slots=True)
class Node:
    """One machine.

    Attributes:
        name: its own.
        kind: machines of one kind color at the same speed, see `Camera.cost`.
        capacity: how much of its time cameras may take, 1 for all of it.
        draining: it is to be left, before maintenance: nothing new goes there, and what is there leaves.
    """

    name: str
    kind: str = "node"
    capacity: float = 1.0
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera.

    Attributes:
        name: its own.
        cost: kind of node -> share of such a node that it takes, as `calibrate speed` measures it; a kind
            that is missing cannot color it.
        group: cameras of one group watch the same place; the loss of one node should take few of a group.
    """

    name: str
    cost: Mapping[str, float]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything runs.

    Attributes:
        node_of: camera -> node.
        waiting: cameras for which no node has room, in the order of their names.
        moved: cameras that run on another node than before.
    """

    node_of: dict[str, str]
    waiting: tuple[str, ...]
    moved: tuple[str, ...]


@dataclass(slots=True)
class _Fill:
    """A node and the cameras that are placed on it so far."""

    node: Node
    load: float = 0.0
    groups: dict[str, int] = field(default_factory=dict)
    cameras: dict[str, Camera] = field(default_factory=dict)

    def cost(self, camera: Camera) -> float:
        return camera.cost.get(self.node.kind, float("inf"))

    def has_room(self, camera: Camera) -> bool:
        return self.load + self.cost(camera) <= self.node.capacity + TOLERANCE

    def neighbors(self, camera: Camera) -> int:
        return self.groups.get(camera.group, 0) if camera.group else 0

    def filled(self, more: float = 0.0) -> float:
        return (self.load + more) / self.node.capacity

    def add(self, camera: Camera) -> None:
        self.load += self.cost(camera)
        self.groups[camera.group] = self.groups.get(camera.group, 0) + 1
        self.cameras[camera.name] = camera

    def remove(self, camera: Camera) -> None:
        self.load -= self.cost(camera)
        self.groups[camera.group] -= 1
        del self.cameras[camera.name]


def place(
    cameras: Iterable[Camera],
    nodes: Iterable[Node],
    now: Mapping[str, str] | None = None,
    balance: float = 0.15,
) -> Placement:
    """Give every camera a node.

    A camera stays where it is while its node is there, not draining, and has room. Those without a node get
    one, the costly first: where the fewest of their group are, then where the least is done. Others are moved
    for them only where they would else wait, and from full nodes to empty ones only while that evens out a
    difference of more than `balance` and brings no neighbors together.

    Args:
        cameras: all of them.
        nodes: those that are there.
        now: camera -> node, as it is.
        balance: how much fuller the fullest node may be than the emptiest, as a share of its capacity.
    """
    now = now or {}
    fills = {node.name: _Fill(node) for node in sorted(nodes, key=lambda node: node.name)}
    known = {camera.name: camera for camera in cameras}
    homeless = []
    for camera in sorted(known.values(), key=lambda camera: camera.name):
        home = fills.get(now.get(camera.name, ""))
        if home is not None and not home.node.draining and home.has_room(camera):
            home.add(camera)
        else:
            homeless.append(camera)
    open_fills = [fill for fill in fills.values() if not fill.node.draining]
    waiting = []
    for camera in sorted(homeless, key=lambda camera: (-max(camera.cost.values(), default=0.0), camera.name)):
        target = _best(camera, open_fills) or _made_room(camera, open_fills)
        if target is None:
            waiting.append(camera.name)
        else:
            target.add(camera)
    _even_out(open_fills, balance)
    node_of = {name: fill.node.name for fill in fills.values() for name in fill.cameras}
    moved = sorted(name for name, node in node_of.items() if name in now and now[name] != node)
    return Placement(node_of, tuple(sorted(waiting)), tuple(moved))


def _best(camera: Camera, fills: list[_Fill]) -> _Fill | None:
    """The node for a camera; None where no node has room."""
    fitting = [fill for fill in fills if fill.has_room(camera)]
    return min(
        fitting,
        key=lambda fill: (fill.neighbors(camera), fill.filled(fill.cost(camera)), fill.node.name),
        default=None,
    )


def _made_room(camera: Camera, fills: list[_Fill]) -> _Fill | None:
    """A node that gets room by moving one of its cameras to another node; the move is made."""
    for fill in sorted(fills, key=lambda fill: fill.filled()):
        if fill.cost(camera) > fill.node.capacity + TOLERANCE:
            continue
        missing = fill.load + fill.cost(camera) - fill.node.capacity
        enough = [other for other in fill.cameras.values() if fill.cost(other) >= missing - TOLERANCE]
        for other in sorted(enough, key=lambda other: (fill.cost(other), other.name)):
            elsewhere = _best(other, [one for one in fills if one is not fill])
            if elsewhere is not None:
                fill.remove(other)
                elsewhere.add(other)
                if fill.has_room(camera):
                    return fill
                elsewhere.remove(other)
                fill.add(other)
    return None


def _even_out(fills: list[_Fill], balance: float) -> None:
    """Move cameras from the fullest node to the emptiest, each of which must make the two more alike."""
    while len(fills) > 1:
        full = max(fills, key=lambda fill: (fill.filled(), fill.node.name))
        empty = min(fills, key=lambda fill: (fill.filled(), fill.node.name))
        apart = full.filled() - empty.filled()
        if apart <= balance:
            return
        best: tuple[float, str] | None = None
        for camera in full.cameras.values():
            if not empty.has_room(camera) or empty.neighbors(camera) > max(0, full.neighbors(camera) - 1):
                continue
            after = abs(full.filled(-full.cost(camera)) - empty.filled(empty.cost(camera)))
            if after < apart - TOLERANCE and (best is None or (after, camera.name) < best):
                best = after, camera.name
        if best is None:
            return
        camera = full.cameras[best[1]]
        full.remove(camera)
        empty.add(camera)

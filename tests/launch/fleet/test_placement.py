"""What must hold of every placement, whatever the cameras and nodes; and of a simulated month."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irchroma.launch.cli import main
from irchroma.launch.fleet.placement import TOLERANCE, Camera, Node, Placement, place
from irchroma.launch.fleet.simulation import Assumptions, Simulation

KINDS = ("slow", "fast")
FREELY = settings(deadline=None, database=None)

nodes_of_any_kind = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from((0.5, 1.0, 2.0)), st.booleans()), min_size=1, max_size=8
).map(
    lambda told: [
        Node(f"n{n}", kind, size, bool(n) and drains) for n, (kind, size, drains) in enumerate(told)
    ]
)
cameras_of_any_cost = st.lists(
    st.tuples(st.floats(0.01, 0.6), st.integers(0, 4), st.booleans()), min_size=1, max_size=30
).map(
    lambda told: [
        Camera(f"c{n}", {"fast": cost, **({} if picky else {"slow": 2 * cost})}, f"g{group}")
        for n, (cost, group, picky) in enumerate(told)
    ]
)


def loads(placed: Placement, cameras: list[Camera], nodes: list[Node]) -> dict[str, float]:
    kinds, costs = {node.name: node.kind for node in nodes}, {camera.name: camera.cost for camera in cameras}
    sums = dict.fromkeys(kinds, 0.0)
    for camera, node in placed.node_of.items():
        sums[node] += costs[camera][kinds[node]]
    return sums


def require_sound(placed: Placement, cameras: list[Camera], nodes: list[Node]) -> None:
    """No camera lost or placed twice, no node too full or left, none waits that fits somewhere."""
    assert set(placed.node_of) | set(placed.waiting) == {camera.name for camera in cameras}
    assert len(placed.node_of) + len(placed.waiting) == len(cameras)
    filled, open_nodes = loads(placed, cameras, nodes), [node for node in nodes if not node.draining]
    assert set(placed.node_of.values()) <= {node.name for node in open_nodes}
    for node in nodes:
        assert filled[node.name] <= node.capacity + 1e-6


@FREELY
@given(nodes_of_any_kind, cameras_of_any_cost)
def test_no_camera_is_lost_or_placed_twice_and_no_node_is_too_full(
    nodes: list[Node], cameras: list[Camera]
) -> None:
    require_sound(place(cameras, nodes), cameras, nodes)


@FREELY
@given(nodes_of_any_kind, cameras_of_any_cost)
def test_what_is_placed_stays(nodes: list[Node], cameras: list[Camera]) -> None:
    first = place(cameras, nodes)
    again = place(cameras, nodes, first.node_of)
    if not first.waiting:
        assert again == replace(first, moved=())


@FREELY
@given(nodes_of_any_kind, cameras_of_any_cost, st.integers(0, 7))
def test_a_lost_node_moves_its_cameras_and_no_more_than_makes_room(
    nodes: list[Node], cameras: list[Camera], lost: int
) -> None:
    before = place(cameras, nodes)
    left = [node for number, node in enumerate(nodes) if number != lost % len(nodes)]
    after = place(cameras, left, before.node_of, balance=10.0)
    require_sound(after, cameras, left)
    there = {node.name for node in left}
    homeless = {camera.name for camera in cameras if before.node_of.get(camera.name, "") not in there}
    assert len(set(after.moved) - homeless) <= len(homeless)
    if all(place([one], left, balance=10.0).waiting == () for one in cameras) and len(left) > 1:
        gone = {camera for camera, node in before.node_of.items() if node not in there}
        assert gone <= set(after.moved) | set(after.waiting)


@FREELY
@given(nodes_of_any_kind, cameras_of_any_cost)
def test_a_node_that_joins_is_filled_until_loads_are_alike(nodes: list[Node], cameras: list[Camera]) -> None:
    before = place(cameras, nodes)
    more = [*nodes, Node("new", "fast", 1.0)]
    after = place(cameras, more, before.node_of)
    require_sound(after, cameras, more)
    assert len(after.waiting) <= len(before.waiting)
    sizes = {node.name: node.capacity for node in more if not node.draining}

    def apart(placed: Placement) -> float:
        shares = [load / sizes[name] for name, load in loads(placed, cameras, more).items() if name in sizes]
        return max(shares) - min(shares)

    if not before.waiting:
        assert apart(after) <= apart(before) + TOLERANCE


@FREELY
@given(cameras_of_any_cost)
def test_a_draining_node_is_left_whole(cameras: list[Camera]) -> None:
    nodes = [Node(f"n{n}", "fast", 40.0) for n in range(3)]
    before = place(cameras, nodes)
    draining = [replace(nodes[0], draining=True), *nodes[1:]]
    after = place(cameras, draining, before.node_of, balance=100.0)
    assert after.waiting == ()
    assert set(after.moved) == {camera for camera, node in before.node_of.items() if node == "n0"}


def test_neighbors_are_on_different_nodes() -> None:
    nodes = [Node(f"n{n}") for n in range(4)]
    cameras = [Camera(f"c{n}", {"node": 0.2}, f"g{n % 3}") for n in range(12)]
    placed = place(cameras, nodes)
    for group in range(3):
        assert len({placed.node_of[f"c{n}"] for n in range(group, 12, 3)}) == 4


@settings(FREELY, max_examples=5)
@given(st.integers(0, 1000))
def test_a_month_darkens_cameras_for_seconds_and_drains_darken_none(seed: int) -> None:
    assumed = Assumptions(cameras=120, nodes=12, days=30, seed=seed, load=0.5)
    figures = Simulation(assumed).run()
    assert figures["drains"] >= 10
    assert figures["failures"] > 0
    assert 3 < figures["longest_dark_s"] <= 10
    calm = Simulation(replace(assumed, between_failures_days=1e12)).run()
    assert (calm["failures"], calm["dark_s_in_all"]) == (0, 0)
    assert calm["moves"] > 0


def test_the_same_month_twice_is_the_same() -> None:
    assumed = Assumptions(cameras=60, nodes=6, seed=3)
    assert Simulation(assumed).run() == Simulation(assumed).run()


def test_the_command_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--cameras", "40", "--nodes", "4", "--days", "10", "--json", str(tmp_path / "fleet.json")]
    assert main(["fleet", "simulate", *words]) == 0
    told = json.loads((tmp_path / "fleet.json").read_text(encoding="utf-8"))
    assert told["assumed"]["cameras"] == 40
    assert 0.9 < told["figures"]["in_color_share"] <= 1
    capsys.readouterr()
    assert main(["fleet", "simulate", *words[:-1], "-"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == told["figures"]

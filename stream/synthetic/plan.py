"""The plan of a synthetic scene by its seed: camera, road, houses, trees and ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.canvas import Patch, View
from irchroma.stream.synthetic.texture import Plane
from irchroma.stream.synthetic.things.building import House
from irchroma.stream.synthetic.things.ground import Layout
from irchroma.stream.synthetic.things.tree import make_tree


class Tree:
    """A tree, drawn when it is first looked at, and where it stands, meters."""

    def __init__(self, draw: Callable[[], Patch], x: float, z: float, high_m: float) -> None:
        self._draw, self.x, self.z, self.high_m = draw, x, z, high_m

    @cached_property
    def patch(self) -> Patch:
        """What it looks like."""
        return self._draw()


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """All that stands and the ways that are gone in a scene.

    Attributes:
        seed: of the scene.
        layout: camera and ground, at the stage's size.
        houses: from far to near.
        trees: that stand still, from far to near.
        swaying: the nearest trees, drawn anew in every picture.
        routes: (N, 2) ways of walkers.
        parked: (z, seed) of the cars at the left kerb, from far to near.
        mirror: the finished picture is seen in a mirror.
        drawn: (N, 4) what `plan_scene` is given to draw none of the N trees before it is looked at.
    """

    seed: int
    layout: Layout
    houses: tuple[House, ...]
    trees: tuple[Tree, ...]
    swaying: tuple[Tree, ...]
    routes: tuple[Plane, ...]
    parked: tuple[tuple[float, int], ...]
    mirror: bool
    drawn: NDArray[np.uint64]


def plan_scene(
    size: tuple[int, int], seed: int, margin: int, drawn: NDArray[np.uint64] | None = None
) -> ScenePlan:
    """Everything about a scene that its seed decides, for pictures of `size` (H, W).

    Args:
        size, seed, margin: as of `SyntheticScene`.
        drawn: of the same plan before; None to draw all trees now, half of the time of a scene that is kept.
    """
    rng = np.random.default_rng((seed, 1))
    high, wide = size
    focal = 0.98 * max(wide, 1.1 * high)
    center = (wide / 2 + margin, high * float(rng.uniform(0.37, 0.42)) + margin)
    view = View((high + 2 * margin, wide + 2 * margin), focal, center, float(rng.uniform(4.2, 5.0)))
    bend = float(rng.uniform(0.0008, 0.0016))
    road_x = float(rng.uniform(-1.2, 0.0))
    pond = (float(rng.uniform(17, 21)), float(rng.uniform(30, 38)), 8.0, 9.0)
    layout = Layout(view, road_x, bend, 3.5, 2.1, 2.2, float(rng.uniform(17, 20)), pond)
    houses = _houses(layout, rng)
    trees, states = _trees(layout, rng, drawn)
    near = [tree for tree in trees if tree.z < 26][-2:]
    still = tuple(tree for tree in trees if tree not in near)
    gaps = np.cumsum(rng.uniform(5.2, 13, 8)) + layout.crossing_z + 1
    parked = tuple((float(z), int(rng.integers(1 << 30))) for z in gaps[gaps < 75][::-1])
    return ScenePlan(
        seed, layout, houses, still, tuple(near), _routes(layout), parked, bool(rng.random() < 0.5), states
    )


def _houses(layout: Layout, rng: np.random.Generator) -> tuple[House, ...]:
    houses = []
    z = float(rng.uniform(15, 18))
    previous = -1
    while z < 120:
        length = float(rng.uniform(9, 14))
        gable = float(rng.uniform(2.4, 3.6)) if rng.random() < 0.72 else 0.0
        height = float(rng.choice([5.6, 6.2, 8.6])) if gable else float(rng.choice([8.8, 11.8]))
        wall = int(rng.integers(6))
        wall = (wall + 1) % 6 if wall == previous else wall
        previous = wall
        x = float(layout.kerb_at(z, -1)) - layout.walk - float(rng.uniform(1.6, 3.0))
        depth, roof, seed = float(rng.uniform(8, 10)), int(rng.integers(2)), int(rng.integers(1 << 30))
        houses.append(House(x, 1, z, length, depth, height, gable, wall, roof, seed))
        z += length + float(rng.uniform(2.5, 6))
    z = float(rng.uniform(58, 66))
    for _ in range(3):
        x = float(layout.kerb_at(z + 12, 1)) + layout.walk + float(rng.uniform(3, 5))
        wall, roof, seed = int(rng.integers(6)), int(rng.integers(2)), int(rng.integers(1 << 30))
        houses.append(House(x, -1, z, 11, 9, 5.8, 3.0, wall, roof, seed))
        z += float(rng.uniform(17, 22))
    return tuple(sorted(houses, key=lambda house: -house.z))


def _trees(
    layout: Layout, rng: np.random.Generator, drawn: NDArray[np.uint64] | None
) -> tuple[list[Tree], NDArray[np.uint64]]:
    """An avenue on the right, a wood behind the pond, bushes, and two trees near the camera; and the states
    in which drawing each of them leaves the generator."""
    trees: list[Tree] = []
    states: list[list[int]] = []

    def add(x: float, z: float, high: float, bush: bool = False, leaves: int | None = None) -> None:
        kind = int(rng.choice([0, 0, 1, 2, 3])) if leaves is None else leaves
        pond_x, pond_z, half_x, half_z = layout.pond
        if ((x - pond_x) / half_x) ** 2 + ((z - pond_z) / half_z) ** 2 < 1.3:
            return
        pixels = int(np.clip(1.7 * high * layout.view.focal_px / z, 24, 700))
        slim = float(rng.uniform(0.85, 1.1))
        own = np.random.default_rng()
        own.bit_generator.state = rng.bit_generator.state
        tree = Tree(partial(make_tree, own, pixels, kind, bush=bush, slim=slim), x, z, high)
        if drawn is None:
            _ = tree.patch
            rng.bit_generator.state = own.bit_generator.state
        else:
            _set_state(rng, drawn[len(trees)].tolist())
        trees.append(tree)
        states.append(_state(rng))

    def kerb(z: float, side: int) -> float:
        return float(layout.kerb_at(z, side)) + side * layout.walk

    for z in np.arange(24.0, 130, 11.5).tolist():
        add(kerb(z, 1) + float(rng.uniform(1.2, 2.2)), z, float(rng.uniform(6.5, 9)))
    for _ in range(9):
        add(float(rng.uniform(22, 60)), float(rng.uniform(48, 110)), float(rng.uniform(7, 12)))
    for z in rng.uniform(16, 60, 10).tolist():
        high = float(rng.uniform(0.8, 1.6))
        add(kerb(z, 1) + float(rng.uniform(3, 20)), z, high, True, int(rng.integers(3)))
    for z in rng.uniform(17, 50, 6).tolist():
        add(kerb(z, -1) - 0.9, z, float(rng.uniform(0.8, 1.3)), True, int(rng.integers(3)))
    z = float(rng.uniform(16, 18))
    add(kerb(z, 1) + float(rng.uniform(3.0, 4.4)), z, float(rng.uniform(6.4, 7.6)))
    z = float(rng.uniform(13.5, 15))
    add(kerb(z, -1) - 0.6, z, float(rng.uniform(4.4, 5.0)), False, 1)
    trees.sort(key=lambda tree: -tree.z)
    return trees, np.array(states, np.uint64)


def _state(rng: np.random.Generator) -> list[int]:
    """A PCG64's state but for its increment, which its seed decides, in four times 64 bits."""
    told: dict[str, Any] = rng.bit_generator.state  # type: ignore[assignment]
    return [*divmod(told["state"]["state"], 1 << 64), told["has_uint32"], told["uinteger"]]


def _set_state(rng: np.random.Generator, state: list[int]) -> None:
    told: dict[str, Any] = rng.bit_generator.state  # type: ignore[assignment]
    told["state"]["state"] = (state[0] << 64) + state[1]
    rng.bit_generator.state = told | {"has_uint32": state[2], "uinteger": state[3]}


def _routes(layout: Layout) -> tuple[Plane, ...]:
    """Ways along the pavements and over the crossing."""
    z = layout.crossing_z

    def at(side: int, distance: float, inset: float = 0.0) -> tuple[float, float]:
        return float(layout.kerb_at(distance, side)) + side * (layout.walk / 2 + inset), distance

    over = [at(-1, 46), at(-1, 30), at(-1, z), at(1, z), at(1, 30), at(1, 60)]
    back = [at(1, 52, 0.4), at(1, 34, 0.4), at(1, z + 0.8, 0.4), at(-1, z + 0.8), at(-1, 7)]
    down = [at(-1, 40, 0.5), at(-1, 24, 0.5), at(-1, 7, 0.5)]
    up = [at(1, 7, -0.4), at(1, 24, -0.4), at(1, 44, -0.4), at(1, 70, -0.4)]
    return tuple(np.array(route, np.float32) for route in (over, up, back, down))

"""The plan of a synthetic scene by its seed: camera, road, houses, trees, ways; and its static painting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from irchroma.stream import synthetic_light as light
from irchroma.stream.synthetic_building import House, paint_house, paint_house_shadow
from irchroma.stream.synthetic_canvas import Canvas, Patch, View
from irchroma.stream.synthetic_ground import Layout, paint_ground, paint_hills
from irchroma.stream.synthetic_light import Material
from irchroma.stream.synthetic_texture import Plane
from irchroma.stream.synthetic_tree import make_tree, paint_tree, paint_tree_shadow, paint_tufts

SIGN_RED = Material((206, 32, 36), 0.60, 21, 7, 6)
SIGN_WHITE = Material((240, 240, 238), 0.70, 21, 6, 6)
LAMP_GLASS = Material((230, 232, 226), 0.50, 20, 6, 14)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree and where it stands, meters."""

    patch: Patch
    x: float
    z: float
    high_m: float


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
    """

    seed: int
    layout: Layout
    houses: tuple[House, ...]
    trees: tuple[Tree, ...]
    swaying: tuple[Tree, ...]
    routes: tuple[Plane, ...]


def plan_scene(size: tuple[int, int], seed: int, margin: int) -> ScenePlan:
    """Everything about a scene that its seed decides, for pictures of `size` (H, W)."""
    rng = np.random.default_rng((seed, 1))
    high, wide = size
    focal = 0.98 * max(wide, 1.1 * high)
    center = (wide / 2 + margin, high * float(rng.uniform(0.37, 0.42)) + margin)
    view = View((high + 2 * margin, wide + 2 * margin), focal, center, float(rng.uniform(4.2, 5.0)))
    bend = float(rng.uniform(0.0008, 0.0016))
    road_x = float(rng.uniform(-1.2, 0.0))
    pond = (float(rng.uniform(17, 21)), float(rng.uniform(30, 38)), 8.0, 9.0)
    layout = Layout(view, road_x, bend, 3.5, 2.2, float(rng.uniform(17, 20)), pond)
    houses = _houses(layout, rng)
    trees = _trees(layout, rng)
    near = [tree for tree in trees if tree.z < 26][-2:]
    still = tuple(tree for tree in trees if tree not in near)
    return ScenePlan(seed, layout, houses, still, tuple(near), _routes(layout))


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
        x = float(layout.road_at(z)) - layout.half_road - layout.walk - float(rng.uniform(2.2, 3.8))
        houses.append(
            House(
                x,
                1,
                z,
                length,
                float(rng.uniform(8, 10)),
                height,
                gable,
                wall,
                int(rng.integers(2)),
                int(rng.integers(1 << 30)),
            )
        )
        z += length + float(rng.uniform(2.5, 6))
    z = float(rng.uniform(58, 66))
    for _ in range(3):
        x = float(layout.road_at(z + 12)) + layout.half_road + layout.walk + float(rng.uniform(3, 5))
        houses.append(
            House(
                x,
                -1,
                z,
                11,
                9,
                5.8,
                3.0,
                int(rng.integers(6)),
                int(rng.integers(2)),
                int(rng.integers(1 << 30)),
            )
        )
        z += float(rng.uniform(17, 22))
    return tuple(sorted(houses, key=lambda house: -house.z))


def _trees(layout: Layout, rng: np.random.Generator) -> list[Tree]:
    trees = []

    def add(x: float, z: float, high: float, bush: bool = False, leaves: int | None = None) -> None:
        pixels = int(np.clip(1.7 * high * layout.view.focal_px / z, 24, 700))
        kind = int(rng.choice([0, 0, 1, 2, 3])) if leaves is None else leaves
        patch = make_tree(rng, pixels, kind, bush=bush, slim=float(rng.uniform(0.85, 1.1)))
        trees.append(Tree(patch, x, z, high))

    edge = layout.half_road + layout.walk
    for z in np.arange(24, 130, 11.5):
        add(
            float(layout.road_at(float(z))) + edge + float(rng.uniform(1.2, 2.2)),
            float(z),
            float(rng.uniform(6.5, 9)),
        )
    for _ in range(9):
        add(float(rng.uniform(22, 60)), float(rng.uniform(48, 110)), float(rng.uniform(7, 12)))
    for _ in range(8):
        z = float(rng.uniform(16, 60))
        add(
            float(layout.road_at(z)) + edge + float(rng.uniform(3, 20)), z, float(rng.uniform(0.8, 1.6)), True
        )
    for z in rng.uniform(17, 50, 6):
        add(float(layout.road_at(float(z))) - edge - 1.2, float(z), float(rng.uniform(0.8, 1.3)), True)
    add(
        edge + layout.road_x + float(rng.uniform(3.0, 4.4)),
        float(rng.uniform(16, 18)),
        float(rng.uniform(6.4, 7.6)),
    )
    add(-edge - 1.6 + layout.road_x, float(rng.uniform(13.5, 15)), float(rng.uniform(4.6, 5.4)), False, 1)
    trees.sort(key=lambda tree: -tree.z)
    return trees


def _routes(layout: Layout) -> tuple[Plane, ...]:
    """Ways along the pavements and over the crossing."""
    z = layout.crossing_z
    side = layout.half_road + layout.walk / 2

    def at(sign: float, distance: float, inset: float = 0.0) -> tuple[float, float]:
        return float(layout.road_at(distance)) + sign * (side + inset), distance

    over = [at(-1, 46), at(-1, 30), at(-1, z), at(1, z), at(1, 30), at(1, 60)]
    back = [at(1, 52, 0.4), at(1, 34, 0.4), at(1, z + 0.8, 0.4), at(-1, z + 0.8), at(-1, 7)]
    down = [at(-1, 40, 0.5), at(-1, 24, 0.5), at(-1, 7, 0.5)]
    up = [at(1, 7, -0.4), at(1, 24, -0.4), at(1, 44, -0.4), at(1, 70, -0.4)]
    return tuple(np.array(route, np.float32) for route in (over, up, back, down))


def paint_static(plan: ScenePlan, enlarge: int) -> Canvas:
    """Everything that does not move, on a canvas `enlarge` times the stage's size."""
    stage = plan.layout.view
    size = (stage.size[0] * enlarge, stage.size[1] * enlarge)
    center = (stage.center_px[0] * enlarge, stage.center_px[1] * enlarge)
    view = View(size, stage.focal_px * enlarge, center, stage.height_m)
    layout = replace(plan.layout, view=view)
    rng = np.random.default_rng((plan.seed, 4))
    canvas = Canvas(view)
    paint_ground(canvas, layout, rng)
    paint_tufts(canvas, rng)
    for house in plan.houses:
        paint_house_shadow(canvas, house)
    for tree in (*plan.trees, *plan.swaying):
        paint_tree_shadow(canvas, tree.patch, tree.x, tree.z, tree.high_m)
    paint_hills(canvas, rng)
    things: list[House | Tree | float] = [
        *plan.houses,
        *plan.trees,
        *(float(z) for z in np.arange(21, 100, 19)),
    ]
    things.sort(key=lambda thing: -(thing if isinstance(thing, float) else thing.z))
    for thing in things:
        if isinstance(thing, House):
            paint_house(canvas, thing)
        elif isinstance(thing, Tree):
            paint_tree(canvas, thing.patch, thing.x, thing.z, thing.high_m)
        else:
            _paint_lamp(canvas, float(layout.road_at(thing)) + layout.half_road + 0.5, thing)
    _paint_sign(canvas, float(layout.road_at(15.5)) + layout.half_road + 1.8, 15.5)
    return canvas


def _paint_lamp(canvas: Canvas, x: float, z: float) -> None:
    """A street lamp: pole, arm and head."""
    patch = Patch((340, 120), light.METAL)
    mask = np.zeros(patch.alpha.shape, np.uint8)
    cv2.line(mask, (100, 340), (100, 30), 255, 6)
    cv2.ellipse(mask, (70, 30), (30, 22), 0, 270, 360, 255, 5)
    cv2.line(mask, (70, 8), (44, 8), 255, 5)
    head = np.zeros(patch.alpha.shape, np.uint8)
    cv2.ellipse(head, (34, 11), (20, 7), 0, 0, 360, 255, cv2.FILLED)
    patch.blend(head.astype(np.float32) / 255, LAMP_GLASS)
    patch.shade[:, :100] = 1.15
    patch.shade[:, 100:] = 0.6
    patch.alpha[:] = np.maximum(mask, head).astype(np.float32) / 255
    _upright(canvas, patch, x, z, 7.0, light.POLE)


def _paint_sign(canvas: Canvas, x: float, z: float) -> None:
    """A round traffic sign on its post."""
    patch = Patch((260, 80), light.METAL)
    post, disk, inner = (np.zeros(patch.alpha.shape, np.uint8) for _ in range(3))
    cv2.line(post, (40, 260), (40, 30), 255, 6)
    cv2.circle(disk, (40, 36), 33, 255, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(inner, (40, 36), 23, 255, cv2.FILLED, cv2.LINE_AA)
    patch.blend(disk.astype(np.float32) / 255, SIGN_RED)
    patch.blend(inner.astype(np.float32) / 255, SIGN_WHITE)
    patch.alpha[:] = np.maximum(post, disk).astype(np.float32) / 255
    _upright(canvas, patch, x, z, 2.6, light.SIGN)


def _upright(canvas: Canvas, patch: Patch, x: float, z: float, high_m: float, label: int) -> None:
    half = high_m * patch.alpha.shape[1] / patch.alpha.shape[0] / 2
    corners = [[x - half, high_m, z], [x + half, high_m, z], [x + half, 0, z], [x - half, 0, z]]
    canvas.quad(patch, np.array(corners, np.float32), sun=0.6, sky=0.9, label=label)

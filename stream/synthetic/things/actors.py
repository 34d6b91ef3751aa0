"""What moves in a synthetic scene: where each thing is at a time, and in which pose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Patch, View
from irchroma.stream.synthetic.texture import Plane
from irchroma.stream.synthetic.things.ground import Layout
from irchroma.stream.synthetic.things.person import HEIGHT_M, PHASES, STRIDE_M, draw_person, person_materials
from irchroma.stream.synthetic.things.sprite import Sprite
from irchroma.stream.synthetic.things.tree import stand
from irchroma.stream.synthetic.things.vehicle import CarView, car_materials, draw_car

FADE_M = 12.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A thing at one moment.

    Attributes:
        sprite: its pose.
        transform: (2, 3) from sprite pixels to stage pixels.
        distance_m: from the camera.
        opacity: of things that come into being far off.
        shadow: what throws its shadow, and that one's transform.
    """

    sprite: Sprite
    transform: Plane
    distance_m: float
    opacity: float = 1.0
    shadow: tuple[Sprite, Plane] | None = None


Actor = Callable[[float], Placed | None]
"""Gives the thing at a time in seconds, None where it is not in the scene."""


def make_walker(layout: Layout, route: Plane, rng: np.random.Generator, night: bool) -> Actor:
    """A person who walks along a route (N, 2) of (x, z) meters, and starts again at its end."""
    view = layout.view
    speed = float(rng.uniform(1.2, 1.6))
    start = float(rng.uniform(0, 1))
    bag = bool(rng.random() < 0.4)
    legs = np.diff(route, axis=0)
    lengths = np.hypot(legs[:, 0], legs[:, 1])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    headings = [round(float(np.arctan2(dx, dz)) / (np.pi / 4)) % 8 for dx, dz in legs]
    materials = person_materials(rng)
    scale = max(24.0, view.focal_px / 9.0)

    @cache  # drawn when first seen: all poses of all ways together take seconds
    def pose(eighth: int, phase: int) -> Sprite:
        patch = draw_person(materials, eighth * np.pi / 4, phase, scale, bag)
        return Sprite(patch, light.PEDESTRIAN, sun=0.95, sky=0.9, night=night)

    def place(t: float) -> Placed | None:
        way = (start * ends[-1] + speed * t) % ends[-1]
        leg = min(int(np.searchsorted(ends, way, "right")) - 1, len(legs) - 1)
        x, z = route[leg] + legs[leg] * ((way - ends[leg]) / lengths[leg])
        sprite = pose(headings[leg], int(way / STRIDE_M * PHASES) % PHASES)
        rows, columns = sprite.size
        transform = _at_foot(view, x, z) @ _own_meters((columns / 2, rows), rows / HEIGHT_M)
        opacity = float(np.clip(0.6 * min(way, ends[-1] - way), 0, 1))
        shadow = (sprite, _thrown(view, x, z, sprite.size))
        return Placed(sprite, transform, float(z), opacity, shadow)

    return place


def _at_foot(view: View, x: float, z: float) -> Plane:
    """(2, 3) from meters right of and below a place on the ground to stage pixels."""
    foot = view.project(np.array([[x, 0, z]], np.float32))[0]
    size = view.focal_px / z
    return np.array([[size, 0, foot[0]], [0, size, foot[1]]], np.float64)


def _own_meters(anchor: tuple[float, float], px_per_m: float) -> Plane:
    """(3, 3) from pixels of a picture to meters from its anchor pixel."""
    scale = 1 / px_per_m
    return np.array([[scale, 0, -anchor[0] * scale], [0, scale, -anchor[1] * scale], [0, 0, 1]], np.float64)


def _thrown(view: View, x: float, z: float, size: tuple[int, ...]) -> Plane:
    """(2, 3) that lays an upright picture of a person down as its shadow."""
    rows, columns = size
    half = HEIGHT_M * columns / rows / 2
    reach = -light.SUN * (HEIGHT_M / light.SUN[1])
    world = np.array([[x - half, 0, z], [x + half, 0, z], [x + reach[0], 0, z + reach[2]]], np.float32)
    source = np.array([[0, rows, 1], [columns, rows, 1], [columns / 2, 0, 1]], np.float64)
    return np.asarray(np.linalg.solve(source, view.project(world).astype(np.float64)).T)


def make_driver(layout: Layout, coming: bool, rng: np.random.Generator, night: bool) -> Actor:
    """A car that drives along its lane, and starts again at the far or the near end."""
    view = layout.view
    near, far, count = 3.2 * view.height_m * 0.42, 130.0, 36
    lane = (-1 if coming else 1) * layout.half_road / 2
    speed = float(rng.uniform(7.5, 10.5))
    loop = far - near + float(rng.uniform(5, 45))
    start = float(rng.uniform(0, loop))
    materials = car_materials(rng)
    stops = np.geomspace(max(near, 2.5), far, count)

    @cache
    def seen_from(index: int) -> tuple[CarView, Sprite, Sprite]:
        z = float(stops[index])
        yaw = float(np.arctan(2 * layout.bend * z))
        car = draw_car(view, (float(layout.road_at(z)) + lane, z), yaw, coming, materials)
        flat = Patch((car.shadow.shape[0], car.shadow.shape[1]), light.TYRE)
        flat.alpha[:] = car.shadow
        body = Sprite(car.patch, light.CAR, sun=1.0, sky=0.75, night=night)
        return car, body, Sprite(flat, light.ROAD, sun=0.0, sky=0.0, night=night)

    def place(t: float) -> Placed | None:
        way = (start + speed * t) % loop
        z = far - way if coming else near + way
        if not near < z < far:
            return None
        index = int(np.argmin(np.abs(np.log(stops / z))))
        car, body, shadow = seen_from(index)
        x = float(layout.road_at(z)) + lane
        transform = _at_foot(view, x, z) @ _own_meters(car.anchor, car.px_per_m)
        opacity = float(np.clip((far - z) / FADE_M, 0, 1))
        return Placed(body, transform, z, opacity, (shadow, transform))

    return place


def make_swayer(
    layout: Layout, patch: Patch, x: float, z: float, high_m: float, rng: np.random.Generator, night: bool
) -> Actor:
    """A tree in the wind: its foot stays, its crown moves by a few pixels."""
    sprite = Sprite(patch, light.TREE, sun=0.9, sky=0.75, night=night)
    phase, slow = rng.uniform(0, 2 * np.pi, 2)

    left, top, scale = stand(layout.view, patch, x, z, high_m)

    def place(t: float) -> Placed | None:
        gust = 0.006 * np.sin(0.9 * t + slow) + 0.004 * np.sin(2.6 * t + phase)
        rows = patch.alpha.shape[0]
        transform = np.array(
            [[scale, -gust * scale, left + gust * scale * rows], [0, scale, top]], np.float64
        )
        return Placed(sprite, transform, z)

    return place

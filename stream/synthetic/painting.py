"""The static picture of a synthetic scene: ground, shadows, then everything from far to near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Canvas, Patch, View
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.plan import ScenePlan
from irchroma.stream.synthetic.things.building import paint_house, paint_house_shadow
from irchroma.stream.synthetic.things.ground import Layout, paint_ground, paint_hills
from irchroma.stream.synthetic.things.tree import paint_tree, paint_tree_shadow, paint_tufts
from irchroma.stream.synthetic.things.vehicle import car_materials, draw_car

SIGN_RED = Material((206, 32, 36), 0.60, 15, 7, 3)
SIGN_WHITE = Material((240, 240, 238), 0.70, 15, 6, 3)
LAMP_GLASS = Material((230, 232, 226), 0.50, 14, 6, 11)


def enlarged(stage: View, enlarge: int) -> View:
    """What the same camera sees with `enlarge` times as many pixels on each side."""
    size = (stage.size[0] * enlarge, stage.size[1] * enlarge)
    center = (stage.center_px[0] * enlarge, stage.center_px[1] * enlarge)
    return View(size, stage.focal_px * enlarge, center, stage.height_m)


def paint_static(plan: ScenePlan, enlarge: int) -> Canvas:
    """Everything that does not move, on a canvas `enlarge` times the stage's size."""
    view = enlarged(plan.layout.view, enlarge)
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
    lamps = tuple(float(z) for z in np.arange(21, 100, 19))
    things: list[tuple[float, Callable[[], None]]] = []
    things += [(house.z, partial(paint_house, canvas, house)) for house in plan.houses]
    things += [(t.z, partial(paint_tree, canvas, t.patch, t.x, t.z, t.high_m)) for t in plan.trees]
    things += [(z, partial(_paint_lamp, canvas, float(layout.kerb_at(z, 1)) + 0.5, z)) for z in lamps]
    things += [(z, partial(_paint_parked, canvas, layout, z, seed)) for z, seed in plan.parked]
    things.append((15.5, partial(_paint_sign, canvas, float(layout.kerb_at(15.5, 1)) + 1.8, 15.5)))
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
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


def _paint_parked(canvas: Canvas, layout: Layout, z: float, seed: int) -> None:
    """A car at the left kerb, cold."""
    rng = np.random.default_rng((seed, 9))
    x = float(layout.kerb_at(z, -1)) + 1.15
    yaw = float(np.arctan(2 * layout.bend * z))
    cold = tuple(
        replace(material, celsius=min(material.celsius, 16.0), night=min(material.night, 7.0))
        for material in car_materials(rng)
    )
    car = draw_car(canvas.view, (x, z), yaw, bool(rng.random() < 0.5), cold)
    scale = canvas.view.focal_px / (z * car.px_per_m)
    foot = canvas.view.project(np.array([[x, 0, z]], np.float32))[0] - np.array(car.anchor) * scale
    place = np.array([[scale, 0, foot[0]], [0, scale, foot[1]], [0, 0, 1]], np.float32)
    dark = cv2.warpAffine(car.shadow, place[:2], canvas.view.size[::-1])
    on_ground = canvas.depth > z - 1.5
    canvas.light[..., 0] *= 1 - dark * on_ground
    canvas.light[..., 1] *= 1 - 0.5 * dark * on_ground
    canvas.paint(car.patch, place, sun=1.0, sky=0.75, depth=z, label=light.CAR)

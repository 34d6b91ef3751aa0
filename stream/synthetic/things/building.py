"""Houses and street furniture of a synthetic scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Canvas, Patch
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.texture import fractal

WALLS = (
    Material((226, 205, 168), 0.62, 14, 9, 7.5),  # ochre render
    Material((232, 226, 214), 0.68, 14, 8, 7.5),  # white render
    Material((164, 92, 70), 0.50, 14.5, 11, 8.5),  # brick
    Material((206, 158, 128), 0.58, 14, 10, 7.5),  # salmon render
    Material((176, 184, 186), 0.46, 14, 9, 7),  # gray concrete
    Material((222, 190, 118), 0.60, 14, 9, 7.5),  # yellow render
)
ROOFS = (Material((150, 78, 56), 0.42, 14, 20, 3), Material((92, 90, 94), 0.24, 14, 22, 3))
FRAMES = Material((238, 236, 230), 0.70, 14, 6, 7)
SHUTTERS = (
    Material((58, 96, 78), 0.38, 14, 9, 6),
    Material((128, 56, 44), 0.48, 14, 9, 6),
    Material((84, 104, 134), 0.40, 14, 9, 6),
)
DOORS = (Material((104, 60, 38), 0.45, 14, 8, 7), Material((44, 66, 90), 0.35, 14, 8, 7))
STONE = Material((190, 182, 168), 0.50, 14, 8, 7.5)
CURTAIN = Material((206, 200, 190), 0.55, 14, 1, 11)
PX_PER_M = 26


@dataclass(frozen=True, slots=True)
class House:
    """A house beside the road; meters.

    Attributes:
        x: of the long wall that faces the road.
        outward: +1 where that wall looks right, -1 left.
        z: of its near end.
        length: along the road.
        depth: away from the road.
        height: of the walls.
        gable: height of the ridge above the walls, 0 for a flat roof.
        wall, roof: indices of its materials.
        seed: of its details.
    """

    x: float
    outward: int
    z: float
    length: float
    depth: float
    height: float
    gable: float
    wall: int
    roof: int
    seed: int


def paint_house_shadow(canvas: Canvas, house: House) -> None:
    """The shadow of a house on the ground."""
    x = np.array([house.x, house.x - house.outward * house.depth])
    z = np.array([house.z, house.z + house.length])
    feet = np.array([[a, 0, b] for a in x for b in z], np.float32)
    tops = [feet + np.array([0, house.height, 0], np.float32)]
    if house.gable:
        middle = float(x.mean())
        tops.append(np.array([[middle, house.height + house.gable, b] for b in z], np.float32))
    roof = np.concatenate(tops)
    cast = roof - light.SUN * (roof[:, 1:2] / light.SUN[1])
    pixels = canvas.view.project(np.concatenate([feet, cast]).astype(np.float32))
    mask = np.zeros(canvas.view.size, np.uint8)
    hull = cv2.convexHull(np.clip(pixels, -4e3, 1e4))
    cv2.fillConvexPoly(mask, np.round(hull * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    dark = mask.astype(np.float32) / 255
    canvas.light[..., 0] *= 1 - dark
    canvas.light[..., 1] *= 1 - 0.15 * dark


def paint_house(canvas: Canvas, house: House) -> None:
    """The walls and the roof that can be seen."""
    rng = np.random.default_rng((house.seed, 11))
    far_x = house.x - house.outward * house.depth
    z0, z1, top = house.z, house.z + house.length, house.height
    long_wall = _wall(rng, house.length, top, house, door=True)
    end_wall = _wall(rng, house.depth, top, house, door=False)
    normal = np.array([house.outward, 0, 0], np.float32)
    side_sun = max(float(normal @ light.SUN), 0.0)
    end_sun = max(float(-light.SUN[2]), 0.0)
    left, right = sorted((house.x, far_x))
    if house.gable:
        ridge_x, ridge = (left + right) / 2, top + house.gable
        slope = np.array([house.outward * house.gable, house.depth / 2, 0], np.float32)
        slope_sun = max(float(slope @ light.SUN / np.linalg.norm(slope)), 0.0)
        eaves = house.x + house.outward * 0.5
        drop = top - 0.5 * house.gable / (house.depth / 2)
        roof = _roof(rng, house.length + 0.6, float(np.hypot(house.depth / 2 + 0.5, house.gable)), house.roof)
        corners = [
            [ridge_x, ridge, z0 - 0.3],
            [ridge_x, ridge, z1 + 0.3],
            [eaves, drop, z1 + 0.3],
            [eaves, drop, z0 - 0.3],
        ]
        if house.outward < 0:
            corners = [corners[i] for i in (1, 0, 3, 2)]
    wall_corners = [[house.x, top, z0], [house.x, top, z1], [house.x, 0, z1], [house.x, 0, z0]]
    if house.outward < 0:
        wall_corners = [wall_corners[i] for i in (1, 0, 3, 2)]
    label = light.BUILDING
    canvas.quad(long_wall, np.array(wall_corners, np.float32), sun=side_sun, sky=0.8, label=label)
    end = np.array([[left, top, z0], [right, top, z0], [right, 0, z0], [left, 0, z0]], np.float32)
    canvas.quad(end_wall, end, sun=end_sun, sky=0.8, label=label)
    if house.gable:
        gable = _gable(rng, house)
        peak = np.array(
            [[left, ridge, z0], [right, ridge, z0], [right, top, z0], [left, top, z0]], np.float32
        )
        canvas.quad(gable, peak, sun=end_sun, sky=0.85, label=label)
        canvas.quad(roof, np.array(corners, np.float32), sun=slope_sun, sky=0.95, label=label)


def _plain(rng: np.random.Generator, wide_m: float, high_m: float, material: Material, brick: bool) -> Patch:
    size = (max(8, int(high_m * PX_PER_M)), max(8, int(wide_m * PX_PER_M)))
    patch = Patch(size, material)
    patch.vary(fractal(rng, size, 3 * PX_PER_M, 6), 0.06, 0.05, 0.6)
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None, :]
    if brick:
        course = max(3, PX_PER_M // 6)
        joint = (rows % course == 0) | ((columns + (rows // course % 2) * course) % (2 * course) == 0)
        patch.vary(-joint.astype(np.float32), 0.16, 0.12, 0.0)
    runs = fractal(rng, size, PX_PER_M, 4, 0.6, stretch=0.12)  # rain has washed dirt down
    dirt = np.clip(rows / size[0] * 1.6 - 0.9, 0, 1) + 0.3 * np.clip(runs, 0, 2)
    patch.vary(-dirt.astype(np.float32), 0.14, 0.10, 0.0)
    return patch


def _wall(rng: np.random.Generator, wide_m: float, high_m: float, house: House, door: bool) -> Patch:
    patch = _plain(rng, wide_m, high_m, WALLS[house.wall], house.wall == 2)
    floors = max(1, round(high_m / 3.0))
    across = max(1, int((wide_m - 0.8) / (2.5 + 0.5 * rng.random())))
    pitch, storey = wide_m / across, high_m / floors
    shutters = SHUTTERS[int(rng.integers(len(SHUTTERS)))] if rng.random() < 0.65 else None
    door_at = int(rng.integers(across)) if door else -1
    glazed = 1.0 if house.gable else 1.5
    for floor in range(floors):
        y = high_m - (floor + 1) * storey
        for column in range(across):
            x = (column + 0.5) * pitch
            if floor == 0 and column == door_at:
                _box(patch, x - 0.62, high_m - 2.35, 1.24, 2.35, STONE)
                _box(patch, x - 0.5, high_m - 2.2, 1.0, 2.2, DOORS[int(rng.integers(2))])
                _box(patch, x - 0.3, high_m - 2.0, 0.6, 0.6, light.GLASS)
            else:
                _window(patch, rng, x, y + 0.62, min(glazed, pitch - 0.7), storey * 0.5, shutters)
    for floor in range(1, floors):
        if not house.gable:
            _box(patch, 0, floor * storey - 0.09, wide_m, 0.18, STONE)
    _box(patch, 0, 0, wide_m, 0.28, STONE if not house.gable else FRAMES)
    _shade(patch, 0, 0.28, wide_m, 0.5, 0.55)
    _box(patch, 0, high_m - 0.5, wide_m, 0.5, STONE)
    return patch


def _window(
    patch: Patch,
    rng: np.random.Generator,
    x: float,
    y: float,
    wide: float,
    high: float,
    shutters: Material | None,
) -> None:
    left = x - wide / 2
    _box(patch, left - 0.12, y - 0.12, wide + 0.24, high + 0.24, FRAMES)
    _box(patch, left, y, wide, high, light.GLASS)
    rows = slice(int(y * PX_PER_M), int((y + high) * PX_PER_M))
    columns = slice(int(left * PX_PER_M), int((left + wide) * PX_PER_M))
    pane = patch.rgb[rows, columns]
    if pane.size:  # the sky mirrored in the upper part, a curtain behind some
        fade = np.linspace(1, 0, pane.shape[0], dtype=np.float32)[:, None, None]
        pane += fade**1.5 * np.array([0.10, 0.15, 0.22], np.float32) * rng.uniform(0.3, 1.2)
        patch.nir[rows, columns] += 0.04 * fade[..., 0]
        patch.thermal[rows, columns, 0] -= 3 * fade[..., 0] * rng.uniform(0.5, 1.5)
        patch.thermal[rows, columns, 2] += rng.uniform(0, 5)
    if rng.random() < 0.45:
        share = rng.uniform(0.15, 0.4)
        _box(patch, left, y, wide * share, high, CURTAIN)
        _box(patch, left + wide * (1 - share), y, wide * share, high, CURTAIN)
    _box(patch, x - 0.03, y, 0.07, high, FRAMES)
    _box(patch, left, y + high * 0.33, wide, 0.06, FRAMES)
    _shade(patch, left, y, wide, 0.16, 0.4)
    _box(patch, left - 0.2, y + high + 0.1, wide + 0.4, 0.1, STONE)
    _shade(patch, left - 0.2, y + high + 0.2, wide + 0.4, 0.12, 0.6)
    if shutters is not None:
        for start in (left - 0.14 - wide * 0.45, left + wide + 0.14):
            _box(patch, start, y - 0.05, wide * 0.45, high + 0.1, shutters)
            for k in range(int(high / 0.14)):
                _shade(patch, start, y + 0.14 * k, wide * 0.45, 0.05, 0.78)


def _slices(patch: Patch, x: float, y: float, wide: float, high: float) -> tuple[slice, slice]:
    rows = slice(max(0, round(y * PX_PER_M)), max(0, round((y + high) * PX_PER_M)))
    return rows, slice(max(0, round(x * PX_PER_M)), max(0, round((x + wide) * PX_PER_M)))


def _box(patch: Patch, x: float, y: float, wide: float, high: float, material: Material) -> None:
    patch.fill(*_slices(patch, x, y, wide, high), material)


def _shade(patch: Patch, x: float, y: float, wide: float, high: float, factor: float) -> None:
    patch.shade[_slices(patch, x, y, wide, high)] *= factor


def _gable(rng: np.random.Generator, house: House) -> Patch:
    patch = _plain(rng, house.depth, house.gable, WALLS[house.wall], house.wall == 2)
    high, wide = patch.alpha.shape
    if house.gable > 2.2:
        _window(patch, rng, house.depth / 2, house.gable - 1.5, 0.8, 0.9, None)
    mask = np.zeros((high, wide), np.uint8)
    cv2.fillConvexPoly(mask, np.array([[0, high], [wide, high], [wide // 2, 0]]), 255, cv2.LINE_AA)
    patch.alpha[:] = mask / np.float32(255)
    return patch


def _roof(rng: np.random.Generator, long_m: float, slope_m: float, roof: int) -> Patch:
    size = (max(8, int(slope_m * PX_PER_M)), max(8, int(long_m * PX_PER_M)))
    patch = Patch(size, ROOFS[roof])
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None, :]
    course = PX_PER_M // 4
    wave = np.where(rows % course < 2, -1.6, 0.2) + 0.7 * np.sin(columns * (2 * np.pi / course))
    single = rng.standard_normal((size[0] // course + 1, size[1] // course + 1)).astype(np.float32)
    blocks = cv2.resize(single, size[::-1], interpolation=cv2.INTER_NEAREST)
    patch.vary(wave.astype(np.float32), 0.09, 0.09, 0.2)
    patch.vary(blocks, 0.08, 0.06, 0.3)
    patch.vary(fractal(rng, size, 2.5 * PX_PER_M, 5), 0.10, 0.08, 0.8)
    return patch

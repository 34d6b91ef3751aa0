"""A car of a synthetic scene: a small lofted mesh drawn in true perspective from where it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Patch, View
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.things.sprite import patch_of_parts

Array = NDArray[np.float64]

PAINTS = (
    (176, 30, 34), (34, 74, 142), (214, 216, 218), (44, 46, 52), (222, 170, 44), (128, 136, 142),
    (30, 98, 92), (240, 240, 236),
)  # fmt: skip
# station (m from the tail), sill, waist and roof height, half widths at sill, waist and roof
SECTIONS = np.array([
    (0.00, 0.42, 0.70, 0.74, 0.70, 0.74, 0.66),
    (0.10, 0.28, 0.92, 0.97, 0.80, 0.81, 0.68),
    (0.38, 0.24, 0.97, 1.06, 0.84, 0.84, 0.66),
    (0.85, 0.22, 0.97, 1.38, 0.86, 0.85, 0.60),
    (1.45, 0.22, 0.95, 1.47, 0.87, 0.86, 0.60),
    (2.20, 0.22, 0.93, 1.46, 0.87, 0.86, 0.60),
    (2.62, 0.22, 0.92, 1.37, 0.87, 0.86, 0.60),
    (3.30, 0.22, 0.90, 0.96, 0.86, 0.84, 0.70),
    (3.85, 0.24, 0.80, 0.86, 0.85, 0.82, 0.66),
    (4.18, 0.28, 0.68, 0.73, 0.80, 0.77, 0.58),
    (4.28, 0.40, 0.56, 0.60, 0.70, 0.68, 0.50),
])  # fmt: skip
LENGTH_M = 4.28
FINEST_PX_PER_M = 80.0
PAINT, PANE, BLACK, RED, WHITE, RUBBER, HUB, HOT, PLATE, SHADE = range(10)


@dataclass(frozen=True, slots=True)
class CarView:
    """A car as seen from one place on its way.

    Attributes:
        patch: the picture of it with its shadow on the road in `shadow`.
        shadow: (h, w) float32 coverage, same grid.
        anchor: pixel of the patch where the middle of its tail or nose touches the road.
        px_per_m: of the patch at the anchor's distance.
    """

    patch: Patch
    shadow: NDArray[np.float32]
    anchor: tuple[float, float]
    px_per_m: float


def car_materials(rng: np.random.Generator) -> tuple[Material, ...]:
    """Paint, panes, trim, lights, tyres, hub, exhaust, plate; the engine has warmed the bonnet."""
    color = PAINTS[int(rng.integers(len(PAINTS)))]
    return (
        Material(color, float(rng.uniform(0.25, 0.6)), 16, 8, 7),
        light.GLASS,
        Material((34, 34, 36), 0.06, 24, 5, 18),
        Material((190, 24, 22), 0.40, 18, 5, 12),
        Material((236, 236, 226), 0.60, 34, 4, 30),
        Material((36, 36, 38), 0.05, 40, 3, 36),
        Material((150, 152, 156), 0.35, 36, 3, 33),
        Material((70, 62, 56), 0.20, 88, 0, 84),
        Material((236, 232, 190), 0.60, 17, 4, 10),
        Material((24, 26, 30), 0.04, 19, 0, 13),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a car is and how it is looked at; parts are drawn at `zoom` times the view's resolution."""

    view: View
    position: tuple[float, float]
    yaw: float
    coming: bool
    zoom: float

    def world(self, points: Array) -> Array:
        """(N, 3) of (side, up, station) to meters in the scene."""
        forward = np.array([np.sin(self.yaw), 0.0, np.cos(self.yaw)])
        right = np.array([np.cos(self.yaw), 0.0, -np.sin(self.yaw)])
        station = LENGTH_M - points[:, 2] if self.coming else points[:, 2]
        side = -points[:, 0] if self.coming else points[:, 0]
        origin = np.array([self.position[0], 0.0, self.position[1]])
        return np.asarray(
            origin + side[:, None] * right + points[:, 1:2] * [0, 1, 0] + station[:, None] * forward
        )

    def project(self, points: Array) -> Array:
        """(N, 3) meters in the scene to (N, 2) pixels right of and below the vanishing point."""
        z = np.maximum(points[:, 2], 0.5)
        x = self.zoom * self.view.focal_px * points[:, 0] / z
        y = self.zoom * self.view.focal_px * (self.view.height_m - points[:, 1]) / z
        return np.stack([x, y], 1)


def draw_car(
    view: View, position: tuple[float, float], yaw: float, coming: bool, materials: tuple[Material, ...]
) -> CarView:
    """A car whose nearer end is at ground `position` (x, z).

    Args:
        view: the camera; its focal length decides the patch's resolution.
        position: meters.
        yaw: direction of its length axis, radians from straight ahead to the right.
        coming: shows its nose; else its tail.
        materials: from `car_materials`.
    """
    zoom = 2 * min(1.0, FINEST_PX_PER_M * position[1] / view.focal_px)  # parts are drawn at twice the size
    scale = zoom * view.focal_px / position[1]
    place = _Place(view, position, yaw, coming, zoom)
    outline = place.world(np.concatenate([face for _, face in _faces()]))
    cast = outline - light.SUN * (outline[:, 1:2] / light.SUN[1])
    flat = np.concatenate([place.project(outline), place.project(cast)])
    rim = 4 + round(0.1 * scale)  # for the soft edge of the shadow
    low, high = np.floor(flat.min(0)) - rim, np.ceil(flat.max(0)) + rim
    size = (int(high[1] - low[1]) // 2 * 2, int(high[0] - low[0]) // 2 * 2)
    dark = np.zeros(size, np.uint8)
    hull = cv2.convexHull((place.project(cast) - low).astype(np.float32))
    cv2.fillConvexPoly(dark, np.round(hull).astype(np.int32), 255, cv2.LINE_AA)
    parts, shade = _painted(place, low, size)
    soft = 2 * round(0.035 * scale) + 1
    patch = patch_of_parts(parts, cv2.blur(shade, (soft, soft)), materials)
    small = (size[1] // 2, size[0] // 2)
    flat_shadow = cv2.resize(dark, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    shadow = cv2.GaussianBlur(flat_shadow, (0, 0), max(0.4, 0.025 * scale))
    anchor = (place.project(np.array([[position[0], 0.0, position[1]]]))[0] - low) / 2
    return CarView(patch, shadow, (float(anchor[0]), float(anchor[1])), scale / 2)


def _painted(place: _Place, low: Array, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W) material of each pixel, from 1 on, and its light, far faces first; `low`: the corner's pixel."""
    parts, shade = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for material, points, normal in _seen_faces(place):
        pixels = np.round((place.project(points) - low) * 16).astype(np.int32)
        up = max(float(normal[1]), 0.0)
        lit = 38 + 84 * max(float(normal @ light.SUN), 0.0) + 26 * up
        if material == PANE:  # what glass and clear coat mirror: bright above, dark road below
            lit += 70 * up**2
        elif material == PAINT:
            lit += 16 * up
        cv2.fillConvexPoly(parts, pixels, material + 1, cv2.LINE_8, 4)
        cv2.fillConvexPoly(shade, pixels, int(np.clip(lit, 0, 255)), cv2.LINE_8, 4)
    _mirror_sky(parts, shade)
    return parts, shade


def _seen_faces(place: _Place) -> list[tuple[int, Array, Array]]:
    """(material, corners in the scene, normal) of faces that look at the camera, far ones first.

    What is fixed to the body counts as 0.35 m nearer, to lie upon it.
    """
    eye = np.array([0.0, place.view.height_m, 0.0])
    seen = []
    for material, face in _faces():
        points = place.world(face)
        normal = _cross(points[1] - points[0], points[2] - points[0])
        normal /= np.linalg.norm(normal) + 1e-9
        toward = eye - points.mean(0)
        if normal @ toward > 0:
            nearer_m = 0.0 if material in (PAINT, PANE) else 0.35
            seen.append((-float(np.linalg.norm(toward)) + nearer_m, material, points, normal))
    return [one[1:] for one in sorted(seen, key=lambda item: item[0])]


def _mirror_sky(parts: NDArray[np.uint8], shade: NDArray[np.uint8]) -> None:
    """Panes are brighter at their top, where they mirror the sky, and dark inside below."""
    panes = parts == PANE + 1
    rows = np.flatnonzero(panes.any(1))
    if rows.size:
        fall = np.linspace(1.5, 0.55, rows[-1] - rows[0] + 1)[:, None]
        part = np.s_[rows[0] : rows[-1] + 1]
        shade[part] = np.where(panes[part], np.clip(shade[part] * fall, 0, 255), shade[part]).astype(np.uint8)


@cache
def _faces() -> list[tuple[int, Array]]:
    """Polygons (material, (N, 3) of side, up, station), counter-clockwise seen from outside."""
    faces: list[tuple[int, Array]] = []
    for a, b in pairwise(SECTIONS):
        tall = min(a[3] - a[2], b[3] - b[2]) > 0.2
        steep = abs(b[3] - a[3]) / (b[0] - a[0]) > 0.25 and min(a[3], b[3]) > 0.93 and max(a[3], b[3]) > 1.3
        for side in (1, -1):
            ring_a = [
                (side * a[4], a[1]),
                (side * (a[5] + 0.02), (a[1] + a[2]) / 2),
                (side * a[5], a[2]),
                (side * a[6], a[3]),
                (0, a[3] + 0.02),
            ]
            ring_b = [
                (side * b[4], b[1]),
                (side * (b[5] + 0.02), (b[1] + b[2]) / 2),
                (side * b[5], b[2]),
                (side * b[6], b[3]),
                (0, b[3] + 0.02),
            ]
            for k, material in enumerate((PAINT, PAINT, PANE if tall else PAINT, PANE if steep else PAINT)):
                quad = [
                    (*ring_a[k], a[0]),
                    (*ring_a[k + 1], a[0]),
                    (*ring_b[k + 1], b[0]),
                    (*ring_b[k], b[0]),
                ]
                faces.append((material, _outward(quad, (0, 0.7, (a[0] + b[0]) / 2))))
    middle = (0, 0.6, LENGTH_M / 2)
    for end, sign in ((SECTIONS[0], -1), (SECTIONS[-1], 1)):
        at = end[0] + sign * 0.005
        half = [(end[4], end[1], at), (end[5], end[2], at), (end[6], end[3] + 0.02, at)]
        ring = half + [(-x, y, z) for x, y, z in reversed(half)]
        faces.append((PAINT if sign < 0 else BLACK, _outward(ring, middle)))

    def board(material: int, x0: float, x1: float, y0: float, y1: float, station: float) -> None:
        quad = [(x0, y0, station), (x1, y0, station), (x1, y1, station), (x0, y1, station)]
        faces.append((material, _outward(quad, middle)))

    for side in (1, -1):
        board(RED, side * 0.46, side * 0.74, 0.74, 0.93, -0.02)
        board(WHITE, side * 0.38, side * 0.70, 0.57, 0.70, LENGTH_M + 0.01)
        for station in (0.78, 3.42):
            turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
            for material, radius, out in ((SHADE, 0.38, 0.885), (RUBBER, 0.32, 0.893), (HUB, 0.19, 0.90)):
                ring = [(side * out, 0.31 + radius * np.sin(t), station + radius * np.cos(t)) for t in turn]
                faces.append((material, _outward(ring, (0, 0.4, station))))
        for station in (0.78, 3.42):  # the treads seen from behind and before
            board(RUBBER, side * 0.64, side * 0.84, 0.0, 0.36, 0.12 if station < 2 else LENGTH_M - 0.12)
    board(BLACK, -0.68, 0.68, 0.30, 0.46, -0.015)
    for station in (0.1, LENGTH_M - 0.1):  # the dark below the floor
        board(SHADE, -0.8, 0.8, 0.14, 0.44, station)
    for side in (1, -1):
        board(SHADE, side * 0.30, side * 0.34, 0.55, 0.62, LENGTH_M + 0.015)
    board(PLATE, -0.26, 0.26, 0.52, 0.64, -0.03)
    board(HOT, 0.34, 0.48, 0.26, 0.33, -0.04)
    board(PLATE, -0.26, 0.26, 0.40, 0.50, LENGTH_M + 0.02)
    return faces


def _cross(a: Array, b: Array) -> Array:
    """The cross product of two vectors; `np.cross` takes ten times as long for so few numbers."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _outward(points: list[tuple[float, float, float]], inside: tuple[float, float, float]) -> Array:
    array = np.array(points, np.float64)
    normal = _cross(array[1] - array[0], array[2] - array[0])
    return array if normal @ (array.mean(0) - np.array(inside)) > 0 else array[::-1].copy()

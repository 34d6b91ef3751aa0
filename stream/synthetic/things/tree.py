"""Trees, bushes and grass tufts of a synthetic scene, dab by dab."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic import light
from irchroma.stream.synthetic.canvas import Canvas, Patch, View
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.texture import Plane

LEAVES = (
    light.LEAF,
    Material((96, 124, 44), 0.74, 12.5, 3, 6),  # fresh green
    Material((58, 92, 44), 0.60, 12.5, 3, 6),  # dark green
    Material((150, 120, 44), 0.66, 13, 3.5, 6),  # turning yellow
    light.NEEDLE,
)


def make_tree(
    rng: np.random.Generator, high_px: int, leaves: int, *, bush: bool = False, slim: float = 1.0
) -> Patch:
    """A tree in front of nothing.

    Args:
        rng: source of its shape.
        high_px: height of the patch; its width is 1.05 of that (bushes: 1.6), times `slim`.
        leaves: index into LEAVES.
        bush: foliage down to the ground, no trunk.
        slim: makes it narrower than wide.

    Returns:
        A patch whose middle column at the bottom row stands on the ground.
    """
    wide_px = int(high_px * (1.6 if bush else 1.05) * slim)
    lit = np.zeros((high_px, wide_px, 4), np.uint8)  # shade, tint, wood, coverage
    if not bush:
        _grow(rng, lit, (wide_px / 2, high_px), -np.pi / 2, high_px * 0.27, high_px * 0.024, 4)
    count = 12 if bush else 22
    half = np.array([wide_px * 0.33, high_px * (0.33 if bush else 0.30)])
    center = np.array([wide_px / 2, high_px * (0.60 if bush else 0.39)])
    angles = rng.uniform(0, 2 * np.pi, count)
    radii = np.sqrt(rng.uniform(0.02, 1, count))
    clumps = np.stack([np.cos(angles) * radii, np.sin(angles) * radii, rng.uniform(-0.6, 0.9, count)], 1)
    clumps[:, 2] *= np.sqrt(1 - radii**2 * 0.9)
    for clump in clumps[np.argsort(clumps[:, 2])]:
        size = high_px * float(rng.uniform(0.085, 0.145)) * (0.8 if bush else 1)
        _paint_clump(rng, lit, center + clump[:2] * half, size, clump)
    return _finish(lit, LEAVES[leaves])


def _paint_clump(
    rng: np.random.Generator,
    lit: NDArray[np.uint8],
    middle: NDArray[np.float64],
    size: float,
    place: NDArray[np.float64],
) -> None:
    """A ball of leaves, from the back to the front.

    `middle` and `size` are pixels, `place` (3,) is where in the crown it lies, each axis in [-1, 1].
    """
    sun = light.SUN * np.array([1, -1, -1])  # picture axes: x right, y down, z to the eye
    leaf = max(0.9, lit.shape[0] / 260)
    number = int(np.clip(2.2 * (size / leaf) ** 2, 50, 620))
    points = rng.standard_normal((number, 3))
    points /= np.linalg.norm(points, axis=1)[:, None] * rng.uniform(0.9, 1.7, (number, 1))
    points = points[np.argsort(points[:, 2])]
    normal = 0.60 * points + 0.5 * np.array([place[0], place[1], max(place[2], 0.0)])
    glow = np.clip(0.26 + 0.66 * (normal @ sun), 0.03, 1.0)
    glow *= 0.45 + 0.55 * (points[:, 2] > -0.2)
    shade = np.clip(255 * glow * rng.uniform(0.6, 1.25, number), 6, 255)
    tint = np.clip(128 + 30 * rng.standard_normal(number) + 16 * rng.standard_normal(), 0, 255)
    centers = middle + points[:, :2] * size * [1.2, 0.9]
    radius = leaf * rng.uniform(0.7, 1.7, number)
    turn = np.radians(rng.normal(0, 40, number) + 35 * points[:, 0])
    colors = np.zeros((number, 4), np.uint8)
    colors[:, 0], colors[:, 1], colors[:, 3] = shade, tint, 255
    _dab(lit, centers, radius, turn, colors)


def _dab(
    lit: NDArray[np.uint8],
    centers: NDArray[np.float64],
    radius: NDArray[np.float64],
    turn: NDArray[np.float64],
    colors: NDArray[np.uint8],
) -> None:
    """Opaque leaves, later ones over earlier ones; small ones are round, others 1.5 by 0.85 radii.

    All at once, with hard edges: one call of OpenCV for each leaf took ten times as long, and the patch
    is seen at a third of its size.
    """
    small = radius < 1.2
    long = np.where(small, np.maximum(radius, 0.8), 1.5 * radius)
    short = np.where(small, np.maximum(radius, 0.8), 0.85 * radius)
    reach = int(np.ceil(float(long.max()) + 0.5))
    down, across, powers = _around(reach)
    nearest = np.floor(centers).astype(np.intp)
    x, y = (nearest + 0.5 - centers).T
    # inside where a p^2 + 2 b p q + c q^2 <= 1 at p = x + across, q = y + down: one product of matrices
    cosine, sine = np.cos(turn), np.sin(turn)
    a = (cosine / long) ** 2 + (sine / short) ** 2
    b = cosine * sine * (1 / long**2 - 1 / short**2)
    c = (sine / long) ** 2 + (cosine / short) ** 2
    ellipses = [a, 2 * b, c, 2 * (a * x + b * y), 2 * (b * x + c * y), a * x * x + 2 * b * x * y + c * y * y]
    inside = cv2.gemm(np.array(ellipses, np.float32), powers, 1, None, 0, flags=cv2.GEMM_1_T) <= 1
    leaf, place = np.nonzero(inside)  # in the order of the leaves
    columns, rows = nearest[leaf, 0] + across[place], nearest[leaf, 1] + down[place]
    seen = (rows >= 0) & (rows < lit.shape[0]) & (columns >= 0) & (columns < lit.shape[1])
    lit[rows[seen], columns[seen]] = colors[leaf[seen]]  # of several at one place numpy keeps the last


@lru_cache(maxsize=32)
def _around(reach: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Plane]:
    """Rows and columns (P,) of a square around a pixel, and (6, P) what an ellipse multiplies there."""
    down, across = (plane.reshape(-1) for plane in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    powers = np.array([across**2, across * down, down**2, across, down, np.ones_like(down)], np.float32)
    return down, across, powers


def _grow(
    rng: np.random.Generator, lit: NDArray[np.uint8], foot: tuple[float, float], angle: float, length: float,
    thick: float, left: int,
) -> None:  # fmt: skip
    """A branch and its branches, drawn as lines that get thinner."""
    (x, y), rise, run = foot, length * math.sin(angle), length * math.cos(angle)
    tip = (x + run, y + rise)
    for offset, shade in ((0.0, 90), (-0.25, 170)):
        aside = offset * thick
        start = (round((x + aside) * 16), round(y * 16))
        end = (round((tip[0] + aside) * 16), round(tip[1] * 16))
        width = max(1, round(thick * (1 if offset == 0 else 0.45)))
        cv2.line(lit, start, end, (shade, 128, 255, 255), width, cv2.LINE_AA, 4)
    if left:
        for _ in range(2 + (left > 3)):
            aim = -math.pi / 2 + min(max(angle + math.pi / 2 + rng.normal(0, 0.5), -1.1), 1.1)
            _grow(rng, lit, tip, aim, length * rng.uniform(0.55, 0.82), thick * 0.62, left - 1)


def _finish(lit: NDArray[np.uint8], leaf: Material) -> Patch:
    planes = lit.astype(np.float32) / 255
    patch = Patch(lit.shape[:2], leaf)
    patch.blend(planes[..., 2], light.BARK)
    tint = (planes[..., 1] - 0.5)[..., None]
    patch.rgb *= 1 + tint * np.array([1.5, 0.7, 0.2], np.float32)
    patch.nir *= 1 + 0.25 * tint[..., 0]
    # leaves pass half of the infrared on, so that the inside of a crown is far less dark than to the eye
    patch.nir *= np.clip(1.25 * planes[..., 0], 0.1, 1) ** -0.4
    patch.thermal[..., 0] += 4.0 * (planes[..., 0] - 0.45)
    patch.thermal[..., 2] -= 1.5 * (planes[..., 0] - 0.4)
    patch.shade[:] = np.maximum(planes[..., 0] * 1.25, 0.04)
    patch.alpha[:] = planes[..., 3]
    return patch


def stand(view: View, patch: Patch, x: float, z: float, high_m: float) -> tuple[float, float, float]:
    """Where an upright patch stands in the picture: (left, top, pixels per patch pixel)."""
    scale = high_m / patch.alpha.shape[0] * view.focal_px / z
    foot = view.project(np.array([[x, 0, z]], np.float32))[0]
    return (
        float(foot[0] - patch.alpha.shape[1] / 2 * scale),
        float(foot[1] - patch.alpha.shape[0] * scale),
        scale,
    )


def paint_tree(canvas: Canvas, patch: Patch, x: float, z: float, high_m: float) -> None:
    """A tree that stands still."""
    left, top, scale = stand(canvas.view, patch, x, z, high_m)
    transform = np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]], np.float32)
    canvas.paint(patch, transform, sun=0.9, sky=0.75, depth=z, label=light.TREE)


def paint_tree_shadow(canvas: Canvas, patch: Patch, x: float, z: float, high_m: float) -> None:
    """The shadow of an upright patch, thrown along the ground."""
    half = high_m * patch.alpha.shape[1] / patch.alpha.shape[0] / 2
    reach = -light.SUN * (high_m / light.SUN[1])
    corners = [[x - half + reach[0], 0, z + reach[2]], [x + half + reach[0], 0, z + reach[2]]]
    corners += [[x + half, 0, z], [x - half, 0, z]]
    canvas.shadow(np.minimum(patch.alpha * 1.05, 1), np.array(corners, np.float32), 0.88)


def paint_tufts(canvas: Canvas, rng: np.random.Generator, count: int = 5200) -> None:
    """Blades of grass in the foreground: short strokes where the ground is grass."""
    high, wide = canvas.view.size
    horizon = canvas.view.center_px[1]
    strokes = np.full((high, wide), 128, np.uint8)
    rows = horizon + (high - horizon) * (0.12 + 0.95 * np.sqrt(rng.uniform(0, 1, count)))
    columns = rng.uniform(0, wide, count)
    length = (rows - horizon) * 0.045 * rng.uniform(0.4, 1.3, count)
    lean = rng.normal(0, 0.35, count)
    for x, y, s, k, v in zip(columns, rows, length, lean, rng.integers(30, 245, count), strict=True):
        a = (int(x * 16), int(y * 16))
        b = (int((x + k * s) * 16), int((y - s) * 16))
        cv2.line(strokes, a, b, int(v), 1, cv2.LINE_AA, 4)
    relief = (strokes.astype(np.float32) - 128) / 128 * (canvas.labels == light.GRASS)
    canvas.surface *= (1 + 0.5 * relief)[..., None]
    canvas.heat[..., 0] += 0.8 * relief

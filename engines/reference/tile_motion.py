"""How one structure field has moved against another, from tiles of the picture that each say where to."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference import structure

Matrix = NDArray[np.float64]

TILES = (4, 5)


def tile_motion(field: structure.Field, reference: structure.Field, reach_px: int) -> tuple[Matrix, Matrix]:
    """(2, 3) motions, infrared pixel -> pixel of the warped reference, fitted to the tiles' best shifts: a
    plain shift, and an affine one.

    Each tile's shift counts by how far its best correlation stands above its mean one; a ridge keeps the
    fit near a plain shift where tiles say little, and tiles that contradict the rest lose their weight.
    """
    height, width = field.shape[:2]
    rows = np.linspace(0, height, TILES[0] + 1).astype(int)[:-1]
    columns = np.linspace(0, width, TILES[1] + 1).astype(int)[:-1]
    shifts = range(-reach_px, reach_px + 1)
    scores = np.zeros((len(shifts), len(shifts), *TILES))
    padded = cv2.copyMakeBorder(reference, *(reach_px,) * 4, cv2.BORDER_CONSTANT)
    for i, y in enumerate(shifts):
        for j, x in enumerate(shifts):
            moved = padded[reach_px + y :, reach_px + x :][:height, :width]
            product = (field * moved).sum(2)
            scores[i, j] = np.add.reduceat(np.add.reduceat(product, rows, 0), columns, 1)
    centers_y = (rows + np.append(rows[1:], height) - 1) / 2
    centers_x = (columns + np.append(columns[1:], width) - 1) / 2
    points, found, weights = [], [], []
    for row in range(TILES[0]):
        for column in range(TILES[1]):
            surface = scores[:, :, row, column]
            i, j = (int(index) for index in np.unravel_index(surface.argmax(), surface.shape))
            right, down = float(j - reach_px), float(i - reach_px)
            if 0 < i < surface.shape[0] - 1 and 0 < j < surface.shape[1] - 1:
                right += structure.vertex(surface[i].astype(np.float32), j)
                down += structure.vertex(surface[:, j].astype(np.float32), i)
                weights.append(max(0.0, surface.max() - surface.mean()))
            else:
                weights.append(0.0)
            points.append((centers_x[column], centers_y[row]))
            found.append((right, down))
    fit = (np.array(points), np.array(found), np.array(weights), (height, width))
    return _fit_affine(*fit, ridge=1e3), _fit_affine(*fit, ridge=0.02)


def _fit_affine(
    points: Matrix, shifts: Matrix, weights: Matrix, size: tuple[int, int], ridge: float
) -> Matrix:
    """Weighted least squares of shift = a + B (point - center), outliers reweighted, B held by a ridge."""
    center = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    offsets = (points - center) / max(size)
    design = np.column_stack([np.ones(len(points)), offsets])
    trust = weights / max(weights.max(), 1e-9)
    solution = np.zeros((3, 2))
    scale = trust.copy()
    for _ in range(5):
        held = np.diag([1e-6, ridge, ridge]) * max(scale.sum(), 1e-6)
        normal = design.T @ (design * scale[:, None]) + held
        solution = np.linalg.solve(normal, design.T @ (shifts * scale[:, None]))
        residual = np.linalg.norm(shifts - design @ solution, axis=1)
        scale = trust / (1 + residual**2)  # Cauchy weights, one pixel wide
    bend = solution[1:].T / max(size)
    return np.hstack([np.eye(2) + bend, (solution[0] - bend @ center)[:, None]])

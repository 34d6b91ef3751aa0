"""Lays a color picture of a scene over an infrared one of the same camera, which shakes, turns and zooms.

It goes by how one structure field has moved against another, from tiles that each say where to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
            product = structure.along(field, np.ascontiguousarray(moved))
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


"""(2, 3) float64, infrared -> reference: x and y of both run from 0 to 1, edge to edge of the picture."""

COARSE_PX = 160
"""Long side at which the search runs."""
FINE_PX = 320
ZOOMS = tuple(1.06**step for step in range(-7, 8))
"""0.67 to 1.5; half a step moves the edge by 2.4 of 160 pixels, which the field bears."""
NUDGES = ((1.03, 0.0), (1 / 1.03, 0.0), (1.0, 0.8), (1.0, -0.8), (1.0, 2.0), (1.0, -2.0))
"""Zoom and turn in degrees by which the best is climbed further."""
PREFERENCE = 1.1
"""By how much a searched alignment's evidence must exceed that of the one which simply lies there."""
SAME_SCENE = 13.0
"""Evidence of a peak below which it is another scene. Of 739 pairs of other scenes none came above 12 where
they lie; of 126 of the same scene (near and thermal infrared) five stayed below 13."""
SAME_SCENE_SEARCHED = 19.0
"""The same after a search over zooms and turns, which raises the best of the wrong ones too (to 19.4)."""
CLEARLY = 1.04
"""Gain in agreement that justifies moving the reference: one pixel of 320 costs a tenth, while fits to the
differences between bands of pairs that lie right gain up to 0.03."""
AGREEMENT, AGREEMENT_SEARCHED = 0.1, 0.16
"""Agreement of the refined alignment below which it is another scene: as it lies, and after a search."""
CLEAR = ((15.0, 0.22), (8.0, 0.3))
"""Evidence and agreement that together are enough where one of the above is missed, as by many crops: of 435
pairs of other scenes after a search those above 15 agreed by 0.15 at most, those above 8 by 0.22."""
AT_FIRST = 0.25
"""Agreement before it is refined from which a peak that the last of these alone can save is refined, which
takes 35 ms after 75 of a search: six in ten of real pairs of other scenes have such a peak. Of 61 of those
one had 0.27, none else as much; of 58 pairs of the same scene that came to 0.3 none had less than 0.29."""
PLAIN = 15.0
"""Evidence as it lies with which `AGREEMENT` is enough though another zoom has more: those had 13.4."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a reference lies over an infrared picture.

    Attributes:
        matrix: infrared -> reference, picture coordinates.
        evidence: of the correlation peak (`Peak.evidence`); see `SAME_SCENE`.
        agreement: correlation of the two structure fields, [-1, 1].
        lacking: what speaks against its being of this scene at all, in words; empty where it is.
    """

    matrix: Matrix
    evidence: float
    agreement: float
    lacking: str = ""

    @property
    def same_scene(self) -> bool:
        """Whether the reference is of this scene at all."""
        return not self.lacking


def register(luma: NDArray[np.uint8], reference_luma: NDArray[np.uint8], search: bool = True) -> Alignment:
    """Find how the reference lies over the infrared picture.

    Args:
        luma: (h, w) uint8, infrared.
        reference_luma: (h', w') uint8, luma of the color picture; its shape may differ.
        search: try zooms and turns where it does not simply fit.
    """
    small = resized(luma, COARSE_PX)
    field = structure.structure_field(small)
    spectrum = structure.spectrum(field)

    def tried(matrix: Matrix) -> tuple[float, Matrix]:
        warped = warp(reference_luma, matrix, (small.shape[0], small.shape[1]))
        peak = structure.correlate(field, structure.structure_field(warped), spectrum, reach=0.35)
        return peak.evidence, _shifted(matrix, peak.shift_px, (small.shape[0], small.shape[1]))

    starts = _starts(luma.shape, reference_luma.shape)
    evidence, matrix = max((tried(start) for start in starts), key=lambda found: found[0])
    needed, needed_agreement, plain = SAME_SCENE, AGREEMENT, evidence
    if search:
        zoomed = [tried(_zoomed(start, zoom, 0.0, luma.shape)) for start in starts for zoom in ZOOMS]
        best = max(zoomed, key=lambda found: found[0])
        for _ in range(3):
            nudged = [tried(_zoomed(best[1], zoom, turn, luma.shape)) for zoom, turn in NUDGES]
            climbed = max([best, *nudged], key=lambda found: found[0])
            if climbed is best:
                break
            best = climbed
        if best[0] > evidence * PREFERENCE:
            evidence, matrix = best
            if plain < PLAIN:
                needed, needed_agreement = SAME_SCENE_SEARCHED, AGREEMENT_SEARCHED
    short = f"evidence {evidence:.1f}, needed {needed:.0f}"
    if evidence < CLEAR[-1][0]:
        return Alignment(matrix, evidence, 0.0, short)
    if evidence < min(needed, CLEAR[0][0]):
        laid = structure.structure_field(warp(reference_luma, matrix, (small.shape[0], small.shape[1])))
        if (at_first := structure.total_agreement(field, laid)) < AT_FIRST:
            return Alignment(matrix, evidence, at_first, short)
    matrix, agreement = refine(luma, reference_luma, [*starts, matrix])
    enough = ((needed, needed_agreement), *CLEAR)
    if any(evidence >= least and agreement >= edges for least, edges in enough):
        return Alignment(matrix, evidence, agreement)
    lacking = f"agreement of edges {agreement:.3f}, needed {needed_agreement:.2f}"
    return Alignment(matrix, evidence, agreement, short if evidence < needed else lacking)


def refine(
    luma: NDArray[np.uint8], reference_luma: NDArray[np.uint8], candidates: list[Matrix]
) -> tuple[Matrix, float]:
    """Adjust an alignment that is right to a few pixels by what tiles of the picture say.

    Args:
        luma: (h, w) uint8, infrared.
        reference_luma: (h', w') uint8.
        candidates: the alignments to start from, the most probable first.

    Returns:
        The best matrix, an earlier or simpler one where a later is not clearly better, and its agreement.
    """
    matrix, agreement = candidates[0], -1.0
    for long_side, reach_px in ((COARSE_PX, 4), (COARSE_PX, 2), (FINE_PX, 3)):
        small = resized(luma, long_side)
        size = (small.shape[0], small.shape[1])
        field = structure.structure_field(small)

        def laid(matrix: Matrix, size: tuple[int, int] = size) -> structure.Field:
            return structure.structure_field(warp(reference_luma, matrix, size))

        matrix, agreement = _clearly_best(field, laid, candidates)
        shift, affine = tile_motion(field, laid(matrix), reach_px)
        moved = [_compose(matrix, motion, size) for motion in (shift, affine)]
        matrix, agreement = _clearly_best(field, laid, [matrix, *moved])
        candidates = [matrix]
    return matrix, agreement


def _clearly_best(
    field: structure.Field, laid: Callable[[Matrix], structure.Field], candidates: list[Matrix]
) -> tuple[Matrix, float]:
    best, agreement = candidates[0], -1.0
    for matrix in candidates:
        found = structure.total_agreement(field, laid(matrix))
        if found > max(agreement * CLEARLY, agreement + 1e-3):
            best, agreement = matrix, found
    return best, agreement


def warp(
    picture: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int], border: int = cv2.BORDER_REPLICATE
) -> NDArray[np.uint8]:
    """The reference as it lies over an infrared picture of `size` (H, W); area-averaged where it shrinks."""
    height, width = size
    zoom_x, zoom_y = np.hypot(*matrix[:, 0]), np.hypot(*matrix[:, 1])
    shape = (
        min(picture.shape[0], max(2, round(height / zoom_y))),
        min(picture.shape[1], max(2, round(width / zoom_x))),
    )
    if shape != picture.shape[:2]:
        picture = np.asarray(cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    pixels = _in_pixels(matrix, size, shape)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(picture, pixels, (width, height), flags=flags, borderMode=border), np.uint8
    )


def resized(luma: NDArray[np.uint8], long_side_px: int) -> NDArray[np.uint8]:
    """The picture at that long side, or itself where it is smaller."""
    factor = long_side_px / max(luma.shape)
    if factor >= 1:
        return luma
    size = (max(1, round(luma.shape[1] * factor)), max(1, round(luma.shape[0] * factor)))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def _starts(shape: tuple[int, ...], reference_shape: tuple[int, ...]) -> list[Matrix]:
    """Edge to edge; where the shapes differ also with square pixels, filling the width or the height."""
    starts = [np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])]
    ratio = (shape[1] / shape[0]) / (reference_shape[1] / reference_shape[0])
    if abs(ratio - 1) > 0.02:
        for across, down in ((ratio, 1.0), (1.0, 1 / ratio)):
            starts.append(np.array([[across, 0.0, (1 - across) / 2], [0.0, down, (1 - down) / 2]]))
    return starts


def _zoomed(matrix: Matrix, zoom: float, turn_degrees: float, shape: tuple[int, ...]) -> Matrix:
    """The same, with the infrared picture zoomed by `zoom` and turned about its center."""
    aspect = shape[1] / shape[0]
    cosine, sine = np.cos(np.radians(turn_degrees)) / zoom, np.sin(np.radians(turn_degrees)) / zoom
    turn = np.array([[cosine, -sine / aspect, 0.0], [sine * aspect, cosine, 0.0]])
    turn[:, 2] = 0.5 - turn[:, :2] @ (0.5, 0.5)
    return _after(matrix, turn)


def _shifted(matrix: Matrix, shift_px: tuple[float, float], size: tuple[int, int]) -> Matrix:
    """The alignment after the warped reference was found to lie `shift_px` beside the infrared."""
    shift = np.array([[1.0, 0.0, shift_px[0] / size[1]], [0.0, 1.0, shift_px[1] / size[0]]])
    return _after(matrix, shift)


def _after(outer: Matrix, inner: Matrix) -> Matrix:
    """outer(inner(.))."""
    return np.hstack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2:] + outer[:, 2:]])


def _compose(matrix: Matrix, motion: Matrix, size: tuple[int, int]) -> Matrix:
    """`matrix` after a motion given in pixels of `size`."""
    height, width = size
    to_pixels = np.array([[width, 0.0, -0.5], [0.0, height, -0.5]])
    to_picture = np.array([[1 / width, 0.0, 0.5 / width], [0.0, 1 / height, 0.5 / height]])
    return _after(matrix, _after(to_picture, _after(motion, to_pixels)))


def _in_pixels(matrix: Matrix, size: tuple[int, int], reference_size: tuple[int, int]) -> Matrix:
    """Picture coordinates -> pixel centers of both pictures."""
    to_picture = np.array([[1 / size[1], 0.0, 0.5 / size[1]], [0.0, 1 / size[0], 0.5 / size[0]]])
    to_pixels = np.array([[reference_size[1], 0.0, -0.5], [0.0, reference_size[0], -0.5]])
    return _after(to_pixels, _after(matrix, to_picture))

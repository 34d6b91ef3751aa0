"""A walking person of a synthetic scene: a jointed figure of capsules, lit from the sun's side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.canvas import Patch
from irchroma.stream.synthetic.light import Material
from irchroma.stream.synthetic.things.sprite import patch_of_parts

PHASES = 20
HEIGHT_M = 2.0
"""Height of the patch; the figure in it is about 1.75 m tall and stands on its bottom row."""
WIDTH_M = 1.5
STRIDE_M = 1.45
"""Ground covered in one full cycle of both legs."""

JACKETS = (
    (178, 44, 42), (38, 70, 128), (212, 168, 48), (60, 62, 70), (64, 112, 86), (222, 220, 214),
    (134, 66, 120), (208, 112, 48),
)  # fmt: skip
TROUSERS = ((44, 52, 78), (54, 50, 48), (122, 108, 84), (88, 92, 100))
SKIN = ((224, 178, 148), (190, 138, 104), (126, 84, 60))
HAIR = ((46, 34, 26), (110, 78, 44), (28, 26, 28), (150, 140, 132))


def person_materials(rng: np.random.Generator) -> tuple[Material, ...]:
    """Skin, hair, jacket, trousers, shoes and bag; most dyes are bright in NIR, hair and skin warm."""

    def pick(colors: tuple[tuple[int, int, int], ...]) -> tuple[int, int, int]:
        return colors[int(rng.integers(len(colors)))]

    return (
        Material(pick(SKIN), 0.58, 33.0, 0.8, 32.0),
        Material(pick(HAIR), 0.30, 27.0, 4.0, 23.0),
        Material(pick(JACKETS), float(rng.uniform(0.42, 0.72)), 25.5, 3.0, 19.0),
        Material(pick(TROUSERS), float(rng.uniform(0.30, 0.55)), 26.5, 2.0, 20.5),
        Material((48, 42, 40), 0.22, 23.0, 2.0, 15.0),
        Material(pick(JACKETS), 0.45, 21.5, 4.0, 12.0),
    )


def draw_person(
    materials: tuple[Material, ...], heading: float, phase: int, px_per_m: float, bag: bool
) -> Patch:
    """One pose.

    Args:
        materials: from `person_materials`.
        heading: walking direction, radians: 0 away from the camera, pi/2 to the right, pi toward it.
        phase: of the gait, [0, PHASES).
        px_per_m: of the patch.
        bag: carries a rucksack.
    """
    scale = 2 * px_per_m
    size = (round(HEIGHT_M * scale), round(WIDTH_M * scale))
    parts, shade = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    limbs = _skeleton(2 * np.pi * phase / PHASES, bag)
    ahead = np.array([np.sin(heading), np.cos(heading)])  # of (forward, left) in picture x and depth
    left = np.array([-np.cos(heading), np.sin(heading)])

    def place(joint: tuple[float, float, float]) -> tuple[NDArray[np.float64], float]:
        forward, sideways, up = joint
        x, depth = forward * ahead + sideways * left
        return np.array([size[1] / 2 + x * scale, size[0] - up * scale]), float(depth)

    drawn = [(material, *place(a), *place(b), r) for material, a, b, r in limbs]
    drawn.sort(key=lambda limb: -(limb[2] + limb[4]))
    for material, a, _, b, _, radius in drawn:
        steps = ((1.0, 0.0, 62), (0.82, 0.14, 92), (0.6, 0.28, 122), (0.36, 0.4, 144))
        for width, offset, level in steps:
            move = np.array([0.75, -0.45]) * offset * radius * scale
            for plane, value in ((parts, material + 1), (shade, level)):
                if plane is parts and offset:
                    continue
                _capsule(plane, a + move, b + move, radius * width * scale, value)
    return patch_of_parts(parts, cv2.GaussianBlur(shade, (0, 0), 0.02 * scale), materials)


def _capsule(
    plane: NDArray[np.uint8], a: NDArray[np.float64], b: NDArray[np.float64], radius: float, value: int
) -> None:
    thick = max(1, round(2 * radius))
    ends = [tuple(np.round(p * 16).astype(int).tolist()) for p in (a, b)]
    cv2.line(plane, ends[0], ends[1], value, thick, cv2.LINE_8, 4)
    for end in ends:
        cv2.circle(plane, end, max(1, round(radius * 16)), value, cv2.FILLED, cv2.LINE_8, 4)


def _skeleton(
    cycle: float, bag: bool
) -> list[tuple[int, tuple[float, float, float], tuple[float, float, float], float]]:
    """Capsules (material, end, end, radius) in meters: forward, left, up."""
    bob = 0.018 * np.cos(2 * cycle)
    hip, shoulder = 0.90 + bob, 1.40 + bob
    limbs = []
    for side, turn in ((1, cycle), (-1, cycle + np.pi)):
        thigh = 0.46 * np.sin(turn)
        knee = 0.12 + 0.55 * max(0.0, np.sin(turn - 1.9 + np.pi)) ** 1.5
        x, y, z = 0.0, 0.095 * side, hip
        kx, kz = x + 0.44 * np.sin(thigh), z - 0.44 * np.cos(thigh)
        shin = thigh - knee
        fx, fz = kx + 0.42 * np.sin(shin), max(kz - 0.42 * np.cos(shin), 0.06)
        limbs.append((3, (x, y, z), (kx, y, kz), 0.082))
        limbs.append((3, (kx, y, kz), (fx, y * 0.9, fz), 0.058))
        limbs.append((4, (fx - 0.04, y * 0.9, fz - 0.02), (fx + 0.14, y * 0.9, max(fz - 0.03, 0.04)), 0.045))
        swing = -0.42 * np.sin(turn)
        sx, sy = 0.0, 0.205 * side
        ex, ez = sx + 0.29 * np.sin(swing), shoulder - 0.29 * np.cos(swing)
        bend = swing + 0.35 + 0.2 * max(0.0, np.sin(-turn))
        hx, hz = ex + 0.25 * np.sin(bend), ez - 0.25 * np.cos(bend)
        limbs.append((2, (sx, sy, shoulder), (ex, sy * 1.12, ez), 0.056))
        limbs.append((2, (ex, sy * 1.12, ez), (hx, sy * 1.1, hz), 0.046))
        limbs.append((0, (hx, sy * 1.1, hz), (hx + 0.05, sy * 1.08, hz - 0.07), 0.04))
    for sideways in (-0.085, 0.085):
        limbs.append((2, (0.0, sideways, hip + 0.02), (0.02, sideways * 1.15, shoulder - 0.03), 0.105))
    limbs.append((2, (0.0, -0.15, shoulder), (0.0, 0.15, shoulder), 0.075))
    limbs.append((0, (0.01, 0.0, shoulder + 0.06), (0.02, 0.0, shoulder + 0.14), 0.05))
    limbs.append((0, (0.035, 0.0, shoulder + 0.19), (0.035, 0.0, shoulder + 0.25), 0.092))
    limbs.append((1, (-0.02, 0.0, shoulder + 0.22), (0.0, 0.0, shoulder + 0.29), 0.092))
    if bag:
        limbs.append((5, (-0.17, 0.0, hip + 0.16), (-0.16, 0.0, shoulder - 0.06), 0.125))
    return limbs

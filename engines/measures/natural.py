"""How natural a colored picture looks: hues that photographs hardly have, halos beside strong edges.

`unnatural` needs no truth: a table of photographs says how often each hue is met at a lightness and chroma.
`halo` compares with the truth, whatever the exposure: how a smooth place changes towards an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_lab

TABLE = Path(__file__).with_name("natural_hues.npy")
LIGHTNESSES, HUES, CHROMAS, CHROMA_STEP = 10, 36, 24, 4.0
"""Cells of the table: L* in tens, hues in tens of degrees (CIELAB), C* in fours."""
LEAST_CHROMA = 6.0
"""C* from which a pixel has a hue that a viewer sees."""
RARE = 0.25
"""A hue is unnatural where photographs have it less than this part as often as if all hues were equal."""
SMALL_SIZE = (120, 160)
"""(H, W) at which photographs are counted."""
HUE_SPREAD = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)
"""How a count spreads to hues beside it."""

HALO_SIDE_PX = 320
"""Long side for which the following lengths hold; they grow with the picture."""
EDGE_SLOPE = 10.0
"""Levels a pixel of the input, blurred by one pixel, from which an edge is strong."""
CORE_PX, REACH_PX, FAR_PX = 3, 10, 12.0
"""What belongs to the edge itself, how far beside it is looked, how wide the level further on is averaged."""
SMOOTH_SD = 4.0
"""Levels: standard deviation of 5x5 pixels below which a place is smooth, in input and truth."""
LEVEL_STEP = 12.0
"""Levels: what differs by less belongs to one side of an edge."""
FEWEST = 50
"""Fewer pixels beside edges say nothing."""

Plane = NDArray[np.float32]


def unnatural(rgb: NDArray[np.uint8]) -> float:
    """Share of the pixels of (H, W, 3) uint8 R'G'B' whose hue photographs hardly ever have there, [0, 1]."""
    lightness, hue, chroma, colored = _cells(rgb)
    return float(np.mean(colored & rare_hues()[lightness, hue, chroma]))


@lru_cache(maxsize=1)
def rare_hues() -> NDArray[np.bool_]:
    """(10, 36, 24) bool by lightness, hue and chroma; what `count_rare_hues` made of 1,388 photographs."""
    count = LIGHTNESSES * HUES * CHROMAS
    return np.unpackbits(np.load(TABLE), count=count).astype(bool).reshape(LIGHTNESSES, HUES, CHROMAS)


def count_rare_hues(photographs: Iterable[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """The table of `rare_hues` from (H, W, 3) uint8 photographs.

    The shipped one is of the data's `color/` (BSDS500, CamVid, ImageNet samples): `np.save(TABLE,
    np.packbits(count_rare_hues(photographs)))`.
    """
    counts = np.zeros((LIGHTNESSES, HUES, CHROMAS))
    for rgb in photographs:
        small = np.asarray(cv2.resize(rgb, SMALL_SIZE[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        np.add.at(counts, _cells(small)[:3], 1.0)
    spread = np.zeros_like(counts)
    for step, share in enumerate(HUE_SPREAD):
        spread += share * np.roll(counts, step - 2, axis=1)
    for axis in (0, 2):
        ends = [(1, 1) if axis == own else (0, 0) for own in range(3)]
        wide = np.moveaxis(np.pad(spread, ends, "edge"), axis, 0)
        spread = np.moveaxis(0.25 * wide[:-2] + 0.5 * wide[1:-1] + 0.25 * wide[2:], 0, axis)
    of_hues = spread.sum(axis=1, keepdims=True)
    return np.asarray(spread * HUES < RARE * of_hues, np.bool_)


def halo(rgb: NDArray[np.uint8], truth: NDArray[np.uint8], luma: NDArray[np.uint8]) -> float:
    """How far smooth places beside the sensor's strong edges are off, mean over them, gray levels.

    What counts is how their luma differs from that of the smooth places further away, in the output and in
    the truth: exposure does not matter, a bright or dark seam does. NaN where no edge has a smooth side.

    Args:
        rgb: (H, W, 3) uint8 R'G'B' full range, the output.
        truth: (H, W, 3) uint8.
        luma: (H, W) uint8, the input.
    """
    scale = max(1.0, max(luma.shape) / HALO_SIDE_PX)
    seen, shown, true = (
        plane.astype(np.float32)
        for plane in (luma, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.cvtColor(truth, cv2.COLOR_RGB2GRAY))
    )
    blurred = cv2.GaussianBlur(seen, (0, 0), scale)
    slope = np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)) / 8
    strong = (slope * scale > EDGE_SLOPE).astype(np.uint8)
    core = cv2.dilate(strong, np.ones((2 * round(CORE_PX * scale) + 1,) * 2, np.uint8))
    reach = 2 * round(REACH_PX * scale) + 1
    near = cv2.dilate(strong, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    smooth = (_spread(seen) < SMOOTH_SD) & (_spread(true) < SMOOTH_SD)
    further = _further(seen, (smooth & (near == 0)).astype(np.float32), FAR_PX * scale)
    beside = smooth & (near > 0) & (core == 0) & (further(np.ones_like(seen))[1] > 0.05)
    if np.count_nonzero(beside) < FEWEST:
        return math.nan

    def rise(plane: Plane) -> Plane:
        return np.asarray(cv2.blur(plane, (3, 3)) - further(plane)[0], np.float32)

    return float(np.abs(rise(shown) - rise(true))[beside].mean())


def _further(seen: Plane, far: Plane, reach_px: float) -> Callable[[Plane], tuple[Plane, Plane]]:
    """What a plane is around each place where `far` is 1 and the sensor saw the same level: mean and weight.

    The other side of an edge has another level, and does not count.
    """
    levels = np.arange(0.0, 256.0, LEVEL_STEP, dtype=np.float32)
    nearest = np.rint(seen / LEVEL_STEP).astype(np.intp).clip(0, len(levels) - 1)
    weights = [far * np.exp(-0.5 * ((seen - level) / LEVEL_STEP) ** 2) for level in levels]
    around = [cv2.GaussianBlur(weight, (0, 0), reach_px) for weight in weights]

    def mean(plane: Plane) -> tuple[Plane, Plane]:
        sums = [cv2.GaussianBlur(plane * weight, (0, 0), reach_px) for weight in weights]
        rows, columns = np.indices(seen.shape)
        weight = np.stack(around)[nearest, rows, columns]
        return np.stack(sums)[nearest, rows, columns] / np.maximum(weight, np.float32(1e-3)), weight

    return mean


def _cells(
    rgb: NDArray[np.uint8],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Each pixel's cell of the table, and whether it has color enough to count."""
    lab = rgb_to_lab(rgb)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360.0
    return (
        np.clip(lab[..., 0] / 10.0, 0, LIGHTNESSES - 1).astype(np.intp),
        (hue / (360.0 / HUES)).astype(np.intp) % HUES,
        np.minimum(chroma / CHROMA_STEP, CHROMAS - 1).astype(np.intp),
        chroma > LEAST_CHROMA,
    )


def _spread(plane: Plane) -> Plane:
    """Standard deviation in windows of 5x5."""
    mean = cv2.blur(plane, (5, 5))
    return np.asarray(np.sqrt(np.maximum(cv2.blur(plane * plane, (5, 5)) - mean * mean, 0.0)), np.float32)

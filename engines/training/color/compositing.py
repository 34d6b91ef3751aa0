"""Composites of registered pairs: another sky, crowns and ridges before it, in both bands at once.

What stands before a sky is rare in the pairs and always stands before the same one, so a network learns the
picture instead of the place. Here the sky of one pair is laid behind the foreground of another; crowns with
the leaves of a third, and ridges in haze, are drawn between the two. Edges keep the softness that they
had: what the old sky gave to a pixel is taken off it in the measure in which the new one is added.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.training.color.held_places import held_of_composite
from irchroma.engines.training.color.sky_matte import (
    Stage,
    as_bytes,
    four_bands,
    leaves_of,
    roughness,
    stage_of,
)
from irchroma.engines.training.pictures import Picture

LOG = logging.getLogger(__name__)

Values = NDArray[np.float32]

LEAF_ROUGH = 0.05
"""Mean standard deviation in a window of five pixels, in infrared, of leaves at least."""
SKY_PX, LEAF_PX = (20, 64), (56, 112)
"""Least height and width of a sky that is lent; a square of leaves' side, from a crop and from a scene."""
LEAF_FINE = 0.2
"""Least share of the variance of leaves that is fine: those nearby are too large for a crown."""
LEAF_LUMA = (0.12, 0.36)
"""Of a square of leaves, in color."""
ENLARGED = 3.0
"""The most that a lent sky is enlarged by, in either direction."""
SWAP, CROWNS, RIDGE = 0.7, 0.5, 0.3
"""How often a composite has another sky, crowns, a ridge."""


def _largest_below_top(depth: NDArray[np.int64]) -> tuple[int, int, int]:
    """Left, right and height of the largest rectangle from the first row down, in columns of such depths."""
    best = (0, 0, 0)
    for height in np.unique(depth):
        runs = np.flatnonzero(np.diff(np.concatenate([[0], (depth >= height).astype(int), [0]])))
        left, right = max(zip(runs[::2], runs[1::2], strict=True), key=lambda run: run[1] - run[0])
        if (right - left) * height > (best[1] - best[0]) * best[2]:
            best = (int(left), int(right), int(height))
    return best


class Compositor:
    """Makes composites.

    Args:
        pairs: registered pairs; kept.
        chances: (N,) of each to be the foreground, beside the others.
    """

    def __init__(self, pairs: Sequence[Picture], chances: NDArray[np.float64]) -> None:
        self.pairs = pairs
        stages = [stage_of(index, pair) for index, pair in enumerate(pairs)]
        self.stages = [stage for stage in stages if stage is not None]
        chosen = np.array([chances[stage.index] for stage in self.stages])
        self.chances = chosen / chosen.sum() if len(chosen) else chosen
        self.skies: list[NDArray[np.uint8]] = []
        for stage in self.stages:
            blocked = stage.alpha < 250
            depth = np.where(blocked.any(0), blocked.argmax(0), len(blocked))
            left, right, height = _largest_below_top(depth)
            if height >= SKY_PX[0] + 3 and right - left >= SKY_PX[1]:
                bands = four_bands(pairs[stage.index])
                self.skies.append((bands[: height - 3, left:right] * 255.0 + 0.5).astype(np.uint8))
        self.leaves = [square for pair in pairs for square in _squares_of_leaves(pair)]
        self.wide = [square for square in self.leaves if len(square) == LEAF_PX[1]] or self.leaves
        LOG.info(
            "composites: %d pairs have a sky, %d lend it, %d squares of leaves",
            len(self.stages),
            len(self.skies),
            len(self.leaves),
        )

    @property
    def able(self) -> bool:
        """Whether there is anything to make them of."""
        return bool(self.stages and self.skies and self.leaves)

    def picture(self, random: np.random.Generator) -> Picture:
        """A composite, of the foreground's size; held where it shows that as it was, if that is."""
        stage = self.stages[int(random.choice(len(self.stages), p=self.chances))]
        pair = self.pairs[stage.index]
        bands = four_bands(pair)
        size = bands.shape[1::-1]
        alpha = stage.alpha[..., None].astype(np.float32) / np.float32(255.0)
        behind = cv2.resize(stage.behind, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255.0
        skyline = stage.skyline
        whole = np.clip((alpha - 0.9) / 0.1, 0.0, 1.0)
        layer = whole * bands + (1 - whole) * behind
        kinds = random.random(3) < (SWAP, CROWNS, RIDGE)
        if stage.leaves is None:
            kinds[1:] = False  # nothing grows there
        if not kinds.any():
            kinds[0] = True
        if kinds[0]:
            layer = self._other_sky(behind, skyline, random)
        if kinds[2]:
            self._ridge(layer, skyline, random)
        in_front = kinds[1] and random.random() < 0.3
        if kinds[1] and not in_front:
            self._crowns(layer, stage, random)
        left = (bands - alpha * behind) * (1 - np.clip((alpha - 0.9) / 0.1, 0.0, 1.0))
        made = np.clip(left + alpha * layer, 0.0, 1.0)
        if in_front:
            self._crowns(made, stage, random)
        shown = (np.clip(made, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        composite = Picture(
            f"{pair.name}+", np.ascontiguousarray(shown[..., :3]), np.ascontiguousarray(shown[..., 3])
        )
        if pair.held is not None:
            composite.held = held_of_composite(composite, pair)
        return composite

    def _other_sky(self, behind: Values, skyline: NDArray[np.int64], random: np.random.Generator) -> Values:
        """(H, W, 4) a lent sky, down to the lowest skyline; below, its last row."""
        height, width = behind.shape[:2]
        reach = int(min(height, skyline.max() + 2))
        fitting = [
            sky for sky in self.skies if len(sky) * ENLARGED >= reach and sky.shape[1] * ENLARGED >= width
        ]
        largest = max(self.skies, key=lambda sky: sky.shape[0] * sky.shape[1])
        sky = fitting[int(random.integers(len(fitting)))] if fitting else largest
        if random.random() < 0.5:
            sky = sky[:, ::-1]
        fill = cv2.resize(np.ascontiguousarray(sky), (width, reach), interpolation=cv2.INTER_LINEAR)
        lent = (
            cv2.copyMakeBorder(fill, 0, height - reach, 0, 0, cv2.BORDER_REPLICATE).astype(np.float32) / 255.0
        )
        was, now = (float(part[:reach, :, :3].mean()) for part in (behind, lent))
        exposure = np.clip(np.log(max(was, 0.05)) / np.log(np.clip(now, 0.05, 0.97)), 0.5, 2.0) ** 0.3
        lent[..., :3] **= np.float32(exposure)  # a third of the way to the light of the sky that was there
        lent[..., 3] = np.clip(lent[..., 3] * random.uniform(0.88, 1.12), 0.0, 1.0)
        grain = random.standard_normal((height, width, 1), dtype=np.float32) * np.float32(0.004)
        return np.asarray(np.clip(lent + grain, 0.0, 1.0), np.float32)

    def _texture(self, size: tuple[int, int], finer: float, random: np.random.Generator) -> Values:
        """(h, w, 4) of leaves, made finer by that factor, mirrored where the square ends."""
        squares = self.wide if max(size) * finer > 2 * LEAF_PX[0] else self.leaves
        square = squares[int(random.integers(len(squares)))]
        side = max(8, int(len(square) / finer))
        small = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
        for axis, length in enumerate(size):
            while small.shape[axis] < length:
                small = np.concatenate([small, np.flip(small, axis)], axis)
        top, left = (int(random.integers(small.shape[axis] - size[axis] + 1)) for axis in (0, 1))
        cut = small[top : top + size[0], left : left + size[1]]
        return np.asarray(cut.astype(np.float32) / np.float32(255.0))

    def _ridge(self, layer: Values, skyline: NDArray[np.int64], random: np.random.Generator) -> None:
        """Draw a far ridge on the layer behind the foreground: leaves in haze, less in infrared."""
        height, width = layer.shape[:2]
        line = np.cumsum(random.standard_normal(width + 1)[1:]) * 0.02
        line = line + np.interp(np.arange(width), np.linspace(0, width, 7), random.standard_normal(7)) * 0.5
        line = cv2.GaussianBlur(line[None].astype(np.float32), (0, 0), random.uniform(0.6, 3.0))[0]
        line = (line - line.min()) / max(1e-3, float(line.max() - line.min()))
        low = float(np.quantile(skyline, 0.8))
        top = low * (1.0 - random.uniform(0.08, 0.35) * line - 0.02)
        mask = np.clip(np.arange(height, dtype=np.float32)[:, None] - top[None] + 0.5, 0.0, 1.0)[..., None]
        leaves = self._texture((height, width), random.uniform(1.5, 3.0), random)
        last = int(np.clip(low, 4, height))
        air = layer[max(0, last - 12) : last].mean((0, 1))
        blue = np.array([0.36, 0.46, 0.6], np.float32) * random.uniform(0.6, 1.2)
        haze = random.uniform(0.35, 0.85)
        far = np.empty_like(leaves)
        mixed = random.uniform(0.3, 0.8)
        far[..., :3] = (1 - haze) * leaves[..., :3] + haze * (mixed * blue + (1 - mixed) * air[:3])
        through = haze * random.uniform(0.2, 0.6)
        far[..., 3] = (1 - through) * leaves[..., 3] + through * air[3]
        layer[:] = (1 - mask) * layer + mask * far

    def _crowns(self, layer: Values, stage: Stage, random: np.random.Generator) -> None:
        """Draw a lone tree, a few or a row, standing on the skyline."""
        height, width = layer.shape[:2]
        row = random.random() < 0.4
        count = int(random.integers(5, 16)) if row else int(random.integers(1, 4))
        skyline = stage.skyline
        conifers = random.random() < 0.5
        for _ in range(count):
            tall = random.uniform(0.04, 0.16) * height if row else random.uniform(0.12, 0.5) * height
            place = int(random.integers(width))
            base = min(height, int(skyline[place]) + int(0.12 * tall) + 2)
            tall = int(np.clip(tall, 8, max(8, base - 2)))
            wide = max(6, int(tall * (random.uniform(0.3, 0.6) if conifers else random.uniform(0.6, 1.3))))
            mask, clumps, trunk = _crown(tall, wide, conifers, random)
            leaves = self._lit(clumps, stage, 1.6 if row else 1.0, random)
            wood = np.array([0.26, 0.22, 0.18, 0.42], np.float32) * random.uniform(0.7, 1.2)
            y, x = base - tall, place - wide // 2
            rows, columns = slice(max(0, y), min(height, base)), slice(max(0, x), min(width, x + wide))
            cut = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
            for part, fill in ((trunk, wood), (mask, leaves[cut])):
                share = part[cut][..., None]
                layer[rows, columns] = (1 - share) * layer[rows, columns] + share * fill

    def _lit(self, clumps: Values, stage: Stage, finer: float, random: np.random.Generator) -> Values:
        """(h, w, 4) leaves in the foreground's light, brighter on the side of the sun and on their clumps."""
        size = clumps.shape[0], clumps.shape[1]
        leaves = self._texture(size, finer * random.uniform(0.9, 1.4), random)
        if stage.leaves is not None:
            here = (
                float(cv2.cvtColor(leaves[..., :3], cv2.COLOR_RGB2GRAY).mean()),
                float(leaves[..., 3].mean()),
            )
            gains = [
                np.clip((to / max(at, 0.05)) ** 0.8, 0.5, 2.0)
                for at, to in zip(here, stage.leaves, strict=True)
            ]
            leaves = leaves * np.array([gains[0]] * 3 + [gains[1]], np.float32)
        y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
        angle = random.uniform(0.0, np.pi)
        sun = 1.0 + random.uniform(0.05, 0.3) * (np.cos(angle) * x - np.sin(angle) * y)
        sun = np.clip(sun + random.uniform(0.1, 0.35) * clumps, 0.35, 1.6)
        return np.asarray(np.clip(leaves * sun[..., None], 0.0, 1.0), np.float32)


def _squares_of_leaves(pair: Picture) -> list[NDArray[np.uint8]]:
    """Up to three squares (S, S, 4) uint8 of four bands that hold nothing but leaves with depth."""
    bands = four_bands(pair)
    leaves = leaves_of(bands).astype(np.float32)
    luma = cv2.cvtColor(bands[..., :3], cv2.COLOR_RGB2GRAY)
    rough = roughness(bands)[1]
    side = LEAF_PX[min(bands.shape[:2]) > 300]
    share, dark, depth = (cv2.blur(plane, (side, side)) for plane in (leaves, luma, rough))
    lit = (dark > LEAF_LUMA[0]) & (dark < LEAF_LUMA[1])
    good = np.where((share > 0.9) & lit & (depth > LEAF_ROUGH), share + depth, 0.0)
    half = side // 2
    good[:half] = good[-half:] = 0.0
    good[:, :half] = good[:, -half:] = 0.0
    squares = []
    for _ in range(3):
        y, x = np.unravel_index(int(good.argmax()), good.shape)
        if good[y, x] <= 0.0:
            break
        square = bands[y - half : y + half, x - half : x + half]
        if _fineness(square[..., 3]) > LEAF_FINE:
            squares.append(as_bytes(square))
        good[max(0, y - side) : y + side, max(0, x - side) : x + side] = 0.0
    return squares


def _fineness(plane: Values) -> float:
    """Share of a plane's variance that a small blur takes: of far trees more than of leaves nearby."""
    return float((plane - cv2.GaussianBlur(plane, (0, 0), 1.5)).var() / max(1e-6, float(plane.var())))


def _crown(tall: int, wide: int, conifer: bool, random: np.random.Generator) -> tuple[Values, Values, Values]:
    """(h, w) float32 how much of each pixel a ragged crown covers, its clumps (mean 0), and its trunk."""
    size = (2 * tall, 2 * wide)  # drawn twice as large: edges are as soft as a lens makes them
    y, x = np.mgrid[0 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
    trunk_from = random.uniform(0.7, 0.95)
    if conifer:
        shape = np.minimum((y + 0.02) / trunk_from * 0.9 - np.abs(x), (trunk_from - y) * 3.0)
    else:
        shape = np.full(size, -1.0, np.float32)
        for _ in range(int(random.integers(2, 7))):
            cx, cy = random.uniform(-0.45, 0.45), random.uniform(0.25, trunk_from - 0.2)
            rx, ry = random.uniform(0.3, 0.6), random.uniform(0.15, 0.3)
            shape = np.maximum(shape, 1.0 - np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2))
    ragged = np.zeros(size, np.float32)
    for cell, strength in ((tall / 7, 0.3), (tall / 16, 0.3), (2.5, 0.3), (1.2, 0.25)):
        coarse = [max(2, round(n / 2 / max(cell, 1.0))) for n in size]
        noise = random.standard_normal(coarse, dtype=np.float32)
        ragged += strength * cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.clip((shape * 1.6 + 0.5 * ragged) * 6.0 + 0.5, 0.0, 1.0)
    thick = random.uniform(0.02, 0.06)
    lean = random.uniform(-0.1, 0.1)
    trunk = np.clip((thick - np.abs(x - lean * y)) * wide + 0.5, 0.0, 1.0) * (y > 0.3)
    parts = (mask, 2.0 * ragged, trunk.astype(np.float32))
    mask, clumps, trunk = (cv2.resize(part, (wide, tall), interpolation=cv2.INTER_AREA) for part in parts)
    return mask, clumps, trunk

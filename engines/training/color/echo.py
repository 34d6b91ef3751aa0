"""Echoes: a crop as the camera sees it a moment later, so that the network learns to stand still.

An echo follows its sample in a batch and carries the exact way back, so that both answers can be compared
place by place: color and base tone must follow the scene, not the gain, the noise or the raster.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from irchroma.engines.training.color.augmentation import Crop
from irchroma.engines.training.color.batch import Sample

CELL_PX = 4
"""Side of a cell of the network's answer, pixels."""
TURN_DEG, ZOOM, SHIFT_PX = 2.0, 0.04, 10.0
"""Standard deviations of the camera's motion between a sample and its echo."""
ALIKE = 12.0 / 255.0
"""Luma difference up to which flow between two real frames is believed."""


def with_echoes(samples: Sequence[Sample], count: int, random: np.random.Generator) -> list[Sample]:
    """The samples with `count` echoes among them, each right behind the sample that it repeats."""
    followed = {index - 1 for index, sample in enumerate(samples) if sample.twin or sample.echo is not None}
    free = [index for index in range(len(samples)) if index not in followed]
    chosen = set(random.permutation(free)[:count].tolist())
    made: list[Sample] = []
    for index, sample in enumerate(samples):
        made.append(sample)
        if index in chosen:
            made.append(_moved(sample, random))
    return made


def _moved(sample: Sample, random: np.random.Generator) -> Sample:
    side = len(sample.luma)
    center = ((side - 1) / 2, (side - 1) / 2)
    turned = cv2.getRotationMatrix2D(
        center, random.normal(0.0, TURN_DEG), float(np.exp(random.normal(0.0, ZOOM)))
    )
    back = np.asarray(turned, np.float32)  # place in the echo -> place in the sample
    back[:, 2] += random.normal(0.0, SHIFT_PX, 2)

    def take(pixels: np.ndarray, interpolation: int) -> np.ndarray:
        flags = interpolation | cv2.WARP_INVERSE_MAP
        border = cv2.BORDER_REFLECT_101
        return np.asarray(cv2.warpAffine(pixels, back, (side, side), flags=flags, borderMode=border))

    crop = Crop({}, take(sample.crop.rgb, cv2.INTER_LINEAR), take(sample.crop.labels, cv2.INTER_NEAREST))
    crop.held = None if sample.crop.held is None else take(sample.crop.held, cv2.INTER_LINEAR)
    luma = disturb(take(sample.luma, cv2.INTER_LINEAR), random)
    cells = cell_centers(side)
    places = cells @ back[:, :2].T + back[:, 2]
    return Sample(luma, crop, tone=sample.tone, chroma=sample.chroma, echo=way_back(places, side))


def disturb(luma: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(S, S) luma in [0, 1] after a jump of the camera's gain, half of the time, and with fresh noise."""
    if random.random() < 0.5:
        luma = luma * np.float32(np.exp(random.normal(0.0, 0.15))) + np.float32(random.normal(0.0, 0.02))
    noise = random.standard_normal(luma.shape, dtype=np.float32) * np.float32(
        np.exp(random.uniform(-5.5, -3.3))
    )
    return np.asarray(np.clip(luma + noise, 0.0, 1.0), np.float32)


def flow_back(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """The way back between two real frames, by dense optical flow.

    Args:
        earlier, later: (S, S) float32 luma in [0, 1].

    Returns:
        As `way_back`; cells whose luma does not agree along the flow have no weight.
    """
    side = len(later)
    before, now = ((luma * 255.0).astype(np.uint8) for luma in (earlier, later))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(search.calc(now, before, None))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    found = cv2.remap(earlier, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    believed = cv2.blur(np.abs(found - later), (CELL_PX, CELL_PX)) < ALIKE
    cells = cell_centers(side)
    index = cells.astype(int)
    path = way_back(cells + flow[index[..., 1], index[..., 0]], side)
    path[..., 2] *= believed[index[..., 1], index[..., 0]]
    return path


def cell_centers(side: int) -> np.ndarray:
    """(S / 4, S / 4, 2) float32: x and y, in pixels, of the centers of the answer's cells."""
    axis = (np.arange(side // CELL_PX, dtype=np.float32) + 0.5) * CELL_PX - 0.5
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def way_back(places: np.ndarray, side: int) -> np.ndarray:
    """Where each cell of an echo was in its sample.

    Args:
        places: (h, w, 2) x and y in pixels of the sample.
        side: of both, pixels.

    Returns:
        (h, w, 3) float32: x and y in [-1, 1] from border to border, and 1 where that is inside, else 0.
    """
    scaled = (places + 0.5) * (2.0 / side) - 1.0
    inside = (np.abs(scaled) < 1.0).all(axis=-1, keepdims=True)
    return np.concatenate([scaled, inside], axis=-1).astype(np.float32)

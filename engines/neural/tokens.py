"""A reference as its network knows it: tokens of its cells."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.network.network import Graph, Tensor
from irchroma.engines.recolor import color_space
from irchroma.engines.reference.pictures import Reference

CELL_PX = 8
"""Side of a cell of the infrared and of the reference, in pixels that the network sees."""
AREA_PX = 160 * 240
"""Of the reference as it is encoded: about 600 cells. With 768 a true scene's frame gave 0.04 dB
more, for a tenth of the time."""
STRIDE_PX, LEAST_PX = 32, 64
DISTRUSTED = -30.0
"""Added to the similarity of cells that are not trusted."""
TRUSTED = 0.5
"""Share of a cell that must be."""
LEAST_SPREAD = 0.25 * math.sqrt(1e-3)
"""Standard deviation that is added in squares, as in training (`exemplar.network.statistics`)."""


def encode(reference: Reference, pictures: Graph) -> dict[str, Tensor]:
    """The tokens of a picture, for `exemplar.network`.

    Args:
        reference: of any size.
        pictures: the graph that encodes them.
    """
    height, width = encoded_size(reference.rgb.shape[:2])
    rgb = np.asarray(cv2.resize(reference.rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    trust = cv2.resize(reference.trust, (width, height), interpolation=cv2.INTER_AREA)
    rows, columns = height // CELL_PX, width // CELL_PX
    ycc = color_space.rgb_to_ycc(rgb)
    small = _cells(ycc)
    made = pictures.run(
        {
            "luma": np.ascontiguousarray(ycc[None, None, ..., 0]),
            "place": places(rows, columns),
            "small": np.ascontiguousarray(small.transpose(2, 0, 1)[None]),
        }
    )
    cells = small.reshape(-1, 3)
    trusted = _cells(trust.astype(np.float32)[..., None] / 255.0).ravel() >= TRUSTED
    seen = cells[trusted] if trusted.any() else cells
    spread = np.sqrt(np.square(seen - seen.mean(0)).mean(0) + LEAST_SPREAD**2)
    where = places(rows, columns).reshape(2, -1).T
    values = np.concatenate([cells, cells * cells, where], axis=1)[None]
    return {
        "keys": np.array(made["keys"], np.float32),
        "scene": np.array(made["scene"], np.float32),
        "values": np.asarray(values, np.float32),
        "level": np.concatenate([seen.mean(0), spread]).astype(np.float32).reshape(1, 6, 1, 1),
        "bias": np.where(trusted, 0.0, DISTRUSTED).astype(np.float32).reshape(1, 1, -1),
    }


def encoded_size(size: tuple[Any, ...]) -> tuple[int, int]:
    """(H, W) of a reference as it is encoded: about `AREA_PX`, its shape nearly kept, multiples of 32."""
    factor = math.sqrt(AREA_PX / (size[0] * size[1]))
    height, width = (
        min(512, max(LEAST_PX, STRIDE_PX * round(side * factor / STRIDE_PX))) for side in size[:2]
    )
    return height, width


@lru_cache(8)
def places(height: int, width: int) -> Tensor:
    """(1, 2, h, w) float32: x and y of the cells' middles in [-1, 1]; one array for all calls, not to be
    written to."""
    y = np.broadcast_to(((np.arange(height) + 0.5) / height * 2 - 1)[:, None], (height, width))
    x = np.broadcast_to((np.arange(width) + 0.5) / width * 2 - 1, (height, width))
    return np.stack([x, y])[None].astype(np.float32)


def _cells(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, C) -> (H / 8, W / 8, C) means."""
    height, width, channels = pixels.shape
    shape = (height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX, channels)
    return np.asarray(pixels.reshape(shape).mean((1, 3)), np.float32)

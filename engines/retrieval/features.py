"""What a picture shows, as a vector that agrees between infrared and color; and how bright it is.

Gray levels differ between bands and often invert; local contrast, and what stands where, stays. A small
network (`irchroma train retrieval`) has learned from pairs to give the infrared and the color picture of one
scene the same vector; the color picture's is that of its luma.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineUnavailable

WEIGHTS = Path(__file__).parents[1] / "weights" / "retrieval.onnx"
SIZE = (128, 160)
"""(H, W) at which a picture is looked at, whatever its shape."""
AROUND_PX = 16.0
"""Sigma of the surroundings that contrast is normalized by."""
NOISE_LEVELS, FAINT = 1.5, 0.25
"""Gray levels, and share of the picture's own contrast, below which it counts as noise."""
QUANTILES = 32
PART = 0.8
"""Share of the sides that a part of a picture has."""
VIEWS, DIMENSIONS = 6, 128
KIND = "contrast-2"
"""Of the vectors; an index with others is computed anew."""
BRIGHTNESS = 0.05
"""What the whole range's difference of brightness costs."""
ALIKE = 0.68
"""Score from which a picture suits a frame."""


def prepared(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(128, 160) float32: local contrast of an (h, w) luma, about 0, mostly within [-2, 2]."""
    small = cv2.resize(luma, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), AROUND_PX)
    around = cv2.GaussianBlur(detail * detail, (0, 0), AROUND_PX)
    least = np.float32(NOISE_LEVELS + FAINT * float(detail.std()))
    return np.asarray(detail / (np.sqrt(np.maximum(around, 0.0)) + least), np.float32)


def describe(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What an (h, w) luma shows, of either band. Any thread.

    Returns:
        (6, 128) float32 of unit length each: of the whole, of the parts at its four corners, of its middle,
        for a camera that has turned or zoomed since.

    Raises:
        EngineUnavailable: the network's weights are not here.
    """
    contrast = np.stack([prepared(part) for part in parts(luma)])[:, None]
    network = _network()
    with _lock:
        network.setInput(contrast)
        return np.array(network.forward(), np.float32)


def parts(luma: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The whole (h, w) picture, then five parts of it."""
    height, width = luma.shape
    tall, wide = max(1, round(PART * height)), max(1, round(PART * width))
    down, right = height - tall, width - wide
    corners = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
    return [luma, *(np.ascontiguousarray(luma[y : y + tall, x : x + wide]) for y, x in corners)]


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Of the two views or parts, (n, 128) and (m, 128), that are most alike, at most 1."""
    return float((first @ second.T).max())


def brightness(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(32,) float32: quantiles of an (h, w) luma in gray levels, from the darkest to the brightest."""
    small = cv2.resize(luma, SIZE[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(np.quantile(small, np.linspace(0, 1, QUANTILES)), np.float32)


def score(
    query: NDArray[np.float32],
    levels: NDArray[np.float32],
    vectors: NDArray[np.float32],
    other_levels: NDArray[np.float32],
) -> float:
    """How well a picture suits a frame, at most 1: what both show, less a little for another brightness."""
    apart = float(np.abs(levels - other_levels).mean()) / 255
    return likeness(query, vectors) - BRIGHTNESS * apart


_lock = threading.Lock()


@cache
def _network() -> Any:
    if not WEIGHTS.is_file():
        raise EngineUnavailable(
            f"{WEIGHTS} is missing: install irchroma again, or make it with `irchroma train retrieval`"
        )
    return cv2.dnn.readNetFromONNX(str(WEIGHTS))

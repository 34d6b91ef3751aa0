"""What a calibration looks at and what it found, for people: a line, and pictures."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference.pictures import Reference
from irchroma.stream.sensor.profile import BLINKING, DEAD, STUCK
from irchroma.stream.sinks.open_sink import public

Rgb = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
COLORS = {DEAD: (255, 60, 60), STUCK: (255, 220, 0), BLINKING: (0, 220, 255)}
RING_PX = 4


def told(source: str, seconds: float) -> str:
    """One line for people: what is about to be read, and how long that is at most."""
    long = f"up to {seconds:g} s" if seconds else "all"
    return f"reading {public(source)}: {long} of it (--seconds)"


def shown(values: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.uint16]) -> Rgb:
    """(H, W, 3) uint8 gray from any picture, between its 1st and 99th hundredth."""
    low, high = np.quantile(values, (0.01, 0.99))
    gray = np.clip((values.astype(np.float32) - low) * (255 / max(high - low, 1e-3)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)


def draw_bad_pixels(mean: NDArray[np.float32], kinds: NDArray[np.uint8]) -> Rgb:
    """The mean picture with a ring about each bad pixel: dead red, stuck yellow, blinking cyan."""
    picture = shown(cv2.medianBlur(mean, 5))
    for kind, color in COLORS.items():
        for y, x in np.argwhere(kinds == kind):
            cv2.circle(picture, (int(x), int(y)), RING_PX, color, 1)
    return picture


def draw_uniformity(offset: NDArray[np.float32], before: Pixels, after: Pixels) -> Rgb:
    """Offset map, a frame before and the same after, beside each other, both frames on one gray scale."""
    both = shown(np.hstack([before, after]).astype(np.float32))
    return np.hstack([shown(offset), both])


def draw_references(references: Iterable[Reference]) -> Rgb:
    """(H, W, 3) uint8: the references beside each other, places without trust hatched."""
    tiles = []
    for reference in references:
        height, width = reference.trust.shape
        factor = 640 / max(height, width)
        size = (round(width * factor), round(height * factor))
        picture = cv2.resize(reference.rgb, size, interpolation=cv2.INTER_AREA)
        trust = cv2.resize(reference.trust, size, interpolation=cv2.INTER_AREA)
        rows, columns = np.indices(trust.shape)
        hatch = ((rows + columns) // 6 % 2 == 0) & (trust < 128)
        picture[hatch] = (255, 0, 255)
        tiles.append(picture)
    height = max(tile.shape[0] for tile in tiles)
    return np.hstack(
        [cv2.copyMakeBorder(t, 0, height - t.shape[0], 0, 8, cv2.BORDER_CONSTANT) for t in tiles]
    )

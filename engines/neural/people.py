"""People in thermal pictures whose temperatures are known: skin and clothes in calm, natural tones.

Where counts have a scale, skin says what it is: it has 30 to 37 degrees, clothes over it a little less, and
both stand out from what is around. A network of thermal pictures paints what is hot white; here what is as
warm as people and shaped like one gets the tone and the color of skin and cloth instead, whatever the scene
around. In a place as warm as people themselves nothing stands out, and nothing is painted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.work_picture import at_size

Plane = NDArray[np.float32]

BODY = (26.0, 28.5, 38.0, 40.0)
"""Degrees Celsius at which a person begins, is one for sure, is one still, and is none any more."""
SKIN = (29.5, 32.5)
"""Degrees from cloth to skin."""
STANDS_OUT = 2.5
"""Degrees by which a person must be warmer than what is around."""
AREA = (0.0004, 0.5)
"""Share of the picture that a person covers: far away, and near."""
SLIM = 0.7
"""Height over width of a person at least; near ones are cut off by the picture's border and may be wider."""
NEAR = 0.03
"""Share of the picture from which a person is near."""
FILLED = 0.25
"""Share of its bounding box that a person fills at least."""
SKIN_CHROMA, CLOTH_CHROMA = (-0.06, 0.08), (0.02, -0.012)
"""Cb and Cr."""
SHADE = 0.4
"""Share of their luma that people lose: what is hottest is white in a thermal picture, and nobody is."""
SURENESS = 0.5
"""Confidence where there is a person."""


@dataclass(frozen=True, slots=True)
class Warm:
    """People in a frame, (h, w) float32 at work size: degrees, and where they are, see `person`."""

    celsius: Plane
    people: Plane


def warm_in(
    counts: NDArray[np.uint16] | None, scale: tuple[float, float] | None, size: tuple[int, int]
) -> Warm | None:
    """People in a frame's counts, by degrees for each count and of count 0; None where there are none."""
    if counts is None or scale is None:
        return None
    small = cv2.resize(counts.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    celsius = np.asarray(small * np.float32(scale[0]) + np.float32(scale[1]), np.float32)
    found = person(celsius)
    return Warm(celsius, found) if found.any() else None


def person(celsius: Plane) -> Plane:
    """(h, w) float32, [0, 1]: where people are, by warmth, shape and what is around.

    Args:
        celsius: (h, w) float32 degrees at work size.
    """
    begins, sure, still, ends = BODY
    body = ((celsius > begins) & (celsius < ends)).astype(np.uint8)
    body = cv2.morphologyEx(body, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(body, connectivity=8)
    kept = np.zeros(count, bool)
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in boxes[number])
        share = area / body.size
        slim = height >= SLIM * width or share >= NEAR
        if not (AREA[0] <= share <= AREA[1] and slim and area >= FILLED * width * height):
            continue
        margin = max(3, min(width, height) // 4)
        part = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        own = labels[part] == number
        around = celsius[part][~own & (labels[part] == 0)]
        warm = float(np.median(celsius[part][own]))
        kept[number] = around.size > 0 and warm - float(np.median(around)) >= STANDS_OUT
    if not kept.any():
        return np.zeros(celsius.shape, np.float32)
    rising = np.clip((celsius - begins) / (sure - begins), 0.0, 1.0)
    falling = np.clip((ends - celsius) / (ends - still), 0.0, 1.0)
    mask = kept[labels].astype(np.float32) * rising * falling
    return np.asarray(cv2.blur(mask, (3, 3)), np.float32)


def shaded(luma: NDArray[np.uint8], people: Plane) -> NDArray[np.uint8]:
    """(H, W) uint8: the luma with people as dark as they are by day.

    Args:
        luma: (H, W) uint8.
        people: (h, w) float32 of `person`.
    """
    share = cv2.resize(people, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(luma * (np.float32(1) - np.float32(SHADE) * share)), np.uint8)


def paint(ycc: Plane, confidence: Plane, warm: Warm) -> None:
    """Give people their color, in place; their tone is what `shaded` has made of it.

    Args:
        ycc: (h, w, 3) float32 of the network, at work size or half of it.
        confidence: (h, w) float32, [0, 1].
        warm: of the frame.
    """
    celsius, people = (at_size(plane, confidence.shape) for plane in (warm.celsius, warm.people))
    skin = np.clip((celsius - SKIN[0]) / (SKIN[1] - SKIN[0]), 0.0, 1.0)
    for plane, (bare, cloth) in enumerate(zip(SKIN_CHROMA, CLOTH_CHROMA, strict=True), start=1):
        ycc[..., plane] += people * (cloth + (bare - cloth) * skin - ycc[..., plane])
    np.maximum(confidence, SURENESS * people, out=confidence)

"""What cameras do to pictures: crops and scales, exposure, noise, lenses, night illuminators, compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from irchroma.engines.training.pictures import UNLABELED, Picture

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)

DUSK, DUSK_GAMMA = (0.82, 0.93, 1.1), 0.45
"""Factors on R'G'B' where an illuminator's light ends, and the exponent on that light."""


@dataclass
class Crop:
    """A square cut of one picture, S pixels a side.

    Attributes:
        inputs: named (S, S) float32 luma in [0, 1]: what the network may be shown.
        rgb: (S, S, 3) float32 in [0, 1], the color to be answered.
        labels: (S, S) uint8 CamVid classes, `UNLABELED` where unknown.
        held: (S, S) float32 in [0, 1], how much of each pixel keeps an earlier answer; None: nothing.
    """

    inputs: dict[str, np.ndarray]
    rgb: np.ndarray
    labels: np.ndarray
    held: np.ndarray | None = None


def cut(
    picture: Picture,
    inputs: dict[str, np.ndarray],
    side: int,
    zoom: tuple[float, float],
    random: np.random.Generator,
) -> Crop:
    """Cut a random square, resize it to `side`, mirror it half the time.

    Args:
        picture: gives color and labels.
        inputs: (H, W) uint8 luma pictures registered to it.
        side: of the result, pixels.
        zoom: range of the number of source pixels per result pixel.
        random: where the dice come from.
    """
    height, width = picture.rgb.shape[:2]
    span = int(np.clip(side * np.exp(random.uniform(*np.log(zoom))), 32, min(height, width)))
    top, left = int(random.integers(height - span + 1)), int(random.integers(width - span + 1))
    mirror = random.random() < 0.5

    def take(pixels: np.ndarray, interpolation: int) -> np.ndarray:
        window = cv2.resize(
            pixels[top : top + span, left : left + span], (side, side), interpolation=interpolation
        )
        return np.ascontiguousarray(window[:, ::-1]) if mirror else window

    smooth = cv2.INTER_AREA if span > side else cv2.INTER_LINEAR
    labels = np.full((side, side), UNLABELED, np.uint8)
    if picture.labels is not None:
        labels = take(picture.labels, cv2.INTER_NEAREST)
    scaled = {name: take(pixels, smooth).astype(np.float32) / 255.0 for name, pixels in inputs.items()}
    held = None if picture.held is None else take(picture.held, smooth).astype(np.float32) / 255.0
    return Crop(scaled, take(picture.rgb, smooth).astype(np.float32) / 255.0, labels, held)


def expose(luma: np.ndarray, random: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Another gamma, gain and offset, as another camera's exposure would give."""
    gamma = np.exp(random.normal(0.0, 0.18 * strength))
    gain = np.exp(random.normal(0.0, 0.15 * strength))
    return np.asarray(np.clip(gain * luma**gamma + random.normal(0.0, 0.02 * strength), 0.0, 1.0), np.float32)


def degrade(luma: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur, noise and compression, each now and then."""
    if random.random() < 0.2:
        luma = cv2.GaussianBlur(luma, (0, 0), random.uniform(0.4, 1.6))
    if random.random() < 0.3:
        coarse = random.random() < 0.3
        shape = tuple(n // 2 for n in luma.shape) if coarse else luma.shape
        noise = random.standard_normal(shape, dtype=np.float32) * np.float32(
            np.exp(random.uniform(-5.0, -2.7))
        )
        luma = luma + (cv2.resize(noise, luma.shape[::-1]) if coarse else noise)
    luma = np.clip(luma, 0.0, 1.0)
    if random.random() < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(20, 80))]
        coded = cv2.imencode(".jpg", (luma * 255.0).astype(np.uint8), quality)[1]
        luma = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32) / 255.0
    return np.asarray(luma, np.float32)


def falloff(side: int, random: np.random.Generator, floor: float) -> np.ndarray:
    """(S, S) float32 light of a lens or an illuminator: 1 at its center, down to `floor` far away."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    reach = random.uniform(0.35, 0.9)
    center_x, center_y = random.normal(0.0, 0.12, size=2)
    distance = ((x - center_x) ** 2 + (y - center_y) ** 2) / reach**2
    return np.asarray(floor + (1.0 - floor) * np.exp(-(distance**1.3)), np.float32)


def night(crop: Crop, random: np.random.Generator) -> None:
    """Active infrared in the dark: light falls off, gain and noise go up; the answer is a late dusk."""
    side = len(crop.rgb)
    light = falloff(side, random, random.uniform(0.02, 0.25))
    if random.random() < 0.6:  # what is further up is further away
        near = np.linspace(0.0, 1.0 / random.uniform(0.3, 0.8), side, dtype=np.float32)[:, None]
        light = light * np.clip(near, 0.08, 1.0)
    spot = 1.0 + random.uniform(0.0, 0.5) * light**6  # a lamp is brightest in its middle
    for name, luma in crop.inputs.items():
        grain = random.standard_normal(luma.shape, dtype=np.float32) * np.float32(random.uniform(0.003, 0.03))
        seen = np.clip(luma * light * spot + grain * (1.2 - light), 0.0, 1.0)
        if random.random() < 0.5:  # the camera's own noise reduction takes the fine texture with it
            seen = cv2.bilateralFilter(seen.astype(np.float32), 7, random.uniform(0.04, 0.12), 2.5)
        crop.inputs[name] = np.asarray(seen, np.float32)
    crop.rgb[:] = dusk(crop.rgb, light)


def dusk(rgb: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(S, S, 3) R'G'B' in [0, 1] by late dusk: lit by (S, S) light in (0, 1], a little blue where it ends."""
    dim = np.clip(1.0 - light, 0.0, 1.0)[..., None]
    shade = 1.0 - dim * (1.0 - np.array(DUSK, np.float32))
    return np.asarray(np.clip(rgb * light[..., None] ** DUSK_GAMMA * shade, 0.0, 1.0), np.float32)


def vignette(crop: Crop, random: np.random.Generator) -> None:
    """Darker corners in the input only: color must not follow the lens."""
    light = falloff(len(crop.rgb), random, random.uniform(0.6, 0.9))
    for name, luma in crop.inputs.items():
        crop.inputs[name] = luma * light


def overlay(crop: Crop, random: np.random.Generator) -> None:
    """Burnt-in text, black borders or a blown-out lamp: gray in the input, gray in the answer."""
    side = len(crop.rgb)
    mask = np.zeros((side, side), np.float32)
    kind = random.integers(3)
    if kind == 0:
        text = "".join(chr(c) for c in random.integers(45, 91, size=int(random.integers(6, 20))))
        place = (
            int(random.integers(side // 2)),
            int(random.integers(12, 40)) if random.random() < 0.5 else side - 8,
        )
        font = FONTS[random.integers(len(FONTS))]
        drawn = np.zeros((side, side), np.uint8)
        thickness = int(random.integers(1, 3))
        cv2.putText(drawn, text, place, font, random.uniform(0.35, 0.9), 255, thickness, cv2.LINE_AA)
        mask = drawn.astype(np.float32) / 255.0
        value = 1.0 if random.random() < 0.8 else 0.0
    elif kind == 1:
        width = int(random.integers(4, side // 6))
        for edge in random.permutation(4)[: random.integers(1, 3)]:
            np.rot90(mask, edge)[:width] = 1.0
        value = 0.0
    else:
        center = tuple(int(c) for c in random.integers(side, size=2))
        cv2.circle(mask, center, int(random.integers(3, side // 10)), 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(1.0, 4.0))
        value = 1.0
    for name, luma in crop.inputs.items():
        crop.inputs[name] = luma * (1.0 - mask) + value * mask
    crop.rgb[:] = crop.rgb * (1.0 - mask[..., None]) + value * mask[..., None]


def augment_lightly(crop: Crop, random: np.random.Generator) -> None:
    """Small changes, each input by itself, that leave its brightness as a hint of how bright the scene is."""
    for name, luma in crop.inputs.items():
        if random.random() < 0.4:
            luma = expose(luma, random, 0.4)
        if random.random() < 0.3:
            luma = degrade(luma, random)
        crop.inputs[name] = luma


def augment(crop: Crop, random: np.random.Generator) -> None:
    """A near-infrared or gray crop as some camera would have given it; two fifths stay as they are."""
    if random.random() < 0.4:
        return
    state = random.bit_generator.state
    for name, luma in crop.inputs.items():
        random.bit_generator.state = state  # every input of a crop meets the same camera
        if random.random() < 0.7:
            luma = expose(luma, random)
        if random.random() < 0.15:
            x, y = random.uniform(-1.5, 1.5, size=2)
            shift = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
            luma = cv2.warpAffine(luma, shift, luma.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        crop.inputs[name] = degrade(luma, random)
    chance = random.random()
    if chance < 0.22:
        night(crop, random)
    elif chance < 0.3:
        vignette(crop, random)
    if random.random() < 0.06:
        overlay(crop, random)

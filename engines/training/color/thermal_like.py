"""Thermal-like inputs from labeled color pictures, and targets with the colors of a fine day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from irchroma.engines.recolor.color_space import BT601

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PERSON, BICYCLIST, OTHER = range(12)

# Mean and standard deviation of the gray level of each class in automotive LWIR, read off the pairs by eye.
_LEVELS = np.array(
    [
        (0.08, 0.10), (0.45, 0.20), (0.40, 0.20), (0.38, 0.18), (0.42, 0.18), (0.48, 0.16),
        (0.35, 0.20), (0.45, 0.20), (0.55, 0.28), (0.88, 0.12), (0.80, 0.15), (0.45, 0.20),
    ]
)  # fmt: skip

# What each class looks like by day: (Cb, Cr) of a prior, its share, factor on the picture's own chroma.
_DAYLIGHT = {
    BUILDING: (-0.030, 0.030, 0.4, 1.5),
    POLE: (0.0, 0.0, 0.3, 1.2),
    ROAD: (0.008, -0.004, 0.7, 0.6),
    PAVEMENT: (-0.018, 0.016, 0.6, 0.8),
    TREE: (-0.100, -0.055, 0.65, 1.4),
    SIGN: (-0.020, 0.020, 0.2, 1.6),
    FENCE: (-0.025, 0.020, 0.4, 1.3),
    CAR: (0.004, 0.006, 0.2, 1.6),
    PERSON: (-0.035, 0.055, 0.4, 1.4),
    BICYCLIST: (-0.030, 0.050, 0.4, 1.4),
    OTHER: (0.0, 0.0, 0.2, 1.4),
}
_SKY_TOP, _SKY_LOW = np.array([0.66, 0.105, -0.085]), np.array([0.86, 0.035, -0.028])  # Y', Cb, Cr
SUNNY, HAZY = 0.82, 1.15
"""Exponents on the targets' luma: car cameras expose for the sky, and washed-out pairs are as light as haze;
after them a median picture has the median luma of photographs, 0.41."""
HAIR, SKIN, JACKET, JEANS = (
    (0.24, -0.01, 0.012),
    (0.62, -0.05, 0.075),
    (0.32, 0.014, -0.004),
    (0.33, 0.05, -0.022),
)
"""Y', Cb, Cr of people's targets; nobody knows what they wear, but all that is hot was white before."""
WARMER, WALKER_PX = 45.0, 24
"""Levels by which people before a fixed camera are above its background, and their height at least."""
STRANGER_LEVELS = 6
"""Gray levels that a photograph of anything is drawn with."""
BROW, HEAD, WAIST = 0.05, 0.16, 0.52
"""Parts of a standing person's height, from above, at which hair, head and jacket end."""
CLAD = 0.85
"""How far people's targets are moved to what they are likely to wear."""


def thermal_like(gray: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a thermal camera's view of a labeled picture.

    Args:
        gray: (H, W) uint8 luma of the picture.
        labels: (H, W) uint8 classes.
        random: where the dice come from.

    Returns:
        (H, W) uint8.
    """
    levels = np.clip(random.normal(_LEVELS[:, 0], _LEVELS[:, 1]), 0.0, 1.0)
    if random.random() < 0.25:
        levels[SKY] = random.uniform(0.05, 0.5)
    drawn = levels[labels].astype(np.float32)
    height, width = labels.shape
    luma = gray.astype(np.float32) / 255.0
    detail = luma - cv2.GaussianBlur(luma, (0, 0), 6.0)
    contrast = random.uniform(-0.4, 1.0, size=12).astype(np.float32)
    contrast[SKY] *= 0.3
    drawn += detail * contrast[labels]
    field = cv2.resize(
        random.standard_normal((5, 6), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    drawn += 0.07 * field * (labels != SKY)
    lift = np.linspace(0.0, random.uniform(0.0, 0.25), height, dtype=np.float32)[:, None]
    if random.random() < 0.3:  # warm clouds above a cold horizon
        lift = lift[::-1] * 1.5
    clouds = cv2.resize(
        random.standard_normal((12, 9), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    drawn += (labels == SKY) * (lift + random.uniform(0.0, 0.06) * clouds)
    warm = (labels == CAR).astype(np.float32)
    if warm.any():  # engines and wheels: the lower part of a car
        lower = warm * (1.0 - np.roll(warm, -height // 16, axis=0))
        drawn += random.uniform(0.0, 0.5) * cv2.GaussianBlur(lower, (0, 0), 3.0)
    people = ((labels == PERSON) | (labels == BICYCLIST)).astype(np.float32)
    if people.any():
        drawn += random.uniform(0.0, 0.15) * cv2.GaussianBlur(people, (0, 0), 5.0)
    drawn = cv2.GaussianBlur(drawn, (0, 0), random.uniform(0.6, 1.8))
    return np.asarray((np.clip(drawn, 0.0, 1.0) * 255.0).astype(np.uint8))


def _to_ycc(rgb: np.ndarray) -> np.ndarray:
    x = rgb.astype(np.float32) / 255.0
    luma = x @ np.array(BT601, np.float32)
    return np.stack([luma, (x[..., 2] - luma) / 1.772, (x[..., 0] - luma) / 1.402], axis=-1)


def _to_rgb(ycc: np.ndarray) -> np.ndarray:
    luma, blue, red = ycc[..., 0], ycc[..., 1], ycc[..., 2]
    rgb = np.stack(
        [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1
    )
    return np.asarray((np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def _paint_sky(ycc: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blend a blue gradient over `mask` (H, W) float32; clouds keep a little of their light."""
    height = len(mask)
    way = np.clip(np.arange(height, dtype=np.float32) / (0.55 * height), 0.0, 1.0)[:, None, None]
    paint = np.broadcast_to(_SKY_TOP * (1.0 - way) + _SKY_LOW * way, ycc.shape).copy()
    mean = float((ycc[..., 0] * mask).sum() / max(1.0, mask.sum()))
    paint[..., 0] += 0.35 * (ycc[..., 0] - mean)
    return np.asarray(ycc * (1.0 - mask[..., None]) + paint * mask[..., None], np.float32)


def raise_sky(gray: np.ndarray, rgb: np.ndarray, labels: np.ndarray, rows: int) -> list[np.ndarray]:
    """`gray`, target `rgb` and `labels` with so many rows of sky on top: a camera that looks up."""
    top = _to_rgb(_SKY_TOP[None, None].astype(np.float32))[0, 0]
    width = labels.shape[1]
    return [
        np.vstack([np.full((rows, width), 200, np.uint8), gray]),
        np.vstack([np.broadcast_to(top, (rows, width, 3)), rgb]),
        np.vstack([np.full((rows, width), SKY, np.uint8), labels]),
    ]


def _upper(height: int) -> np.ndarray:
    """(H, 1) float32: 1 in the upper half, 0 below two thirds."""
    return np.asarray(np.clip((0.65 - np.arange(height) / height) / 0.15, 0.0, 1.0)[:, None], np.float32)


def likely_clothes(people: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 Y'CbCr that everyone of an (H, W) bool mask is likely to wear, from hair to jeans.

    Who is wider than tall is cut off, or several: of them all is jacket.
    """
    height, width = people.shape
    worn = np.broadcast_to(np.array(JACKET, np.float32), (height, width, 3)).copy()
    rows = np.arange(height, dtype=np.float32)[:, None, None]
    count, marks, found, _ = cv2.connectedComponentsWithStats(people.astype(np.uint8))
    for mark in range(1, count):
        left, top, wide, tall, _ = found[mark]
        if tall < wide:
            continue
        box = np.s_[top : top + tall, left : left + wide]
        down = (rows[: int(tall)] + 0.5) / tall
        outfit = np.full((int(tall), 1, 3), JEANS, np.float32)
        for end, color in ((WAIST, JACKET), (HEAD, SKIN), (BROW, HAIR)):
            outfit = np.where(down < end, np.array(color, np.float32), outfit)
        worn[box] = np.where((marks[box] == mark)[..., None], outfit, worn[box])
    return np.asarray(worn, np.float32)


def dressed(ycc: np.ndarray, people: np.ndarray) -> np.ndarray:
    """(H, W, 3) Y'CbCr with skin and clothes of likely colors on an (H, W) bool mask, folds kept."""
    share = cv2.GaussianBlur(people.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.asarray(ycc + share * CLAD * (likely_clothes(people) - ycc), np.float32)


@dataclass(frozen=True)
class Walker:
    """Someone before a fixed camera, cut out: (h, w) float32 luma and share of the pixel, both [0, 1]."""

    luma: np.ndarray
    share: np.ndarray


def walkers(frames: Sequence[np.ndarray]) -> list[Walker]:
    """Everyone who stands or walks before one fixed thermal camera, from its (H, W) uint8 frames."""
    background = np.median(np.stack(frames), axis=0).astype(np.float32)
    found = []
    for frame in frames:
        warmer = cv2.GaussianBlur(frame, (0, 0), 0.8).astype(np.float32) - background
        people = (warmer > WARMER).astype(np.uint8)
        count, marks, boxes, _ = cv2.connectedComponentsWithStats(people)
        for mark in range(1, count):
            left, top, wide, tall, area = (int(value) for value in boxes[mark])
            inside = min(left, top) > 0 and left + wide < frame.shape[1] and top + tall < frame.shape[0]
            if not (inside and tall >= WALKER_PX and tall > 1.7 * wide and area > 0.35 * wide * tall):
                continue
            box = np.s_[top - 1 : top + tall + 1, left - 1 : left + wide + 1]
            share = cv2.GaussianBlur((marks[box] == mark).astype(np.float32), (0, 0), 0.6)
            found.append(Walker(frame[box].astype(np.float32) / 255.0, share))
    return found


def pass_by(
    walker: Walker, ir: np.ndarray, rgb: np.ndarray, labels: np.ndarray | None, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Copies of an infrared picture, its truth and its labels with a walker on the ground before them.

    Args:
        walker: who.
        ir: (H, W) uint8.
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8, or None.
        random: where the dice come from: how tall, where, how warm.
    """
    height, width = ir.shape
    tall = int(height * np.exp(random.uniform(np.log(0.14), np.log(0.75))))
    wide = max(4, round(tall * walker.luma.shape[1] / walker.luma.shape[0]))
    feet = int(np.clip((0.52 + 0.6 * tall / height + random.normal(0.0, 0.06)) * height, tall, 1.15 * height))
    top, left = feet - tall, int(random.integers(max(1, width - wide)))
    seen = (slice(top, min(feet, height)), slice(left, min(left + wide, width)))
    rows, columns = seen[0].stop - top, seen[1].stop - left
    mirror = -1 if random.random() < 0.5 else 1

    def scaled(plane: np.ndarray) -> np.ndarray:
        whole = cv2.resize(plane[:, ::mirror], (wide, tall), interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole, np.float32)

    share, luma = scaled(walker.share), scaled(walker.luma)
    worn = likely_clothes(share > 0.5)
    fine = luma - cv2.GaussianBlur(luma, (0, 0), max(1.0, 0.03 * tall))
    worn[..., 0] += random.uniform(0.3, 0.8) * fine
    middle = float((luma * share).sum() / max(1.0, share.sum()))
    warmth = random.uniform(0.6, 1.0) if random.random() < 0.85 else random.uniform(0.25, 0.6)
    luma = np.clip(warmth + random.uniform(0.8, 2.0) * (luma - middle), 0.0, 1.0)
    share, luma, worn = share[:rows, :columns], luma[:rows, :columns], worn[:rows, :columns]
    ir, rgb = ir.copy(), rgb.copy()
    ir[seen] = np.rint(ir[seen] * (1.0 - share) + 255.0 * luma * share)
    rgb[seen] = _to_rgb(_to_ycc(rgb[seen]) * (1.0 - share[..., None]) + worn * share[..., None])
    if labels is not None:
        labels = labels.copy()
        labels[seen][share > 0.5] = PERSON
    return ir, rgb, labels


def stranger(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(H, W) uint8: any photograph as if heat had been seen, a gray level for each of its colors at random.

    For what the network must not be sure of: nothing in it says what things are.
    """
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (48, 48), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    centers = lab[random.choice(len(lab), STRANGER_LEVELS, replace=False)]
    levels = random.uniform(0.05, 0.95, STRANGER_LEVELS).astype(np.float32)
    whole = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    far = np.stack([np.square(whole - center).sum(-1) for center in centers], axis=-1)
    near = np.exp(-(far - far.min(-1, keepdims=True)) / 300.0)
    drawn = (near @ levels) / near.sum(-1)
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    drawn += random.uniform(-0.4, 0.8) * (luma - cv2.GaussianBlur(luma, (0, 0), 6.0))
    drawn = cv2.GaussianBlur(drawn, (0, 0), random.uniform(0.6, 1.8))
    return np.asarray((np.clip(drawn, 0.0, 1.0) * 255.0).astype(np.uint8).reshape(height, width))


def daylight_of_labels(rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 labeled picture -> the same with the colors of a fine day."""
    ycc = _to_ycc(rgb)
    low, high = np.percentile(ycc[..., 0], (1, 98))
    ycc[..., 0] = np.clip((ycc[..., 0] - 0.8 * low) * (0.92 / max(0.3, high - 0.8 * low)), 0.0, 1.0)
    prior = np.zeros((12, 4), np.float32)
    prior[:, 3] = 1.0
    for label, values in _DAYLIGHT.items():
        prior[label] = values
    chosen = prior[labels]
    share = cv2.GaussianBlur(chosen[..., 2], (0, 0), 1.0)[..., None]
    own = np.clip(ycc[..., 1:] * chosen[..., 3:4], -0.25, 0.25)
    shade = np.clip(ycc[..., 0:1] / 0.35, 0.35, 1.2)  # deep shade has little chroma
    ycc[..., 1:] = own * (1.0 - share) + cv2.GaussianBlur(chosen[..., :2], (0, 0), 1.0) * shade * share
    ycc[..., 0] **= SUNNY
    ycc = dressed(ycc, (labels == PERSON) | (labels == BICYCLIST))
    leaves = cv2.GaussianBlur((labels == TREE).astype(np.float32), (0, 0), 1.0)
    dimmed = 0.55 * np.tanh(ycc[..., 0] / 0.55)  # bare branches let the white sky through: leaves would not
    ycc[..., 0] += leaves * (dimmed - ycc[..., 0])
    sky = cv2.GaussianBlur((labels == SKY).astype(np.float32), (0, 0), 1.0)
    return _to_rgb(_paint_sky(ycc, sky))


def daylight_of_pair(rgb: np.ndarray, ir: np.ndarray) -> np.ndarray:
    """Truth of a washed-out daytime pair -> haze taken off, saturated, its blown-out sky painted blue."""
    ycc = _to_ycc(rgb)
    low, high = np.percentile(ycc[..., 0], (1, 97))
    gain = 0.93 / max(0.35, high - 0.85 * low)
    ycc[..., 0] = np.clip((ycc[..., 0] - 0.85 * low) * gain, 0.0, 1.0)
    ycc[..., 0] **= HAZY
    chroma = ycc[..., 1:]
    chroma *= np.clip(1.7 / (1.0 + 6.0 * np.linalg.norm(chroma, axis=-1, keepdims=True)), 1.0, 1.7) * min(
        gain, 1.3
    )
    calm = cv2.GaussianBlur(chroma, (0, 0), 2.0)
    plants = (calm[..., 0] < -0.03) & (calm[..., 1] < 0.02) & (ycc[..., 0] < 0.6)
    greener = cv2.GaussianBlur(plants.astype(np.float32), (0, 0), 2.0)[..., None]
    chroma += greener * np.array([-0.03, -0.03], np.float32)
    np.clip(chroma, -0.3, 0.3, out=chroma)
    cold = cv2.GaussianBlur(((ir < 80) & (ycc[..., 0] > 0.62)).astype(np.float32), (0, 0), 1.5)
    return _to_rgb(_paint_sky(ycc, cold * _upper(len(ir))))


def light_people(rgb: np.ndarray, ir: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 dusk truth -> the same with whoever is hot lifted out of the dark, under a blue sky."""
    ycc = _to_ycc(rgb)
    ycc[..., 0] **= SUNNY
    hot = cv2.GaussianBlur(ir, (0, 0), 1.5)
    ycc = dressed(ycc, hot > 150)
    cold = cv2.GaussianBlur(((ir < 40) & (ycc[..., 0] > 0.6)).astype(np.float32), (0, 0), 1.5)
    return _to_rgb(_paint_sky(ycc, cold * _upper(len(ir))))


def clear_sky(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the same, what is blue and light in its upper part a clear sky."""
    ycc = _to_ycc(rgb)
    calm = cv2.GaussianBlur(ycc, (0, 0), 1.0)
    blue = np.clip((calm[..., 1] - 0.02) / 0.03, 0.0, 1.0) * np.clip((calm[..., 0] - 0.45) / 0.1, 0.0, 1.0)
    return _to_rgb(_paint_sky(ycc, (blue * _upper(len(rgb))).astype(np.float32)))


def camera(luma: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A thermal camera's curve, polarity, stripes and drift on (S, S) float32 luma."""
    chance = random.random()
    if chance < 0.35:  # a linear AGC with something hot in view: the rest is dark
        luma = luma ** random.uniform(1.2, 3.2)
    elif chance < 0.65:
        luma = np.clip(random.normal(0.0, 0.06) + luma * np.exp(random.normal(0.0, 0.25)), 0.0, 1.0)
        luma = luma ** np.exp(random.normal(0.0, 0.25))
    elif chance < 0.75:
        equalizer = cv2.createCLAHE(random.uniform(1.0, 4.0), (4, 4))
        luma = equalizer.apply((luma * 255.0).astype(np.uint8)).astype(np.float32) / 255.0
    elif chance < 0.83:
        low = random.uniform(0.05, 0.35)
        luma = low + luma * random.uniform(0.3, 0.6)
    if random.random() < 0.08:
        luma = 1.0 - luma
    if random.random() < 0.25:
        columns = random.standard_normal((1, luma.shape[1]), dtype=np.float32) * random.uniform(0.003, 0.02)
        luma = luma + (columns if random.random() < 0.7 else columns.T)
    return np.asarray(np.clip(luma, 0.0, 1.0), np.float32)

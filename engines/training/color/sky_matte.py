"""Where a pair's sky is, how much of each pixel it covers, and what it looks like behind everything else.

Sky is what is smooth in both bands, bright or blue in color, no plant, and connected to the first row. At its
border a pixel is a mixture of the sky around and of the foreground around; four bands say how much of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_lab
from irchroma.engines.training.pictures import Picture

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

SKY_LIGHTNESS, SKY_CHROMA, SKY_HUES = 45.0, 10.0, (195.0, 320.0)
"""A sky's L*, at least, and its chroma, at most, unless its hue (degrees) is one of a sky's."""
DEEP_LIGHTNESS, DEEP_CHROMA = 26.0, 24.0
"""L* at least of a deep blue sky, and its chroma."""
SKY_INDEX, LEAF_INDEX = 0.22, 0.3
"""Vegetation index above which nothing is sky, and above which everything is leaves."""
SKY_ROUGH = 0.03
"""Standard deviation in a window of five pixels that a sky has at most, in both bands."""
SKY_SHARE, TOP_SHARE = (0.05, 0.8), 0.5
"""Of a picture that its sky takes, and of its first row at least."""
BORDER_CONTRAST = 0.12
"""Least difference (four bands) across the border: less is haze, or a lake that passes for sky."""
BAND_PX = 14
"""How far from the sky a gap between leaves is looked for."""


@dataclass(frozen=True)
class Stage:
    """A pair's foreground and what was behind it.

    Attributes:
        index: of the pair.
        alpha: (H, W) uint8, 255 where all is sky.
        behind: (H / 4, W / 4, 4) uint8 R', G', B' and infrared of the sky, gone on with behind everything.
        leaves: mean luma in color and in infrared of the foreground's leaves, [0, 1]; None: there are few.
    """

    index: int
    alpha: NDArray[np.uint8]
    behind: NDArray[np.uint8]
    leaves: tuple[float, float] | None

    @property
    def skyline(self) -> NDArray[np.int64]:
        """(W,) first row of each column that is no sky."""
        ground = (
            cv2.morphologyEx((self.alpha < 128).astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
            > 0
        )
        return np.where(ground.any(0), ground.argmax(0), len(ground))


def four_bands(picture: Picture) -> Values:
    """(H, W, 4) float32 R', G', B' and infrared luma in [0, 1]."""
    return np.dstack([picture.rgb, picture.infrared]).astype(np.float32) / np.float32(255.0)


def vegetation_index(bands: Values) -> Values:
    """(H, W) float32 (NIR - R) / (NIR + R) of linear light; four bands in."""
    red, near = bands[..., 0] ** 2.2, bands[..., 3] ** 2.2
    return np.asarray((near - red) / (near + red + 0.03), np.float32)


def roughness(bands: Values) -> tuple[Values, Values]:
    """(H, W) float32 standard deviation in windows of 5 x 5 pixels: of the color's luma, of the infrared."""
    made = []
    for plane in (cv2.cvtColor(bands[..., :3], cv2.COLOR_RGB2GRAY), np.ascontiguousarray(bands[..., 3])):
        mean = cv2.blur(plane, (5, 5))
        made.append(np.sqrt(np.maximum(cv2.blur(plane * plane, (5, 5)) - mean * mean, 0.0)))
    return made[0], made[1]


def stage_of(index: int, picture: Picture) -> Stage | None:
    """The pair as a stage; None: it has no sky, or one whose border cannot be told."""
    bands = four_bands(picture)
    sky = _sky(picture.rgb, bands)
    if sky is None:
        return None
    sure = cv2.erode(sky.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1).astype(np.float32)
    behind = _spread(bands, sure, 6.0, 40.0)
    distance = np.linalg.norm(bands - behind, axis=-1)
    near = cv2.dilate(sky.astype(np.uint8), np.ones((2 * BAND_PX + 1,) * 2, np.uint8)) > 0
    beyond = cv2.dilate(sky.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    ground = beyond & (distance > BORDER_CONTRAST)
    front = _spread(bands, ground.astype(np.float32), 2.5, 12.0)
    apart = behind - front
    contrast = np.linalg.norm(apart, axis=-1)
    border = near & ~sky & ~(cv2.erode(near.astype(np.uint8), np.ones((2 * BAND_PX - 3,) * 2, np.uint8)) == 0)
    if not border.any() or np.median(contrast[border]) < 2 * BORDER_CONTRAST:
        return None
    share = ((bands - front) * apart).sum(-1) / np.maximum(contrast**2, 1e-4)
    share = np.clip((share - 0.08) / 0.84, 0.0, 1.0)
    soft = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 0.7)
    share = np.where(contrast > BORDER_CONTRAST, share, soft)
    alpha = np.where(sure > 0, 1.0, np.where(near, share, 0.0)).astype(np.float32)
    alpha[_islands(alpha, bands)] = 1.0
    quarter = (max(1, bands.shape[1] // 4), max(1, bands.shape[0] // 4))
    small = cv2.resize(behind, quarter, interpolation=cv2.INTER_AREA)
    return Stage(index, as_bytes(alpha), as_bytes(small), _light_of_leaves(bands))


def _sky(rgb: NDArray[np.uint8], bands: Values) -> Mask | None:
    """(H, W) of what is sky for sure; None: nothing, or too much."""
    sky = sky_of(rgb, bands)
    if sky[:3].any(0).mean() < TOP_SHARE or not SKY_SHARE[0] < sky.mean() < SKY_SHARE[1]:
        return None
    return sky


def sky_of(rgb: NDArray[np.uint8], bands: Values) -> Mask:
    """(H, W) of what is sky for sure, however much or little.

    Args:
        rgb: (H, W, 3) R'G'B'.
        bands: the same pair's four.
    """
    lab = rgb_to_lab(rgb)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360.0
    blue = (hue > SKY_HUES[0]) & (hue < SKY_HUES[1])
    light = lab[..., 0] > np.where(blue & (chroma > DEEP_CHROMA), DEEP_LIGHTNESS, SKY_LIGHTNESS)
    fits = light & (blue | (chroma < SKY_CHROMA)) & (vegetation_index(bands) < SKY_INDEX)
    for rough in roughness(bands):
        fits &= rough < SKY_ROUGH
    _, regions = cv2.connectedComponents(fits.astype(np.uint8), connectivity=4)
    names, counts = np.unique(regions[:3], return_counts=True)
    large = [name for name, count in zip(names, counts, strict=True) if name and count > 24]
    sky = np.isin(regions, large)
    sky = cv2.morphologyEx(sky.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0
    return np.asarray(sky, np.bool_)


def _islands(alpha: Values, bands: Values) -> Mask:
    """(H, W) of clouds and birds: ground by its color, but with sky all around; loose leaves are none."""
    loose = cv2.dilate((alpha < 0.5).astype(np.uint8), np.ones((5, 5), np.uint8))
    _, regions = cv2.connectedComponents(loose)
    held = np.zeros(regions.max() + 1, np.bool_)
    held[np.unique(regions[-1])] = True
    counts = np.bincount(regions.ravel())
    index = np.bincount(regions.ravel(), vegetation_index(bands).ravel()) / np.maximum(counts, 1)
    held |= (counts > 0.01 * alpha.size) & (index > SKY_INDEX)
    held[0] = True
    return np.asarray(~held[regions], np.bool_)


def _spread(bands: Values, weight: Values, near: float, far: float) -> Values:
    """(H, W, 4) mean of the weighted pixels around each, and from further away where there are none near."""
    quarter = (max(1, bands.shape[1] // 4), max(1, bands.shape[0] // 4))
    weighted = bands * weight[..., None]
    mean = weighted.sum((0, 1)) / (weight.sum() + 1e-6)
    color, count = (cv2.resize(part, quarter, interpolation=cv2.INTER_AREA) for part in (weighted, weight))
    color = cv2.GaussianBlur(color, (0, 0), far / 4) + np.float32(1e-6) * mean
    count = cv2.GaussianBlur(count, (0, 0), far / 4) + np.float32(1e-6)
    wide = cv2.resize(color / count[..., None], bands.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    close, count = cv2.GaussianBlur(weighted, (0, 0), near), cv2.GaussianBlur(weight, (0, 0), near)
    trust = np.clip(count / 0.05, 0.0, 1.0)[..., None]
    return np.asarray(trust * close / np.maximum(count, 1e-6)[..., None] + (1 - trust) * wide, np.float32)


def leaves_of(bands: Values) -> Mask:
    """(H, W) where four bands show plants."""
    return np.asarray(vegetation_index(bands) > LEAF_INDEX, np.bool_)


def _light_of_leaves(bands: Values) -> tuple[float, float] | None:
    leaves = leaves_of(bands)
    if leaves.mean() < 0.03:
        return None
    luma = cv2.cvtColor(bands[..., :3], cv2.COLOR_RGB2GRAY)
    return float(luma[leaves].mean()), float(bands[..., 3][leaves].mean())


def as_bytes(values: Values) -> NDArray[np.uint8]:
    """[0, 1] -> uint8."""
    return np.asarray(np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)

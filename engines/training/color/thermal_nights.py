"""Nights as by day: what the network that a training starts from says of many views of one night.

A night's color picture shows lamps, and is no truth for a scene by day. But what a network says of a picture
with less noise, mirrored, larger, smaller and in other contrasts, averaged and put together by the band's
rules, is better than what it says at a glance: so it learns from itself, at a glance and through noise, what
it says after a long look.

Reference: Xie, Luong, Hovy, Le, Self-training with Noisy Student improves ImageNet classification, CVPR 2020,
section 2. Different: one model is teacher and student, and the teacher sees more than one view.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.network.network import Network
from irchroma.engines.recolor.recoloring import Recoloring
from irchroma.engines.training.color.thermal_like import clear_sky

Plane = NDArray[np.float32]

SIDES_PX, CURVES = (256, 352, 448), (0.75, 1.0, 1.4)
"""Long sides of the views; exponents on their luma."""
WORK_PX = 416
"""Long side at which the views are put together."""
PHOTOGRAPH, EXPOSURE = 0.41, (0.7, 1.15)
"""Median luma of photographs; least and most exponent that makes a night as bright."""
VIVID = 1.05
"""Factor on the chroma of the views' mean: an exported network's is 1.35 times what it learns."""


def night_by_day(ir: NDArray[np.uint8], network: Network) -> NDArray[np.uint8]:
    """(H, W) uint8 infrared of a night -> (H, W, 3) uint8 R'G'B', as by day, its sky clear.

    Args:
        ir: thermal luma, white hot.
        network: the band's, exported.
    """
    small = cv2.resize(ir, _at(ir, WORK_PX)[::-1], interpolation=cv2.INTER_AREA)
    calm = cv2.bilateralFilter(ir.astype(np.float32) / 255, 5, 0.04, 1.5)
    low, high = np.percentile(calm, (1, 99))
    spread = np.clip((calm - low) / max(0.15, float(high - low)), 0.0, 1.0).astype(np.float32)
    views = [calm] + [spread**exponent for exponent in CURVES]
    seen = [_seen(network, view, side, small.shape) for view, side in itertools.product(views, SIDES_PX)]
    mean = np.asarray(np.stack(seen).mean(0), np.float32)
    mean[..., 1:] *= np.float32(VIVID)
    look = catalog.BANDS["thermal"].look
    plain = replace(look.tone, curve=0.0, dark_curve=0.0, exponent=1.0, dark_exponent=1.0, detail_gain=1.0)
    rules = Recoloring(look=replace(look, tone=plain))
    sure = np.ones(small.shape, np.float32)
    return clear_sky(_exposed(rules.apply(ir, small, mean, sure)))


def _exposed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, as bright as a photograph in its median, by a curve on all its channels."""
    median = float(np.median(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))) / 255
    exponent = float(np.clip(np.log(PHOTOGRAPH) / np.log(np.clip(median, 0.05, 0.95)), *EXPOSURE))
    return np.asarray(np.rint(255 * (rgb / 255.0) ** exponent), np.uint8)


def _at(picture: NDArray[np.generic], long_side: int) -> tuple[int, int]:
    """(H, W), multiples of 32, about that long."""
    scale = long_side / max(picture.shape[:2])
    height, width = (max(32, round(length * scale / 32) * 32) for length in picture.shape[:2])
    return height, width


def _seen(network: Network, luma: Plane, side: int, size: tuple[int, ...]) -> Plane:
    """(h, w, 3) float32 Y', Cb, Cr of `size`: the mean of what is said of a view and of its mirror image."""
    view = cv2.resize(luma, _at(luma, side)[::-1], interpolation=cv2.INTER_AREA)
    both = []
    for turned in (view, np.ascontiguousarray(view[:, ::-1])):
        ycc, _ = network.infer(turned[None, None])
        both.append(np.array(ycc[0]).transpose(1, 2, 0))  # copied: the runtime's own memory
    mean = 0.5 * (both[0] + both[1][:, ::-1])
    return np.asarray(cv2.resize(mean, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)

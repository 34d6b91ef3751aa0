"""Builds the color reference of a fixed camera's scene: few pictures, different, without what passes by.

Pictures of one view and one light are laid over each other; the median of them is the scene without the
people and cars that each one showed elsewhere. Where too few pictures agree, the place is not trusted and
keeps the network's color.

Reference: M. He, D. Chen, J. Liao, P. V. Sander, L. Yuan, Deep Exemplar-based Colorization, ACM TOG 37(4),
2018 (arXiv 1807.06587), section 4.3: retrieval by content, then by luminance statistics. Here content is
the edge structure that both bands share, of the one scene.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.reference import registration
from irchroma.engines.reference.pictures import LONG_SIDE_PX, Reference, is_gray

Rgb = NDArray[np.uint8]

LIGHT_DISTANCE = 28.0
"""Gray levels of mean distance between two sorted lumas from which they are different lights."""
MEDIAN_OF = 15
"""Pictures of one view and light that a median is taken of."""
DISAGREE_LEVELS = 24.0
"""Levels by which two pictures differ where one of them shows something else."""
CLEAN_FROM = 3
"""Pictures from which the median is trusted wherever six in ten of them agree."""
STILL_FROM = 7
"""Pictures from which what the median shows is taken to stand still: in two of three, and three of five,
somebody who walks slowly has stood at one place. Of fewer, what the infrared does not show is left out."""


@dataclass(slots=True)
class _View:
    """Pictures of one view in one light, laid over the first of them."""

    name: str
    levels: NDArray[np.float32]
    pictures: list[Rgb] = field(default_factory=list)
    seen: int = 0

    def add(self, rgb: Rgb) -> None:
        """Keep a sample that is spread evenly over all that were seen, without keeping all."""
        self.seen += 1
        if len(self.pictures) < MEDIAN_OF:
            self.pictures.append(rgb)
        elif self.seen % (1 + self.seen // MEDIAN_OF) == 0:
            del self.pictures[1 + self.seen % (MEDIAN_OF - 1)]
            self.pictures.append(rgb)


class ReferenceCollector:
    """Takes pictures one by one and keeps what a reference needs of them.

    Args:
        keep: references to keep at most.
        still_from: pictures of a view from which it is known what stands still.
    """

    def __init__(self, keep: int = 4, still_from: int = STILL_FROM) -> None:
        if keep < 1:
            raise CalibrationError(f"at least one reference is kept, got {keep}")
        self._keep, self._still_from = keep, still_from
        self.gray = 0
        """Pictures left out because they had no color (night)."""
        self._views: list[_View] = []

    def add(self, rgb: Rgb, name: str) -> bool:
        """Take (H, W, 3) uint8 R'G'B'; False where the picture has no color."""
        if is_gray(rgb):
            self.gray += 1
            return False
        factor = LONG_SIDE_PX / max(rgb.shape[:2])
        if factor < 1:
            size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
            rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        levels = np.quantile(rgb_to_luma(rgb)[::4, ::4], np.linspace(0, 1, 32)).astype(np.float32)
        for view in self._views:
            if np.abs(levels - view.levels).mean() > LIGHT_DISTANCE:
                continue
            base = view.pictures[0]
            found = registration.register(rgb_to_luma(base), rgb_to_luma(rgb))
            if found.same_scene:
                size = (base.shape[0], base.shape[1])
                view.add(registration.warp(rgb, found.matrix, size))
                return True
        view = _View(name, levels)
        view.add(np.ascontiguousarray(rgb))
        self._views.append(view)
        return True

    def references(self) -> list[Reference]:
        """The references, that of the most pictures first.

        Raises:
            CalibrationError: no picture had color.
        """
        if not self._views:
            raise CalibrationError(
                f"no picture in color among {self.gray}: give pictures or recordings by day"
                if self.gray
                else "no picture was given"
            )
        views = sorted(self._views, key=lambda view: -view.seen)[: self._keep]
        return [_reference(view, self._still_from) for view in views]


def _reference(view: _View, still_from: int) -> Reference:
    stack = np.stack(view.pictures)
    count = len(stack)
    if count == 1:
        return Reference(stack[0], np.full(stack.shape[1:3], 255, np.uint8), view.name)
    median = np.empty(stack.shape[1:], np.uint8)
    agreeing = np.empty(stack.shape[1:3], np.float32)
    for top in range(0, stack.shape[1], 64):  # in bands, to keep memory low
        band = stack[:, top : top + 64]
        middle = np.median(band, axis=0)
        median[top : top + 64] = middle
        difference = np.abs(band.astype(np.float32) - middle).max(3)
        agreeing[top : top + 64] = (difference < DISAGREE_LEVELS).mean(0)
    needed = 0.6 if count >= CLEAN_FROM else 0.99  # of few pictures, no majority can be told from chance
    trust = np.where(agreeing >= needed, 255, 0).astype(np.uint8)
    trust = cv2.morphologyEx(cv2.medianBlur(trust, 5), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    name = f"{view.name}, median of {count} pictures"
    trust = np.asarray(cv2.erode(trust, np.ones((7, 7), np.uint8)), np.uint8)
    return Reference(median, trust, name, still=count >= still_from)

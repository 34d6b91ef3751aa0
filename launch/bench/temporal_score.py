"""What the temporal bench measures of one method on one clip, and the table of it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.measures.flicker import ColorDistribution, StaticFlicker, WarpingError

Rgb = NDArray[np.uint8]


@dataclass(slots=True)
class Row:
    """One method on one clip; NaN where there is no color reference.

    Attributes:
        clip: file name.
        method: what was done.
        frames: number of frames.
        cdc: color distribution consistency of the output.
        static_ab: mean |change of a*b*| a frame where the input did not change.
        psnr_db: against the reference, mean over the frames.
        warping_error: E_warp with the reference's flow.
        reference_warping_error: the real color video's own.
    """

    clip: str
    method: str
    frames: int
    cdc: float
    static_ab: float
    psnr_db: float = math.nan
    warping_error: float = math.nan
    reference_warping_error: float = math.nan


class Score:
    """Everything that is measured of one method on one clip."""

    def __init__(self, clip: str, method: str) -> None:
        self._clip, self._method = clip, method
        self._distribution, self._static, self._warping = ColorDistribution(), StaticFlicker(), WarpingError()
        self._psnr_db: list[float] = []
        self._frames = 0

    def add(self, rgb: Rgb, luma: NDArray[np.uint8], truth: Rgb | None, moved: Any) -> None:
        self._frames += 1
        self._distribution.add(rgb)
        self._static.add(rgb, luma)
        if truth is not None:
            self._warping.add(rgb, moved)
            self._psnr_db.append(cv2.PSNR(rgb, truth))

    def row(self, reference_warping_error: float) -> Row:
        return Row(
            self._clip,
            self._method,
            self._frames,
            self._distribution.value(),
            self._static.value(),
            statistics.fmean(self._psnr_db) if self._psnr_db else math.nan,
            self._warping.value(),
            reference_warping_error,
        )


def table(rows: list[Row]) -> list[str]:
    """Lines for people."""
    lines = [f"{'clip':28} {'method':22} {'CDC':>8} {'static':>7} {'PSNR':>6} {'E_warp':>9} {'of real':>7}"]
    for row in rows:
        ratio = row.warping_error / row.reference_warping_error if row.reference_warping_error else math.nan
        lines.append(
            f"{row.clip[:28]:28} {row.method:22} {row.cdc:8.5f} {row.static_ab:7.4f} {row.psnr_db:6.2f}"
            f" {row.warping_error:9.6f} {ratio:7.2f}".replace("nan", "  -")
        )
    return lines

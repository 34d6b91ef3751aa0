"""The engine that changes nothing: the luma as it is, the point of reference for all others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.picture import require_picture
from irchroma.engines.recolor.color_space import luma_to_rgb


@dataclass(frozen=True, slots=True)
class GrayPicture:
    """(H, W, 3) uint8 R'G'B' without color; confidence has no meaning."""

    rgb: NDArray[np.uint8]
    confidence: None = None


class GrayColorizer:
    """A `Colorizer` that gives the luma back in three channels."""

    name = "gray"
    synthetic, prompt = False, True
    depth = 2

    def __init__(self) -> None:
        self._pending: deque[GrayPicture] = deque()

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        require_picture(luma, counts)
        self._pending.append(GrayPicture(luma_to_rgb(luma)))

    def collect(self) -> GrayPicture:
        return self._pending.popleft()

    def reset(self) -> None:
        """Drop what is in flight."""
        self._pending.clear()

    def close(self) -> None:
        self._pending.clear()

"""The launches that search for the motion between two pictures on a device, both ways, and check it.

Dense inverse search as `motion.DisSearch` runs it (patches of 8x8, 5 px apart, 8 iterations, at half of the
pictures' size and less), but with all patches of a size at once: see `kernels/motion.cu`.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from irchroma.engines.gpu.device import Block, DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import LANES, Launch, launch, search_state_struct
from irchroma.engines.gpu.steps.filters import sizes

PATCH_PX, STRIDE_PX = 8, 5
SQUARED_PARTS = 256
"""Of a squared pixel, in which kernels sum up motion."""
PASSES, STEPS = 2, 4
"""Over all patches of a size, trying their neighbors' results of the one before; and of a patch in each."""


def asked_block(size: tuple[int, int]) -> Block:
    """What a search gets: `SearchState`, the pictures now and before, and where anything may move."""
    state = ((ctypes.sizeof(search_state_struct()),), np.uint8)
    return Block({"state": state, "pictures": ((2, *size), np.uint8), "near": (size, np.uint8)})


def found_block(size: tuple[int, int]) -> Block:
    """What comes back of a search."""
    parts: dict[str, tuple[tuple[int, ...], Any]] = {
        name: (size, np.uint8) for name in ("moves", "occluded", "predicted")
    }
    return Block({**parts, "rows": ((size[0],), np.uint32)})


@dataclass(frozen=True, slots=True)
class _Level:
    """Both pictures at one size, and the patches and the flow there."""

    pictures: DeviceArray
    patches: tuple[DeviceArray, DeviceArray]
    flow: DeviceArray


def level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """(h, w) of the sizes that are searched, from the finest; OpenCV's choice for patches of 8 px."""
    coarsest = min(int(math.log2(max(size) / (4 * PATCH_PX)) + 0.5), int(math.log2(min(size) / PATCH_PX)))
    found = []
    for scale in range(min(1, max(coarsest, 0)), max(coarsest, 0) + 1):
        found.append((size[0] >> scale, size[1] >> scale))
    return found


class SearchSteps:
    """Puts the launches together, for pictures of one size."""

    def __init__(
        self,
        space: Workspace,
        asked: dict[str, DeviceArray],
        found: dict[str, DeviceArray],
        size: tuple[int, int],
    ) -> None:
        """Args:
        space: of what only the search needs.
        asked: of `asked_block`.
        found: of `found_block`.
        size: (h, w), at least `motion.SMALLEST_PX`.
        """
        self._asked, self._found, self._size = asked, found, size
        self._flow = space.array("search.flow", (2, 2, *size))
        self._levels = []
        for index, (height, width) in enumerate(level_sizes(size)):
            patches = (2, 2, _patches(height), _patches(width))
            self._levels.append(
                _Level(
                    asked["pictures"]
                    if (height, width) == size
                    else space.array(f"search.pictures.{index}", (2, height, width), np.uint8),
                    (
                        space.array(f"search.first.{index}", patches),
                        space.array(f"search.second.{index}", patches),
                    ),
                    space.array(f"search.flow.{index}", (2, 2, height, width)),
                )
            )

    def build(self, source: DeviceArray, moving: DeviceArray) -> list[Launch]:
        """All launches, in order; `source` and `moving` as the color memory takes them."""
        steps = []
        finer = self._asked["pictures"]
        for level in self._levels:
            if level.pictures is not finer:
                height, width = level.pictures.shape[1:]
                whole = sizes(finer.shape[1:], (height, width))
                extent = (width, height, 2)
                steps.append(launch("reduce_pair", extent, **{"in": finer}, out=level.pictures, **whole))
            finer = level.pictures
        coarse: DeviceArray | None = None
        for level in reversed(self._levels):
            steps += self._searched(level, coarse)
            coarse = level.flow
        return [*steps, *self._checked(source, moving)]

    def _searched(self, level: _Level, coarse: DeviceArray | None) -> list[Launch]:
        height, width = level.pictures.shape[1:]
        rows, columns = level.patches[0].shape[2:]
        size = {"width": width, "height": height, "columns": columns, "rows": rows}
        tried: DeviceArray | None = None
        steps = []
        for index in range(PASSES):
            found = level.patches[index % 2]
            steps.append(
                launch("search_patches", (columns * LANES, rows, 2), state=self._asked["state"],
                    pictures=level.pictures, coarse=coarse, tried=tried, found=found,
                    coarse_width=1 if coarse is None else coarse.shape[3],
                    coarse_height=1 if coarse is None else coarse.shape[2], steps=STEPS,
                    scale_x=width / self._size[1], scale_y=height / self._size[0], **size)
            )  # fmt: skip
            tried = found
        spread = {"pictures": level.pictures, "found": tried, "flow": level.flow}
        return [*steps, launch("spread_patches", (width, height, 2), **spread, **size)]

    def _checked(self, source: DeviceArray, moving: DeviceArray) -> list[Launch]:
        height, width = self._size
        finest = self._levels[0].flow
        size = {"width": width, "height": height}
        return [
            launch("enlarge_flow", (width, height, 2), state=self._asked["state"], near=self._asked["near"],
                flow=finest, out=self._flow, rows=self._found["rows"], from_width=finest.shape[3],
                from_height=finest.shape[2], **size),
            launch("check_flow", (width, height, 1), state=self._asked["state"],
                pictures=self._asked["pictures"], flow=self._flow, source=source, moving=moving,
                **self._found, **size),
        ]  # fmt: skip


def _patches(length: int) -> int:
    """How many lie along a side."""
    return 1 - (PATCH_PX - length) // STRIDE_PX

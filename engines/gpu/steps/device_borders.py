"""Black borders on a device: the launches that find them as `neutral.borders` does."""

from __future__ import annotations

import numpy as np

from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.device_workspace import Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch

SEGMENT_PX = 64
"""Part of a line that one thread looks at."""


def find_borders(space: Workspace, steps: list[Launch], luma: DeviceArray, name: str) -> DeviceArray:
    """(8,) int32, `Borders` of borders.h, of (H, W) uint8 luma; the launches are added to `steps`."""
    height, width = luma.shape
    lines = max(height, width)
    segments = -(-lines // SEGMENT_PX)
    size = {"width": width, "height": height}
    parts = {"lines": lines, "segments": segments}
    extremes = space.array(f"{name}.extremes", (2, lines, segments, 2), np.uint8)
    for columns, extent in ((0, (segments, height, 1)), (1, (width, segments, 1))):
        more = {"length": SEGMENT_PX, "columns": columns}
        steps.append(launch("line_extremes", extent, luma=luma, out=extremes, **more, **parts, **size))
    black = space.array(f"{name}.black", (2, lines), np.uint8)
    steps.append(launch("black_lines", (lines, 1, 2), extremes=extremes, out=black, **parts, **size))
    found = space.array(f"{name}.borders", (8,), np.int32)
    steps.append(launch("border_runs", (4, 1, 1), black=black, out=found, lines=lines, **size))
    steps.append(launch("border_votes", (lines, 1, 4), luma=luma, borders=found, **size))
    return found

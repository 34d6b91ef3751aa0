"""A reference of the scene on a device: laid over the network's color, its picture put behind the frame's.

The host follows the camera and says how far the reference is taken, place by place
(`ReferenceSteering.lay`); that alone is copied with each frame. What stays the same while the camera stands
still, the reference's color and its picture at full size, is copied when it is another one.

The launches give what `ReferenceSteering.apply` (of a reference of which nothing is held back) and
`Scenery.put_behind` give; packed, too, where the CPU puts it behind Y', Cb and Cr (`put_behind_video`), which
differs where R'G'B' is clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.device import Block, DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.i420 import PackOptions, packed_arguments
from irchroma.engines.reference.laid import Laid, Laying, detail_radius_px


class LaidLayout(Block):
    """Where in one block of memory what is laid over a frame lies, what changes most often first.

    Attributes:
        size: (H, W) of the frame.
        work: (h, w) at which its color is.
    """

    def __init__(self, size: tuple[int, int], work: tuple[int, int]) -> None:
        self.size, self.work = size, work
        parts: dict[str, tuple[tuple[int, ...], Any]] = {
            "share": (work, np.float32),
            "given": ((3, *work), np.float32),
            "support": (work, np.float32),
            "picture": ((*size, 3), np.uint8),
        }
        super().__init__(parts)


class LaidWriter:
    """Fills one block, frame after frame; what the device has of it already is not written again."""

    def __init__(self, layout: LaidLayout, block: NDArray[np.uint8]) -> None:
        """Args:
        layout: of the block.
        block: the host's, zeros, as the device's is.
        """
        self._layout = layout
        self._parts = layout.on_host(block)
        self._laid: Laid | None = None
        self._given: NDArray[np.float32] | None = None
        self._blank = True

    def forget(self) -> None:
        """Nobody knows what the device has: the next frame sends all of it."""
        self._laid = self._given = None
        self._blank = False

    def write(self, laying: Laying | None) -> int:
        """Write what is laid over one frame; None for nothing.

        Returns:
            How many bytes of the block are others than the device has.
        """
        parts, layout = self._parts, self._layout
        if laying is None:
            if self._blank:
                return 0
            parts["share"][...] = 0
            self._blank = True
            return layout.nbytes_up_to("share")
        self._blank = False
        np.copyto(parts["share"], laying.share)
        last = "share"
        if laying.ycc is not self._given:
            self._given, last = laying.ycc, "given"
            np.copyto(parts["given"], laying.ycc.transpose(2, 0, 1))
        if laying.laid is not self._laid:
            self._laid, last = laying.laid, "picture"
            support = laying.laid.support
            parts["support"][...] = 1 if support is None else support
            np.copyto(parts["picture"], laying.laid.picture(layout.size))
        return layout.nbytes_up_to(last)


@dataclass(frozen=True, slots=True)
class Behind:
    """What is put behind a frame.

    Attributes:
        parts: of `LaidLayout`, on the device.
        plain: (3, h, w) uint8 R', G', B' of the reference's color at work size.
        scenery: see `ReferenceOptions.scenery`.
    """

    parts: dict[str, DeviceArray]
    plain: DeviceArray
    scenery: float


def lay_step(
    space: Workspace, parts: dict[str, DeviceArray], color: DeviceArray
) -> tuple[DeviceArray, DeviceArray, Launch]:
    """(4, h, w) float32 color with the reference over `color`; `Behind.plain`; and the launch of both.

    Args:
        space: of what is made.
        parts: of `LaidLayout`.
        color: (4, h, w) float32: Y', Cb, Cr and confidence; not written to.
    """
    _, height, width = color.shape
    made, plain = (
        space.array("laid.color", color.shape),
        space.array("laid.plain", (3, height, width), np.uint8),
    )
    given = {"color": color, "given": parts["given"], "share": parts["share"], "out": made, "plain": plain}
    return made, plain, launch("lay_color", (width, height, 4), **given, width=width, height=height)


def behind_steps(
    space: Workspace, rgb: DeviceArray, behind: Behind, out: DeviceArray, pack: PackOptions | None
) -> list[Launch]:
    """From a frame (H, W, 3) uint8 R'G'B' to the same before what is behind it, as `FrameArrays.out` says."""
    height, width, _ = rgb.shape
    extent, radius = (width, height, 1), detail_radius_px((height, width))
    gray, base = (space.array(f"behind.{name}", (height, width), np.uint8) for name in ("gray", "base"))
    once = space.array("behind.once", (height, width), np.uint8)
    sums = space.array("behind.sums", (height, width), np.int32)
    steps = [launch("gray_of", extent, rgb=rgb, out=gray, width=width)]
    for source, target in ((gray, once), (once, base)):
        rows = {"in": source, "out": sums, "width": width, "radius": radius}
        columns = {"in": sums, "out": target, "width": width, "height": height, "radius": radius}
        steps += [launch("sum_rows", extent, **rows), launch("mean_columns", extent, **columns)]
    small_height, small_width = behind.parts["share"].shape
    given = {name: behind.parts[name] for name in ("picture", "support", "share")}
    given |= {"rgb": rgb, "gray": gray, "base": base, "plain": behind.plain}
    size = {"width": width, "height": height, "small_width": small_width, "small_height": small_height}
    if pack is None:
        steps.append(launch("put_behind", extent, **given, **size, out=out, scenery=behind.scenery))
        return steps
    halves = ((width + 1) // 2, (height + 1) // 2, 1)
    packed = packed_arguments(out, (height, width), pack)
    steps.append(launch("put_behind_packed", halves, **given, **size, **packed, scenery=behind.scenery))
    return steps

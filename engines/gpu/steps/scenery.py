"""A reference of the scene on a device: laid over the network's color, its picture put behind the frame's.

The host follows the camera and says how far the reference is taken, place by place
(`ReferenceSteering.lay`); that alone is copied with each frame. What stays the same while the camera stands
still, the reference's color and its picture at full size, is copied when it is another one.

The launches give what `ReferenceSteering.apply` (of a reference of which nothing is held back) and
`Scenery.put_behind` give; behind a packed picture `Scenery.put_behind_video`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.gpu.device import Block, DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.confidence import unknown
from irchroma.engines.gpu.steps.filters import half_of
from irchroma.engines.gpu.steps.i420 import Layout, packed_arguments, packed_bytes
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.color_space import rgb_to_video_in_1024ths
from irchroma.engines.recolor.recoloring import SURE, UNSURE, RecolorOptions
from irchroma.engines.reference.overlay import Laid, Laying, detail_radius_px


class LaidLayout(Block):
    """Where in one block of memory what is laid over a frame lies, what changes most often first.

    Attributes:
        size: (H, W) of the frame.
        work: (h, w) at which its color is.
        video: the reference's picture is I420, BT.709 limited range, to lie behind packed pictures.
    """

    def __init__(self, size: tuple[int, int], work: tuple[int, int], video: bool = False) -> None:
        self.size, self.work, self.video = size, work, video
        parts: dict[str, tuple[tuple[int, ...], Any]] = {
            "laid": ((1,), np.int32),
            "share": (work, np.float32),
            "given": ((3, *work), np.float32),
            "support": (work, np.float32),
            "picture": ((packed_bytes(size),) if video else (*size, 3), np.uint8),
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
            parts["laid"][...] = parts["share"][...] = 0
            self._blank = True
            return layout.nbytes_up_to("share")
        self._blank = False
        parts["laid"][...] = 1
        np.copyto(parts["share"], laying.share)
        last = "share"
        if laying.ycc is not self._given:
            self._given, last = laying.ycc, "given"
            np.copyto(parts["given"], laying.ycc.transpose(2, 0, 1))
        if laying.laid is not self._laid:
            self._laid, last = laying.laid, "picture"
            support = laying.laid.support
            parts["support"][...] = 1 if support is None else support
            if layout.video:
                planes = laying.laid.video(layout.size)
                np.concatenate([plane.ravel() for plane in planes], out=parts["picture"])
            else:
                np.copyto(parts["picture"], laying.laid.picture(layout.size))
        return layout.nbytes_up_to(last)


@dataclass(frozen=True, slots=True)
class Behind:
    """What is put behind a frame.

    Attributes:
        parts: of `LaidLayout`, on the device.
        plain: (3, h, w) uint8 R', G', B' of the reference's color at work size, or Y', Cb, Cr of video.
        scenery: see `ReferenceOptions.scenery`.
    """

    parts: dict[str, DeviceArray]
    plain: DeviceArray
    scenery: float


def lay_step(
    space: Workspace,
    parts: dict[str, DeviceArray],
    own: tuple[DeviceArray, DeviceArray],
    how: tuple[RecolorOptions, BandLook],
    video: bool = False,
) -> tuple[DeviceArray, DeviceArray, Launch]:
    """(5, h, w) float32 color with the reference over `color`, its share last; `Behind.plain`; and the launch
    of both.

    Args:
        space: of what is made.
        parts: of `LaidLayout`.
        own: (4, h, w) float32: Y', Cb, Cr and confidence; (h, w) uint8 luma; neither is written to.
        how: what is not sure is shown, over which the reference is laid.
        video: see `LaidLayout`.
    """
    color, small = own
    _, height, width = color.shape
    made, plain = (
        space.array("laid.color", (5, height, width)),
        space.array("laid.plain", (3, height, width), np.uint8),
    )
    given: dict[str, Any] = {name: parts[name] for name in ("laid", "given", "share")}
    given |= {"color": color, "small": small, "unsure": UNSURE, "sure": SURE, **unknown(how[1], how[0])}
    given |= {"out": made, "plain": plain, "video": int(video), "to_video": rgb_to_video_in_1024ths()}
    return made, plain, launch("lay_color", (width, height, 5), **given, width=width, height=height)


def behind_steps(space: Workspace, rgb: DeviceArray, behind: Behind, out: DeviceArray) -> list[Launch]:
    """From a frame (H, W, 3) uint8 R'G'B' to the same before what is behind it, into `out` of that shape."""
    height, width, _ = rgb.shape
    gray = space.array("behind.gray", (height, width), np.uint8)
    base, blurring = _blurred(space, gray)
    small_height, small_width = behind.parts["share"].shape
    given = {name: behind.parts[name] for name in ("picture", "support", "share")}
    given |= {"rgb": rgb, "gray": gray, "base": base, "plain": behind.plain, "out": out}
    size = {"width": width, "height": height, "small_width": small_width, "small_height": small_height}
    extent = (width, height, 1)
    return [
        launch("gray_of", extent, rgb=rgb, out=gray, width=width),
        *blurring,
        launch("put_behind", extent, **given, **size, scenery=behind.scenery),
    ]


def behind_video_steps(
    space: Workspace, packed: DeviceArray, size: tuple[int, int], behind: Behind, layout: Layout
) -> list[Launch]:
    """The same of a packed picture of (H, W), in place."""
    height, width = size
    luma = packed.part(0, size, np.uint8)
    base, blurring = _blurred(space, luma)
    half_height, half_width = half_of(size)
    small_height, small_width = behind.parts["share"].shape
    given = {name: behind.parts[name] for name in ("picture", "support", "share")}
    given |= {"base": base, "plain": behind.plain, "luma": luma, **packed_arguments(packed, size, layout)}
    sizes = {"width": width, "height": height, "half_width": half_width, "half_height": half_height}
    sizes |= {"small_width": small_width, "small_height": small_height}
    extent = (half_width, half_height, 1)
    return [*blurring, launch("put_behind_video", extent, **given, **sizes, scenery=behind.scenery)]


def _blurred(space: Workspace, luma: DeviceArray) -> tuple[DeviceArray, list[Launch]]:
    """(H, W) uint8 of (H, W) uint8 without what is detail before a reference, and the launches of it."""
    height, width = luma.shape
    extent, radius = (width, height, 1), detail_radius_px((height, width))
    once, base = (space.array(f"behind.{name}", (height, width), np.uint8) for name in ("once", "base"))
    sums = space.array("behind.sums", (height, width), np.int32)
    steps = []
    for source, target in ((luma, once), (once, base)):
        rows = {"in": source, "out": sums, "width": width, "radius": radius}
        columns = {"in": sums, "out": target, "width": width, "height": height, "radius": radius}
        steps += [launch("sum_rows", extent, **rows), launch("mean_columns", extent, **columns)]
    return base, steps

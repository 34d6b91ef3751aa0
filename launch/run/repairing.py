"""`--repair` of a run: the mask that is named or found, and the engine that fills it.

It is the same for single pictures.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.burn_in import BurnInFinder
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.repair.carrying import Pixels
from irchroma.engines.repair.filling import FillOptions
from irchroma.engines.repair.lost_blocks import LostBlocks
from irchroma.engines.repair.mask import FrameMasks, Mask, MaskError, NamedMasks, read_mask, require_some
from irchroma.engines.repair.repairer import RepairOptions, VideoRepair
from irchroma.engines.repair.stream_damage import StreamDamage
from irchroma.launch.run.settings.options import RepairChoice
from irchroma.stream.remarks import remark
from irchroma.stream.sensor.profile import load_profile

log = logging.getLogger(__name__)

DOUBTED = np.uint8(128)
"""How sure what was mended is not, of 255, where it is drawn on from what a decoder has made up."""

LOOK_NS = 250_000_000
"""Burnt-in text is looked for in so many frames a second: what stands still is found late, not often."""
FIRST_NS, LATER_NS = 5_000_000_000, 30_000_000_000
"""When what was found is first used, and how often it is looked at anew."""


def mask_of(text: str) -> Mask:
    """The mask that `--repair` names: a picture, or a camera profile's bad pixels and missing areas.

    Raises:
        MaskError: it marks nothing, marks all, or cannot be read.
        SourceError: the profile cannot be read.
    """
    path = Path(text)
    if path.is_dir():
        raise MaskError(f"{path}: a folder of masks: name one mask")
    if path.suffix.lower() != ".toml":
        return read_mask(path)
    profile = load_profile(path)
    faults = profile.faults
    size = profile.size or (None if faults.bad_pixels is None else faults.bad_pixels.shape)
    if size is None:
        raise MaskError(f"{path}: says neither bad pixels nor the camera's size: nothing to repair")
    mask = np.zeros(size, bool) if faults.bad_pixels is None else faults.bad_pixels > 0
    for x, y, width, height in faults.missing:
        mask[y : y + height, x : x + width] = True
    require_some(mask, text)
    return mask


class PictureRepair:
    """Repairs single pictures by one mask, or each by its own in a folder of them.

    Attributes:
        unmarked: pictures so far without a mask in the folder, or with an empty one; they stay as they are.
    """

    def __init__(self, choice: RepairChoice, network: NetworkOptions) -> None:
        """As `RunRepair`; the mask cannot be `auto`."""
        folder = Path(choice.mask)
        self._named = NamedMasks(folder) if folder.is_dir() else None
        mask = mask_of(choice.mask) if self._named is None else None
        self._repair = VideoRepair(
            RepairOptions(FillOptions(choice.method, network), remember=False), mask, choice.mask
        )
        self.unmarked = 0

    def apply(self, pixels: Pixels, name: str) -> Pixels:
        """The repaired picture, (H, W) uint8 or uint16; `name` is its file's without suffix.

        Raises:
            MaskError: it is not of the mask's size.
        """
        if self._named is None:
            return self._repair.apply(pixels, 0)[0]
        mask = self._named.of(name)
        self.unmarked += mask is None
        self._repair.reset()  # the next picture may be of another size
        return self._repair.apply(pixels, 0, lost=mask)[0]

    def close(self) -> None:
        """Let go of the network; may be called twice."""
        self._repair.close()


class RunRepair:
    """A `FrameRepair` of a run; with `auto`, finds out what there is to repair while it goes on.

    Called by the loop's thread, `summary` by any.

    Attributes:
        damaged: frames with lost blocks so far.
        doubted: frames so far that are drawn on from what a decoder has made up.
    """

    def __init__(self, choice: RepairChoice, network: NetworkOptions) -> None:
        """Read the mask and open the network.

        Raises:
            EngineError: the mask or the method cannot be used.
        """
        self._finder = BurnInFinder() if choice.mask == "auto" else None
        self._lost = LostBlocks() if choice.mask == "auto" else None
        self._damage = StreamDamage() if choice.mask == "auto" else None
        self._masks = FrameMasks(Path(choice.mask)) if Path(choice.mask).is_dir() else None
        self._number = 0
        changing = self._finder is not None or self._masks is not None
        mask = None if changing else mask_of(choice.mask)
        options = RepairOptions(FillOptions(choice.method, network))
        self._repair = VideoRepair(options, mask, choice.mask)
        self._size: tuple[int, int] | None = None
        self.damaged = self.doubted = 0
        self._looked_ns: int | None = None
        self._judged_ns: int | None = None
        self._waits_ns = FIRST_NS

    def apply(
        self,
        pixels: NDArray[Any],
        pts_ns: int,
        held: bool = False,
        damaged_from: float | None = None,
        drawn_anew: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        number, self._number = self._number, self._number + 1
        if self._finder is not None and not held:
            self._look(self._finder, pixels, pts_ns)
        size = (pixels.shape[0], pixels.shape[1])
        self._size = self._size or size
        if size != self._size:
            remark(
                f"pictures of {size[1]}x{size[0]} are not repaired: the mask is of"
                f" {self._size[1]}x{self._size[0]}"
            )
            return pixels, None
        lost = self._lost.find(pixels) if self._lost is not None else None
        if self._masks is not None:
            return self._repair.apply(pixels, pts_ns, held, self._masks.of(number))
        if self._damage is None or pixels.dtype != np.uint8:  # counts come without loss or not at all
            return self._filled(pixels, pts_ns, held, lost, None)
        seen = self._damage.look(pixels, pts_ns, damaged_from, drawn_anew)
        if seen.lost is not None:
            lost = seen.lost if lost is None else lost | seen.lost
        if seen.restored is not None and lost is None:
            self._count_damaged()
        mended, marked = self._filled(seen.pixels, pts_ns, held, lost, seen.lasting)
        if seen.restored is not None:
            restored = seen.restored * np.uint8(255)
            marked = restored if marked is None else np.maximum(marked, restored)
        if seen.doubted is not None:
            self.doubted += 1
            remark("parts of pictures go on from what the stream had lost: the confidence view marks them")
            doubt = seen.doubted * DOUBTED
            marked = doubt if marked is None else np.maximum(marked, doubt)
        return mended, marked

    def _filled(
        self, pixels: NDArray[Any], pts_ns: int, held: bool, lost: Mask | None, lasting: Mask | None
    ) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        if lost is not None:
            self._count_damaged()
        return self._repair.apply(pixels, pts_ns, held, lost, lasting)

    def _count_damaged(self) -> None:
        self.damaged += 1
        remark("parts of pictures that the stream had lost were filled in", key="lost-blocks")

    def _look(self, finder: BurnInFinder, pixels: NDArray[Any], pts_ns: int) -> None:
        if self._looked_ns is not None and 0 <= pts_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = pts_ns
        finder.add(pixels)
        if self._judged_ns is None:
            self._judged_ns = pts_ns
        if pts_ns - self._judged_ns < self._waits_ns or not finder.ready:
            return
        self._judged_ns, self._waits_ns = pts_ns, LATER_NS
        found = finder.mask()
        if found.any() and not found.all():
            log.info("repair auto: %.2f %% of the picture is burnt in", 100 * found.mean())
            remark("what is burnt into the picture was found and filled in", key="burn-in")
            self._repair.use(found)

    def reset(self) -> None:
        self._repair.reset()
        if self._lost is not None:
            self._lost.reset()
        if self._damage is not None:
            self._damage.reset()
        if self._finder is not None:
            self._finder, self._judged_ns, self._waits_ns = BurnInFinder(), None, FIRST_NS
            self._size = None

    def summary(self) -> dict[str, Any]:
        """For the statistics of a run."""
        found = {}
        if self._lost is not None:
            found = {"damaged_frames": self.damaged, "doubted_frames": self.doubted}
        return self._repair.summary() | found

    def close(self) -> None:
        """Let go of the network; may be called twice."""
        self._repair.close()

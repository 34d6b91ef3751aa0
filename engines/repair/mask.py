"""What is to be repaired: a mask, what of it is thin or wide, the windows that wide holes are seen in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
SIDE_PX = 128
"""Of the pictures that networks see."""
CORE_PX = 64
"""Of a window, in the network's pixels: what it fills at most, so that as much around it is known."""
MARGIN_PX = 12
"""Known picture that a hole needs between itself and the window's border to share the window."""
RING_PX = 4
"""Width of the border of a hole that says how bright it must be."""
CELL_PX = 4
"""Side of the cells in which a border's brightness is averaged."""
WIDE_PX = 11
"""Holes in which a square of this side has room are for the network: blobs from 14 to 16 pixels across on are
better by it (measured, see weights/repair.md)."""

Mask = NDArray[np.bool_]


class MaskError(EngineOptionError):
    """A mask cannot be used; the line says what was expected, what was found and what to do."""


def read_mask(path: Path) -> Mask:
    """A mask from a picture: (H, W) bool, true where it is lighter than middle gray.

    Raises:
        MaskError: it is missing, no picture, or marks nothing.
    """
    mask = _read(path)
    require_some(mask, str(path))
    return mask


class FrameMasks:
    """A folder of masks for single frames, each with its frame's number at the end of its name, from 0 on."""

    def __init__(self, folder: Path) -> None:
        """List them, and read the first.

        Raises:
            MaskError: there are none, one has no number, or two have the same.
        """
        self._files: dict[int, Path] = {}
        for path in _masks_in(folder):
            digits = re.search(r"[0-9]+$", path.stem)
            if digits is None:
                raise MaskError(f"{path}: expected its frame's number at the end of its name: mask_0012.png")
            other = self._files.setdefault(int(digits[0]), path)
            if other != path:
                raise MaskError(f"{path}: is for frame {int(digits[0])} as {other.name} is: keep one of them")
        if not self._files:
            raise MaskError(f"{folder}: no masks in it; expected mask_0000.png .., white where repaired")
        _read(self._files[min(self._files)])

    def of(self, number: int) -> Mask | None:
        """(H, W) bool of a frame by its number; None where it has no mask, or one that marks nothing.

        Raises:
            MaskError: its file is no picture.
        """
        return _read_some(self._files.get(number))


class NamedMasks:
    """A folder of masks for single pictures, each with the name of its picture: gate.png for gate.jpg."""

    def __init__(self, folder: Path) -> None:
        """List them.

        Raises:
            MaskError: there are none, or two have the same name.
        """
        self._files: dict[str, Path] = {}
        for path in _masks_in(folder):
            other = self._files.setdefault(path.stem, path)
            if other != path:
                raise MaskError(f"{path}: is for the same picture as {other.name}: keep one of them")
        if not self._files:
            raise MaskError(f"{folder}: no masks in it; expected one by the name of each picture")

    def of(self, name: str) -> Mask | None:
        """(H, W) bool of a picture by its name without suffix; None where it has none or an empty one.

        Raises:
            MaskError: its file is no picture.
        """
        return _read_some(self._files.get(name))


def _masks_in(folder: Path) -> list[Path]:
    """Its masks by name, hidden files left out."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in MASK_SUFFIXES)
    return [path for path in found if not path.name.startswith(".")]


def _read_some(path: Path | None) -> Mask | None:
    """None for no file, and for one that marks nothing."""
    mask = None if path is None else _read(path)
    return mask if mask is not None and mask.any() else None


def _read(path: Path) -> Mask:
    if not path.is_file():
        raise MaskError(f"{path}: no such file; expected a mask, white where a picture is repaired")
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise MaskError(f"{path}: not a picture; expected a mask, white where a picture is repaired")
    return np.asarray(np.asarray(pixels, np.uint8) > 127, bool)


def require_some(mask: Mask, name: str) -> None:
    """MaskError where a mask leaves nothing to do or nothing to do it from; the line says which."""
    if not mask.any():
        raise MaskError(f"{name}: marks nothing: paint white what is to be repaired (levels of 128 and more)")
    if mask.all():
        raise MaskError(
            f"{name}: marks the whole picture: leave black what is good, from which the rest is made"
        )


def require_size(mask: Mask, size: tuple[int, int], name: str) -> None:
    """MaskError where a mask is not of the picture's size (H, W)."""
    if mask.shape != size:
        raise MaskError(
            f"{name}: is {mask.shape[1]}x{mask.shape[0]}, the picture {size[1]}x{size[0]}:"
            " a mask must be of the picture's size"
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A square of the picture that a network sees, scaled to `SIDE_PX`.

    Attributes:
        top, left: of the square, pixels; below 0 where the picture is smaller than it.
        side: pixels.
        own: flat indices in the picture of the missing pixels that are filled from here.
    """

    top: int
    left: int
    side: int
    own: NDArray[np.intp]


class Holes:
    """A mask, looked at once for all frames that have it.

    Attributes:
        mask: (H, W) bool, true where the picture is repaired.
        index: flat indices of those pixels.
        wide: (H, W) bool, those of them that are for a network: wider and higher than `WIDE_PX`.
        thin: the others.
        waiting: numbers of the windows that are to be filled as their turn comes.
    """

    def __init__(self, mask: Mask, wide_px: int = WIDE_PX) -> None:
        self.mask = mask
        self.index = np.flatnonzero(mask)
        missing = mask.astype(np.uint8)
        core = cv2.morphologyEx(missing, cv2.MORPH_OPEN, np.ones((wide_px, wide_px), np.uint8))
        near = cv2.dilate(core, np.ones((5, 5), np.uint8))
        self.wide: Mask = (near > 0) & mask
        self.thin: Mask = mask & ~self.wide
        self.waiting: list[int] = []

    @cached_property
    def known(self) -> NDArray[np.float32]:
        """(H, W) float32, 0 in holes, 1 elsewhere."""
        return (~self.mask).astype(np.float32)

    @cached_property
    def ring(self) -> NDArray[np.intp]:
        """Flat indices of the known pixels around the holes."""
        size = 2 * RING_PX + 1
        wide = cv2.dilate(self.mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        return np.flatnonzero(wide & ~self.mask)

    @cached_property
    def labels(self) -> tuple[int, NDArray[np.int32]]:
        """Number of holes and (H, W) int32: which hole a pixel or its ring belongs to, 0 elsewhere."""
        size = 2 * RING_PX + 1
        near = cv2.dilate(self.mask.astype(np.uint8), np.ones((size, size), np.uint8))
        count, labels = cv2.connectedComponents(near)
        return int(count), cast(NDArray[np.int32], labels)

    @cached_property
    def cells(self) -> tuple[tuple[int, int], NDArray[np.intp], NDArray[np.intp]]:
        """Cells of `CELL_PX` over the picture (rows, columns), and in which the ring and the holes lie."""
        height, width = self.mask.shape
        size = (-(-height // CELL_PX), -(-width // CELL_PX))
        rows, columns = np.divmod(self.ring, width)
        ring = rows // CELL_PX * size[1] + columns // CELL_PX
        rows, columns = np.divmod(self.index, width)
        return size, ring, rows // CELL_PX * size[1] + columns // CELL_PX

    @cached_property
    def good(self) -> NDArray[np.float32]:
        """(H, W) float32, 0 in holes and one pixel around them, on which lenses have spread them, else 1."""
        near = cv2.dilate(self.mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        return np.asarray(near == 0, np.float32)

    @cached_property
    def windows(self) -> list[Window]:
        """As few windows as hold all wide holes, the largest hole first."""
        count, labels, stats, _ = cv2.connectedComponentsWithStats(self.wide.astype(np.uint8))
        left = set(range(1, count))
        windows: list[Window] = []
        for number in sorted(left, key=lambda one: -int(stats[one, cv2.CC_STAT_AREA])):
            if number not in left:
                continue
            x, y, wide, high = (int(value) for value in stats[number, :4])
            scale = max(1.0, min(wide, high) / CORE_PX)
            core, side = round(CORE_PX * scale), round(SIDE_PX * scale)
            if max(wide, high) > core:
                left.discard(number)
                windows += self._tiled(labels == number, (y, x, high, wide), core, side)
                continue
            top = self._start(y + high // 2, side, 0)
            start = self._start(x + wide // 2, side, 1)
            inside = [one for one in left if self._fits(stats[one], top, start, side)]
            members = sorted({number, *inside})
            left.difference_update(members)
            windows.append(Window(top, start, side, np.flatnonzero(np.isin(labels, members))))
        return windows

    def _start(self, middle: int, side: int, axis: int) -> int:
        """Where a window begins, inside the picture if that is large enough."""
        length = int(self.mask.shape[axis])
        if length <= side:
            return -((side - length) // 2)
        return min(max(0, middle - side // 2), length - side)

    def _fits(self, stat: NDArray[np.int32], top: int, left: int, side: int) -> bool:
        x, y, wide, high = (int(value) for value in stat[:4])
        height, width = self.mask.shape
        return (
            (y >= top + MARGIN_PX or top <= 0)
            and (x >= left + MARGIN_PX or left <= 0)
            and (y + high <= top + side - MARGIN_PX or top + side >= height)
            and (x + wide <= left + side - MARGIN_PX or left + side >= width)
        )

    def _tiled(self, hole: Mask, box: tuple[int, int, int, int], core: int, side: int) -> list[Window]:
        """Windows side by side over a long hole (y, x, height, width), each for the piece in its middle."""
        y, x, high, wide = box
        windows = []
        for top in range(y, y + high, core):
            for left in range(x, x + wide, core):
                piece = np.zeros_like(hole)
                part = np.s_[top : min(top + core, y + high), left : min(left + core, x + wide)]
                piece[part] = hole[part]
                own = np.flatnonzero(piece)
                if own.size:
                    middle = (min(top + core // 2, y + high - 1), min(left + core // 2, x + wide - 1))
                    windows.append(
                        Window(self._start(middle[0], side, 0), self._start(middle[1], side, 1), side, own)
                    )
        return windows

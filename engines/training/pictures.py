"""Training pictures: infrared and color pairs, plain color pictures, label maps; decoded once into memory."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from irchroma.engines.errors import EngineError

LOG = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
UNLABELED = 11
FLAT = 1.0
"""Standard deviation in levels below which a picture shows nothing: a lens cap, a lost signal."""
HELD_BACK = 0.1
"""Share of the pairs that are not trained on where the folder has no `val/` to judge by."""
_Any = TypeVar("_Any")


@dataclass
class Picture:
    """One training picture.

    Attributes:
        name: file stem, with its folder's name for sequences.
        rgb: (H, W, 3) uint8, full range.
        ir: (H, W) uint8 infrared luma registered to `rgb`; None for plain color pictures.
        labels: (H, W) uint8 CamVid classes, 0 to 11; None where there are none.
        held: (H, W) uint8 how much of each pixel keeps an earlier network's answer; None: nothing.
    """

    name: str
    rgb: np.ndarray
    ir: np.ndarray | None = None
    labels: np.ndarray | None = None
    held: np.ndarray | None = None

    @property
    def infrared(self) -> np.ndarray:
        """`ir` of one of a pair.

        Raises:
            EngineError: it is a plain color picture.
        """
        if self.ir is None:
            raise EngineError(f"{self.name} has no infrared")
        return self.ir


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8.

    Raises:
        EngineError: the file is not a picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise EngineError(f"cannot read {path}: not a picture; remove it or replace it")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def read_gray(path: Path) -> np.ndarray:
    """Read a picture as (H, W) uint8.

    Raises:
        EngineError: the file is not a picture, or holds counts.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        raise EngineError(f"cannot read {path}: not a picture; remove it or replace it")
    if pixels.dtype != np.uint8:
        raise EngineError(
            f"{path} holds {8 * pixels.itemsize}-bit counts, and networks see 8 bits of luma: make it with"
            f" irchroma image {path.parent} {path.parent}8 --engine gray, and put that in its place"
        )
    return np.asarray(pixels, np.uint8)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


def read_pairs(folder: Path) -> list[Picture]:
    """Read `ir/NAME` and `rgb/NAME` of a folder, or of each of its sub-folders (sequences), sorted by name.

    Pairs whose infrared is of one level have nothing to learn, and are left out with a line in the log.

    Raises:
        EngineError: no `ir` and `rgb` folders, a picture without its partner, partners of other sizes, or
            no infrared that shows anything.
    """
    if not folder.is_dir():
        raise EngineError(f"no folder {folder}: expected ir/ and rgb/ in it")
    if not (folder / "ir").is_dir():
        sequences = [child for child in sorted(folder.iterdir()) if (child / "ir").is_dir()]
        if not sequences:
            raise EngineError(
                f"no ir/ and rgb/ in {folder}: put pairs there, with the same file stem in both"
            )
        pictures = [picture for child in sequences for picture in read_pairs(child)]
        return pictures
    if not (folder / "rgb").is_dir():
        raise EngineError(f"no rgb/ beside {folder / 'ir'}: put each infrared picture's color partner there")
    infrared, color = _by_stem(folder / "ir"), _by_stem(folder / "rgb")
    alone = sorted(infrared.keys() ^ color.keys())
    if alone:
        side = "rgb" if alone[0] in infrared else "ir"
        raise EngineError(
            f"pictures of {folder} without a partner: {len(alone)}, the first: {side}/{alone[0]} is missing"
        )
    if not infrared:
        raise EngineError(f"no pictures in {folder / 'ir'}")
    pictures = []
    for stem, path in infrared.items():
        ir, rgb = read_gray(path), read_rgb(color[stem])
        if ir.shape != rgb.shape[:2]:
            raise EngineError(
                f"{stem} in {folder}: ir is {ir.shape}, rgb is {rgb.shape[:2]}; resize one to the other"
            )
        pictures.append(Picture(f"{folder.name}/{stem}", rgb, ir))
    return _telling(pictures, "infrared")


def _telling(pictures: list[Picture], side: str) -> list[Picture]:
    """Those whose `infrared` or `rgb` is not of one level; says which are left out.

    Raises:
        EngineError: all are.
    """
    flat = [picture.name for picture in pictures if float(getattr(picture, side).std()) < FLAT]
    if flat and len(flat) == len(pictures):
        raise EngineError(
            f"no pair has anything to learn: left out {len(flat)}, as {side} is of one level,"
            f" such as {flat[0]}"
        )
    if flat:
        LOG.warning("pairs left out: %d, as %s is of one level, such as %s", len(flat), side, flat[0])
    return [picture for picture in pictures if picture.name not in flat]


def read_parts(folder: Path, band: str) -> tuple[list[Picture], list[Picture]]:
    """The pairs to train on, and those to judge by.

    Color of one level teaches nothing either, and is left out; beside thermal it is a night, which has none.

    Args:
        folder: holds `BAND/train`, and `BAND/val` to judge by; or `ir/` and `rgb/` themselves, and `val/`.
        band: name of the folder.

    Raises:
        EngineError: as `read_pairs`; or there is nothing to judge by and too few to hold any back.
    """
    plain = (folder / "ir").is_dir()
    base = folder if plain else folder / band
    train, validation = base if plain else base / "train", base / "val"
    pairs = read_pairs(train)
    if band != "thermal":
        pairs = _telling(pairs, "rgb")
    if validation.is_dir():
        judges = read_pairs(validation)
        LOG.info("%d pairs are learned; judged by the %d of %s", len(pairs), len(judges), validation)
        return pairs, judges
    learned, judges = hold_back(pairs, str(train))
    said = "judged by the last %d of %d pairs, from %s on, which are not learned: for others add %s"
    LOG.info(said, len(judges), len(pairs), judges[0].name, validation)
    return learned, judges


def hold_back(pictures: Sequence[_Any], where: str) -> tuple[list[_Any], list[_Any]]:
    """The first ones, and a last tenth to judge by: neighbors by name show one scene, so they stay together.

    Raises:
        EngineError: it is a single one.
    """
    if len(pictures) < 2:
        raise EngineError(f"{where}: a single picture, which cannot be learned and judged by: add more")
    first = len(pictures) - max(1, round(HELD_BACK * len(pictures)))
    return list(pictures[:first]), list(pictures[first:])


def fingerprint(folder: Path) -> str:
    """What tells a folder's pictures from others: their number, and a checksum of names and sizes.

    Of those in folders `ir` and `rgb`, and of all below `color`: a run may write its sheets beside them.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and (path.parent.name in ("ir", "rgb") or path.is_relative_to(folder / "color"))
    )
    about = "".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in files)
    return f"of {len(files)} pictures ({zlib.crc32(about.encode()):08x})"


def read_color(folder: Path, label_folder: Path | None = None) -> list[Picture]:
    """Read plain color pictures, with label maps of the same stem where a folder of them is given."""
    if not folder.is_dir():
        return []
    pictures = []
    for stem, path in _by_stem(folder).items():
        rgb = read_rgb(path)
        labels = None
        if label_folder is not None and (label_folder / f"{stem}.png").is_file():
            labels = np.minimum(read_gray(label_folder / f"{stem}.png"), UNLABELED)
            if labels.shape != rgb.shape[:2]:
                labels = cv2.resize(labels, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pictures.append(Picture(f"{folder.name}/{stem}", rgb, None, labels))
    return pictures


def rgb_to_gray(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8 luma, BT.601."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)

"""Training pictures: infrared and color pairs, plain color pictures, label maps; decoded once into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from irchroma.engines.errors import EngineError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
UNLABELED = 11


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
        EngineError: the file is not a picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise EngineError(f"cannot read {path}: not a picture; remove it or replace it")
    return np.asarray(pixels, np.uint8)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}


def read_pairs(folder: Path) -> list[Picture]:
    """Read `ir/NAME` and `rgb/NAME` of a folder, or of each of its sub-folders (sequences), sorted by name.

    Raises:
        EngineError: no `ir` and `rgb` folders, a picture without its partner, or partners of other sizes.
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
            f"{len(alone)} pictures of {folder} have no partner, the first: {side}/{alone[0]} is missing"
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
    return pictures


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

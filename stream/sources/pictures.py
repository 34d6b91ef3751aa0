"""Numbered pictures in a folder, or a single picture, as a source of frames."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from cv2.utils import logging
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import VideoInfo

SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".jpg", ".jpeg", ".bmp")
SECOND_NS = 1_000_000_000

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorts `frame10` after `frame9`."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def read_picture(path: str | Path) -> Pixels:
    """A picture file as the pixels of a frame.

    Returns:
        (H, W) uint8 luma, (H, W) uint16 counts as stored, or (H, W, 3) uint8 rgb; upright, as EXIF
        says. Three equal channels are luma (or counts); transparency is dropped; 16-bit color is brought
        to 8 bits.

    Raises:
        SourceError: there is no such file, or it cannot be decoded.
        SourceFormatError: its samples are neither 8 nor 16 bits.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceError(f"no such picture: {path}")
    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # a broken file is one line of ours
    try:
        data = np.fromfile(path, np.uint8)
        # not IMREAD_UNCHANGED, which leaves a picture lying on its side as the camera was held (EXIF)
        decoded = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR) if data.size else None
    except (cv2.error, OSError) as error:
        raise SourceError(f"cannot read picture {path}: {error}") from error
    finally:
        logging.setLogLevel(level)
    if decoded is None:
        raise SourceError(f"cannot decode picture {path}: it is damaged, empty or not a picture")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise SourceFormatError(f"picture {path} has {decoded.dtype} samples: 8 or 16 bits are supported")
    if decoded.ndim == 3:
        decoded = decoded[..., ::-1]  # B, G, R
        if np.array_equal(decoded[..., 0], decoded[..., 1]) and np.array_equal(
            decoded[..., 0], decoded[..., 2]
        ):
            decoded = decoded[..., 0]
        elif decoded.dtype == np.uint16:
            decoded = (decoded.astype(np.float32) / 257 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(decoded)


class PictureSource:
    """A `FrameSource` over the pictures of a folder in natural order, or over one picture.

    Decoded one at a time when read. `extra["path"]` of a frame is its file.
    """

    def __init__(self, path: str | Path, rate: Fraction = Fraction(25)) -> None:
        """`rate`: pictures a second."""
        self._path, self._rate = Path(path), Fraction(rate)
        self._files: list[Path] = []
        self._next = 0
        self._shape: tuple[tuple[int, ...], np.dtype[np.uint8] | np.dtype[np.uint16]] | None = None

    def open(self) -> VideoInfo:
        """List the pictures and read the first. Raises SourceError with one clear line."""
        if self._rate <= 0:
            raise SourceError(f"rate of pictures must be above 0, got {self._rate}")
        if self._path.is_dir():
            found = [f for f in self._path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file()]
            self._files = sorted(found, key=lambda file: natural_key(file.name))
            if not self._files:
                raise SourceError(f"no pictures in folder {self._path}: expected {' '.join(SUFFIXES)}")
        else:
            self._files = [self._path]
        self._next, self._shape = 0, None
        first = read_picture(self._files[0])
        count = len(self._files)
        return VideoInfo(
            size=(first.shape[0], first.shape[1]),
            rate=self._rate,
            live=False,
            frame_count=count,
            duration_ns=self._pts_ns(count),
            description=f"{count} picture{'s' * (count != 1)} from {self._path}",
            counts=first.dtype == np.uint16,
        )

    def read(self, timeout_s: float) -> Frame | None:
        """The next picture. Raises SourceError naming the file that cannot be read."""
        if not self._files:
            raise SourceError(f"pictures of {self._path} are not open: call open() first")
        if self._next >= len(self._files):
            return None
        number, file = self._next, self._files[self._next]
        self._next += 1
        pixels = read_picture(file)
        shape = (pixels.shape, pixels.dtype)
        gap = self._shape is not None and shape != self._shape
        self._shape = shape
        return Frame(
            pixels=pixels,
            pts_ns=self._pts_ns(number),
            duration_ns=self._pts_ns(number + 1) - self._pts_ns(number),
            number=number,
            gap=gap,
            extra={"path": str(file)},
        )

    @property
    def drops(self) -> int:
        """Always 0: every picture is given."""
        return 0

    def close(self) -> None:
        """Forget the list of files."""
        self._files = []

    def _pts_ns(self, number: int) -> int:
        return int(number * SECOND_NS / self._rate)

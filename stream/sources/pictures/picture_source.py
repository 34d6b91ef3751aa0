"""Numbered pictures in a folder, or a single picture, as a source of frames."""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import remark, tell_once
from irchroma.stream.sensor.profile import CameraScale
from irchroma.stream.sources.pictures.picture_file import (
    MEGAPIXELS,
    SUFFIXES,
    PictureFile,
    Pixels,
    open_pictures,
)

log = logging.getLogger(__name__)

SECOND_NS = 1_000_000_000
RATE = Fraction(25)
"""Pictures a second where nobody says."""
SEVERAL = (".tif", ".tiff", ".npy", ".npz", ".seq", ".fff", ".csq")
"""A file of these may hold a whole recording."""


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorts `frame10` after `frame9`."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def read_picture(path: str | Path, megapixels: float = MEGAPIXELS) -> Pixels:
    """The only picture of a file as the pixels of a frame.

    Returns:
        (H, W) uint8 luma, (H, W) uint16 counts as stored, or (H, W, 3) uint8 rgb; upright, as EXIF
        says. Three equal channels are luma (or counts); transparency is dropped; 16-bit color is brought
        to 8 bits; of radiometric files the counts by `flir.SCALE`.

    Raises:
        SourceError: there is no such file, it cannot be decoded, or it is larger than allowed.
        SourceFormatError: its samples are neither 8 nor 16 bits, or it holds several pictures.
    """
    found = open_pictures(Path(path), megapixels)
    if found.count != 1:
        raise SourceFormatError(f"{path} holds {found.count} pictures, expected one: irchroma run takes all")
    return found.read(0)


def scale_of(path: Path, megapixels: float = MEGAPIXELS) -> CameraScale | None:
    """Degrees of the counts of a picture file or of a folder's first picture, where they say so."""
    try:
        files = picture_files(path)
    except OSError:
        return None  # the source itself will say what is wrong
    for file in files:
        try:
            return open_pictures(file, megapixels).scale
        except (SourceError, OSError):
            continue  # the source passes over it, too
    return None


def picture_files(path: Path) -> list[Path]:
    """The picture files of a folder in natural order, hidden ones left out; or the one file."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
    found = [file for file in found if not file.name.startswith(".")]  # such as ._1.png, which macOS makes
    return sorted(found, key=lambda file: natural_key(file.name))


class PictureSource:
    """A `FrameSource` over the pictures of a folder in natural order, or over one file of pictures.

    Decoded one at a time when read. `extra["path"]` of a frame is its file. Of a folder, pictures that cannot
    be read are passed over, and named by an error after the last one.
    """

    def __init__(
        self, path: str | Path, rate: Fraction | None = None, megapixels: float = MEGAPIXELS
    ) -> None:
        """
        Args:
            path: of the folder or file.
            rate: pictures a second; None for what the first file says, else 25.
            megapixels: how large a picture may be, million pixels.
        """
        self._path, self._megapixels = Path(path), megapixels
        self._said, self._rate = rate, rate or RATE
        self._places: list[tuple[Path, int]] = []  # of each picture: its file, its number in there
        self._open: tuple[Path, PictureFile] | None = None
        self._next = 0
        self._shape: tuple[tuple[int, ...], np.dtype[np.uint8] | np.dtype[np.uint16]] | None = None
        self._unread: list[SourceError] = []

    def open(self) -> VideoInfo:
        """List the pictures and read the first that can be. SourceError, one clear line, where none can."""
        if self._said is not None and self._said <= 0:
            raise SourceError(f"rate of pictures must be above 0, got {self._said}")
        try:
            files = picture_files(self._path) if self._path.is_dir() else [self._path]
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SourceError(f"{self._path}: its files cannot be listed: {reason}") from error
        if not files:
            raise SourceError(f"no pictures in folder {self._path}: expected {' '.join(SUFFIXES)}")
        if self._path.is_dir():
            self._tell_others(len(files))
        self._next, self._shape, self._places, self._unread = 0, None, [], []
        for number, file in enumerate(files):
            several = number == 0 or file.suffix.lower() in SEVERAL
            try:
                count = self._file(file).count if several else 1
            except SourceError:
                count = 1  # which will not be read
            self._places += [(file, page) for page in range(count)]
        clips = {file for file, page in self._places if page}
        if len(clips) > 1:  # no remark: all is shown as asked
            tell_once(
                f"{self._path}: the pictures of {len(clips)} recordings are shown one after the other, as one"
                " clip: name one of them to have it alone"
            )
        first = self._first_readable()
        told = self._open[1].rate if self._open is not None else None
        self._rate, count = Fraction(self._said or told or RATE), len(self._places)
        if count > 1 and not self._said and not told:
            log.info("%s: %s pictures a second: --rate says another", self._path, RATE)
        return VideoInfo(
            size=(first.shape[0], first.shape[1]),
            rate=self._rate,
            live=False,
            frame_count=count,
            duration_ns=self._pts_ns(count),
            description=f"{count} picture{'s' * (count != 1)} from {self._path}",
            counts=first.dtype == np.uint16,
        )

    def _first_readable(self) -> Pixels:
        failure: SourceError | None = None
        for number in range(len(self._places)):
            try:
                return self._picture(number)
            except SourceError as error:
                failure = failure or error
        raise failure or SourceError(f"{self._path} holds no pictures")

    def _tell_others(self, pictures: int) -> None:
        """Say what else is in the folder."""
        files = [f for f in self._path.iterdir() if f.is_file() and not f.name.startswith(".")]
        if len(files) > pictures:
            remark(f"{self._path}: files that are no pictures are left out", len(files) - pictures)

    def read(self, timeout_s: float) -> Frame | None:
        """The next picture that can be read. SourceError after the last one where others could not be."""
        if not self._places:
            raise SourceError(f"pictures of {self._path} are not open: call open() first")
        pixels = None
        while pixels is None:
            if self._next >= len(self._places):
                self._tell_unread()
                return None
            number = self._next
            self._next += 1
            try:
                pixels = self._picture(number)
            except SourceError as error:
                remark(f"{self._path}: pictures that cannot be read are left out")
                self._unread.append(error)
                self._shape = None
        shape = (pixels.shape, pixels.dtype)
        gap = number > 0 and shape != self._shape
        self._shape = shape
        return Frame(
            pixels=pixels,
            pts_ns=self._pts_ns(number),
            duration_ns=self._pts_ns(number + 1) - self._pts_ns(number),
            number=number,
            gap=gap,
            extra={"path": str(self._places[number][0])},
        )

    def _tell_unread(self) -> None:
        count = len(self._unread)
        if count:
            first, others = str(self._unread[0]), f", and so {count - 1} more" * (count > 1)
            shown = f"{len(self._places) - count} pictures were shown"
            self._unread = []
            raise SourceError(f"{first}{others}: {shown}")

    @property
    def drops(self) -> int:
        """Always 0: every picture is given."""
        return 0

    def close(self) -> None:
        self._places, self._open = [], None

    def _file(self, path: Path) -> PictureFile:
        if self._open is None or self._open[0] != path:
            self._open = (path, open_pictures(path, self._megapixels))
        return self._open[1]

    def _picture(self, number: int) -> Pixels:
        file, page = self._places[number]
        return self._file(file).read(page)

    def _pts_ns(self, number: int) -> int:
        return int(number * SECOND_NS / self._rate)

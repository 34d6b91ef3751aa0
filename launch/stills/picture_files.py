"""Picture files in and out: 8-bit luma, 16-bit counts, color.

And contact sheets: pictures in rows on a dark ground, each under its title, input beside output.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.cache import replaced
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.stream.errors import SourceError
from irchroma.stream.picture.lettering import Color, fitted, lettered
from irchroma.stream.sources.pictures.picture_file import SUFFIXES
from irchroma.stream.sources.pictures.picture_source import read_picture
from irchroma.stream.tone.daylight import ColorCameraDetector

WRITTEN = (".png", ".jpg", ".jpeg")
JPEG_QUALITY = 95
_IRREPLACEABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""Of a folder that is not the user's, and of a file that is mounted alone, as in containers: what may be
written to itself is written in place."""


class PictureError(OSError):
    """A picture cannot be read or written; the text is one clear line."""


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name, hidden files left out.

    Raises:
        PictureError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise PictureError(
            f"{folder}: no pictures in it (looked for {' '.join(SUFFIXES)}; not in its folders)"
        )
    return found


def other_entries(folder: Path, most: int = 3) -> list[str]:
    """What of a folder `list_pictures` leaves out, hidden files aside: so many names, folders' first and with
    a slash, then how many there are besides."""
    others = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    folders = [f"{path.name}/" for path in others if path.is_dir()]
    files = [path.name for path in others if not path.is_dir() and path.suffix.lower() not in SUFFIXES]
    names = folders + files
    return names[:most] + ([f"and {len(names) - most} more"] if len(names) > most else [])


def read_infrared(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) uint8 luma or uint16 counts; a picture in color gives its BT.601 luma, upright.

    Raises:
        PictureError: as `read_pixels`.
    """
    return infrared_of(read_pixels(path))


def infrared_of(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) uint8 luma, of three channels their BT.601 luma, or uint16 counts."""
    return rgb_to_luma(np.asarray(pixels, np.uint8)) if pixels.ndim == 3 else pixels


def is_in_color(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    """Whether a picture has colors of its own: its channels differ by more than a tint or a caption."""
    return pixels.ndim == 3 and ColorCameraDetector().update(np.asarray(pixels, np.uint8), 0)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B'.

    Raises:
        PictureError: it is missing or no picture.
    """
    pixels = read_pixels(path)
    if pixels.dtype == np.uint16:
        raise PictureError(f"{path}: 16-bit counts, expected a picture in color")
    return np.asarray(pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def write_rgb(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 R'G'B' as PNG or JPEG, by the path's suffix.

    Raises:
        PictureError: the suffix is another one, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise PictureError(f"{path}: can write {', '.join(WRITTEN)}, not {suffix or 'this'}")
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise PictureError(f"{path}: cannot be encoded at {rgb.shape[1]}x{rgb.shape[0]}")
    try:
        _put(path, data.tobytes())
    except OSError as error:
        raise PictureError(f"{path}: cannot be written ({error.strerror})") from error


def _put(path: Path, data: bytes) -> None:
    """The file as a whole, or what was there before: a run may be ended in the middle of it."""
    there = path.exists()
    if there and not path.is_file():
        path.write_bytes(data)  # a pipe, which is opened once: its reader takes a close for the end
        return
    if there:
        path.open("ab").close()  # what may not be written to is not replaced
    try:
        with replaced(path.resolve()) as partial:
            partial.write_bytes(data)
            if there:
                shutil.copymode(path, partial)
    except OSError as error:
        if not there or error.errno not in _IRREPLACEABLE:
            raise
        path.write_bytes(data)


def list_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(infrared, color) files of equal stem.

    Raises:
        PictureError: a folder is missing or empty, or a picture has no partner.
    """
    pairs, lacking = pairs_and_lacking(folder)
    if lacking:
        raise PictureError(lacking[0])
    return pairs


def pairs_and_lacking(folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """(infrared, color) files of equal stem, and a line on the infrared ones without a color one, if any.

    Raises:
        PictureError: a folder is missing or empty, or two pictures are of one stem.
    """
    for half in (folder / "ir", folder / "rgb"):
        if not half.is_dir():
            raise PictureError(f"{half}: no such folder: a pair is {folder}/ir/NAME and {folder}/rgb/NAME")
    infrared = list_pictures(folder / "ir")
    color: dict[str, Path] = {}
    for path in list_pictures(folder / "rgb"):
        other = color.setdefault(path.stem, path)
        if other != path:
            raise PictureError(f"{folder / 'rgb'}: {other.name} and {path.name} are of one stem: leave one")
    lonely = [path.stem for path in infrared if path.stem not in color]
    where = folder / "rgb"
    lacking = [f"{where}: nothing there for {len(lonely)} of ir/, such as {lonely[0]}"] if lonely else []
    return [(path, color[path.stem]) for path in infrared if path.stem in color], lacking


def read_pair(
    infrared: Path, color: Path
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.uint8]]:
    """Luma or counts, and the true color at the same size.

    Raises:
        PictureError: one cannot be read, or their sizes differ.
    """
    pixels, truth = read_infrared(infrared), read_rgb(color)
    if pixels.shape != truth.shape[:2]:
        raise PictureError(
            f"{infrared}: {pixels.shape[1]}x{pixels.shape[0]}, but its color picture is"
            f" {truth.shape[1]}x{truth.shape[0]}: pairs must be of one size"
        )
    return pixels, truth


def read_pixels(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) uint8 luma or uint16 counts, or (H, W, 3) uint8 R'G'B', upright.

    Raises:
        PictureError: it is missing, no picture, too large, or of another depth than 8 or 16 bits.
    """
    try:
        return read_picture(path)
    except SourceError as error:
        raise PictureError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


Rgb = NDArray[np.uint8]
Cell = tuple[str, NDArray[np.uint8]]

GROUND: Color = (19, 21, 24)
INK: Color = (214, 217, 222)


def contact_sheet(
    rows: Sequence[Sequence[Cell]], *, cell_width: int = 480, heading: str = "", tallest_px: int = 6000
) -> Rgb:
    """Lay out pictures.

    Args:
        rows: rows of (title, picture), each picture (H, W) uint8 luma or (H, W, 3) uint8 R'G'B', of
            any size; a row may be shorter than others. A picture without a title leaves its room to
            the title before it.
        cell_width: width in pixels that every picture is scaled to, shape kept.
        heading: a line above everything.
        tallest_px: rows beyond this height go on in a further block at the right.

    Returns:
        (H, W, 3) uint8 R'G'B'; the ground alone where there are no pictures.
    """
    letter_px = max(10, round(cell_width / 30))
    gap = max(4, round(cell_width / 40))
    columns = max((len(row) for row in rows), default=0)
    width = gap + max(columns, 1) * (cell_width + gap)
    bands = [_row(row, cell_width, letter_px, gap, width) for row in rows if row]
    sheet = _blocks(bands or [_ground(gap, width)], tallest_px)
    top = [_heading(heading, round(letter_px * 1.5), gap, sheet.shape[1])] if heading else []
    return np.concatenate([*top, sheet, _ground(gap, sheet.shape[1])])


def _blocks(bands: list[Rgb], tallest_px: int) -> Rgb:
    """The bands below one another, in as many blocks of like height as keep them below `tallest_px`."""
    total = sum(len(band) for band in bands)
    limit = total / -(-total // tallest_px)
    blocks: list[list[Rgb]] = [[]]
    height = 0
    for band in bands:
        if blocks[-1] and height + len(band) / 2 > limit * len(blocks):
            blocks.append([])
        blocks[-1].append(band)
        height += len(band)
    stacks = [np.concatenate(block) for block in blocks]
    tallest = max(len(stack) for stack in stacks)
    return np.concatenate(
        [np.concatenate([stack, _ground(tallest - len(stack), stack.shape[1])]) for stack in stacks], axis=1
    )


def _row(row: Sequence[Cell], cell_width: int, letter_px: int, gap: int, width: int) -> Rgb:
    pictures = [_scaled(picture, cell_width) for _, picture in row]
    label_px = round(letter_px * 1.4) + gap // 4 if any(title for title, _ in row) else 0
    band = _ground(gap + label_px + max(len(picture) for picture in pictures), width)
    for column, ((title, _), picture) in enumerate(zip(row, pictures, strict=True)):
        left = gap + column * (cell_width + gap)
        if title:
            titled = (after for after in range(column + 1, len(row)) if row[after][0])
            room = (next(titled, len(row)) - column) * (cell_width + gap) - gap
            lettered(fitted(title, letter_px, room), letter_px, INK).lay_on(band, gap // 2, left)
        top = gap + label_px
        band[top : top + len(picture), left : left + cell_width] = picture
    return band


def _heading(text: str, letter_px: int, gap: int, width: int) -> Rgb:
    sprite = lettered(fitted(text, letter_px, width - 2 * gap, 600), letter_px, (255, 255, 255), weight=600)
    band = _ground(sprite.size[0] + gap, width)
    sprite.lay_on(band, gap, gap)
    return band


def _ground(height: int, width: int) -> Rgb:
    return np.full((height, width, 3), GROUND, np.uint8)


def _scaled(picture: NDArray[np.uint8], width: int) -> Rgb:
    rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    way = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=way), np.uint8)

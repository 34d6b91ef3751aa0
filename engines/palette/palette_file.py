"""A user's palette from a file: CSV rows of r,g,b or a PNG strip, 256 or 1024 colors."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.palette.tables import Table

LENGTHS = (256, 1024)
LARGEST_FILE_BYTES = 16 * 2**20


def load_palette(path: Path) -> Table:
    """Read a palette, coldest color first.

    A CSV file has one row `r,g,b` of whole numbers 0 to 255 for each color; a heading and empty lines
    may stand in it. A PNG strip has the colors along its longer side, which is 256 or 1024 pixels;
    the line in its middle is read, 16-bit samples are rounded to 8 bits and alpha is not looked at.

    Returns:
        (256, 3) or (1024, 3) uint8 R'G'B', full range.

    Raises:
        EngineOptionError: in one line, what is wrong with the file.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".png"):
        raise EngineOptionError(f"palette file {path} is neither .csv nor .png")
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise EngineOptionError(
                f"palette file {path} is over {LARGEST_FILE_BYTES >> 20} MiB, not a palette"
            )
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EngineOptionError(f"palette file {path} cannot be read: {reason}") from error
    table = _from_csv(path, data) if suffix == ".csv" else _from_png(path, data)
    if len(table) not in LENGTHS:
        raise EngineOptionError(f"palette file {path} has {len(table)} colors, expected 256 or 1024")
    return table


def _from_csv(path: Path, data: bytes) -> Table:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise EngineOptionError(f"palette file {path} is not text, expected rows of r,g,b") from error
    colors: list[list[int]] = []
    for number, row in enumerate(csv.reader(lines), 1):
        cells = [cell.strip() for cell in row]
        heading = not colors and len(cells) == 3 and all(cell.isalpha() for cell in cells)
        if not any(cells) or heading:
            continue
        if len(cells) != 3 or not all(
            cell.isascii() and cell.isdigit() and int(cell) <= 255 for cell in cells
        ):
            raise EngineOptionError(
                f"palette file {path}, line {number}: expected r,g,b in whole numbers 0 to 255,"
                f" got {','.join(row)[:40]!r}"
            )
        colors.append([int(cell) for cell in cells])
    return np.array(colors, np.uint8).reshape(-1, 3)


def _from_png(path: Path, data: bytes) -> Table:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise EngineOptionError(f"palette file {path} is not a picture that can be read")
    if picture.dtype == np.uint16:
        picture = np.rint(picture / 257).astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[:, :, None].repeat(3, axis=2)
    if picture.shape[0] > picture.shape[1]:
        picture = picture.transpose(1, 0, 2)
    line = picture[picture.shape[0] // 2, :, :3]
    return np.ascontiguousarray(line[:, ::-1])  # OpenCV reads B, G, R

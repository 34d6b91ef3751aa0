"""The palettes: tables of color for false-color display, made from a few control colors in CIELAB.

ironbow, arctic and lava rise in lightness in even steps from their first control color to their last,
so that equal steps of luma look equal and a gray copy of the picture is still right; hue travels
smoothly through the control colors, each at the position its own lightness asks for. rainbow spaces
its colors evenly and gives up rising lightness for contrast.

A user's palette from a file: CSV rows of r,g,b or a PNG strip, 256 or 1024 colors.
"""

from __future__ import annotations

import csv
import difflib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.catalog import PALETTES
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor.color_space import colors_to_lab, lab_to_colors

RISING = {
    # night blue, violet, magenta, vermilion, amber, yellow, white hot
    "ironbow": "#000004 #1d0c55 #5b1391 #a01a8c #d93a55 #f26d21 #fa9f12 #f8cb3a #fdeb8c #fffdf4",
    # deep water, ice blue, pale ice, gold, sun on snow
    "arctic": "#010510 #071c4a #0f3f8c #1f6fc0 #4497cd #98aeb4 #cdb482 #efc768 #ffe39b #fffaf0",
    # basalt, ember, red, orange, yellow, white heat
    "lava": "#050203 #2c0507 #620a0a #9c140b #d23408 #ef6c0a #faa52a #fdd978 #fffbe8",
}
"""Control colors, sRGB, in order of rising lightness."""

EVEN = {
    # night blue, blue, cyan, green, yellow, orange, red, rose white
    "rainbow": (
        "#14002e #2a1a9e #1f5fe8 #12a9e0 #16c79a #63d645 #d8df2a #ffb31f #fb6a17 #d81e1e #ff9db0 #fff2f3"
    ),
}
"""Control colors, sRGB, at even distances."""

Table = NDArray[np.uint8]
Floats = NDArray[np.float64]


def palette_table(name: str, entries: int = 256) -> Table:
    """The named palette.

    Args:
        name: one of `catalog.PALETTES`.
        entries: number of colors, from cold to hot.

    Returns:
        (entries, 3) uint8 R'G'B', full range.

    Raises:
        EngineOptionError: the name is not known.
    """
    if name == "white-hot":
        return np.rint(np.linspace(0, 255, entries)).astype(np.uint8)[:, None].repeat(3, axis=1)
    if name == "black-hot":
        return palette_table("white-hot", entries)[::-1].copy()
    if name not in RISING and name not in EVEN:
        close = difflib.get_close_matches(name, PALETTES, 1, 0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        raise EngineOptionError(
            f"palette {name!r} is not known: {hint}choose one of"
            f" {', '.join(PALETTES)}, or a .csv or .png file"
        )
    words = (RISING.get(name) or EVEN[name]).split()
    controls = colors_to_lab(np.array([list(bytes.fromhex(word[1:])) for word in words]))
    at = controls[:, 0] if name in RISING else np.arange(len(words), dtype=np.float64)
    at = (at - at[0]) / (at[-1] - at[0])
    wanted = np.linspace(0, 1, entries)
    lab = np.stack([_smooth(at, controls[:, channel], wanted) for channel in range(3)], axis=1)
    if name in RISING:
        lab[:, 0] = controls[0, 0] + wanted * (controls[-1, 0] - controls[0, 0])
    return np.rint(np.clip(lab_to_colors(_into_gamut(lab)), 0, 255)).astype(np.uint8)


def sliced_table(table: Table, slices: int) -> Table:
    """Gray-level slicing: the same table in `slices` flat bands, each in the color of its middle.

    The first and the last band take the table's ends, so that the whole palette is used.

    Raises:
        EngineOptionError: `slices` is not in [2, 64].
    """
    if not 2 <= slices <= 64:
        raise EngineOptionError(f"gray-level slicing needs 2 to 64 slices, got {slices}")
    band = np.arange(len(table)) * slices // len(table)
    return np.ascontiguousarray(table[band * (len(table) - 1) // (slices - 1)])


def _smooth(at: Floats, values: Floats, wanted: Floats) -> Floats:
    """Cubic Hermite interpolation that does not overshoot.

    Reference: Fritsch and Butland, "A method for constructing local monotone piecewise cubic
    interpolants", SIAM J. Sci. Stat. Comput. 5(2), 1984.
    """
    width, slope = np.diff(at), np.diff(values) / np.diff(at)
    weight = (width[:-1] + 2 * width[1:]) / (3 * (width[:-1] + width[1:]))
    turning = slope[:-1] * slope[1:] <= 0
    blended = np.where(turning, 1.0, weight * slope[1:] + (1 - weight) * slope[:-1])
    inner = np.where(turning, 0.0, slope[:-1] * slope[1:] / np.where(blended == 0, 1.0, blended))
    tangent = np.concatenate([slope[:1], inner, slope[-1:]])
    k = np.clip(np.searchsorted(at, wanted, side="right") - 1, 0, len(width) - 1)
    t, h = (wanted - at[k]) / width[k], width[k]
    return np.asarray(
        values[k] * (1 + 2 * t) * (1 - t) ** 2
        + h * tangent[k] * t * (1 - t) ** 2
        + values[k + 1] * t**2 * (3 - 2 * t)
        + h * tangent[k + 1] * t**2 * (t - 1),
        np.float64,
    )


def _into_gamut(lab: Floats) -> Floats:
    """Lower chroma until sRGB has the color; lightness and hue stay."""

    def scaled(share: Floats) -> Floats:
        return lab * np.stack([np.ones_like(share), share, share], axis=1)

    def exists(share: Floats) -> NDArray[np.bool_]:
        rgb = lab_to_colors(scaled(share))
        return np.asarray(((rgb > -0.5) & (rgb < 255.5)).all(axis=1), np.bool_)

    low, high = np.zeros(len(lab)), np.ones(len(lab))
    low[exists(high)] = 1.0
    for _ in range(10):
        middle = (low + high) / 2
        inside = exists(middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return scaled(low)


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

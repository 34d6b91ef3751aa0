"""The palette engine: false color by table, at the speed of the frame.

Luma chooses the color, so that the palette follows the tone map. A table of 1024 entries is read at
every fourth entry that way, as luma has 256 levels; with a `span` the color comes straight from the
16-bit counts and every entry is used. Isotherms look at counts, whatever colors the rest.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.palette_file import load_palette
from irchroma.engines.palette_options import KIND_COLORS, Isotherm, PaletteOptions
from irchroma.engines.palettes import Table, palette_table, sliced_table

Rgb = NDArray[np.uint8]
_LUT16 = int(cv2.__version__.split(".")[0]) >= 5  # cv2.LUT takes 16-bit indices from OpenCV 5 on


@dataclass(frozen=True, slots=True)
class PaletteColored:
    """One false-color picture.

    Attributes:
        rgb: (H, W, 3) uint8 R'G'B', full range.
        confidence: always None; a palette guesses nothing.
    """

    rgb: Rgb
    confidence: None = None


class PaletteColorizer:
    """Colors by table. All work is done in `submit`, on the calling thread."""

    synthetic = False
    depth = 1

    def __init__(self, options: PaletteOptions | None = None) -> None:
        """Make the tables.

        Raises:
            EngineOptionError: the palette is not known, or its file is not a palette.
        """
        self.options = options or PaletteOptions()
        self._table = table = _table_for(self.options)
        by_luma = table[np.rint(np.arange(256) * ((len(table) - 1) / 255)).astype(np.intp)]
        by_counts = None if self.options.span is None else _counts_table(table, self.options)
        marks = [isotherm for isotherm in self.options.isotherms if isotherm.unit != "luma"]
        gray = palette_table("white-hot")
        if self.options.isotherms and self.options.elsewhere == "gray":
            by_luma, by_counts = gray, None
        for isotherm in self.options.isotherms:
            if isotherm.unit == "luma":
                lit = _lit_levels(isotherm)
                by_luma = by_luma.copy()
                by_luma[lit] = _shades(isotherm)[lit]
        self._by_luma = np.ascontiguousarray(by_luma)[:, None]  # (256, 1, 3)
        self._by_counts = by_counts
        self._marks = [(*_count_bounds(mark, self.options), _shades(mark)[:, None]) for mark in marks]
        self._done: deque[PaletteColored] = deque()
        self._closed = False

    @property
    def name(self) -> str:
        """For the on-screen display: `palette ironbow`, `palette rainbow, 8 slices, above 37 °C`."""
        file = self.options.palette.lower().endswith((".csv", ".png"))
        words = [f"palette {Path(self.options.palette).name if file else self.options.palette}"]
        if self.options.slices:
            words.append(f"{self.options.slices} slices")
        return ", ".join(words + [_described(isotherm) for isotherm in self.options.isotherms])

    @property
    def table(self) -> Table:
        """(256, 3) or (1024, 3) uint8 R'G'B', the palette from cold to hot, for a color bar."""
        return self._table

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        """Color one frame; see `irchroma.stream.protocols.Colorizer`.

        Raises:
            EngineOptionError: a span or an isotherm looks at counts and this source has none.
            EngineError: a result has not been collected yet, or the colorizer is closed.
        """
        if self._closed or self._done:
            state = "is closed" if self._closed else "has a frame in flight: collect it first"
            raise EngineError(f"palette colorizer {state}")
        if counts is None and (self._marks or self._by_counts is not None):
            raise EngineOptionError(
                "palette span and isotherms in counts or degrees need a 16-bit source, this one gives"
                " 8-bit luma: give bounds in luma, for instance above=220luma"
            )
        if self._by_counts is not None and counts is not None:
            rgb = cv2.merge([_look_up(counts, channel) for channel in self._by_counts])
        else:
            rgb = cv2.applyColorMap(luma, self._by_luma)
        for low, high, shades in self._marks:
            _mark(rgb, luma, cv2.inRange(counts, low, high), shades)
        self._done.append(PaletteColored(rgb))

    def collect(self) -> PaletteColored:
        """The colored frame. Raises EngineError where none was submitted."""
        if not self._done:
            raise EngineError("palette colorizer has no frame in flight: submit one first")
        return self._done.popleft()

    def reset(self) -> None:
        """Drop what is in flight; a palette has no past."""
        self._done.clear()

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self._done.clear()
        self._closed = True


def _table_for(options: PaletteOptions) -> Table:
    named = options.palette
    is_file = named.lower().endswith((".csv", ".png")) or "/" in named
    table = load_palette(Path(named).expanduser()) if is_file else palette_table(named, 1024)
    if not is_file and options.span is None:
        table = palette_table(named)
    return sliced_table(table, options.slices) if options.slices else table


def _counts_table(table: Table, options: PaletteOptions) -> list[NDArray[np.uint8]]:
    """Three (65536,) uint8 tables R', G', B' over counts."""
    assert options.span is not None
    low, high = (options.to_counts(value, options.span_unit) for value in options.span)
    at = (np.arange(65536) - low) / (high - low) * (len(table) - 1)
    colors = table[np.clip(np.rint(at), 0, len(table) - 1).astype(np.intp)]
    return [np.ascontiguousarray(colors[:, channel]) for channel in range(3)]


def _look_up(counts: NDArray[np.uint16], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.LUT(counts, table), np.uint8) if _LUT16 else np.take(table, counts)


def _mark(rgb: Rgb, luma: NDArray[np.uint8], mask: NDArray[np.uint8], shades: Table) -> None:
    """Color the masked pixels in shades, in place; only the box around them is worked on."""
    left, top, width, height = cv2.boundingRect(mask)
    if width and height:
        box = np.s_[top : top + height, left : left + width]
        colored = cv2.applyColorMap(np.ascontiguousarray(luma[box]), shades)
        cv2.copyTo(colored, np.ascontiguousarray(mask[box]), rgb[box])


def _shades(isotherm: Isotherm) -> Table:
    """(256, 3) the isotherm's color, from dim to full as luma rises: what is marked keeps its detail."""
    color = np.array(isotherm.color or KIND_COLORS[isotherm.kind], np.float64)
    strength = 0.45 + 0.55 * np.arange(256)[:, None] / 255
    return np.rint(color * strength).astype(np.uint8)


def _lit_levels(isotherm: Isotherm) -> NDArray[np.bool_]:
    levels, (low, high) = np.arange(256), isotherm.bounds
    return np.asarray((levels >= low) & (levels <= high), np.bool_)


def _count_bounds(isotherm: Isotherm, options: PaletteOptions) -> tuple[int, int]:
    """Inclusive bounds in whole counts; the first above the second where no count is marked."""
    low, high = (options.to_counts(bound, isotherm.unit) for bound in isotherm.bounds)
    # a bound that is a whole count but for rounding (37 °C at 0.01 °C a count) is that count
    first, last = math.ceil(max(low, 0.0) - 1e-6), math.floor(min(high, 65535.0) + 1e-6)
    return (first, last) if first <= 65535 and last >= 0 else (1, 0)


def _described(isotherm: Isotherm) -> str:
    unit = {"celsius": " °C", "counts": "", "luma": " luma"}[isotherm.unit]
    if isotherm.kind == "between":
        return f"between {isotherm.low:g} and {isotherm.high:g}{unit}"
    return f"{isotherm.kind} {isotherm.low if isotherm.kind == 'above' else isotherm.high:g}{unit}"

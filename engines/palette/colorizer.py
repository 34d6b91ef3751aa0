"""The palette engine: false color by table, at the speed of the frame.

Luma chooses the color, so that the palette follows the tone map. A table of 1024 entries is read at
every fourth entry that way, as luma has 256 levels; with a `span` the color comes straight from the
16-bit counts and every entry is used. Isotherms look at counts, whatever colors the rest: marked
pixels show the palette on a gray picture, or a color of their own on a palette picture.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.palette.options import KIND_COLORS, SPARE_COLORS, Isotherm, Kind, PaletteOptions
from irchroma.engines.palette.tables import Table, load_palette, palette_table, sliced_table
from irchroma.engines.picture import require_picture
from irchroma.engines.recolor.color_space import colors_to_lab

log = logging.getLogger(__name__)

POSSIBLE = (-73.0, 3000.0)
"""Degrees Celsius of what thermal cameras see; 200 K is a clear sky's."""

_DOUBT_EVERY, _MOST_DOUBTS = 5, 5  # a camera's first frames may be blank

Rgb = NDArray[np.uint8]
_LUT16 = int(cv2.__version__.split(".")[0]) >= 5  # cv2.LUT takes 16-bit indices from OpenCV 5 on


@dataclass(frozen=True)
class PaletteColored:
    """One false-color picture, kept as luma and table until somebody wants R'G'B'.

    Attributes:
        index: (H, W) uint8 row of `table` for each pixel, None where the picture has its own R'G'B'.
        table: (256, 1, 3) uint8 R'G'B', full range.
        own_rgb: (H, W, 3) uint8 R'G'B' that no table says, None where there is an `index`.
        confidence: always None; a palette guesses nothing.
    """

    index: NDArray[np.uint8] | None
    table: Table
    own_rgb: Rgb | None = None
    confidence: None = None

    @property
    def palette(self) -> tuple[NDArray[np.uint8], Table] | None:
        """`index` and `table` where they say it all, None otherwise."""
        return None if self.index is None else (self.index, self.table)

    @cached_property
    def rgb(self) -> Rgb:
        """(H, W, 3) uint8 R'G'B', full range."""
        if self.own_rgb is not None:
            return self.own_rgb
        return np.asarray(cv2.applyColorMap(self.index, self.table), np.uint8)


class PaletteColorizer:
    """Colors by table. All work is done in `submit`, on the calling thread."""

    synthetic, prompt = False, True
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
        if self.options.isotherms and self.options.elsewhere == "gray":
            by_luma, by_counts = palette_table("white-hot"), None
        self._marks: list[tuple[int, int, Table]] = []  # first and last count, (256, 1, 3) shades
        shown = [table]
        for isotherm in self.options.isotherms:
            shades = self._shades_for(isotherm, shown)
            if isotherm.unit == "luma":
                levels, (low, high) = np.arange(256), isotherm.bounds
                lit = (levels >= low) & (levels <= high)
                by_luma = by_luma.copy()
                by_luma[lit] = shades[lit]
            else:
                self._marks.append((*_count_bounds(isotherm, self.options), shades[:, None]))
        self._by_luma = np.ascontiguousarray(by_luma)[:, None]  # (256, 1, 3)
        self._by_counts = by_counts
        self._done: deque[PaletteColored] = deque()
        self._closed = False
        self._frames = self._doubts = 0

    def _shades_for(self, isotherm: Isotherm, shown: list[Table]) -> Table:
        """(256, 3) colors of marked pixels by luma, so that what is marked keeps its detail.

        On a gray picture they are the palette's own colorful entries; on a palette picture, or where
        the palette is gray, one color from dim to pale that is not among those `shown`.
        """
        table = shown[0]
        colorful = np.flatnonzero(np.ptp(table.astype(int), axis=1) > 50)
        if isotherm.color is None and self.options.elsewhere == "gray" and len(colorful) >= len(table) // 8:
            return table[colorful[np.linspace(0, len(colorful) - 1, 256).astype(np.intp)]]
        color = isotherm.color or _free_color(isotherm.kind, shown)
        shown.append(np.array([color], np.uint8))
        return _dim_to_pale(color)

    @property
    def name(self) -> str:
        """For the on-screen display: `palette ironbow`, `palette rainbow, 8 slices, above 37 °C`."""
        palette = self.options.palette
        words = [f"palette {Path(palette).name if _is_file(palette) else palette}"]
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
            EngineOptionError: a span or an isotherm looks at counts and this source has none; or this is no
                picture.
            EngineError: a result has not been collected yet, or the colorizer is closed.
        """
        if self._closed or self._done:
            state = "is closed" if self._closed else "has a frame in flight: collect it first"
            raise EngineError(f"palette colorizer {state}")
        require_picture(luma, counts)
        if counts is None and (self._marks or self._by_counts is not None):
            raise EngineOptionError(
                "palette span and isotherms in counts or degrees need a 16-bit source, this one gives"
                " 8-bit luma: give bounds in luma, for instance above=220luma"
            )
        if counts is not None and self._doubts < _MOST_DOUBTS:
            if self._frames % _DOUBT_EVERY == 0:
                self._doubt_scale(counts)
            self._frames += 1
        if self._by_counts is None and not self._marks:
            self._done.append(PaletteColored(luma, self._by_luma))
            return
        if self._by_counts is not None and counts is not None:
            rgb = cv2.merge([_look_up(counts, channel) for channel in self._by_counts])
        else:
            rgb = cv2.applyColorMap(luma, self._by_luma)
        for low, high, shades in self._marks:
            _mark(rgb, luma, cv2.inRange(counts, low, high), shades)
        self._done.append(PaletteColored(None, self._by_luma, rgb))

    def _doubt_scale(self, counts: NDArray[np.uint16]) -> None:
        """Say so, once, where by the scale of degrees several pictures in a row are nowhere on Earth."""
        options = self.options
        asked = [isotherm.unit for isotherm in options.isotherms] + [options.span_unit]
        if options.gain is None or "celsius" not in asked:
            return
        darkest, brightest = float(counts.min()), float(counts.max())
        if darkest == brightest:  # a frame of one level shows no scene
            return
        low, high = (value * options.gain + options.offset for value in (darkest, brightest))
        self._doubts = self._doubts + 1 if high < POSSIBLE[0] or low > POSSIBLE[1] else 0
        if self._doubts == _MOST_DOUBTS:
            log.warning(
                "by gain %g and offset %g the picture is %.0f to %.0f °C: is the gain right?"
                " a camera that counts hundredths of a kelvin has gain=0.01,offset=-273.15",
                options.gain, options.offset, low, high,
            )  # fmt: skip

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


def colors_of_ramp(options: PaletteOptions, ends: tuple[float, float] | None, steps: int) -> Table:
    """(steps, 3) uint8 R'G'B' of values that rise from one end to the other, for a color bar.

    Args:
        options: of the palette.
        ends: counts that the tone map makes dark and bright; None for a source of 8-bit luma.
        steps: how many colors.

    Raises:
        EngineOptionError: the palette is not known, or looks at counts and there are none.
    """
    luma = np.rint(np.linspace(0, 255, steps)).astype(np.uint8)[None]
    counts = None
    if ends is not None:
        counts = np.clip(np.rint(np.linspace(*ends, steps)), 0, 65535).astype(np.uint16)[None]
    colorizer = PaletteColorizer(options)
    colorizer.submit(luma, 0, counts=counts)
    return np.asarray(colorizer.collect().rgb[0], np.uint8)


def _is_file(palette: str) -> bool:
    return palette.lower().endswith((".csv", ".png")) or "/" in palette


def _table_for(options: PaletteOptions) -> Table:
    named = options.palette
    is_file = _is_file(named)
    table = load_palette(Path(named).expanduser()) if is_file else palette_table(named, 1024)
    if not is_file and options.span is None:
        table = palette_table(named)
    return sliced_table(table, options.slices) if options.slices else table


def _counts_table(table: Table, options: PaletteOptions) -> list[NDArray[np.uint8]]:
    """Three (65536,) uint8 tables R', G', B' over counts."""
    if options.span is None:
        raise EngineError("a palette by counts needs the span of its counts")
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


def _free_color(kind: Kind, shown: list[Table]) -> tuple[int, int, int]:
    """The kind's own color, or the first other one that stands out in hue from all that is shown."""
    used = colors_to_lab(np.concatenate([table[:: max(1, len(table) // 64)] for table in shown]))
    colors = [KIND_COLORS[kind], *SPARE_COLORS]
    distances = [
        float(np.hypot(*(used[:, 1:] - colors_to_lab(np.array([color]))[0, 1:]).T).min()) for color in colors
    ]
    free = [color for color, distance in zip(colors, distances, strict=True) if distance > 40]
    return free[0] if free else colors[int(np.argmax(distances))]


def _dim_to_pale(color: tuple[int, int, int]) -> Table:
    level = np.linspace(0, 1, 256)[:, None]
    dim, pale = 0.35 + 0.65 * np.minimum(level / 0.7, 1), 0.45 * np.maximum(level - 0.7, 0) / 0.3
    return np.rint(np.array(color) * dim * (1 - pale) + 255 * pale).astype(np.uint8)


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

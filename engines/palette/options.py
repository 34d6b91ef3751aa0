"""What a palette run is asked for: the palette, slices, span and isotherms, also as an engine name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from irchroma.engines.errors import EngineError, EngineOptionError

Unit = Literal["counts", "celsius", "luma"]
Kind = Literal["above", "below", "between"]

KIND_COLORS: dict[Kind, tuple[int, int, int]] = {
    "above": (255, 66, 38),
    "below": (52, 132, 255),
    "between": (40, 205, 120),
}
"""R'G'B' of an isotherm that names no color."""
SPARE_COLORS = ((0, 224, 224), (40, 205, 120), (255, 64, 208), (255, 230, 0))
"""R'G'B' for where the picture has the kind's own color already."""


@dataclass(frozen=True, slots=True)
class Isotherm:
    """Values that are marked in a color of their own.

    Attributes:
        kind: "above" marks values of at least `low`, "below" of at most `high`, "between" both.
        low: lower bound in `unit`; not used by "below".
        high: upper bound in `unit`; not used by "above".
        unit: "counts" of the sensor, degrees "celsius" (by the options' gain and offset) or "luma"
            after the tone map, for 8-bit sources.
        color: R'G'B' of the marked pixels, shaded by their luma; None for the palette where the rest
            is gray, and for the kind's own color where the rest is in the palette's.
    """

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    unit: Unit = "counts"
    color: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.unit not in get_args(Unit):
            raise EngineOptionError(
                f"isotherm must be {' or '.join(get_args(Kind))} in {' or '.join(get_args(Unit))},"
                f" got {self.kind!r} in {self.unit!r}"
            )
        needed = {"above": [self.low], "below": [self.high], "between": [self.low, self.high]}[self.kind]
        if not all(math.isfinite(value) for value in needed) or needed[0] > needed[-1]:
            raise EngineOptionError(
                f"isotherm {self.kind} needs finite bounds, the lower first,"
                f" got {' and '.join(f'{value:g}' for value in needed)}"
            )
        if self.color is not None and not (
            len(self.color) == 3 and all(0 <= value <= 255 for value in self.color)
        ):
            raise EngineOptionError(f"isotherm color must be r, g, b in 0 to 255, got {self.color}")

    @property
    def bounds(self) -> tuple[float, float]:
        """(lowest, highest) value that is marked, in `unit`; infinite where open."""
        return (
            -math.inf if self.kind == "below" else self.low,
            math.inf if self.kind == "above" else self.high,
        )


@dataclass(frozen=True, slots=True)
class PaletteOptions:
    """Options of `PaletteColorizer`.

    Attributes:
        palette: a name of `catalog.PALETTES`, or the path of a .csv or .png file.
        slices: gray-level slicing into so many flat bands; 0 for smooth.
        isotherms: ranges marked in colors of their own; a later one is drawn over an earlier one.
        elsewhere: what unmarked pixels look like while there are isotherms: "gray" or "palette".
        span: (coldest, hottest) value for the palette's ends, straight from the sensor's counts and
            past the tone map: a fixed, radiometric scale that uses all 1024 entries of a long
            palette; None to color the tone-mapped luma.
        span_unit: "counts" or "celsius".
        gain: degrees Celsius for each count, for "celsius": celsius = counts * gain + offset. None
            where the camera's scale is not known.
        offset: degrees Celsius at 0 counts.
    """

    palette: str = "ironbow"
    slices: int = 0
    isotherms: tuple[Isotherm, ...] = ()
    elsewhere: Literal["gray", "palette"] = "gray"
    span: tuple[float, float] | None = None
    span_unit: Literal["counts", "celsius"] = "counts"
    gain: float | None = None
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.slices and not 2 <= self.slices <= 64:
            raise EngineOptionError(f"gray-level slicing needs 2 to 64 slices, got {self.slices}")
        if self.elsewhere not in ("gray", "palette"):
            raise EngineOptionError(f"elsewhere must be gray or palette, got {self.elsewhere!r}")
        if self.span_unit not in ("counts", "celsius"):
            raise EngineOptionError(f"span must be in counts or celsius, got {self.span_unit!r}")
        if self.span is not None and not (
            all(math.isfinite(v) for v in self.span) and self.span[0] < self.span[1]
        ):
            raise EngineOptionError(
                f"palette span must be two finite numbers, the lower first,"
                f" got {self.span[0]} and {self.span[1]}"
            )
        if self.gain is not None and not (self.gain > 0 and math.isfinite(self.gain + self.offset)):
            raise EngineOptionError(
                f"celsius scale needs gain > 0 and a finite offset, got {self.gain} and {self.offset}"
            )
        wants_celsius = (self.span is not None and self.span_unit == "celsius") or any(
            isotherm.unit == "celsius" for isotherm in self.isotherms
        )
        if wants_celsius and self.gain is None:
            raise EngineOptionError(
                "degrees Celsius need the camera's scale: give gain and offset"
                " (celsius = counts * gain + offset), or bounds in counts"
            )

    def to_counts(self, value: float, unit: Unit) -> float:
        """A bound in counts."""
        if unit != "celsius":
            return value
        if self.gain is None:
            raise EngineError("bounds in degrees need the camera's scale: give gain and offset")
        return (value - self.offset) / self.gain


_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BOUND = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER})?\s*(°?[cC]|celsius|counts|luma)?")


def palette_from_name(text: str, *, gain: float | None = None, offset: float = 0.0) -> PaletteOptions:
    """The options that an engine name asks for.

    `palette`, `palette:ironbow`, `palette:FILE.csv`, `palette:slices=8`, and with several words
    `palette:arctic,slices=6`, `palette:white-hot,above=37C,below=0C`,
    `palette:ironbow,between=30..35C,elsewhere=palette`, `palette:ironbow,span=20..40C`,
    `palette:above=9000` (counts), `palette:above=220luma`, `palette:above=37C,gain=0.04,offset=-273.15`.

    Args:
        text: the engine's name.
        gain: degrees Celsius for each count, from the camera's profile, where the name gives none.
        offset: degrees Celsius at 0 counts, from the camera's profile.

    Raises:
        EngineOptionError: the text is not such a name. The palette itself is looked for when the
            colorizer is made.
    """
    head, _, rest = text.partition(":")
    if head != "palette":
        raise EngineOptionError(f"expected palette or palette:NAME, got {text!r}")
    given: dict[str, object] = {"gain": gain, "offset": offset}
    isotherms: list[Isotherm] = []
    for number, word in enumerate(rest.split(",") if rest else []):
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals and number == 0 and key:
            given["palette"] = key
        elif key in ("above", "below", "between"):
            isotherms.append(_isotherm(key, value))
        elif key == "span":
            low, high, unit = _bounds(word, value, two=True)
            given |= {"span": (low, high), "span_unit": unit}
        elif key == "slices" and value.isdigit():
            given["slices"] = int(value)
            given.setdefault("palette", "rainbow")
        elif key in ("gain", "offset") and re.fullmatch(_NUMBER, value):
            given[key] = float(value)
        elif key == "elsewhere":
            given["elsewhere"] = value
        else:
            raise EngineOptionError(
                f"{text!r} has {word!r}: expected a palette's name or file first, then slices=N,"
                " above=, below=, between=LOW..HIGH, span=LOW..HIGH, elsewhere=gray|palette, gain=, offset="
            )
    return PaletteOptions(isotherms=tuple(isotherms), **given)  # type: ignore[arg-type]


def _bounds(word: str, value: str, *, two: bool) -> tuple[float, float, Unit]:
    match = _BOUND.fullmatch(value)
    if match is None or (match[2] is not None) != two:
        example = "30..35C or 8000..9000" if two else "37C, 9000 or 220luma"
        raise EngineOptionError(f"{word!r} is not understood: expected for instance {example}")
    suffix = (match[3] or "counts").lower()
    unit: Unit = "luma" if suffix == "luma" else "counts" if suffix == "counts" else "celsius"
    low = float(match[1])
    return low, float(match[2]) if match[2] else low, unit


def _isotherm(kind: str, value: str) -> Isotherm:
    low, high, unit = _bounds(f"{kind}={value}", value, two=kind == "between")
    if kind == "above":
        return Isotherm("above", low=low, unit=unit)
    if kind == "below":
        return Isotherm("below", high=high, unit=unit)
    return Isotherm("between", low=low, high=high, unit=unit)

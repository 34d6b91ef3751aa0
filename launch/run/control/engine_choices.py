"""What a page offers to choose, and which color stands for which value: engines, palettes, scales."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.palette.colorizer import PaletteColorizer, colors_of_ramp
from irchroma.engines.palette.options import PaletteOptions, palette_from_name
from irchroma.engines.palette.tables import Table, palette_table
from irchroma.stream.sensor.thermometer import Thermometer
from irchroma.stream.sinks.http.page import Choice
from irchroma.stream.view.osd import ColorScale

_SWATCH, _STEPS = 9, 33


def choices(governed: str = "", own: str = "", palette: PaletteOptions | None = None) -> tuple[Choice, ...]:
    """Every engine that can be chosen on a page: the networks whose weights are here, palettes, gray.

    Args:
        governed: a band whose network and settings may follow the machine too.
        own: what the run was begun with; a palette with isotherms or the like is offered beside the others.
        palette: what its name does not say.
    """
    networks = []
    for band, network in catalog.NETWORKS.items():
        if band == governed:
            networks.append(Choice(band, "auto", band))
        networks += [
            Choice(f"{band}:{size}", size, band)
            for size in network.sizes
            if catalog.weights_path(band, size).is_file()
        ]
    palettes = [
        Choice(f"palette:{name}", name, "palette", _swatch(palette_table(name))) for name in catalog.PALETTES
    ]
    found = (*networks, *palettes, Choice("gray", "gray", "palette"))
    if not own.startswith("palette:") or own in (one.value for one in found):
        return found
    try:
        made = PaletteColorizer(palette_options(own, palette))
    except (EngineError, OSError):  # which is told where it is opened
        return found
    return (*found, Choice(own, made.name.removeprefix("palette "), "palette", _swatch(made.table)))


def palette_options(engine: str, palette: PaletteOptions | None = None) -> PaletteOptions:
    """What a palette engine's name asks for, with the scale of the configuration. EngineError: it is none."""
    palette = palette or PaletteOptions()
    if engine == "palette":
        return palette
    return palette_from_name(engine, gain=palette.gain, offset=palette.offset)


def color_scale(
    options: PaletteOptions,
    limits: tuple[float, float] | None,
    fixed: bool,
    counts: bool,
    thermometer: Thermometer | None,
) -> dict[str, Any] | None:
    """Which color of a palette stands for which value, as `RunControl.scale` tells it.

    Args:
        options: of the palette.
        limits: the sensor values of the tone map's ends; None where luma is passed on as it is.
        fixed: they stay.
        counts: the source gives counts, else luma.
        thermometer: tells degrees of counts; None where they have no scale.

    Returns:
        None where nothing can be told, as before the first frame of counts.
    """
    unit = "counts" if counts else "luma"
    if options.span is not None:  # past the tone map
        limits = tuple(options.to_counts(value, options.span_unit) for value in options.span)  # type: ignore[assignment]
        ends, fixed, unit = list(options.span), True, options.span_unit
    else:
        ends = list(limits) if limits is not None else []
        if ends and thermometer is not None:
            ends, unit = [thermometer.celsius_of(value) for value in ends], "celsius"
    if counts and limits is None:
        return None
    if not counts:  # beyond its limits 8-bit luma goes on, and so do colors
        ends = ends if fixed else []
        plain = replace(options, span=None, isotherms=tuple(i for i in options.isotherms if i.unit == "luma"))
        colors = colors_of_ramp(plain, None, _STEPS)
    else:
        colors = colors_of_ramp(options, limits, _STEPS)
    return {"colors": _css(colors), "ends": [round(one, 2) for one in ends], "fixed": fixed, "unit": unit}


def drawn_scale(scale: dict[str, Any] | None) -> ColorScale | None:
    """What `color_scale` tells, as it is drawn on pictures: about (`~`) where the tone follows the scene."""
    if scale is None:
        return None
    colors = tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in scale["colors"])
    if not scale["ends"]:
        return ColorScale(colors, "dark", "bright")
    digits, unit = (1, "°C") if scale["unit"] == "celsius" else (0, scale["unit"])
    low, high = (f"{value:.{digits}f}" for value in scale["ends"])
    return ColorScale(colors, low if scale["fixed"] else f"~ {low}", f"{high} {unit}")


def _swatch(table: Table) -> tuple[str, ...]:
    """Some of a palette's colors, as CSS has them."""
    return _css(table[np.rint(np.linspace(0, len(table) - 1, _SWATCH)).astype(np.intp)])


def _css(colors: Table) -> tuple[str, ...]:
    return tuple("#" + bytes(color.tolist()).hex() for color in colors)

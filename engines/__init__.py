"""Arrays in, arrays out: the engines that color infrared pictures, with no video around them.

    from irchroma.engines import open_colorizer

    colorizer = open_colorizer("nir:fast")
    colorizer.submit(luma, pts_ns)  # (H, W) uint8, and its time in nanoseconds
    rgb = colorizer.collect().rgb  # (H, W, 3) uint8
    colorizer.close()

`open_colorizer` takes the names of the command line (`thermal:best`, `palette:ironbow`); `NeuralColorizer`
and `PaletteColorizer` are the two kinds of engine, with all their options. What fails is an `EngineError`.
A public name is imported, with what it needs, when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irchroma.engines.choice import ColorizerOptions as ColorizerOptions
    from irchroma.engines.choice import open_colorizer as open_colorizer
    from irchroma.engines.errors import EngineError as EngineError
    from irchroma.engines.errors import EngineOptionError as EngineOptionError
    from irchroma.engines.errors import EngineUnavailable as EngineUnavailable
    from irchroma.engines.network.network import NetworkOptions as NetworkOptions
    from irchroma.engines.neural.colorizer import NeuralColorizer as NeuralColorizer
    from irchroma.engines.neural.colorizer import NeuralOptions as NeuralOptions
    from irchroma.engines.palette.colorizer import PaletteColorizer as PaletteColorizer
    from irchroma.engines.palette.options import PaletteOptions as PaletteOptions
    from irchroma.engines.recolor.recoloring import RecolorOptions as RecolorOptions
    from irchroma.engines.temporal.stage import TemporalOptions as TemporalOptions

    __version__: str

_NAMES = {
    "choice": "ColorizerOptions open_colorizer",
    "errors": "EngineError EngineOptionError EngineUnavailable",
    "network.network": "NetworkOptions",
    "neural.colorizer": "NeuralColorizer NeuralOptions",
    "palette.colorizer": "PaletteColorizer",
    "palette.options": "PaletteOptions",
    "recolor.recoloring": "RecolorOptions",
    "temporal.stage": "TemporalOptions",
}
_PLACES = {name: place for place, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name from where it lives; `__version__` is the distribution's."""
    if name == "__version__":
        from importlib.metadata import version

        return version("irchroma")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*_PLACES, "__version__"})

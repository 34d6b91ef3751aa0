"""Arrays in, arrays out: palettes, networks, training, runtimes, temporal smoothing.

The public names below are imported when they are asked for, and what they need with them.
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

    __version__: str

_PLACES = {
    "ColorizerOptions": "choice",
    "open_colorizer": "choice",
    "EngineError": "errors",
    "EngineOptionError": "errors",
    "EngineUnavailable": "errors",
    "NetworkOptions": "network.network",
    "NeuralColorizer": "neural.colorizer",
    "NeuralOptions": "neural.colorizer",
    "PaletteColorizer": "palette.colorizer",
    "PaletteOptions": "palette.options",
}


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

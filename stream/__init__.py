"""Frames in, frames out, and the loop between them; the only folder that knows GStreamer.

    from irchroma.engines import open_colorizer
    from irchroma.stream import Loop, LoopOptions, SinkWriter, ViewComposer, open_sink, open_source

    source, writer = open_source("night.mp4"), SinkWriter(open_sink("color.mp4"), "color.mp4")
    loop = Loop(source, lambda info: open_colorizer("nir"), ViewComposer(), [writer], LoopOptions())
    loop.run()

Sources and sinks are named as on the command line. A source that was opened (`source.open()`) gives its
`Frame`s one by one, and None at the end: `source.read(timeout_s=10)`.
`MemorySource` and `MemorySink` are for tests of your own. What fails is a `StreamError`.
A public name is imported, with what it needs, when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irchroma.stream.errors import SinkError as SinkError
    from irchroma.stream.errors import SourceError as SourceError
    from irchroma.stream.errors import StreamError as StreamError
    from irchroma.stream.frame import Frame as Frame
    from irchroma.stream.loop.fakes import MemorySink as MemorySink
    from irchroma.stream.loop.fakes import MemorySource as MemorySource
    from irchroma.stream.loop.loop import Loop as Loop
    from irchroma.stream.loop.loop import LoopOptions as LoopOptions
    from irchroma.stream.loop.writer import SinkWriter as SinkWriter
    from irchroma.stream.protocols import Colored as Colored
    from irchroma.stream.protocols import Colorizer as Colorizer
    from irchroma.stream.protocols import FrameSink as FrameSink
    from irchroma.stream.protocols import FrameSource as FrameSource
    from irchroma.stream.protocols import VideoInfo as VideoInfo
    from irchroma.stream.sinks.open_sink import SinkOptions as SinkOptions
    from irchroma.stream.sinks.open_sink import open_sink as open_sink
    from irchroma.stream.sources.open_source import SourceOptions as SourceOptions
    from irchroma.stream.sources.open_source import open_source as open_source
    from irchroma.stream.tone.tone_map import ToneMap as ToneMap
    from irchroma.stream.view.composer import ViewComposer as ViewComposer

    __version__: str

_NAMES = {
    "errors": "SinkError SourceError StreamError",
    "frame": "Frame",
    "loop.fakes": "MemorySink MemorySource",
    "loop.loop": "Loop LoopOptions",
    "loop.writer": "SinkWriter",
    "protocols": "Colored Colorizer FrameSink FrameSource VideoInfo",
    "sinks.open_sink": "SinkOptions open_sink",
    "sources.open_source": "SourceOptions open_source",
    "tone.tone_map": "ToneMap",
    "view.composer": "ViewComposer",
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

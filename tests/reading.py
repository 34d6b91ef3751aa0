"""Every frame of a source: what most tests of files ask for."""

from __future__ import annotations

from pathlib import Path

from irchroma.stream.frame import Frame
from irchroma.stream.protocols import FrameSource
from irchroma.stream.sources.file_source import FileSource


def frames_of(source: FrameSource | Path) -> list[Frame]:
    """All that a source, or a file, gives from its beginning to its end; it is closed then."""
    source = FileSource(source) if isinstance(source, Path) else source
    frames = []
    try:
        source.open()
        while (frame := source.read(10)) is not None:
            frames.append(frame)
    finally:
        source.close()
    return frames

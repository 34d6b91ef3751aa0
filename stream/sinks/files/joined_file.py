"""A video file made of pictures that are coded already, each at the time that it is given with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import Pixels
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.files.description import Description, describe, finish, tell
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sinks.pipeline_sink import Tail

JOINED_PARSER = "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
"""Makes a segment's H.264 what `JoinedFile.write` takes: parameter sets before each keyframe."""


class _AsItIs:
    """A packer of what is packed."""

    def pack(self, picture: Pixels) -> NDArray[np.uint8]:
        """The bytes themselves."""
        return np.asarray(picture, np.uint8)


class JoinedFile(FileSink):
    """A `FrameSink` as `FileSink`, but `write` takes coded pictures: (N,) uint8, H.264 as of `JOINED_PARSER`.

    Args:
        path: where to.
        audio_from: a file whose first audio track is kept.
        said_by: a file whose title, place and time are kept, None for none.
    """

    def __init__(self, path: Path, audio_from: Path | None, said_by: Path | None) -> None:
        options = FileSinkOptions(EncoderOptions(), audio_from=audio_from, overwrite=True)
        super().__init__(path, options)
        self._said = describe(said_by) if said_by is not None else Description()

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        tail = super()._tail(rate, size)
        caps = "video/x-h264,stream-format=byte-stream,alignment=au"
        head = (
            f"appsrc name=pictures format=time max-bytes=0 caps={caps},width={size[1]},height={size[0]}"
            f",framerate={rate.numerator}/{rate.denominator} ! h264parse name=whole"
        )
        return replace(tail, task=None, head=(head, _AsItIs()))

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        super()._start(rate, size)
        if self._pipeline is not None:
            pad: Any = self._pipeline.element("whole").get_static_pad("src")
            pad.add_probe(door.modules()["Gst"].PadProbeType.BUFFER, self._lasts)

    def _attach(self, pipeline: Pipeline) -> None:
        super()._attach(pipeline)
        tell(pipeline.element("mux"), self._said)

    def close(self) -> None:
        whole = self._pipeline is not None and self._written > 0
        super().close()
        if whole and self._failure is None:
            finish(self.path, self._said)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        self._durations[pts_ns] = duration_ns
        super().write(rgb, pts_ns, duration_ns)

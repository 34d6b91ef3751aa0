"""Shows the pictures in a window of the desktop."""

from __future__ import annotations

import os
from fractions import Fraction

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail


class WindowSink(PipelineSink):
    """One window, made by whichever video sink of GStreamer works here.

    Args:
        element: the launch text of the video sink.
    """

    def __init__(self, element: str = "autovideosink") -> None:
        super().__init__("window", waits=False, end_s=0)
        self._element = element

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError on a machine without a display."""
        # autovideosink itself would go on with a sink that shows nothing.
        if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
            raise SinkError(
                "window: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set):"
                " use http://:8080 and a browser"
            )
        super().open(info, size)

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        return Tail(f"queue max-size-buffers=2 leaky=downstream ! videoconvert ! {self._element} sync=false")

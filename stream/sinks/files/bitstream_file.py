"""Records coded pictures as they come: the camera's own bitstream, or what an encoder makes for several."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import ROOM_S
from irchroma.stream.sinks.files.file_sink import FileSink, room_for
from irchroma.stream.sinks.pipeline_sink import CODED_BYTES, Tail, check_size, explain

_PARSERS = {"video/x-h264": "h264parse", "video/x-h265": "h265parse", "video/x-av1": "av1parse"}
"""What lays a bitstream out as Matroska has it; the others are laid out already by what was in front of
their decoder."""


class BitstreamFile(FileSink):
    """A `FileSink` that takes coded pictures (`Unit`) instead of pictures, from a keyframe on.

    What comes before the first keyframe decodes nowhere, and is left out.

    Attributes:
        goes_on: it takes over from a file that could take no more: what it leaves out is a loss, and counted.
    """

    _caps: Any = None
    goes_on = False

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        parser = _PARSERS.get(structure_of(self._caps).get_name(), "identity")
        return Tail(
            f"{parser} name=whole ! {self._muxer(rate)} ! filesink name=file buffer-mode=unbuffered",
            {"file": {"location": str(self.path)}, "pictures": {"caps": self._caps}},
            ("appsrc name=pictures format=time max-bytes=0", None),
            sound="mux.audio_0",
        )

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`; what is coded is known with the first picture."""
        check_size(size, self.label, smallest=2)
        self._take_name(evidence=True)
        self._camera_ahead_ns = None
        self._rate, self._size, self._live, self._sounds = info.rate, size, info.live, info.sound
        self._room_s = room_for(info)

    def write(self, unit: Any, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; takes a `Unit` with the time that it is to have here."""
        if self._failure is not None:
            raise self._failure
        self._look()
        if not self._written and not unit.key:
            self._drops += self.goes_on
            return
        try:
            if self._pipeline is None:
                self._caps = unit.caps
                self._begins(pts_ns)
                self._start(self._rate, self._size)
            self._push(unit, pts_ns - self._shift_ns)
        except SinkError as error:
            self._failure = error
            raise
        except StreamError as error:
            self._failure = explain(error, self.label)
            raise self._failure from error
        self._written += 1
        self._note_taken(unit, pts_ns)
        self._end_ns = max(self._end_ns, pts_ns + max(0, duration_ns))
        self._first_ns = pts_ns if self._first_ns is None else self._first_ns
        self._send_sound(self._end_ns)

    def _push(self, unit: Unit, pts_ns: int) -> None:
        pipeline = self._pipeline
        if pipeline is None:
            raise SinkError(f"{self.label}: written to before it was opened")
        pictures = pipeline.element("pictures")
        pipeline.check()
        while pictures.get_property("current-level-bytes") >= CODED_BYTES:
            time.sleep(ROOM_S)
            pipeline.check()
        dts_ns = unit.dts_ns + pts_ns - unit.pts_ns if min(unit.dts_ns, unit.pts_ns) >= 0 else -1
        self._durations[pts_ns] = unit.duration_ns
        pictures.emit("push-buffer", unit.at(max(0, pts_ns), dts_ns))

    def takes(self, picture: Any) -> bool:
        """False where the camera sends another kind of stream from this keyframe on."""
        return self._caps is None or not picture.key or bool(self._caps.is_equal(picture.caps))

    def may_begin(self, picture: Any) -> bool:
        """A file begins with a keyframe."""
        return bool(picture.key)

"""The two sinks of a recording of evidence: color as a viewer sees it, and the input as it came."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.media.matroska import Track
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.evidence.evidence_file import COLOR, RAW, RAW_NAME, Coded
from irchroma.stream.sinks.evidence.recorder import EvidenceRecorder, Waiting
from irchroma.stream.sinks.files.file_sink import recording_task
from irchroma.stream.sinks.files.lossless import LosslessPacker, encoder_for, kind_of
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail, check_size

_END_S = 30.0
_OUT = "fakesink name=coded sync=false async=false"


class _EvidenceTrack(PipelineSink):
    """A `FrameSink` that encodes one track for the recorder, with the times that its pictures were given."""

    number = 0

    def __init__(self, recorder: EvidenceRecorder, pool: EncoderPool | None = None) -> None:
        super().__init__(str(recorder.path), waits=True, end_s=_END_S, pool=pool)
        self.end_s = _END_S
        self._recorder = recorder
        self._rate, self._size = Fraction(0), (0, 0)
        self._lengths: dict[int, int] = {}
        self._described: tuple[Any, Track] | None = None

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        self._rate, self._size, self._live = info.rate, size, info.live
        self._note(info)
        self._recorder.opens(self.number, self, info.live)
        self._begin(info, size)

    def _begin(self, info: VideoInfo, size: tuple[int, int]) -> None:
        super().open(info, size)

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        super()._start(rate, size)
        if self._pipeline is not None:
            pad = self._pipeline.element("coded").get_static_pad("sink")
            pad.add_probe(door.modules()["Gst"].PadProbeType.BUFFER, self._coded)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        if self._recorder.failure is not None:
            raise self._recorder.failure
        self._lengths[pts_ns] = duration_ns
        super().write(rgb, pts_ns, duration_ns)

    def _coded(self, pad: Any, probe: Any) -> Any:
        """Runs on the encoder's thread, once a picture."""
        gst = door.modules()["Gst"]
        buffer, caps = probe.get_buffer(), pad.get_current_caps()
        segment = pad.get_sticky_event(gst.EventType.SEGMENT, 0)
        time_ns = buffer.pts
        if segment is not None:
            time_ns = segment.parse_segment().to_running_time(gst.Format.TIME, time_ns)
        if self._described is None or not caps.is_equal(self._described[0]):
            self._described = caps, self._track(_private(caps))
        coded = Coded(
            time_ns,
            self._lengths.pop(time_ns, 0),
            buffer.extract_dup(0, buffer.get_size()),
            not buffer.has_flags(gst.BufferFlags.DELTA_UNIT),
        )
        self._recorder.take(self.number, Waiting(coded, self._described[1], self._utc_ns(time_ns)))
        return gst.PadProbeReturn.OK

    def _utc_ns(self, time_ns: int) -> int:
        return 0

    def _track(self, private: bytes) -> Track:
        raise NotImplementedError

    def close(self) -> None:
        """See `FrameSink.close`. The file is finished with the last of its tracks."""
        try:
            super().close()
        finally:
            self._recorder.ends(self.number, self)


class ColorTrack(_EvidenceTrack):
    """The pictures that a viewer sees, as H.264; players show this track."""

    number = COLOR

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        info = VideoInfo(size, rate, self._live)
        task = recording_task("h264", self._recorder.options.encoder, self._pool, info, size)
        self._size = size
        launch = f"h264parse ! video/x-h264,stream-format=avc,alignment=au ! {_OUT}"
        return Tail(launch, task=task)

    def _track(self, private: bytes) -> Track:
        return Track(
            "video", "color", "V_MPEG4/ISO/AVC", private, True, self._size, self._rate, limited_bt709=True
        )


class RawTrack(_EvidenceTrack):
    """The frames as they came, as FFV1; where their kind or size changes, another file goes on."""

    number = RAW

    def __init__(self, recorder: EvidenceRecorder) -> None:
        super().__init__(recorder)
        self._kind = ""
        self._came_ns: dict[int, int] = {}

    def _begin(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """The kind is the first picture's."""
        check_size(size, self.label, smallest=2)

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        packer = LosslessPacker(self._size, self._kind)
        return Tail(
            f"{encoder_for(self._size)} ! {_OUT}", head=(packer.appsrc(rate, self._pixel_aspect), packer)
        )

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; takes (H, W) uint16 counts too."""
        kind, size = kind_of(rgb), Picture.of(rgb).size
        if (kind, size) != (self._kind, self._size) or self._pipeline is None:
            PipelineSink.close(self)
            self._kind, self._size = kind, size
            self._start(self._rate, size)
        if self._live:
            self._came_ns[pts_ns] = time.time_ns()
        super().write(rgb, pts_ns, duration_ns)

    def _utc_ns(self, time_ns: int) -> int:
        return self._came_ns.pop(time_ns, 0)

    def _track(self, private: bytes) -> Track:
        return Track("video", RAW_NAME, "V_FFV1", private, False, self._size, self._rate)


def _private(caps: Any) -> bytes:
    """What a decoder needs first."""
    value = structure_of(caps).get_value("codec_data")
    return bytes(value.extract_dup(0, value.get_size())) if value is not None else b""

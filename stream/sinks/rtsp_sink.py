"""Serves the pictures as H.264 over RTSP to any number of clients; encodes only while somebody watches."""

from __future__ import annotations

import logging
import threading
from fractions import Fraction
from typing import Any

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.sample import buffer_of
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoders import EncoderOptions, EncoderTask, choose_encoder
from irchroma.stream.sinks.i420_packer import Yuv420Packer, appsrc_of, even_size
from irchroma.stream.sinks.pace import Pace, RunningTime
from irchroma.stream.sinks.pipeline_sink import DEPTH, check_size, explain
from irchroma.stream.sinks.rtsp_server import RtspAddress, serve, withdraw

log = logging.getLogger(__name__)


class RtspSink:
    """One RTSP stream, shared by its clients.

    The pipeline is built when the first client comes and let go when the last one leaves. What a slow
    client does not read is dropped for that client alone.

    Attributes:
        address: where it is served, with the real port once it is open.
    """

    takes_stand_ins = True

    def __init__(self, address: RtspAddress, encoder: EncoderOptions | None = None) -> None:
        self.address = address
        self._encoder = encoder or EncoderOptions()
        self._packer: Yuv420Packer | None = None
        self._launch = ""
        self._bound: RtspAddress | None = None
        self._factory: Any = None
        self._lock = threading.Lock()
        self._pictures: Any = None
        self._payloader: Any = None
        self._clock = RunningTime()
        self._primed = False  # one picture before the start is enough to describe the stream to the client
        self._pace: Pace | None = None
        self._drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port or a name that is taken."""
        label = str(self.address)
        check_size(size, label)
        self._pace = None if info.live else Pace()
        even = even_size(size)
        try:
            task = EncoderTask("h264", even, info.rate, live=True, options=self._encoder)
            self._launch = launch_of(even, info.rate, choose_encoder(task).launch)
            self._packer = Yuv420Packer(even)
            self._factory = door.extra_module("GstRtspServer").RTSPMediaFactory.new()
            self._factory.set_launch(self._launch)
            self._factory.set_shared(True)
            self._factory.connect("media-configure", self._media_built)
            self._bound = serve(self.address, self._factory, self.ask_keyframe)
        except SinkError:
            raise
        except StreamError as error:
            raise explain(error, label) from error
        self.address = self._bound

    def _media_built(self, _factory: Any, media: Any) -> None:
        """Runs in the server's thread, once for each time that the first client comes."""
        parts = media.get_element()
        media.connect("unprepared", self._media_gone)
        with self._lock:
            self._pictures = parts.get_by_name("pictures")
            self._payloader = parts.get_by_name("pay0")
            self._clock = RunningTime()
            self._primed = False
        log.info("%s: first client, encoder starts", self.address)

    def _media_gone(self, _media: Any) -> None:
        with self._lock:
            self._pictures = self._payloader = None
        log.info("%s: no clients, encoder stopped", self.address)

    @property
    def watched(self) -> bool:
        """True while there are clients."""
        return self._pictures is not None

    def ask_keyframe(self) -> None:
        """Make the next picture a keyframe. Any thread."""
        with self._lock:
            payloader = self._payloader
        if payloader is not None:
            video = door.modules()["GstVideo"]
            none = door.modules()["Gst"].CLOCK_TIME_NONE
            event = video.video_event_new_upstream_force_key_unit(none, True, 0)
            payloader.get_static_pad("src").send_event(event)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; costs nothing while nobody watches."""
        if self._packer is None:
            raise SinkError(f"{self.address}: written to before it was opened")
        if self._pace is not None:
            self._pace.wait(pts_ns)
        with self._lock:
            pictures = self._pictures
        if pictures is None:
            return
        now_ns = _running_time_ns(pictures)
        if now_ns is None or (now_ns == 0 and self._primed):
            return
        self._primed = True
        if pictures.get_property("current-level-buffers") >= DEPTH:
            self._drops += 1
        try:
            data = self._packer.pack(rgb)
        except StreamError as error:
            raise explain(error, str(self.address)) from error
        pictures.emit("push-buffer", buffer_of(data, self._clock.of(pts_ns, now_ns), duration_ns))

    @property
    def drops(self) -> int:
        """See `FrameSink.drops`: pictures that the encoder did not get."""
        return self._drops

    def close(self) -> None:
        """See `FrameSink.close`; clients are disconnected."""
        bound, self._bound, self._packer = self._bound, None, None
        if bound is not None:
            withdraw(bound)
        with self._lock:
            self._pictures = self._payloader = None
        self._factory = None


def _running_time_ns(element: Any) -> int | None:
    """Nanoseconds that the pipeline has been playing: 0 before it starts, None while it is paused.

    Before the start the base time is 0, and GStreamer's own answer would be the machine's uptime.
    """
    if not element.get_base_time():
        return 0
    state = door.modules()["Gst"].State.PLAYING
    return int(element.get_current_running_time()) if element.get_state(0)[1] == state else None


def launch_of(size: tuple[int, int], rate: Fraction, encoder: str) -> str:
    """The media factory's launch text for I420 pictures of `size` (H, W)."""
    return (
        f"( {appsrc_of(size, rate)} is-live=true leaky-type=downstream max-buffers={DEPTH}"
        f" ! {encoder} ! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=zero-latency )"
    )

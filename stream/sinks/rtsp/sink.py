"""Serves the pictures over RTSP to any number of clients; encodes (H.264, H.265) only while one watches."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.frame import SOUND_HZ
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import structure_of
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.encoders import choose_encoder, codec_for
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.pace import Pace, RunningTime
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.sound import FileSound, LiveSound, SoundReader, open_sound
from irchroma.stream.sinks.encoding.task import EncoderOptions, EncoderTask
from irchroma.stream.sinks.pipeline_sink import check_size, explain
from irchroma.stream.sinks.rtsp.server import RtspAddress, one_media_factory, serve, withdraw
from irchroma.stream.sinks.rtsp.standby import Standby

log = logging.getLogger(__name__)

_WAITING = 30  # coded pictures in front of the payloader
# The encoder's parser puts the parameter sets once in front of a keyframe. The payloader would put them in
# front of each of its slices (x264's low delay cuts a picture into one for each thread), which splits the
# picture in two for FFmpeg's decoder.
_LAUNCH = (
    "appsrc name=pictures format=time is-live=true max-bytes=0"
    " ! {0}parse ! rtp{0}pay name=pay0 pt=96 config-interval=0 aggregate-mode=zero-latency"
)
_HELD_S = 0.5  # at most, while a viewer begins to play
_ON_THE_WAY_S = 0.02  # from here into the sockets, before which a viewer may not be among them
_LET_OUT_S = 0.5  # at most
_SOUND_LAUNCH = (
    "appsrc name=sound format=time is-live=true max-bytes=1000000 leaky-type=downstream"
    " ! aacparse ! rtpmp4gpay name=pay1 pt=97"
)
_SOUND_BEGINS_S = 5.0
_SOUND_AHEAD_NS = 100_000_000  # before its picture, which takes as long to be encoded


class RtspSink:
    """One RTSP stream, shared by its clients.

    The pipeline is built when the first client comes and let go when the last one leaves. What a slow
    client does not read is dropped for that client alone. Who comes before the camera sees the "no signal"
    card, and is disconnected with the first picture: its size, rate and sound are others.

    Attributes:
        address: where it is served, with the real port once it is open.
    """

    def __init__(
        self,
        address: RtspAddress,
        encoder: EncoderOptions | None = None,
        pool: EncoderPool | None = None,
        audio_from: LiveSound | Path | None = None,
    ) -> None:
        """`audio_from`: the file that is the source, or a live one's sound, which goes with the pictures."""
        self.address, self._audio_from = address, audio_from
        self.encoder_kind = ""
        self._sound: SoundReader | None = None
        self._sound_way: Any = None
        self._sound_primed = False
        self._sound_end_ns = 0  # of what has been sent, on the stream's clock
        self._options, self._pool = encoder or EncoderOptions(), pool or EncoderPool()
        self._codec = codec_for(self._options, ("h264", "h265"), str(address), "RTSP")
        self._encoder: SharedEncoder | None = None
        self._joined = False
        self._bound: RtspAddress | None = None
        self._serving, self._withheld = threading.Lock(), False
        self._standby: Standby | None = None
        self._factory: Any = None
        self._lock = threading.Lock()
        self._media: Any = None
        self._pictures: Any = None
        self._clock = RunningTime()
        self._primed = False  # one picture before the start is enough to describe the stream to the client
        self._await_key = False
        self._held_until_s = 0.0
        self._pace: Pace | None = None
        self._drops = 0

    def stand_by(self) -> None:
        """Show the "no signal" card to whoever comes before the first picture; returns at once."""
        if self._standby is None:
            self._standby = Standby(RtspSink(self.address, self._options))

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port or a name that is taken."""
        standby, self._standby = self._standby, None
        if standby is None:
            self._open(info, size, None)
            return
        try:
            self._open(info, size, standby.end())
        finally:
            standby.close(replaced=self._bound is not None)

    def _open(self, info: VideoInfo, size: tuple[int, int], instead: RtspAddress | None) -> None:
        """`instead`: whose place it takes."""
        label = str(self.address)
        check_size(size, label)
        self._pace = None if info.live else Pace()
        even = even_size(size)
        try:
            task = EncoderTask(
                self._codec, even, info.rate, True, self._options, info.device, info.pixel_aspect
            )
            self.encoder_kind = choose_encoder(
                task
            ).name  # its complaint comes now, not with the first client
            self._encoder = self._pool.of(task)
            self._factory = one_media_factory()
            self._open_sound(info)
            self._factory.set_launch(
                f"( {_LAUNCH.format(self._codec)} {_SOUND_LAUNCH if self._sound is not None else ''} )"
            )
            self._factory.set_shared(True)
            self._factory.connect("media-configure", self._media_built)
            address = instead or self.address
            with self._serving:
                if self._withheld:
                    raise SinkError(f"{label}: it was ended before it was open")
                bound = self._bound = serve(
                    address, self._factory, self._viewer_comes, self._give_up, instead is not None
                )
        except SinkError:
            raise
        except StreamError as error:
            raise explain(error, label) from error
        self.address = bound

    def _open_sound(self, info: VideoInfo) -> None:
        if info.sound or not info.live:
            self._sound = open_sound(self._audio_from, info.live, str(self.address))

    @property
    def sound(self) -> tuple[int, int] | None:
        """Hz and channels of what sounds with the pictures; None for nothing, or where it does not begin."""
        if self._sound is None or not isinstance(self._sound, FileSound):
            return None if self._sound is None else (SOUND_HZ, 2)
        try:
            about = structure_of(self._sound.caps(_SOUND_BEGINS_S))
        except StreamError:
            return None
        return about.get_int("rate")[1], about.get_int("channels")[1]

    def _send_sound(self, pts_ns: int) -> None:
        """What sounds with the picture of `pts_ns`; without clients it is passed over."""
        if self._sound is None:
            return
        with self._lock:
            way, clock = self._sound_way, self._clock
        for piece in self._sound.until(pts_ns + _SOUND_AHEAD_NS):
            now_ns = _running_time_ns(way) if way is not None else None
            if way is None or now_ns is None:
                continue
            time_ns = clock.at(piece.pts_ns) if self._sound_primed else 0
            if time_ns is None or time_ns < 0 or (now_ns == 0 and self._sound_primed):
                continue
            # The pictures' clock is followed, back too: pieces are moved together, then one is left out.
            if time_ns + piece.buffer.duration < self._sound_end_ns:
                continue
            time_ns = max(time_ns, self._sound_end_ns)
            self._sound_end_ns = time_ns + piece.buffer.duration
            if not self._sound_primed:
                way.set_property("caps", piece.caps)
            self._sound_primed = True
            way.emit("push-buffer", piece.at(time_ns))

    def _media_built(self, _factory: Any, media: Any) -> None:
        """Runs in the server's thread, once for each time that the first client comes."""
        parts = media.get_element()
        media.connect("unprepared", self._media_gone)
        parts.get_parent().connect("deep-element-added", _send_at_once)
        with self._lock:
            self._media = media
            self._pictures = parts.get_by_name("pictures")
            self._clock = RunningTime()
            self._primed, self._await_key = False, True
            self._sound_way, self._sound_primed = parts.get_by_name("sound"), False
            self._sound_end_ns = 0
        log.info("%s: first client, encoder starts", self.address)

    def _media_gone(self, media: Any) -> None:
        with self._lock:
            if media is not self._media:  # the next client's is built while the last one's still ends
                return
            self._media = self._pictures = self._sound_way = None
        log.info("%s: no clients, encoder stopped", self.address)

    def _give_up(self) -> None:
        """Let whoever waits for the first picture wait no more."""
        with self._lock:
            pictures = self._pictures
        if pictures is not None:
            door.post_error(pictures, "the stream has ended")

    @property
    def watched(self) -> bool:
        """True while there are clients."""
        return self._pictures is not None

    def _viewer_comes(self, plays: bool) -> None:
        """A new viewer begins with a keyframe, at once: a picture before it would not decode.

        All viewers get the same packets, so the others miss a picture or two, too. The server's thread.
        """
        self._held_until_s = 0.0 if plays else time.monotonic() + _HELD_S
        self._await_key = True
        if plays:
            self.ask_keyframe()
        else:
            time.sleep(_ON_THE_WAY_S)

    def ask_keyframe(self) -> None:
        """Make the next picture a keyframe. Any thread."""
        if self._encoder is not None:
            self._encoder.ask_keyframe()

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; costs nothing while nobody watches."""
        encoder = self._encoder
        if encoder is None:
            raise SinkError(f"{self.address}: written to before it was opened")
        if self._pace is not None:
            self._pace.wait(pts_ns)
        self._send_sound(pts_ns)
        try:
            if self.watched != self._joined:
                self._joined = self.watched
                if not self._joined:
                    encoder.leave(self._take)
                    return
                encoder.join(self._take)
            if self._joined:
                self._drops += not encoder.offer(rgb, pts_ns, duration_ns, waits=self._pace is not None)
        except StreamError as error:
            self._joined = False
            raise explain(error, str(self.address)) from error

    def _take(self, unit: Unit) -> None:
        """A coded picture for the clients. The encoder's thread."""
        with self._lock:
            pictures = self._pictures
        if pictures is None or self._bound is None:
            return
        now_ns = _running_time_ns(pictures)
        if now_ns is None or (now_ns == 0 and self._primed) or _full(pictures):
            # Left out, and with it all that refers to it.
            self._drops += now_ns is not None and now_ns > 0
            self._await_key = True
            return
        if time.monotonic() < self._held_until_s:
            return
        if self._await_key:
            if not unit.key:
                self.ask_keyframe()
                return
            self._await_key = False
        if not self._primed:
            pictures.set_property("caps", unit.caps)
        self._primed = True
        pictures.emit("push-buffer", unit.at(self._clock.of(unit.pts_ns, now_ns)))

    @property
    def drops(self) -> int:
        """See `FrameSink.drops`: pictures that the encoder did not get."""
        return self._drops

    def close(self) -> None:
        """See `FrameSink.close`; clients are disconnected."""
        standby, self._standby = self._standby, None
        if standby is not None:
            standby.close(replaced=False)
        bound = self.let_out()
        self.give_way()
        if bound is not None:
            withdraw(bound)
        with self._lock:
            self._media = self._pictures = None
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.leave(self._take)
        self._joined, self._factory = False, None

    def withhold(self) -> None:
        """Serve it from now on no more where it is not served yet; returns once that is sure. Any thread."""
        with self._serving:
            self._withheld = True

    def give_way(self) -> None:
        """It is served no longer: its address is another's."""
        self._bound = None

    def let_out(self) -> RtspAddress | None:
        """Wait until nothing is on its way to clients; where it is served.

        GStreamer (1.22) closes a connection also while a thread of the media's sends to it.
        """
        with self._lock:
            pictures = self._pictures if self._bound is not None else None
        deadline = time.monotonic() + _LET_OUT_S
        while pictures is not None and time.monotonic() < deadline:
            time.sleep(_ON_THE_WAY_S)
            if not pictures.get_property("current-level-buffers"):
                break
        return self._bound


def _send_at_once(_pipeline: Any, _parent: Any, element: Any) -> None:
    """A live pipeline's sinks hold each packet back by 20 ms, for slower elements than are in this one."""
    if element.find_property("processing-deadline") is not None:
        element.set_property("processing-deadline", 0)


def _full(pictures: Any) -> bool:
    return bool(pictures.get_property("current-level-buffers") >= _WAITING)


def _running_time_ns(element: Any) -> int | None:
    """Nanoseconds that the pipeline has been playing: 0 before it starts, None while it is paused.

    Before the start the base time is 0, and GStreamer's own answer would be the machine's uptime.
    """
    library = door.modules()["Gst"]
    if not element.get_base_time():
        return 0
    if element.get_state(0)[1] != library.State.PLAYING:
        return None
    now_ns = int(element.get_current_running_time())
    return None if now_ns == library.CLOCK_TIME_NONE else now_ns  # its clock goes when its last viewer does

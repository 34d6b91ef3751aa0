"""Live pictures over WebRTC for viewers that ask by WHEP: one HTTP request brings an offer, its answer ours.

Every viewer has a peer connection of its own; all of them get the packets of one encoder, which runs while
there are viewers.

Reference: WebRTC-HTTP Egress Protocol (WHEP), draft-ietf-wish-whep; RFC 8829 (offer and answer); RFC 6184
(H.264 in RTP); RFC 7741 (VP8 in RTP).
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.negotiation import Negotiation, NoAgreement
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.encoders import choose_encoder
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.pace import RunningTime
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.task import Codec, EncoderOptions, EncoderTask

log = logging.getLogger(__name__)

MOST_VIEWERS = 16
LONGEST_OFFER = 64 * 1024
_ANSWERED_S = 5.0  # what a step of the negotiation may take
_CONNECTED_S = 15.0  # a viewer that has not come by then is let go
_SILENT_S = 15.0  # and one whose receiver reports stay away for so long; browsers send one a second
_WAITING = 30  # coded pictures in front of the payloader

# One picture a packet train, parameter sets before each keyframe by the encoder's parser: see RtspSink.
_PAYLOADERS: dict[Codec, str] = {
    "h264": "h264parse ! rtph264pay config-interval=0 aggregate-mode=zero-latency",
    "vp8": "rtpvp8pay",
}


def webrtc_works() -> bool:
    """Whether GStreamer's WebRTC is on this machine, with all that it needs."""
    try:
        door.extra_module("GstWebRTC")
        return all(door.has_element(name) for name in ("webrtcbin", "nicesink", "dtlsenc", "srtpenc"))
    except StreamError:
        return False


class OfferRefused(SinkError):
    """A viewer's offer cannot be answered: its own fault."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one viewer wants its video.

    Attributes:
        codec: of the two that all browsers know.
        payload: the RTP payload type that the offer gives it.
        parameters: the offer's format parameters, as they are answered.
    """

    codec: Codec
    payload: int
    parameters: dict[str, str]

    @property
    def caps(self) -> str:
        """Of its packets."""
        fields = {"encoding-name": self.codec.upper(), **self.parameters}
        told = "".join(f",{key}=(string){value}" for key, value in fields.items())
        return (
            f"application/x-rtp,media=(string)video,clock-rate=(int)90000,payload=(int){self.payload}{told}"
        )


def chosen_format(offer: str) -> Format:
    """The format in which an offer's viewer gets its video: H.264 where it knows it, else VP8.

    Raises:
        OfferRefused: it is no offer to receive video, or knows neither.
    """
    video = re.search(r"^m=video (\d+) (\S+) ([\d ]+)\r?$(.*?)(?=^m=|\Z)", offer, re.M | re.S)
    if not offer.startswith("v=0") or video is None:
        raise OfferRefused("expected an offer (SDP) with a video section")
    section = video[4]
    if re.search(r"^a=(sendonly|inactive)\r?$", section, re.M):
        raise OfferRefused("expected an offer to receive video")
    named = dict(re.findall(r"^a=rtpmap:(\d+) ([A-Za-z0-9]+)/90000", section, re.M))
    told = {
        payload: dict(re.findall(r"([\w-]+)=([\w-]+)", text))
        for payload, text in re.findall(r"^a=fmtp:(\d+) (.*?)\r?$", section, re.M)
    }
    whole = [
        payload
        for payload in video[3].split()
        if named.get(payload, "").upper() == "H264" and told.get(payload, {}).get("packetization-mode") == "1"
    ]
    if whole:
        # What comes is High profile; every decoder that knows Baseline's name in browsers takes it.
        best = max(whole, key=lambda payload: _profile_rank(told[payload].get("profile-level-id", "")))
        kept = {
            key: told[best][key] for key in ("packetization-mode", "profile-level-id") if key in told[best]
        }
        return Format("h264", int(best), kept)
    for payload in video[3].split():
        if named.get(payload, "").upper() == "VP8":
            return Format("vp8", int(payload), {})
    raise OfferRefused("the offer knows neither H.264 (packetization mode 1) nor VP8")


def _profile_rank(level_id: str) -> int:
    return {"64": 3, "4d": 2, "42": 1}.get(level_id[:2].lower(), 0)


class WhepViewers:
    """The WebRTC viewers of one page. Methods may be called from any thread.

    Args:
        info, size: of the pictures, as the sink got them.
        encoder: how they are encoded.
        pool: encoders that are shared with other sinks.
    """

    def __init__(
        self, info: VideoInfo, size: tuple[int, int], encoder: EncoderOptions, pool: EncoderPool
    ) -> None:
        self._info, self._size = info, even_size(size)
        self._options, self._pool = encoder, pool
        self._lock = threading.Lock()
        self._viewers: dict[str, _Viewer] = {}
        self._looked_s = 0.0
        self._closed = False
        self._joined: set[Codec] = set()

    @property
    def count(self) -> int:
        """How many viewers there are, those that still connect included."""
        return len(self._viewers)

    def has(self, codec: Codec) -> bool:
        """Whether any of them gets that codec."""
        with self._lock:
            return any(viewer.format.codec == codec for viewer in self._viewers.values())

    def answer(self, offer: str, address: str) -> tuple[str, str]:
        """Let a viewer in; blocks until everything is gathered, some hundred milliseconds.

        Args:
            offer: its SDP.
            address: this machine's address by which the viewer reached it: the media goes there, too.

        Returns:
            The viewer's name for `end`, and the answer (SDP) with all candidates.

        Raises:
            OfferRefused: nothing in the offer can be answered.
            SinkError: too many viewers, or WebRTC does not work here.
        """
        wanted = chosen_format(offer)
        with self._lock:
            if self._closed or len(self._viewers) >= MOST_VIEWERS:
                raise SinkError("too many viewers")
        viewer = _Viewer(wanted, self._encoder(wanted.codec))
        try:
            answer = viewer.negotiate(offer, address)
            with self._lock:
                if self._closed or len(self._viewers) >= MOST_VIEWERS:
                    raise SinkError("too many viewers")
                name = secrets.token_urlsafe(12)
                self._viewers[name] = viewer
        except BaseException:
            viewer.close()
            raise
        log.info("webrtc: a viewer comes (%s), %d now", wanted.codec, self.count)
        return name, answer

    def _encoder(self, codec: Codec) -> SharedEncoder:
        options = self._options if codec == "h264" else EncoderOptions()  # a name is one codec's
        aspect = self._info.pixel_aspect
        task = EncoderTask(codec, self._size, self._info.rate, True, options, pixel_aspect=aspect)
        try:
            choose_encoder(task)
        except StreamError as error:
            raise SinkError(f"webrtc: {error}") from error
        return self._pool.of(task)

    def offer(self, picture: Picture, pts_ns: int, duration_ns: int) -> None:
        """Give all viewers a picture; costs nothing while there are none. The sink's thread alone calls.

        Pictures may change their size: another view is another encoder.
        """
        if not self._viewers:
            return
        with self._lock:
            viewers = dict(self._viewers)
        now_s = time.monotonic()
        if now_s - self._looked_s > 1.0:
            self._looked_s = now_s
            for name, viewer in viewers.items():
                if viewer.gone:
                    self.end(name)
        if even_size(picture.size) != self._size:
            self._size = even_size(picture.size)
            for viewer in viewers.values():
                viewer.move(self._encoder(viewer.format.codec))
        for encoder in {id(viewer.encoder): viewer.encoder for viewer in viewers.values()}.values():
            mine = [viewer for viewer in viewers.values() if viewer.encoder is encoder]
            try:
                if any([viewer.join() for viewer in mine]):
                    encoder.offer(picture, pts_ns, duration_ns, waits=False)
            except StreamError as error:
                log.warning("webrtc: %s", error)
                for viewer in mine:
                    viewer.rejoin()

    def end(self, name: str) -> bool:
        """Let a viewer go; False where there is none of that name."""
        with self._lock:
            viewer = self._viewers.pop(name, None)
        if viewer is None:
            return False
        # A peer connection takes its time to stop, and whoever calls may be the frame's own thread.
        threading.Thread(target=viewer.close, name="webrtc end", daemon=True).start()
        log.info("webrtc: a viewer leaves, %d now", self.count)
        return True

    def close(self) -> None:
        with self._lock:
            self._closed = True
            viewers = list(self._viewers.values())
            self._viewers.clear()
        for viewer in viewers:
            viewer.close()


class _Viewer:
    """One peer connection."""

    def __init__(self, wanted: Format, encoder: SharedEncoder) -> None:
        self.format, self.encoder = wanted, encoder
        self._began_s = self._heard_s = time.monotonic()
        self._connected = self._joined = self._closed = False
        self._lock = threading.Lock()
        self._clock = RunningTime()
        self._await_key = True
        self._caps: Any = None
        self._pipeline = Pipeline(
            f"appsrc name=pictures format=time is-live=true max-bytes=0 ! {_PAYLOADERS[wanted.codec]} pt="
            f'{wanted.payload} ! capssetter join=true caps="{wanted.caps}" ! capsfilter caps="{wanted.caps}"'
            " ! webrtcbin name=peer bundle-policy=max-bundle latency=0"
        )

    def negotiate(self, offer: str, address: str) -> str:
        """The answer to the offer. Raises SinkError."""
        try:
            self._pipeline.start()
            peer = self._pipeline.element("peer")
            negotiation = Negotiation(peer, address, _ANSWERED_S)
            peer.connect("notify::connection-state", self._changes)
            peer.get_by_name("rtpbin").connect("on-ssrc-active", self._hears)
            kinds = door.modules()["Gst"].PadProbeType
            way_out = self._pipeline.element("pictures").get_static_pad("src")
            way_out.add_probe(kinds.EVENT_UPSTREAM, self._wished)
            negotiation.take("offer", offer)
            return negotiation.describe("answer")
        except NoAgreement as error:
            raise OfferRefused(f"the offer cannot be answered: {error}") from error
        except StreamError as error:
            raise error if isinstance(error, SinkError) else SinkError(f"webrtc: {error}") from error

    def _changes(self, peer: Any, _property: Any) -> None:
        state = peer.get_property("connection-state").value_nick
        if state == "connected":
            self._connected = True
            self._heard_s = time.monotonic()
            self.encoder.ask_keyframe()
        elif state in ("failed", "closed"):
            self._closed = True

    def _hears(self, *_: Any) -> None:
        """A receiver report has come."""
        self._heard_s = time.monotonic()

    def _wished(self, _pad: Any, probe: Any) -> Any:
        """The viewer has lost its way and asks for a keyframe."""
        if door.modules()["GstVideo"].video_event_is_force_key_unit(probe.get_event()):
            self.encoder.ask_keyframe()
        return door.modules()["Gst"].PadProbeReturn.OK

    @property
    def gone(self) -> bool:
        """Whether nobody is there, or will be."""
        now_s = time.monotonic()
        late = not self._connected and now_s - self._began_s > _CONNECTED_S
        return self._closed or late or (self._connected and now_s - self._heard_s > _SILENT_S)

    def join(self) -> bool:
        """Take the encoder's pictures once there is a connection; whether it does. Raises StreamError."""
        with self._lock:
            if self._joined or not self._connected or self._closed:
                return self._joined
            self._joined = True
        self.encoder.join(self._take)
        return True

    def rejoin(self) -> None:
        """Take those of a new encoder with the next picture."""
        self._joined = False
        self._await_key = True

    def move(self, encoder: SharedEncoder) -> None:
        """Take another encoder's pictures from its first keyframe on."""
        self.encoder.leave(self._take)
        self.encoder = encoder
        self.rejoin()

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        with self._lock:
            if self._closed:
                return
            pictures = self._pipeline.element("pictures")
            full = pictures.get_property("current-level-buffers") >= _WAITING
            if full or (self._await_key and not unit.key):
                self._await_key = True  # left out, and with it all that refers to it
                self.encoder.ask_keyframe()
                return
            self._await_key = False
            if self._caps is None or not unit.caps.is_equal(self._caps):
                pictures.set_property("caps", unit.caps)
                self._caps = unit.caps
            now_ns = int(pictures.get_current_running_time())
            pictures.emit("push-buffer", unit.at(self._clock.of(unit.pts_ns, now_ns)))

    def close(self) -> None:
        with self._lock:
            self._closed, self._joined = True, False
        self.encoder.leave(self._take)
        self._pipeline.stop()

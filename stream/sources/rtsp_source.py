"""RTSP cameras: newest frame wins, low latency, TCP or UDP."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from irchroma.stream.errors import SourceError, SourceLost, SourceRefused, StreamOptionError
from irchroma.stream.frame import SOUND_HZ
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import GstFailure, structure_of
from irchroma.stream.gstreamer.pipeline import add_branch
from irchroma.stream.ipv6 import bracket_hint
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.sources.addresses import (
    UNSAFE_HINT,
    broken_format,
    has_unsafe_credentials,
    masked,
    split_credentials,
    why_unreachable,
)
from irchroma.stream.sources.decoding import Decoding
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, SourcePlan

_DECODERS = {
    "PCMU": "mulawdec", "PCMA": "alawdec", "L16": "audioconvert", "MPEG4-GENERIC": "avdec_aac",
    "MP4A-LATM": "avdec_aac", "OPUS": "opusdec", "MPA": "mpg123audiodec", "G722": "avdec_g722",
    "AC3": "avdec_ac3",
}  # fmt: skip
"""RTP's names of sound -> the element that decodes it."""
_SOUND = (
    "decodebin name=sound_parts ! audioconvert ! audioresample"
    f" ! audio/x-raw,format=S16LE,rate={SOUND_HZ},channels=2,layout=interleaved"
    " ! appsink name=sound sync=false async=false max-buffers=500 drop=true"
)
_SENDER_REPORT = 200  # RFC 3550, 12.1
_NTP_TO_UNIX_S = 2_208_988_800  # from 1900 to 1970: RFC 5905, figure 4
_2000_NS = 946_684_800 * 10**9
_UNKNOWN = 2**64 - 1  # GST_CLOCK_TIME_NONE: what rtpjitterbuffer tells between a reset and its next packet
_TCP, _UDP = 4, 1 | 2  # GstRTSPLowerTrans: TCP; UDP and its multicast
_DEFAULT_PORTS = {"rtsp": 554, "rtspt": 554, "rtspu": 554, "rtsps": 322}


class CameraClock:
    """When pictures were taken, by the sender reports (RTCP) of the camera that sends them.

    A report says which time of the camera's own clock belongs to which time stamp of its packets; the buffer
    of packets says what time stamps are in the pipeline's running time.

    Reference: RFC 3550, 6.4.1 (NTP and RTP time of a sender report).
    """

    def __init__(self) -> None:
        self.session = -1  # of the pictures; that of sound has a clock of its own
        self._ahead_ns: int | None = None  # the camera's clock less the running time

    def attach(self, _rtsp: Any, manager: Any) -> None:
        """Called by rtspsrc with its rtpbin."""
        manager.connect("new-jitterbuffer", self._buffered)

    def _buffered(self, _manager: Any, buffer: Any, session: int, _ssrc: int) -> None:
        if session == self.session:
            buffer.connect("handle-sync", self._reported)

    def _reported(self, _buffer: Any, told: Any) -> None:
        """Called for each report, on the thread that receives them."""
        first, first_ns, rate, at = (
            told.get_value(name) for name in ("base-rtptime", "base-time", "clock-rate", "sr-ext-rtptime")
        )
        sent = told.get_value("sr-buffer")
        if sent is None:  # GStreamer 1.26 also tells of a clock without a report
            return
        report = sent.extract_dup(0, 28)
        if len(report) < 28 or report[1] != _SENDER_REPORT or None in (first, first_ns, rate, at) or not rate:
            return
        if _UNKNOWN in (first, first_ns, at):  # what the report before said still holds
            return
        seconds, share = struct.unpack(">II", report[8:16])
        camera_ns = (seconds - _NTP_TO_UNIX_S) * 10**9 + (share * 10**9 >> 32)
        # A camera without a clock reports 0, or the time since its start.
        running_ns = first_ns + (at - first) * 10**9 // rate
        self._ahead_ns = camera_ns - running_ns if camera_ns > _2000_NS else None

    def at(self, pts_ns: int) -> int:
        """Nanoseconds since 1970 at a running time; 0 where no report has come."""
        ahead_ns = self._ahead_ns
        return pts_ns + ahead_ns if ahead_ns is not None and pts_ns >= 0 else 0


@dataclass(frozen=True, slots=True)
class RtspOptions:
    """How an RTSP camera is talked to.

    Attributes:
        transport: `tcp`, `udp`, or `auto`: TCP, and UDP where the camera will not do that.
        latency_ms: how long packets may wait for late ones, milliseconds.
        timeout_s: how long the camera may take to answer, seconds.
        user: name, where it is not in the address.
        password: password, where it is not in the address.
    """

    transport: Literal["auto", "tcp", "udp"] = "auto"
    latency_ms: int = 100
    timeout_s: float = 5.0
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.latency_ms <= 60_000:
            raise StreamOptionError(f"latency_ms must be within 0 and 60000, got {self.latency_ms}")
        if not 0 < self.timeout_s <= 600:
            raise StreamOptionError(f"timeout_s must be above 0 and at most 600, got {self.timeout_s}")


class RtspSource(GstSource):
    """A camera's RTSP stream: H.264, H.265, MJPEG, or raw video payloaded by GStreamer."""

    def __init__(
        self, address: str, options: RtspOptions | None = None, pictures: PictureOptions | None = None
    ) -> None:
        """Raises SourceError for an address without a host."""
        super().__init__(pictures)
        self._options = options or RtspOptions()
        self._address, user, password = split_credentials(address)
        self._user, self._password = user or self._options.user, password or self._options.password
        self._name = masked(self._address)
        self._hint = f" ({UNSAFE_HINT})" if has_unsafe_credentials(address) else ""
        try:
            parts = urlsplit(self._address)
            self._host, self._port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 554)
        except ValueError as error:
            why = bracket_hint(self._address) or f" ({error})"
            raise SourceError(f"{self._name}: expected rtsp://host:port/path{why}{self._hint}") from None
        if not self._host:
            raise SourceError(f"{self._name}: expected rtsp://host:port/path, got no host{self._hint}")
        self.open_timeout_s = self._options.timeout_s + 5.0
        self._transport = "udp" if self._options.transport == "udp" else "tcp"
        self._streams: list[str] = []
        self._wants_sound = False
        self._sound_name = ""  # of the stream of sound that is taken
        self._clock = CameraClock()

    def want_sound(self) -> None:
        """From the next `open` on frames carry the first stream of sound, if it can be decoded."""
        self._wants_sound = True

    def taken_ns(self, pts_ns: int) -> int:
        return self._clock.at(pts_ns)

    def sounds(self) -> bool:
        return bool(self._sound_name)

    def open(self) -> VideoInfo:
        info = self._open()
        offered = self._streams.count("video")
        if offered > 1:
            remark(f"{self._name} offers {offered} streams of pictures: the first is taken")
        return info

    def _open(self) -> VideoInfo:
        try:
            return super().open()
        except SourceError as error:
            refused = "transport" in str(error) and self._options.transport == "auto"
            if not refused or self._transport == "udp":
                raise
        self._transport = "udp"
        return super().open()

    def plan(self) -> SourcePlan:
        self._streams.clear()
        self._sound_name = ""
        self._clock = CameraClock()
        decoding = self._watched(
            Decoding(self._name, self._pictures.max_megapixels, tell_damage=self._pictures.tell_damage)
        )
        timeout_us = int(self._options.timeout_s * 1e6)
        rtsp: dict[str, Any] = {
            "location": self._address,
            "latency": self._options.latency_ms,
            "drop-on-latency": True,
            "protocols": _TCP if self._transport == "tcp" else _UDP,
            "timeout": timeout_us,
            "tcp-timeout": timeout_us,
        }
        if self._user:
            rtsp |= {"user-id": self._user, "user-pw": self._password}
        return SourcePlan(
            # Not linked by the line: two streams come at once from threads of their own, and each would try
            # to link whichever is there.
            launch="rtspsrc name=rtsp decodebin name=decode ! deinterlace fields=top",
            properties={"rtsp": rtsp},
            signals={
                "rtsp": {
                    "select-stream": self._wants,
                    "pad-added": self._new_stream,
                    "new-manager": self._clock.attach,
                },
                "decode": decoding.signals,
            },
            live=True,
            description=f"{self._name} over {self._transport}",
        )

    def _wants(self, _rtsp: Any, number: int, caps: Any) -> bool:
        """Called by rtspsrc for each stream on offer: what nobody wants is not asked for."""
        stream = structure_of(caps)
        # rtpgstpay carries any raw video, 16-bit counts too, and calls itself an application
        raw = stream.get_string("encoding-name") == "X-GST"
        self._streams.append("video" if raw else stream.get_string("media") or "data")
        if self._streams[-1] == "audio":
            return self._takes_sound(stream.get_string("encoding-name") or "")
        wanted = self._streams[-1] == "video" and self._streams.count("video") == 1
        if wanted:
            self._clock.session = number
        return wanted

    def _takes_sound(self, name: str) -> bool:
        if not self._wants_sound or self._sound_name:
            return False
        if not door.has_element(_DECODERS.get(name.upper(), "")):
            remark(
                f"{self._name}: its sound ({name or 'of unknown coding'}) cannot be decoded here: left out"
            )
            return False
        self._sound_name = name
        return True

    def _new_stream(self, rtsp: Any, pad: Any) -> None:
        """Called by rtspsrc for each stream that it takes: sound gets a branch of its own."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        pipeline = rtsp.get_parent()
        if structure_of(caps).get_string("media") == "audio":
            self._sound_sink = add_branch(pad, pipeline, _SOUND, "sound_parts").get_by_name("sound")
        else:
            pad.link(pipeline.get_by_name("decode").get_static_pad("sink"))

    def explain(self, failure: GstFailure | None) -> SourceError:
        name = self._name
        if failure is not None and "sound_parts" in failure.debug:
            self._wants_sound = False
            remark(f"{name}: its sound ({self._sound_name}) cannot be decoded: the pictures go on without it")
            return SourceLost(f"{name}: its sound cannot be decoded")
        if self._streams and "video" not in self._streams:
            return SourceError(f"{name} has no video track, only: {', '.join(self._streams)}")
        if failure is None:
            return SourceLost(
                f"{name}: connected, but no picture within {self.open_timeout_s:g} s"
                + ("; try --transport tcp" if self._transport == "udp" else "")
            )
        if failure.code == "not-authorized" or "Unauthorized" in failure.debug:
            if self._user:
                return SourceRefused(f"{name}: the camera does not accept this user and password{self._hint}")
            return SourceRefused(
                f"{name}: the camera wants a user and password: rtsp://user:password@host/..."
            )
        if failure.code == "not-found":
            return SourceError(f"{name}: the camera has no stream at this path")
        if "Unsupported Transport" in failure.debug or "transport" in str(failure).lower():
            return SourceError(f"{name}: the camera does not offer transport {self._transport}")
        if self._count:
            return SourceLost(f"{name}: the connection broke")
        reason = why_unreachable(self._host, self._port, min(2.0, self._options.timeout_s))
        if reason:
            return SourceLost(f"{name}: {reason}{self._hint}")
        if "Parse error" in failure.debug:
            return SourceLost(
                f"{name}: what answers at port {self._port} does not speak RTSP: is the port right?"
            )
        if "Timeout" in failure.debug:
            return SourceLost(f"{name}: no RTSP answer within {self._options.timeout_s:g} s")
        return broken_format(name, failure) or SourceLost(
            f"{name}: no RTSP stream came: {masked(str(failure))}"
        )

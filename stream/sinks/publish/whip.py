"""Publishes pictures (H.264) and live sound (Opus) over WebRTC into a server elsewhere, asked by WHIP.

Reference: WebRTC-HTTP Ingestion Protocol (WHIP), RFC 9725; RFC 8829 (offer and answer); RFC 6184.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.negotiation import Negotiation, address_towards
from irchroma.stream.protocols import Pixels
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.pipeline_sink import Tail, explain
from irchroma.stream.sinks.publish.calling import PublishingSink

_STEP_S = 5.0
_SILENT_S = 15.0
"""A server whose receiver reports stay away for so long has gone: a process that was killed says nothing, and
webrtcbin (1.22) does not ask whether it is there (RFC 7675)."""
_MOST_MOVES = 3
_LONGEST_ANSWER = 64 * 1024
# Of the profiles that every receiver names, decoders take High too, which is what comes.
_FORMAT = (
    "application/x-rtp,media=(string)video,encoding-name=(string)H264,payload=(int)96,clock-rate=(int)90000"
    ",packetization-mode=(string)1,profile-level-id=(string)42e01f"
)
_SOUND = (
    'rtpopuspay pt=97 ! capsfilter caps="application/x-rtp,media=(string)audio'
    ',encoding-name=(string)OPUS,payload=(int)97,clock-rate=(int)48000"'
)


@dataclass(frozen=True, slots=True)
class WhipAddress:
    """Whom to ask.

    Attributes:
        url: `http://host/path` or `https://`, without credentials.
        user, password: Basic; a user without a password is a Bearer token. Both empty for none.
    """

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """As the user typed it, without what is secret in it."""
        return f"whip+{self.url.partition('?')[0]}"

    @property
    def authorization(self) -> dict[str, str]:
        """The header that lets us in."""
        if not self.user:
            return {}
        if not self.password:
            return {"Authorization": f"Bearer {self.user}"}
        both = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}


def _untrusted(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here: {error.verify_message.lower()}"
    return "no encrypted connection: whip+http:// is for servers without TLS"


class WhipSink(PublishingSink):
    """One WebRTC stream to somebody else's server."""

    def __init__(
        self,
        address: WhipAddress,
        encoder: EncoderOptions | None = None,
        pool: EncoderPool | None = None,
        audio_from: LiveSound | Path | None = None,
    ) -> None:
        """`audio_from`: a live source's sound, which goes with the pictures as Opus; a file's does not."""
        super().__init__(str(address), ("h264",), "WHIP", encoder, pool, audio_from, "audio/x-opus")
        self._address = address
        self._session = ""
        self._connected = threading.Event()
        self._heard_s: float | None = None  # when it last reported; one that never does is believed

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        return Tail(
            "rtph264pay pt=96 config-interval=0 aggregate-mode=zero-latency"
            f' ! capssetter join=true caps="{_FORMAT}" ! capsfilter caps="{_FORMAT}"'
            " ! webrtcbin name=peer bundle-policy=max-bundle latency=0",
            task=self._task(rate, size),
            sound=f"{_SOUND} ! peer.",
        )

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        self._connected.clear()
        self._heard_s = None
        super()._start(rate, size)
        try:
            self._meet()
        except (OSError, http.client.HTTPException, StreamError) as error:
            self._stop()
            if isinstance(error, SinkError):
                raise
            if isinstance(error, StreamError):
                raise explain(error, self.label) from error
            if isinstance(error, ssl.SSLError):
                raise SinkError(f"{self.label}: {_untrusted(error)}") from error
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SinkError(f"{self.label}: {(reason or type(error).__name__).lower()}") from error

    def _meet(self) -> None:
        """Offer, and take the answer."""
        rtc = door.extra_module("GstWebRTC")
        if self._pipeline is None:
            return
        parts = urlsplit(self._address.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        own = address_towards(parts.hostname or "", port, _STEP_S)
        peer = self._pipeline.element("peer")
        negotiation = Negotiation(peer, own, _STEP_S)
        peer.connect("notify::connection-state", self._changes)
        peer.get_by_name("rtpbin").connect("on-ssrc-active", self._hears)
        for number in range(1 if self._sound is None else 2):
            sends = peer.emit("get-transceiver", number)
            sends.set_property("direction", rtc.WebRTCRTPTransceiverDirection.SENDONLY)
        negotiation.take("answer", self._ask(negotiation.describe("offer")))

    def _ask(self, offer: str) -> str:
        """The server's answer to an offer; a server may send us on to another one."""
        url = self._address.url
        for _ in range(_MOST_MOVES):
            status, headers, body = self._request("POST", url, offer)
            place = urljoin(url, headers.get("Location", ""))
            if status in (307, 308) and headers.get("Location"):
                url = place
                continue
            if status in (401, 403):
                raise SinkError(
                    f"{self.label}: refuses us ({status}): expected whip+https://TOKEN@host/path"
                    " or whip+https://user:password@host/path"
                )
            if status != 201:
                raise SinkError(f"{self.label}: refuses the stream ({status})")
            self._session = place if headers.get("Location") else ""
            return body
        raise SinkError(f"{self.label}: sends us on and on")

    def _request(self, method: str, url: str, body: str = "") -> tuple[int, http.client.HTTPMessage, str]:
        parts = urlsplit(url)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=_STEP_S, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=_STEP_S)
        # What is secret goes to the server that the user named, and to no other that it sends us on to.
        ours = urlsplit(self._address.url)
        known = (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc)
        headers = {"Content-Type": "application/sdp", **(self._address.authorization if known else {})}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, path, body.encode(), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read(_LONGEST_ANSWER).decode("utf-8", "replace")
        finally:
            connection.close()

    def _changes(self, peer: Any, _property: Any) -> None:
        state = peer.get_property("connection-state").value_nick
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed", "disconnected"):
            self._connected.clear()
            door.post_error(peer, "has gone away")

    def _hears(self, *_: Any) -> None:
        """A receiver report has come."""
        self._heard_s = time.monotonic()

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. A server that reports no more is called again."""
        heard_s = self._heard_s
        if self._connected.is_set() and heard_s is not None and time.monotonic() - heard_s > _SILENT_S:
            self._heard_s = None
            self._hang_up(SinkError(f"{self.label}: has gone away"))
            return
        super().write(rgb, pts_ns, duration_ns)

    def _reached(self) -> bool:
        return self._connected.is_set()

    def _stop(self) -> None:
        session, self._session = self._session, ""
        if session:
            try:
                self._request("DELETE", session)
            except (OSError, http.client.HTTPException):
                pass  # it notices by itself
        super()._stop()

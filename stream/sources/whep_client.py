"""A viewer over WebRTC that is no browser: asks a WHEP address and decodes what comes (H.264).

Reference: WebRTC-HTTP Egress Protocol (WHEP), draft-ietf-wish-whep.
"""

from __future__ import annotations

import http.client
import threading
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import EndOfStream
from irchroma.stream.gstreamer.negotiation import Negotiation, address_towards
from irchroma.stream.gstreamer.pipeline import Pipeline

_STEP_S = 5.0
_FORMAT = (
    "application/x-rtp,media=(string)video,encoding-name=(string)H264,payload=(int)96,clock-rate=(int)90000"
    ",packetization-mode=(string)1,profile-level-id=(string)640033"
)
_DECODER = (
    "rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8"
    " ! appsink name=out sync=false max-buffers=1 drop=true"
)


class WhepClient:
    """Luma pictures of a WHEP stream, the newest first.

    Args:
        address: `http://host:port/whep`.

    Raises:
        SourceError: it does not answer, or not with a picture that can be had.
    """

    def __init__(self, address: str) -> None:
        self._parts = urlsplit(address)
        self._viewer = ""
        self._linked = threading.Event()
        self._pipeline = Pipeline("webrtcbin name=peer bundle-policy=max-bundle latency=0")
        try:
            self._meet()
        except StreamError as error:
            self.close()
            raise error if isinstance(error, SourceError) else SourceError(f"{address}: {error}") from error
        except OSError as error:
            self.close()
            raise SourceError(f"{address}: {error.strerror or error}") from error

    def _meet(self) -> None:
        gst, rtc = door.modules()["Gst"], door.extra_module("GstWebRTC")
        self._pipeline.start()
        peer = self._pipeline.element("peer")
        own = address_towards(self._parts.hostname or "", self._parts.port or 80, _STEP_S)
        negotiation = Negotiation(peer, own, _STEP_S)
        peer.connect("pad-added", self._arrives)
        peer.emit(
            "add-transceiver", rtc.WebRTCRTPTransceiverDirection.RECVONLY, gst.Caps.from_string(_FORMAT)
        )
        negotiation.take("answer", self._post(negotiation.describe("offer")))

    def _post(self, offer: str) -> str:
        status, headers, body = self._request("POST", self._parts.path, offer)
        if status != 201:
            raise SourceError(f"the offer was refused ({status}): {body[:200]}")
        self._viewer = headers.get("Location", "")
        return body

    def _request(self, method: str, path: str, body: str = "") -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(self._parts.netloc, timeout=2 * _STEP_S)
        try:
            connection.request(method, path, body.encode(), {"Content-Type": "application/sdp"})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def _arrives(self, peer: Any, pad: Any) -> None:
        """The stream is there: a decoder for it."""
        gst = door.modules()["Gst"]
        decoder = gst.parse_bin_from_description(_DECODER, True)
        peer.get_parent().add(decoder)
        decoder.sync_state_with_parent()
        if pad.link(decoder.get_static_pad("sink")) == gst.PadLinkReturn.OK:
            self._linked.set()

    def pull(self, timeout_s: float) -> NDArray[np.uint8] | None:
        """The newest picture's luma, (H, W) uint8; None when `timeout_s` passed without one.

        Raises:
            SourceError: it failed on the way.
        """
        try:
            if not self._linked.wait(timeout_s):
                self._pipeline.check()
                return None
            sample = self._pipeline.pull("out", timeout_s)
        except EndOfStream as error:
            raise SourceError("webrtc: the stream has ended") from error
        except StreamError as error:
            raise SourceError(f"webrtc: {error}") from error
        return None if sample is None else sample.luma()

    def close(self) -> None:
        """Leave; may be called twice."""
        viewer, self._viewer = self._viewer, ""
        if viewer:
            try:
                self._request("DELETE", viewer)
            except OSError:
                pass  # it notices by itself
        self._pipeline.stop()

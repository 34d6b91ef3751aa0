"""How the two ends of a WebRTC connection agree on what is sent, and on the way there.

Reference: RFC 8829 (offer and answer).
"""

from __future__ import annotations

import socket
import threading
from typing import Any, Literal

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door

Kind = Literal["offer", "answer"]


class NoAgreement(StreamError):
    """The other end's description cannot be taken or answered."""


class Negotiation:
    """Negotiates one webrtcbin, which runs already and has not been described yet.

    Args:
        peer: the webrtcbin.
        address: of this machine, the only one that it listens on.
        step_s: what each step may take.
    """

    def __init__(self, peer: Any, address: str, step_s: float) -> None:
        self._peer, self._step_s = peer, step_s
        self._gathered = threading.Event()
        door.keep_to_address(peer, address)
        gathered = self._gathered

        def gathers(peer: Any, _property: Any) -> None:  # holds no `peer`, which would then never end
            if peer.get_property("ice-gathering-state").value_nick == "complete":
                gathered.set()

        peer.connect("notify::ice-gathering-state", gathers)

    def describe(self, kind: Kind) -> str:
        """Our offer, or our answer to the offer that was taken, with every way to us in it: SDP.

        Raises:
            NoAgreement: there is none to be made.
            StreamError: it was not done in time, or no way was found.
        """
        try:
            made = door.asked(self._peer, f"create-{kind}", None, self._step_s)
        except StreamError as error:
            raise NoAgreement(str(error)) from error
        # What is made lives as long as what it came in.
        door.asked(self._peer, "set-local-description", made.get_value(kind), self._step_s)
        if not self._gathered.wait(self._step_s):
            raise StreamError("no way to the other end was found in time")
        return str(self._peer.get_property("local-description").sdp.as_text())

    def take(self, kind: Kind, text: str) -> None:
        """The other end's offer, or its answer to ours.

        Raises:
            NoAgreement: it is no SDP, or not to be taken.
        """
        rtc, sdp = door.extra_module("GstWebRTC"), door.extra_module("GstSdp")
        read, message = sdp.SDPMessage.new_from_text(text)
        if read != sdp.SDPResult.OK:
            raise NoAgreement(f"the {kind} is no valid SDP")
        told = rtc.WebRTCSessionDescription.new(getattr(rtc.WebRTCSDPType, kind.upper()), message)
        try:
            door.asked(self._peer, "set-remote-description", told, self._step_s)
        except StreamError as error:
            raise NoAgreement(str(error)) from error


def address_towards(host: str, port: int, wait_s: float) -> str:
    """This machine's address on the way to a server. Raises OSError where nobody answers."""
    with socket.create_connection((host, port), wait_s) as way:
        return str(way.getsockname()[0])

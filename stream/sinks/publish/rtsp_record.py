"""Publishes pictures (H.264, H.265) and their sound into an RTSP server elsewhere (ANNOUNCE, RECORD), by TCP.

Reference: RFC 2326, 10.3 and 10.11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.stream.gstreamer.door import GstFailure
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.pipeline_sink import Tail
from irchroma.stream.sinks.publish.calling import PublishingSink

_STEPS = 2  # of its progress in recording: it announces, then, with everything set up, begins
_TIMEOUT_US = 5_000_000  # of a server that has gone without a word


@dataclass(frozen=True, slots=True)
class RecordAddress:
    """The server and the path on it.

    Attributes:
        location: `rtsp://host:port/path`, or `rtsps://`, without credentials.
        user, password: what the server asks for; both empty for none.
    """

    location: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """As the user typed it, without the password."""
        return f"publish+{self.location}"


class RtspRecordSink(PublishingSink):
    """One RTSP stream on somebody else's server."""

    needs_picture = True

    def __init__(
        self,
        address: RecordAddress,
        encoder: EncoderOptions | None = None,
        pool: EncoderPool | None = None,
        audio_from: LiveSound | Path | None = None,
    ) -> None:
        """`audio_from`: the file that is the source, or a live one's sound, which goes with the pictures."""
        super().__init__(str(address), ("h264", "h265"), "RTSP", encoder, pool, audio_from)
        self._address, self._steps = address, 0

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        address = self._address
        server: dict[str, Any] = {"location": address.location}
        if address.user:
            server |= {"user-id": address.user, "user-pw": address.password}
        return Tail(
            f"rtspclientsink name=server protocols=tcp latency=0 tcp-timeout={_TIMEOUT_US}",
            {"server": server},
            task=self._task(rate, size),
            sound="server.sink_1",
        )

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        self._steps = 0
        super()._start(rate, size)

    def _attach(self, pipeline: Pipeline) -> None:
        super()._attach(pipeline)
        bus = pipeline.element("server").get_parent().get_bus()
        bus.enable_sync_message_emission()
        bus.connect("sync-message::progress", self._progresses)

    def _progresses(self, _bus: Any, message: Any) -> None:
        """Its state runs ahead of what the server says. Any of GStreamer's threads."""
        self._steps += message.parse_progress()[1] == "record"

    def _reached(self) -> bool:
        return self._pipeline is not None and self._steps >= _STEPS

    def _reason(self, failure: GstFailure) -> str:
        code = re.search(r"\((\d{3})\)", failure.debug)
        if failure.code == "not-authorized":
            return "refuses us: expected its user and password: publish+rtsp://user:password@host:port/path"
        if self._in_step:
            return "has gone away"
        if code is not None:
            return f"refuses the stream ({code[1]})"
        return "does not answer" if failure.code.startswith("open") else super()._reason(failure)

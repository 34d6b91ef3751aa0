"""Sends the pictures as H.264 or H.265 in MPEG-TS over SRT, as listener or as caller that goes on calling."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from irchroma.stream.gstreamer import door
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoders import EncoderOptions
from irchroma.stream.sinks.pipeline_sink import Tail
from irchroma.stream.sinks.publish.calling import CallingSink
from irchroma.stream.sinks.shared_encoder import EncoderPool

_PACKETS = 7  # of MPEG-TS in one message: libsrt's live mode takes 1316 bytes


@dataclass(frozen=True, slots=True)
class SrtAddress:
    """Where to listen or whom to call.

    Attributes:
        host: empty to listen on all addresses; of a caller, the receiver's.
        port: UDP port.
        caller: true to call, false to listen.
        latency_ms: SRT's own buffer.
        passphrase: 10 to 79 characters, empty for no encryption.
        streamid: what a caller tells the receiver.
    """

    host: str
    port: int
    caller: bool
    latency_ms: int = 120
    passphrase: str = field(default="", repr=False)
    streamid: str = ""

    def __str__(self) -> str:
        """Without the passphrase."""
        return f"srt://{self.host}:{self.port}"


class SrtSink(CallingSink):
    """One SRT stream. A caller whose receiver is away tries again, and drops pictures meanwhile."""

    def __init__(
        self, address: SrtAddress, encoder: EncoderOptions | None = None, pool: EncoderPool | None = None
    ) -> None:
        super().__init__(str(address), ("h264", "h265"), "SRT", encoder, pool)
        self._address = address

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. A receiver that does not answer yet is no error."""
        super().open(info, size)
        if self._address.caller:  # a listener's failure is an error
            self._opened = (info, size)

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        address = self._address
        mode = "caller" if address.caller else "listener"
        srt: dict[str, Any] = {
            "uri": f"srt://{address.host}:{address.port}?mode={mode}",
            "latency": address.latency_ms,
        }
        if address.passphrase:
            srt["passphrase"] = address.passphrase
        if address.streamid:
            srt["streamid"] = address.streamid
        return Tail(
            "mpegtsmux name=mux alignment=0 ! srtsink name=srt wait-for-connection=false sync=false",
            {"srt": srt},
            task=self._task(rate, size),
        )

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        super()._start(rate, size)
        if self._pipeline is not None:
            kinds = door.modules()["Gst"].PadProbeType
            self._pipeline.element("mux").get_static_pad("src").add_probe(kinds.BUFFER_LIST, _grouped)
        if self._pipeline is not None and not self._address.caller:
            self._pipeline.element("srt").connect("caller-added", self._caller_added)

    def _caller_added(self, *_: Any) -> None:
        """A new receiver begins with a keyframe: what comes before it would not decode. SRT's thread.

        All receivers get the same packets, so the others miss a picture or two, too.
        """
        self._await_key = True
        if self._encoder is not None:
            self._encoder.ask_keyframe()

    def _reached(self) -> bool:
        stats = self._pipeline.element("srt").get_property("stats") if self._pipeline is not None else None
        return stats is not None and bool(stats.get_int64("packets-sent")[1])


def _grouped(pad: Any, probe: Any) -> Any:
    """Sends a picture's packets at once, in messages that SRT takes. The muxer's thread.

    The muxer's own groups of 7 packets would hold small pictures back until more come, which is some frames
    of delay, and a new receiver would get those before its keyframe.
    """
    library = door.modules()["Gst"]
    packets = probe.get_buffer_list()
    count = packets.length()
    for start in range(0, count, _PACKETS):
        group = [packets.get(at) for at in range(start, min(count, start + _PACKETS))]
        message = library.Buffer.new_wrapped(b"".join(one.extract_dup(0, one.get_size()) for one in group))
        message.pts, message.dts = group[0].pts, group[0].dts
        pad.push(message)
    return library.PadProbeReturn.DROP

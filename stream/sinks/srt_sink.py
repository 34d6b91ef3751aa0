"""Sends pictures and sound in MPEG-TS over SRT: to whoever calls, or to a receiver that it calls itself."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.pipeline_sink import Tail
from irchroma.stream.sinks.publish.calling import CallingSink

log = logging.getLogger(__name__)

_ROUNDED_NS = 1_000_000  # times of a transport stream count in 11 microseconds
_SOUND_WAIT_NS = 2_000_000_000
"""For so long the first picture waits for the sound, and goes out without it then."""
_STEP_S = 0.002
# libsrt's SRT_ENOCONN, and what GStreamer makes of a connection that breaks while it is written to.
_UNCONNECTED = ("Connection does not exist", "Error on SRT socket: Unknown or erroneous")
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
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"srt://{host}:{self.port}"


class SrtSink(CallingSink):
    """One SRT stream. A caller goes on calling; a listener encodes while somebody listens."""

    def __init__(
        self,
        address: SrtAddress,
        encoder: EncoderOptions | None = None,
        pool: EncoderPool | None = None,
        audio_from: LiveSound | Path | None = None,
    ) -> None:
        """`audio_from`: the file that is the source, or a live one's sound, which goes with the pictures."""
        super().__init__(str(address), ("h264", "h265"), "SRT", encoder, pool, audio_from)
        self._address = address
        self._receivers = 0
        self._joined = False
        self._begun_ns: int | None = None  # the first picture's time
        self._ahead_ns: int | None = None  # how much later the muxer's times are
        self._from_key, self._from_ns = False, 0  # what goes out after a pause, on the muxer's clock
        self._sound_until_ns: int | None = None  # when the first picture waits no longer for the sound

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. A receiver that does not answer yet is no error."""
        super().open(info, size)
        if self._address.caller:  # a listener's failure is an error
            self._opened = (info, size)

    @property
    def watched(self) -> bool:
        """Whether anything is encoded for it."""
        return self._joined

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; costs a listener nothing while nobody listens."""
        self._announce_sound(pts_ns)
        encoder, watched = self._encoder, self._address.caller or self._receivers > 0
        if encoder is not None and watched != self._joined:
            self._joined = watched
            if watched:
                self._await_key = True
                self._from_key = self._ahead_ns is not None
                encoder.join(self._take)
            else:
                log.info("%s: no receivers, encoder stopped", self.label)
                encoder.leave(self._take)
        if watched or encoder is None:
            super().write(rgb, pts_ns, duration_ns)
            return
        if self._pace is not None:
            self._pace.wait(pts_ns)
        self._pass_over_sound(pts_ns + max(0, duration_ns))

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        address = self._address
        mode = "caller" if address.caller else "listener"
        srt: dict[str, Any] = {
            "uri": f"{address}?mode={mode}",
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
            sound="mux.",
        )

    def _attach(self, pipeline: Pipeline) -> None:
        """A caller that does not get through is to fail, so that it is said, counted, and called anew.

        GStreamer 1.26's own calling again says nothing, drops what it is given and counts it as taken.
        1.20 has no such property, and fails.
        """
        super()._attach(pipeline)
        srt = pipeline.element("srt")
        if srt.find_property("auto-reconnect") is not None:
            srt.set_property("auto-reconnect", False)

    def _announce_sound(self, now_ns: int) -> None:
        """Tell the muxer what sounds before a picture is in it; a file's is waited for.

        Each receiver is first sent the table as the muxer wrote it first. Where that names pictures alone, as
        of GStreamer 1.26 it does while nothing has sounded, players take what comes next for another program,
        and some end.
        """
        sound, pipeline = self._sound, self._pipeline
        if sound is None or pipeline is None:
            return
        if self._sound_until_ns is None:
            self._sound_until_ns = now_ns + _SOUND_WAIT_NS
        deadline_s = time.monotonic() + (0 if self._live else _SOUND_WAIT_NS / 1e9)
        while self._awaits_sound(now_ns):
            caps = None if self._sound_primed else sound.begins(now_ns)
            if caps is not None:
                pipeline.element("sound").set_property("caps", caps)
                self._sound_primed = True
            elif sound.ended:
                self._end_sound()
            if time.monotonic() >= deadline_s:
                return
            time.sleep(_STEP_S)

    def _awaits_sound(self, pts_ns: int) -> bool:
        """Whether the muxer has yet to hear what sounds, before the first picture. Any thread."""
        pipeline, until_ns = self._pipeline, self._sound_until_ns
        if self._sound is None or pipeline is None or self._taken or self._sound_ended:
            return False
        if until_ns is not None and pts_ns > until_ns:
            return False
        ways = pipeline.element("mux").sinkpads  # that of the pictures has no caps before the first
        return all(way.get_current_caps() is None for way in ways)

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        self._begun_ns = self._ahead_ns = self._sound_until_ns = None
        self._from_key, self._from_ns = False, 0
        super()._start(rate, size)
        self._joined = True
        if self._pipeline is not None:
            kinds = door.modules()["Gst"].PadProbeType
            self._pipeline.element("mux").get_static_pad("src").add_probe(kinds.BUFFER_LIST, self._grouped)
        if self._pipeline is not None and not self._address.caller:
            self._receivers = 0
            self._pipeline.element("srt").connect("caller-added", self._caller_added)
            self._pipeline.element("srt").connect("caller-removed", self._caller_removed)

    def _caller_removed(self, *_: Any) -> None:
        self._receivers -= 1

    def _caller_added(self, *_: Any) -> None:
        """A new receiver begins with a keyframe: what comes before it would not decode. SRT's thread.

        All receivers get the same packets, so the others miss a picture or two, too.
        """
        self._receivers += 1
        self._await_key = True
        if self._encoder is not None:
            self._encoder.ask_keyframe()

    @property
    def _unanswered(self) -> str:
        """SRT tells no reason: a listener with another passphrase or stream is silent, too."""
        refusable = self._address.passphrase or self._address.streamid
        return "does not answer, or refuses this passphrase or streamid" if refusable else "does not answer"

    def _reached(self) -> bool:
        stats = self._pipeline.element("srt").get_property("stats") if self._pipeline is not None else None
        return stats is not None and bool(stats.get_int64("packets-sent")[1])

    def _hang_up(self, error: SinkError) -> None:
        if any(text in str(error) for text in _UNCONNECTED):
            gone = "has gone away" if self.answered else self._unanswered
            told = SinkError(f"{self.label}: {gone}")
            told.__cause__ = error
            error = told
        super()._hang_up(error)

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        if self._awaits_sound(unit.pts_ns):
            self._await_key = True
            return
        if self._await_key and unit.key:
            if self._begun_ns is None:
                self._begun_ns = unit.pts_ns
            if self._from_key and self._ahead_ns is not None:
                self._from_ns = unit.pts_ns + self._ahead_ns - _ROUNDED_NS
                self._from_key = False
        super()._take(unit)

    def _grouped(self, pad: Any, probe: Any) -> Any:
        """Sends a picture's packets at once, in messages that SRT takes. The muxer's thread.

        The muxer's own groups of 7 packets would hold small pictures back until more come, which is some
        frames of delay, and a new receiver would get those before its keyframe. What waited in the muxer
        while nobody listened is left out.
        """
        library = door.modules()["Gst"]
        packets = probe.get_buffer_list()
        count = packets.length()
        out_ns = packets.get(count - 1).pts  # tables in front have the time of what was before
        if self._ahead_ns is None and self._begun_ns is not None:
            self._ahead_ns = out_ns - self._begun_ns
        if self._from_key or out_ns < self._from_ns:
            return library.PadProbeReturn.DROP
        for start in range(0, count, _PACKETS):
            group = [packets.get(at) for at in range(start, min(count, start + _PACKETS))]
            message = library.Buffer.new_wrapped(
                b"".join(one.extract_dup(0, one.get_size()) for one in group)
            )
            message.pts, message.dts = group[0].pts, group[0].dts
            pad.push(message)
        return library.PadProbeReturn.DROP

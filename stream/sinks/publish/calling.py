"""A sink that calls a server elsewhere, and goes on calling while that is away."""

from __future__ import annotations

import logging
import time
from fractions import Fraction
from pathlib import Path

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.door import GstFailure
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import FrameSink, Pixels, VideoInfo
from irchroma.stream.sinks.encoding.encoders import choose_encoder, codec_for
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.pace import Pace
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound, open_sound
from irchroma.stream.sinks.encoding.task import Codec, EncoderOptions, EncoderTask
from irchroma.stream.sinks.pipeline_sink import PipelineSink, check_size, explain

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 1.0, 10.0
_FILE_WAITS_S = 15.0
_STEP_S = 0.01
_SOUND_AHEAD_NS = 500_000_000  # what may be waited for to tell a server what sounds
_WAITING = 30  # coded pictures in front of a server that is slow


class CallingSink(PipelineSink):
    """A live sink whose other end may be away: pictures are dropped meanwhile, and it is called again.

    Subclasses give `_tail`, and say with `_reached` whether the server takes pictures.

    Args:
        label: what the user typed, without credentials.
        known: the codings that the protocol carries, the usual one first.
        protocol: its name, for people.
        encoder, pool: as for other sinks.
        audio_from: the file that is the source, or a live one's sound, which goes with the pictures.
        sound_coding: what the protocol carries.

    Attributes:
        away: why nothing is sent right now; empty while it is.
        answered: whether the other end has taken any picture at all.
    """

    def __init__(
        self,
        label: str,
        known: tuple[Codec, ...],
        protocol: str,
        encoder: EncoderOptions | None = None,
        pool: EncoderPool | None = None,
        audio_from: LiveSound | Path | None = None,
        sound_coding: str = "audio/mpeg",
    ) -> None:
        super().__init__(label, waits=False, end_s=0, pool=pool or EncoderPool())
        self._audio_from, self._sound_coding = audio_from, sound_coding
        self._encoding = encoder or EncoderOptions()
        self._codec = codec_for(self._encoding, known, label, protocol)
        self._opened: tuple[VideoInfo, tuple[int, int]] | None = None
        self._retry_s, self._retry_at = FIRST_RETRY_S, 0.0
        self._met = self._in_step = self._sounds = False
        self.away, self.answered = "", False

    def follow(self, before: FrameSink) -> None:
        """See `FrameSink`: what the other end took of the one before it took of this run.

        What may hang, or is closed by another thread meanwhile, is not asked.
        """
        if isinstance(before, CallingSink):
            self.answered = before.answered

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`."""
        self._sounds = info.sound
        self._live = info.live
        super().open(info, size)

    def _reached(self) -> bool:
        """Whether the server takes pictures by now."""
        raise NotImplementedError

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        """Open the sound anew, without what sounded before, and begin."""
        if self._sound is None and (self._sounds or not self._live):
            self._sound = open_sound(self._audio_from, self._live, self.label, self._sound_coding)
        super()._start(rate, size)

    def _pass_over_sound(self, until_ns: int) -> None:
        """Drop the sound that came while nobody listened."""
        if self._sound is not None:
            for _ in self._sound.until(until_ns):
                pass

    def _task(self, rate: Fraction, size: tuple[int, int]) -> EncoderTask:
        return EncoderTask(self._codec, size, rate, live=True, options=self._encoding)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. A server that is away is no error: it is said once, and called again."""
        if self._opened is None:
            super().write(rgb, pts_ns, duration_ns)
            return
        if self._pipeline is None and not self._call():
            self._drops += 1
            return
        try:
            super().write(rgb, pts_ns, duration_ns)
        except SinkError as error:
            self._hang_up(error)
            return
        if self._reached():
            if self.away:
                log.info("%s: is there", self.label)
            self.away, self._retry_s, self.answered = "", FIRST_RETRY_S, True

    def _call(self) -> bool:
        if time.monotonic() < self._retry_at or self._opened is None:
            return False
        info, size = self._opened
        try:
            self._start(info.rate, size)
        except SinkError as error:
            self._hang_up(error)
            return False
        return True

    def _hang_up(self, error: SinkError) -> None:
        """The server has gone, or never came."""
        self._stop()
        self._failure = None
        if not self.away:
            log.warning("%s: calling again until it is there", error)
        self.away = str(error)
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
        self._drops += 1

    def close(self) -> None:
        """See `FrameSink.close`. SinkError where nobody ever answered: nothing came of this output."""
        called = self._opened is not None and self._written + self._drops > 0
        answered = self.answered or (called and self._reached())
        self._opened = None
        super().close()
        if called and not answered and self._failure is None:
            raise SinkError(f"{self.away or f'{self.label}: has not answered'}: it got nothing of this run")


class PublishingSink(CallingSink):
    """One whose server says when it takes pictures, and which then starts with a keyframe.

    A file's pictures wait for the server, and its failure is one of the run; a camera's are lost meanwhile.

    Attributes:
        needs_picture: whether the server is told what comes only once there is a first picture.
    """

    needs_picture = False

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. The server is called with the first picture."""
        check_size(size, self.label)
        try:
            choose_encoder(self._task(info.rate, even_size(size)))
        except StreamError as error:
            raise explain(error, self.label) from error
        self._note(info)
        self._sounds = info.sound
        self._opened, self._met = (info, size), False

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. SinkError where a file's server is not there."""
        super().write(rgb, pts_ns, duration_ns)
        if self._opened is None or self._live or self._met:
            return
        deadline_s = time.monotonic() + _FILE_WAITS_S
        while not self._reached():
            try:
                if self._pipeline is not None:
                    self._pipeline.check()
            except StreamError as error:
                told = explain(error, self.label)
                told.__cause__ = error
                self._hang_up(told)
            self._send_sound(pts_ns)
            if time.monotonic() > deadline_s:
                self._hang_up(SinkError(f"{self.label}: did not answer within {_FILE_WAITS_S:g} s"))
            time.sleep(_STEP_S)
        self._met, self._pace = True, Pace()

    def _hang_up(self, error: SinkError) -> None:
        cause = error.__cause__ if error.__cause__ is not None else error
        told = SinkError(f"{self.label}: {self._reason(cause)}") if isinstance(cause, GstFailure) else error
        if self._opened is not None and not self._live:
            self._stop()
            self._failure = told
            raise told
        super()._hang_up(told)

    def _reason(self, failure: GstFailure) -> str:
        """What a failure of the pipeline means."""
        text = str(failure)
        return text[:1].lower() + text[1:].rstrip(".")

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        pipeline = self._pipeline
        if pipeline is None or self._failure is not None:
            return
        if not self._reached() and (self._taken or not self.needs_picture):
            self._await_key = True  # what refers to it is left out, too
            return
        pictures = pipeline.element("pictures")
        if pictures.get_property("current-level-buffers") >= _WAITING:
            self._drops += 1
            self._await_key = True
            return
        if self._reached() and not self._in_step:
            self._in_step = True
            self._shift_ns = unit.pts_ns - int(pictures.get_current_running_time())
            self._first_ns = unit.pts_ns
        super()._take(unit)

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        self._in_step = False
        super()._start(rate, size)

    def _begins(self, pts_ns: int) -> None:
        if not self._in_step:  # the picture that says what comes
            self._shift_ns = pts_ns

    def _send_sound(self, until_ns: int) -> None:
        """Beside pictures alone; where a server is told what comes, one piece says what sounds."""
        if self.needs_picture and not self._sound_primed:
            if self._taken:
                self._prime_sound(until_ns + _SOUND_AHEAD_NS)
        elif self._in_step:
            super()._send_sound(until_ns)
        else:
            self._pass_over_sound(until_ns)

    def _prime_sound(self, until_ns: int) -> None:
        if self._sound is None or self._pipeline is None:
            return
        piece = next(iter(self._sound.until(until_ns)), None)
        if piece is not None:
            way = self._pipeline.element("sound")
            way.set_property("caps", piece.caps)
            way.emit("push-buffer", piece.at(0))
            self._sound_primed = True

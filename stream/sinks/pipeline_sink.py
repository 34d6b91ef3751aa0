"""A sink that is a GStreamer pipeline behind an appsrc: feeding, back-pressure, errors, the orderly end."""

from __future__ import annotations

import errno
import os
import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import EndOfStream, GstFailure
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.encoders import choose_encoder
from irchroma.stream.sinks.encoding.i420_packer import SQUARE, Yuv420Packer, appsrc_of, even_size
from irchroma.stream.sinks.encoding.pace import Pace
from irchroma.stream.sinks.encoding.shared_encoder import DEPTH, PARSERS, ROOM_S, EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.sound import PARSERS as SOUND_PARSERS
from irchroma.stream.sinks.encoding.sound import SoundReader
from irchroma.stream.sinks.encoding.task import EncoderTask

LARGEST_PX = 8192
"""The longest side that is encoded."""

CODED_BYTES = 32_000_000
"""Coded pictures that may wait for a disk or a network."""


class Packer(Protocol):
    """Lays pictures out as an appsrc's buffers."""

    def pack(self, picture: Pixels) -> NDArray[np.uint8]:
        """The bytes of one buffer, valid until the next call."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What comes after the appsrc.

    Attributes:
        launch: launch text from I420 (or coded video, or what `head` says) to the sink element.
        properties: values for its named elements.
        corrections: as in `Pipeline`.
        head: launch text of an appsrc called `pictures`, and what packs for it, if anything; None for I420.
        task: what is to be encoded before `launch`; None where that takes pictures as they are.
        sound: the pad that takes coded sound (`mux.audio_0`); empty for none.
    """

    launch: str
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    head: tuple[str, Packer | None] | None = None
    corrections: dict[str, dict[int, bytes]] = field(default_factory=dict)
    task: EncoderTask | None = None
    sound: str = ""


def check_size(size: tuple[int, int], label: str, smallest: int = 16) -> None:
    """SinkError for pictures that video encoders and containers do not take."""
    if min(size) < smallest or max(size) > LARGEST_PX:
        raise SinkError(
            f"{label}: pictures of {size[1]}x{size[0]} cannot be encoded:"
            f" expected sides of {smallest} to {LARGEST_PX} pixels"
        )


def explain(error: StreamError, label: str) -> SinkError:
    """One clear line for a pipeline's failure."""
    if isinstance(error, SinkError):
        return error
    reason, full = str(error), False
    if isinstance(error, GstFailure):
        system = re.search(r"(?:system error|file descriptor \d+|Failed to open SRT): (.+)", error.debug)
        if full := error.code == "no-space-left" or os.strerror(errno.EDQUOT) in error.debug:
            reason = "the disk is full"
        elif system:
            reason = system.group(1).strip()
    found = SinkError(f"{label}: {reason[:1].lower()}{reason[1:].rstrip('.')}")
    if full:
        found.errno = errno.ENOSPC
    return found


class PipelineSink(ABC):
    """A `FrameSink` made of an appsrc and a tail that the subclass gives.

    Args:
        label: what the user typed, without credentials.
        waits: true where every picture is kept and `write` waits for room; false where the oldest
            picture in the queue gives way, and where files go at their own speed.
        end_s: seconds that `close` waits for the end of the stream; 0 to stop at once.
        pool: the encoders that it shares with other sinks; None for one within its own pipeline.
    """

    def __init__(self, label: str, waits: bool, end_s: float, pool: EncoderPool | None = None) -> None:
        self.label = label
        self._waits, self._end_s = waits, end_s
        self._pipeline: Pipeline | None = None
        self._packer: Packer | None = None
        self._failure: SinkError | None = None
        self._drops = self._written = 0
        self._last_ns = -1
        self._pace: Pace | None = None
        self._pool = pool
        self._encoder: SharedEncoder | None = None
        self._live = True
        self._lies_on: int | None = None  # that pictures lie on
        self._pixel_aspect = SQUARE
        self._await_key, self._taken = True, 0
        self._durations: dict[int, int] = {}  # of coded pictures on their way
        self._shift_ns = 0  # what its times begin with
        self._sound: SoundReader | None = None  # the subclass's to open, before it starts
        self._sound_coding = "audio/mpeg"
        self._sound_primed = self._sound_ended = False
        self._first_ns: int | None = None  # time of the first picture that it has got

    @abstractmethod
    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        """The rest of the pipeline for pictures of `size` (H, W), even unless it brings its own head."""

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. Pictures of other sizes are scaled to `size` later on."""
        check_size(size, self.label)
        self._pace = None if self._waits or info.live else Pace()
        self._note(info)
        self._start(info.rate, size)

    def _note(self, info: VideoInfo) -> None:
        self._live, self._lies_on, self._pixel_aspect = info.live, info.device, info.pixel_aspect

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        even = even_size(size)
        try:
            tail = self._with_sound(self._tail(rate, even))
            if tail.task is not None:
                task = replace(tail.task, device=self._lies_on, pixel_aspect=self._pixel_aspect)
                tail = replace(tail, task=task)
            # H.265 never behind an appsrc that leaks: h265parse (1.22) then forgets times now and then.
            shares = self._pool is not None or self._lies_on is not None
            if tail.task is not None and (shares or tail.task.codec == "h265"):
                self._start_shared(self._pool or EncoderPool(), tail.task, tail)
                return
            head, self._packer = tail.head or (appsrc_of(even, rate, self._pixel_aspect), Yuv420Packer(even))
            if not self._waits:
                head += f" is-live=true leaky-type=downstream max-buffers={DEPTH}"
            encoder = f" ! {choose_encoder(tail.task).launch}" if tail.task is not None else ""
            self._pipeline = Pipeline(
                f"{head}{encoder} ! {tail.launch}", dict(tail.properties), corrections=tail.corrections
            )
            self._pipeline.start(built=self._attach)
            self._pipeline.check()
        except StreamError as error:
            self._stop()
            raise explain(error, self.label) from error

    def _with_sound(self, tail: Tail) -> Tail:
        self._sound_primed, self._sound_ended, self._first_ns = False, False, None
        if self._sound is None or not tail.sound:
            return tail
        branch = (
            f" appsrc name=sound format=time max-bytes=0 ! {SOUND_PARSERS[self._sound_coding]} ! {tail.sound}"
        )
        return replace(tail, launch=tail.launch + branch)

    def _send_sound(self, until_ns: int) -> None:
        """What sounds with the pictures up to then, but nothing before the first of them."""
        first_ns = self._first_ns
        if self._sound is None or self._pipeline is None or self._sound_ended or first_ns is None:
            return
        way = self._pipeline.element("sound")
        for piece in self._sound.until(until_ns):
            if piece.pts_ns < first_ns:
                continue
            if not self._sound_primed:
                way.set_property("caps", piece.caps)
                self._sound_primed = True
            way.emit("push-buffer", piece.at(piece.pts_ns - self._shift_ns))
        if self._sound.ended:
            self._end_sound()

    def _end_sound(self) -> None:
        """A container waits for sound with its pictures until it hears that there is no more."""
        if self._sound is not None and self._pipeline is not None and not self._sound_ended:
            self._sound_ended = True
            self._pipeline.element("sound").emit("end-of-stream")

    def _attach(self, pipeline: Pipeline) -> None:
        """To what is built and not yet started; a parser called `whole` gets its pictures' durations back."""
        if " name=whole " in pipeline.launch:
            kinds = door.modules()["Gst"].PadProbeType
            pipeline.element("whole").get_static_pad("src").add_probe(kinds.BUFFER, self._lasts)

    def _start_shared(self, pool: EncoderPool, task: EncoderTask, tail: Tail) -> None:
        self._await_key, self._taken = True, 0
        self._durations.clear()
        head = "appsrc name=pictures format=time max-bytes=0"
        if not self._waits:
            head += " is-live=true"
        launch = f"{head} ! {PARSERS[task.codec]} name=whole ! {tail.launch}"
        self._pipeline = Pipeline(launch, dict(tail.properties), corrections=tail.corrections)
        self._pipeline.start(built=self._attach)
        kinds = door.modules()["Gst"].PadProbeType
        way_out = self._pipeline.element("pictures").get_static_pad("src")
        way_out.add_probe(kinds.EVENT_UPSTREAM, self._wished)
        self._encoder = pool.of(task)
        self._encoder.join(self._take)

    def _wished(self, _pad: Any, probe: Any) -> Any:
        """Passes a wish for a keyframe on to the encoder. Any of GStreamer's threads."""
        event = probe.get_event()
        if self._encoder is not None and door.modules()["GstVideo"].video_event_is_force_key_unit(event):
            self._encoder.send_upstream(event)
        return door.modules()["Gst"].PadProbeReturn.OK

    def _lasts(self, _pad: Any, probe: Any) -> Any:
        """Gives a coded picture its duration back, of which parsers make 1 ns where no rate is known."""
        buffer = probe.get_buffer()
        duration_ns = self._durations.pop(buffer.pts, -1)
        if duration_ns >= 0:
            door.set_duration(buffer, duration_ns)
        return door.modules()["Gst"].PadProbeReturn.OK

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        pipeline = self._pipeline
        if pipeline is None or self._failure is not None:
            return
        if self._await_key:
            if not unit.key:
                if self._encoder is not None:
                    self._encoder.ask_keyframe()
                return
            self._await_key = False
        try:
            pictures = pipeline.element("pictures")
            while pictures.get_property("current-level-bytes") >= CODED_BYTES:
                if self._live or self._pipeline is None:  # left out with all that refers to it
                    self._drops += 1
                    self._await_key = True
                    return
                time.sleep(ROOM_S)
                pipeline.check()
        except StreamError:
            return  # `write` will say it
        if not self._taken:
            pictures.set_property("caps", unit.caps)
            self._begins(unit.pts_ns)
            self._first_ns = unit.pts_ns
        self._taken += 1
        pts_ns = unit.pts_ns - self._shift_ns
        self._durations[pts_ns] = unit.duration_ns
        pictures.emit("push-buffer", unit.at(pts_ns))

    def _begins(self, pts_ns: int) -> None:
        """Called before the first coded picture is passed on; sets what its times begin with."""
        self._shift_ns = 0

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. A picture that is not later than the one before is left out and counted."""
        if self._failure is not None:
            raise self._failure
        if self._pipeline is None or (self._packer is None and self._encoder is None):
            raise SinkError(f"{self.label}: written to before it was opened")
        if pts_ns <= self._last_ns:
            self._drops += 1
            return
        if self._pace is not None:
            self._pace.wait(pts_ns)
        try:
            if self._encoder is not None:
                self._pipeline.check()
                self._drops += not self._encoder.offer(
                    rgb, pts_ns, duration_ns, self._waits or not self._live
                )
            elif self._packer is not None:
                self._make_room(self._pipeline)
                self._pipeline.push("pictures", self._packer.pack(rgb), pts_ns - self._shift_ns, duration_ns)
                self._first_ns = pts_ns if self._first_ns is None else self._first_ns
        except EndOfStream as error:
            self._failure = SinkError(f"{self.label}: takes no more")
            raise self._failure from error
        except StreamError as error:
            self._failure = explain(error, self.label)
            raise self._failure from error
        self._last_ns = pts_ns
        self._written += 1
        self._send_sound(pts_ns + max(0, duration_ns))

    def _make_room(self, pipeline: Pipeline) -> None:
        """Not appsrc's own `block`: it never wakes up again when an element behind it has failed."""
        pipeline.check()
        pictures = pipeline.element("pictures")
        if not self._waits:
            self._drops += pictures.get_property("current-level-buffers") >= DEPTH
            return
        while pictures.get_property("current-level-buffers") >= DEPTH:
            time.sleep(ROOM_S)
            pipeline.check()

    @property
    def keeps_all(self) -> bool:
        """True where every picture is kept, however late it is."""
        return self._waits

    @property
    def drops(self) -> int:
        return self._drops

    @property
    def written(self) -> int:
        """Pictures it has been given."""
        return self._written

    def close(self) -> None:
        """See `FrameSink.close`. Raises SinkError when the end could not be written; lets go all the same."""
        pipeline = self._pipeline
        if pipeline is None:
            return
        try:
            if self._end_s and self._written and self._failure is None:
                if self._encoder is not None:
                    self._encoder.finish(self._take, self._last_ns, self._end_s)
                self._end_sound()
                pipeline.end("pictures", self._end_s)
        except (StreamError, TimeoutError) as error:
            self._failure = explain(
                StreamError(str(error)) if isinstance(error, TimeoutError) else error, self.label
            )
            raise self._failure from error
        finally:
            self._stop()

    def _stop(self) -> None:
        sound, self._sound = self._sound, None
        if sound is not None:
            sound.close()
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.leave(self._take)
        if self._pipeline is not None:
            self._pipeline.stop()
        self._pipeline = self._packer = None

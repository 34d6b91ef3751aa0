"""Records MP4, Matroska and WebM files: every picture at its own time, playable even after a kill."""

from __future__ import annotations

import itertools
import logging
import math
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.sinks.encoding.encoders import codec_for
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound, open_sound
from irchroma.stream.sinks.encoding.task import Codec, EncoderOptions, EncoderTask
from irchroma.stream.sinks.files.audio_track import AudioTrack, open_audio
from irchroma.stream.sinks.files.description import date
from irchroma.stream.sinks.files.exclusive import Place, hold
from irchroma.stream.sinks.files.lossless import LosslessPacker, encoder_for, kind_of
from irchroma.stream.sinks.files.mp4_repair import close_gaps, delay_mp4, head_of, refragment
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail, check_size

log = logging.getLogger(__name__)

# 10 us ticks instead of the usual 1 ms: the times of the input come back to 5 us.
_MATROSKA = "matroskamux name=mux timecodescale=10000"
_CONTAINERS: dict[str, tuple[str, tuple[Codec, ...]]] = {
    # One fragment a second while recording, an ordinary index when it is finished.
    ".mp4": (
        "mp4mux name=mux fragment-duration=1000 fragment-mode=first-moov-then-finalise",
        ("h264", "h265"),
    ),
    ".mkv": (_MATROSKA, ("h264", "h265", "vp9", "vp8")),
    ".webm": (_MATROSKA.replace("matroskamux", "webmmux"), ("vp9", "vp8")),
}
EXTENSIONS = tuple(_CONTAINERS)
_END_S = 30.0
_FINEST_HZ = 1_000_000
_LEAST_S = 3600.0
_LIVE_S = 96 * 3600.0
_UNKNOWN_S = 39 * 3600.0  # leaves 30,000 ticks a second, exact for 25, 29.97, 30 and 60 Hz


@dataclass(frozen=True, slots=True)
class FileSinkOptions:
    """How a file is recorded.

    Attributes:
        encoder: which encoder and how good; not used where `lossless`.
        lossless: keep counts (16 bits), luma or R'G'B' untouched, as FFV1 in .mkv.
        coded: what comes are coded pictures, kept as they are (`BitstreamFile`).
        part: it is one file of a row, whose times count from its own first picture.
        audio_from: a file whose first audio track is kept beside the pictures.
        sound: of a live source, kept beside the pictures.
        overwrite: replace a recording that is there. Without it, one of a live source or a raw track, which
            nobody could make again, is numbered on; what a file is turned into takes the place of what it
            was turned into before, since whoever repeats a conversion reads its result by that name.
    """

    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    lossless: bool = False
    coded: bool = False
    part: bool = False
    audio_from: Path | None = None
    sound: LiveSound | None = None
    overwrite: bool = False


class FileSink(PipelineSink):
    """One video file.

    Times: pts and durations are kept; of a live source they count from the first picture, and the file's
    date is when the camera took that by its own clock, where it says so. Pictures of
    odd size get their last row or column twice (4:2:0 needs even sizes).

    Args:
        path: where to; see `FileSinkOptions.overwrite` for a file that is there.
        options: how.
        pool: the encoders that it shares with other sinks; None for one of its own.

    Attributes:
        path: where it records, once it is open: `night-2.mkv` where `night.mkv` was there.

    Raises:
        SinkError: the name's ending is not one of `EXTENSIONS`, or the file cannot be written there.
        StreamOptionError: options that do not go together.
    """

    def __init__(
        self, path: Path, options: FileSinkOptions | None = None, pool: EncoderPool | None = None
    ) -> None:
        super().__init__(str(path), waits=True, end_s=_END_S, pool=pool)
        self.path = self._asked = path
        self._opened = False
        self.end_s = _END_S
        self._options = options or FileSinkOptions()
        _codec_for(path, self._options)  # its complaint comes now
        refuse_pipe(path)
        self._rate = Fraction(0)
        self._size = (0, 0)
        self._audio: AudioTrack | None = None
        self._kind = ""
        self._start_ns = self._end_ns = 0
        self._camera_ahead_ns: int | None = None  # the camera's clock less the pictures' times
        self._sounds, self._room_s = False, _LEAST_S
        self._held: int | None = None  # the file, locked while it is written to
        self._place: Place | None = None

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. A lossless recording takes its kind from the first picture."""
        check_size(size, self.label, smallest=2 if self._options.lossless else 16)
        self._take_name(evidence=info.live or self._options.lossless)
        self._kind, self._camera_ahead_ns = "", None
        self._note(info)
        self._rate, self._size, self._sounds = info.rate, size, info.sound
        self._room_s = room_for(info)
        if not self._options.lossless:
            self._start(info.rate, size)

    def _take_name(self, evidence: bool) -> None:
        """Decide which file is written, make it, and take it for this sink alone."""
        there = self._asked.exists()
        # What this very sink has recorded before it was opened again is never given up.
        kept = there and (self._opened or (evidence and not self._options.overwrite))
        check_writable(self._asked, self._options.audio_from)
        self.path = made_beside(self._asked) if kept else self._asked
        self.label = str(self.path)
        self._let_go()
        self._held = hold(self.path, self.label, "give another name")
        self._place = Place(self.path, self._held)
        self._opened = True
        if kept:
            remark(f"{self._asked} is there: recording to {self.path.name}")
        elif there:
            log.info("%s was there and is replaced", self._asked)

    def _muxer(self, rate: Fraction) -> str:
        """Its launch text."""
        suffix = self.path.suffix.lower()
        muxer = _CONTAINERS[suffix][0]
        return muxer + (f" trak-timescale={timescale_for(rate, self._room_s)}" if suffix == ".mp4" else "")

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        muxer = self._muxer(rate)
        head = task = None
        if self._options.lossless:
            packer = LosslessPacker(self._size, self._kind)
            head = (packer.appsrc(rate, self._pixel_aspect), packer)
            launch = f"{encoder_for(self._size)} ! mux."
        else:
            info = VideoInfo(size, rate, self._live)
            task = task_of(self._asked, self._options, self._pool, info, size)
            launch = "mux."
        launch += f" {muxer} ! filesink name=file buffer-mode=unbuffered"
        properties: dict[str, dict[str, Any]] = {"file": {"location": str(self.path)}}
        if self._options.audio_from is not None:
            self._audio = open_audio(self._options.audio_from, muxer.split()[0])
        if self._audio is not None:
            launch += f" {self._audio.launch}"
            properties |= self._audio.properties
        corrections = {"audio_file": self._audio.corrections} if self._audio is not None else {}
        return Tail(launch, properties, head, corrections, task, "mux.audio_0")

    def _start(self, rate: Fraction, size: tuple[int, int]) -> None:
        if self._sounds and not self._options.lossless:
            self._sound_coding = "audio/x-opus" if self.path.suffix.lower() == ".webm" else "audio/mpeg"
            self._sound = open_sound(self._options.sound, True, self.label, self._sound_coding)
        try:
            super()._start(rate, size)
        except SinkError:
            self._remove_if_empty()
            self._let_go()
            raise

    def _attach(self, pipeline: Pipeline) -> None:
        super()._attach(pipeline)
        if self.path.suffix.lower() == ".mp4":
            close_gaps(pipeline.element("mux"))
        if self._audio is not None:
            self._audio.attach(pipeline)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; waits for the encoder. Lossless sinks take (H, W) uint16 counts too."""
        self._look()
        if not self._written and self._encoder is None:
            self._begins(pts_ns)
            if self._options.lossless and not self._kind:
                self._size, self._kind = Picture.of(rgb).size, kind_of(rgb)
                self._start(self._rate, self._size)
        super().write(rgb, pts_ns, duration_ns)
        self._note_taken(rgb, pts_ns)
        self._end_ns = pts_ns + max(0, duration_ns)

    def _look(self) -> None:
        """SinkError where its file is gone: what is in it is finished by `close`, wherever that is now."""
        if self._place is not None:
            self._place.look(self._written)

    def _note_taken(self, picture: Any, pts_ns: int) -> None:
        taken_ns = getattr(picture, "taken_ns", 0)
        if taken_ns and self._live and self._camera_ahead_ns is None:
            self._camera_ahead_ns = taken_ns - pts_ns

    def _begins(self, pts_ns: int) -> None:
        self._shift_ns = pts_ns if self._live or self._options.part else 0
        self._start_ns = pts_ns - self._shift_ns

    def takes(self, picture: Pixels) -> bool:
        """False where a lossless recording must go on in another file: the kind or size has changed."""
        if not self._options.lossless or not self._kind:
            return True
        return kind_of(picture) == self._kind and picture.shape[:2] == self._size

    def may_begin(self, _picture: Pixels) -> bool:
        """Whether a file of a row may begin with this one."""
        return True

    def close(self) -> None:
        """See `FrameSink.close`. A file that got no picture is removed."""
        try:
            self._close()
        finally:
            self._let_go()

    def _close(self) -> None:
        if self._audio is not None and self._written:
            self._audio.end_at(self._end_ns - self._shift_ns)
        there = self._place is None or self._place.kept  # else that name is nobody's, or another's
        written = self._pipeline is not None and self._written > 0
        mp4 = there and written and self.path.suffix.lower() == ".mp4"
        head = head_of(self.path) if mp4 else b""
        whole = self._failure is None
        try:
            super().close()
        except SinkError:
            if mp4:
                refragment(self.path, head)
            raise
        finally:
            self._remove_if_empty()
        if mp4 and whole:
            self._restore_start()
        if self._place is not None and not there and whole and written:
            raise self._place.gone(self._written)
        if self._camera_ahead_ns is not None and whole and self.path.is_file():
            date(self.path, self._camera_ahead_ns + self._shift_ns)

    def _let_go(self) -> None:
        held, self._held, self._place = self._held, None, None
        if held is not None:
            os.close(held)

    def _restore_start(self) -> None:
        starts = [self._start_ns]
        if self._audio is not None and self._audio.first_ns is not None:
            starts.append(self._audio.first_ns)
        if min(starts) > 0:
            delay_mp4(self.path, min(starts))

    def _remove_if_empty(self) -> None:
        if self._place is not None and self._place.kept and not self.path.stat().st_size:
            self.path.unlink()  # never another run's, which has only just begun


def task_of(
    path: Path, options: FileSinkOptions, pool: EncoderPool | None, info: VideoInfo, size: tuple[int, int]
) -> EncoderTask:
    """What a recording at `path` has encoded, for pictures of `size` (H, W), even."""
    return recording_task(_codec_for(path, options), options.encoder, pool, info, size)


def recording_task(
    codec: Codec, encoder: EncoderOptions, pool: EncoderPool | None, info: VideoInfo, size: tuple[int, int]
) -> EncoderTask:
    """What any recording has encoded: equal for those of the same pictures and settings."""
    # A live run's streams must be encoded at once; the recording takes what they get.
    as_stream = info.live and pool is not None and pool.streams and codec in ("h264", "h265")
    aspect, paced = info.pixel_aspect, info.live and not as_stream
    return EncoderTask(codec, size, info.rate, as_stream, encoder, pixel_aspect=aspect, paced=paced)


def room_for(info: VideoInfo) -> float:
    """Seconds that a recording of it must have room for: four days live, 39 hours of unknown length."""
    if info.live or info.endless:
        return _LIVE_S
    if not info.duration_ns:
        return _UNKNOWN_S
    # What a file says of its length is not always so.
    return min(max(_LEAST_S, 2 * info.duration_ns / 1e9), _LIVE_S)


def timescale_for(rate: Fraction, room_s: float = _LEAST_S) -> int:
    """Ticks a second of an MP4 track: a million at most, as fine as `room_s` seconds leave room for.

    mp4mux (1.22) writes lengths in 32 bits, which a million ticks fill in 71 minutes; players then show
    what is left over. They are exact for milliseconds, and for the rate's frames where those let them be
    coarse enough; else a picture is half a tick beside its time at most, and this does not add up.
    """
    most = min(_FINEST_HZ, int((2**32 - 1) / room_s))
    step = math.lcm(1000, rate.numerator or 1)
    if step > most:
        step = 1000
    return step * max(1, most // step)


def _codec_for(path: Path, options: FileSinkOptions) -> Codec:
    suffix = path.suffix.lower()
    if suffix not in _CONTAINERS:
        raise SinkError(f"{path}: expected a file name ending in {', '.join(EXTENSIONS)}")
    if options.lossless and suffix != ".mkv":
        raise SinkError(f"{path}: lossless recordings need a name ending in .mkv")
    codecs = _CONTAINERS[suffix][1]
    return (
        codecs[0]
        if options.lossless or options.coded
        else codec_for(options.encoder, codecs, str(path), suffix)
    )


def made_beside(path: Path) -> Path:
    """A new empty file with the first free name of `night-2.mkv`, `night-3.mkv` ... beside `night.mkv`.

    Raises:
        SinkError: it cannot be made.
    """
    for number in itertools.count(2):
        beside = path.with_stem(f"{path.stem}-{number}")
        try:
            beside.open("xb").close()
        except FileExistsError:
            continue
        except OSError as error:
            raise SinkError(f"{beside}: {(error.strerror or str(error)).lower()}") from error
        return beside
    raise AssertionError("there is always another number")


def refuse_pipe(path: Path) -> None:
    """SinkError for a pipe, which a recording cannot be."""
    if path.is_fifo():
        raise SinkError(f"{path}: is a pipe, expected a file: a recording is finished at its beginning")


def check_room_beside(path: Path) -> None:
    """SinkError where no file with such a name could be made in the folder of `path`."""
    probe = path.parent / f".{path.name}.probe"
    try:
        check_writable(probe)
    except SinkError as error:
        told = SinkError(str(error).replace(str(probe), str(path), 1))
        told.errno = error.errno
        raise told from error
    probe.unlink()


def check_writable(path: Path, original: Path | None = None) -> None:
    """SinkError where a file cannot be written at `path`, or would replace the `original` it is made from."""
    if path.is_dir():
        raise SinkError(f"{path}: is a folder: give the file's name")
    refuse_pipe(path)
    if not path.parent.is_dir():
        raise SinkError(f"{path}: the folder {path.parent} does not exist: make it first")
    if original is not None and path.exists() and original.exists() and path.samefile(original):
        raise SinkError(f"{path}: is the input itself: give another name")
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        refused = SinkError(f"{path}: {(os.strerror(error.errno) if error.errno else str(error)).lower()}")
        refused.errno = error.errno
        raise refused from error

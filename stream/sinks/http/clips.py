"""Clips of a feed that begin before they are asked for: its last seconds are kept as they were encoded."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections import deque
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.task import EncoderOptions, EncoderTask
from irchroma.stream.sinks.files.bitstream_file import BitstreamFile
from irchroma.stream.sinks.files.file_sink import FileSinkOptions

log = logging.getLogger(__name__)

PRE_ROLL_S = 10.0
"""Seconds that are kept of a feed while somebody watches it as coded video."""
LONGEST_S = 60.0
"""Seconds that a clip may go on after it was asked for."""
_MOST_CLIPS = 4
_MOST_BYTES = 64 * 1024 * 1024  # of what is kept, and of one clip
_LATE_S = 3.0  # a camera that is silent does not hold a clip up for longer


class Clip:
    """One clip on its way, see `PreRoll.begin`.

    Args:
        kept: what came before, from a keyframe on.
        after_s: seconds that are still to come.

    Attributes:
        before_s: seconds of it that were there when it was asked for.
    """

    def __init__(self, kept: list[Unit], after_s: float) -> None:
        self._units = kept
        self._bytes = sum(unit.buffer.get_size() for unit in kept)
        self._after_ns, self._deadline_s = round(after_s * 1e9), time.monotonic() + after_s + _LATE_S
        self._asked_ns = kept[-1].pts_ns if kept else None
        self.before_s = (kept[-1].pts_ns - kept[0].pts_ns) / 1e9 if kept else 0.0
        self._whole = bool(kept) and not self._after_ns

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return self._whole or time.monotonic() > self._deadline_s

    def take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        if self.done or (not self._units and not unit.key):
            return
        last = self._units[-1] if self._units else unit
        self._bytes += unit.buffer.get_size()
        # Another size, or times that start anew, are another video.
        if unit.pts_ns < last.pts_ns or unit.shape != last.shape or self._bytes > _MOST_BYTES:
            self._whole = True
            return
        self._units.append(unit)
        self._asked_ns = unit.pts_ns if self._asked_ns is None else self._asked_ns
        self._whole = unit.pts_ns - self._asked_ns >= self._after_ns

    def forget(self) -> None:
        """What there is of it may not be shown any more; it begins with the next keyframe."""
        self._units.clear()
        self._bytes, self.before_s = 0, 0.0

    def file(self) -> bytes:
        """All of it as MP4. Blocks; to be called once, when it is done.

        Raises:
            SinkError: there was no picture, or it cannot be written.
        """
        self._whole = True
        if not self._units:
            raise SinkError("no picture yet")
        with tempfile.TemporaryDirectory(prefix="irchroma-clip-") as folder:
            file = BitstreamFile(Path(folder) / "clip.mp4", FileSinkOptions(coded=True, overwrite=True))
            shape = self._units[0].shape
            file.open(VideoInfo(shape, Fraction(0), live=True), shape)  # each picture has its own time
            try:
                for unit in self._units:
                    file.write(unit, unit.pts_ns, unit.duration_ns)
            finally:
                file.close()
            return file.path.read_bytes()


class PreRoll:
    """Keeps the last seconds of a feed while somebody watches it, and makes clips of them.

    What is kept begins with a keyframe. It costs no encoder of its own: it takes what viewers over WebRTC and
    HLS get, and of a feed that nobody watches so it keeps nothing. When privacy masks change, what came
    before is forgotten, by clips on their way too.

    Args:
        info: of the run.
        encoder: how viewers get it.
        pool: shared with the WebRTC viewers of the same picture.
    """

    def __init__(self, info: VideoInfo, encoder: EncoderOptions, pool: EncoderPool) -> None:
        self._info, self._options, self._pool = info, encoder, pool
        self._encoder: SharedEncoder | None = None
        self._size = (0, 0)
        self._lock = threading.Lock()
        self._kept: deque[Unit] = deque()
        self._bytes = 0
        self._clips: list[Clip] = []
        self._masks: str | None = None
        self._masked_ns: int | None = None  # when the first picture came that has them

    @property
    def kept_s(self) -> float:
        """Seconds of video that are kept now."""
        with self._lock:
            return (self._kept[-1].pts_ns - self._kept[0].pts_ns) / 1e9 if self._kept else 0.0

    @property
    def recording(self) -> bool:
        """Whether a clip is on its way."""
        return bool(self._clips)

    def begin(self, before_s: float, after_s: float) -> Clip:
        """A clip of the last `before_s` seconds, as far as they are kept, and of `after_s` to come.

        Raises:
            SinkError: too many are on their way.
        """
        with self._lock:
            if len(self._clips) >= _MOST_CLIPS:
                raise SinkError("too many clips at once")
            kept = list(self._kept) if before_s else []
            while kept and (start := _second_key(kept)) is not None:
                if kept[-1].pts_ns - kept[start].pts_ns < before_s * 1e9:
                    break
                del kept[:start]
            clip = Clip(kept, after_s)
            self._clips.append(clip)
            return clip

    def give_up(self, clip: Clip) -> None:
        """Nobody waits for it any more, or it has its end."""
        with self._lock:
            if clip in self._clips:
                self._clips.remove(clip)

    def offer(self, picture: Picture, pts_ns: int, duration_ns: int, watched: bool) -> None:
        """Take a picture. The sink's thread alone calls.

        Args:
            picture, pts_ns, duration_ns: as for a sink.
            watched: somebody watches the feed as coded video.
        """
        if picture.masks != self._masks:
            with self._lock:
                first, self._masks, self._masked_ns = self._masks is None, picture.masks, pts_ns
                if not first:
                    for clip in self._clips:
                        clip.forget()
                    self._forget()
        elif self._masked_ns is not None and pts_ns < self._masked_ns:
            self._masked_ns = None  # times have started anew
        if not watched and not self.recording:
            self.close()
            return
        size = even_size(picture.size)
        try:
            if self._encoder is None or size != self._size:
                self.close()
                task = EncoderTask(
                    "h264",
                    size,
                    self._info.rate,
                    live=True,
                    options=self._options,
                    pixel_aspect=self._info.pixel_aspect,
                )
                encoder = self._pool.of(task)
                encoder.join(self._take)
                self._encoder, self._size = encoder, size
            self._encoder.offer(picture, pts_ns, duration_ns, waits=False)
        except StreamError as error:  # its viewers say so; a clip of them ends with what it has
            log.debug("page: %s", error)
            self.close()

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        # Some encoders have few buffers, and would wait for those that are kept here.
        unit = replace(unit, buffer=unit.buffer.copy_deep())
        with self._lock:
            if self._masked_ns is not None and unit.pts_ns < self._masked_ns:
                return  # it was in the encoder when the masks changed
            for clip in self._clips:
                clip.take(unit)
            if self._kept and unit.pts_ns < self._kept[-1].pts_ns:
                self._forget()
            if not self._kept and not unit.key:
                return
            self._kept.append(unit)
            self._bytes += unit.buffer.get_size()
            while unit.key and (start := _second_key(self._kept)) is not None:
                if unit.pts_ns - self._kept[start].pts_ns < PRE_ROLL_S * 1e9 and self._bytes <= _MOST_BYTES:
                    break
                for _ in range(start):
                    self._bytes -= self._kept.popleft().buffer.get_size()
            if self._bytes > 2 * _MOST_BYTES:  # of one keyframe
                self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._bytes = 0

    def close(self) -> None:
        """Keep nothing, and leave the encoder; may be called twice."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.leave(self._take)
        with self._lock:
            self._forget()


def _second_key(units: deque[Unit] | list[Unit]) -> int | None:
    """Where the second keyframe is; None where there is none."""
    return next((at for at, unit in enumerate(units) if at and unit.key), None)

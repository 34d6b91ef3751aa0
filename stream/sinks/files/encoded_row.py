"""A row of files that shares its encoder with other outputs of the same picture and settings."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from pathlib import Path

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.i420_packer import even_size
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.task import EncoderTask
from irchroma.stream.sinks.files.file_sink import FileSinkOptions, task_of
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink
from irchroma.stream.sinks.pipeline_sink import CODED_BYTES, check_size, explain

_FLUSH_S = 30.0


class EncodedRow:
    """A `FrameSink`: pictures go to the shared encoder, what it makes of them into a `SegmentedSink`.

    The picture at which a file is due is made a keyframe: that is asked for when the one before it is due,
    as another output may be some pictures ahead. Files are written by the thread that writes pictures: a
    slow disk holds up nobody else.

    Args:
        path, options, segment_s, keep: as for `SegmentedSink`.
        pool: of the encoders.
    """

    def __init__(
        self, path: Path, options: FileSinkOptions, segment_s: float, keep: Retention, pool: EncoderPool
    ) -> None:
        self._path, self._options, self._pool = path, options, pool
        coded = replace(options, coded=True)
        self._row = SegmentedSink(path, coded, segment_s, keep)
        self.end_s = self._row.end_s + _FLUSH_S
        self._encoder: SharedEncoder | None = None
        self._live = True
        self._units: deque[Unit] = deque()
        self._lock = threading.Lock()
        self._waiting_bytes = self._drops = 0
        self._await_key = False
        self._segment_ns, self._due_ns = round(segment_s * 1e9), -1
        self._last_ns = -1
        self._camera_ahead_ns: int | None = None  # the camera's clock less the pictures' times

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        check_size(size, str(self._path))
        self._live = info.live
        task: EncoderTask = task_of(self._path, self._options, self._pool, info, even_size(size))
        self._row.open(info, size)
        try:
            self._encoder = self._pool.of(task)
            self._encoder.join(self._take)
        except StreamError as error:
            self._encoder = None
            self._row.close()
            raise explain(error, str(self._path)) from error

    def _take(self, unit: Unit) -> None:
        """A coded picture. The encoder's thread."""
        with self._lock:
            if self._live and self._waiting_bytes >= CODED_BYTES:
                self._await_key = True
            self._await_key = self._await_key and not (unit.key and self._waiting_bytes < CODED_BYTES)
            if self._await_key:  # left out with all that refers to it
                self._drops += 1
                return
            self._units.append(unit)
            self._waiting_bytes += unit.buffer.get_size()

    def _write_units(self) -> None:
        while self._units:
            with self._lock:
                unit = self._units.popleft()
                self._waiting_bytes -= unit.buffer.get_size()
            if self._camera_ahead_ns is not None:
                unit = replace(unit, taken_ns=unit.pts_ns + self._camera_ahead_ns)
            drops = self._row.drops
            self._row.write(unit, unit.pts_ns, unit.duration_ns)  # type: ignore[arg-type]
            if self._row.drops > drops and self._encoder is not None:
                self._encoder.ask_keyframe()  # with which the next file may begin

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; waits for the encoder."""
        encoder = self._encoder
        if encoder is None:
            raise SinkError(f"{self._path}: written to before it was opened")
        taken_ns = getattr(rgb, "taken_ns", 0)
        if taken_ns:
            self._camera_ahead_ns = taken_ns - pts_ns
        self._write_units()
        if pts_ns <= self._last_ns:
            self._drops += 1
            return
        if pts_ns >= self._due_ns:
            self._due_ns = pts_ns + self._segment_ns
            encoder.keyframe_at(self._due_ns)
        try:
            encoder.offer(rgb, pts_ns, duration_ns, waits=True)
        except StreamError as error:
            raise explain(error, str(self._path)) from error
        self._last_ns = pts_ns

    @property
    def drops(self) -> int:
        return self._drops + self._row.drops

    def close(self) -> None:
        """See `FrameSink.close`. Raises SinkError where a file could not be finished."""
        encoder, self._encoder = self._encoder, None
        try:
            if encoder is not None:
                encoder.finish(self._take, self._last_ns, _FLUSH_S)
            self._write_units()
        except (StreamError, TimeoutError) as error:
            failed = error if isinstance(error, StreamError) else StreamError(str(error))
            raise explain(failed, str(self._path)) from error
        finally:
            if encoder is not None:
                encoder.leave(self._take)
            self._row.close()

"""Records one run as several files: by time, or where a lossless recording's pictures change kind or size."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import threading
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path

from irchroma.stream.errors import NO_ROOM, SinkError, StreamOptionError
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.running_time import waited
from irchroma.stream.sinks.files.bitstream_file import BitstreamFile
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions, check_room_beside
from irchroma.stream.sinks.files.retention import Retention, facts_of

log = logging.getLogger(__name__)

_JOIN_S = 60.0
_IN_ENCODER = 16
"""Pictures that an encoder still holds when a file ends."""
_INDEX_BYTES = 16_384
_ALIKE = 3
"""Files by whose size the next one's is guessed."""


def numbered(path: Path) -> dict[int, Path]:
    """The files of the row of `folder/name.mp4` that are there, `name-00001.mp4` and so on, by number."""
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d{{5,}}){re.escape(path.suffix)}")
    found = [(pattern.fullmatch(file.name), file) for file in path.parent.iterdir()]
    return {int(match.group(1)): file for match, file in found if match}


class SegmentedSink:
    """A `FrameSink`, a row of files: `name-00001.mp4`, `name-00002.mp4` ..., no picture lost between.

    Numbers go on after those that are there, so that a restart replaces nothing. Each file begins with
    a keyframe; by time, each begins at 0. A file is finished in the background while the next one runs.

    Args:
        path: `folder/name.mp4`.
        options: for each file; no audio.
        segment_s: seconds of a file, 0 for one file as long as kind and size stay (then the first is
            `path` itself).
        keep: which files stay; older ones are deleted. Where the disk has no room for another file like the
            last ones, the oldest give way if any limit is set: then the row is meant to be a ring.

    Attributes:
        keeps_all: every picture is kept, however late it is.
    """

    keeps_all = True

    def __init__(
        self, path: Path, options: FileSinkOptions, segment_s: float = 0.0, keep: Retention | None = None
    ) -> None:
        if segment_s < 0:
            raise StreamOptionError(f"{path}: expected a segment length of 0 or more, got {segment_s:g} s")
        FileSink(path, options)  # its complaints about names and options come now, not at the first segment
        self._path, self._options = path, options
        self._segment_ns, self._keep = round(segment_s * 1e9), keep or Retention()
        self._info: VideoInfo | None = None
        self._size = (0, 0)
        self._current: FileSink | None = None
        self._start_ns: int | None = None
        self._drops = 0
        self._number = 0
        self.end_s = 2 * _JOIN_S
        self._finishing: threading.Thread | None = None
        self._finished: Path | None = None  # what that thread works on
        self._failure: SinkError | None = None

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        check_room_beside(self._path)
        self._info, self._size = info, size
        self._number = max([0, *numbered(self._path)])
        self._current = self._next(size)

    def _next(self, size: tuple[int, int]) -> FileSink:
        if self._info is None:
            raise SinkError(f"{self._path}: written to before it was opened")
        self._number += 1
        path = self._path
        if self._segment_ns or self._current is not None or (path.exists() and not self._options.overwrite):
            path = path.with_stem(f"{path.stem}-{self._number:05d}")
        if path != self._path and not self._segment_ns and self._current is None:
            remark(f"{self._path} is there: recording to {path.name}")
        if self._segment_ns:
            self._make_room_ahead()
        while True:
            kind = BitstreamFile if self._options.coded else FileSink
            sink = kind(path, replace(self._options, part=bool(self._segment_ns)))
            try:
                sink.open(self._info, size)
                break
            except SinkError as error:
                if error.errno not in NO_ROOM or not self._make_room():
                    raise
        if self._keep:
            for old in self._keep.surplus(self._row()):
                log.info("%s: deleted", old)
                old.unlink(missing_ok=True)
        return sink

    def _make_room_ahead(self) -> None:
        """Have room for a file that is a quarter larger than the last ones: what meets a full disk lacks its
        end, and so would every other file of a ring that fills one."""
        sizes = [stat.st_size for _, stat in facts_of(self._row())] if self._keep else []
        if not sizes:
            return
        last = sizes[-_ALIKE:]
        needed = max(last) * 5 // 4 + 2 * _INDEX_BYTES
        if self._current is not None:  # much of it may be in the encoder still
            needed += max(last) - last[-1]
        lacking = needed - shutil.disk_usage(self._path.parent).free
        for size in sizes:  # no more than that: it may be others who fill the disk
            if lacking <= 0 or not self._make_room():
                return
            lacking -= size

    def _row(self) -> list[Path]:
        there = numbered(self._path)
        return [there[number] for number in sorted(there)]

    def _make_room(self) -> bool:
        """Delete the oldest file that is whole; False where there is none, or none may be deleted."""
        written = {self._finished, self._current.path if self._current is not None else None}
        row = [path for path in self._row() if path not in written]
        if not self._keep or not row:
            return False
        remark("the disk is full: the oldest recordings are deleted")
        log.info("%s: deleted", row[0])
        row[0].unlink(missing_ok=True)
        return True

    def _reserve(self, sink: FileSink) -> bool:
        """Make room for what a file still gets at its end; False where it is scarce and there is no more."""
        facts = facts_of([sink.path])
        if not self._keep or not facts:
            return True
        each = facts[0][1].st_size / max(1, sink.written)
        needed = each * min(sink.written, _IN_ENCODER) + sink.written * 32 + _INDEX_BYTES
        while shutil.disk_usage(self._path.parent).free < needed:
            if not self._make_room():
                return False
        return shutil.disk_usage(self._path.parent).free > 4 * needed

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; lossless rows take (H, W) uint16 counts too, or coded pictures."""
        if self._failure is not None:
            raise self._failure
        if self._current is None:
            raise SinkError(f"{self._path}: written to before it was opened")
        if self._start_ns is None:
            self._start_ns = pts_ns
        fits = self._current.takes(rgb)
        due = self._segment_ns and pts_ns - self._start_ns >= self._segment_ns
        if not fits or (due and self._current.may_begin(rgb)):
            size = (rgb.shape[0], rgb.shape[1]) if not fits else self._size
            finished, self._current = self._current, self._next(size)
            self._drops += finished.drops
            self._finish(finished)
            self._start_ns = pts_ns
        try:
            self._current.write(rgb, pts_ns, duration_ns)
        except SinkError as error:
            full = self._current
            if error.errno not in (*NO_ROOM, errno.ENOENT):
                raise
            if error.errno in NO_ROOM:
                if not self._make_room():
                    self._wait()  # what has been finished may be deleted
                    if not self._make_room():
                        raise
                remark("recordings lack their end, as the disk was full in their midst")
            self._finish(full)
            self._current = self._next(self._size)
            if isinstance(self._current, BitstreamFile):
                self._current.goes_on = True
            self._start_ns = pts_ns
            self._current.write(rgb, pts_ns, duration_ns)

    def _finish(self, sink: FileSink) -> None:
        """Closes a file in the background; waits for the one before, so that they never pile up."""
        self._wait()
        self._finished = sink.path
        plenty = self._reserve(sink)

        def close() -> None:
            try:
                sink.close()
            except SinkError as error:
                if error.errno in NO_ROOM and self._make_room():
                    remark(f"the disk is full: {sink.path.name} lacks its end")
                elif error.errno != errno.ENOENT:  # which the file has said
                    self._note(error)
            except Exception as error:  # the thread's last stand: whoever writes must learn of it
                log.exception("finishing %s broke", sink.path)
                self._note(SinkError(f"{sink.path}: finishing it failed unexpectedly: {error!r}"))

        work = copy_context().run  # whose remarks are its run's
        self._finishing = threading.Thread(
            target=work, args=(close,), name=f"finish {sink.path.name}", daemon=True
        )
        self._finishing.start()
        if not plenty:
            self._wait()  # before the next file takes the room that this one needs

    def _note(self, error: SinkError) -> None:
        self._failure = self._failure or error

    def _wait(self) -> None:
        finishing, self._finishing = self._finishing, None
        if finishing is not None:

            def ended(slice_s: float) -> bool:
                finishing.join(slice_s)
                return not finishing.is_alive()

            if not waited(ended, _JOIN_S):
                self._note(SinkError(f"{self._path}: a segment was not finished within {_JOIN_S:g} s"))
                return
            self._finished = None

    @property
    def drops(self) -> int:
        return self._drops + (self._current.drops if self._current is not None else 0)

    def close(self) -> None:
        """See `FrameSink.close`. Raises SinkError where any segment could not be finished."""
        self._wait()
        if self._current is not None:
            self._drops += self._current.drops
            self._reserve(self._current)
            try:
                self._current.close()
            except SinkError as error:
                self._note(error)
            self._current = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

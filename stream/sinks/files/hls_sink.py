"""Writes an HLS folder: H.264 segments in MPEG-TS and the playlist that names them."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SinkError, StreamError, StreamOptionError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.encoders import codec_for
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.sound import LiveSound, open_sound
from irchroma.stream.sinks.encoding.task import EncoderOptions, EncoderTask
from irchroma.stream.sinks.files.exclusive import hold
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail

PLAYLIST = "live.m3u8"
_SEGMENT = "segment"
_END_S = 15.0
_CLOSED_TWICE = "Fragment closed without knowing its location"
"""hlssink2 (GStreamer 1.22) now and then hears twice of the end of a stream of one segment, and calls the
second time an error; segment and playlist are whole by then."""
_ENDED = "#EXT-X-ENDLIST"


_TICK_NS = 50_000_000
"""Less than this a clock's distance from the stream's own times only jitters."""
_MOST_CHANGES = 1000


class ProgramTime:
    """The date and time of a live stream's segments: the camera's own where it says so, else this machine's.

    Reference: RFC 8216, 4.3.2.6 (EXT-X-PROGRAM-DATE-TIME).
    """

    def __init__(self) -> None:
        self._times_ns: list[int] = []  # from when on each distance holds
        self._ahead_ns: list[int] = []  # clock less stream
        self._starts_ns: dict[str, int] = {}
        self._next_ns: int | None = None

    def note(self, pts_ns: int, taken_ns: int) -> None:
        """A picture at that time of the stream; `taken_ns` as in `Frame`, 0 for now."""
        ahead_ns = (taken_ns or time.time_ns()) - pts_ns
        if not self._ahead_ns or abs(ahead_ns - self._ahead_ns[-1]) > _TICK_NS:
            self._times_ns.append(pts_ns)
            self._ahead_ns.append(ahead_ns)
            del self._times_ns[:-_MOST_CHANGES], self._ahead_ns[:-_MOST_CHANGES]

    def dated(self, playlist: str, first_ns: int) -> str:
        """The playlist with a date before each segment.

        Args:
            playlist: as hlssink2 writes it: each names one segment more than the one before.
            first_ns: the stream's time at the beginning of the first of all segments.
        """
        lines: list[str] = []
        named: dict[str, int] = {}
        length_ns = 0
        for line in playlist.splitlines():
            if line.startswith("#EXTINF:"):
                length_ns = round(float(line[8:].rstrip(",")) * 1e9)
            elif line and not line.startswith("#"):
                start_ns = self._starts_ns.get(line)
                if start_ns is None:
                    start_ns = first_ns if self._next_ns is None else self._next_ns
                    self._next_ns = start_ns + length_ns
                named[line] = start_ns
                lines.insert(-1, f"#EXT-X-PROGRAM-DATE-TIME:{self._date(start_ns)}")
            lines.append(line)
        self._starts_ns = named
        return "\n".join(lines) + "\n"

    def _date(self, pts_ns: int) -> str:
        at = max(0, bisect_right(self._times_ns, pts_ns) - 1)
        unix_ns = pts_ns + (self._ahead_ns[at] if self._ahead_ns else time.time_ns() - pts_ns)
        return datetime.fromtimestamp(unix_ns // 10**6 / 1000, timezone.utc).isoformat(
            timespec="milliseconds"
        )


class HlsSink(PipelineSink):
    """One HLS stream in a folder of its own.

    Of a live source, the playlist names the newest segments and older ones are deleted; of a file, it
    names them all. Segments of an earlier run are removed when the sink is opened, and a folder that another
    run still writes to is refused: the two would delete each other's segments.

    Args:
        folder: made where it does not exist.
        playlist: the playlist's file name in it.
        segment_s: seconds of a segment; each begins with a keyframe.
        keep: segments in a live playlist, 3 or more (RFC 8216, 6.3.3).
        sound: of a live source, or the file that is the source.
    """

    def __init__(
        self,
        folder: Path,
        encoder: EncoderOptions | None = None,
        segment_s: float = 2.0,
        keep: int = 6,
        playlist: str = PLAYLIST,
        pool: EncoderPool | None = None,
        sound: LiveSound | Path | None = None,
    ) -> None:
        super().__init__(f"hls:{folder}", waits=True, end_s=_END_S, pool=pool)
        self.end_s = _END_S  # its playlist gets its end, however busy the machine is
        if segment_s < 1 or keep < 3:
            raise StreamOptionError(
                f"hls: expected segments of 1 second or more, 3 or more of them, got {segment_s:g} s, {keep}"
            )
        self.folder, self.playlist = folder, folder / playlist
        self._encoding = encoder or EncoderOptions()
        codec_for(self._encoding, ("h264",), self.label, "HLS in MPEG-TS")
        self._segment_s, self._keep = round(segment_s), keep
        self._sound_from = sound
        self._live = True
        self._program = ProgramTime()
        self._writing: threading.Thread | None = None
        self._held: int | None = None  # the folder, locked while it is written to

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError where the folder cannot be made, written to or is another run's."""
        self._live, self._program = info.live, ProgramTime()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._hold()
            for old in [*self.folder.glob(f"{_SEGMENT}[0-9]*.ts"), self.playlist]:
                old.unlink(missing_ok=True)
            self.playlist.touch()
            self.playlist.unlink()
        except SinkError:
            raise
        except OSError as error:
            self._let_go()
            raise SinkError(f"{self.label}: {(error.strerror or str(error)).lower()}") from error
        try:
            if info.sound or not info.live:
                self._sound = open_sound(self._sound_from, info.live, self.label)
            super().open(info, size)
        except StreamError:
            self._let_go()
            raise

    def _hold(self) -> None:
        """Take the folder for this sink alone; the system lets go of it when the process dies."""
        if self._held is not None:
            return
        self._held = hold(self.folder, self.label, "give it a folder of its own")

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        if self._live:
            self._program.note(pts_ns, getattr(rgb, "taken_ns", 0))
        super().write(rgb, pts_ns, duration_ns)

    def _attach(self, pipeline: Pipeline) -> None:
        super()._attach(pipeline)
        if self._live:
            pipeline.element("hls").connect("get-playlist-stream", self._playlist_begins)

    def _playlist_begins(self, _hls: Any, _place: str) -> Any:
        """Where hlssink2 writes the whole playlist to, on its thread, each time that a segment is done."""
        reading, writing = os.pipe()
        before = self._writing
        self._writing = threading.Thread(
            target=self._write_playlist, args=(reading, before), name="hls playlist", daemon=True
        )
        self._writing.start()
        return door.extra_module("Gio", "2.0").UnixOutputStream.new(writing, True)

    def _write_playlist(self, reading: int, before: threading.Thread | None) -> None:
        with os.fdopen(reading, encoding="utf-8") as pipe:
            text = pipe.read()
        if before is not None:
            before.join()
        whole = self.playlist.with_name(f".{self.playlist.name}.new")
        try:
            whole.write_text(self._program.dated(text, self._first_ns or 0), encoding="utf-8")
            whole.replace(self.playlist)
        except OSError as error:
            self._failure = SinkError(f"{self.label}: {(error.strerror or str(error)).lower()}")

    def _stop(self) -> None:
        super()._stop()
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.join(_END_S)

    def close(self) -> None:
        """See `FrameSink.close`. SinkError where the playlist has no end."""
        try:
            super().close()
        except SinkError as error:
            if _CLOSED_TWICE not in getattr(error.__cause__, "debug", "") or not self._ended():
                raise
        finally:
            self._let_go()

    def _ended(self) -> bool:
        return self.playlist.is_file() and self.playlist.read_text().rstrip().endswith(_ENDED)

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        # Live settings for files too: hlssink2 asks for a keyframe at every cut, and only an encoder
        # that looks not ahead gives it there. Segments would come out shorter or longer than the target.
        task = EncoderTask("h264", size, rate, live=True, options=self._encoding)
        listed = self._keep if self._live else 0
        return Tail(
            f"h264parse ! hlssink2 name=hls target-duration={self._segment_s}"
            f" playlist-length={listed} max-files={listed + 2 if listed else 0}",
            {
                "hls": {
                    "location": str(self.folder / f"{_SEGMENT}%05d.ts")
                    .replace("%", "%%")
                    .replace("%%05d", "%05d"),
                    "playlist-location": str(self.playlist),
                }
            },
            task=task,
            sound="hls.audio",
        )

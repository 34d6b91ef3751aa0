"""Writes an HLS folder: H.264 segments in MPEG-TS and the playlist that names them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoders import EncoderOptions, EncoderTask, codec_for
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail
from irchroma.stream.sinks.shared_encoder import EncoderPool
from irchroma.stream.sinks.sound import LiveSound, open_sound

PLAYLIST = "live.m3u8"
_SEGMENT = "segment"
_END_S = 15.0
_CLOSED_TWICE = "Fragment closed without knowing its location"
"""hlssink2 (GStreamer 1.22) now and then hears twice of the end of a stream of one segment, and calls the
second time an error; segment and playlist are whole by then."""
_ENDED = "#EXT-X-ENDLIST"


class HlsSink(PipelineSink):
    """One HLS stream in a folder of its own.

    Of a live source, the playlist names the newest segments and older ones are deleted; of a file, it
    names them all. Segments of an earlier run are removed when the sink is opened.

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

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError where the folder cannot be made or written to."""
        self._live = info.live
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in [*self.folder.glob(f"{_SEGMENT}[0-9]*.ts"), self.playlist]:
                old.unlink(missing_ok=True)
            self.playlist.touch()
            self.playlist.unlink()
        except OSError as error:
            raise SinkError(f"{self.label}: {(error.strerror or str(error)).lower()}") from error
        if info.sound or not info.live:
            self._sound = open_sound(self._sound_from, info.live, self.label)
        super().open(info, size)

    def close(self) -> None:
        """See `FrameSink.close`. SinkError where the playlist has no end."""
        try:
            super().close()
        except SinkError as error:
            if _CLOSED_TWICE not in getattr(error.__cause__, "debug", "") or not self._ended():
                raise

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

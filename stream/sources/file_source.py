"""Video files: every frame, in order, with its own pts, up to where the file is broken."""

from __future__ import annotations

import dataclasses
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.gstreamer.door import GstFailure
from irchroma.stream.media.container import PROGRAM_STREAM, Promise, picture_reader_of, read_promise
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import remark
from irchroma.stream.sources.addresses import broken_format
from irchroma.stream.sources.decoding import CONTAINERS, Decoding
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, SourcePlan
from irchroma.stream.sources.pictures.picture_file import is_animated

log = logging.getLogger(__name__)

_HEAD_BYTES = 400
_ANIMATED = "animated PNG"
_Y4M = b"YUV4MPEG2 "
_Y4M_READ = ("420", "420jpeg", "420mpeg2", "420paldv", "422", "444")
_PLAIN = (".raw", ".bin", ".dat", ".y16", ".gray", ".yuv")
_UNREAD = {b"nut/multimedia container": "NUT", b"GIF8": "GIF", b"\x8aMNG": _ANIMATED}


def is_sought_exactly(head: bytes) -> bool:
    """False for MPEG streams and FLV by their first bytes: they have no index.

    A seek goes to a byte that is guessed from the rate, and times after it were up to 0.9 s off.

    Reference: ISO/IEC 13818-1, 2.4.3.2 (packets of 188 bytes begin with 0x47, in .m2ts 4 bytes later) and
    2.5.3.4 (pack header).
    """
    packets = any(head[at::size][:2] == b"GG" for at, size in ((0, 188), (4, 192)))
    return not packets and not head.startswith((PROGRAM_STREAM, b"FLV"))


@dataclass(frozen=True, slots=True)
class Part:
    """What is taken of a file.

    Attributes:
        begin_ns: from the last key frame that is not later, or the first where seeks are not exact.
        end_ns: up to the first frame that is not sooner; 0 for all of it.
        skip_ns: frames that are sooner are left out: an index may lead to a key frame before the wanted one.
    """

    begin_ns: int = 0
    end_ns: int = 0
    skip_ns: int = 0


class FileSource(GstSource):
    """Anything that GStreamer decodes; the first video track, sound left alone.

    Interlaced pictures are deinterlaced, one frame for one frame. Of a truncated file the frames that
    can be read come first, then a SourceError says what is missing.
    """

    open_timeout_s = 30.0
    read_at_least_s = 30.0  # nobody is in a hurry, and a 7680x4320 frame may take its time

    def __init__(
        self, path: Path, pictures: PictureOptions | None = None, track: int = 0, part: Part | None = None
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: of the file.
            pictures: how they are taken out of it.
            track: which one of pictures is taken, 1 for the first; 0 for the one that is to be shown.
            part: what of the file.
        """
        super().__init__(pictures)
        self._path, self._asked, self._part = path, track, part or Part()
        self._promise = Promise()
        self._track: int | None = None

    def open(self) -> VideoInfo:
        """See `GstSource.open`. Of several tracks the one that players are to show is taken."""
        self._track = self._asked - 1 if self._asked else None
        info = super().open()
        if self._asked:
            return info
        tracks = self._decoding.tracks if self._decoding is not None else []
        if len(tracks) < 2:
            return info
        enabled = self._promise.enabled
        flags = enabled if len(enabled) == len(tracks) else [track.chosen for track in tracks]
        chosen = [number for number, flag in enumerate(flags) if flag]
        self._track = chosen[0] if chosen else 0
        sizes = [f"{track.size[1]}x{track.size[0]}" for track in tracks]
        told = f"{self._path} has {len(tracks)} tracks of pictures ({', '.join(sizes)}): number"
        if len(chosen) == 1:
            log.info("%s %d is taken, the only one that is to be shown", told, self._track + 1)
        else:
            remark(f"{told} {self._track + 1} is taken")
        return super().open() if self._track else info

    def plan(self) -> SourcePlan:
        path = self._path
        if path.is_dir():
            raise SourceError(f"{path} is a folder, expected a video file")
        try:
            if path.is_fifo():
                raise SourceError(
                    f"{path} is a pipe, expected a file: raw video from a pipe is `raw:-?size=..` with"
                    f" `< {path}`, a stream is tcp://host:port or srt://host:port"
                )
            if path.is_file() and path.stat().st_size == 0:
                raise SourceError(f"{path} is empty (0 bytes)")
            if not os.access(path, os.R_OK):
                path.open("rb").close()
            self._promise = read_promise(path) if path.is_file() else Promise()
        except SourceError:
            raise
        except FileNotFoundError as error:
            raise SourceError(f"{path}: no such file") from error
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}") from error
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        self._refuse_by_name(head)
        if not self._promise.has_index:
            raise SourceError(
                f"{path} cannot be played: its index (moov) is missing"
                + (
                    f", as are {self._promise.missing_bytes} bytes at its end"
                    * bool(self._promise.missing_bytes)
                )
            )
        decoding = self._watched(
            Decoding(str(path), self._pictures.max_megapixels, self._track or 0, self._pictures.tell_damage)
        )
        return SourcePlan(
            # fields=top: one frame out for one in; progressive video passes through untouched
            launch=f"{picture_reader_of(path, 'file')} ! decodebin name=decode ! deinterlace fields=top",
            properties={"file": {"location": str(path)}},
            signals={"decode": decoding.signals},
            corrections={"file": self._promise.corrections},
            begin_ns=self._part.begin_ns if is_sought_exactly(head) else 0,
            description=str(path),
        )

    def _refuse_by_name(self, head: bytes) -> None:
        """SourceFormatError for what nothing that can be trusted reads here."""
        if head.startswith(_Y4M):
            _refuse_y4m(self._path, head)
        for magic, name in _UNREAD.items():
            if head.startswith(magic) or (name == _ANIMATED and is_animated(head)):
                raise SourceFormatError(
                    f"{self._path}: {name} is not read here: ffmpeg -i IN -c:v ffv1 OUT.mkv converts it"
                )

    @property
    def _media(self) -> set[str]:
        return self._decoding.media if self._decoding is not None else set()

    @property
    def even_times(self) -> bool:
        return "video/x-msvideo" in self._media

    def describe(self, info: VideoInfo) -> VideoInfo:
        """See `GstSource.describe`: an index knows the number of frames exactly."""
        count = self._promise.frame_count
        if self._part != Part():
            return dataclasses.replace(info, frame_count=None, duration_ns=None)
        if not count or self._track:  # it is of the first track
            return info
        if self._promise.corrections and info.rate:
            info = dataclasses.replace(info, duration_ns=round(count * 10**9 / info.rate))
        return dataclasses.replace(info, frame_count=count)

    def read(self, timeout_s: float) -> Frame | None:
        frame = super().read(timeout_s)
        while frame is not None and frame.pts_ns < self._part.skip_ns:
            frame = super().read(timeout_s)
        end_ns = self._part.end_ns
        if frame is None or not end_ns or frame.pts_ns < end_ns:
            return frame
        self._tell_damage(self._count - 1)
        return None

    def ended(self, frames: int, pts_ns: int) -> None:
        if self._promise.missing_bytes:
            raise SourceError(
                f"{self._path} is truncated, {self._promise.missing_bytes} bytes are missing:"
                f" {frames} frames up to {pts_ns / 1e9:.3f} s could be read"
            )
        self._tell_damage(frames)
        if not frames and self._decoding and not any(name.startswith("video/x-") for name in self._media):
            raise self._decoding.no_pictures()
        if not frames:
            raise SourceError(f"{self._path} has a video track but no frames")

    def _tell_damage(self, frames: int) -> None:
        """SourceError where pictures were lost or shown with errors; all that could be shown has been."""
        if self._decoding is None:
            return
        lost, complaints = self._decoding.lost(), self._decoding.complaints
        if self._part.end_ns:  # what comes later is still in the decoder
            lost = [at_ns for at_ns in lost if at_ns < self._part.end_ns]
        gaps = self._pipeline.gaps if self._pipeline is not None else 0
        if not frames or not (lost or complaints or gaps):
            return
        seconds = (self._times.last_ns - self._times.first_ns) / 1e9
        holes = round(float(self._times.rate) * seconds) + 1 - frames
        told = [
            f"{len(lost)} pictures could not be decoded, the first at {lost[0] / 1e9:.3f} s" if lost else "",
            f"data are missing at {gaps} places, about {max(1, holes)} pictures" if gaps else "",
            "some pictures are shown with errors" if complaints else "",
        ]
        text = "; ".join(filter(None, told))
        remark(f"{self._path} is damaged: {text}", max(1, len(lost), holes if gaps else 0), key="damaged")
        raise SourceError(f"{self._path} is damaged: {text}: {frames} frames were shown")

    def explain(self, failure: GstFailure | None) -> SourceError:
        path = self._path
        if failure is None:
            return SourceError(f"{path}: no frame within {self.open_timeout_s:g} s")
        if self._count:
            at_s = self._times.last_ns / 1e9
            return SourceError(f"{path} is broken after {self._count} frames, at {at_s:.3f} s: {failure}")
        if "video/mpeg" in self._media and failure.code == "wrong-type":
            return SourceFormatError(
                f"{path} does not say how its pictures are coded: ffmpeg -i IN -c:v ffv1 OUT.mkv converts it"
            )
        if failure.code == "wrong-type" or "plain text" in failure.debug:
            return SourceFormatError(f"{path} is a text, expected a video")
        video = any(name.startswith("video/") and name not in CONTAINERS for name in self._media)
        if self._decoding and not video and any(name.startswith("audio/") for name in self._media):
            return self._decoding.no_pictures()
        if self._promise.missing_bytes:
            return SourceError(
                f"{path} is truncated, {self._promise.missing_bytes} bytes are missing: no frame"
            )
        if failure.code == "type-not-found":
            plain = path.suffix.lower() in _PLAIN
            hint = (
                f": frames without a header are raw:{path}?size=WxH&format=gray16le&rate=HZ" if plain else ""
            )
            return SourceFormatError(f"{path} is not a video that GStreamer knows{hint}")
        return broken_format(str(path), failure) or SourceError(f"{path} cannot be played: {failure}")


def _refuse_y4m(path: Path, head: bytes) -> None:
    """SourceFormatError for a Y4M file that y4mdec (1.22) cannot read.

    It goes by the number that the layout begins with: of `C420p16` it would show 8-bit noise.
    """
    words = head.split(b"\n")[0].decode("ascii", "replace").split()[1:]
    layout = next((word[1:] for word in words if word.startswith("C")), "420")
    if layout in _Y4M_READ:
        return
    gray, sampling = layout.startswith("mono"), layout[:3] if layout[:3] in _Y4M_READ else "422"
    to = ("gray" if layout == "mono" else "gray16le") if gray else f"yuv{sampling}p"
    raise SourceFormatError(
        f"{path}: Y4M of C{layout} is not read here, expected C420, C422 or C444, of 8 bits:"
        f" ffmpeg -i IN -c:v ffv1 -pix_fmt {to} OUT.mkv converts it"
    )

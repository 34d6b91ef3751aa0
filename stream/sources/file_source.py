"""Video files: every frame, in order, with its own pts, up to where the file is broken."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.gstreamer.door import GstFailure, modules
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sources.addresses import broken_format
from irchroma.stream.sources.container import Promise, read_promise
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, Plan

_TELLING_PARSERS = ("h264parse", "h265parse")
"""Their streams name range and matrix themselves."""
_COLORIMETRY = re.compile(r", colorimetry=\(string\)[^,;]*")
_SNIFFED_BYTES = 1 << 16
_TRIAL = """
import sys
from irchroma.stream.gstreamer.pipeline import Pipeline
line = "filesrc name=file ! decodebin ! appsink name=out sync=false"
pipeline = Pipeline(line, {"file": {"location": sys.argv[1]}})
pipeline.start()
pipeline.pull("out", 20)
pipeline.stop()
"""


class FileSource(GstSource):
    """Anything that GStreamer decodes; the first video track, sound left alone.

    Interlaced pictures are deinterlaced, one frame for one frame. Of a truncated file the frames that
    can be read come first, then a SourceError says what is missing.
    """

    open_timeout_s = 30.0
    read_at_least_s = 30.0  # nobody is in a hurry, and a 7680x4320 frame may take its time

    def __init__(self, path: Path, pictures: PictureOptions | None = None) -> None:
        super().__init__(pictures)
        self._path = path
        self._promise = Promise()
        self._media: set[str] = set()

    def plan(self) -> Plan:
        """See `GstSource.plan`."""
        path = self._path
        if path.is_dir():
            raise SourceError(f"{path} is a folder, expected a video file")
        try:
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
        if not self._promise.has_index:
            raise SourceError(
                f"{path} cannot be played: its index (moov) is missing"
                + (
                    f", as are {self._promise.missing_bytes} bytes at its end"
                    * bool(self._promise.missing_bytes)
                )
            )
        self._try_out()
        self._media.clear()
        return Plan(
            # fields=top: one frame out for one in; progressive video passes through untouched
            launch="filesrc name=file ! decodebin name=decode ! deinterlace fields=top",
            properties={"file": {"location": str(path)}},
            signals={"decode": {"autoplug-continue": self._wants, "deep-element-added": self._added}},
            description=str(path),
        )

    def _try_out(self) -> None:
        """Decode a frame of FFV1 in a process of its own before this one does.

        gst-libav 1.22 is killed by a segmentation fault on gray of 9, 10, 12 and 14 bits.
        """
        with self._path.open("rb") as file:
            if b"FFV1" not in file.read(_SNIFFED_BYTES):
                return
        command = [sys.executable, "-c", _TRIAL, str(self._path)]
        try:
            died = subprocess.run(command, capture_output=True, timeout=30, check=False).returncode < 0
        except subprocess.TimeoutExpired:
            return
        if died:
            raise SourceFormatError(
                f"{self._path}: GStreamer cannot decode FFV1 of this depth, expected 8 or 16 bits:"
                " ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv converts it"
            )

    def _wants(self, decode: Any, _pad: Any, caps: Any) -> bool:
        """Called by decodebin for each stream it meets: go on into it? Sound and text stay undecoded."""
        name = caps.get_structure(0).get_name()
        self._media.add(name)
        if name == "video/quicktime" and self._promise.corrections:
            self._correct(decode.get_parent().get_by_name("file"))
        return not name.startswith(("audio/", "text/", "subpicture/", "application/x-subtitle"))

    def _added(self, _decode: Any, _inside: Any, element: Any) -> None:
        """Let a parser tell the decoder what the bitstream says of its colors, not what the container does.

        qtdemux 1.22 reads a full-range `colr` box as limited range, and parsers believe it over the stream.
        """
        factory = element.get_factory()
        if factory is None or factory.get_name() not in _TELLING_PARSERS:
            return
        gst = modules()["Gst"]

        def strip(pad: Any, info: Any) -> Any:
            event = info.get_event()
            text = event.parse_caps().to_string() if event.type == gst.EventType.CAPS else ""
            without = _COLORIMETRY.sub("", text)
            if without == text:
                return gst.PadProbeReturn.OK
            pad.send_event(gst.Event.new_caps(gst.Caps.from_string(without)))
            return gst.PadProbeReturn.DROP

        element.get_static_pad("sink").add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, strip)

    def _correct(self, file: Any) -> None:
        """Replace bytes of the header as they are read; the file itself is left as it is."""
        gst, corrections = modules()["Gst"], self._promise.corrections

        def replace(_pad: Any, info: Any) -> Any:
            buffer = info.get_buffer()
            start, end = buffer.offset, buffer.offset + buffer.get_size()
            inside = {at: new for at, new in corrections.items() if start <= at and at + len(new) <= end}
            if len(inside) < len(corrections):
                return gst.PadProbeReturn.OK
            memory = buffer.peek_memory(0)
            ok, mapped = memory.map(gst.MapFlags.WRITE)
            if ok:
                for at, new in inside.items():
                    mapped.data[at - start : at - start + len(new)] = new
                memory.unmap(mapped)
            return gst.PadProbeReturn.REMOVE

        pad = file.get_static_pad("src")
        pad.add_probe(gst.PadProbeType.BUFFER | gst.PadProbeType.PULL, replace)

    def describe(self, info: VideoInfo) -> VideoInfo:
        """See `GstSource.describe`: an index knows the number of frames exactly."""
        count = self._promise.frame_count
        if not count:
            return info
        if self._promise.corrections and info.rate:
            info = dataclasses.replace(info, duration_ns=round(count * 10**9 / info.rate))
        return dataclasses.replace(info, frame_count=count)

    def ended(self, frames: int, pts_ns: int) -> None:
        """See `GstSource.ended`."""
        if self._promise.missing_bytes:
            raise SourceError(
                f"{self._path} is truncated, {self._promise.missing_bytes} bytes are missing:"
                f" {frames} frames up to {pts_ns / 1e9:.3f} s could be read"
            )
        if not frames and not any(name.startswith("video/x-") for name in self._media):
            raise self._no_video()
        if not frames:
            raise SourceError(f"{self._path} has a video track but no frames")

    def _no_video(self) -> SourceError:
        sound = any(name.startswith("audio/") for name in self._media)
        return SourceFormatError(f"{self._path} has no video track" + (", only sound" if sound else ""))

    def explain(self, failure: GstFailure | None) -> SourceError:
        """See `GstSource.explain`."""
        path = self._path
        if failure is None:
            return SourceError(f"{path}: no frame within {self.open_timeout_s:g} s")
        if self._count:
            at_s = self._times.last_ns / 1e9
            return SourceError(f"{path} is broken after {self._count} frames, at {at_s:.3f} s: {failure}")
        if failure.code == "wrong-type" or "plain text" in failure.debug:
            return SourceFormatError(f"{path} is a text, expected a video")
        video = any(name.startswith("video/") and not _is_container(name) for name in self._media)
        if not video and any(name.startswith("audio/") for name in self._media):
            return self._no_video()
        if self._promise.missing_bytes:
            return SourceError(
                f"{path} is truncated, {self._promise.missing_bytes} bytes are missing: no frame"
            )
        if failure.code == "type-not-found":
            return SourceFormatError(f"{path} is not a video that GStreamer knows")
        return broken_format(str(path), failure) or SourceError(f"{path} cannot be played: {failure}")


def _is_container(name: str) -> bool:
    return name in (
        "video/quicktime", "video/x-matroska", "video/webm", "video/x-msvideo", "video/mpegts", "video/x-flv",
        "video/mpeg", "video/x-ms-asf",
    )  # fmt: skip

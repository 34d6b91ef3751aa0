"""Clips that the temporal bench measures on: recordings, and synthetic cameras whose true color is known.

And what the temporal stage is compared with on them, a filter of FFmpeg's run for real; and streams that are
really damaged, bytes of coded video spoiled by FFmpeg.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.measures.flicker_report import read_frames
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.gst_source import PictureOptions
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import parse_test_address
from irchroma.stream.tone.tone_map import ToneMap

Rgb = NDArray[np.uint8]
SYNTHETIC_FRAMES = 150
CODECS = {
    "mjpeg": ("-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "4"),
    "h264": ("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "fast", "-crf", "22", "-g", "48"),
    "hevc": ("-pix_fmt", "yuv420p", "-c:v", "libx265", "-preset", "ultrafast", "-crf", "24", "-g", "48",
             "-x265-params", "log-level=none:pools=1"),
}  # fmt: skip
"""Name -> what FFmpeg is told."""
_AT_ONCE = ("-preset", "ultrafast", "-tune", "zerolatency", "-crf", "26", "-g", "50")
SENT = {
    "h264, packets lost": ("-pix_fmt", "yuv420p", "-c:v", "libx264", *_AT_ONCE),
    "hevc, packets lost": ("-pix_fmt", "yuv420p", "-c:v", "libx265", *_AT_ONCE,
                           "-x265-params", "log-level=none:pools=1"),
}  # fmt: skip
"""As cameras send, in MPEG-TS."""
SLICED = {
    "h264, slices lost": ("-pix_fmt", "yuv420p", "-c:v", "libx264", *_AT_ONCE, "-slices", "4", "-x264-params",
                          "sliced-threads=0"),
}  # fmt: skip
"""The same in four pieces, of which some do not come."""
PACKET_BYTES, BURST = 188, 2
"""Of MPEG-TS, and packets that are lost together."""
VIDEO_PID = 0x100
"""FFmpeg's."""
SPOILED_FROM = 10
"""Frames at the beginning that are left as they are."""
SPOILED_BYTES = 10
"""Bytes of a stream that are spoiled, about; half as many bursts of packets are lost."""
CODED_FPS = 25


@dataclass(frozen=True)
class Clip:
    """Infrared frames and, where it is known, the color of the same scene.

    Attributes:
        name: for the table.
        rate_hz: frames a second.
        luma: (H, W) uint8 each.
        truth: gives the true colors anew, one (H, W, 3) uint8 for each frame, of the luma's size; None
            where there are none.
    """

    name: str
    rate_hz: float
    luma: list[NDArray[np.uint8]]
    truth: Callable[[], Iterator[Rgb]] | None = None


def recorded(infrared: Path, color: Path | None = None, most_frames: int = 0) -> Clip:
    """A video file, and the real color video of the same scene; 0 reads all frames."""
    rate_hz, frames = read_frames(infrared)
    luma = [rgb_to_luma(frame) for frame in islice(frames, most_frames or None)]
    height, width = luma[0].shape

    def truth() -> Iterator[Rgb]:
        if color is None:
            raise RuntimeError("no color frame was decoded")
        for frame in islice(read_frames(color)[1], len(luma)):
            yield np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    return Clip(infrared.name, rate_hz or 30.0, luma, None if color is None else truth)


def synthetic(address: str, most_frames: int = 0) -> Clip:
    """A `test:` camera through the default tone map.

    Raises:
        EngineOptionError: its pictures change their size or are in color by day.
        StreamOptionError: no such address.
    """
    options = parse_test_address(address)
    if options.daynight_s or options.live:
        raise EngineOptionError(f"{address}: daynight_s and live cannot be measured, leave them out")
    camera, tone_map = SyntheticCamera(options), ToneMap()
    rate_hz = float(options.rate)
    frames = options.frames or most_frames or SYNTHETIC_FRAMES
    numbers = range(min(frames, most_frames or frames))
    luma = [tone_map.apply(camera.frame(n).pixels, round(n * 1e9 / rate_hz)) for n in numbers]
    return Clip(address, rate_hz, luma, lambda: (camera.frame(n).rgb for n in numbers))


FILTER = "tmix"
"""FFmpeg's, with its own default: the mean of 3 frames."""


def ffmpeg_filtered(frames: Iterable[Rgb], size: tuple[int, int]) -> Iterator[Rgb]:
    """Frames of (H, W) through FFmpeg's `FILTER`, without loss on the way.

    Raises:
        EngineUnavailable: there is no `ffmpeg` here.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise EngineUnavailable("no ffmpeg to compare with: apt install ffmpeg, or --no-ffmpeg")
    height, width = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30"]
    command = [program, "-v", "error", "-threads", "1", *raw, "-i", "-"]
    command += ["-vf", f"{FILTER}=frames=3", *raw, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None:
            raise RuntimeError("the process was started without its input")
        if process.stdout is None:
            raise RuntimeError("the process was started without its output")
        feeder = threading.Thread(target=_feed, args=(process.stdin, frames), daemon=True)
        feeder.start()
        length = height * width * 3
        while len(data := process.stdout.read(length)) == length:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        feeder.join()


def _feed(stream: IO[bytes], frames: Iterable[Rgb]) -> None:
    try:
        for frame in frames:
            stream.write(frame.tobytes())
    except BrokenPipeError:
        pass
    finally:
        stream.close()


def code(frames: list[NDArray[np.uint8]], path: Path, codec: str) -> Path:
    """Write (H, W) frames of even sides as a video; returns its path.

    Raises:
        EngineUnavailable: FFmpeg is not here or cannot write that codec.
    """
    height, width = frames[0].shape
    size = ["-s", f"{width}x{height}", "-r", str(CODED_FPS)]
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", *size, "-i", "-", "-threads", "1"]
    _ffmpeg(
        [*raw, *(CODECS | SENT | SLICED)[codec], str(path)], b"".join(frame.tobytes() for frame in frames)
    )
    if not path.is_file() or not path.stat().st_size:
        raise EngineUnavailable(f"FFmpeg cannot write {codec}: install one that can")
    return path


def spoil(whole: Path, path: Path, bytes_spoiled: int = SPOILED_BYTES) -> Path:
    """A copy of a video in which some bytes after its first frames are wrong, the same each time."""
    every = max(1, whole.stat().st_size // bytes_spoiled)
    noise = f"noise=amount='if(lt(n,{SPOILED_FROM}),0,{every})'"
    _ffmpeg(["-i", str(whole), "-c", "copy", "-bsf:v", noise, str(path)])
    return path


def lose(whole: Path, path: Path, bursts: int = SPOILED_BYTES // 2) -> Path:
    """A copy of an MPEG-TS file that lacks some packets after its first frames, the same each time."""
    data = np.fromfile(whole, np.uint8)
    packets = data[: data.size // PACKET_BYTES * PACKET_BYTES].reshape(-1, PACKET_BYTES)
    header = packets[:, 1].astype(np.int64) << 8 | packets[:, 2]  # ISO/IEC 13818-1, 2.4.3.2
    begins = np.flatnonzero(header == 0x4000 | VIDEO_PID)
    first = int(begins[min(SPOILED_FROM, begins.size // 2)])
    random = np.random.default_rng(0)
    at = first + random.choice(max(len(packets) - first - BURST, 1), bursts)
    kept = np.ones(len(packets), bool)
    for start in at:
        kept[start : start + BURST] = False
    packets[kept].tofile(path)
    return path


def lose_slices(whole: Path, path: Path, slices: int = SPOILED_BYTES // 2) -> Path:
    """A copy of H.264 that lacks some slices after its first frames, none a picture's first."""
    stream = _ffmpeg(["-i", str(whole), "-c", "copy", "-f", "h264", "-"])
    units = stream.split(b"\0\0\1")
    begin = [unit[:1] != b"" and unit[0] & 0x1F in (1, 5) and unit[1] >= 0x80 for unit in units]  # 7.3.3
    pictures = np.cumsum(begin)
    at = [
        number for number, unit in enumerate(units)
        if unit[:1] != b"" and unit[0] & 0x1F == 1 and not begin[number] and pictures[number] > SPOILED_FROM
    ]  # fmt: skip
    lost = set(np.random.default_rng(0).permutation(at)[:slices].tolist())
    kept = b"\0\0\1".join(unit for number, unit in enumerate(units) if number not in lost)
    _ffmpeg(["-r", str(CODED_FPS), "-f", "h264", "-i", "-", "-c", "copy", str(path)], kept)
    return path


def shown(path: Path) -> list[Frame]:
    """The frames of a video as a run gets them, luma alone; what is said of damage at its end is left out.

    Raises:
        SourceError: it cannot be opened.
    """
    source, frames = FileSource(path, PictureOptions(color="ignore", tell_damage=True)), []
    try:
        source.open()
        while (frame := source.read(30.0)) is not None:
            frames.append(frame)
    except SourceError:
        if not frames:
            raise
    finally:
        source.close()
    return frames


def _ffmpeg(words: list[str], given: bytes | None = None) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise EngineUnavailable("streams are damaged with ffmpeg, which is not here: install it")
    command = [program, "-v", "quiet", "-y", *words]
    return subprocess.run(
        command, input=b"" if given is None else given, capture_output=True, check=False, timeout=300
    ).stdout

"""Video filters that the temporal stage is compared with: averages of our own, and FFmpeg's run for real."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.recolor.color_space import rgb_to_ycc, ycc_to_rgb

Rgb = NDArray[np.uint8]
FFMPEG_FILTERS = {"deflicker": "format=yuv444p,deflicker", "tmix": "tmix=frames=3"}
"""Name -> FFmpeg filter, with FFmpeg's own defaults (5 frames of look-ahead, 3 frames)."""


class FrameFilter(Protocol):
    """Takes frames in order and gives one back for each."""

    def apply(self, rgb: Rgb) -> Rgb:
        """(H, W, 3) uint8 to (H, W, 3) uint8."""


class NoFilter:
    """Frame by frame, as the network left it."""

    def apply(self, rgb: Rgb) -> Rgb:
        """The frame itself."""
        return rgb


class ExponentialAverage:
    """Plain exponential averaging of R'G'B' with a fixed share of the new frame."""

    def __init__(self, share: float = 0.2) -> None:
        self._share = np.float32(share)
        self._mean: NDArray[np.float32] | None = None

    def apply(self, rgb: Rgb) -> Rgb:
        """The average up to this frame."""
        now = rgb.astype(np.float32)
        self._mean = now if self._mean is None else self._mean + self._share * (now - self._mean)
        return np.rint(self._mean).astype(np.uint8)


class ChromaAverage:
    """Chroma averaged over the last frames, luma left alone; causal."""

    def __init__(self, frames: int = 5) -> None:
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=frames)

    def apply(self, rgb: Rgb) -> Rgb:
        """The frame with the mean Cb, Cr of the last frames."""
        ycc = rgb_to_ycc(rgb)
        self._recent.append(ycc[..., 1:])
        ycc[..., 1:] = sum(self._recent) / np.float32(len(self._recent))
        return ycc_to_rgb(ycc)


FILTERS: dict[str, type[NoFilter] | type[ExponentialAverage] | type[ChromaAverage]] = {
    "frame by frame": NoFilter,
    "exponential average": ExponentialAverage,
    "chroma average": ChromaAverage,
}


def ffmpeg_filtered(frames: Iterable[Rgb], name: str, size: tuple[int, int]) -> Iterator[Rgb]:
    """Frames of (H, W) through an FFmpeg filter, without loss on the way.

    Raises:
        EngineUnavailable: there is no `ffmpeg` here.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise EngineUnavailable("no ffmpeg to compare with: apt install ffmpeg, or --no-ffmpeg")
    height, width = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30"]
    command = [
        program,
        "-v",
        "error",
        "-threads",
        "1",
        *raw,
        "-i",
        "-",
        "-vf",
        FFMPEG_FILTERS[name],
        *raw,
        "-",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
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

"""How long encoding and decoding a frame takes here, by every encoder that works."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.recordings import read_frames
from irchroma.stream.errors import StreamError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoders import EncoderOptions, survey_encoders
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

_SUFFIX = {"h264": ".mp4", "vp9": ".webm", "vp8": ".webm"}


def measure_codecs(
    size: tuple[int, int],
    rate: Fraction,
    lumas: Sequence[NDArray[np.uint8]],
    note: Callable[[str], None],
) -> tuple[list[tuple[str, float]], list[str]]:
    """Encode the frames with each encoder, and decode what the first of them wrote.

    Args:
        size: (H, W) of the frames.
        rate: frames a second that the encoder is told.
        lumas: (H, W) uint8 each.
        note: called with what is measured.

    Returns:
        (`encoder x264` or `decode`, seconds a frame), best encoder first; and what could not be measured.
    """
    found: list[tuple[str, float]] = []
    missing: list[str] = []
    pictures = [np.ascontiguousarray(np.dstack([luma] * 3)) for luma in lumas]
    try:
        working = [state for state in survey_encoders(size) if state.fault is None]
    except StreamError as error:
        return [], [f"encoders: {error}"]
    decoded = False
    with tempfile.TemporaryDirectory(prefix="irchroma-speed-") as folder:
        for state in working:
            note(f"encoder {state.name}")
            path = Path(folder) / f"{state.name}{_SUFFIX[state.codec]}"
            try:
                found.append((f"encoder {state.name}", _encode(size, rate, state.name, path, pictures)))
                if not decoded:
                    found.append(("decode", _decode(path)))
                    decoded = True
            except StreamError as error:
                missing.append(f"encoder {state.name}: {error}")
    return found, missing


def _encode(
    size: tuple[int, int], rate: Fraction, name: str, path: Path, pictures: list[NDArray[np.uint8]]
) -> float:
    """A whole file, from the first picture to the finished file, for each frame."""
    sink = open_sink(str(path), SinkOptions(encoder=EncoderOptions(name=name)))
    sink.open(VideoInfo(size=size, rate=rate, live=False, description="measurement"), size)
    period_ns = round(10**9 / rate)
    start = time.perf_counter()
    try:
        for number, picture in enumerate(pictures):
            sink.write(picture, number * period_ns, period_ns)
    finally:
        sink.close()
    return (time.perf_counter() - start) / len(pictures)


def _decode(path: Path) -> float:
    """The mean of all frames after the first: they come out of the decoder in bursts."""
    frames = read_frames(str(path))
    next(frames)
    start = time.perf_counter()
    count = sum(1 for _ in frames)
    return (time.perf_counter() - start) / max(count, 1)

"""Pictures, sound and times that tests of recordings write and read."""

from __future__ import annotations

import os
import time
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np

from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import EndOfStream
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions

STEADY = [round(n * 1_001_000_000_000 / 30_000_000) * 1000 for n in range(25)]  # 30000/1001 Hz, us
UNEVEN = [0, *(np.cumsum(np.random.default_rng(4).integers(8_000, 90_000, 24)) * 1000).tolist()]
LAST_NS = 33_367_000
TICK_NS = {".mp4": 1_100, ".mkv": 10_000, ".webm": 10_000}


def picture(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A gray card whose level says which one it is."""
    return np.full((*size, 3), 20 + 9 * number, np.uint8)


def record(
    path: Path,
    times: list[int],
    rate: Fraction,
    options: FileSinkOptions | None = None,
    pool: EncoderPool | None = None,
) -> list[int]:
    sink = FileSink(path, options, pool)
    durations = [*np.diff(times).tolist(), LAST_NS]
    sink.open(VideoInfo((48, 64), rate, live=False, duration_ns=times[-1] + LAST_NS), (48, 64))
    for number, (pts_ns, duration_ns) in enumerate(zip(times, durations, strict=True)):
        sink.write(picture(number), pts_ns, duration_ns)
    sink.close()
    sink.close()
    return durations


def stored_times(path: Path) -> tuple[list[int], list[int]]:
    """Pts and durations in nanoseconds as the container says them.

    Decoders put the nominal rate's duration in their place, and behind GStreamer's Matroska demuxer
    running time begins with the first picture.
    """
    demuxer = "qtdemux" if path.suffix == ".mp4" else "matroskademux"
    reader = Pipeline(
        f"filesrc name=in ! {demuxer} ! fakesink name=out signal-handoffs=true sync=false",
        {"in": {"location": str(path)}},
    )
    times: list[tuple[int, int]] = []
    reader.start(paused=True)
    reader.element("out").connect(
        "handoff", lambda _sink, buffer, _pad: times.append((buffer.pts, buffer.duration))
    )
    reader.element("out").get_parent().set_state(door.modules()["Gst"].State.PLAYING)
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            reader.check()
    except EndOfStream:
        return [pts for pts, _ in times], [duration for _, duration in times]
    finally:
        reader.stop()
    raise AssertionError(f"{path} did not end")


def tone(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        wiggle = np.sin(np.arange(int(48_000 * seconds)) * 0.06) * 9000
        out.writeframes(wiggle.astype("<i2").tobytes())
    return path


def audio_kinds(path: Path) -> str:
    discover = door.extra_module("GstPbutils")
    found = discover.Discoverer.new(5_000_000_000).discover_uri(path.as_uri())
    return " ".join(track.get_caps().to_string() for track in found.get_audio_streams())


def heard_s(path: Path) -> float:
    """Seconds of decoded audio."""
    counter = Pipeline(
        "filesrc name=in ! decodebin ! audioconvert ! audioresample"
        " ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! filesink name=out",
        {"in": {"location": str(path)}, "out": {"location": f"{path}.pcm"}},
    )
    counter.start()
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            counter.check()
    except EndOfStream:
        return os.path.getsize(f"{path}.pcm") / 96_000
    finally:
        counter.stop()
    raise AssertionError("the audio did not end")

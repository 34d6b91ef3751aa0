"""Reads recorded and served video back through GStreamer, honoring the range and matrix that it signals."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.gstreamer.door import EndOfStream
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Caps, Sample

COEFFICIENTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


@dataclass
class Readback:
    """What came out: R'G'B' pictures (H, W, 3) float, their times, and the caps of the first."""

    rgb: list[NDArray[np.float64]] = field(default_factory=list)
    pts_ns: list[int] = field(default_factory=list)
    duration_ns: list[int] = field(default_factory=list)
    caps: Caps | None = None


def i420_to_rgb(sample: Sample) -> NDArray[np.float64]:
    """(H, W, 3) float64 full-range R'G'B' by the caps' own range and matrix; chroma by repetition."""
    caps = sample.caps
    assert caps.format == "I420", caps
    height, width = caps.size
    planes = []
    for index, stride in enumerate(caps.strides):
        rows = height if index == 0 else (height + 1) // 2
        columns = width if index == 0 else (width + 1) // 2
        start = caps.offsets[index]
        plane = sample.data[start : start + rows * stride].reshape(rows, stride)[:, :columns].astype(float)
        planes.append(plane if index == 0 else plane.repeat(2, 0).repeat(2, 1)[:height, :width])
    luma, cb, cr = planes
    if caps.full_range:
        luma, cb, cr = luma / 255, (cb - 128) / 255, (cr - 128) / 255
    else:
        luma, cb, cr = (luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    kr, kb = COEFFICIENTS[caps.matrix]
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.dstack([red, green, blue]) * 255


@pytest.fixture
def read_back() -> Callable[..., Readback]:
    """Reads `count` pictures (all where None) of a launch text that ends in decoded I420 video."""

    def read(launch: str, count: int | None = None, wait_s: float = 20, **properties: object) -> Readback:
        pipeline = Pipeline(
            f"{launch} ! appsink name=out sync=false max-buffers=8 caps=video/x-raw,format=I420",
            {"in": dict(properties)} if properties else {},
        )
        pipeline.start()
        result, deadline = Readback(), time.monotonic() + wait_s
        try:
            while count is None or len(result.rgb) < count:
                sample = pipeline.pull("out", max(0.0, deadline - time.monotonic()))
                assert sample is not None, f"{len(result.rgb)} pictures within {wait_s} s of: {launch}"
                result.rgb.append(i420_to_rgb(sample))
                result.pts_ns.append(sample.pts_ns)
                result.duration_ns.append(sample.duration_ns)
                result.caps = result.caps or sample.caps
        except EndOfStream:
            assert count is None, f"ended after {len(result.rgb)} of {count} pictures: {launch}"
        finally:
            pipeline.stop()
        return result

    return read


@pytest.fixture
def read_file(read_back: Callable[..., Readback]) -> Callable[..., Readback]:
    """Reads a whole video file."""

    def read(path: object) -> Readback:
        return read_back("filesrc name=in ! decodebin", location=str(path))

    return read


@pytest.fixture
def gray_ramp() -> NDArray[np.uint8]:
    """(64, 256, 3) uint8 R'G'B': every gray level from black to white, side by side."""
    return np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (64, 256, 3)).copy()

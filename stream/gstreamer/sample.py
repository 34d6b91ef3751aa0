"""Raw video samples as arrays, and what their caps say; coded pictures as they pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer.door import modules, structure_of


@dataclass(frozen=True, slots=True)
class Caps:
    """What a raw video sample holds.

    Attributes:
        format: GStreamer's name: `GRAY8`, `GRAY16_LE`, `I420`, `NV12`, `RGB` ...
        size: (H, W) in pixels.
        rate: frames per second, 0 where unknown.
        strides, offsets: bytes, one for each plane.
        full_range: true for [0, 255] luma, false for [16, 235].
        matrix: `bt601`, `bt709`, `bt2020` or `rgb`; where none is named, that of pictures of this size.
        pixel_aspect: width of a pixel to its height.
    """

    format: str
    size: tuple[int, int]
    rate: Fraction
    strides: tuple[int, ...]
    offsets: tuple[int, ...]
    full_range: bool
    matrix: str
    pixel_aspect: Fraction = Fraction(1)

    def pixel_aspect_turned(self, turn: str) -> Fraction:
        """What becomes of it when a picture is turned as its `image-orientation` tag asks for."""
        return 1 / self.pixel_aspect if turn.endswith(("-90", "-270")) else self.pixel_aspect


@dataclass(frozen=True, slots=True)
class Sample:
    """One buffer, copied out of GStreamer.

    Attributes:
        data: (N,) uint8, the buffer's bytes, planes at `caps.offsets`.
        pts_ns, duration_ns: nanoseconds of running time, -1 where absent.
        buffer_ns: the time that the buffer itself carries, by which its decoder knows it; -1 where absent.
    """

    data: NDArray[np.uint8]
    caps: Caps
    pts_ns: int
    duration_ns: int
    buffer_ns: int = -1

    def luma(self) -> NDArray[np.uint8]:
        """The first plane of an 8-bit picture, (H, W) uint8: its luma where it is GRAY8, I420 or NV12."""
        (height, width), stride = self.caps.size, self.caps.strides[0]
        rows = self.data[self.caps.offsets[0] :][: height * stride].reshape(height, stride)
        return rows[:, :width]


@dataclass(frozen=True, slots=True)
class Unit:
    """One coded picture.

    Attributes:
        buffer: a `Gst.Buffer`, shared by all who get it: copied before its times are changed.
        caps: `Gst.Caps` of it.
        key: true where decoding may begin.
        pts_ns, duration_ns: nanoseconds of running time, -1 where absent.
        dts_ns: when it is to be decoded, where that is another time than pts; -1 where it is not known.
        taken_ns: see `Frame.taken_ns`.
    """

    buffer: Any
    caps: Any
    key: bool
    pts_ns: int
    duration_ns: int
    dts_ns: int = -1
    taken_ns: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels, by its caps; 0 where they do not say."""
        structure = structure_of(self.caps)
        return structure.get_int("height")[1], structure.get_int("width")[1]

    def at(self, pts_ns: int, dts_ns: int | None = None) -> Any:
        """The buffer with its own times (dts that of pts, or -1 for none); the bytes stay shared."""
        dts_ns = pts_ns if dts_ns is None else dts_ns
        library = modules()["Gst"]
        flags = library.BufferCopyFlags.FLAGS | library.BufferCopyFlags.MEMORY
        buffer = self.buffer.copy_region(flags, 0, self.buffer.get_size())
        none = library.CLOCK_TIME_NONE
        buffer.pts, buffer.dts = pts_ns, none if dts_ns < 0 else dts_ns
        buffer.duration = none if self.duration_ns < 0 else self.duration_ns
        return buffer


def unit_of(pad: Any, buffer: Any) -> Unit:
    """The coded picture that passes a pad."""
    library = modules()["Gst"]
    event = pad.get_sticky_event(library.EventType.SEGMENT, 0)
    segment = event.parse_segment() if event is not None else None

    def running_ns(time_ns: int) -> int:
        if time_ns == library.CLOCK_TIME_NONE:
            return -1
        if segment is None:
            return time_ns
        found = segment.to_running_time(library.Format.TIME, time_ns)
        return -1 if found == library.CLOCK_TIME_NONE else int(found)

    duration_ns = -1 if buffer.duration == library.CLOCK_TIME_NONE else int(buffer.duration)
    key = not buffer.has_flags(library.BufferFlags.DELTA_UNIT)
    return Unit(
        buffer, pad.get_current_caps(), key, running_ns(buffer.pts), duration_ns, running_ns(buffer.dts)
    )


def give_units(
    pad: Any, take: Callable[[Unit, bool], None], taken_ns: Callable[[int], int] = lambda _: 0
) -> None:
    """Have `take` called with every coded picture that passes a pad, and whether it is the first.

    `taken_ns`: when what has that pts was taken, see `Frame.taken_ns`.
    """
    library = modules()["Gst"]
    first = [True]

    def passing(pad: Any, probe: Any) -> Any:
        unit = unit_of(pad, probe.get_buffer())
        known_ns = taken_ns(unit.pts_ns) if unit.pts_ns >= 0 else 0
        take(replace(unit, taken_ns=known_ns) if known_ns else unit, first[0])
        first[0] = False
        return library.PadProbeReturn.OK

    pad.add_probe(library.PadProbeType.BUFFER, passing)


def caps_of(caps: Any) -> Caps:
    """What `Gst.Caps` of raw video say; StreamError for others."""
    video = modules()["GstVideo"]
    info = video.VideoInfo.new_from_caps(caps)
    if info is None:
        raise StreamError(f"expected raw video, got {caps.to_string()[:120]}")
    planes = info.finfo.n_planes
    # VideoInfo takes a colorimetry without a matrix for no colorimetry at all and loses its range: a camera
    # that says "full range" and nothing else would be expanded twice
    said = (structure_of(caps).get_string("colorimetry") or "").split(":")
    numbers = [int(part) for part in said] if len(said) == 4 and all(p.isdecimal() for p in said) else None
    color_range = numbers[0] if numbers is not None else int(info.colorimetry.range)
    full_range = color_range == int(getattr(video.VideoColorRange, "0_255"))
    if color_range == int(video.VideoColorRange.UNKNOWN):  # so libav's decoders (1.26) say of gray, 0:4:0:0
        full_range = info.finfo.name.startswith("GRAY")  # as where no colorimetry is named
    matrix = {
        video.VideoColorMatrix.BT709: "bt709",
        video.VideoColorMatrix.BT2020: "bt2020",
        video.VideoColorMatrix.RGB: "rgb",
    }.get(info.colorimetry.matrix, "bt601")
    return Caps(
        format=info.finfo.name,
        size=(info.height, info.width),
        rate=Fraction(info.fps_n, info.fps_d) if info.fps_n > 0 and info.fps_d > 0 else Fraction(0),
        strides=tuple(info.stride[:planes]),
        offsets=tuple(info.offset[:planes]),
        full_range=full_range,
        matrix=matrix,
        pixel_aspect=Fraction(info.par_n, info.par_d) if info.par_n > 0 < info.par_d else Fraction(1),
    )


def copied(sample: Any, caps: Caps, in_file: bool = False) -> Sample:
    """The bytes and times of a `Gst.Sample` whose caps are `caps`; `in_file`: by the place in the file."""
    gst = modules()["Gst"]
    buffer = sample.get_buffer()
    ok, mapped = buffer.map(gst.MapFlags.READ)
    if not ok:
        raise StreamError("GStreamer would not map a video buffer for reading")
    try:
        data = np.frombuffer(mapped.data, np.uint8).copy()
    finally:
        buffer.unmap(mapped)
    none = gst.CLOCK_TIME_NONE
    pts = buffer.pts
    if pts != none and sample.get_segment() is not None:
        segment = sample.get_segment()
        by = segment.to_stream_time if in_file else segment.to_running_time
        running = by(gst.Format.TIME, pts)
        pts = running if running != none else pts
    return Sample(
        data=data,
        caps=caps,
        pts_ns=-1 if pts == none else pts,
        duration_ns=-1 if buffer.duration == none else buffer.duration,
        buffer_ns=-1 if buffer.pts == none else buffer.pts,
    )


def pcm_of(sample: Any) -> tuple[NDArray[np.int16], int]:
    """(N, 2) int16 and running time in nanoseconds of a `Gst.Sample` of S16LE stereo."""
    gst = modules()["Gst"]
    buffer = sample.get_buffer()
    data = buffer.extract_dup(0, buffer.get_size())
    pts_ns = sample.get_segment().to_running_time(gst.Format.TIME, buffer.pts)
    return np.frombuffer(data, "<i2").reshape(-1, 2), -1 if pts_ns == gst.CLOCK_TIME_NONE else int(pts_ns)


def buffer_of(pixels: NDArray[Any], pts_ns: int, duration_ns: int = -1) -> Any:
    """A `Gst.Buffer` with a copy of the array's bytes."""
    gst = modules()["Gst"]
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    buffer = gst.Buffer.new_allocate(None, flat.nbytes, None)
    ok, mapped = buffer.map(gst.MapFlags.WRITE)
    if not ok:
        raise StreamError("GStreamer would not map a video buffer for writing")
    try:
        np.frombuffer(mapped.data, np.uint8)[:] = flat
    finally:
        buffer.unmap(mapped)
    buffer.pts = pts_ns
    buffer.duration = gst.CLOCK_TIME_NONE if duration_ns < 0 else duration_ns
    return buffer

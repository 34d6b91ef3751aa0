"""Video encoders: which of them works on this machine."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from irchroma.stream.errors import SinkError, StreamError, StreamOptionError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.remarks import tell_once
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer, appsrc_of
from irchroma.stream.sinks.encoding.launches import (
    nvenc_launch,
    nvv4l2_launch,
    openh264_launch,
    v4l2_launch,
    va_launch,
    vpx_launch,
    x264_launch,
    x265_launch,
)
from irchroma.stream.sinks.encoding.task import ASSUMED_RATE, Codec, EncoderOptions, EncoderTask

log = logging.getLogger(__name__)
_PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Encoder:
    """A chosen encoder.

    Attributes:
        name: the family, as the user names it.
        element: GStreamer's name.
        launch: from I420 in to coded video out, for a launch line.
        on_device: NV12 in CUDA memory too, of the task's device.
    """

    name: str
    element: str
    launch: str
    on_device: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    codec: Codec
    elements: tuple[str, ...]
    hardware: bool
    launch: Callable[[str, EncoderTask], str]


_KINDS = (
    _Kind("nvenc", "h264", ("nvh264enc",), True, nvenc_launch),
    _Kind("nvv4l2", "h264", ("nvv4l2h264enc",), True, nvv4l2_launch),
    _Kind("va", "h264", ("vah264enc", "vah264lpenc"), True, va_launch),
    _Kind("v4l2", "h264", ("v4l2h264enc",), True, v4l2_launch),
    _Kind("x264", "h264", ("x264enc",), False, x264_launch),
    _Kind("openh264", "h264", ("openh264enc",), False, openh264_launch),
    _Kind("nvenc", "h265", ("nvh265enc",), True, nvenc_launch),
    _Kind("nvv4l2", "h265", ("nvv4l2h265enc",), True, nvv4l2_launch),
    _Kind("va", "h265", ("vah265enc", "vah265lpenc"), True, va_launch),
    _Kind("v4l2", "h265", ("v4l2h265enc",), True, v4l2_launch),
    _Kind("x265", "h265", ("x265enc",), False, x265_launch),
    _Kind("vp9", "vp9", ("vp9enc",), False, vpx_launch),
    _Kind("vp8", "vp8", ("vp8enc",), False, vpx_launch),
)

ENCODER_NAMES = tuple(dict.fromkeys(kind.name for kind in _KINDS))
"""Families that can be asked for by name, best first within a codec."""

_PACKAGES = {
    "x264": "gstreamer1.0-plugins-ugly",
    "x265": "gstreamer1.0-plugins-bad",
    "openh264": "gstreamer1.0-plugins-bad",
    "va": "gstreamer1.0-plugins-bad and a VA driver",
    "nvenc": "gstreamer1.0-plugins-bad and NVIDIA's driver",
    "nvv4l2": "nvidia-l4t-gstreamer, on Jetson alone",
    "v4l2": "gstreamer1.0-plugins-good and a V4L2 encoder device",
    "vp8": "gstreamer1.0-plugins-good",
    "vp9": "gstreamer1.0-plugins-good",
}


def codecs_of(name: str) -> tuple[Codec, ...]:
    """What a named encoder writes, empty for `auto`; StreamOptionError for an unknown name."""
    if name == "auto":
        return ()
    found = tuple(kind.codec for kind in _KINDS if name == kind.name or name in kind.elements)
    if not found:
        raise StreamOptionError(f"unknown encoder {name!r}: expected auto, {', '.join(ENCODER_NAMES)}")
    return found


def codec_for(options: EncoderOptions, held: tuple[Codec, ...], label: str, what: str) -> Codec:
    """The codec that an output gets: the one that is asked for, or the best that it holds.

    Args:
        options: what is asked.
        held: best first.
        label: the output, for the error.
        what: the kind of output that holds these: `.mp4`, `RTSP`.

    Raises:
        StreamOptionError: another one is asked for.
    """
    written = codecs_of(options.name)
    if options.codec != "auto":
        if written and options.codec not in written:
            raise StreamOptionError(f"encoder {options.name} writes {written[0]}, not {options.codec}")
        written = (options.codec,)
    fits = [codec for codec in held if codec in written] if written else list(held)
    if fits:
        return fits[0]
    asked = "codec" if options.codec != "auto" else f"encoder {options.name} writes"
    wanted = f"expected {' or '.join(held)}"
    raise StreamOptionError(f"{label}: {asked} {written[0]}, which {what} does not hold here: {wanted}")


def choose_encoder(task: EncoderTask) -> Encoder:
    """The best encoder that works, or the one that was named.

    Hardware encoders are tried by really encoding one frame of the task's size; software ones are
    taken when they are installed.

    Raises:
        SinkError: the named encoder does not work here, or none does; with the reason.
        StreamOptionError: the name is unknown, or of another codec.
    """
    name = task.options.name
    written = codecs_of(name)
    if written and task.codec not in written:
        raise StreamOptionError(f"encoder {name} writes {written[0]}, but {task.codec} is needed here")
    reasons: list[str] = []
    for kind in _KINDS:
        if kind.codec != task.codec or (name != "auto" and name != kind.name and name not in kind.elements):
            continue
        for element in kind.elements:
            if name in kind.elements and name != element:
                continue
            there_too = task.device == 0 and kind.name == "nvenc"  # other GPUs have elements of their own
            for one in (*[task] * there_too, replace(task, device=None)):
                fault, there = _fault_of(kind, element, one), one.device is not None
                if fault is None:
                    how = ", from the device" if there else ""
                    if kind.name == "x264" and task.hurried:
                        how = f", at its least work: {task.size[1]}x{task.size[0]} is much for these cores"
                    tell_once(f"encoder: {kind.name} ({element}){how}")  # not for each file of a row
                    log.debug("encoders not taken: %s", "; ".join(reasons))
                    return Encoder(kind.name, element, kind.launch(element, one), there)
                reasons.append(f"{kind.name}: {fault}")
    if name != "auto":
        raise SinkError(f"encoder {name} does not work here: {'; '.join(reasons)}")
    raise SinkError(f"no {task.codec} encoder works here: {'; '.join(reasons)}")


@dataclass(frozen=True, slots=True)
class EncoderState:
    """Whether an encoder works here: `fault` is None, or says why not and what to install."""

    name: str
    element: str
    codec: Codec
    hardware: bool
    fault: str | None


def survey_encoders(size: tuple[int, int] = (512, 640)) -> list[EncoderState]:
    """Every known encoder, hardware ones tried on one frame of `size` (H, W); best first."""
    found = []
    for kind in _KINDS:
        task = EncoderTask(kind.codec, size, ASSUMED_RATE, live=True)
        faults = ((element, _fault_of(kind, element, task)) for element in kind.elements)
        found += [EncoderState(kind.name, one, kind.codec, kind.hardware, fault) for one, fault in faults]
    return found


def _fault_of(kind: _Kind, element: str, task: EncoderTask) -> str | None:
    if not door.has_element(element):
        return f"{element} is not here (needs {_PACKAGES[kind.name]})"
    return encode_once(kind.launch(element, task), task.size) if kind.hardware else None


@functools.cache
def encode_once(launch: str, size: tuple[int, int]) -> str | None:
    """Encodes one black frame; the reason why not, None where it came out."""
    pipeline = Pipeline(f"{appsrc_of(size, ASSUMED_RATE)} ! {launch} ! fakesink name=coded sync=false")
    try:
        pipeline.start()
        pipeline.push("pictures", Yuv420Packer(size).pack(np.zeros(size, np.uint8)), 0, 33_333_333)
        pipeline.end("pictures", _PROBE_S)
        coded = pipeline.element("coded").get_property("last-sample")
        return None if coded is not None else "gave nothing for one frame"
    except (StreamError, TimeoutError) as error:
        return str(error)
    finally:
        pipeline.stop()

"""Chooses a video encoder that works on this machine."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from irchroma.stream.errors import SinkError, StreamError, StreamOptionError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sinks.encoder_settings import (
    ASSUMED_RATE,
    Codec,
    EncoderOptions,
    EncoderTask,
    nvenc_launch,
    openh264_launch,
    v4l2_launch,
    va_launch,
    vpx_launch,
    x264_launch,
)
from irchroma.stream.sinks.i420_packer import Yuv420Packer, appsrc_of

__all__ = [
    "ENCODER_NAMES",
    "Codec",
    "Encoder",
    "EncoderOptions",
    "EncoderState",
    "EncoderTask",
    "choose_encoder",
    "codec_of",
    "survey_encoders",
]

log = logging.getLogger(__name__)

_PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Encoder:
    """A chosen encoder.

    Attributes:
        name: the family, as the user names it.
        element: GStreamer's name.
        launch: from I420 in to coded video out, for a launch line.
    """

    name: str
    element: str
    launch: str


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    codec: Codec
    elements: tuple[str, ...]
    hardware: bool
    launch: Callable[[str, EncoderTask], str]


_KINDS = (
    _Kind("nvenc", "h264", ("nvh264enc",), True, nvenc_launch),
    _Kind("va", "h264", ("vah264enc", "vah264lpenc"), True, va_launch),
    _Kind("v4l2", "h264", ("v4l2h264enc",), True, v4l2_launch),
    _Kind("x264", "h264", ("x264enc",), False, x264_launch),
    _Kind("openh264", "h264", ("openh264enc",), False, openh264_launch),
    _Kind("vp9", "vp9", ("vp9enc",), False, vpx_launch),
    _Kind("vp8", "vp8", ("vp8enc",), False, vpx_launch),
)

ENCODER_NAMES = tuple(kind.name for kind in _KINDS)
"""Families that can be asked for by name, best first within a codec."""

_PACKAGES = {
    "x264": "gstreamer1.0-plugins-ugly",
    "openh264": "gstreamer1.0-plugins-bad",
    "va": "gstreamer1.0-plugins-bad and a VA driver",
    "nvenc": "gstreamer1.0-plugins-bad and NVIDIA's driver",
    "v4l2": "gstreamer1.0-plugins-good and a V4L2 encoder device",
    "vp8": "gstreamer1.0-plugins-good",
    "vp9": "gstreamer1.0-plugins-good",
}


def codec_of(name: str) -> Codec | None:
    """The codec of a named encoder, None for `auto`; StreamOptionError for an unknown name."""
    if name == "auto":
        return None
    for kind in _KINDS:
        if name == kind.name or name in kind.elements:
            return kind.codec
    raise StreamOptionError(f"unknown encoder {name!r}: expected auto, {', '.join(ENCODER_NAMES)}")


def choose_encoder(task: EncoderTask) -> Encoder:
    """The best encoder that works, or the one that was named.

    Hardware encoders are tried by really encoding one frame of the task's size; software ones are
    taken when they are installed.

    Raises:
        SinkError: the named encoder does not work here, or none does; with the reason.
        StreamOptionError: the name is unknown, or of another codec.
    """
    name = task.options.name
    codec = codec_of(name)
    if codec is not None and codec != task.codec:
        raise StreamOptionError(f"encoder {name} writes {codec}, but {task.codec} is needed here")
    reasons: list[str] = []
    for kind in _KINDS:
        if kind.codec != task.codec or (name != "auto" and name != kind.name and name not in kind.elements):
            continue
        for element in kind.elements:
            if name in kind.elements and name != element:
                continue
            fault = _fault_of(kind, element, task)
            if fault is None:
                log.info("encoder: %s (%s)", kind.name, element)
                log.debug("encoders not taken: %s", "; ".join(reasons))
                return Encoder(kind.name, element, kind.launch(element, task))
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
    return [
        EncoderState(
            kind.name,
            element,
            kind.codec,
            kind.hardware,
            _fault_of(kind, element, EncoderTask(kind.codec, size, ASSUMED_RATE, live=True)),
        )
        for kind in _KINDS
        for element in kind.elements
    ]


def _fault_of(kind: _Kind, element: str, task: EncoderTask) -> str | None:
    if not door.has_element(element):
        return f"{element} is not here (needs {_PACKAGES[kind.name]})"
    return _probe(kind.launch(element, task), task.size) if kind.hardware else None


@functools.cache
def _probe(launch: str, size: tuple[int, int]) -> str | None:
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

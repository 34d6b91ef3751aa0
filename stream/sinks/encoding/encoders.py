"""Video encoders: which of them works on this machine, and how each is set, for live runs and for files."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from irchroma.stream.errors import SinkError, StreamError, StreamOptionError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.cuda_memory import TO_DEVICE
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sinks.encoding.haste import hurried, usable_cores
from irchroma.stream.sinks.encoding.i420_packer import SQUARE, Yuv420Packer, appsrc_of

Codec = Literal["h264", "h265", "vp8", "vp9"]

log = logging.getLogger(__name__)
_PROBE_S = 10.0
ASSUMED_RATE = Fraction(30)
"""Frames a second, for keyframe distances and bit rates where a source does not know its own."""


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """What a user may ask of the encoder.

    Attributes:
        name: `auto`, one of `ENCODER_NAMES`, or a GStreamer element's own name.
        codec: `auto` for the encoder's, or what each output holds best: H.264, in WebM VP9; `h265` is smaller
            at the same quality, costs several times the processor's time, and not every player has it.
        quality: constant-quality target, H.264's quantizer, 0 (best) to 50.
        bitrate_kbps: target in kilobits a second; 0 for constant quality (live sinks cap it by the size).
        keyframe_s: seconds between keyframes.
        threads: of a software encoder, 0 for its own choice.
    """

    name: str = "auto"
    codec: Literal["auto", "h264", "h265", "vp8", "vp9"] = "auto"
    quality: int = 18
    bitrate_kbps: int = 0
    keyframe_s: float = 2.0
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 50:
            raise StreamOptionError(f"expected an encoder quality from 0 to 50, got {self.quality}")
        if self.bitrate_kbps < 0 or self.bitrate_kbps > 2_000_000:
            raise StreamOptionError(f"expected a bit rate from 0 to 2000000 kbit/s, got {self.bitrate_kbps}")
        if self.threads < 0:
            raise StreamOptionError(f"expected 0 or more threads of an encoder, got {self.threads}")
        if not self.keyframe_s > 0:
            raise StreamOptionError(f"expected seconds between keyframes above 0, got {self.keyframe_s:g}")


@dataclass(frozen=True, slots=True)
class EncoderTask:
    """One stream to encode.

    Attributes:
        codec: the coding that the container or protocol holds.
        size: (H, W), even.
        rate: frames per second, 0 where unknown.
        live: true for least latency, false for quality.
        device, pixel_aspect: see `VideoInfo`.
        paced: pictures come from a live source, which waits for nobody, and are kept.
    """

    codec: Codec
    size: tuple[int, int]
    rate: Fraction
    live: bool
    options: EncoderOptions = field(default_factory=EncoderOptions)
    device: int | None = None
    pixel_aspect: Fraction = SQUARE
    paced: bool = False

    @property
    def keyframe_distance(self) -> int:
        """Frames between keyframes."""
        return max(1, round(self.options.keyframe_s * float(self.rate or ASSUMED_RATE)))

    @property
    def hurried(self) -> bool:
        """Live or paced, and much for this machine; see `haste`."""
        rate = self.rate or ASSUMED_RATE
        return (self.live or self.paced) and hurried(self.size, rate, self.options.threads)

    @property
    def bitrate_kbps(self) -> int:
        """The user's, or 0.15 bit a pixel (0.3 for files): room for noisy infrared at quality 20."""
        if self.options.bitrate_kbps:
            return self.options.bitrate_kbps
        bits = (0.15 if self.live else 0.3) * self.size[0] * self.size[1] * float(self.rate or ASSUMED_RATE)
        return min(100_000, max(500, round(bits / 1000)))


def _with_known(element: str, wanted: dict[str, str]) -> str:
    """The element with those of the wanted properties that this GStreamer's version of it has."""
    return " ".join([element, *(f"{k}={v}" for k, v in wanted.items() if door.has_property(element, k))])


def x264_launch(element: str, task: EncoderTask) -> str:
    """x264: capped and lookahead-free when live, else constant quality; what it codes whole is a keyframe.

    Files' settings: bits within 1 %, PSNR within 0.1 dB of `veryfast`, for 0.70 to 0.82 of its CPU time. In a
    hurry: 0.55 to 0.6 of theirs, 0.6 dB less, bits 1.15 (1920x1080) to 1.5 times (1280x720) as many.
    """
    options, threads = task.options, task.options.threads  # no B-frames: containers then keep all durations
    speed, kept = ("ultrafast", "5:aq-mode=1") if task.hurried else ("superfast", "10:subme=2")
    wanted = {"bframes": "0", "key-int-max": str(task.keyframe_distance), "speed-preset": speed}
    words = "keyint-min=1" if task.live else f"keyint-min=1:mbtree=1:rc-lookahead={kept}"
    wanted |= {"option-string": words, **({"tune": "zerolatency"} if task.live else {})}
    wanted |= {"threads": str(threads)} if threads else {}
    if options.bitrate_kbps:
        wanted |= {"pass": "cbr", "bitrate": str(options.bitrate_kbps)}
    else:
        wanted |= {"pass": "qual", "quantizer": str(options.quality)}
        # the ceiling of constant quality, as long as there is a rate buffer
        wanted |= {"bitrate": str(task.bitrate_kbps)} if task.live else {"vbv-buf-capacity": "0"}
    return _with_known(element, wanted)


def x265_launch(element: str, task: EncoderTask) -> str:
    """x265, set as x264 is; its constant rate factor looks like the quantizer of the same number."""
    options = task.options
    words = {"bframes": "0", "repeat-headers": "1", "info": "0"}  # FFmpeg complains of that SEI
    words |= {"pools": str(options.threads)} if options.threads else {}
    if options.bitrate_kbps or task.live:
        words |= {"vbv-maxrate": str(task.bitrate_kbps), "vbv-bufsize": str(task.bitrate_kbps)}
    wanted = {"key-int-max": str(task.keyframe_distance)}
    if options.bitrate_kbps:
        wanted["bitrate"] = str(options.bitrate_kbps)
    else:
        words["crf"] = str(options.quality)
    speed, tune = ("ultrafast", "zerolatency") if task.live else ("superfast", "0")
    wanted |= {"speed-preset": speed, "tune": tune}
    wanted["option-string"] = '"' + ":".join(f"{key}={value}" for key, value in words.items()) + '"'
    return f"{_with_known(element, wanted)} ! h265parse"


def openh264_launch(element: str, task: EncoderTask) -> str:
    """OpenH264, held to fine quantizers."""
    # Its own quality mode and adaptive quantization smear a gray ramp by 4 levels (2.3.1), and it heeds
    # `qp-max` only beside a `qp-min`.
    loose = task.live or task.options.bitrate_kbps > 0
    wanted = {
        "rate-control": "bitrate",
        "bitrate": str(task.bitrate_kbps * 1000),
        "max-bitrate": str(task.bitrate_kbps * 2000),
        "gop-size": str(task.keyframe_distance),
        "complexity": "low" if task.live else "medium",
        "adaptive-quantization": "false",
        "qp-min": "8",
        "qp-max": str(min(51, max(10, task.options.quality + (16 if loose else -2)))),
    }
    return f"{_with_known(element, wanted)} ! h264parse"


def nvenc_launch(element: str, task: EncoderTask) -> str:
    """NVIDIA's encoder; from I420 of the host or, where the task has a device, from NV12 there too."""
    wanted = {"bframes": "0", "gop-size": str(task.keyframe_distance)}
    if task.live or task.options.bitrate_kbps:
        wanted |= {"rc-mode": "cbr", "bitrate": str(task.bitrate_kbps)}
    else:
        wanted |= {"rc-mode": "vbr", "const-quality": str(task.options.quality), "bitrate": "0"}
    if task.live:
        wanted |= {"preset": "low-latency-hq", "zerolatency": "true", "rc-lookahead": "0"}
    way = "video/x-raw,format=NV12" if task.device is None else TO_DEVICE
    return f"videoconvert ! {way} ! {_with_known(element, wanted)} ! {task.codec}parse"


def nvv4l2_launch(element: str, task: EncoderTask) -> str:
    """NVIDIA's encoder on Jetson, whose elements hand on memory of their own.

    Reference: NVIDIA Jetson Linux Developer Guide, Accelerated GStreamer, "Encode Examples".
    """
    wanted = dict.fromkeys(("iframeinterval", "idrinterval"), str(task.keyframe_distance))
    wanted |= {"insert-sps-pps": "true", "bitrate": str(task.bitrate_kbps * 1000)}
    wanted |= {"control-rate": "1" if task.live or task.options.bitrate_kbps else "0"}  # constant, variable
    if task.live:
        wanted |= {"maxperf-enable": "true", "preset-level": "1"}
    ours = "video/x-raw(memory:NVMM),format=NV12"
    return f"nvvidconv ! {ours} ! {_with_known(element, wanted)} ! {task.codec}parse"


def va_launch(element: str, task: EncoderTask) -> str:
    """VA-API encoders of Intel and AMD."""
    wanted = {"b-frames": "0", "key-int-max": str(task.keyframe_distance)}
    if task.live:
        wanted |= {"target-usage": "7", "ref-frames": "1"}
    if task.live or task.options.bitrate_kbps:
        wanted |= {"rate-control": "cbr", "bitrate": str(task.bitrate_kbps)}
    else:
        quality = task.options.quality
        wanted |= {"rate-control": "cqp", "qpi": str(quality), "qpp": str(quality + 2)}
    return f"videoconvert ! video/x-raw,format=NV12 ! {_with_known(element, wanted)} ! {task.codec}parse"


def v4l2_launch(element: str, task: EncoderTask) -> str:
    """Stateful encoders of small boards."""
    controls = f"controls,video_bitrate={task.bitrate_kbps * 1000},video_gop_size={task.keyframe_distance}"
    # Drivers negotiate no level by themselves (bcm2835-codec then refuses sizes above level 1).
    level = ",level=(string)4" if task.codec == "h264" else ""
    way = f'videoconvert ! {element} extra-controls="{controls}"'
    return f"{way} ! video/x-{task.codec}{level} ! {task.codec}parse"


def vpx_launch(element: str, task: EncoderTask) -> str:
    """VP8, whose streams know BT.601 alone (RFC 6386, 9.2; RTP has no word beside them), and VP9."""
    options = task.options
    wanted = {"deadline": "1", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "true"}
    wanted |= {"keyframe-max-dist": str(task.keyframe_distance)}
    wanted |= {"threads": str(options.threads or usable_cores())}
    if options.bitrate_kbps:
        wanted |= {"end-usage": "cbr", "target-bitrate": str(options.bitrate_kbps * 1000)}
    else:
        # VPx quantizers go from 0 to 63; the same number is a little finer than H.264's.
        wanted |= {"end-usage": "cq", "cq-level": str(options.quality), "min-quantizer": "2"}
        wanted |= {"max-quantizer": str(min(63, options.quality + 10)), "target-bitrate": "100000000"}
    head = "videoconvert ! video/x-raw,colorimetry=bt601 ! " if task.codec == "vp8" and task.live else ""
    return head + _with_known(element, wanted)


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
                    log.info("encoder: %s (%s)%s", kind.name, element, how)
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

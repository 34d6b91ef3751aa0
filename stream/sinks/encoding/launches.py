"""How each video encoder is set, for live runs and for files: the words of a GStreamer launch line."""

from __future__ import annotations

from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.cuda_memory import TO_DEVICE
from irchroma.stream.sinks.encoding.encoder_effort import usable_cores
from irchroma.stream.sinks.encoding.task import EncoderTask


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

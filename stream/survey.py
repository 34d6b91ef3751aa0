"""Looks at what video can do on this machine, and names the package that mends what is missing."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from irchroma.stream.errors import SourceError, StreamError
from irchroma.stream.gstreamer import cuda_memory, door
from irchroma.stream.sinks.encoding.encoders import choose_encoder, codecs_of, survey_encoders
from irchroma.stream.sinks.encoding.task import ASSUMED_RATE, Codec, EncoderOptions, EncoderTask
from irchroma.stream.sources.camera_format import choose_format, read_formats
from irchroma.stream.sources.v4l2_source import cameras, check_device


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: heading in the report.
        name: what it is.
        works: whether it does.
        needed: the main job (a file or an RTSP stream in, a file or an RTSP stream out) fails without it.
        detail: version, formats, or why it does not work.
        mend: the command that mends it, empty where there is none.
    """

    group: str
    name: str
    works: bool
    needed: bool = False
    detail: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """A use of GStreamer: all of `elements` must be there."""

    name: str
    elements: tuple[str, ...]
    package: str
    needed: bool = False


_BASE, _GOOD = "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good"
_BAD, _UGLY, _LIBAV = "gstreamer1.0-plugins-bad", "gstreamer1.0-plugins-ugly", "gstreamer1.0-libav"

_PARTS = (
    _Part("pipelines", ("appsrc", "appsink", "videoconvert", "decodebin"), _BASE, True),
    _Part("deinterlacing", ("deinterlace",), _GOOD, True),
    _Part("MP4 and MOV files", ("qtdemux", "mp4mux"), _GOOD, True),
    _Part("Matroska and WebM files", ("matroskademux", "matroskamux", "webmmux"), _GOOD, True),
    _Part("recording in segments", ("splitmuxsink",), _GOOD),
    _Part("H.264 and H.265 streams", ("h264parse", "h265parse"), _BAD, True),
    _Part("H.264 and H.265 decoders", ("avdec_h264", "avdec_h265"), _LIBAV, True),
    _Part("16-bit counts in files (FFV1)", ("avdec_ffv1", "avenc_ffv1"), _LIBAV),
    _Part("MJPEG", ("jpegdec", "jpegenc"), _GOOD),
    _Part("RTSP cameras", ("rtspsrc", "rtph264depay", "rtph264pay", "udpsrc"), _GOOD, True),
    _Part("USB cameras (V4L2)", ("v4l2src",), _GOOD),
    _Part("SRT", ("srtsrc", "srtsink", "tsdemux", "mpegtsmux"), _BAD),
    _Part("HLS", ("hlssink2",), _BAD),
    _Part("WebRTC on the page", ("webrtcbin", "nicesink", "dtlsenc", "srtpenc"), f"{_BAD} gstreamer1.0-nice"),
    _Part("window", ("autovideosink", "ximagesink"), "gstreamer1.0-x"),
)

_ENCODERS = {  # family -> (what it needs beside its element, package)
    "nvenc": ("an NVIDIA GPU and its driver's encode library", f"{_BAD} libnvidia-encode1"),
    "nvv4l2": ("the encoder of an NVIDIA Jetson", "nvidia-l4t-gstreamer"),
    "va": ("an Intel or AMD GPU and its VA driver", f"{_BAD} va-driver-all"),
    "v4l2": ("an encoder in the chip, as a Raspberry Pi 4 has", _GOOD),
    "x264": ("", _UGLY),
    "x265": ("", _BAD),
    "openh264": ("", _BAD),
    "vp8": ("", _GOOD),
    "vp9": ("", _GOOD),
}


def inspect_gstreamer() -> list[Finding]:
    """The bindings, and every use of GStreamer with the elements that it needs."""
    try:
        found = [Finding("GStreamer", "GStreamer and its Python bindings", True, True, door.version())]
    except StreamError as error:
        mend = "sudo apt-get install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0"
        return [Finding("GStreamer", "GStreamer and its Python bindings", False, True, str(error), mend)]
    for part in _PARTS:
        missing = [element for element in part.elements if not door.has_element(element)]
        detail = f"missing {', '.join(missing)}" if missing else ""
        mend = f"sudo apt-get install {part.package}" if missing else ""
        found.append(Finding("GStreamer", part.name, not missing, part.needed, detail, mend))
    found.append(_rtsp_server())
    return found


def _rtsp_server() -> Finding:
    try:
        door.extra_module("GstRtspServer")
    except StreamError:
        mend = "sudo apt-get install gir1.2-gst-rtsp-server-1.0"
        return Finding("GStreamer", "RTSP server", False, True, "missing GstRtspServer", mend)
    return Finding("GStreamer", "RTSP server", True, True)


def inspect_encoders() -> list[Finding]:
    """Every encoder; hardware ones are tried on a frame. One for H.264 is needed, whichever."""
    states = survey_encoders()
    first = next((state.element for state in states if state.fault is None and state.codec == "h264"), None)
    found = []
    for state in states:
        kind = "hardware" if state.hardware else "software"
        taken = ", taken by default" if state.element == first else ""
        needs, packages = _ENCODERS.get(state.name, ("", ""))
        if state.fault is None:
            detail, mend = f"{state.codec}, {kind}{taken}", ""
        else:
            absent = not door.has_element(state.element)
            detail = f"not here; needs {needs}" if absent and needs else state.fault
            mend = f"sudo apt-get install {packages}" if packages else ""
        found.append(Finding("encoders", state.element, state.fault is None, False, detail, mend))
    mend = "" if first else f"sudo apt-get install {_UGLY}"
    found.insert(
        0, Finding("encoders", "H.264 by any of them", first is not None, True, first or "none", mend)
    )
    return found


@functools.cache
def device_way_fault(options: EncoderOptions) -> str | None:
    """Why pictures in the memory of GPU 0 cannot go to its encoder as they lie; None where they can.

    Tried with a frame; the library for it is built where it has not been.
    """
    why = cuda_memory.fault()
    if why is not None:
        return why
    codec: Codec = "h265" if options.codec == "h265" or codecs_of(options.name) == ("h265",) else "h264"
    try:
        chosen = choose_encoder(EncoderTask(codec, (512, 640), ASSUMED_RATE, True, options, device=0))
    except StreamError as error:
        return str(error)
    return None if chosen.on_device else f"{chosen.element} does not take them"


def inspect_device_way() -> list[Finding]:
    """Whether pictures go from a GPU to its encoder without the host."""
    why = device_way_fault(EncoderOptions())
    name = "from GPU to encoder without copies"
    if why is None:
        return [Finding("encoders", name, True, False, "nvh264enc, by CUDA memory")]
    mend = f"sudo apt-get install {_BAD} libgstreamer-plugins-bad1.0-dev libnvidia-encode1"
    return [Finding("encoders", name, False, False, why, mend)]


def inspect_cameras() -> list[Finding]:
    """The cameras here, with their formats and the one that would be taken."""
    found = []
    for device in cameras():
        name = f"{device.path or 'no path'} ({device.name})"
        offered = "; ".join(dict.fromkeys(str(mode) for mode in read_formats(device.caps)))
        try:
            if device.path:
                check_device(device.path)
            chosen = str(choose_format(device.caps))
            found.append(Finding("cameras", name, True, False, f"takes {chosen}; offers {offered}"))
        except SourceError as error:
            mend = "sudo usermod -aG video $USER" if "permission" in str(error) else ""
            found.append(Finding("cameras", name, False, False, str(error), mend))
    return found or [Finding("cameras", "V4L2 cameras", True, False, "none attached")]

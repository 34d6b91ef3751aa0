"""The mode that is taken of what cameras offer: caps after their documentation, as `v4l2src` writes them."""

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, SourceFormatError, StreamOptionError
from irchroma.stream.gstreamer.sample import Caps, Sample
from irchroma.stream.sources.camera_format import CameraOptions, choose_format, read_formats
from irchroma.stream.sources.v4l2_source import V4l2Source, cameras, check_device, counts_below

_TAIL = "pixel-aspect-ratio=(fraction)1/1"


def raw(name: str, width: int, height: int, rate: int) -> str:
    size = f"width=(int){width}, height=(int){height}"
    return f"video/x-raw, format=(string){name}, {size}, {_TAIL}, framerate=(fraction){rate}/1"


LEPTON = (  # PureThermal 2 with a Lepton 3.5
    raw("UYVY", 160, 120, 9),
    raw("GRAY16_LE", 160, 120, 9),
    raw("GRAY16_LE", 160, 122, 9),
    raw("GRAY8", 160, 120, 9),
    raw("RGB16", 160, 120, 9),
    raw("BGR", 160, 120, 9),
)
BOSON = (
    raw("I420", 640, 512, 60),
    raw("NV12", 640, 512, 60),
    raw("GRAY16_LE", 640, 512, 60),
)
WEBCAM = (
    f"video/x-raw, format=(string)YUY2, width=(int)1280, height=(int)720, {_TAIL},"
    " framerate=(fraction){ 10/1, 5/1 }",
    f"video/x-raw, format=(string)YUY2, width=(int)640, height=(int)480, {_TAIL},"
    " framerate=(fraction){ 30/1, 15/1 }",
    f"image/jpeg, width=(int)1280, height=(int)720, {_TAIL}, framerate=(fraction)30/1",
)
MJPEG_ONLY = (
    f"image/jpeg, width=(int)1920, height=(int)1080, {_TAIL}, framerate=(fraction){{ 30/1, 15/1 }}",
)
TC001 = (
    raw("YUY2", 256, 384, 25),
    raw("YUY2", 256, 192, 25),
)
RANGES = (
    "video/x-raw, format=(string){ YUY2, GRAY8 }, width=(int)[ 16, 1920, 2 ], height=(int)[ 16, 1080 ],"
    " framerate=(fraction)[ 0/1, 2147483647/1 ]",
)


@pytest.mark.parametrize(
    ("caps", "chosen"),
    [
        (LEPTON, "GRAY16_LE 160x120 at 9 Hz"),
        (BOSON, "GRAY16_LE 640x512 at 60 Hz"),
        (WEBCAM, "YUY2 640x480 at 30 Hz"),
        (MJPEG_ONLY, "JPEG 1920x1080 at 30 Hz"),
        (TC001, "YUY2 256x384 at 25 Hz, counts below the picture"),
        (RANGES, "GRAY8 1920x1080"),
    ],
)
def test_most_of_the_sensor_is_taken(caps: tuple[str, ...], chosen: str) -> None:
    assert str(choose_format(caps)) == chosen


def test_what_is_asked_for_is_taken_or_refused_with_what_there_is() -> None:
    assert str(choose_format(WEBCAM, CameraOptions(format="MJPG"))) == "JPEG 1280x720 at 30 Hz"
    assert str(choose_format(WEBCAM, CameraOptions(width=1280, height=720))) == "YUY2 1280x720 at 10 Hz"
    assert str(choose_format(LEPTON, CameraOptions(width=160, height=122))) == "GRAY16_LE 160x122 at 9 Hz"
    assert str(choose_format(BOSON, CameraOptions(format="nv12", rate=60))) == "NV12 640x512 at 60 Hz"
    assert str(choose_format(TC001, CameraOptions(counts_below="never"))) == "YUY2 256x384 at 25 Hz"
    with pytest.raises(SourceFormatError, match="the camera offers: JPEG 1920x1080 at 30 Hz; JPEG"):
        choose_format(MJPEG_ONLY, CameraOptions(format="Y16"))
    with pytest.raises(SourceFormatError, match="nothing that can be read"):
        choose_format(("video/x-bayer, format=(string)grbg, width=(int)64, height=(int)64",))
    with pytest.raises(StreamOptionError, match="both width and height"):
        CameraOptions(width=640)


def test_a_mode_is_written_as_caps() -> None:
    assert choose_format(BOSON).caps == (
        "video/x-raw,format=(string)GRAY16_LE,width=(int)640,height=(int)512,framerate=(fraction)60/1"
    )
    assert choose_format(MJPEG_ONLY).caps.startswith("image/jpeg,width=(int)1920")
    assert "framerate" not in choose_format(RANGES).caps
    assert {mode.rate for mode in read_formats(WEBCAM)} == {Fraction(n) for n in (5, 10, 15, 30)}


def test_counts_below_the_picture_are_taken_word_by_word() -> None:
    counts = np.arange(192 * 256, dtype=np.uint16).reshape(192, 256)
    data = np.concatenate([np.full(192 * 512, 90, np.uint8), counts.astype("<u2").view(np.uint8).reshape(-1)])
    caps = Caps("YUY2", (384, 256), Fraction(25), (512,), (0,), False, "bt601")
    np.testing.assert_array_equal(counts_below(Sample(data, caps, 0, 0), 192), counts)
    with pytest.raises(SourceError, match="192 rows of counts"):
        counts_below(Sample(data[:-600], caps, 0, 0), 192)


def test_an_absent_device_is_named_with_what_is_there() -> None:
    with pytest.raises(SourceError, match=r"/dev/video98: no such device: (there are|no camera)"):
        check_device("/dev/video98")
    with pytest.raises(SourceError, match=r"^/dev/video98: no such device"):
        V4l2Source("/dev/video98").open()
    with pytest.raises(SourceError, match="is not a device"):
        check_device(__file__)


@pytest.mark.gst
def test_looking_for_cameras_never_fails() -> None:
    assert isinstance(cameras(), list)


CODED = """
import sys
from dataclasses import replace
from irchroma.stream.errors import SourceError
from irchroma.stream.sources import v4l2_source

CAPS = "video/x-h264, width=(int)64, height=(int)48, framerate=(fraction)10/1"
v4l2_source.offered_caps = lambda path: (CAPS,)

class Recorded(v4l2_source.V4l2Source):
    def plan(self):
        plan = super().plan()
        launch = plan.launch.replace("v4l2src name=camera", "filesrc name=camera ! matroskademux ! h264parse")
        files = {"camera": {"location": sys.argv[1]}, "mode": {"caps": "video/x-h264"}}
        return replace(plan, launch=launch, properties=files)

source = Recorded("/dev/video0")
units = []
source.give_units(lambda unit, first: units.append(first))
try:
    source.open()
    print("opened", source.read(5).pixels.dtype, units[0])
except SourceError as error:
    print(type(error).__name__, error)
source.close()
"""
"""A camera that codes its pictures, played from a file."""


@pytest.mark.gst
@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("yuv420p", "opened uint8 True"),
        ("gray10le", "SourceFormatError /dev/video0: GStreamer cannot decode H.264 of 10-bit gray"),
    ],
)
def test_pictures_that_a_camera_codes_are_decoded_as_a_file_s(layout: str, said: str, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the camera's pictures are made with ffmpeg")
    clip = tmp_path / "camera.mkv"
    made = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=3", "-pix_fmt", layout, str(clip))
    subprocess.run(["ffmpeg", "-v", "error", *made], check=True, timeout=60)
    words = [sys.executable, "-c", CODED, str(clip)]  # in a process of its own, which such pictures ended
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert said in done.stdout, done.stderr
    assert done.returncode == 0

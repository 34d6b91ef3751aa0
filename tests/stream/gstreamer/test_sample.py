"""What caps of raw video say."""

import pytest

from irchroma.stream.gstreamer.door import modules
from irchroma.stream.gstreamer.sample import caps_of

pytestmark = pytest.mark.gst


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("format=GRAY8", True),
        ("format=GRAY8,colorimetry=(string)0:4:0:0", True),  # avdec_mjpeg of GStreamer 1.26, of gray JPEG
        ("format=GRAY8,colorimetry=(string)1:0:0:0", True),
        ("format=GRAY8,colorimetry=(string)2:4:0:0", False),
        ("format=I420", False),
        ("format=I420,colorimetry=(string)0:4:0:0", False),
        ("format=I420,colorimetry=(string)1:4:0:0", True),
    ],
)
def test_gray_of_an_unknown_range_is_full_and_ycbcr_is_limited(said: str, full: bool) -> None:
    caps = modules()["Gst"].Caps.from_string(f"video/x-raw,width=64,height=48,{said}")
    assert caps_of(caps).full_range == full

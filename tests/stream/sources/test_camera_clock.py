"""The times that a camera's sender reports give to its pictures."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from irchroma.stream.gstreamer import door
from irchroma.stream.sources.rtsp_source import CameraClock

pytestmark = pytest.mark.gst
_UNKNOWN = 2**64 - 1  # GST_CLOCK_TIME_NONE


def report(
    seconds: int = 3_908_988_800, first: int = 90_000, first_ns: int = 2_000_000_000, at: int = 180_000
) -> Any:
    """What rtpjitterbuffer tells of a report of half a second after `seconds` of the camera's clock."""
    sent = struct.pack(">BBHIIIIII", 0x80, 200, 6, 1, seconds, 1 << 31, 90_000, 0, 0)
    return door.modules()["Gst"].Structure.new_from_string(
        f"told, base-rtptime=(guint64){first}, base-time=(guint64){first_ns}, clock-rate=(uint)90000,"
        f" sr-ext-rtptime=(guint64){at}, sr-buffer=(buffer){sent.hex()}"
    )


@pytest.mark.parametrize(("seconds", "known"), [(3_908_988_800, True), (0, False), (90, False)])
def test_a_camera_without_a_clock_says_nothing(seconds: int, known: bool) -> None:
    told = report(seconds)
    clock = CameraClock()
    clock._reported(None, told)  # 90,000 ticks after what came at 2 s
    told.remove_field("sr-buffer")
    clock._reported(None, told)
    assert clock.at(3_000_000_000) == (1_700_000_000_500_000_000 if known else 0)


@pytest.mark.parametrize("lost", ["first", "first_ns", "at"])
def test_a_report_just_after_the_packets_began_anew_changes_no_time(lost: str) -> None:
    clock = CameraClock()
    clock._reported(None, report(**{lost: _UNKNOWN}))
    assert clock.at(3_000_000_000) == 0
    clock._reported(None, report())
    clock._reported(None, report(**{lost: _UNKNOWN}))  # 6.5 million years away, were it a number
    assert clock.at(3_000_000_000) == 1_700_000_000_500_000_000

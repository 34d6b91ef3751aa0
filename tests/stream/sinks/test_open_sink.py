from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.sinks.files.file_sink import FileSink
from irchroma.stream.sinks.files.hls_sink import HlsSink
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink
from irchroma.stream.sinks.http.sink import HttpSink
from irchroma.stream.sinks.null_sink import NullSink
from irchroma.stream.sinks.open_sink import SinkOptions, is_recording, open_sink, public
from irchroma.stream.sinks.rtsp.sink import RtspSink
from irchroma.stream.sinks.srt_sink import SrtSink
from irchroma.stream.sinks.v4l2_sink import V4l2Sink
from irchroma.stream.sinks.window_sink import WindowSink
from irchroma.stream.sources.addresses import masked


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("out.mp4", FileSink),
        ("OUT.MKV", FileSink),
        ("a b:c.webm", FileSink),
        ("file:///tmp/out.mp4", FileSink),
        ("rtsp://:8554/cam", RtspSink),
        ("srt://:7001", SrtSink),
        ("srt://receiver:7001?latency=80&streamid=x", SrtSink),
        ("http://:8080", HttpSink),
        ("http://127.0.0.1:8080/", HttpSink),
        ("hls:web", HlsSink),
        ("hls:gate.mp4", HlsSink),
        ("web/cam.m3u8", HlsSink),
        ("/dev/video9", V4l2Sink),
        ("v4l2:/dev/video9", V4l2Sink),
        ("window", WindowSink),
        ("null", NullSink),
        ("null:", NullSink),
    ],
)
def test_what_the_user_types_names_a_sink(text: str, kind: type) -> None:
    assert type(open_sink(text)) is kind
    assert is_recording(text) == (kind is FileSink)


def test_recording_by_time_and_lossless_recording_are_rows_of_files() -> None:
    assert isinstance(open_sink("out.mp4", SinkOptions(segment_s=60)), SegmentedSink)
    assert isinstance(open_sink("raw.mkv", SinkOptions(lossless=True)), SegmentedSink)


def test_an_rtsp_address_is_taken_apart() -> None:
    sink = open_sink("rtsp://ada:p%40ss@127.0.0.1:9000/hall/east")
    assert isinstance(sink, RtspSink)
    address = sink.address
    assert (address.host, address.port, address.name) == ("127.0.0.1", 9000, "hall/east")
    assert (address.user, address.password) == ("ada", "p@ss")
    default = open_sink("rtsp:///cam")
    assert isinstance(default, RtspSink)
    assert (default.address.host, default.address.port) == ("", 8554)


def test_an_hls_playlist_keeps_the_name_it_was_given() -> None:
    sink = open_sink("web/cam.m3u8")
    assert isinstance(sink, HlsSink)
    assert sink.playlist == Path("web/cam.m3u8")


def test_how_far_back_an_hls_folder_goes_is_a_setting() -> None:
    with pytest.raises(StreamError, match=r"3 or more of them, got 4 s, 2$"):
        open_sink("hls:web", SinkOptions(hls_segment_s=4, hls_keep=2))
    assert isinstance(open_sink("hls:web", SinkOptions(hls_segment_s=4, hls_keep=900)), HlsSink)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("out.avi", r"out.avi: nothing is known to write there: expected a file \(.mp4, .mkv, .webm\)"),
        ("out", "nothing is known to write there"),
        ("", "nothing is known to write there"),
        ("8080", r"did you mean http://:8080\?"),
        (":8080", r"did you mean http://:8080\?"),
        ("rstp://:8554/cam", r"cannot write to rstp: \(did you mean rtsp:\?\)"),
        ("udp://1.2.3.4:5000", "cannot write to udp:"),
        ("rtsp://:8554/", "the stream needs a name"),
        ("rtsp://:99999/cam", "expected an address like rtsp://:8554$"),
        ("rtsp://::1:8554/x", r"like rtsp://:8554 \(an IPv6 address .* brackets: rtsp://\[::1\]:8554\)$"),
        ("http://ada:secret@::1:8080", r"brackets: http://\[::1\]:8080\)$"),
        ("srt://fe80::1", r"brackets: srt://\[fe80::1\]\)$"),
        ("rtsp://ada@:8554/cam", "both a user and a password"),
        ("srt://receiver", "expected a port"),
        ("srt://:7001?mode=caller", "mode=caller and a host"),
        ("srt://:7001?latancy=3", "unknown setting 'latancy'"),
        ("srt://:7001?latency=soon", "milliseconds, got 'soon'"),
        ("srt://:7001?passphrase=short", "10 to 79 characters, got 5"),
        ("http://:8080/live", "without a path"),
        ("http://ada@:8080", "both a user and a password"),
    ],
)
def test_what_is_no_sink_is_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(StreamError, match=says) as caught:
        open_sink(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://ada:se/cret@:8554/cam", "rtsp://"),
        ("rtsp://ada:secret@:8554/cam", "rtsp://:8554/cam"),
        ("srt://:7001?passphrase=secretsecret&latency=5", "srt://:7001?passphrase=***&latency=5"),
        ("out.mp4", "out.mp4"),
    ],
)
def test_passwords_are_never_shown(text: str, shown: str) -> None:
    assert "cret" not in public(text)
    assert public(text).startswith(shown)
    if "secret@" in text:
        with pytest.raises(SinkError) as caught:
            open_sink(text.replace("/cam", ""))
        assert "cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["srt://[::1]:7001", "srt://192.0.2.1:7001", "srt://:7001"])
def test_srt_is_told_the_address_as_it_was_given(text: str) -> None:
    """Brackets included: without them the last part of an IPv6 address would be its port."""
    sink = open_sink(text)
    assert sink.label == text
    assert sink._tail(Fraction(30), (64, 48)).properties["srt"]["uri"].startswith(f"{text}?mode=")


def test_no_secret_of_an_address_is_shown() -> None:
    assert public("http://user:pw@:8080?token=abc&x=1") == "http://:8080?token=***&x=1"
    assert public("srt://h:1?passphrase=longenough&streamid=a") == "srt://h:1?passphrase=***&streamid=a"
    told = "http://cam:81/v.cgi?user=***&pwd=***&rate=5&loginuse=***&loginpas=***&usepath=1"
    assert public(told.replace("***", "hidden")) == told == masked(told.replace("***", "hidden"))

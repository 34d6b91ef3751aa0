"""HLS, SRT, window, loopback device and page on loopback addresses and temporary folders."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.stream.sinks.feeding import fed
from tests.waiting import free_port, wait_for

from irchroma.stream.errors import SinkError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.files.hls_sink import HlsSink
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions
from irchroma.stream.sinks.srt_sink import SrtAddress, SrtSink
from irchroma.stream.sinks.v4l2_sink import V4l2Sink
from irchroma.stream.sinks.window_sink import WindowSink

pytestmark = pytest.mark.gst

SIZE = (64, 256)
LIVE = VideoInfo(SIZE, Fraction(50), live=True)
FILE = VideoInfo(SIZE, Fraction(10), live=False)


def record_hls(sink: HlsSink, info: VideoInfo, seconds: int, picture: np.ndarray) -> None:
    sink.open(info, SIZE)
    for number in range(seconds * 10):
        sink.write(picture, number * 100_000_000, 100_000_000)
    sink.close()


def check_playlist(path: Path) -> list[Path]:
    """Segments of a media playlist by RFC 8216: 4.3.3.1, every EXTINF rounded is at most the target."""
    lines = path.read_text(encoding="utf-8").split()
    assert lines[0] == "#EXTM3U"
    target = next(int(line.split(":")[1]) for line in lines if line.startswith("#EXT-X-TARGETDURATION"))
    lengths = [float(line[8:].rstrip(",")) for line in lines if line.startswith("#EXTINF")]
    assert max(round(length) for length in lengths) <= target
    segments = [path.parent / line for line in lines if not line.startswith("#")]
    assert len(segments) == len(lengths)
    assert all(segment.stat().st_size for segment in segments)
    return segments


def test_hls_of_a_file_names_every_segment_and_a_gray_ramp_comes_back(
    tmp_path: Path, read_back: Callable, gray_ramp: np.ndarray
) -> None:
    folder = tmp_path / "new" / "100%d"
    record_hls(HlsSink(folder, segment_s=1), FILE, 9, gray_ramp)
    segments = check_playlist(folder / "live.m3u8")
    assert len(segments) == 9
    assert "#EXT-X-ENDLIST" in (folder / "live.m3u8").read_text()
    shown = 0
    for segment in segments:
        back = read_back("filesrc name=in ! decodebin", location=str(segment))
        shown += len(back.rgb)
        assert (back.caps.full_range, back.caps.matrix) == (False, "bt709")
        assert np.abs(back.rgb[-1].mean(axis=0) - gray_ramp[0]).max() <= 2
    assert shown == 90


def test_hls_of_a_camera_deletes_what_is_old(tmp_path: Path, gray_ramp: np.ndarray) -> None:
    (tmp_path / "segment00077.ts").write_bytes(b"of an earlier run")
    (tmp_path / "mine.txt").write_bytes(b"not ours")
    live = VideoInfo(SIZE, Fraction(10), live=True)
    record_hls(HlsSink(tmp_path, segment_s=1, keep=3), live, 12, gray_ramp)
    segments = check_playlist(tmp_path / "live.m3u8")
    assert len(segments) == 3
    assert "#EXT-X-MEDIA-SEQUENCE:9" in (tmp_path / "live.m3u8").read_text()
    assert len(list(tmp_path.glob("*.ts"))) <= 5
    assert not (tmp_path / "segment00077.ts").exists()
    assert (tmp_path / "mine.txt").exists()


def dates_of(playlist: Path) -> list[float]:
    """Seconds since 1970 of each segment of a playlist, of which every one has a date (RFC 8216, 4.3.2.6)."""
    lines = playlist.read_text(encoding="utf-8").splitlines()
    named = [number for number, line in enumerate(lines) if line.endswith(".ts")]
    dates = [lines[number - 2].partition("PROGRAM-DATE-TIME:")[2] for number in named]
    return [datetime.fromisoformat(date).timestamp() for date in dates]


@pytest.mark.parametrize("pool", [None, EncoderPool()])
def test_hls_of_a_camera_has_the_camera_s_own_time(
    tmp_path: Path, gray_ramp: np.ndarray, pool: EncoderPool | None
) -> None:
    sink = HlsSink(tmp_path, segment_s=1, keep=8, pool=pool)
    sink.open(VideoInfo(SIZE, Fraction(10), live=True), SIZE)
    begun_s, jump_s = 1_700_000_000.25, 3600.0
    for number in range(60):
        picture = Picture(gray_ramp)
        taken_s = begun_s + number / 10 + (jump_s if number >= 40 else 0)  # its clock is put right
        picture.taken_ns = round(taken_s * 1e9)
        sink.write(picture, 5_000_000_000 + number * 100_000_000, 100_000_000)
    sink.close()
    dates = dates_of(tmp_path / "live.m3u8")
    assert len(check_playlist(tmp_path / "live.m3u8")) == 6
    assert dates == pytest.approx([begun_s + n + (jump_s if n >= 4 else 0) for n in range(6)], abs=0.06)
    assert "#EXT-X-ENDLIST" in (tmp_path / "live.m3u8").read_text(encoding="utf-8")


def test_hls_of_a_camera_without_a_clock_has_this_machine_s_time(
    tmp_path: Path, gray_ramp: np.ndarray
) -> None:
    begun_s = time.time()
    record_hls(HlsSink(tmp_path, segment_s=1, keep=3), VideoInfo(SIZE, Fraction(10), live=True), 5, gray_ramp)
    dates = dates_of(tmp_path / "live.m3u8")
    assert len(dates) == 3
    assert all(begun_s - 5 <= date <= time.time() + 5 for date in dates)


def test_hls_streams_of_one_picture_end_in_order(tmp_path: Path, gray_ramp: np.ndarray) -> None:
    for number in range(20):
        sink = HlsSink(tmp_path / str(number))
        sink.open(LIVE, SIZE)
        sink.write(gray_ramp, 0, 20_000_000)
        sink.close()
        assert "#EXT-X-ENDLIST" in sink.playlist.read_text()
        assert len(list(sink.folder.glob("*.ts"))) == 1


def test_hls_into_something_that_is_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/hls")):
        with pytest.raises(SinkError, match=rf"^hls:{folder}: (file exists|not a dir|no such|permission)"):
            HlsSink(folder).open(LIVE, SIZE)


def test_hls_leaves_a_folder_alone_that_another_run_writes_to(tmp_path: Path, gray_ramp: np.ndarray) -> None:
    first = HlsSink(tmp_path)
    first.open(LIVE, SIZE)
    first.write(gray_ramp, 0, 20_000_000)
    (tmp_path / "segment00077.ts").write_bytes(b"of the first")
    with pytest.raises(SinkError, match=rf"^hls:{tmp_path}: another run writes there: give it a folder of"):
        HlsSink(tmp_path).open(LIVE, SIZE)
    assert (tmp_path / "segment00077.ts").exists()
    first.close()
    record_hls(HlsSink(tmp_path), LIVE, 1, gray_ramp)
    assert "#EXT-X-ENDLIST" in (tmp_path / "live.m3u8").read_text(encoding="utf-8")


def test_srt_reaches_a_receiver_that_calls(read_back: Callable, gray_ramp: np.ndarray) -> None:
    port = free_port(socket.SOCK_DGRAM)
    sink = SrtSink(SrtAddress("127.0.0.1", port, caller=False, passphrase="longenough"))
    sink.open(LIVE, SIZE)
    with fed(sink, gray_ramp, rate=50, began_ns=0):
        back = read_back(
            "srtsrc name=in ! tsdemux ! h264parse ! decodebin",
            10,
            uri=f"srt://127.0.0.1:{port}?mode=caller",
            passphrase="longenough",
        )
    assert (back.caps.full_range, back.caps.matrix) == (False, "bt709")
    assert np.abs(back.rgb[-1].mean(axis=0) - gray_ramp[0]).max() <= 2


def test_an_srt_caller_waits_for_its_receiver(read_back: Callable, gray_ramp: np.ndarray) -> None:
    port = free_port(socket.SOCK_DGRAM)
    sink = SrtSink(SrtAddress("127.0.0.1", port, caller=True))
    sink.open(LIVE, SIZE)
    with fed(sink, gray_ramp, rate=50, began_ns=0):
        deadline = time.monotonic() + 10
        while not sink.drops:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
        back = read_back(
            "srtsrc name=in ! tsdemux ! h264parse ! decodebin",
            10,
            uri=f"srt://127.0.0.1:{port}?mode=listener",
        )
    assert len(back.rgb) == 10


@pytest.mark.parametrize("passphrase", ["", "longenough"])
def test_an_srt_receiver_that_is_silent_may_refuse_what_was_told_to_it(passphrase: str) -> None:
    """It says nothing to who has another passphrase."""
    port = free_port(socket.SOCK_DGRAM)
    sink = SrtSink(SrtAddress("127.0.0.1", port, caller=True, passphrase=passphrase))
    sink.open(LIVE, SIZE)
    black = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(SinkError, match="does not answer") as caught, fed(sink, black, rate=50):
        wait_for(lambda: sink.away)
    assert ("or refuses this passphrase" in str(caught.value)) == bool(passphrase)


def test_an_srt_port_that_is_taken_is_one_clear_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"^srt://127.0.0.1:{port}: cannot bind") as caught:
            SrtSink(SrtAddress("127.0.0.1", port, caller=False)).open(LIVE, SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_dead_display_is_found_before_any_video_sink_is_tried(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, ":987")
    with pytest.raises(SinkError, match=rf"^window: the display does not answer \({variable}=:987\)"):
        WindowSink().open(LIVE, SIZE)


def test_a_window_without_a_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match="there is no display here"):
        WindowSink().open(LIVE, SIZE)


def test_a_display_that_does_not_answer_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(SinkError, match=r"^window: ") as caught:
        WindowSink("ximagesink").open(LIVE, SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.alone
def test_a_file_is_shown_at_its_own_speed(monkeypatch: pytest.MonkeyPatch, gray_ramp: np.ndarray) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    sink = WindowSink("fakesink")
    sink.open(FILE, SIZE)
    start = time.monotonic()
    for number in range(6):
        sink.write(gray_ramp, number * 100_000_000, 100_000_000)
    sink.close()
    assert 0.45 < time.monotonic() - start < 2
    assert sink.drops == 0


def test_a_loopback_device_that_is_absent_or_no_device_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"/dev/video97: there is no such device.*v4l2loopback video_nr=97"):
        V4l2Sink(Path("/dev/video97")).open(LIVE, SIZE)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="is not a video device"):
        V4l2Sink(tmp_path / "file").open(LIVE, SIZE)
    with pytest.raises(SinkError, match=r"^/dev/null: is not a video device, .*null takes pictures"):
        V4l2Sink(Path("/dev/null")).open(LIVE, SIZE)


@contextmanager
def served(picture: np.ndarray, **options: object) -> Iterator[HttpSink]:
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions(**options))
    sink.open(LIVE, SIZE)
    with fed(sink, picture, rate=50, began_ns=0):
        yield sink


@contextmanager
def get(sink: HttpSink, path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=10)
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def next_jpeg(stream: http.client.HTTPResponse) -> np.ndarray:
    length = 0
    while line := stream.readline().strip() or not length:
        if isinstance(line, bytes) and line.lower().startswith(b"content-length"):
            length = int(line.split(b":")[1])
    return cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.alone
def test_the_page_shows_title_picture_and_figures() -> None:
    red = np.zeros((*SIZE, 3), np.uint8)
    red[:] = (200, 40, 30)
    with served(red, title="gate <blink>", stats=lambda: {"engine": "ironbow"}) as sink:
        with get(sink, "/") as answer:
            page = answer.read().decode()
        assert "gate &lt;blink&gt;" in page
        assert "<blink>" not in page
        namespace = "http://www.w3.org/2000/svg"  # a name, which no browser asks for
        assert not re.search(r"https?://", page.replace(namespace, ""))
        with get(sink, "/snapshot.jpg") as answer:
            picture = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (*SIZE, 3)
        assert np.abs(picture[..., ::-1].mean((0, 1)) - (200, 40, 30)).max() < 4
        with get(sink, "/live.mjpg") as stream:
            for _ in range(20):
                assert next_jpeg(stream).shape == (*SIZE, 3)
            with get(sink, "/stats.json") as answer:
                figures = json.loads(answer.read())
        assert figures["engine"] == "ironbow"
        assert figures["viewers"] == 1
        assert figures["width"] == 256
        assert 25 < figures["fps"] < 75
        with get(sink, "/else") as answer:
            assert answer.status == 404
            answer.read()


@pytest.mark.alone
def test_a_viewer_that_does_not_read_sees_fewer_pictures_and_slows_nobody() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    with served(noise) as sink:
        stuck = socket.create_connection(("127.0.0.1", sink.port), timeout=10)
        stuck.sendall(b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with get(sink, "/live.mjpg") as stream:
            start = time.monotonic()
            for _ in range(60):
                next_jpeg(stream)
            assert time.monotonic() - start < 4
        stuck.close()


def test_a_page_on_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"^http: cannot listen on 127.0.0.1:{port}: .* in use, [^(]*$"):
            HttpSink("127.0.0.1", port).open(LIVE, SIZE)


@pytest.mark.alone
def test_closing_the_page_lets_its_viewers_go(gray_ramp: np.ndarray) -> None:
    sink = HttpSink("127.0.0.1", 0)
    sink.open(LIVE, SIZE)
    sink.write(gray_ramp, 0, 20_000_000)
    with get(sink, "/live.mjpg") as stream:
        next_jpeg(stream)
        start = time.monotonic()
        sink.close()
        sink.close()
        assert not stream.read().strip()
    assert time.monotonic() - start < 2

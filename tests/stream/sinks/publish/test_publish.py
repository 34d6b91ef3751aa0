"""Published into servers that are other programs: GStreamer's over RTSP, aiortc's over WHIP."""

from __future__ import annotations

import http.server
import logging
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.stream.sinks import feeding
from tests.stream.sinks.http.test_encrypted import certificate
from tests.waiting import free_port, wait_for

from irchroma.stream.errors import SinkError
from irchroma.stream.loop.writer import SinkWriter, Timed
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.open_sink import open_sink, pool_for, public, sink_place, takes_planes
from irchroma.stream.sinks.publish import whip
from irchroma.stream.sinks.publish.calling import CallingSink
from irchroma.stream.sinks.publish.rtsp_record import RtspRecordSink
from irchroma.stream.sinks.publish.whip import WhipSink

pytestmark = pytest.mark.gst

HERE = Path(__file__).parent
SIZE = (96, 160)
LIVE = VideoInfo(SIZE, Fraction(25), live=True)
PICTURE = np.full((*SIZE, 3), (180, 90, 40), np.uint8)


class Server:
    """A server of another program, and what it says."""

    def __init__(self, script: str, *words: str) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        wait_for(lambda: "ready" in self.lines)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(line.strip())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def server(script: str, *words: str) -> Iterator[Server]:
    running = Server(script, *words)
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def fed(sink: FrameSink) -> Iterator[None]:
    """Opened, and given 25 pictures a second."""
    sink.open(LIVE, SIZE)
    with feeding.fed(sink, PICTURE):
        yield


@contextmanager
def noted(wrong: list[BaseException]) -> Iterator[None]:
    """What is raised in it, which a failure on the way out would hide."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 (it is raised again)
        wrong.append(error)


@contextmanager
def fed_in_vain(sink: FrameSink) -> Iterator[None]:
    """The same, of one that nobody ever answers: it fails at its end."""
    wrong: list[BaseException] = []
    with pytest.raises(SinkError, match="it got nothing of this run"), fed(sink), noted(wrong):
        yield
    if wrong:
        raise wrong[0]


def pictures_of(file: Path) -> list[np.ndarray]:
    """Decoded by FFmpeg, as R'G'B' (H, W, 3)."""
    words = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    size = SIZE[0] * SIZE[1] * 3
    return [
        np.frombuffer(done.stdout[at : at + size], np.uint8).reshape(*SIZE, 3)
        for at in range(0, len(done.stdout) - size + 1, size)
    ]


def grown(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size > size


def test_a_stream_is_recorded_by_another_server_which_asks_for_a_password(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "recorded.h264"
    sink = open_sink(f"publish+rtsp://ada:p%40ss@127.0.0.1:{port}/cam/east")
    assert isinstance(sink, RtspRecordSink)
    with server("record_server.py", str(port), str(file), "ada", "p@ss"), fed(sink):
        wait_for(lambda: grown(file, 4000))
        assert sink.away == ""
    shown = pictures_of(file)
    assert len(shown) >= 10
    assert np.abs(shown[-1].reshape(-1, 3).mean(axis=0) - (180, 90, 40)).max() <= 3


def test_a_server_that_dies_and_comes_back_gets_the_stream_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port, first, second = free_port(), tmp_path / "first.h264", tmp_path / "second.h264"
    sink = open_sink(f"publish+rtsp://127.0.0.1:{port}/cam/east")
    assert isinstance(sink, CallingSink)
    caplog.set_level(logging.INFO)
    with fed(sink):
        wait_for(lambda: sink.away)  # nobody is there yet
        assert "does not answer" in sink.away
        with server("record_server.py", str(port), str(first)):
            wait_for(lambda: grown(first, 2000))
        wait_for(lambda: sink.away)
        assert "has gone away" in sink.away
        with server("record_server.py", str(port), str(second)):
            wait_for(lambda: grown(second, 2000))
    assert len(pictures_of(second)) >= 5
    told = [record.message for record in caplog.records if "calling again" in record.message]
    assert len(told) == 2, told


def test_a_wrong_password_is_said_and_is_the_state_of_the_output(tmp_path: Path) -> None:
    port = free_port()
    sink = open_sink(f"publish+rtsp://ada:wrong@127.0.0.1:{port}/cam/east")
    with server("record_server.py", str(port), str(tmp_path / "none"), "ada", "right"):
        writer = SinkWriter(sink, "label")
        writer.open(LIVE, SIZE)
        with fed_in_vain(sink):
            wait_for(lambda: writer.state.startswith("lost: "))
            assert "refuses us: expected its user and password" in writer.state
            assert "wrong" not in writer.state


@pytest.mark.parametrize("scheme", ["publish+rtsp", "whip+http", "srt"])
def test_a_live_run_none_of_whose_pictures_went_anywhere_fails(scheme: str) -> None:
    """It goes on calling for as long as it runs, and is no success at its end."""
    place = f"{scheme}://127.0.0.1:{free_port()}" + ("" if scheme == "srt" else "/cam")
    writer = SinkWriter(open_sink(place), place)
    writer.open(LIVE, SIZE)
    for number in range(5):
        writer.put(Timed(Picture.of(PICTURE), number * 40_000_000, 40_000_000))
    wait_for(lambda: writer.written)
    assert writer.failure is None
    writer.finish()
    assert str(writer.failure).startswith(f"{place}: ")
    assert str(writer.failure).endswith("it got nothing of this run")


def test_what_the_sink_before_has_sent_counts_for_one_that_was_made_in_its_place() -> None:
    place = f"srt://127.0.0.1:{free_port()}"
    before, after = open_sink(place), open_sink(place)
    assert isinstance(before, CallingSink)
    assert isinstance(after, CallingSink)
    before.answered = True
    after.follow(before)
    with fed(after):
        wait_for(lambda: after.drops)


def test_one_that_was_made_in_its_place_asks_nothing_of_a_sink_that_may_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = f"srt://127.0.0.1:{free_port()}"
    before, after = open_sink(place), open_sink(place)
    assert isinstance(before, CallingSink)
    assert isinstance(after, CallingSink)
    asked: list[bool] = []
    monkeypatch.setattr(before, "_reached", lambda: asked.append(True))
    after.follow(before)
    assert not asked
    assert not after.answered


def test_a_picture_for_a_server_over_webrtc_that_has_gone_silent_is_one_drop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = open_sink(f"whip+http://127.0.0.1:{free_port()}/cam")
    assert isinstance(sink, WhipSink)
    sink.open(LIVE, SIZE)
    sink._heard_s = time.monotonic() - 2 * whip._SILENT_S
    sink._connected.set()
    sink.write(PICTURE, 0, 40_000_000)
    assert "has gone away" in sink.away
    assert sink.drops == 1
    sink._connected.clear()
    with pytest.raises(SinkError, match="it got nothing of this run"):
        sink.close()


@pytest.mark.parametrize("said", ["Connection does not exist", "Error on SRT socket: Unknown or erroneous"])
def test_an_srt_receiver_that_breaks_off_has_gone_away(said: str) -> None:
    sink = open_sink(f"srt://127.0.0.1:{free_port()}")
    assert isinstance(sink, CallingSink)
    for answered, words in ((False, "does not answer"), (True, "has gone away")):
        sink.answered, sink.away = answered, ""
        sink._hang_up(SinkError(f"{sink.label}: failed to write to SRT socket: {said}"))
        assert sink.away == f"{sink.label}: {words}"


def test_a_file_whose_server_is_not_there_fails() -> None:
    sink = open_sink(f"publish+rtsp://127.0.0.1:{free_port()}/cam")
    sink.open(VideoInfo(SIZE, Fraction(25), live=False), SIZE)
    with pytest.raises(SinkError, match=r"^publish\+rtsp://127\.0\.0\.1:\d+/cam: does not answer$"):
        sink.write(PICTURE, 0, 40_000_000)
    sink.close()


def test_a_files_pictures_wait_for_the_server(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "recorded.h264"
    sink = open_sink(f"publish+rtsp://127.0.0.1:{port}/cam/east")
    with server("record_server.py", str(port), str(file)):
        sink.open(VideoInfo(SIZE, Fraction(25), live=False), SIZE)
        for number in range(50):
            sink.write(PICTURE, number * 40_000_000, 40_000_000)
        wait_for(lambda: len(pictures_of(file)) >= 45)
        sink.close()
    assert sink.drops == 0


def test_a_stream_goes_to_another_server_over_webrtc_and_leaves_it(tmp_path: Path) -> None:
    port = free_port()
    sink = open_sink(f"whip+http://s3cret@127.0.0.1:{port}/moved")  # which sends us on
    assert isinstance(sink, WhipSink)
    with server("whip_server.py", str(port), "s3cret") as there:
        with fed(sink):
            wait_for(lambda: any(line.startswith("picture 20") for line in there.lines), 60)
            assert sink.away == ""
        wait_for(lambda: "left" in there.lines)
    _, _, size, mean = next(line for line in there.lines if line.startswith("picture 20")).split()
    assert size == "160x96"
    luma = 16 + (0.2126 * 180 + 0.7152 * 90 + 0.0722 * 40) * 219 / 255  # BT.709, limited range
    assert abs(int(mean) - luma) < 20  # the full range that gray is asked in moves it


def test_a_server_over_webrtc_that_is_killed_and_comes_back_gets_the_stream_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed, it says nothing, and nothing of its machine does."""
    monkeypatch.setattr(whip, "_SILENT_S", 4.0)
    port = free_port()
    sink = open_sink(f"whip+http://s3cret@127.0.0.1:{port}/whip/gate")
    assert isinstance(sink, WhipSink)
    with fed(sink):
        with server("whip_server.py", str(port), "s3cret") as first:
            wait_for(lambda: any(line.startswith("picture") for line in first.lines), 60)
            wait_for(lambda: sink._heard_s is not None)
        wait_for(lambda: sink.away)
        with server("whip_server.py", str(port), "s3cret") as second:
            wait_for(lambda: any(line.startswith("picture") for line in second.lines), 60)
            assert sink.away == ""


def test_a_server_over_webrtc_that_refuses_or_is_away_is_said() -> None:
    port = free_port()
    sink = open_sink(f"whip+http://wrong@127.0.0.1:{port}/whip/Gate")
    assert isinstance(sink, CallingSink)
    with fed_in_vain(sink):
        wait_for(lambda: "/whip/Gate: connection refused" in sink.away)
        with server("whip_server.py", str(port), "right"):
            wait_for(lambda: "refuses us (401)" in sink.away)
        assert "wrong" not in sink.away


def test_a_server_over_webrtc_that_answers_nothing_is_said_as_it_was_named() -> None:
    class Silent(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

    there = http.server.HTTPServer(("127.0.0.1", 0), Silent)
    thread = threading.Thread(target=there.serve_forever)
    thread.start()
    sink = open_sink(f"whip+http://127.0.0.1:{there.server_port}/Gate")
    assert isinstance(sink, CallingSink)
    try:
        with fed_in_vain(sink):
            wait_for(lambda: sink.away.endswith("/Gate: the answer is no valid SDP"))
    finally:
        there.shutdown()
        there.server_close()
        thread.join()


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_server_without_an_encryption_that_can_be_trusted_is_said(encrypted: bool, tmp_path: Path) -> None:
    there = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    if encrypted:
        chain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain.load_cert_chain(*certificate(tmp_path))  # signed by itself
        there.socket = chain.wrap_socket(there.socket, server_side=True)
    thread = threading.Thread(target=there.serve_forever)
    thread.start()
    sink = open_sink(f"whip+https://127.0.0.1:{there.server_port}/cam")
    assert isinstance(sink, CallingSink)
    try:
        with fed_in_vain(sink):
            wait_for(lambda: sink.away)
            why = (
                "certificate is not trusted here: self-signed" if encrypted else "whip+http:// is for servers"
            )
            assert why in sink.away
    finally:
        there.shutdown()
        there.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("publish+rtsp://host:8554", "expected a server and a path on it: publish+rtsp://host:8554/path"),
        ("publish+rtsp:///cam", "expected a server and a path on it"),
        ("publish+rtsp://ada@host/cam", "expected both a user and a password"),
        ("whip+https://host", "expected a server and a path on it: whip+https://host/path"),
        ("whip+ftp://host/x", "cannot write to whip"),
    ],
)
def test_an_address_that_makes_no_sense_is_one_line(text: str, said: str) -> None:
    with pytest.raises(SinkError, match=r"^[^\n]*$") as caught:
        open_sink(text)
    assert said in str(caught.value)


def test_published_streams_share_encoders_and_have_their_places_and_no_secrets() -> None:
    text = "publish+rtsp://ada:secret@host:8554/cam"
    assert sink_place(text) == "publish+rtsp://host:8554/cam"
    assert sink_place("whip+https://token@host/a?x=1") == "whip+https://host/a"
    assert takes_planes(text)
    assert pool_for([text, "out.mkv"]) is not None
    assert "secret" not in public(text) + repr(open_sink(text)) + str(open_sink(text))

"""Motion JPEG over HTTP, from a server of another make: live, with a password, and lost."""

from __future__ import annotations

import base64
import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from tests.waiting import free_port

from irchroma.stream.errors import SourceError, SourceLost, SourceRefused
from irchroma.stream.sources import transport_source
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.transport_source import HttpSource

pytestmark = pytest.mark.gst

PICTURE = np.tile(np.arange(64, dtype=np.uint8) * 3, (48, 1))
JPEG = cv2.imencode(".jpg", PICTURE)[1].tobytes()
KNOWN = "Basic " + base64.b64encode(b"me:p@ss").decode()


class Camera(http.server.BaseHTTPRequestHandler):
    """Ten pictures a second, without a length, until it is told to end."""

    ended = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/secret") and self.headers.get("Authorization") != KNOWN:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.2:9/secret/video.mjpg")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/endless.mjpg":
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            try:
                self.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG[:200])
                while not self.ended.is_set():
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                pass
        elif self.path in ("/page", "/night.mp4"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a page</html>" * 99)
        elif self.path.endswith("/video.mjpg"):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            while not self.ended.wait(0.1):
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(JPEG)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + JPEG + b"\r\n")
                except OSError:  # nobody looks any more
                    return
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    Camera.ended.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        Camera.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def one_answer(answer: bytes, ends: bool) -> Iterator[int]:
    """The port of a server that says that to the first who comes, and then ends or is silent."""
    done = threading.Event()

    def serve() -> None:
        way, _ = there.accept()
        with way:
            way.sendall(answer)
            way.recv(1000)
            if not ends:
                done.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as there:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield there.getsockname()[1]
        finally:
            done.set()
            thread.join()


def read_on(source: HttpSource) -> None:
    for _ in range(20):
        source.read(5)


@pytest.mark.parametrize("place", ["{}/video.mjpg", "me:p%40ss@{}/secret/video.mjpg"])
def test_pictures_come_live_with_the_time_of_their_arrival_until_the_camera_goes(
    camera: str, place: str
) -> None:
    source = open_source("http://" + place.format(camera))
    assert isinstance(source, HttpSource)
    try:
        info = source.open()
        assert (info.size, info.live) == ((48, 64), True)
        assert info.description.endswith(": GRAY8 64x48")  # it says no rate
        assert "p%40ss" not in info.description
        frames = [frame for frame in (source.read(5) for _ in range(5)) if frame is not None]
        assert len(frames) == 5
        steps = np.diff([frame.pts_ns for frame in frames])
        assert steps.min() > 0
        assert np.abs(frames[-1].pixels.astype(int) - PICTURE).mean() < 3
        Camera.ended.set()
        with pytest.raises(SourceLost):
            read_on(source)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{}/secret/video.mjpg", "asks who you are: http://user:password@host/path"),
        ("me:wrong@{}/secret/video.mjpg", "refuses this user and password"),
        ("{}/elsewhere", "has nothing at this path"),
        ("{}/page", r"is no motion JPEG, .* a camera's video is mostly at rtsp://127\.0\.0\.1/\.\.\."),
        ("{}/night.mp4", "is no motion JPEG, .* download a file first"),
        ("{}:80:80/x", "expected http://host:port/path"),
    ],
)
def test_what_gives_no_pictures_is_one_line(camera: str, place: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_source("http://" + place.format(camera)).open()
    assert "wrong" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_camera_that_answers_nothing_is_lost_and_may_be_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_source, "_SILENCE_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/video.mjpg")
        with pytest.raises(SourceLost, match="takes the connection and answers nothing"):
            source.open()
        source.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"


@pytest.mark.parametrize("picture", [b"", b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG[:200]])
def test_a_camera_that_stops_after_its_head_is_lost_and_told_to_have_answered(
    picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_source, "_SILENCE_S", 1)
    with one_answer(HEAD + picture, ends=False) as port:
        source = open_source(f"http://127.0.0.1:{port}/video.mjpg")
        with pytest.raises(SourceLost, match="the camera answers, and then sends nothing for 1 s"):
            source.open()
        source.close()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n", bytes(range(256))])
def test_what_is_no_http_is_no_camera_to_wait_for(answer: bytes) -> None:
    with one_answer(answer, ends=True) as port:
        source = open_source(f"http://127.0.0.1:{port}/video.mjpg")
        with pytest.raises(SourceError, match="no HTTP: is the port right") as caught:
            source.open()
        source.close()
    assert not isinstance(caught.value, SourceLost)


def test_a_picture_that_never_ends_fills_no_memory(camera: str) -> None:
    source = open_source(f"http://{camera}/endless.mjpg")
    with pytest.raises(SourceError, match="sends more than 32 MB without the end of a picture"):
        source.open()


def test_a_camera_that_is_off_is_said_to_be() -> None:
    with pytest.raises(SourceLost, match="refuses connections"):
        open_source(f"http://127.0.0.1:{free_port()}/video.mjpg").open()


@pytest.mark.parametrize("who", ["", "somebody:else@"])
def test_a_camera_that_does_not_know_who_asks_is_not_asked_again_and_again(camera: str, who: str) -> None:
    with pytest.raises(SourceRefused):
        open_source(f"http://{who}{camera}/secret/video.mjpg").open()


def test_a_password_goes_to_no_other_host(camera: str) -> None:
    with pytest.raises(
        SourceError, match=r"sends on to http://127\.0\.0\.2:9/secret/video\.mjpg, which"
    ) as caught:
        open_source(f"http://me:p%40ss@{camera}/moved/video.mjpg").open()
    assert "p@ss" not in str(caught.value)

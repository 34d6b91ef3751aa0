"""RTSP, SRT and TCP on loopback: what arrives, what is dropped, what a failure says."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.waiting import free_port

from irchroma.stream.errors import SourceError, SourceLost, SourceRefused, StreamError
from irchroma.stream.frame import SOUND_HZ, Frame
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.door import EndOfStream
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sources.gst_source import GstSource
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource
from irchroma.stream.sources.transport_source import TransportSource

pytestmark = pytest.mark.gst

_GRAY = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=GRAY8,width=64,height=48,framerate=30/1"
_COUNTS = "videotestsrc is-live=true ! video/x-raw,format=GRAY16_LE,width=64,height=48,framerate=30/1"
_H264 = f"{_GRAY} ! videoconvert ! x264enc tune=zerolatency key-int-max=5"
MOUNTS = {
    "/h264": f"{_H264} ! rtph264pay name=pay0",
    "/h265": (
        f"{_GRAY} ! videoconvert ! video/x-raw,format=I420"
        " ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=5 ! rtph265pay name=pay0"
    ),
    "/mjpeg": f"{_GRAY} ! videoconvert ! video/x-raw,format=I420 ! jpegenc ! rtpjpegpay name=pay0",
    "/counts": f"{_COUNTS} ! rtpgstpay config-interval=1 name=pay0",
    "/both": (
        f"( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 {_H264} ! rtph264pay name=pay1 )"
    ),
    "/switch": (
        "( concat name=c ! x264enc tune=zerolatency key-int-max=5 ! rtph264pay config-interval=-1 name=pay0"
        " videotestsrc is-live=true num-buffers=20 ! video/x-raw,format=I420,width=64,height=48 ! c."
        " videotestsrc is-live=true ! video/x-raw,format=I420,width=128,height=96 ! c. )"
    ),
    "/sound": "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0",
}


class RtspServer:
    """GStreamer's RTSP server with a loop of its own; the port is free."""

    def __init__(self, udp_only: bool = False, user: str = "", password: str = "") -> None:
        glib, rtsp = door.modules()["GLib"], door.extra_module("GstRtspServer")
        self._glib, self._rtsp = glib, rtsp
        self._context = glib.MainContext.new()
        self._loop = glib.MainLoop.new(self._context, False)
        self._server = rtsp.RTSPServer.new()
        self._server.set_service("0")
        self._server.set_address("127.0.0.1")
        self._server.get_thread_pool().set_max_threads(0)  # `stop` closes connections in their own thread
        self._kept: list[Any] = []  # or they would end within their closing
        self._server.connect("client-connected", lambda _, client: self._kept.append(client))
        if user:
            auth, token = rtsp.RTSPAuth.new(), rtsp.RTSPToken.new()
            token.set_string("media.factory.role", user)
            auth.add_basic(rtsp.RTSPAuth.make_basic(user, password), token)
            self._server.set_auth(auth)
        for path, line in MOUNTS.items():
            factory = rtsp.RTSPMediaFactory.new()
            factory.set_launch(line)
            factory.set_shared(True)
            if udp_only:
                factory.set_protocols(door.extra_module("GstRtsp").RTSPLowerTrans.UDP)
            if user:
                permissions = rtsp.RTSPPermissions.new()
                for what in ("access", "construct"):
                    permissions.add_permission_for_role(user, f"media.factory.{what}", True)
                factory.set_permissions(permissions)
            self._server.get_mount_points().add_factory(path, factory)
        self._id = self._server.attach(self._context)
        self.address = f"127.0.0.1:{self._server.get_bound_port()}"
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        def quit_loop(*_: Any) -> bool:
            self._server.client_filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
            self._loop.quit()
            return False

        idle = self._glib.idle_source_new()
        idle.set_callback(quit_loop)
        idle.attach(self._context)
        self._thread.join(10)
        self._context.find_source_by_id(self._id).destroy()


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    try:
        made = RtspServer()
    except StreamError as error:
        pytest.skip(str(error))
    yield made
    made.stop()


@contextlib.contextmanager
def opened(source: GstSource) -> Iterator[GstSource]:
    try:
        source.open()
        yield source
    finally:
        source.close()


def several(source: GstSource, number: int = 5) -> list[Frame]:
    frames = [source.read(5) for _ in range(number)]
    given = [frame for frame in frames if frame is not None]
    assert len(given) == number
    times = [frame.pts_ns for frame in given]
    assert times == sorted(set(times))
    return given


def failure_of(source: GstSource) -> str:
    with pytest.raises(SourceError) as caught:
        source.open()
    source.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reads_until_lost(source: GstSource) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        source.read(2)


@pytest.mark.parametrize("path", ["/h264", "/h265", "/mjpeg", "/both"])
def test_rtsp_cameras_of_every_codec_give_luma(server: RtspServer, path: str) -> None:
    if path == "/h265" and not door.has_element("x265enc"):
        pytest.skip("no x265enc here")
    with opened(RtspSource(f"rtsp://{server.address}{path}")) as source:
        for frame in several(source):
            assert frame.size == (48, 64)
            assert frame.pixels.dtype == np.uint8
            assert frame.pixels.ndim == 2


def test_raw_counts_over_rtsp_arrive_as_counts(server: RtspServer) -> None:
    with opened(RtspSource(f"rtsp://{server.address}/counts")) as source:
        assert all(frame.is_counts for frame in several(source))


def test_a_camera_may_change_its_size_in_the_middle(server: RtspServer) -> None:
    with opened(RtspSource(f"rtsp://{server.address}/switch")) as source:
        frames = several(source, 1)
        while frames[-1].size == (48, 64):
            assert len(frames) <= 20
            frames += several(source, 1)
        assert frames[-1].size == (96, 128)
        assert [frame.gap for frame in frames] == [False] * (len(frames) - 1) + [True]


@pytest.mark.parametrize(("path", "sounds"), [("both", True), ("h264", False), ("counts", False)])
def test_sound_comes_with_the_frames_where_it_is_wanted_and_there_is_some(
    server: RtspServer, path: str, sounds: bool
) -> None:
    source = RtspSource(f"rtsp://{server.address}/{path}")
    source.want_sound()
    try:
        assert source.open().sound == sounds
        frames = several(source, 20)
    finally:
        source.close()
    pieces = [piece for frame in frames for piece in frame.sound]
    assert bool(pieces) == sounds
    if sounds:
        samples = np.concatenate([piece.samples for piece in pieces])
        assert samples.shape[1] == 2
        assert np.abs(samples.astype(int)).max() > 10_000
        ends = [piece.pts_ns + len(piece.samples) * 10**9 // SOUND_HZ for piece in pieces]
        gaps_ns = np.subtract([piece.pts_ns for piece in pieces[1:]], ends[:-1])
        assert np.abs(gaps_ns[2:]).max() < 1_000_000, "once it has begun"
        assert abs(frames[-1].pts_ns - ends[-1]) < 300_000_000


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_transport_can_be_chosen(server: RtspServer, transport: Any) -> None:
    with opened(RtspSource(f"rtsp://{server.address}/h264", RtspOptions(transport=transport))) as source:
        several(source)


@pytest.mark.parametrize(("path", "transport", "sound"), [("h264", "tcp", False), ("both", "udp", True)])
def test_frames_say_when_the_camera_took_them(
    server: RtspServer, path: str, transport: Any, sound: bool
) -> None:
    source = RtspSource(f"rtsp://{server.address}/{path}", RtspOptions(transport=transport))
    if sound:  # whose stream is the first, with a clock of its own
        source.want_sound()
    with opened(source):
        deadline = time.monotonic() + 30
        while not (frame := several(source, 1)[0]).taken_ns:  # until the first sender report
            assert time.monotonic() < deadline
        late_s = time.time() - frame.taken_ns / 1e9
        assert -0.5 < late_s < 10, "the server's clock is this machine's"
        later = several(source, 5)[-1]
        assert later.taken_ns - frame.taken_ns == pytest.approx(later.pts_ns - frame.pts_ns, abs=50_000_000)


def test_a_slow_reader_gets_the_newest_frame_and_the_rest_is_counted(server: RtspServer) -> None:
    with opened(RtspSource(f"rtsp://{server.address}/h264")) as source:
        first = several(source, 1)[0]
        pipeline = source._pipeline
        assert pipeline is not None
        arrived, deadline = pipeline.arrived("frames"), time.monotonic() + 10
        while pipeline.arrived("frames") < arrived + 12 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        late = several(source, 1)[0]
        assert source.drops >= 9
        assert late.pts_ns - first.pts_ns >= 9 * 33_000_000
        assert late.number >= 10


@pytest.mark.parametrize(
    ("path", "words"),
    [("/nothing", "no stream at this path"), ("/sound", "no video track, only: audio")],
)
def test_a_wrong_path_is_named(server: RtspServer, path: str, words: str) -> None:
    assert words in failure_of(RtspSource(f"rtsp://{server.address}{path}"))


def test_sound_alone_is_named_where_it_is_recorded_too(server: RtspServer) -> None:
    source = RtspSource(f"rtsp://{server.address}/sound")
    source.want_sound()
    source.open_timeout_s = 2.0
    assert "no video track, only: audio" in failure_of(source)


def test_passwords_are_used_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    server = RtspServer(user="me", password="p@ss:w")
    try:
        assert "wants a user and password" in failure_of(RtspSource(f"rtsp://{server.address}/h264"))
        with pytest.raises(SourceRefused, match="does not accept this user and password"):
            RtspSource(f"rtsp://me:hunter2@{server.address}/h264").open()
        wrong = failure_of(RtspSource(f"rtsp://me:hunter2@{server.address}/h264"))
        assert "does not accept this user and password" in wrong
        assert "hunter2" not in wrong
        with opened(RtspSource(f"rtsp://me:p%40ss%3Aw@{server.address}/h264")) as source:
            several(source)
        source = RtspSource(f"rtsp://{server.address}/h264", RtspOptions(user="me", password="p@ss:w"))
        description = source.open().description
        source.close()
        assert "p@ss" not in description + caplog.text
    finally:
        server.stop()


def test_a_camera_without_tcp_is_reached_by_udp_unless_tcp_is_demanded() -> None:
    server = RtspServer(udp_only=True)
    try:
        with opened(RtspSource(f"rtsp://{server.address}/h264")) as source:
            several(source)
        demanded = RtspSource(f"rtsp://{server.address}/h264", RtspOptions(transport="tcp"))
        assert "does not offer transport tcp" in failure_of(demanded)
    finally:
        server.stop()


def test_a_camera_that_goes_away_is_lost_and_found_again() -> None:
    server = RtspServer()
    source = RtspSource(f"rtsp://{server.address}/h264")
    try:
        source.open()
        several(source)
        server.stop()
        with pytest.raises(SourceLost):
            reads_until_lost(source)
        assert "refuses connections" in failure_of(source)
        server = RtspServer()
        source._address = f"rtsp://{server.address}/h264"
        source.open()
        several(source)
    finally:
        source.close()
        server.stop()


def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        began = time.monotonic()
        words = failure_of(RtspSource(address, RtspOptions(timeout_s=1)))
        assert "no RTSP answer within 1 s" in words
        assert time.monotonic() - began < 8


def test_a_host_that_is_not_there_is_named() -> None:
    assert "no host is called" in failure_of(RtspSource("rtsp://camera.invalid/x"))


def test_tcp_brings_a_stream_and_its_end_is_a_loss() -> None:
    line = f"{_COUNTS.replace('is-live=true', 'num-buffers=9')} ! avenc_ffv1 ! matroskamux streamable=true"
    recording = Pipeline(f"{line} ! appsink name=out sync=false")
    recording.start()
    parts = []
    with contextlib.suppress(EndOfStream):
        while True:
            recording.check()
            sample = recording.element("out").emit("try-pull-sample", 100_000_000)
            if sample is not None:
                parts.append(sample.get_buffer().extract_dup(0, sample.get_buffer().get_size()))
    recording.stop()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            connection.sendall(b"".join(parts))
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with opened(TransportSource(f"tcp://127.0.0.1:{listening.getsockname()[1]}")) as source:
            frame = source.read(5)
            assert frame is not None
            assert frame.is_counts
            with pytest.raises(SourceLost, match="ended the stream"):
                reads_until_lost(source)


def test_nobody_at_the_other_end_is_said_in_one_line() -> None:
    port = free_port()
    assert f"refuses connections at port {port}" in failure_of(TransportSource(f"tcp://127.0.0.1:{port}"))
    caller = TransportSource(f"srt://127.0.0.1:{port}?passphrase=correct-horse")
    caller.open_timeout_s = 0.5
    words = failure_of(caller)
    assert "is the other side running, is the passphrase right?" in words
    assert "horse" not in words


def test_a_server_of_another_kind_at_the_camera_s_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listening.getsockname()[1]
        said = failure_of(RtspSource(f"rtsp://127.0.0.1:{port}/stream"))
    assert f"what answers at port {port} does not speak RTSP" in said

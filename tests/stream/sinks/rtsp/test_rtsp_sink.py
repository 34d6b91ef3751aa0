from __future__ import annotations

import base64
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from tests.waiting import answers

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.rtsp.server import RtspAddress
from irchroma.stream.sinks.rtsp.sink import RtspSink

pytestmark = pytest.mark.gst

SIZE = (64, 256)
LIVE = VideoInfo(SIZE, Fraction(50), live=True)


class Camera:
    """Writes pictures to sinks at 50 Hz from its own thread, as the live loop does."""

    def __init__(self, *sinks: RtspSink, picture: np.ndarray | None = None) -> None:
        self.sinks, self.picture = sinks, picture
        self.written = 0
        self.slowest_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (4, *SIZE), dtype=np.uint8)
        while not self._ended.wait(0.02):
            picture = self.picture if self.picture is not None else noise[self.written % 4]
            start = time.monotonic()
            for sink in self.sinks:
                sink.write(picture, self.written * 20_000_000, 20_000_000)
            self.slowest_s = max(self.slowest_s, time.monotonic() - start)
            self.written += 1

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for sink in self.sinks:
            sink.close()


@contextmanager
def served(*names: str, **camera: object) -> Iterator[tuple[Camera, list[RtspSink]]]:
    sinks: list[RtspSink] = []
    port = 0
    for name in names:
        sinks.append(RtspSink(RtspAddress("127.0.0.1", port, name)))
        sinks[-1].open(LIVE, SIZE)
        port = sinks[-1].address.port
    with Camera(*sinks, **camera) as running:
        yield running, sinks


class Viewer:
    """A minimal RTSP client over one TCP connection, which reads only when it is told to."""

    def __init__(self, address: RtspAddress, credentials: str = "", receive_bytes: int = 0) -> None:
        self.url = str(address)
        self._socket = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
        self._socket.settimeout(10)
        if receive_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect((address.host, address.port))
        self._buffer = b""
        self._number = 0
        self._session = ""
        self._login = base64.b64encode(credentials.encode()).decode() if credentials else ""

    def ask(self, method: str, url: str = "", **headers: str) -> tuple[int, str]:
        self._number += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._number}"]
        lines += [f"Session: {self._session}"] * bool(self._session)
        lines += [f"Authorization: Basic {self._login}"] * bool(self._login)
        lines += [f"{key}: {value}" for key, value in headers.items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while True:
            head = self._take(1)
            if head == b"$":
                self._packet()
                continue
            while b"\r\n\r\n" not in head:
                head += self._take(1)
            text = head.decode()
            length = re.search(r"Content-Length: (\d+)", text, re.I)
            session = re.search(r"Session: ([^;\r]+)", text)
            self._session = session.group(1) if session else self._session
            return int(text.split()[1]), text + (self._take(int(length.group(1))).decode() if length else "")

    def play(self, udp_port: int = 0) -> Viewer:
        """Over this connection, or over UDP to a port of this machine and the one behind it."""
        status, sdp = self.ask("DESCRIBE", Accept="application/sdp")
        assert status == 200, sdp
        control = re.findall(r"a=control:(\S+)", sdp)[-1]
        transport = f"RTP/AVP;unicast;client_port={udp_port}-{udp_port + 1}"
        transport = transport if udp_port else "RTP/AVP/TCP;unicast;interleaved=0-1"
        setup = self.ask("SETUP", f"{self.url}/{control}", Transport=transport)
        assert setup[0] == 200, setup
        assert self.ask("PLAY")[0] == 200
        return self

    def packet(self) -> bytes:
        """The next RTP packet of the video."""
        while True:
            assert self._take(1) == b"$"
            channel, data = self._packet()
            if channel == 0:
                return data

    def _packet(self) -> tuple[int, bytes]:
        header = self._take(3)
        return header[0], self._take(int.from_bytes(header[1:], "big"))

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = self._socket.recv(65536)
            assert data, "the server hung up"
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def leave(self) -> None:
        self.ask("TEARDOWN")
        self.hang_up()

    def hang_up(self) -> None:
        self._socket.close()


def is_keyframe(packet: bytes) -> bool:
    """Whether an H.264 RTP packet (RFC 6184) holds or begins an IDR picture (NAL unit type 5)."""
    payload = packet[12:]
    kind = payload[0] & 31
    if kind == 28:  # FU-A
        return payload[1] & 31 == 5
    if kind == 24:  # STAP-A: several units, each behind its length
        at, kinds = 1, set()
        while at < len(payload):
            kinds.add(payload[at + 2] & 31)
            at += 2 + int.from_bytes(payload[at : at + 2], "big")
        return 5 in kinds
    return kind == 5


def wait_until(holds: Callable[[], bool], wait_s: float = 10) -> None:
    deadline = time.monotonic() + wait_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_gray_ramp_comes_back_within_two_levels(
    read_back: Callable, gray_ramp: np.ndarray, transport: str
) -> None:
    with served("ramp", picture=gray_ramp) as (_, (sink,)):
        back = read_back(
            f"rtspsrc name=in latency=50 protocols={transport} ! rtph264depay ! decodebin",
            15,
            location=f"rtsp://127.0.0.1:{sink.address.port}/ramp",
        )
    assert back.caps is not None
    assert (back.caps.full_range, back.caps.matrix) == (False, "bt709")
    assert np.abs(back.rgb[-1].mean(axis=0) - gray_ramp[0]).max() <= 2
    assert min(np.diff(back.pts_ns)) > 0


def test_the_encoder_runs_only_while_somebody_watches() -> None:
    with served("cam") as (_, (sink,)):
        assert not sink.watched
        first, second = Viewer(sink.address).play(), Viewer(sink.address).play()
        assert first.packet()
        assert second.packet()
        first.leave()
        assert second.packet()
        assert sink.watched
        second.leave()
        wait_until(lambda: not sink.watched)
        third = Viewer(sink.address).play()
        assert third.packet()
        third.leave()


@pytest.mark.alone
def test_a_new_viewer_gets_a_keyframe_at_once() -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "cam"), EncoderOptions(keyframe_s=600))
    sink.open(LIVE, SIZE)
    with Camera(sink, picture=np.full(SIZE, 90, np.uint8)) as camera:
        first = Viewer(sink.address).play()
        wait_until(lambda: camera.written > 60)
        second = Viewer(sink.address).play()
        start = time.monotonic()
        while not is_keyframe(second.packet()):
            assert time.monotonic() - start < 2
        assert time.monotonic() - start < 0.5
        first.leave()
        second.leave()


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_nothing_reaches_a_viewer_over_udp_before_its_keyframe(codec: str) -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "cam"), EncoderOptions(codec=codec))
    sink.open(LIVE, SIZE)
    with Camera(sink):
        stays = Viewer(sink.address).play()
        for _ in range(12):  # each at another time within a picture's
            time.sleep(0.013)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as pictures:
                pictures.settimeout(5)
                pictures.bind(("127.0.0.1", 0))
                joins = Viewer(sink.address).play(udp_port=pictures.getsockname()[1])
                packets = [pictures.recv(2000)]
                while packets[-1][4:8] == packets[0][4:8]:  # the time of a picture, on all its packets
                    packets.append(pictures.recv(2000))
                joins.leave()
            if codec == "h264":
                assert any(is_keyframe(packet) for packet in packets[:-1])
            else:  # several units in one packet (48), or a parameter set (RFC 7798)
                assert packets[0][12] >> 1 & 63 in (32, 33, 34, 35, 48)
        stays.leave()


@pytest.mark.alone
def test_a_viewer_that_does_not_read_slows_nobody() -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "cam"), EncoderOptions(bitrate_kbps=8000))
    sink.open(LIVE, SIZE)
    with Camera(sink) as camera:
        stuck = Viewer(sink.address, receive_bytes=4096).play()
        good = Viewer(sink.address).play()
        start, received, times = time.monotonic(), 0, set()
        while time.monotonic() - start < 3:
            packet = good.packet()
            received += len(packet)
            times.add(packet[4:8])
        assert received > 1_000_000  # far more than the server may keep for the one that is stuck
        assert len(times) > 120  # of about 150 pictures in 3 s
        assert camera.slowest_s < 0.5
        good.leave()
        stuck.hang_up()


def test_several_names_share_a_port(read_back: Callable) -> None:
    dark, light = np.full(SIZE, 30, np.uint8), np.full(SIZE, 220, np.uint8)
    first, second = RtspSink(RtspAddress("127.0.0.1", 0, "a")), RtspSink(RtspAddress("127.0.0.1", 0, "b/c"))
    first.open(LIVE, SIZE)
    second.address = RtspAddress("127.0.0.1", first.address.port, "b/c")
    second.open(LIVE, SIZE)
    assert first.address.port == second.address.port
    with Camera(first, picture=dark), Camera(second, picture=light):
        for name, level in (("a", 30), ("b/c", 220)):
            back = read_back(
                "rtspsrc name=in latency=50 protocols=tcp ! rtph264depay ! decodebin",
                3,
                location=f"rtsp://127.0.0.1:{first.address.port}/{name}",
            )
            assert back.rgb[-1].mean() == pytest.approx(level, abs=2)


def test_a_password_is_asked_for_and_is_never_shown() -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "cam", "ada", "s3cret"))
    sink.open(LIVE, SIZE)
    assert "s3cret" not in f"{sink.address} {sink.address!r}"
    with Camera(sink):
        for wrong in ("", "ada:wrong", "eve:s3cret"):
            stranger = Viewer(sink.address, wrong)
            assert stranger.ask("DESCRIBE", Accept="application/sdp")[0] == 401
            stranger.hang_up()
        viewer = Viewer(sink.address, "ada:s3cret").play()
        assert viewer.packet()
        viewer.leave()
        with pytest.raises(SinkError, match="passwords either all or none"):
            RtspSink(RtspAddress("127.0.0.1", sink.address.port, "open")).open(LIVE, SIZE)


def test_without_a_password_only_this_machine_is_served(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "irchroma")
    sink = RtspSink(RtspAddress("", 0, "cam"))
    sink.open(LIVE, SIZE)
    port = sink.address.port
    with Camera(sink):
        reached = [answers(host, port) for host in ("127.0.0.1", "::1", "127.0.0.2")]
        viewer = Viewer(RtspAddress("::1", port, "cam")).play()
        assert viewer.packet()
        viewer.leave()
    assert reached == [True, True, False]
    assert not answers("::1", port)  # closed with the other
    said = [record.getMessage() for record in caplog.records if "this machine alone" in record.getMessage()]
    assert len(said) == 1
    assert f"rtsp://user:password@:{port}/cam" in said[0]


def test_with_a_password_all_addresses_are_served_by_both_protocols(read_back: Callable) -> None:
    sink = RtspSink(RtspAddress("", 0, "cam", "ada", "s3cret"))
    sink.open(LIVE, SIZE)
    port = sink.address.port
    with Camera(sink):
        assert [answers(host, port) for host in ("127.0.0.1", "::1", "127.0.0.2")] == [True] * 3
        for transport in ("tcp", "udp"):
            for host in ("127.0.0.2", "[::1]"):
                back = read_back(
                    f"rtspsrc name=in latency=50 protocols={transport} user-id=ada user-pw=s3cret"
                    " ! rtph264depay ! decodebin",
                    3,
                    location=f"rtsp://{host}:{port}/cam",
                )
                assert len(back.rgb) == 3


def test_an_address_is_taken_as_it_is_and_what_that_means_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "irchroma")
    sink = RtspSink(RtspAddress("0.0.0.0", 0, "cam"))
    sink.open(LIVE, SIZE)
    with Camera(sink):
        port = sink.address.port
        assert [answers(host, port) for host in ("127.0.0.1", "::1", "127.0.0.2")] == [True, False, True]
    assert any("asks for no password" in record.getMessage() for record in caplog.records)


def test_streams_of_one_port_may_have_the_same_user_and_password_and_others_may_not_see_them() -> None:
    sinks = [RtspSink(RtspAddress("127.0.0.1", 0, "gate", "ada", "s3cret"))]
    sinks[0].open(LIVE, SIZE)
    port = sinks[0].address.port
    for name, user in (("yard", "ada"), ("roof", "eve")):
        sinks.append(RtspSink(RtspAddress("127.0.0.1", port, name, user, "s3cret")))
        sinks[-1].open(LIVE, SIZE)
    with Camera(*sinks):
        for sink, user in zip(sinks, ("ada", "ada", "eve"), strict=True):
            viewer = Viewer(sink.address, f"{user}:s3cret").play()
            assert viewer.packet()
            viewer.leave()
        stranger = Viewer(sinks[2].address, "ada:s3cret")
        assert stranger.ask("DESCRIBE", Accept="application/sdp")[0] in (401, 404)
        stranger.hang_up()


def test_a_port_or_name_that_is_taken_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"cannot listen on 127.0.0.1:{port}: .*in use"):
            RtspSink(RtspAddress("127.0.0.1", port, "cam")).open(LIVE, SIZE)
    with served("cam") as (_, (sink,)), pytest.raises(SinkError, match="a stream of that name"):
        RtspSink(RtspAddress("127.0.0.1", sink.address.port, "cam")).open(LIVE, SIZE)


def test_a_port_is_free_again_after_close() -> None:
    with served("cam") as (_, (sink,)):
        viewer = Viewer(sink.address).play()
        assert viewer.packet()
        port = sink.address.port
    viewer.hang_up()
    again = RtspSink(RtspAddress("127.0.0.1", port, "cam"))
    again.open(LIVE, SIZE)
    again.close()
    again.close()


def resident_kb() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))  # type: ignore[union-attr]


def test_memory_does_not_grow_with_viewers_that_come_and_go() -> None:
    with served("cam") as (_, (sink,)):

        def visit(times: int) -> int:
            for _ in range(times):
                viewer = Viewer(sink.address).play()
                assert viewer.packet()
                viewer.leave()
                wait_until(lambda: not sink.watched)
            return resident_kb()

        settled = visit(15)
        assert visit(30) - settled < 3000

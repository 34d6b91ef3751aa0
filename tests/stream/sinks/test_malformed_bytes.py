"""Malformed bytes on the ports that the program opens: seeded, bounded, and over in seconds."""

from __future__ import annotations

import gc
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.stream.sinks.http.test_server import get, opened
from tests.stream.sinks.rtsp.test_rtsp_sink import LIVE, SIZE, Camera, Viewer, served
from tests.waiting import answers, wait_for

from irchroma.stream.gstreamer import door
from irchroma.stream.sinks.rtsp import server as rtsp_server
from irchroma.stream.sinks.rtsp.server import RtspAddress
from irchroma.stream.sinks.rtsp.sink import RtspSink

pytestmark = pytest.mark.gst

CONNECTIONS = 120
CLOSED_UNDER_REQUESTS = """
import socket, threading, time
from tests.stream.sinks.rtsp.test_rtsp_sink import LIVE, SIZE
from irchroma.stream.sinks.rtsp.server import RtspAddress
from irchroma.stream.sinks.rtsp.sink import RtspSink

def asks(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as one:
            one.settimeout(10)
            while True:
                one.sendall(b"OPTIONS * RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n")
                if not one.recv(65536):
                    return
    except ConnectionError:
        return

for _ in range(60):
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "live"))
    sink.open(LIVE, SIZE)
    clients = [threading.Thread(target=asks, args=(sink.address.port,)) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.03)
    began = time.monotonic()
    sink.close()
    print(time.monotonic() - began, flush=True)
    for client in clients:
        client.join(20)
        assert not client.is_alive()
"""
"""Ports that are let go while clients ask, over and over; prints the seconds that each took."""
COMING_AND_GOING = """
import random, threading, time
from tests.stream.sinks.rtsp.test_rtsp_sink import Viewer, served

def comes_and_goes(address, seed):
    chance, end = random.Random(seed), time.monotonic() + 10
    while time.monotonic() < end:
        viewer = Viewer(address)
        viewer.play()
        for _ in range(chance.randrange(8)):
            viewer.packet()
        viewer.hang_up()

with served("live") as (_, (sink,)):
    clients = [threading.Thread(target=comes_and_goes, args=(sink.address, seed)) for seed in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
print("all have gone")
"""
"""Viewers who hang up at any moment, for some seconds."""


def rtsp_requests(url: str) -> list[bytes]:
    """What a client might say, in the order in which it would."""

    def request(method: str, end: str = "", *headers: str) -> bytes:
        return "\r\n".join([f"{method} {url}{end} RTSP/1.0", "CSeq: 2", *headers, "", ""]).encode()

    tunnel = "/live HTTP/1.0\r\nx-sessioncookie: abc\r\n"
    return [
        request("OPTIONS"),
        request("DESCRIBE", "", "Accept: application/sdp"),
        request("SETUP", "/stream=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"),
        request("PLAY"),
        b"$\0\0\4abcd",
        request("GET_PARAMETER"),
        request("TEARDOWN"),
        request("DESCRIBE", "/elsewhere?x=1", "Accept: application/sdp"),
        f"GET {tunnel}Accept: application/x-rtsp-tunnelled\r\n\r\n".encode(),
        f"POST {tunnel}Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n\r\n".encode(),
        request("ANNOUNCE", "", "Content-Type: application/sdp", "Content-Length: 10") + b"v=0\r\no=- 1",
        request("RECORD"),
        request("SET_PARAMETER", "", "Content-Length: 99999999"),
    ]


def http_requests() -> list[bytes]:
    chunked = b"POST /control HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /live.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /snapshot.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        chunked + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}   \r\n0\r\n\r\n",
        chunked + b"Content-Length: 12\r\n\r\n{\"a\":",
        b"POST /whep HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 5\r\n\r\nv=0\r\n",
    ]  # fmt: skip


def broken(whole: bytes, chance: random.Random) -> bytes:
    """A request with one thing wrong in it."""
    at = chance.randrange(len(whole))
    return chance.choice(
        [
            whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1 :],
            whole[:at] + whole[at + chance.randrange(1, 20) :],
            whole[:at] + chance.randbytes(chance.randrange(1, 30)) + whole[at:],
            whole[:at],
            whole[:at] + whole[at : at + 30] * chance.randrange(1, 50) + whole[at:],
            whole[:at] + b"A" * chance.randrange(1, 9000) + whole[at:],
        ]
    )


def assault(port: int, requests: list[bytes], seed: int) -> None:
    """Connections that say malformed things; some are kept open until all are made, some are reset."""
    chance, kept = random.Random(seed), []
    for _ in range(CONNECTIONS):
        one = socket.create_connection(("127.0.0.1", port), 10)
        one.settimeout(0.02)
        kept.append(one)
        in_order = chance.random() < 0.6
        said = requests[: chance.randrange(1, 8)] if in_order else chance.choices(requests, k=3)
        wrong = chance.randrange(len(said))
        try:
            for number, request in enumerate(said):
                one.sendall(broken(request, chance) if number == wrong else request)
                try:
                    one.recv(chance.choice([1, 1000, 65536]))
                except TimeoutError:
                    pass
        except OSError:  # it was hung up on
            pass
        end = chance.random()
        if end < 0.7:
            if end < 0.2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            kept.pop().close()
    for one in kept:
        one.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def holds(port: int, requests: list[bytes], a_good_client: Callable[[], None]) -> None:
    """A correct client gets its picture after an assault, and a second one leaves nothing behind."""
    a_good_client()
    assault(port, requests, 1)  # what is made once and kept is made now
    a_good_client()
    gc.collect()
    wait_for(lambda: threading.active_count() < 64)
    before = descriptors(), len(os.listdir("/proc/self/task"))
    memory = resident_mb()
    assault(port, requests, 2)
    a_good_client()
    wait_for(lambda: (gc.collect(), descriptors() <= before[0])[1], 60)
    # Pools of GLib and asyncio keep some threads for a while.
    wait_for(lambda: len(os.listdir("/proc/self/task")) <= before[1] + 4, 60)
    assert resident_mb() < memory + 40


def test_an_rtsp_port_holds_under_malformed_bytes() -> None:
    with served("live") as (_, (sink,)):

        def watch() -> None:
            viewer = Viewer(sink.address)
            with closing(viewer._socket):
                assert pictures_for(viewer.play(), 10.0, enough=1)

        holds(sink.address.port, rtsp_requests(str(sink.address)), watch)


def test_an_http_port_holds_under_malformed_bytes(caplog: pytest.LogCaptureFixture) -> None:
    sink = opened("")
    try:

        def look() -> None:
            status, _, body = get(sink.port, "/snapshot.jpg")
            assert status == 200
            assert body.startswith(b"\xff\xd8")

        holds(sink.port, http_requests(), look)
    finally:
        sink.close()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def pictures_for(viewer: Viewer, seconds: float, enough: int = 10**6) -> int:
    """Packets of video within that time; those of RTCP come even where the video has stopped."""
    viewer._socket.settimeout(seconds)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end and count < enough:
        try:
            assert viewer._take(1) == b"$"
            count += viewer._packet()[0] == 0
        except TimeoutError:
            break
    return count


def test_viewers_who_ask_by_other_addresses_share_one_stream() -> None:
    with served("live") as (_, (sink,)):
        plain = Viewer(sink.address).play()
        assert plain.packet()
        other = Viewer(sink.address)
        other.url += "?which=2"
        assert other.ask("DESCRIBE", Accept="application/sdp")[0] == 200
        pictures_for(plain, 0.5)  # what was under way
        assert pictures_for(plain, 10.0, enough=6) == 6
        other.hang_up()
        plain.leave()


def test_a_viewer_who_comes_while_the_last_ones_stream_ends_gets_a_new_one() -> None:
    sink = RtspSink(RtspAddress("", 0, "live"))
    sink.open(LIVE, SIZE)
    sends, may_end = threading.Event(), threading.Event()

    def lingers(*_: object) -> object:
        sends.set()
        may_end.wait(30)
        return door.modules()["Gst"].PadProbeReturn.OK

    with Camera(sink):
        # Each of the port's addresses has a thread for its clients: this one's will be held up.
        last = Viewer(RtspAddress("127.0.0.1", sink.address.port, "live")).play()
        try:
            assert last.packet()
            ending = sink._media
            kind = door.modules()["Gst"].PadProbeType.BUFFER
            sink._pictures.get_static_pad("src").add_probe(kind, lingers)
            assert sends.wait(10)
            last.hang_up()
            unpreparing = door.extra_module("GstRtspServer").RTSPMediaStatus.UNPREPARING
            wait_for(lambda: ending.get_status() == unpreparing)
            viewer = Viewer(RtspAddress("::1", sink.address.port, "live"))
            with closing(viewer._socket):
                assert viewer.play().packet()
                assert ending.get_status() == unpreparing
        finally:
            may_end.set()
            last.hang_up()


def test_connections_beyond_the_limit_cost_the_oldest_that_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtsp_server, "_MOST_CLIENTS", 3)
    with served("live") as (_, (sink,)):
        watching = Viewer(sink.address).play()
        silent = [Viewer(sink.address) for _ in range(3)]
        silent[0]._socket.settimeout(20)
        assert silent[0]._socket.recv(1) == b""
        assert silent[1].ask("OPTIONS")[0] == silent[2].ask("OPTIONS")[0] == 200
        assert watching.packet()
        for viewer in (watching, *silent):
            viewer.hang_up()


def unscathed(script: str) -> str:
    """What a script prints in a process of its own, where a complaint of GStreamer ends it."""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "G_DEBUG": "fatal-criticals"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def test_viewers_who_hang_up_at_any_moment_do_no_harm() -> None:
    assert "all have gone" in unscathed(COMING_AND_GOING)


def test_a_port_is_let_go_while_its_clients_ask_without_a_complaint_and_at_once() -> None:
    # GStreamer 1.22 complains a million times where connections end in another thread, 1.26 may abort.
    seconds = [float(line) for line in unscathed(CLOSED_UNDER_REQUESTS).split()]
    assert len(seconds) == 60
    assert sorted(seconds)[30] < 0.5, "requests go before the end"


def test_a_port_is_let_go_at_once_while_somebody_waits_for_a_first_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", 0, "live"))
    sink.open(LIVE, SIZE)
    viewer = Viewer(sink.address)
    with closing(viewer._socket):
        viewer._socket.sendall(f"DESCRIBE {viewer.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        wait_for(lambda: sink.watched)
        began = time.monotonic()
        sink.close()
        assert time.monotonic() - began < rtsp_server._JOIN_S / 2
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert not answers("127.0.0.1", sink.address.port)


@pytest.mark.parametrize("path", ["/control", "/live.mjpg"])
def test_a_broken_chunk_ends_its_connection_and_says_nothing(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = opened("")
    try:
        head = f"POST {path}" if path == "/control" else f"GET {path}"
        request = f"{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", sink.port), 10) as one:
            one.sendall(f"{request}Transfer-Encoding: chunked\r\n\r\n5\r\n{{}}   \r\n".encode())
            if path == "/live.mjpg":  # its answer is on the way by then
                assert one.recv(12) == b"HTTP/1.1 200"
            one.sendall(b"no length\r\n")
            answer = b""
            try:
                while data := one.recv(65536):
                    answer += data
            except ConnectionResetError:
                pass
        assert path == "/live.mjpg" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert get(sink.port, "/snapshot.jpg")[0] == 200
    finally:
        sink.close()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []

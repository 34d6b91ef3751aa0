"""The card that an RTSP stream shows before its first picture."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.stream.sinks.rtsp.test_rtsp_sink import LIVE, SIZE, Camera, Viewer
from tests.waiting import answers, free_port, wait_for

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.rtsp.server import RtspAddress
from irchroma.stream.sinks.rtsp.sink import RtspSink

pytestmark = pytest.mark.gst


@contextmanager
def waiting(port: int, name: str = "gate") -> Iterator[RtspSink]:
    """A stream that has no picture yet, once its card is served."""
    sink = RtspSink(RtspAddress("127.0.0.1", port, name))
    sink.stand_by()
    try:
        wait_for(lambda: answers("127.0.0.1", port) and described(sink.address))
        yield sink
    finally:
        sink.close()


def described(address: RtspAddress) -> bool:
    viewer = Viewer(address)
    status, _ = viewer.ask("DESCRIBE", Accept="application/sdp")
    viewer.hang_up()
    return status == 200


def disconnected(viewer: Viewer) -> bool:
    try:
        while True:
            viewer.packet()
    except (AssertionError, OSError) as error:
        return not isinstance(error, TimeoutError)
    finally:
        viewer.hang_up()


def test_a_recorder_that_comes_before_the_first_picture_sees_a_card_and_then_the_pictures() -> None:
    port = free_port()
    with waiting(port) as sink:
        early = Viewer(sink.address).play()
        assert all(early.packet() for _ in range(5))
        sink.open(LIVE, SIZE)
        assert sink.address.port == port
        assert disconnected(early)
        with Camera(sink):
            late = Viewer(sink.address).play()
            assert all(late.packet() for _ in range(30))
            late.leave()


def test_the_card_of_one_camera_gives_way_without_a_word_to_the_viewers_of_others() -> None:
    port = free_port()
    other = RtspSink(RtspAddress("127.0.0.1", port, "gate2"))
    other.open(LIVE, SIZE)
    with Camera(other):
        viewer = Viewer(other.address).play()
        with waiting(port) as sink:
            early = Viewer(sink.address).play()
            assert early.packet()
            sink.open(LIVE, SIZE)
            assert disconnected(early)
            assert all(viewer.packet() for _ in range(30))
        assert all(viewer.packet() for _ in range(30))
        viewer.leave()


def test_a_run_that_ends_before_its_first_picture_lets_the_port_go() -> None:
    port = free_port()
    with waiting(port) as sink:
        viewer = Viewer(sink.address).play()
    assert disconnected(viewer)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_a_picture_that_comes_while_the_card_is_being_served_takes_its_place() -> None:
    sink = RtspSink(RtspAddress("127.0.0.1", free_port(), "gate"))
    sink.stand_by()
    sink.open(LIVE, SIZE)
    with Camera(sink):
        assert described(sink.address)
        assert not [one for one in threading.enumerate() if one.name == "rtsp standby"]


def test_that_a_port_is_taken_is_said_when_the_stream_is_opened() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        sink = RtspSink(RtspAddress("127.0.0.1", taken.getsockname()[1], "gate"))
        sink.stand_by()
        with pytest.raises(SinkError, match="cannot listen"):
            sink.open(LIVE, SIZE)
        sink.close()

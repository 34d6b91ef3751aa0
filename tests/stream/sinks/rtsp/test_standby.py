"""The card that an RTSP stream shows before its first picture."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.stream.sinks.rtsp.test_rtsp_sink import LIVE, SIZE, Camera, Viewer
from tests.waiting import answers, free_port, wait_for

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.encoding.encoders import Encoder, choose_encoder
from irchroma.stream.sinks.encoding.task import EncoderTask
from irchroma.stream.sinks.rtsp import sink as sink_module
from irchroma.stream.sinks.rtsp import standby
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


def test_a_stream_that_leaves_takes_no_viewer_of_one_whose_name_begins_with_its_own() -> None:
    port = free_port()
    outer, inner = (RtspSink(RtspAddress("127.0.0.1", port, name)) for name in ("cam", "cam/hd"))
    outer.open(LIVE, SIZE)
    inner.open(LIVE, SIZE)
    with Camera(inner):
        at_inner = Viewer(inner.address).play()
        with Camera(outer):
            at_outer = Viewer(outer.address).play()
            assert at_outer.packet()
        assert disconnected(at_outer)
        assert all(at_inner.packet() for _ in range(30))
        at_inner.leave()


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
        assert no_card_is_left()


class SlowCards:
    """Finds no encoder for a card until it is let go: on a busy machine that takes longer than is waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when_for_pictures: Callable[[], None]) -> None:
        self.let_go, self._when_for_pictures = threading.Event(), when_for_pictures
        monkeypatch.setattr(sink_module, "choose_encoder", self.choose)
        monkeypatch.setattr(standby, "_JOIN_S", 0.1)

    def choose(self, task: EncoderTask) -> Encoder:
        if threading.current_thread().name == "rtsp standby":
            assert self.let_go.wait(60)
        else:
            self._when_for_pictures()
        return choose_encoder(task)


def no_card_is_left() -> bool:
    return not [one for one in threading.enumerate() if one.name == "rtsp standby"]


def test_a_card_that_is_late_does_not_keep_the_pictures_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def card_comes_first() -> None:
        slow.let_go.set()
        wait_for(no_card_is_left)

    slow = SlowCards(monkeypatch, card_comes_first)
    sink = RtspSink(RtspAddress("127.0.0.1", free_port(), "gate"))
    sink.stand_by()
    sink.open(LIVE, SIZE)
    with Camera(sink):
        assert described(sink.address)
    assert not answers("127.0.0.1", sink.address.port)


@pytest.mark.parametrize("opened", [True, False])
def test_a_card_that_is_late_lets_go_of_all_when_its_run_is_over(
    opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowCards(monkeypatch, lambda: None)
    address = RtspAddress("127.0.0.1", free_port(), "gate")
    sink = RtspSink(address)
    sink.stand_by()
    if opened:
        sink.open(LIVE, SIZE)
    sink.close()
    slow.let_go.set()
    wait_for(no_card_is_left)
    assert not answers("127.0.0.1", address.port)
    again = RtspSink(address)
    again.open(LIVE, SIZE)
    again.close()


def test_that_a_port_is_taken_is_said_when_the_stream_is_opened() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        sink = RtspSink(RtspAddress("127.0.0.1", taken.getsockname()[1], "gate"))
        sink.stand_by()
        with pytest.raises(SinkError, match="cannot listen"):
            sink.open(LIVE, SIZE)
        sink.close()

"""SRT on loopback, calling and called: what arrives, and what an end of the other side says."""

import socket
from collections.abc import Callable, Iterator

import pytest
from tests.stream.sources.test_network_sources import _COUNTS, _H264, opened, several
from tests.waiting import free_port

from irchroma.stream.errors import SourceLost
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sources.transport_source import TransportSource

pytestmark = pytest.mark.gst


@pytest.fixture
def send() -> Iterator[Callable[[str], None]]:
    running: list[Pipeline] = []

    def start(line: str) -> None:
        running.append(Pipeline(line))
        running[-1].start()

    yield start
    for pipeline in running:
        pipeline.stop()


@pytest.mark.parametrize("listener", ["sender", "receiver"])
def test_srt_brings_h264_in_both_directions(send: Callable[[str], None], listener: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    mode = "?mode=listener" if listener == "sender" else ""
    send(f"{_H264} ! mpegtsmux ! srtsink wait-for-connection=false uri=srt://127.0.0.1:{port}{mode}")
    address = f"srt://127.0.0.1:{port}" if listener == "sender" else f"srt://:{port}"
    with opened(TransportSource(address)) as source:
        assert several(source)[0].size == (48, 64)


def test_an_srt_sender_that_ends_is_lost_at_once_and_called_again() -> None:
    port = free_port(socket.SOCK_DGRAM)
    line = f"{_H264} ! mpegtsmux ! srtsink wait-for-connection=false uri=srt://127.0.0.1:{port}?mode=listener"
    source = TransportSource(f"srt://127.0.0.1:{port}")
    for _ in range(2):
        sender = Pipeline(line)
        sender.start()
        try:
            with opened(source):
                several(source)
                sender.stop()
                with pytest.raises(SourceLost, match="the connection broke"):  # not: no frame for 5 s
                    several(source, 100_000)
        finally:
            sender.stop()


def test_srt_brings_counts_with_a_passphrase(send: Callable[[str], None]) -> None:
    port = free_port(socket.SOCK_DGRAM)
    key = "passphrase=correct-horse"
    send(
        f"{_COUNTS} ! avenc_ffv1 ! matroskamux streamable=true"
        f' ! srtsink uri="srt://127.0.0.1:{port}?mode=listener&{key}"'
    )
    source = TransportSource(f"srt://127.0.0.1:{port}?{key}")
    try:
        info = source.open()
        assert info.counts
        assert "horse" not in info.description
        assert several(source)[0].is_counts
    finally:
        source.close()

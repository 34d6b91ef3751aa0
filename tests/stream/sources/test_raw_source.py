"""Headerless raw video: bits untouched, odd widths, wrong sizes."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reading import frames_of

from irchroma.stream.errors import SourceError, SourceLost, StreamOptionError
from irchroma.stream.gstreamer.door import GstFailure, modules
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sources import gst_source
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.raw_source import RawLayout, RawSource, parse_raw_address

COUNTS = np.random.default_rng(3).integers(0, 65536, (6, 13, 17)).astype(np.uint16)


@pytest.mark.gst
@pytest.mark.parametrize(("name", "order"), [("gray16le", "<u2"), ("Y16", "<u2"), ("GRAY16_BE", ">u2")])
def test_counts_of_odd_width_arrive_bit_for_bit(tmp_path: Path, name: str, order: str) -> None:
    path = tmp_path / "counts.raw"
    path.write_bytes(COUNTS.astype(order).tobytes())
    source = open_source(f"raw:{path}?size=17x13&format={name}&rate=9")
    assert isinstance(source, RawSource)
    frames = frames_of(source)
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), COUNTS)
    assert [frame.pts_ns for frame in frames] == [n * 10**9 // 9 for n in range(6)]


@pytest.mark.gst
def test_luma_of_odd_width_arrives_bit_for_bit(tmp_path: Path) -> None:
    luma = (COUNTS >> 8).astype(np.uint8)
    path = tmp_path / "luma.raw"
    path.write_bytes(luma.tobytes())
    frames = frames_of(RawSource(f"raw:{path}?size=17x13&format=gray8"))
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), luma)


@pytest.mark.gst
def test_standard_input_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        os.write(writing, COUNTS.tobytes())
        os.close(writing)
        assert len(frames_of(RawSource("raw:-?size=17x13"))) == 6
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)


@pytest.mark.gst
def test_a_live_run_from_a_pipe_ends_with_it() -> None:
    """It was waited for as a camera is, for ever, though what has been piped in never comes again."""
    words = ["run", "raw:-?size=17x13&live=1", "--to", "null", "--engine", "gray", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "irchroma.launch", *words], input=COUNTS.tobytes(), timeout=60, check=False
    )
    assert done.returncode == 0


@pytest.mark.gst
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_pipe_that_falls_silent_within_a_frame_goes_on_in_step_or_ends(goes_on: bool) -> None:
    """The frames after it were torn in two, for good."""
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    try:
        source = RawSource("raw:-?size=17x13&live=1")
        os.write(writing, COUNTS[0].tobytes() + COUNTS[1].tobytes()[:100])
        source.open()
        assert source.read(1) is not None
        with pytest.raises(SourceLost, match="no frame for"):
            source.read(0.3)
        source.close()
        if goes_on:
            os.write(writing, COUNTS[1].tobytes()[100:] + COUNTS[2].tobytes())
        else:
            os.close(writing)
        source.open()
        frame = source.read(1)
        source.close()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)
        if goes_on:
            os.close(writing)
    if goes_on:
        assert frame is not None
        np.testing.assert_array_equal(frame.pixels, COUNTS[2])
    else:
        assert frame is None


@pytest.mark.gst
def test_tcp_is_live() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            connection.sendall(COUNTS.tobytes())
            done.wait(10)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        source = RawSource(f"raw:tcp://127.0.0.1:{listening.getsockname()[1]}?size=17x13")
        try:
            info = source.open()
            frame = source.read(5)
        finally:
            done.set()
            source.close()
        assert info.live
        assert info.counts
        assert frame is not None
        assert any(np.array_equal(frame.pixels, picture) for picture in COUNTS)


class Watched(RawSource):
    """Notes the bytes of each piece in which its frames come."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.pieces: list[int] = []

    def _attach(self, coded: str, pipeline: Pipeline) -> None:
        gst = modules()["Gst"]

        def note(_pad: object, info: Any) -> Any:
            self.pieces.append(info.get_buffer().get_size())
            return gst.PadProbeReturn.OK

        pipeline.element("in").get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, note)

    def read_to_the_end(self) -> None:
        try:
            self.open()
            with suppress(SourceLost):  # a camera that ends its stream
                while self.read(5) is not None:
                    pass
        finally:
            self.close()


LARGE = np.random.default_rng(1).integers(0, 256, (8, 720, 1280), np.uint8).tobytes()


@pytest.mark.gst
def test_large_frames_come_in_large_pieces_over_tcp() -> None:
    """A frame in hundreds of pieces is twice the work."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(LARGE)

        threading.Thread(target=serve, daemon=True).start()
        source = Watched(f"raw:tcp://127.0.0.1:{listening.getsockname()[1]}?size=1280x720&format=gray8")
        source.read_to_the_end()
    assert sum(source.pieces) == len(LARGE)
    assert len(LARGE) / len(source.pieces) > 16384


@pytest.mark.gst
def test_large_frames_come_in_large_pieces_from_a_pipe() -> None:
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)

    def give() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(LARGE)

    threading.Thread(target=give, daemon=True).start()
    try:
        source = Watched("raw:-?size=1280x720&format=gray8")
        source.read_to_the_end()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert sum(source.pieces) == len(LARGE)
    assert len(LARGE) / len(source.pieces) > 16384


@pytest.mark.gst
def test_who_refuses_the_connection_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(SourceLost, match=f"127.0.0.1 refuses connections at port {port}"):
        RawSource(f"raw:tcp://127.0.0.1:{port}?size=17x13").open()


@pytest.mark.gst
def test_a_connection_that_no_pipeline_could_be_made_for_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise GstFailure("no caps", "core", "missing-plugin")

    monkeypatch.setattr(gst_source, "accepted_caps", missing)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        source = RawSource(f"raw:tcp://127.0.0.1:{listening.getsockname()[1]}?size=17x13")
        with pytest.raises(SourceLost, match="no caps"):
            source.open()
        with listening.accept()[0] as connection:
            connection.settimeout(5)
            assert connection.recv(1) == b""


@pytest.mark.gst
@pytest.mark.parametrize("host", ["a..b", f"{'a' * 70}.b"])
def test_a_name_that_no_host_can_have_is_told_as_one(host: str) -> None:
    with pytest.raises(SourceLost, match="no host is called"):
        open_source(f"raw:tcp://{host}:5000?size=64x48").open()


@pytest.mark.gst
def test_a_wrong_size_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "counts.raw"
    path.write_bytes(COUNTS.tobytes())
    with pytest.raises(SourceError, match="expected a multiple of 448 bytes for 16x14 gray16le, got 2652"):
        RawSource(f"raw:{path}?size=16x14").open()
    with pytest.raises(SourceError, match="no such file"):
        RawSource(f"raw:{tmp_path / 'absent'}?size=16x14").open()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raw:x.bin", "says nothing of itself"),
        ("raw:x.bin?sise=4x4", "did you mean 'size'"),
        ("raw:x.bin?size=4", "bad value '4' of 'size'"),
        ("raw:x.bin?size=4x4&format=gray17", "bad value 'gray17' of 'format'"),
        ("raw:x.bin?size=4x4&rate=0", "bad value '0' of 'rate'"),
        ("raw:tcp://host?size=4x4", "expected tcp://host:port"),
        ("raw:tcp://fe80::1:5000?size=4x4", r"expected tcp://host:port \(.*: tcp://\[fe80::1\]:5000\)$"),
    ],
)
def test_an_address_that_leaves_something_open_is_refused(text: str, words: str) -> None:
    with pytest.raises(StreamOptionError, match=words):
        RawSource(text)


def test_an_address_is_taken_apart() -> None:
    place, layout = parse_raw_address("raw:/a?b.bin?size=640x512&rate=30000/1001&format=y16&live=true")
    assert place == "/a?b.bin"
    assert layout == RawLayout((512, 640), "gray16le", Fraction(30000, 1001), True)
    assert layout.frame_bytes == 640 * 512 * 2

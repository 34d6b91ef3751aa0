"""The cameras that benches play."""

from __future__ import annotations

import socket
from contextlib import closing

import numpy as np
import pytest

from irchroma.launch.bench.speed.played import ClipServer, drawn
from irchroma.launch.cli import main
from irchroma.stream.sources.open_source import open_source


@pytest.mark.gst
@pytest.mark.parametrize("kind", ["nir", "thermal", "thermal, the other byte order"])
def test_the_clip_comes_at_its_pace_to_every_client(kind: str) -> None:
    clip = drawn("nir" if kind == "nir" else "thermal", (48, 64))
    given = [one.byteswap().view(one.dtype.newbyteorder()) for one in clip] if "other" in kind else clip
    server = ClipServer((48, 64), 25, given)
    try:
        for _ in range(2):
            source = open_source(server.address)
            info = source.open()
            assert info.live
            assert info.size == (48, 64)
            frames = [source.read(10) for _ in range(5)]
            assert all(frame is not None and frame.pixels.shape == (48, 64) for frame in frames)
            assert any((frames[0].pixels != frame.pixels).any() for frame in frames[1:])  # type: ignore[union-attr]
            for frame in frames:
                assert frame is not None
                assert frame.pixels.dtype == clip[0].dtype
                assert any(np.array_equal(frame.pixels, one) for one in clip)
            source.close()
    finally:
        server.close()


def test_a_client_that_begins_late_has_left_nothing_out() -> None:
    """It loads its network first."""
    frame = np.zeros((2048, 4096), np.uint16)  # more than sockets hold
    with closing(ClipServer(frame.shape, 100, [frame])) as server:
        port = int(server.address.split("?")[0].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 20) as client, client.makefile("rb") as taken:
            assert not server.taken.wait(1.0)
            assert len(taken.read(frame.nbytes)) == frame.nbytes
            assert server.taken.wait(20)
            assert taken.read(1)
            assert server.left_out < 80


def test_sizes_and_counts_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--cameras", "few"), ("--size", "640"), ("--cameras", "0")):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "cpu", "--json", "x.json", option, value])
        assert capsys.readouterr().err.startswith(f"irchroma bench cpu: argument {option}: expected ")

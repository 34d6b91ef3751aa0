"""The cameras that benches play."""

from __future__ import annotations

import pytest

from irchroma.launch.bench.speed.played import ClipServer
from irchroma.launch.cli import main
from irchroma.stream.sources.open_source import open_source


@pytest.mark.gst
def test_the_clip_comes_at_its_pace_to_every_client() -> None:
    server = ClipServer((48, 64), rate=25)
    try:
        for _ in range(2):
            source = open_source(server.address)
            info = source.open()
            assert info.live
            assert info.size == (48, 64)
            frames = [source.read(10) for _ in range(5)]
            assert all(frame is not None and frame.pixels.shape == (48, 64) for frame in frames)
            assert any((frames[0].pixels != frame.pixels).any() for frame in frames[1:])  # type: ignore[union-attr]
            source.close()
    finally:
        server.close()


def test_sizes_and_counts_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--cameras", "few"), ("--size", "640"), ("--cameras", "0")):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "cpu", "--json", "x.json", option, value])
        assert capsys.readouterr().err.startswith(f"irchroma bench cpu: argument {option}: expected ")

"""What a run says before it works, or in place of a false cause: a port that is taken, no reference."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from irchroma.engines.palette.gray import GrayColorizer
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.outputs import require_outputs
from irchroma.launch.run.settings.options import RunConfig, load
from irchroma.stream.errors import SinkError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySource
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.null_sink import NullSink
from irchroma.stream.view.composer import ViewComposer

GOOD = "test:nir?size=64x48&frames=3"


@pytest.mark.parametrize("kind", ["http", "rtsp"])
def test_a_port_that_is_taken_is_said_once_and_before_the_work(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        to = f"{kind}://:{port}/" + ("gate" if kind == "rtsp" else "")
        assert main(["run", GOOD, "--to", to]) == 1
        told = f"--to {to}: port {port} is in use, perhaps by another run: take another port"
        assert capsys.readouterr().err == f"irchroma run: {told}\n"
        camera = {"source": "rtsp://127.0.0.1:9/none"}
        require_outputs(load(None, {**camera, "to": [to, "null"]}))  # it is tried again beside the others
        with pytest.raises(ConfigError, match="is in use"):
            require_outputs(load(None, {**camera, "to": [to]}))
    require_outputs(load(None, {"source": GOOD, "to": [to]}))


class Dead(NullSink):
    """Never there."""

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        raise SinkError("is not there")


@pytest.mark.parametrize(("sink", "slow"), [(NullSink, True), (Dead, False)])
def test_frames_that_no_output_was_there_for_are_not_put_down_to_a_slow_machine(
    sink: type[NullSink], slow: bool
) -> None:
    monitor = Monitor(RunConfig(source="test:nir", to=("null",)), quiet=True)
    source = MemorySource([Frame(np.zeros((4, 6), np.uint8), n * 10**7) for n in range(9)])
    writers = [SinkWriter(sink(), "x")]
    loop = monitor.loop = Loop(source, lambda _: GrayColorizer(), ViewComposer(), writers, LoopOptions())
    failure = None
    try:
        loop.run()
    except SinkError as error:
        failure = str(error)
    assert failure == (None if slow else "is not there")
    assert loop.frames
    loop.reader.ring.drops += 3
    monitor.finish(failure)
    assert slow == any("could not keep up with all" in one["text"] for one in monitor.remarks.listed())


def test_an_engine_that_colors_by_a_reference_says_that_it_has_none(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    words = ["run", "test:thermal?size=64x48&frames=2", "--to", "null", "--stats", str(stats), "--quiet"]
    assert main([*words, "--engine", "reference"]) == 0
    told = json.loads(stats.read_text(encoding="utf-8"))["remarks"]
    assert "engine reference:thermal has no picture to color by" in told[0]["text"]

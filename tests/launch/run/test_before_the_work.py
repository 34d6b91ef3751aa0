"""What a run says before it works, or in place of a false cause: a port that is taken, no reference."""

from __future__ import annotations

import json
import socket
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.engines.palette.gray import GrayColorizer
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.cameras import CameraRun, CamerasConfig
from irchroma.launch.run.engines import open_engine
from irchroma.launch.run.feeds import CamerasRun
from irchroma.launch.run.monitoring.monitor import BandDoubt, Monitor
from irchroma.launch.run.outputs import require_outputs
from irchroma.launch.run.settings.options import RunConfig, load, require
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SinkError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySink, MemorySource
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Job, VideoInfo
from irchroma.stream.sinks.null_sink import NullSink
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.osd import OsdOptions

GOOD = "test:nir?size=64x48&frames=3"


@pytest.mark.parametrize("kind", ["http", "rtsp", "srt"])
def test_a_port_that_is_taken_is_said_once_and_before_the_work(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(type=socket.SOCK_DGRAM if kind == "srt" else socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        if kind != "srt":
            other.listen()
        port = other.getsockname()[1]
        to = f"{kind}://:{port}" + {"http": "/", "rtsp": "/gate", "srt": ""}[kind]
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


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("auto", "engine auto: nir, as the source gives luma; for the other band --engine thermal"),
        (
            "reference",
            "engine reference: reference:nir, as the source gives luma; for the other band --engine"
            " reference:thermal",
        ),
        ("nir", None),
        ("reference:nir", None),
    ],
)
def test_which_band_is_taken_where_none_was_said_and_how_to_name_the_other(
    engine: str, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    info = VideoInfo((64, 96), Fraction(25), live=False)
    open_engine(RunConfig(source="night.mp4", to=("null",), engine=engine), info).close()
    assert [one for one in caplog.messages if "other band" in one] == [told] * (told is not None)


@pytest.mark.parametrize("live", [0, 1])
def test_the_time_in_the_queue_of_a_recording_is_no_reading(live: int) -> None:
    pictures = []
    for show in (("latency",), ()):
        sink = MemorySink()
        config = RunConfig(
            source=f"test:nir?size=160x120&frames=3&live={live}", to=(), engine="gray", osd=OsdOptions(show)
        )
        build_loop(config, extra_sinks={"kept": sink}).run()
        pictures.append(sink.pictures[0])
    assert np.array_equal(*pictures) != live


class Shown:
    """What composes after the watch."""

    def compose(self, job: Job) -> Picture:
        return Picture(job.luma)

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        raise AssertionError(reason)


class Believed:
    """A network's answer of which so much is believed, by turns."""

    rgb = np.zeros((4, 6, 3), np.uint8)

    def __init__(self, level: int | None) -> None:
        self.confidence = None if level is None else np.full((4, 6), level, np.uint8)


@pytest.mark.parametrize(
    ("engine", "levels", "doubted"),
    [
        ("nir fast", [25], True),
        ("nir fast", [160], False),
        ("nir fast", [25, 25, 160, 25, 25, 25, 25, 25], False),
        ("nir fast", [None], False),
        ("thermal fast", [25], False),
        ("reference nir + reference, openvino", [25], True),
        ("reference thermal + reference, openvino", [25], False),
    ],
)
def test_video_that_the_network_for_near_infrared_believes_nothing_of_is_doubted_once(
    engine: str, levels: list[int | None], doubted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    said = "reference:thermal" if engine.startswith("reference") else "thermal"
    watch, luma = BandDoubt(Shown(), said), np.zeros((4, 6), np.uint8)
    for number in range(150):
        colored = Believed(levels[number // 15 % len(levels)])
        job = Job(Frame(luma, number), luma, colored=colored, engine=engine, synthetic=True)
        assert watch.compose(job).size == (4, 6)
    assert [one for one in caplog.messages if one.endswith(f", say --engine {said}")] == caplog.messages
    assert len(caplog.messages) == doubted


def test_a_folder_that_is_not_there_is_refused_also_beside_other_outputs_unless_it_is_waited_for() -> None:
    """Where a camera was recorded to it, the first minute was lost until somebody read the log."""
    both = {"source": "rtsp://127.0.0.1:9/none", "to": ["nowhere/a.mp4", "rtsp://:8554/gate"]}
    waits = {"reconnect.wait_at_start": True}
    for asked in (both, {**both, "to": ["nowhere/a.mp4"]}, {**both, "to": ["nowhere/a.mp4"], **waits}):
        with pytest.raises(ConfigError, match="nowhere does not exist: make it first"):
            require_outputs(load(None, asked))
    require_outputs(load(None, {**both, **waits}))
    with pytest.raises(ConfigError, match=r"cameras\.gate: --to nowhere/a.mp4: the folder nowhere does not"):
        CamerasRun(CamerasConfig((CameraRun(both["source"], tuple(both["to"]), name="gate"),)))


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("--to out.mp4", True),
        ("--to out.mkv --to null", True),
        ("--to hls:web", True),
        ("--to web/live.m3u8", True),
        ("--to null --keep-raw raw.mkv", True),
        ("--to null", False),
        ("--to out.mkv --segment 60 --keep-days 3", True),
        ("--to out.mkv --segment 60 --keep-segments 3", False),
        ("--to out.mkv --segment 60 --keep-gb 5", False),
        ("--to out.mp4 --to rtsp://:8554/gate", False),
    ],
)
def test_what_begins_again_and_again_is_not_kept_where_nothing_shows_it(
    words: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written as fast as it went, until the disk was full."""
    monkeypatch.chdir(tmp_path)
    flags = words.split()
    asked: dict[str, Any] = {
        "to": [to for flag, to in zip(flags[::2], flags[1::2], strict=True) if flag == "--to"]
    }
    of_flags = {"--segment": "segment_s", "--keep-days": "keep_days", "--keep-segments": "keep_segments"}
    for flag, name in (of_flags | {"--keep-gb": "keep_gb"}).items():
        if flag in flags:
            asked[f"output.{name}"] = int(flags[flags.index(flag) + 1])
    if "--keep-raw" in flags:
        asked["output.keep_raw"] = "raw.mkv"
    config = load(None, {"source": "night.mp4", "input.loop": True, **asked})
    with pytest.raises(ConfigError, match="--loop never ends") if refused else nullcontext():
        require(config)
    require(load(None, {"source": "night.mp4", **asked}))

"""What somebody sees who runs the demonstration for the first time."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.engines.network.network import installed
from irchroma.engines.neural.speed import pace
from irchroma.launch import cli, demo
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.settings.options import RunConfig

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]

SCENE = "test:nir?size=96x64&seconds=3&live=1&ahead=1"


@pytest.fixture
def first_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words of the demonstration on a machine that has never colored anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pace, "PATIENCE_S", 600.0)  # however busy this machine is
    monkeypatch.setattr(demo, "tune_process", lambda: None)  # it is the test's process
    return [SCENE, "--out", str(tmp_path)]


@pytest.mark.usefixtures("made_up")
def test_a_scene_whose_color_came_late_is_shown_once_more(
    first_time: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Governor.open
    times = []

    def late_once(self: Governor, options: Any) -> Any:  # as a network is that was never compiled here
        times.append(options)
        if len(times) == 2:  # the first one is before the scene
            threading.Event().wait(4)
        return opened(self, options)

    monkeypatch.setattr(Governor, "open", late_once)
    assert demo.main(first_time) == 0
    said = capsys.readouterr().out
    assert said.count("once more") == 1
    assert len(times) >= 3
    assert "\ntest:nir  " in said, "the table names the scene, not its switches"
    assert cv2.imread(str(tmp_path / "contact_sheet.png")) is not None


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_the_machine_is_measured_before_the_first_scene_and_then_remembered(
    first_time: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for again in (False, True):
        assert demo.main(first_time) == 0
        said = capsys.readouterr().out
        assert said.count("measuring this machine") == (not again)
        assert " color after\n" in said
        assert "fps and latency: from the first colored picture on" in said
    assert demo.main([*first_time, "--engine", "palette:ironbow"]) == 0
    assert "measuring this machine" not in capsys.readouterr().out


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
@pytest.mark.usefixtures("first_time", "made_up")
def test_what_is_said_to_be_measured_and_remembered_is_so_before_the_first_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run gives up after a while, and colors; the scene would share the cores with what goes on."""
    measured = pace._measured

    def slow(demand: pace.Demand, asked: Any) -> Any:
        threading.Event().wait(1)
        return measured(demand, asked)

    monkeypatch.setattr(pace, "_measured", slow)
    monkeypatch.setattr(pace, "PATIENCE_S", 0.05)
    demo.make_ready(RunConfig(engine="auto", source=SCENE))
    assert list(tmp_path.rglob("pace-*.json"))
    assert not pace._measuring.locked()


@pytest.mark.usefixtures("first_time", "made_up")
def test_a_machine_that_is_not_measured_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, measured = threading.Event(), pace._measured

    def held(demand: pace.Demand, asked: Any) -> Any:
        assert may_end.wait(60)
        return measured(demand, asked)

    monkeypatch.setattr(pace, "_measured", held)
    monkeypatch.setattr(demo, "_READY_S", 0.1)
    demo.make_ready(RunConfig(engine="auto", source=SCENE))
    assert not may_end.is_set()
    may_end.set()
    wait_for(lambda: not pace._measuring.locked(), 60)


def test_a_recording_of_8_bits_is_said_to_be_taken_for_near_infrared(
    first_time: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, told = (
        str(tmp_path / "people.mkv"),
        "people.mkv was taken for near infrared; for thermal add --engine",
    )
    assert cli.main(["run", "test:thermal?size=96x64&seconds=2", "--to", clip, "--engine", "gray"]) == 0
    for more, said in ([], True), (["--engine", "thermal"], False):
        assert demo.main([clip, *first_time[1:], *more]) == 0
        assert (told in capsys.readouterr().out) == said


def test_ctrl_c_ends_the_demonstration_and_not_only_its_first_scene(
    first_time: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(stop_run: Callable[[], None]) -> list[int]:
        threading.Timer(1.5, stop_run).start()
        return [signal.SIGINT]

    monkeypatch.setattr(demo, "stop_on_signals", stopped)
    demo.main([SCENE, *first_time, "--engine", "palette:lava"])
    assert capsys.readouterr().out.count("demo: coloring") == 1


def test_ctrl_c_while_the_demonstration_loads_leaves_no_traceback() -> None:
    script = Path(demo.__file__).with_name("demo").read_text(encoding="utf-8")
    program = re.search(r"/python\" -c '([^']*)'", script)
    assert program is not None
    interrupted = program[1].replace(
        "runpy.run_module", "signal.raise_signal(signal.SIGINT)\nrunpy.run_module"
    )
    ended = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_the_table_calls_a_file_by_its_name() -> None:
    assert demo.name_of("/a/long/way/to/a.png") == "a.png"
    assert demo.name_of("rtsp://me:secret@camera/x?y") == "rtsp://camera/x"
    assert demo.name_of(SCENE) == "test:nir"


def shown(sink: demo.SampleSink, strengths: list[float]) -> None:
    """Give it pictures side by side: gray, and color of so many codes."""
    for strength in strengths:
        picture = np.full((64, 128, 3), 100, np.uint8)
        picture[:, 64:, 0] += np.uint8(strength)
        sink.write(picture, 0, 0)


def test_the_first_colored_picture_is_the_first_with_half_of_the_color_that_comes() -> None:
    sink = demo.SampleSink()
    assert sink.first_colored() is None
    shown(sink, [0.0] * 40 + [4.0, 12.0, 30.0] + [40.0] * 200)
    assert (sink.first_colored(), sink.first_colored(0.9)) == (42, 43)
    assert [number for number, _ in sink.samples][:2] == [0, 8]
    assert len(sink.samples) <= 48
    gray = demo.SampleSink()
    shown(gray, [0.0] * 9)
    assert gray.first_colored() is None


def test_rows_are_spread_from_the_first_colored_picture_to_the_last() -> None:
    assert demo.spread_out(range(10), 3) == [0, 4, 9]
    assert demo.spread_out(range(2), 3) == [0, 1]
    assert demo.spread_out([], 3) == []


@pytest.mark.parametrize(
    ("first", "auto", "share"),
    [(60, {}, 0.25), (0, {}, 0.0), (None, {"chosen": "fast"}, 1.0), (None, None, 0.0)],
)
def test_without_color_is_what_went_before_it_and_all_where_a_network_was_late(
    first: int | None, auto: dict[str, str] | None, share: float
) -> None:
    assert demo.Shown({"frames": 240, "auto": auto}, [], first, 1.0).without == share


def test_each_latency_is_kept_with_its_time() -> None:
    meter = demo.KeptLatencies()
    meter.add(5_000_000)
    meter.add(7_000_000)
    assert [duration_ns for _, duration_ns in meter.each] == [5_000_000, 7_000_000]
    assert meter.each[0][0] <= meter.each[1][0]
    assert meter.summary()["count"] == 2

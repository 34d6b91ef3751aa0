"""What a run is, why and since when, and who is told: statistics, page, a command, a web address."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.waiting import free_port, wait_for

from irchroma.engines.palette.gray import GrayColorizer
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.monitoring import events
from irchroma.launch.run.monitoring.events import EventHook
from irchroma.launch.run.monitoring.health import NO_FRAME, Health, state_of
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.settings.options import RunConfig
from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySink, MemorySource, Step
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.reader import ReconnectOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.view.composer import ViewComposer

OPTIONS = LoopOptions(
    reconnect=ReconnectOptions(stall_s=0.3, first_delay_s=0.1, longest_delay_s=0.1), repeat_s=2.0
)


def frames(count: int, start: int = 0) -> list[Step]:
    pixels = np.full((48, 64), 90, np.uint8)
    steps: list[Step] = []
    for number in range(start, start + count):
        steps += [Frame(pixels, number * 40_000_000, 40_000_000), 0.04]
    return steps


@contextmanager
def running(
    steps: Iterable[Step], live: bool = True, repeat_s: float = OPTIONS.repeat_s
) -> Iterator[tuple[Loop, Health, list[dict[str, Any]]]]:
    loop = Loop(
        MemorySource(steps, live),
        lambda info: GrayColorizer(),
        ViewComposer(),
        [SinkWriter(MemorySink(), "memory")],
        replace(OPTIONS, repeat_s=repeat_s),
    )
    told: list[dict[str, Any]] = []
    health = Health(lambda: loop, told.append, {"camera": "gate"})
    errors: list[Exception] = []

    def work() -> None:
        try:
            loop.run()
        except Exception as error:  # noqa: BLE001 (handed to the test)
            errors.append(error)

    thread = threading.Thread(target=work)
    health.start()
    thread.start()
    try:
        yield loop, health, told
    finally:
        loop.stop()
        thread.join(20)
        health.stop(str(errors[0]) if errors else None)


def test_a_camera_that_is_lost_and_found_is_told_in_order_with_its_reason() -> None:
    gone: list[Step] = [SourceError("the cable is out") for _ in range(40)]
    begin_s = time.time()
    with running([*frames(10), *gone, *frames(100, 10)]) as (_, health, told):
        wait_for(lambda: [event["event"] for event in told] == ["live", "lost", "slate", "live"])
        assert health.figures()["state"] == "live"
    live, lost, slate, again = told[:4]
    assert lost["reason"] == slate["reason"] == "the cable is out"
    assert (live["reason"], again["reason"], again["was"]) == (None, None, "slate")
    assert {event["camera"] for event in told} == {"gate"}
    since = [datetime.fromisoformat(event["since"]).timestamp() for event in told]
    assert begin_s <= since[0] <= since[1] <= since[2] <= since[3] <= time.time()
    assert since[2] - since[1] == pytest.approx(OPTIONS.repeat_s, abs=0.3)
    assert told[-1]["event"] == "ended"


def test_a_camera_that_falls_silent_is_lost_after_a_second() -> None:
    """And is not before; where the machine stalls while that could be seen, it falls silent once more."""
    goes_on, over = threading.Semaphore(1), threading.Event()

    def steps() -> Iterator[Step]:
        for start in itertools.count(step=100):
            goes_on.acquire()
            if over.is_set():
                return
            yield from frames(5, start)

    silences, looks_before = 0, 0
    with running(steps(), repeat_s=60) as (loop, health, told):
        try:
            while not looks_before:
                assert silences < 20
                wait_for(lambda: told and told[-1]["event"] == "live" and loop.silence() is not None)
                while told[-1]["event"] == "live":
                    at_least = loop.silence()
                    state = health.look().state
                    at_most = loop.silence()
                    assert at_least is not None
                    assert at_most is not None
                    if at_most[0] < 1.0:
                        assert state == "live"
                        looks_before += 1
                    if at_least[0] >= 1.0:
                        assert state == "lost"
                    threading.Event().wait(0.01)
                silences += 1
                goes_on.release()
                wait_for(lambda: health.look().state == "live")
        finally:
            over.set()
            goes_on.release()
    assert [event["event"] for event in told] == [*(["live", "lost"] * silences), "live", "ended"]
    assert {event["reason"] for event in told[1:-1:2]} == {"the source is silent"}


def test_a_run_that_has_only_begun_is_not_news() -> None:
    told: list[dict[str, Any]] = []
    health = Health(lambda: None, told.append)
    assert health.look() == ("waiting", NO_FRAME, 0.0)
    assert told == []
    health.waiting = "nobody answers"
    assert health.look().reason == "nobody answers"
    assert [event["event"] for event in told] == ["waiting"]
    health.stop("given up")
    health.stop()
    assert health.figures()["state"] == "failed"
    assert health.figures()["reason"] == "given up"
    assert [event["event"] for event in told] == ["waiting", "failed"]


def test_a_file_is_live_however_slow_it_is() -> None:
    with running([*frames(3), 1.5, *frames(3, 3)], live=False) as (loop, _, told):
        wait_for(lambda: loop.frames == 6)
        assert state_of(loop).state == "live"
    assert [event["event"] for event in told] == ["live", "ended"]


def test_a_command_gets_each_event_as_json_on_its_standard_input(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = tmp_path / "hook.sh"
    script.write_text(f"#!/bin/sh\ncat >> {heard}\necho >> {heard}\n")
    script.chmod(0o755)
    hook = EventHook(f"{script} 'one argument'")
    for number in range(3):
        hook.tell({"event": "lost", "number": number})
    hook.close()
    assert [json.loads(line) for line in heard.read_text().splitlines()] == [
        {"event": "lost", "number": number} for number in range(3)
    ]


def test_a_command_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs before, while and after it is told of events; that it was killed says that nobody waited."""
    monkeypatch.setattr("irchroma.launch.run.monitoring.events._LAST_S", 0.5)
    monkeypatch.setattr("irchroma.launch.run.monitoring.events._LONGEST_S", 600.0)
    hook = EventHook("sleep 600")
    hook.tell({"event": "live"})
    wait_for(lambda: hook._process is not None)
    process = hook._process
    assert process is not None
    for number in range(200):
        hook.tell({"event": "lost", "number": number})
    assert hook._process is process
    assert process.poll() is None
    assert len(hook._waiting) == 32
    hook.close()
    wait_for(lambda: not hook._thread.is_alive())
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("start", ["setsid sleep 20 &", "sleep 20 &"])
def test_a_command_that_leaves_somebody_behind_has_ended_and_hears_of_the_next_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, start: str
) -> None:
    """What it has started keeps its standard error open, goes on, and nobody waits for it."""
    heard, left = tmp_path / "heard", tmp_path / "left"
    script = tmp_path / "hook.sh"
    script.write_text(f"#!/bin/sh\ncat >> {heard}\necho >> {heard}\n{start}\necho $! >> {left}\n")
    script.chmod(0o755)
    hook = EventHook(str(script))
    hook.tell({"number": 0})
    hook.tell({"number": 1})
    wait_for(lambda: not (hook._waiting or hook._working))
    hook.close()
    assert hook._missed == 0
    assert len(heard.read_text().splitlines()) == 2
    for number in map(int, left.read_text().split()):
        os.kill(number, signal.SIGTERM)  # which is still there
    (said,) = [record.getMessage() for record in caplog.records if "on-event" in record.getMessage()]
    assert said == f"on-event: {script}: {events._LEFT}"


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = tmp_path / "hook.sh"
    script.write_text(f"#!/bin/sh\nsleep 0.3; cat >> {heard}; echo >> {heard}\n")
    script.chmod(0o755)
    hook = EventHook(str(script))
    hook.tell({"number": 0})
    wait_for(lambda: not hook._waiting)
    for number in range(1, 43):
        hook.tell({"number": number})
    wait_for(lambda: heard.exists() and len(heard.read_text().splitlines()) >= 2)
    hook.close()
    assert json.loads(heard.read_text().splitlines()[1]) == {"number": 11, "missed": 10}


def test_an_address_is_posted_to_and_a_failure_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    got: list[dict[str, Any]] = []
    logins: list[str | None] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            logins.append(self.headers.get("Authorization"))
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if len(got) < 2 else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = EventHook(f"http://ada:s3cret@127.0.0.1:{server.server_port}/hook")
    try:
        for _ in range(4):
            hook.tell({"event": "live"})
    finally:
        hook.close()
        server.shutdown()
        server.server_close()
    assert got == [{"event": "live"}] * 4
    assert set(logins) == {"Basic YWRhOnMzY3JldA=="}
    said = [record.getMessage() for record in caplog.records if "on-event" in record.getMessage()]
    assert said == [f"on-event: http://127.0.0.1:{server.server_port}/hook: the answer was 500"]


@pytest.mark.parametrize("target", ["no-such-command-here --x", "'open", ""])
def test_a_command_that_is_not_there_is_refused_at_once(target: str) -> None:
    if target:
        with pytest.raises(ConfigError, match="--on-event"):
            EventHook(target)


@pytest.mark.gst
def test_a_run_tells_how_it_began_and_ended(tmp_path: Path) -> None:
    heard, stats = tmp_path / "heard", tmp_path / "stats.json"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
    words = [
        "--to",
        "null",
        "--engine",
        "gray",
        "--quiet",
        "--on-event",
        f'{sys.executable} -c "{code}" {heard}',
    ]
    assert main(["run", "test:nir?size=64x48&frames=9", *words, "--stats", str(stats)]) == 0
    assert [json.loads(line)["event"] for line in heard.read_text().splitlines()] == ["live", "ended"]
    assert json.loads(stats.read_text())["state"] == "ended"
    heard.unlink()
    assert main(["run", f"rtsp://127.0.0.1:{free_port()}/x", *words]) == 1
    (failed,) = [json.loads(line) for line in heard.read_text().splitlines()]
    assert failed["event"] == "failed"
    assert "refuses" in failed["reason"]


def test_how_much_of_a_live_source_is_over_counts_what_was_never_taken() -> None:
    """A scene of so many frames ended at 40 %, with half of its time left, where the machine was slow."""
    source = MemorySource(frames(1), live=True)
    monitor = Monitor(RunConfig(source="test:nir", to=("null",)), quiet=True)
    loop = monitor.loop = Loop(source, lambda _: GrayColorizer(), ViewComposer(), [], OPTIONS)
    loop.reader.info = replace(source.open(), frame_count=20)
    loop.reader.passed, source.drops, loop.frames = 2, 7, 5
    assert monitor.share_done() == 12 / 20

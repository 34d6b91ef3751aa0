"""Log lines with and without a camera's name."""

from __future__ import annotations

import gc
import json
import logging
import signal
import subprocess
import sys
import time
import weakref

import pytest

from irchroma.launch.run import process
from irchroma.launch.run.process import set_up, spared_pauses, tune_process
from irchroma.stream.loop.threads import feed_name


@pytest.mark.parametrize("camera", ["", "gate"])
def test_lines_carry_the_camera_where_there_are_several(
    camera: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("irchroma.stream.loop.reader")
    token = feed_name.set(camera)
    try:
        set_up("text", logging.INFO)
        log.info("source: %s", "a file")
        set_up("json", logging.INFO)
        log.warning("lost")
    finally:
        feed_name.reset(token)
    text, line = capsys.readouterr().err.splitlines()
    assert text.endswith(" I gate: source: a file" if camera else " I source: a file")
    told = json.loads(line)
    assert (told["message"], told["from"], told["level"]) == ("lost", "stream.loop.reader", "warning")
    assert told.get("camera", "") == camera


def test_frames_do_not_wait_for_the_interpreter_as_long_as_it_likes() -> None:
    before = sys.getswitchinterval()
    try:
        tune_process()
        assert sys.getswitchinterval() == pytest.approx(0.0002)
    finally:
        sys.setswitchinterval(before)


_RUN = """
import sys, threading
from irchroma.launch.run.process import stop_on_signals
done = threading.Event()
stop_on_signals(done.set)
print("ready", flush=True)
done.wait(20)
print("stopped", flush=True)
threading.Event().wait(float(sys.argv[1]))  # what is left to write
print("finished", flush=True)
"""


def told_twice(left_s: float, later_s: float) -> tuple[int, str]:
    """Exit code and last words; with `later_s`, the second time so long after the first has come through."""
    command = [sys.executable, "-c", _RUN, str(left_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        if later_s:
            assert process.stdout.readline() == "stopped\n"
            time.sleep(later_s)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        return process.returncode, output


def test_two_signals_at_once_are_one_wish_and_a_later_one_is_impatience() -> None:
    assert told_twice(1.0, 0.0) == (0, "stopped\nfinished\n")
    assert told_twice(60.0, 1.2) == (128 + signal.SIGTERM, "")


class _Circle:
    def __init__(self) -> None:
        self.itself = self


def test_the_collector_leaves_alone_what_was_there_before_a_run_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_ALL_LOADED_S", 600.0)
    with spared_pauses():
        assert gc.get_freeze_count() > 10_000  # modules, above all
        circle = _Circle()
        gone = weakref.ref(circle)
        del circle
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() == 0

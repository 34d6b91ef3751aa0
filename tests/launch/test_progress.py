"""The progress line."""

import io
import logging
from types import SimpleNamespace

import pytest

from irchroma.launch import progress
from irchroma.launch.progress import Progress, clock
from irchroma.launch.run.process import set_up


def test_clock_reads_like_a_clock() -> None:
    assert [clock(0), clock(63.4), clock(3723)] == ["0:00", "1:03", "1:02:03"]


def test_the_line_says_how_far_and_how_long() -> None:
    line = Progress(200, io.StringIO()).line(50, 10)
    assert "25%" in line
    assert "0:30 left" in line


def test_nothing_is_drawn_on_a_pipe() -> None:
    pipe = io.StringIO()
    drawn = Progress(10, pipe)
    drawn.update(5)
    drawn.close()
    assert pipe.getvalue() == ""


def test_a_log_gets_a_line_now_and_then_where_there_is_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now_s))
    pipe, told = io.StringIO(), list[str]()
    shown = [Progress(600, pipe), Progress(600, pipe, told.append), Progress(None, pipe, told.append)]
    for second in range(1, 151):
        now_s = 1000.0 + second
        for one in shown:
            one.update(second, "25 fps")
    assert pipe.getvalue().splitlines() == told
    assert told == ["5%  9:30 left  25 fps", "15%  8:30 left  25 fps", "25%  7:30 left  25 fps"]
    now_s = 2000.0
    lines = list[str]()
    long = Progress(None, pipe, lines.append, endless=True)
    now_s += 30
    long.update(30, "night.mkv 3/5")
    assert lines == ["0:30  night.mkv 3/5"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_of_the_log_are_not_written_behind_it(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    set_up(style, logging.INFO)
    log, drawn = logging.getLogger("irchroma.launch"), Progress(10)
    log.info("before")
    assert "\x1b" not in terminal.getvalue(), "nothing is drawn yet"
    drawn.update(5, "half of it")
    log.info("meanwhile")
    drawn.close()
    log.info("after")
    lines = [line.rpartition("\x1b[K")[2] for line in terminal.getvalue().split("\n")[:-1]]
    assert len(lines) == 3
    assert not any("half of it" in line for line in lines)
    assert all(word in line for word, line in zip(("before", "meanwhile", "after"), lines, strict=True))

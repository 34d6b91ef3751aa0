"""The progress line."""

import io
import logging

import pytest

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
    progress = Progress(10, pipe)
    progress.update(5)
    progress.close()
    assert pipe.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("style", ["text", "json"])
def test_lines_of_the_log_are_not_written_behind_it(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    set_up(style, logging.INFO)
    log, progress = logging.getLogger("irchroma.launch"), Progress(10)
    log.info("before")
    assert "\x1b" not in terminal.getvalue(), "nothing is drawn yet"
    progress.update(5, "half of it")
    log.info("meanwhile")
    progress.close()
    log.info("after")
    lines = [line.rpartition("\x1b[K")[2] for line in terminal.getvalue().split("\n")[:-1]]
    assert len(lines) == 3
    assert not any("half of it" in line for line in lines)
    assert all(word in line for word, line in zip(("before", "meanwhile", "after"), lines, strict=True))

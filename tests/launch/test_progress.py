"""The progress line."""

import io

from irchroma.launch.progress import Progress, clock


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

"""How writers end: what is waited for, for how long, and whose failure it is that something does not end."""

import threading
import time

import pytest
from tests.stream.loop.test_writer import LIVE, QUICK, Hanging, picture, until

from irchroma.stream.loop.threads import OwnTime
from irchroma.stream.loop.writer import SinkWriter


@pytest.mark.alone
@pytest.mark.parametrize("keeps", [True, False])
def test_of_a_run_that_is_told_to_stop_only_what_keeps_pictures_fails_by_not_ending_in_time(
    keeps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Hanging):
        keeps_all = keeps

    stopping, sink = threading.Event(), Slow("close")
    writer = SinkWriter(sink, "rtsp", deadlines=QUICK)
    writer.open(LIVE, (4, 6), stopping)
    stopping.set()
    writer.finish()
    assert (writer.failure is not None) == keeps
    assert writer.state == ("failed: rtsp: has not finished within 0.2 s: left behind" if keeps else "closed")
    assert "rtsp: has not finished within 0.2 s: left behind" in caplog.text
    sink.let_go.set()
    until(lambda: sink.closed)


def test_a_sink_is_not_blamed_for_what_nobody_got_of_the_processor() -> None:
    looks: list[float] = []
    since = OwnTime(lambda: 1000.0 * len(looks))
    for _ in range(5):  # 1000 s apart
        looks.append(since.look_s())
    assert looks == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.alone
@pytest.mark.parametrize("own_s", [None, 0.6])
def test_the_end_waits_for_a_sink_as_long_as_it_may_need(own_s: float | None) -> None:
    hanging = Hanging("close")
    hanging.keeps_all = True  # type: ignore[attr-defined]
    if own_s:
        hanging.end_s = own_s  # type: ignore[attr-defined]
    stopping = threading.Event()
    writer = SinkWriter(hanging, "a.mp4", None, QUICK)
    writer.open(LIVE, (4, 6), stopping)
    writer.put(picture(0))
    stopping.set()
    began = time.monotonic()
    writer.finish()
    took_s = time.monotonic() - began
    assert (own_s or 0.2) - 0.05 < took_s < (own_s or 0.2) + 1
    assert "has not finished within" in str(writer.failure)
    hanging.let_go.set()

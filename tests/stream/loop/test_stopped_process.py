"""Runs whose process is stopped and continued, as by Ctrl-Z and `fg`: nothing has hung meanwhile."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from irchroma.stream.awake import AwakeClock

RUN = """
import time
import numpy as np
from irchroma.stream.loop.reader import ReconnectOptions, SourceDeadlines, SourceReader
from irchroma.stream.loop.threads import RingClosed
from irchroma.stream.loop.writer import SinkDeadlines, SinkWriter, Timed
from irchroma.stream.loop.fakes import MemorySink, MemorySource
from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import Picture

LUMA = np.zeros((16, 16), np.uint8)

class SlowSource(MemorySource):
    def read(self, timeout_s):
        time.sleep(0.4)
        return super().read(timeout_s)

class SlowSink(MemorySink):
    def write(self, rgb, pts_ns, duration_ns):
        time.sleep(0.4)
        super().write(rgb, pts_ns, duration_ns)

frames = [Frame(LUMA, number * 40_000_000) for number in range(9)]
options, limits = ReconnectOptions(stall_s=0.9), SourceDeadlines(read_s=0.9)
reader = SourceReader(SlowSource(frames), options, limits=limits)
info = reader.start()
writer = SinkWriter(SlowSink(), "sink", deadlines=SinkDeadlines(hung_s=1.8))
writer.open(info, (16, 16))
print("runs", flush=True)
try:
    while True:
        frame = reader.ring.get(0.2)
        reader.watch()
        if frame is not None:
            writer.put(Timed(Picture.of(np.zeros((16, 16, 3), np.uint8)), frame.pts_ns, 40_000_000))
except RingClosed:
    pass
writer.finish()
print(reader.failure, writer.failure, writer.written)
"""


def test_what_answered_before_a_process_was_stopped_has_not_hung_when_it_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "runs\n"
        for _ in range(2):
            threading.Event().wait(0.5)
            os.kill(run.pid, signal.SIGSTOP)
            threading.Event().wait(2.5)  # longer than any of its deadlines
            os.kill(run.pid, signal.SIGCONT)
        assert run.stdout.read() == "None None 9\n"


def test_only_the_first_second_of_a_stop_counts_and_all_time_without_one_does() -> None:
    now_s = 1000.0
    clock = AwakeClock(lambda: now_s)
    began_s = clock()
    now_s += 600.0
    assert clock() - began_s == pytest.approx(1.0)
    for _ in range(20):
        now_s += 0.25
        clock()
    assert clock() - began_s == pytest.approx(6.0)

"""Runs whose process is stopped and continued, as by Ctrl-Z and `fg`: nothing has hung meanwhile."""

import os
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest
from tests.stream.sinks.files.recording import STEADY, record

from irchroma.stream import running_time
from irchroma.stream.running_time import AwakeClock, waited
from irchroma.stream.sinks.files.file_sink import FileSinkOptions

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


ENDS = """
import threading
from fractions import Fraction
from pathlib import Path
import numpy as np
from irchroma.stream.picture.picture import Picture
from irchroma.stream.sinks.encoding.shared_encoder import SharedEncoder
from irchroma.stream.sinks.encoding.task import EncoderTask
from irchroma.stream.sinks.files import segmented_sink
from irchroma.stream.sinks.files.file_sink import FileSinkOptions

segmented_sink._JOIN_S = WAIT_S = 3.0
encoder, one, other = SharedEncoder(EncoderTask("h264", (64, 64), Fraction(25), live=False)), [], []
take_one, take_other = one.append, other.append
encoder.join(take_one)
encoder.join(take_other)

def offer(number):
    picture = Picture.of(np.full((64, 64, 3), 20 * number, np.uint8))
    encoder.offer(picture, number * 40_000_000, 40_000_000, waits=True)

for number in range(5):
    offer(number)
row, written = segmented_sink.SegmentedSink(Path("row.mp4"), FileSinkOptions(), 1.0), threading.Event()
row._finishing = threading.Thread(target=written.wait)  # a file's end, on a slow disk
row._finishing.start()
ends = [
    threading.Thread(target=encoder.finish, args=(take_one, 160_000_000, WAIT_S)),
    threading.Thread(target=row._wait),
]
for end in ends:
    end.start()
print("ends", flush=True)
input()
print(*(end.is_alive() for end in ends), flush=True)
written.set()
offer(5)
encoder.finish(take_other, 200_000_000, 30)
for end in ends:
    end.join()
row.close()
print(len(one), len(other))
"""


@pytest.mark.gst
def test_the_ends_of_files_do_not_count_how_long_the_process_was_stopped() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stdout.readline() == "ends\n"
        threading.Event().wait(0.3)
        os.kill(run.pid, signal.SIGSTOP)
        threading.Event().wait(3.5)
        os.kill(run.pid, signal.SIGCONT)
        threading.Event().wait(0.3)
        run.stdin.write("\n")
        run.stdin.flush()
        assert run.stdout.readline() == "True True\n"
        assert run.stdout.read() == "6 6\n"


PACKETS = """
import sys, threading, time
from pathlib import Path
from irchroma.stream.sources import packets

packets._WAIT_S = 3.0
began_s, late = time.monotonic(), "identity sleep-time=4000000"  # each picture, microseconds
threading.Timer(0.4, print, ["reads"], {"flush": True}).start()
print(len(list(packets.read_packets(Path(sys.argv[1]), late))), time.monotonic() - began_s > 4)
"""


@pytest.mark.gst
def test_a_file_that_is_read_does_not_count_how_long_the_process_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "one.mkv"
    record(path, STEADY[:1], Fraction(25), FileSinkOptions())
    with subprocess.Popen(
        [sys.executable, "-c", PACKETS, str(path)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "reads\n"
        os.kill(run.pid, signal.SIGSTOP)
        threading.Event().wait(3.2)
        os.kill(run.pid, signal.SIGCONT)
        assert run.stdout.read() == "1 True\n"


def test_what_is_waited_for_comes_in_time_or_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, slices_s = 1000.0, []
    monkeypatch.setattr(running_time, "awake_s", lambda: now_s)

    def wait(slice_s: float) -> bool:
        nonlocal now_s
        slices_s.append(slice_s)
        now_s += slice_s
        return now_s >= 1002.0

    assert waited(wait, 2.5)
    assert now_s == 1002.0
    assert not waited(lambda slice_s: wait(slice_s) and False, 0.6)
    assert max(slices_s) < 0.5
    assert now_s == pytest.approx(1002.6)
    assert waited(lambda _: True, 0.0), "what is there needs no time"

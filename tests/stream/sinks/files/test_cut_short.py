"""Recordings whose run is killed, or whose disk is full: what was written plays."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stream.sinks.files.recording import TICK_NS

from irchroma.stream.media.mp4 import box_size, boxes_of
from irchroma.stream.sinks.files import mp4_repair

pytestmark = pytest.mark.gst


KILLED = """
import os, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from irchroma.stream.sinks.files.file_sink import FileSink
from irchroma.stream.protocols import VideoInfo
sink = FileSink(Path(sys.argv[1]))
sink.open(VideoInfo((48, 64), Fraction(25), live=True), (48, 64))
for number in range(10_000):
    sink.write(np.full((48, 64, 3), number % 250, np.uint8), number * 40_000_000, 40_000_000)
    if number == 400:
        print("enough", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("suffix", TICK_NS)
def test_a_killed_run_leaves_a_playable_file(tmp_path: Path, read_file: Callable, suffix: str) -> None:
    path = tmp_path / f"killed{suffix}"
    run = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "enough\n"
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=20)
    back = read_file(path)
    assert len(back.pts_ns) > 250  # of 400, less what the encoder and the last fragment held
    assert back.pts_ns == [n * 40_000_000 for n in range(len(back.pts_ns))]
    assert back.rgb[200].mean() == pytest.approx(200, abs=2)
    if suffix == ".mp4":  # an mdat right behind each moof, as VLC wants it: see `close_gaps`
        with path.open("rb") as file:
            found = [box.name for box in boxes_of(file)]
        assert found[:4] == [b"ftyp", b"mdat", b"moov", b"mdat"]
        assert set(found[3::2]) == {b"mdat"}
        assert set(found[4::2]) == {b"moof"}


def test_heads_of_fragments_take_their_gap_in() -> None:
    for size in (0, 8, 5000, 2**32 - 9, 2**32 - 8, 2**32 - 1):
        head = mp4_repair._without_gap(size)
        assert head[4:8] == b"mdat"
        assert len(head) == 16
        assert box_size(head, 7)[0] == (size + 8 if size else 7)


FULL = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.files.file_sink import FileSink
from irchroma.stream.protocols import VideoInfo
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
rng = np.random.default_rng(1)
sink = FileSink(Path(sys.argv[1]))
sink.open(VideoInfo((96, 128), Fraction(25), live=False), (96, 128))
try:
    for number in range(2000):
        sink.write(rng.integers(0, 256, (96, 128), dtype=np.uint8), number * 40_000_000, 40_000_000)
except SinkError as error:
    print(error, flush=True)
sink.close()
sink.close()
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_one_clear_error_and_what_was_written_plays(
    tmp_path: Path, read_file: Callable, suffix: str
) -> None:
    path = tmp_path / f"full{suffix}"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL, str(path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
    )
    assert run.stdout.strip() == f"{path}: File too large".replace("File", "file")
    assert run.returncode == 0, run.stderr
    assert len(read_file(path).pts_ns) > 20


FULL_AT_THE_END = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.files.file_sink import FileSink
from irchroma.stream.protocols import VideoInfo
path = Path(sys.argv[1])
rng = np.random.default_rng(1)
sink = FileSink(path)
sink.open(VideoInfo((96, 128), Fraction(25), live=False), (96, 128))
for number in range(200):
    sink.write(rng.integers(0, 256, (96, 128), dtype=np.uint8), number * 40_000_000, 40_000_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    sink.close()
except SinkError as error:
    print(error)
print(path.stat().st_size)
"""


def test_a_disk_that_is_full_at_the_very_end_leaves_a_playable_file(
    tmp_path: Path, read_file: Callable
) -> None:
    path = tmp_path / "full.mp4"

    def run(limit_bytes: int) -> list[str]:
        code = [sys.executable, "-W", "ignore", "-c", FULL_AT_THE_END, str(path), str(limit_bytes)]
        return subprocess.run(
            code, capture_output=True, encoding="utf-8", errors="replace", timeout=60, check=True
        ).stdout.splitlines()

    (whole,) = run(1 << 30)
    said, _ = run(int(whole) - 500)  # in the middle of the final index
    assert said == f"{path}: file too large"
    back = read_file(path)
    assert len(back.pts_ns) > 170  # less than the last second is lost
    assert back.pts_ns == [n * 40_000_000 for n in range(len(back.pts_ns))]

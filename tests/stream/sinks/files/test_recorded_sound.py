"""The sound of a recording: whole, in time, and no reason to lose a picture."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.stream.sinks.files.recording import LAST_NS, STEADY, audio_kinds, heard_s, record, tone

from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sinks.files.file_sink import FileSinkOptions
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

pytestmark = pytest.mark.gst


def test_the_original_audio_is_kept_and_ends_with_the_pictures(tmp_path: Path) -> None:
    for suffix, coded in ((".mp4", "audio/mpeg"), (".webm", "audio/x-opus"), (".mkv", "audio/mpeg")):
        source = tone(tmp_path / "tone.wav", seconds=5)
        path = tmp_path / f"heard{suffix}"
        record(path, STEADY, Fraction(30000, 1001), FileSinkOptions(audio_from=source))
        assert coded in audio_kinds(path)
        assert heard_s(path) == pytest.approx((STEADY[-1] + LAST_NS) / 1e9, abs=0.08)
        if suffix == ".mp4":
            again = tmp_path / "again.mp4"  # now there is coded audio that the container holds as it is
            record(again, STEADY[:10], Fraction(30000, 1001), FileSinkOptions(audio_from=path))
            assert heard_s(again) == pytest.approx((STEADY[9] + LAST_NS) / 1e9, abs=0.08)


def test_sound_that_begins_after_the_pictures_in_a_file_without_an_index_is_kept(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("the file is made with ffmpeg")
    source, out = tmp_path / "late.flv", tmp_path / "out.mkv"
    pictures = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25:duration=3", "-c:v", "libx264")
    sound = ("-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=duration=2")
    words = (*pictures[:4], *sound, *pictures[4:], "-c:a", "aac", str(source))
    subprocess.run(["ffmpeg", "-v", "error", *words], check=True, timeout=60)
    record(out, STEADY, Fraction(30000, 1001), FileSinkOptions(audio_from=source))
    assert audio_kinds(out)


def test_audio_shorter_than_the_pictures_loses_no_picture(tmp_path: Path, read_file: Callable) -> None:
    source = tone(tmp_path / "tone.wav", seconds=0.2)
    record(tmp_path / "out.mp4", STEADY, Fraction(30000, 1001), FileSinkOptions(audio_from=source))
    decode = "filesrc name=in ! decodebin ! video/x-raw"
    assert len(read_file(tmp_path / "out.mp4").pts_ns) == len(STEADY), decode


def test_unreadable_audio_is_a_warning_and_the_pictures_are_recorded(
    tmp_path: Path, read_file: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no audio here" * 100)
    record(tmp_path / "out.mp4", STEADY, Fraction(0), FileSinkOptions(audio_from=tmp_path / "noise.mp4"))
    assert len(read_file(tmp_path / "out.mp4").pts_ns) == len(STEADY)
    assert "recording pictures only" in caplog.text


def test_pictures_that_begin_after_the_audio_do_so_again(tmp_path: Path, read_file: Callable) -> None:
    source = tone(tmp_path / "tone.wav", seconds=3)
    late = [700_000_000 + pts_ns for pts_ns in STEADY]
    record(tmp_path / "out.mp4", late, Fraction(30000, 1001), FileSinkOptions(audio_from=source))
    assert np.abs(np.subtract(read_file(tmp_path / "out.mp4").pts_ns, late)).max() <= 1_100
    assert heard_s(tmp_path / "out.mp4") == pytest.approx((late[-1] + LAST_NS) / 1e9, abs=0.08)


@pytest.mark.parametrize("sounds", [True, False])
def test_a_row_says_that_it_is_without_sound_where_there_was_some(tmp_path: Path, sounds: bool) -> None:
    source = tone(tmp_path / "tone.wav", seconds=1) if sounds else tmp_path / "silent.mkv"
    if not sounds:
        record(source, STEADY[:10], Fraction(25), FileSinkOptions())
    said, row = Remarks(), tmp_path / "cam.mkv"
    token = run_remarks.set(said)
    try:
        open_sink(str(row), SinkOptions(segment_s=1.0, audio_from=source))
    finally:
        run_remarks.reset(token)
    told = [f"{row}: segments are recorded without audio"] if sounds else []
    assert [one["text"] for one in said.listed()] == told

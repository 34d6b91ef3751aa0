"""The camera's own bitstream beside the color: the packets that it sent, all of them, in files that play."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests import forked
from tests.stream.loop.test_loop import QUICK, PlainComposer, SlowColorizer
from tests.stream.sources.test_network_sources import RtspServer

from irchroma.stream.loop.fakes import MemorySink
from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.sinks.files.file_sink import FileSinkOptions
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink
from irchroma.stream.sources.rtsp_source import RtspSource

pytestmark = [pytest.mark.gst, pytest.mark.timeout(120)]

CODINGS = {
    "h264.mp4": ("-c:v", "libx264", "-bf", "2", "-g", "12"),
    "h264.ts": ("-c:v", "libx264", "-bf", "0", "-g", "12"),
    "h265.mkv": ("-c:v", "libx265", "-x265-params", "log-level=error:keyint=12"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "12"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-g", "12"),
}


def ffmpeg(*words: str) -> str:
    command = ("ffmpeg", "-loglevel", "error", "-y", *words)
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def packets(path: Path) -> list[str]:
    """Size and hash of each packet's data; of H.264 and H.265 its slices, in one form for all containers."""
    coding = "hevc" if "h265" in path.name else "h264" if "h264" in path.name else ""
    slices = {"hevc": "0-31", "h264": "1-5"}.get(coding)
    change = ("-bsf:v", f"{coding}_mp4toannexb,filter_units=pass_types={slices}") if slices else ()
    told = ffmpeg("-i", str(path), "-map", "0:v", "-c", "copy", *change, "-f", "framehash", "-")
    return [",".join(line.split(",")[4:6]) for line in told.splitlines() if not line.startswith("#")]


def irchroma(*words: str) -> tuple[int, str]:
    done = forked.irchroma("run", *words, "--engine", "palette:ironbow")
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", CODINGS)
def test_the_packets_of_a_file_are_kept_as_they_are(name: str, tmp_path: Path) -> None:
    source, raw = tmp_path / name, tmp_path / f"raw_{name.partition('.')[0]}.mkv"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=128x96:r=25:d=2", "-pix_fmt", "yuv420p", *CODINGS[name], str(source)
    )
    code, said = irchroma(str(source), "--to", "null", "--keep-raw", str(raw), "--keep-raw-as", "bitstream")
    assert code == 0, said
    assert packets(raw) == packets(source)
    assert len(packets(raw)) == 50
    pictures = [ffmpeg("-i", str(path), "-map", "0:v", "-f", "framemd5", "-") for path in (source, raw)]
    hashes = [[line.split(",")[-1] for line in one.splitlines() if line[0] != "#"] for one in pictures]
    assert hashes[0] == hashes[1]


def test_a_row_of_files_has_each_packet_once_and_begins_with_keyframes(tmp_path: Path) -> None:
    source = tmp_path / "h264.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=128x96:r=25:d=6", "-c:v", "libx264", "-g", "25", str(source))
    keep = ("--keep-raw", str(tmp_path / "h264raw.mkv"), "--keep-raw-as", "bitstream", "--segment", "2")
    code, said = irchroma(str(source), "--to", "null", *keep)
    assert code == 0, said
    files = sorted(tmp_path.glob("h264raw-*.mkv"))
    assert len(files) == 3
    assert [one for file in files for one in packets(file)] == packets(source)
    for file in files:
        assert len(ffmpeg("-i", str(file), "-f", "framemd5", "-").splitlines()) > 50


@pytest.mark.alone
@pytest.mark.parametrize("mount", ["h264", "h265", "mjpeg"])
def test_every_picture_of_a_camera_is_kept_though_coloring_drops_most(mount: str, tmp_path: Path) -> None:
    raw = SegmentedSink(tmp_path / f"{mount}.mkv", FileSinkOptions(lossless=True, coded=True))
    track = RawKeeper(SinkWriter(raw, "raw", patient=True), coded=True)
    server = RtspServer()
    source = RtspSource(f"rtsp://{server.address}/{mount}")
    source.give_units(track.take)
    writers = [SinkWriter(MemorySink(), "shown")]
    loop = Loop(source, lambda _: SlowColorizer(), PlainComposer(), writers, QUICK, raw=track)
    try:
        loop.run(lambda loop: loop.stop() if track.writer.written >= 90 else None)
    finally:
        server.stop()
    assert loop.frames < 70
    assert track.writer.drops == 0
    told = ffmpeg("-i", str(tmp_path / f"{mount}.mkv"), "-c", "copy", "-f", "framehash", "-")
    rows = [line.split(",") for line in told.splitlines() if not line.startswith("#")]
    assert 85 <= len(rows) <= track.writer.written, "less those in front of the first keyframe"
    steps_s = np.diff([int(row[2]) for row in rows]) / 1e5
    assert np.abs(steps_s - 1 / 30).max() < 0.012, "no picture is missing between"
    ffmpeg("-xerror", "-i", str(tmp_path / f"{mount}.mkv"), "-f", "null", "-")


@pytest.mark.parametrize("source", ["test:nir?seconds=1", "counts"])
def test_what_is_not_coded_is_refused_by_name(source: str, tmp_path: Path) -> None:
    if source == "counts":
        source = str(tmp_path / "stack.npy")
        np.save(source, np.zeros((5, 48, 64), np.uint16))
    keep = ("--keep-raw", str(tmp_path / "raw.mkv"), "--keep-raw-as", "bitstream")
    code, said = irchroma(source, "--to", "null", *keep)
    assert code != 0
    assert "no coded video: use --keep-raw-as frames" in said
    assert not (tmp_path / "raw.mkv").exists()

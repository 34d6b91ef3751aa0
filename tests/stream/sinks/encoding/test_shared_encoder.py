"""One encoder for several sinks: each gets everything, whoever offers first, and none depends on another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.waiting import at_once

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding import encoder_effort, shared_encoder
from irchroma.stream.sinks.encoding.encoders import Encoder, choose_encoder
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool, SharedEncoder
from irchroma.stream.sinks.encoding.task import EncoderTask
from irchroma.stream.sinks.evidence.recorder import EvidenceOptions, EvidenceRecorder
from irchroma.stream.sinks.evidence.signing import Signer
from irchroma.stream.sinks.evidence.tracks import ColorTrack
from irchroma.stream.sinks.files.encoded_row import EncodedRow
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sinks.files.hls_sink import HlsSink
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.open_sink import pool_for

pytestmark = pytest.mark.gst

SIZE = (48, 64)
STEP_NS = 40_000_000
FILE, LIVE = (VideoInfo(SIZE, Fraction(25), live=live) for live in (False, True))


def picture(number: int) -> np.ndarray:
    return np.full(SIZE, 20 + 4 * (number % 50), np.uint8)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[EncoderTask]:
    """The tasks for which an encoder was chosen."""
    tasks: list[EncoderTask] = []

    def choose(task: EncoderTask) -> Encoder:
        tasks.append(task)
        return choose_encoder(task)

    monkeypatch.setattr(shared_encoder, "choose_encoder", choose)
    return tasks


def record(sinks: Sequence[FileSink | HlsSink | ColorTrack], info: VideoInfo, count: int) -> None:
    for sink in sinks:
        sink.open(info, SIZE)

    def work(sink: FileSink | HlsSink | ColorTrack) -> None:
        for number in range(count):
            sink.write(picture(number), number * STEP_NS, STEP_NS)
        sink.close()

    at_once([lambda sink=sink: work(sink) for sink in sinks])


def test_files_of_one_picture_are_encoded_once_and_each_is_whole(
    tmp_path: Path, read_file: Callable, built: list[EncoderTask]
) -> None:
    pool = EncoderPool(streams=False)
    paths = [tmp_path / name for name in ("a.mp4", "b.mkv", "c.mkv")]
    record([FileSink(path, pool=pool) for path in paths], FILE, 70)
    assert len(built) == 1
    assert not built[0].live
    for path in paths:
        back = read_file(path)
        assert back.pts_ns == [n * STEP_NS for n in range(70)]
        assert (
            np.abs(
                np.subtract([rgb.mean() for rgb in back.rgb], [picture(n).mean() for n in range(70)])
            ).max()
            < 3
        )


def test_evidence_takes_what_a_recording_beside_it_gets_and_hurries_as_that_does(
    tmp_path: Path, built: list[EncoderTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_effort, "HURRY_PIXELS_HZ", 1.0)
    signer = Signer.kept(tmp_path / "key.pem")
    for streams in (False, True):
        pool = EncoderPool(streams=streams)
        track = ColorTrack(EvidenceRecorder(tmp_path / "night.mkv", EvidenceOptions(signer)), pool)
        record([FileSink(tmp_path / "copy.mp4", pool=pool), track], LIVE, 10)
        (task,) = built
        assert task.live == streams
        assert task.hurried
        built.clear()


def test_a_camera_s_recording_takes_what_its_streams_get(
    tmp_path: Path, read_file: Callable, built: list[EncoderTask]
) -> None:
    pool = pool_for(["hls:x", "a.mp4"])
    assert pool is not None
    record([FileSink(tmp_path / "a.mp4", pool=pool), HlsSink(tmp_path / "hls", pool=pool)], LIVE, 120)
    assert [task.live for task in built] == [True]
    assert len(read_file(tmp_path / "a.mp4").pts_ns) > 100
    assert len(list((tmp_path / "hls").glob("*.ts"))) >= 2, (
        "a segment's wish for a keyframe reaches the encoder"
    )


def test_a_sink_alone_shares_nothing() -> None:
    assert pool_for(["a.mp4", "http://:8080", "null"]) is None
    assert pool_for(["a.mp4", "rtsp://:8554/a"]) is not None


def test_whoever_comes_later_begins_with_a_keyframe_and_nobody_waits_for_one_who_left() -> None:
    encoder = SharedEncoder(EncoderTask("h264", SIZE, Fraction(25), live=True))
    first: list[Unit] = []
    second: list[Unit] = []
    take_first, take_second = first.append, second.append
    encoder.join(take_first)
    for number in range(40):
        if number == 20:
            encoder.join(take_second)
        encoder.offer(picture(number), number * STEP_NS, STEP_NS, waits=True)
        encoder.offer(
            picture(number), number * STEP_NS, STEP_NS, True
        )  # the second sink's, of the same picture
    finished = threading.Thread(target=encoder.finish, args=(take_first, 39 * STEP_NS, 10))
    finished.start()
    encoder.finish(take_second, 39 * STEP_NS, 10)
    finished.join()
    assert [unit.pts_ns for unit in first] == [n * STEP_NS for n in range(40)]
    assert second[0].key
    assert second[0].pts_ns <= 24 * STEP_NS
    assert second[-1].pts_ns == 39 * STEP_NS
    with pytest.raises(StreamError, match="has stopped"):
        encoder.offer(picture(0), 99 * STEP_NS, STEP_NS, waits=True)


def test_a_sink_that_fails_takes_no_other_with_it(tmp_path: Path, read_file: Callable) -> None:
    pool = EncoderPool(streams=False)
    good, bad = FileSink(tmp_path / "good.mkv", pool=pool), FileSink(tmp_path / "bad.mp4", pool=pool)
    for sink in (good, bad):
        sink.open(FILE, SIZE)
    for number in range(60):
        good.write(picture(number), number * STEP_NS, STEP_NS)
        if number == 30:
            assert bad._pipeline is not None
            bad._pipeline.stop()
            bad._failure = SinkError("gone")
            with pytest.raises(SinkError):
                bad.write(picture(number), number * STEP_NS, STEP_NS)
            bad.close()
    good.close()
    assert len(read_file(tmp_path / "good.mkv").pts_ns) == 60


@pytest.mark.parametrize("info", [FILE, LIVE], ids=["file", "live"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_row_of_files_shares_the_encoder_and_no_picture_is_lost_or_twice(
    info: VideoInfo, suffix: str, tmp_path: Path, read_file: Callable, built: list[EncoderTask]
) -> None:
    pool = EncoderPool(streams=False)
    row = EncodedRow(tmp_path / f"row{suffix}", FileSinkOptions(), 0.4, Retention(), pool)
    whole = FileSink(tmp_path / f"whole{suffix}", pool=pool)
    for sink in (whole, row):
        sink.open(info, SIZE)
    for number in range(45):
        for sink in (whole, row):
            sink.write(picture(number), number * STEP_NS, STEP_NS)
    at_once([whole.close, row.close])
    assert len(built) == 1
    files = [read_file(file) for file in sorted(tmp_path.glob("row-*"))]
    assert [len(back.pts_ns) for back in files] == [10, 10, 10, 10, 5]
    for back in files:
        assert back.pts_ns == [n * STEP_NS for n in range(len(back.pts_ns))]
    levels = [rgb.mean() for back in files for rgb in back.rgb]
    assert np.abs(np.subtract(levels, [picture(n).mean() for n in range(45)])).max() < 3
    assert len(read_file(tmp_path / f"whole{suffix}").pts_ns) == 45

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.stream.sinks.files.recording import STEADY, TICK_NS, UNEVEN, picture, record, stored_times

from irchroma.stream.errors import SinkError, StreamError, StreamOptionError
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.files.file_sink import (
    FileSink,
    FileSinkOptions,
    room_for,
    task_of,
    timescale_for,
)
from irchroma.stream.sources.file_source import FileSource

pytestmark = pytest.mark.gst
TIMES = {"steady": (STEADY, Fraction(30000, 1001)), "uneven": (UNEVEN, Fraction(0))}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("suffix", TICK_NS)
@pytest.mark.parametrize("shared", [False, True])
def test_every_picture_keeps_its_time_and_duration(
    tmp_path: Path, read_file: Callable, suffix: str, kind: str, shared: bool
) -> None:
    times, rate = TIMES[kind]
    durations = record(tmp_path / f"out{suffix}", times, rate, pool=EncoderPool() if shared else None)
    back = read_file(tmp_path / f"out{suffix}")
    assert len(back.pts_ns) == len(times)
    assert np.abs(np.subtract(back.pts_ns, times)).max() <= TICK_NS[suffix]
    assert (
        np.abs(np.subtract(stored_times(tmp_path / f"out{suffix}")[1], durations)).max()
        <= 2 * TICK_NS[suffix]
    )
    levels = [rgb.mean() for rgb in back.rgb]
    assert np.abs(np.subtract(levels, [picture(n).mean() for n in range(len(times))])).max() < 2


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "raw.mkv"])
@pytest.mark.parametrize("shared", [False, True])
def test_pixels_that_are_no_squares_stay_so(tmp_path: Path, name: str, shared: bool) -> None:
    """Old recorders store 704x288 for a picture of 4:3: players would show it squashed."""
    path, wide = tmp_path / name, Fraction(24, 11)
    options = FileSinkOptions(lossless=name == "raw.mkv")
    sink = FileSink(path, options, EncoderPool() if shared else None)
    sink.open(VideoInfo((48, 64), Fraction(25), live=False, pixel_aspect=wide), (48, 64))
    for number in range(3):
        sink.write(picture(number), number * 40_000_000, 40_000_000)
    sink.close()
    source = FileSource(path)
    try:
        info = source.open()
    finally:
        source.close()
    assert info.size == (48, 64)
    assert float(info.pixel_aspect) == pytest.approx(float(wide), rel=0.01)  # Matroska has whole pixels


@pytest.mark.parametrize("encoder", ["x264", "openh264", "vp9", "vp8"])
def test_a_gray_ramp_comes_back_within_two_levels(
    tmp_path: Path, read_file: Callable, gray_ramp: np.ndarray, encoder: str
) -> None:
    path = tmp_path / ("ramp.webm" if encoder.startswith("vp") else "ramp.mp4")
    sink = FileSink(path, FileSinkOptions(EncoderOptions(encoder)))
    sink.open(VideoInfo((64, 256), Fraction(25), live=False), (64, 256))
    for number in range(5):
        sink.write(gray_ramp, number * 40_000_000, 40_000_000)
    sink.close()
    back = read_file(path)
    assert back.caps is not None
    assert (back.caps.full_range, back.caps.matrix) == (False, "bt709")
    assert np.abs(back.rgb[-1].mean(axis=0) - gray_ramp[0]).max() <= 2


def test_saturated_colors_come_back(tmp_path: Path, read_file: Callable) -> None:
    bars = np.zeros((64, 256, 3), np.uint8)
    colors = [(220, 30, 30), (30, 200, 40), (40, 50, 220), (230, 210, 40)]
    for index, color in enumerate(colors):
        bars[:, index * 64 : (index + 1) * 64] = color
    sink = FileSink(tmp_path / "bars.mp4")
    sink.open(VideoInfo((64, 256), Fraction(25), live=False), (64, 256))
    sink.write(bars, 0, 40_000_000)
    sink.close()
    back = read_file(tmp_path / "bars.mp4").rgb[0]
    for index, color in enumerate(colors):
        assert np.abs(back[20:44, index * 64 + 20 : index * 64 + 44].mean((0, 1)) - color).max() < 4


@pytest.mark.parametrize(
    ("dtype", "shape"), [(np.uint16, (33, 45)), (np.uint8, (33, 45)), (np.uint8, (33, 45, 3))]
)
def test_a_lossless_recording_keeps_every_bit(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype) for _ in range(4)]
    sink = FileSink(tmp_path / "raw.mkv", FileSinkOptions(lossless=True))
    sink.open(VideoInfo(shape[:2], Fraction(9), live=False), shape[:2])
    for number, raw in enumerate(pictures):
        sink.write(raw, number * 111_110_000, 111_110_000)
    sink.close()
    reader = Pipeline(
        "filesrc name=in ! matroskademux ! avdec_ffv1 ! appsink name=out sync=false",
        {"in": {"location": str(tmp_path / "raw.mkv")}},
    )
    reader.start()
    try:
        for number, raw in enumerate(pictures):
            sample = reader.pull("out", 5)
            assert sample is not None
            assert abs(sample.pts_ns - number * 111_110_000) <= 10_000
            rows = sample.data.reshape(shape[0], sample.caps.strides[0])
            if raw.ndim == 3:
                back = rows[:, : shape[1] * 4].reshape(shape[0], shape[1], 4)[..., 2::-1]
            else:
                back = rows[:, : shape[1] * raw.itemsize].copy().view(dtype)
            assert np.array_equal(back, raw)
    finally:
        reader.stop()


def test_a_live_recording_starts_at_zero(tmp_path: Path, read_file: Callable) -> None:
    sink = FileSink(tmp_path / "live.mkv")
    sink.open(VideoInfo((48, 64), Fraction(25), live=True), (48, 64))
    for number in range(5):
        sink.write(picture(number), 3_600_000_000_000 + number * 40_000_000, 40_000_000)
    sink.close()
    assert read_file(tmp_path / "live.mkv").pts_ns == [n * 40_000_000 for n in range(5)]


def test_a_size_that_changes_on_the_way_is_scaled_into_the_same_file(
    tmp_path: Path, read_file: Callable
) -> None:
    sink = FileSink(tmp_path / "sizes.mp4")
    sink.open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))
    sink.write(np.full((48, 64, 3), 200, np.uint8), 0, 40_000_000)
    sink.write(np.full((96, 64), 200, np.uint8), 40_000_000, 40_000_000)
    sink.close()
    first, second = read_file(tmp_path / "sizes.mp4").rgb
    assert first.shape == second.shape
    assert second[24, 32].mean() == pytest.approx(200, abs=4)
    assert second[24, 4].mean() < 6


@pytest.mark.parametrize("size", [(16, 16), (17, 19), (33, 35)])
def test_tiny_and_odd_sizes_are_recorded(tmp_path: Path, read_file: Callable, size: tuple[int, int]) -> None:
    for suffix in TICK_NS:
        sink = FileSink(tmp_path / f"tiny{suffix}")
        sink.open(VideoInfo(size, Fraction(25), live=False), size)
        sink.write(np.full((*size, 3), 90, np.uint8), 0, 40_000_000)
        sink.close()
        back = read_file(tmp_path / f"tiny{suffix}")
        assert back.rgb[0].shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        assert back.rgb[0].mean() == pytest.approx(90, abs=2)


def test_a_huge_picture_is_recorded(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "huge.mp4")
    sink.open(VideoInfo((4320, 7680), Fraction(25), live=False), (4320, 7680))
    sink.write(np.full((4320, 7680), 90, np.uint8), 0, 40_000_000)
    sink.close()
    reader = Pipeline(
        "filesrc name=in ! decodebin ! appsink name=out sync=false",
        {"in": {"location": str(tmp_path / "huge.mp4")}},
    )
    reader.start()
    sample = reader.pull("out", 30)
    reader.stop()
    assert sample is not None
    assert sample.caps.size == (4320, 7680)
    assert abs(int(sample.data[7680 * 2160]) - (16 + round(90 * 219 / 255))) <= 1


@pytest.mark.parametrize("size", [(2, 3), (16, 16), (2160, 3840)])
def test_a_lossless_recording_takes_tiny_and_huge_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    sink = FileSink(tmp_path / "raw.mkv", FileSinkOptions(lossless=True))
    sink.open(VideoInfo(size, Fraction(9), live=False), size)
    sink.write(np.full(size, 7777, np.uint16), 0, 111_000_000)
    sink.close()
    assert len(stored_times(tmp_path / "raw.mkv")[0]) == 1


def test_sizes_beyond_the_encoders_are_refused_in_one_line(tmp_path: Path) -> None:
    for size in ((8, 8), (9000, 100)):
        with pytest.raises(SinkError, match=f"{size[1]}x{size[0]} cannot be encoded"):
            FileSink(tmp_path / "out.mp4").open(VideoInfo(size, Fraction(25), live=False), size)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("out.avi", {}, r"ending in .mp4, .mkv, .webm"),
        ("out.mp4", {"lossless": True}, r"lossless recordings need a name ending in .mkv"),
        ("out.mp4", {"encoder": EncoderOptions("vp9")}, "encoder vp9 writes vp9, which .mp4 does not hold"),
        ("out.webm", {"encoder": EncoderOptions("x264")}, "expected vp9 or vp8"),
        ("out.mp4", {"encoder": EncoderOptions("x266")}, "unknown encoder 'x266': expected auto, nvenc"),
        ("folder.mp4", {}, "is a folder"),
        ("nowhere/out.mp4", {}, "does not exist: make it first"),
        ("input.mp4", {"audio_from": Path("input.mp4")}, "is the input itself"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.mp4").mkdir()
    Path("input.mp4").write_bytes(b"x")
    with pytest.raises((SinkError, StreamOptionError), match=says) as caught:
        FileSink(Path(name), FileSinkOptions(**options)).open(
            VideoInfo((48, 64), Fraction(25), live=False), (48, 64)
        )
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_one_clear_line() -> None:
    with pytest.raises(SinkError, match=r"^/proc/out\.mp4: (no such file or directory|permission denied)"):
        FileSink(Path("/proc/out.mp4")).open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))


def test_no_picture_at_all_leaves_no_file(tmp_path: Path) -> None:
    for suffix in TICK_NS:
        sink = FileSink(tmp_path / f"none{suffix}")
        sink.open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))
        sink.close()
        sink.close()
    assert not list(tmp_path.iterdir())


def test_pictures_that_do_not_come_later_are_left_out_and_counted(
    tmp_path: Path, read_file: Callable
) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    sink.open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))
    for pts_ns in (0, 40_000_000, 40_000_000, 20_000_000, 80_000_000):
        sink.write(picture(1), pts_ns, 40_000_000)
    sink.close()
    assert sink.drops == 2
    assert read_file(tmp_path / "out.mp4").pts_ns == [0, 40_000_000, 80_000_000]


def test_counts_are_not_encoded_as_if_they_were_video(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.mp4")
    sink.open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))
    with pytest.raises(StreamError, match="counts"):
        sink.write(np.zeros((48, 64), np.uint16), 0, 40_000_000)
    sink.close()


@pytest.mark.parametrize(
    "rate",
    [Fraction(0), Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(9), Fraction(60)],
)
def test_mp4_ticks_fit_the_rate_and_milliseconds_exactly(rate: Fraction) -> None:
    ticks = timescale_for(rate)
    assert 500_000 < ticks < 2**32
    assert ticks % 1000 == 0
    assert not rate or (ticks / rate).denominator == 1


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(25), Fraction(30000, 1001), Fraction(2997003, 10**5)])
@pytest.mark.parametrize("hours", [1, 2, 12, 39, 96])
def test_ticks_of_an_mp4_fit_32_bits_for_its_whole_length(rate: Fraction, hours: int) -> None:
    ticks = timescale_for(rate, hours * 3600)
    assert hours * 3600 * ticks < 2**32
    assert ticks % 1000 == 0
    assert ticks >= 12_000


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001)])
def test_ticks_are_exact_for_the_frames_of_a_video_of_unknown_length(rate: Fraction) -> None:
    ticks = timescale_for(rate, room_for(VideoInfo((48, 64), rate, live=False)))
    assert (ticks / rate).denominator == 1


@pytest.mark.parametrize(("live", "said_h", "hours"), [(True, None, 96), (False, 2, 2), (False, None, 39)])
def test_a_long_mp4_has_its_whole_length(tmp_path: Path, live: bool, said_h: int | None, hours: int) -> None:
    sink = FileSink(tmp_path / "long.mp4")
    said_ns = said_h * 3600 * 10**9 if said_h else None
    sink.open(VideoInfo((48, 64), Fraction(25), live=live, duration_ns=said_ns), (48, 64))
    last = hours * 3600 - 1
    for second in (0, 1, *range(3600, last, 3600), last):
        sink.write(np.zeros((48, 64, 3), np.uint8), second * 10**9, 10**9)
    sink.close()
    with av.open(str(tmp_path / "long.mp4")) as opened:
        assert opened.duration == pytest.approx(hours * 3600e6, abs=2e6)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(60000, 1001)])
def test_times_beside_the_ticks_are_half_a_tick_off_and_do_not_drift(tmp_path: Path, rate: Fraction) -> None:
    sink = FileSink(tmp_path / "live.mp4")
    sink.open(VideoInfo((48, 64), rate, live=True), (48, 64))
    times = [round(number * 10**9 / rate) for number in range(900)]
    for pts_ns in times:
        sink.write(np.zeros((48, 64, 3), np.uint8), pts_ns, round(10**9 / rate))
    sink.close()
    stored = stored_times(tmp_path / "live.mp4")[0]
    assert np.abs(np.subtract(stored, times)).max() <= 10**9 / 12_000 / 2 + 1000


@pytest.mark.parametrize("suffix", TICK_NS)
def test_a_video_that_begins_late_begins_late_again(tmp_path: Path, read_file: Callable, suffix: str) -> None:
    late = [5_000_000_000 + pts_ns for pts_ns in UNEVEN]
    durations = record(tmp_path / f"late{suffix}", late, Fraction(0))
    if suffix == ".mp4":
        assert np.abs(np.subtract(read_file(tmp_path / "late.mp4").pts_ns, late)).max() <= TICK_NS[suffix]
    else:
        stored = stored_times(tmp_path / f"late{suffix}")[0]
        assert np.abs(np.subtract(stored, late)).max() <= TICK_NS[suffix]
    assert np.abs(np.subtract(stored_times(tmp_path / f"late{suffix}")[1], durations)).max() <= 20_000


def test_a_camera_s_recording_is_numbered_on_and_a_file_s_conversion_takes_its_name_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def recorded(live: bool, overwrite: bool = False) -> str:
        sink = FileSink(tmp_path / "night.mkv", FileSinkOptions(overwrite=overwrite))
        sink.open(VideoInfo((48, 64), Fraction(25), live=live), (48, 64))
        sink.write(np.full((48, 64), 90, np.uint8), 0, 40_000_000)
        sink.close()
        return sink.path.name

    assert [recorded(live=True) for _ in range(3)] == ["night.mkv", "night-2.mkv", "night-3.mkv"]
    said = [record.getMessage() for record in caplog.records if "is there" in record.getMessage()]
    assert said[0] == f"{tmp_path / 'night.mkv'} is there: recording to night-2.mkv"
    before = (tmp_path / "night.mkv").stat().st_mtime_ns
    assert recorded(live=True) == "night-4.mkv"
    assert (tmp_path / "night.mkv").stat().st_mtime_ns == before
    assert recorded(live=False) == recorded(live=True, overwrite=True) == "night.mkv"
    assert (tmp_path / "night.mkv").stat().st_mtime_ns > before


def test_a_file_that_another_run_writes_is_refused_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "night.mp4"
    info = VideoInfo((64, 96), Fraction(10), live=False)
    first, second = FileSink(path), FileSink(path)
    first.open(info, info.size)
    with pytest.raises(SinkError, match=rf"^{path}: another run writes there: give another name$"):
        second.open(info, info.size)
    second.close()
    for number in range(20):
        first.write(picture(number), number * 100_000_000, 100_000_000)
    with pytest.raises(SinkError, match="another run writes there"):
        second.open(info, info.size)
    second.close()
    first.close()
    with av.open(str(path)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 20
    second.open(info, info.size)  # the first is done: a conversion takes its name again
    second.close()


def test_a_sink_that_is_opened_again_goes_on_in_another_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "night.mkv")
    for start_ns in (0, 10**9):
        sink.open(VideoInfo((48, 64), Fraction(25), live=False), (48, 64))
        sink.write(np.full((48, 64), 90, np.uint8), start_ns, 40_000_000)
        sink.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["night-2.mkv", "night.mkv"]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_live_recording_has_the_camera_s_own_date(tmp_path: Path, suffix: str, shared: bool) -> None:
    path = tmp_path / f"night{suffix}"
    sink = FileSink(path, pool=EncoderPool() if shared else None)
    sink.open(VideoInfo((48, 64), Fraction(10), live=True), (48, 64))
    for number in range(20):
        one = Picture(picture(number))
        # Nothing is known before the camera's first report.
        one.taken_ns = 1_700_000_000 * 10**9 + number * 100_000_000 if number >= 5 else 0
        sink.write(one, 7_000_000_000 + number * 100_000_000, 100_000_000)
    sink.close()
    with av.open(str(path)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20
        made = datetime.fromisoformat(file.metadata["creation_time"].replace("Z", "+00:00"))
    assert abs(made.timestamp() - 1_700_000_000) <= 0.1


def test_segments_and_streams_ask_for_the_same_pixels(tmp_path: Path) -> None:
    info = VideoInfo((288, 704), Fraction(25), live=True, pixel_aspect=Fraction(6, 11))
    task = task_of(tmp_path / "a.mkv", FileSinkOptions(), None, info, (288, 704))
    assert task.pixel_aspect == Fraction(6, 11)

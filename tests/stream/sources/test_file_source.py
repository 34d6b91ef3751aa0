"""Video files: every frame with its own pts, counts untouched, and one clear line for what is broken."""

import re
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.media.container import PROGRAM_STREAM, unmapped_caps
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.gst_source import PictureOptions, SourcePlan
from irchroma.stream.sources.packets import read_packets

pytestmark = pytest.mark.gst

SHARED = Path(__file__).parents[4] / "shared" / "data" / "clips"
GRAY = "video/x-raw,format=GRAY8,width=64,height=48,framerate=10/1"
COLOR = "video/x-raw,format=I420,width=64,height=48,framerate=10/1"
H264 = "videoconvert ! x264enc key-int-max=10 ! h264parse"
Recorder = Callable[..., Path]


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    """Runs `videotestsrc num-buffers=N ! LINE ! filesink`, gives the file."""

    def made(name: str, line: str, frames: int = 30) -> Path:
        path = tmp_path / name
        source = f"videotestsrc num-buffers={frames} pattern=ball ! " if frames else ""
        pipeline = Pipeline(f"{source}{line} ! filesink name=file", {"file": {"location": str(path)}})
        pipeline.start()
        try:
            bus = pipeline._bus
            message = bus.timed_pop_filtered(
                20_000_000_000,
                door.modules()["Gst"].MessageType.EOS | door.modules()["Gst"].MessageType.ERROR,
            )
            assert message is not None
            assert message.type == door.modules()["Gst"].MessageType.EOS, message.parse_error()
        finally:
            pipeline.stop()
        return path

    return made


def read_all(path: Path, options: PictureOptions | None = None) -> tuple[VideoInfo, list[Frame]]:
    source = FileSource(path, options)
    try:
        info, frames = source.open(), []
        while (frame := source.read(5)) is not None:
            frames.append(frame)
        assert source.read(5) is None
        return info, frames
    finally:
        source.close()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("b_frames.mp4", f"{GRAY} ! {H264} ! mp4mux"),
        ("fragments.mp4", f"{GRAY} ! {H264} ! mp4mux fragment-duration=1000"),
        ("b_frames.mkv", f"{GRAY} ! {H264} ! matroskamux"),
        ("mjpeg.avi", f"{GRAY} ! jpegenc ! avimux"),
        ("vp8.webm", f"{GRAY} ! videoconvert ! vp8enc deadline=1 ! webmmux"),
        ("mpeg.ts", f"{GRAY} ! {H264} ! mpegtsmux"),
    ],
)
def test_every_frame_comes_in_order_with_its_own_time(record: Recorder, name: str, line: str) -> None:
    info, frames = read_all(record(name, line))
    assert [frame.number for frame in frames] == list(range(30))
    steps = np.diff([frame.pts_ns for frame in frames])
    assert np.abs(steps - 100_000_000).max() <= 1_000_000  # Matroska and TS round their times
    assert info.size == (48, 64)
    assert info.rate == Fraction(10)
    assert not info.live
    assert all(frame.pixels.dtype == np.uint8 and frame.pixels.ndim == 2 for frame in frames)
    assert not any(frame.gap for frame in frames)
    if name.endswith("mp4"):
        assert info.frame_count == 30


def test_counts_in_matroska_arrive_bit_for_bit(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(0, 65536, (5, 48, 64)).astype(np.uint16)
    path = tmp_path / "counts.mkv"
    pipeline = Pipeline(
        "appsrc name=in format=time caps=video/x-raw,format=GRAY16_LE,width=64,height=48,framerate=10/1"
        " ! avenc_ffv1 ! matroskamux ! filesink name=file",
        {"file": {"location": str(path)}},
    )
    pipeline.start()
    for number, picture in enumerate(counts):
        pipeline.push("in", picture, number * 100_000_000, 100_000_000)
    pipeline.end("in", 10)
    pipeline.stop()
    info, frames = read_all(path)
    assert info.counts
    assert [frame.pts_ns for frame in frames] == [n * 100_000_000 for n in range(5)]
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), counts)


def test_color_comes_as_rgb_unless_it_is_to_be_ignored(record: Recorder) -> None:
    path = record("color.mkv", f"video/x-raw ! videobalance hue=0.3 ! {COLOR} ! {H264} ! matroskamux")
    bars = record(
        "bars.mkv",
        f"{COLOR} ! fakesink videotestsrc pattern=smpte num-buffers=5 ! {COLOR} ! {H264} ! matroskamux",
        1,
    )
    assert not read_all(path)[1][0].is_color  # a white ball on black
    _, frames = read_all(bars)
    assert all(frame.is_color for frame in frames)
    assert frames[0].pixels[10, 3].min() > 170  # gray bar
    yellow = frames[0].pixels[10, 14].astype(int)
    assert yellow[2] < 30 < 170 < yellow[:2].min()
    _, frames = read_all(bars, PictureOptions(color="ignore"))
    assert not any(frame.is_color for frame in frames)


def test_a_change_of_size_in_the_middle_is_survived(record: Recorder, tmp_path: Path) -> None:
    small = record("small.h264", f"{GRAY} ! {H264} ! video/x-h264,stream-format=byte-stream", 10)
    large = record(
        "large.h264",
        f"{GRAY.replace('64', '128')} ! {H264} ! video/x-h264,stream-format=byte-stream",
        10,
    )
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    _, frames = read_all(both)
    assert [frame.size for frame in frames] == [(48, 64)] * 10 + [(48, 128)] * 10
    assert [frame.number for frame in frames if frame.gap] == [10]
    times = [frame.pts_ns for frame in frames]
    assert times == sorted(set(times))


def test_a_rotation_tag_is_respected(record: Recorder) -> None:
    path = record("turned.mp4", f"{GRAY} ! {H264} ! mp4mux", 3)
    _, upright = read_all(path)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # a quarter turn clockwise: ISO/IEC 14496-12, 6.2.2 and 8.3.2
    data[matrix : matrix + 16] = bytes.fromhex("00000000 00010000 00000000 ffff0000")
    data[matrix + 16 : matrix + 20] = bytes(4)
    path.write_bytes(data)
    info, turned = read_all(path)
    assert info.size == (64, 48)
    np.testing.assert_array_equal(turned[0].pixels, np.rot90(upright[0].pixels, 3))


def test_pixels_that_are_no_squares_are_told_and_turned_with_the_picture(record: Recorder) -> None:
    wide = GRAY + ",pixel-aspect-ratio=2/1"
    path = record("wide.mp4", f"{wide} ! {H264} ! mp4mux", 3)
    assert read_all(path)[0].pixel_aspect == 2
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 20] = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000")
    path.write_bytes(data)
    info, _ = read_all(path)
    assert (info.size, info.pixel_aspect) == ((64, 48), Fraction(1, 2))
    assert read_all(record("plain.mp4", f"{GRAY} ! {H264} ! mp4mux", 3))[0].pixel_aspect == 1


def test_interlaced_pictures_are_deinterlaced_one_for_one(record: Recorder) -> None:
    path = record("fields.mkv", f"{COLOR} ! interlace field-pattern=1:1 ! matroskamux", 20)
    _, frames = read_all(path)
    assert [frame.pts_ns for frame in frames] == [n * 200_000_000 for n in range(10)]


def test_sound_is_left_alone_and_sound_only_is_refused(record: Recorder) -> None:
    both = record(
        "both.mkv", f"{GRAY} ! {H264} ! matroskamux name=m audiotestsrc num-buffers=50 ! vorbisenc ! m. m."
    )
    assert len(read_all(both)[1]) == 30
    sound = record("sound.mkv", "audiotestsrc num-buffers=20 ! vorbisenc ! matroskamux", 0)
    with pytest.raises(SourceFormatError, match="has no video track, only sound"):
        FileSource(sound).open()


class Unheard(FileSource):
    """A file whose demuxer has read it all before it hears that nobody takes what it gives."""

    open_timeout_s = 5.0

    def plan(self) -> SourcePlan:
        plan, gst = super().plan(), door.modules()["Gst"]
        handle = plan.signals["decode"]["deep-element-added"]

        def swallow(_queue: Any, pad: Any) -> None:
            if pad.get_direction() == gst.PadDirection.SRC:
                kinds = gst.PadProbeType.BUFFER | gst.PadProbeType.EVENT_DOWNSTREAM
                pad.add_probe(kinds, lambda *_: gst.PadProbeReturn.DROP)

        def added(decode: Any, inside: Any, element: Any) -> None:
            handle(decode, inside, element)
            if element.get_factory().get_name() == "multiqueue":
                element.connect("pad-added", swallow)

        plan.signals["decode"]["deep-element-added"] = added
        return plan


def test_sound_only_is_refused_at_once_however_short_it_is(record: Recorder) -> None:
    sound = record("sound.mp4", "audiotestsrc num-buffers=20 ! avenc_aac ! aacparse ! mp4mux", 0)
    with pytest.raises(SourceFormatError, match="has no video track, only sound"):
        Unheard(sound).open()


@pytest.mark.parametrize(
    ("name", "mux"), [("cut.mkv", "matroskamux"), ("cut.avi", "avimux"), ("cut.mp4", "mp4mux faststart=true")]
)
def test_a_truncated_file_gives_its_frames_and_then_the_reason(record: Recorder, name: str, mux: str) -> None:
    path = record(name, f"{GRAY} ! {H264} ! {mux}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    source = FileSource(path)
    source.open()
    frames: list[Frame] = []

    def read_on() -> None:
        while (frame := source.read(5)) is not None:
            frames.append(frame)

    with pytest.raises(SourceError, match=r"is truncated, \d+ bytes are missing: \d+ frames up to"):
        read_on()
    source.close()
    assert 5 < len(frames) < 30


def test_a_program_stream_as_recorders_export_it_has_all_its_pictures(record: Recorder) -> None:
    path = record("export.mpg", f"{GRAY} ! {H264} ! mpegpsmux", 30)
    _, frames = read_all(path)
    assert [frame.pts_ns for frame in frames] == [n * 100_000_000 for n in range(30)]
    assert len(list(read_packets(path))) == 30


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
@pytest.mark.parametrize("packets", ["vob", "mpeg"])  # of MPEG-2 and of MPEG-1
@pytest.mark.parametrize("coding", ["libx264", "libx265", "mpeg4", "mpeg2video"])
def test_a_program_stream_that_does_not_say_what_it_holds_is_looked_at(
    tmp_path: Path, coding: str, packets: str
) -> None:
    path = unsaid(tmp_path, coding, packets=packets)
    _, frames = read_all(path)
    assert len(frames) == 50
    assert np.diff([frame.pts_ns for frame in frames]) == pytest.approx(4e7, abs=1e5)
    assert len(list(read_packets(path))) == 50


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
def test_one_that_holds_what_nothing_shows_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(SourceFormatError, match="does not say how its pictures are coded: ffmpeg"):
        FileSource(unsaid(tmp_path, "mjpeg")).open()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
def test_one_that_begins_within_a_group_of_mpeg2_is_no_h264(tmp_path: Path) -> None:
    """A recorder's next piece begins between two headers: slices, whose numbers H.264 uses for others."""
    path = unsaid(tmp_path, "mpeg2video", "-s", "720x576", "-q:v", "2", "-g", "25")
    data = path.read_bytes()
    packs = [found.start() for found in re.finditer(re.escape(PROGRAM_STREAM), data)]
    for at in packs[: len(packs) // 2 : 3]:
        path.write_bytes(data[at:])
        assert not unmapped_caps(path), at


def unsaid(folder: Path, coding: str, *more: str, packets: str = "vob") -> Path:
    """Two seconds in a program stream without a map, as FFmpeg and old recorders write them."""
    path = folder / "unsaid.mpg"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=duration=2", "-c:v", coding]
    quiet = ["-x265-params", "log-level=error"] if coding == "libx265" else []
    ends = ("-pix_fmt", "yuv420p", "-f", packets, str(path))
    subprocess.run([*command, *quiet, *more, *ends], check=True, timeout=60)
    return path


def test_an_mp4_file_without_its_index_is_named_as_such(record: Recorder) -> None:
    path = record("cut.mp4", f"{GRAY} ! {H264} ! mp4mux")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"its index \(moov\) is missing"):
        FileSource(path).open()


def test_what_is_no_video_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 99)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9000))
    for name, words in {
        "empty.mp4": "is empty",
        "text.mp4": "is a text, expected a video",
        "noise.mp4": "is not a video",
        "absent.mp4": "no such file",
        "": "is a folder",
    }.items():
        source = FileSource(tmp_path / name)
        with pytest.raises(SourceError, match=words) as caught:
            source.open()
        assert "\n" not in str(caught.value)
        source.close()


def test_frames_without_a_header_are_said_to_be_read_as_raw(tmp_path: Path) -> None:
    path = tmp_path / "counts.raw"
    path.write_bytes(bytes(range(256)) * 200)
    with pytest.raises(SourceFormatError, match=r"raw:.*counts\.raw\?size=WxH&format=gray16le&rate=HZ"):
        FileSource(path).open()


def test_a_depth_that_kills_the_decoder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gray12.mkv"
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("no ffmpeg here to write 12-bit FFV1")
    source = "testsrc2=s=64x48:r=10:d=0.3"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "gray12le", "-c:v", "ffv1"]
    subprocess.run([*command, str(path)], check=True, timeout=60)
    refusal, frames = "", []
    try:
        frames = read_all(path)[1]  # for a GStreamer that has learned it
    except SourceFormatError as error:
        refusal = str(error)
    assert "expected gray of 8 or 16 bits" in refusal or len(frames) == 3


def test_a_file_may_be_opened_again_and_closed_twice(record: Recorder) -> None:
    source = FileSource(record("again.mkv", f"{GRAY} ! {H264} ! matroskamux", 5))
    for _ in range(2):
        source.open()
        frame = source.read(5)
        assert frame is not None
        assert frame.number == 0
        source.close()
        source.close()
    with pytest.raises(SourceError, match="not open"):
        source.read(1)
    assert source.drops == 0


@pytest.mark.parametrize(
    ("name", "count", "first_ns", "last_ns"),
    [  # ffprobe -show_entries frame=pts_time -select_streams v
        ("thermal_cc0/IR_BIRD_001.mp4", 310, 33_333_333, 10_333_333_333),
        ("thermal/1208_1654_infrared.mp4", 186, 0, 8_409_090_909),
        ("paired/0111_1716_infrared.mp4", 151, 0, 5_000_000_000),
    ],
)
def test_real_clips_have_the_frames_and_times_that_ffprobe_sees(
    name: str, count: int, first_ns: int, last_ns: int
) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the shared clips are not here")
    info, frames = read_all(SHARED / name)
    assert len(frames) == count == info.frame_count
    assert (frames[0].pts_ns, frames[-1].pts_ns) == (first_ns, last_ns)
    assert not any(frame.is_color for frame in frames)

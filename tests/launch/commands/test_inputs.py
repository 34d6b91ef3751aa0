"""What comes in as users have it: all of it is colored, or a line says why not; never less without a word."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import forked
from tests.reading import frames_of
from tests.stream.sources.pictures.flir_files import block, radiometric_jpeg, raw_of
from tests.waiting import free_port, wait_for

from irchroma.launch.cli import main
from irchroma.launch.run.monitoring.monitor import _GAVE_WAY, Monitor
from irchroma.launch.run.settings.options import RunConfig, with_scale
from irchroma.stream.errors import SourceError, SourceFormatError, StreamError
from irchroma.stream.frame import Frame
from irchroma.stream.gstreamer.door import modules
from irchroma.stream.loop.fakes import MemorySource
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sinks.encoding.i420_packer import fit_picture
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.gst_source import PictureOptions
from irchroma.stream.sources.pictures.picture_source import PictureSource, read_picture, scale_of
from irchroma.stream.sources.raw_source import RawSource
from irchroma.stream.view.osd import read_spot

pytestmark = [
    pytest.mark.gst,
    pytest.mark.skipif(
        shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="no ffmpeg here"
    ),
]


def ffmpeg(line: str, *files: Path, data: bytes | None = None) -> None:
    """`{0}`, `{1}` in the line are the files."""
    words = [word.format(*files) for word in line.split()]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], input=data, check=True, timeout=60)


def ffprobe(path: Path, entries: str, *more: str) -> list[str]:
    """The values of the entries, one line each."""
    command = ["ffprobe", "-v", "error", *more, "-show_entries", entries, "-of", "csv=p=0", str(path)]
    found = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=60
    ).stdout
    return [line.rstrip(",") for line in found.split()]


def irchroma(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return forked.irchroma("run", *words, "--quiet")


def split_frames(count: int) -> np.ndarray:
    """(N, 384, 256, 2) uint8 as a P2 Pro or TC001 sends it: a YUYV picture above, 1/64 K below."""
    y, x = np.mgrid[:192, :256]
    frames = np.zeros((count, 384, 256, 2), np.uint8)
    for number, frame in enumerate(frames):
        disk = (x - 60 - 3 * number) ** 2 + (y - 90) ** 2 < 900
        frame[:192, :, 0], frame[:192, :, 1] = 60 + x // 4 + disk * 120, 128
        frame[192:] = ((293.15 + x / 25.6 + disk * 60) * 64).astype("<u2")[..., None].view(np.uint8)
    return frames


def test_a_camera_profile_is_applied_to_a_file_as_to_a_device(tmp_path: Path) -> None:
    frames = split_frames(8)
    clip, color, raw = (tmp_path / name for name in ("split.avi", "color.mkv", "raw.mkv"))
    line = "-f rawvideo -pix_fmt yuyv422 -s 256x384 -r 25 -i - -c:v rawvideo -pix_fmt yuyv422 {0}"
    ffmpeg(line, clip, data=frames.tobytes())
    profile = ("--camera", "infiray-split", "--strict", "--engine", "palette:ironbow")
    done = irchroma(clip, "--to", color, "--keep-raw", raw, *profile)
    assert done.returncode == 0, done.stderr
    assert ffprobe(color, "stream=width,height") == ["256,192"]
    kept = np.stack([frame.pixels for frame in frames_of(raw)])
    np.testing.assert_array_equal(kept, frames.view("<u2")[..., 0])
    shown = frames_of(color)[5].pixels.astype(int)
    hot, cold = shown[90, 75], shown[20, 20]
    assert hot.sum() > cold.sum() + 150  # the disk of 80 degrees
    assert np.ptp(cold) > 10  # a palette, not gray


def test_a_camera_profile_that_cannot_be_applied_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "squeezed.mp4"
    ffmpeg("-f lavfi -i testsrc2=s=256x384:r=10:d=0.5 -c:v libx264 {0}", clip)
    for profile, words in (("infiray-split", "YUYV frames unchanged"), ("lepton", "16-bit counts")):
        done = irchroma(clip, "--to", "null", "--engine", "palette", "--camera", profile)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert words in done.stderr


def test_strict_turns_a_remark_into_a_failure_and_the_statistics_have_it_anyway(tmp_path: Path) -> None:
    (tmp_path / "cam.toml").write_text("size = [32, 32]\n[faults]\nstripes = 4.0\n")
    stats, source = tmp_path / "stats.json", "test:thermal?size=64x48&frames=4"
    words = ("--to", "null", "--engine", "palette", "--stats", stats, "--camera", tmp_path / "cam.toml")
    assert irchroma(source, *words).returncode == 0
    told = json.loads(stats.read_text())["remarks"]
    assert told == [
        {"text": "pictures of 64x48 are not corrected: the camera's profile is of 32x32", "count": 4}
    ]
    done = irchroma(source, *words, "--strict")
    assert done.returncode == 1
    assert "--strict: the run is over, but not all is as asked: pictures of 64x48" in done.stderr


def test_every_page_of_a_tiff_is_colored_and_a_single_picture_command_refuses_it(tmp_path: Path) -> None:
    pages = [np.full((48, 64), 7000 + 9 * n, np.uint16) + np.arange(64, dtype=np.uint16) for n in range(20)]
    cv2.imwritemulti(str(tmp_path / "a.tiff"), pages)
    done = irchroma(tmp_path / "a.tiff", "--to", tmp_path / "a.mkv", "--engine", "palette", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(frames_of(tmp_path / "a.mkv")) == 20
    np.save(tmp_path / "a.npy", np.stack(pages))  # nothing that anybody would look for sound in
    words = ["run", str(tmp_path / "a.npy"), "--to", str(tmp_path / "b.mkv"), "--engine", "palette"]
    assert main([*words, "--strict", "--quiet"]) == 0
    assert main(["image", str(tmp_path / "a.tiff"), str(tmp_path / "a.png"), "--engine", "gray"]) == 1


def test_a_radiometric_jpeg_is_measured_in_degrees(tmp_path: Path) -> None:
    kelvin = np.full((120, 160), 293.15)
    kelvin[50:70, 70:90] = 353.15
    shown = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(radiometric_jpeg(block(raw_of(kelvin)), shown))
    image = tmp_path / "a.png"
    assert main(["image", str(tmp_path / "a.jpg"), str(image), "--engine", "palette:white-hot"]) == 0
    colored = cv2.imread(str(image)).astype(int)
    assert colored[60, 80].min() > 200
    assert colored[10, 10].max() < 60
    scale = scale_of(tmp_path / "a.jpg")
    assert scale is not None
    palette = with_scale(RunConfig(), scale).palette
    spot = read_spot(read_picture(tmp_path / "a.jpg"), gain=palette.gain, offset=palette.offset)
    assert spot.text == "80.0 °C"


PICTURES = "-f lavfi -i testsrc2=s=320x240:r=25:d=3"


def mjpeg_with_lost_starts(path: Path) -> None:
    ffmpeg(f"{PICTURES} -c:v mjpeg -q:v 6 {{0}}", path)
    data = bytearray(path.read_bytes())
    at, number, end = data.find(b"movi"), 0, data.rfind(b"idx1")
    while 0 <= (at := data.find(b"00dc", at + 1)) < end:
        number += 1
        if number % 10 == 8:
            data[at + 8 : at + 28] = bytes(20)
    path.write_bytes(data)


def h264_with_noise(path: Path) -> None:
    ffmpeg(f"{PICTURES} -pix_fmt yuv420p -c:v libx264 -g 30 {{0}}", path)
    data = bytearray(path.read_bytes())
    at = data.find(b"mdat") + 30000
    data[at : at + 4000] = np.random.default_rng(1).bytes(4000)
    path.write_bytes(data)


def transport_stream_with_lost_packets(path: Path) -> None:
    ffmpeg(f"{PICTURES} -pix_fmt yuv420p -c:v libx264 -g 30 {{0}}", path)
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    kept = np.random.default_rng(3).random(len(packets)) >= 0.02
    path.write_bytes(b"".join(p for n, p in enumerate(packets) if n < 100 or kept[n]))


def test_pictures_whose_start_is_lost_are_shown_as_ffmpeg_shows_them(tmp_path: Path) -> None:
    mjpeg_with_lost_starts(tmp_path / "m.avi")
    done = irchroma(tmp_path / "m.avi", "--to", tmp_path / "m.mkv", "--engine", "gray", "--no-color-camera")
    assert (done.returncode, done.stderr) == (0, "")
    assert ffprobe(tmp_path / "m.mkv", "stream=nb_read_packets", "-count_packets") == ["75"]


@pytest.mark.parametrize(
    ("name", "damage"), [("h.mp4", h264_with_noise), ("t.ts", transport_stream_with_lost_packets)]
)
def test_damage_is_told_counted_and_a_failure_after_all_that_could_be_shown(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(tmp_path / name)
    stats, out = tmp_path / "stats.json", tmp_path / "out.mkv"
    done = irchroma(tmp_path / name, "--to", out, "--engine", "gray", "--no-color-camera", "--stats", stats)
    assert done.returncode == 1
    assert f"{name} is damaged: " in done.stderr
    shown = int(ffprobe(out, "stream=nb_read_packets", "-count_packets")[0])
    assert 50 <= shown < 75  # 54 to 60: where packets are lost depends on FFmpeg's layout of them
    remarks = json.loads(stats.read_text())["remarks"]
    assert len(remarks) == 1
    assert abs(75 - shown - remarks[0]["count"]) <= 1  # of a transport stream a missing end is not seen
    assert f"{shown} frames were shown" in done.stderr


@pytest.mark.parametrize(
    ("name", "codec", "words"),
    [
        ("a.nut", "-c:v rawvideo -pix_fmt gray16le", "NUT is not read here: ffmpeg -i IN"),
        ("a.gif", "", "GIF is not read here"),
        ("a.mp4", "-c:v libx265 -x265-params log-level=none -pix_fmt gray10le", "HEVC of 10-bit gray"),
        ("a.mp4", "-c:v libx265 -x265-params log-level=none -pix_fmt gray12le", "HEVC of 12-bit gray"),
        ("a.mkv", "-c:v ffv1 -pix_fmt gray12le", "FFV1 of this depth"),
        ("a.avi", "-c:v utvideo", "knows no such codec: ffmpeg -i IN"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_at_once(
    tmp_path: Path, name: str, codec: str, words: str
) -> None:
    ffmpeg(f"-f lavfi -i testsrc2=s=160x120:r=9:d=1 {codec} {{0}}", tmp_path / name)
    with pytest.raises(SourceFormatError, match=words):
        frames_of(tmp_path / name)


def test_counts_of_ten_bits_are_refused_or_come_as_they_are(tmp_path: Path) -> None:
    deep, plain = tmp_path / "deep.mkv", tmp_path / "plain.raw"
    ffmpeg("-f lavfi -i testsrc2=s=160x120:r=9:d=1 -c:v ffv1 -pix_fmt gray10le {0}", deep)
    ffmpeg("-i {0} -f rawvideo -pix_fmt gray10le {1}", deep, plain)
    counts = np.fromfile(plain, "<u2").reshape(-1, 120, 160)
    video = modules()["GstVideo"]
    if video.VideoFormat.from_string("GRAY10_LE16") == video.VideoFormat.UNKNOWN:  # before 1.24
        with pytest.raises(SourceFormatError, match="FFV1 of this depth"):
            frames_of(deep)
        return
    frames = frames_of(deep)
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), counts)


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv"])
@pytest.mark.parametrize("shown", [0, 1])
def test_of_two_tracks_the_one_that_is_to_be_shown_is_taken(tmp_path: Path, name: str, shown: int) -> None:
    ffmpeg(
        "-f lavfi -i testsrc2=s=160x120:d=1 -f lavfi -i smptebars=s=320x180:d=1 -map 0 -map 1 -c:v libx264"
        f" -pix_fmt yuv420p -disposition:v:{shown} default -disposition:v:{1 - shown} 0 {{0}}",
        tmp_path / name,
    )
    frames = frames_of(tmp_path / name)
    assert {frame.size for frame in frames} == {(180, 320) if shown else (120, 160)}
    assert len(frames) == 25


def test_of_two_tracks_that_may_both_be_shown_a_line_says_which_is_taken(tmp_path: Path) -> None:
    ffmpeg(
        "-f lavfi -i testsrc2=s=160x120:d=1 -f lavfi -i smptebars=s=320x180:d=1 -map 0 -map 1 -c:v libx264"
        " -pix_fmt yuv420p -disposition:v default {0}",
        tmp_path / "two.mp4",
    )
    done = irchroma(tmp_path / "two.mp4", "--to", "null", "--engine", "gray", "--strict")
    assert done.returncode == 1
    assert "has 2 tracks of pictures (160x120, 320x180): number 1 is taken" in done.stderr


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.h264", "a.avi"])
def test_a_video_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path, name: str) -> None:
    codec = "mjpeg -pix_fmt yuvj420p" if name.endswith("avi") else "libx264 -pix_fmt yuv420p"
    ffmpeg(f"-f lavfi -i color=s=1280x1024:r=5:d=1 -c:v {codec} {{0}}", tmp_path / name)
    with pytest.raises(SourceError, match="pictures of 1280x1024 are larger than the 1 million pixels"):
        FileSource(tmp_path / name, PictureOptions(max_megapixels=1)).open()
    assert len(frames_of(tmp_path / name)) == 5


def with_sound(path: Path) -> None:
    ffmpeg(
        "-f lavfi -i testsrc2=s=160x120:r=25:d=4 -f lavfi -i sine=d=4 -c:v libx264 -g 100"
        " -pix_fmt yuv420p -c:a aac {0}",
        path,
    )


def span(path: Path, kind: str) -> tuple[float, float]:
    """First and last time of a track's packets that are shown, by ffprobe, seconds."""
    found = ffprobe(path, "packet=pts_time", "-select_streams", kind)
    times = sorted(float(text) for text in found if text != "N/A")
    return next(t for t in times if t >= 0), times[-1]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("cut", "picture", "sound"),
    [
        ("-ss 1.3 -i {0} -c copy {1}", (0.0, 2.66), (0.0, 2.69)),  # an edit list in both tracks
        ("-i {0} -itsoffset 1 -i {0} -map 1:v -map 0:a -c copy {1}", (1.0, 4.96), (0.0, 3.99)),
        ("-itsoffset 0.5 -i {0} -i {0} -map 1:v -map 0:a -c copy {1}", (0.0, 3.96), (0.5, 3.99)),
    ],
)
def test_picture_and_sound_begin_and_end_where_they_did(
    tmp_path: Path, ending: str, cut: str, picture: tuple[float, float], sound: tuple[float, float]
) -> None:
    base, clip, out = tmp_path / "base.mp4", tmp_path / "clip.mp4", tmp_path / f"out.{ending}"
    with_sound(base)
    ffmpeg(cut, base, clip)
    done = irchroma(clip, "--to", out, "--engine", "gray", "--no-color-camera")
    left_out = "after the last picture is left out" in done.stderr
    assert (done.returncode, left_out) == (0, "0.5" in cut)
    assert span(out, "v") == pytest.approx(picture, abs=0.041)
    assert span(out, "a") == pytest.approx(sound, abs=0.03)


def test_a_pipe_is_refused_at_once_wherever_a_file_is_expected(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    with pytest.raises(SourceError, match="is a pipe, expected a file"):
        FileSource(pipe).open()
    with pytest.raises(SourceError, match="is a pipe: read it from standard input"):
        RawSource(f"raw:{pipe}?size=8x8").open()
    source = ["run", "test:nir?size=64x48&frames=3", "--engine", "gray", "--quiet"]
    assert main([*source, "--to", str(pipe)]) == 1
    assert main([*source, "--to", "null", "--stats", str(pipe)]) == 1


def test_names_that_are_no_text_are_names(tmp_path: Path) -> None:
    clip, out = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.mp4", b"f\xe4rbig.mp4"))
    with_sound(tmp_path / "base.mp4")
    (tmp_path / "base.mp4").rename(clip)
    done = irchroma(clip, "--to", out, "--engine", "gray", "--stats", tmp_path / "stats.json")
    assert (done.returncode, done.stderr) == (0, "")
    out.rename(tmp_path / "out.mp4")
    assert ffprobe(tmp_path / "out.mp4", "stream=codec_type") == ["video", "audio"]
    assert json.loads((tmp_path / "stats.json").read_text())["frames"] == 100


def told(work: Callable[[], object]) -> list[str]:
    """What is remarked meanwhile."""
    remarks = Remarks()
    token = run_remarks.set(remarks)
    try:
        work()
    finally:
        run_remarks.reset(token)
    return [str(one["text"]) for one in remarks.listed()]


def test_what_is_dropped_or_replaced_is_a_remark(tmp_path: Path) -> None:
    deep, colored, clear = (tmp_path / name for name in ("deep.mp4", "deep.png", "clear.png"))
    ffmpeg("-f lavfi -i testsrc2=s=64x48:r=5:d=1 -c:v libx264 -pix_fmt yuv420p10le {0}", deep)
    assert told(lambda: frames_of(deep)) == ["pictures of 10 bits are not counts and were brought to 8 bits"]
    noise = np.random.default_rng(0).integers(0, 65535, (8, 8, 4)).astype(np.uint16)
    cv2.imwrite(str(colored), noise[..., :3])
    assert told(lambda: read_picture(colored)) == ["16-bit color was brought to 8 bits"]
    cv2.imwrite(str(clear), (noise >> 8).astype(np.uint8))
    assert told(lambda: read_picture(clear)) == ["transparency is left out"]
    assert "files that are no pictures are left out" in told(lambda: PictureSource(tmp_path).open())[0]
    even = np.zeros((48, 64, 3), np.uint8)
    assert told(lambda: fit_picture(even, (48, 64))) == []
    assert "odd size" in told(lambda: fit_picture(even[:47], (48, 64)))[0]
    fitted = told(lambda: fit_picture(even[:20], (48, 64)))
    assert fitted == ["pictures of another size were fitted into 64x48"]


def test_a_pipe_as_output_is_refused_before_the_work_begins(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.mkv")
    for words in (("--to", tmp_path / "out.mkv"), ("--to", "null", "--keep-raw", tmp_path / "out.mkv")):
        done = irchroma("test:nir?frames=3", *words, "--engine", "gray")
        assert done.returncode != 0
        assert "is a pipe, expected a file" in done.stderr
        assert "source:" not in done.stderr, "nothing was opened"


def test_the_page_is_there_while_its_camera_is_awaited(tmp_path: Path) -> None:
    page, camera = free_port(), free_port()
    words = ("run", f"rtsp://127.0.0.1:{camera}/cam", "--wait", "--to", f"http://127.0.0.1:{page}")
    run = subprocess.Popen(
        (sys.executable, "-m", "irchroma.launch", *words, "--engine", "gray"), stderr=subprocess.DEVNULL
    )

    def figures() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/stats.json", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    try:
        wait_for(lambda: "refuse" in (figures().get("reason") or ""))
        assert figures()["state"] == "waiting"
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/", timeout=5) as answer:
            assert b"<html" in answer.read()
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(20)


@pytest.mark.parametrize(("live", "fails"), [(True, False), (False, True)])
def test_frames_of_a_live_source_that_gave_way_are_no_failure_of_strict(live: bool, fails: bool) -> None:
    monitor = Monitor(RunConfig(source="test:nir", to=("null",), strict=True), quiet=True)
    source = MemorySource([Frame(np.zeros((4, 6), np.uint8), 0)], live=live)
    monitor.loop = Loop(source, lambda _: None, None, [], LoopOptions())  # type: ignore[arg-type, return-value]
    monitor.loop.reader.info = source.open()
    monitor.remarks.add(_GAVE_WAY, 3)
    with pytest.raises(StreamError, match="gave way") if fails else contextlib.nullcontext():
        monitor.require_clean()
    monitor.remarks.add("something else")
    with pytest.raises(StreamError, match="something else"):
        monitor.require_clean()

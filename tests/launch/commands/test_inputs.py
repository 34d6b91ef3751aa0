"""What comes in as users have it: all of it is colored, or a line says why not; never less without a word."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.stream.sources.flir_files import block, radiometric_jpeg, raw_of

from irchroma.launch.cli import main
from irchroma.launch.run.options import RunConfig, with_scale
from irchroma.stream.frame import Frame
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.pictures import read_picture, scale_of
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
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [line.rstrip(",") for line in found.split()]


def irchroma(*words: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "irchroma.launch", "run", *map(str, words), "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def frames_of(path: Path) -> list[Frame]:
    source = FileSource(path)
    source.open()
    frames = []
    while (frame := source.read(10)) is not None:
        frames.append(frame)
    source.close()
    return frames


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
    stats = tmp_path / "stats.json"
    words = ("test:thermal?size=64x48&frames=4", "--to", "null", "--engine", "palette", "--stats", stats)
    words += ("--camera", tmp_path / "cam.toml")
    assert irchroma(*words).returncode == 0
    told = json.loads(stats.read_text())["remarks"]
    assert told == [
        {"text": "pictures of 64x48 are not corrected: the camera's profile is of 32x32", "count": 4}
    ]
    done = irchroma(*words, "--strict")
    assert done.returncode == 1
    assert "--strict: the run is over, but not all is as asked: pictures of 64x48" in done.stderr


def test_every_page_of_a_tiff_is_colored_and_a_single_picture_command_refuses_it(tmp_path: Path) -> None:
    pages = [np.full((48, 64), 7000 + 9 * n, np.uint16) + np.arange(64, dtype=np.uint16) for n in range(20)]
    cv2.imwritemulti(str(tmp_path / "a.tiff"), pages)
    done = irchroma(tmp_path / "a.tiff", "--to", tmp_path / "a.mkv", "--engine", "palette", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(frames_of(tmp_path / "a.mkv")) == 20
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

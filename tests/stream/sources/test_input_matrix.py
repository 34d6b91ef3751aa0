"""Each kind of input against what FFmpeg wrote and what ffprobe says of it: colors, frames, times, size."""

import itertools
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SourceFormatError
from irchroma.stream.frame import Frame
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sources.file_source import FileSource

pytestmark = [
    pytest.mark.gst,
    pytest.mark.skipif(
        shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="no ffmpeg here"
    ),
]

SIZE = (64, 128)
GRAYS = np.linspace(0, 255, 16).round().astype(np.uint8)
COLORS = np.array(
    [[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 40], [40, 200, 200], [200, 40, 200]], np.uint8
)
LEVELS = 2
"""How far a gray may be off: one level of the encoder's rounding, one of ours."""
COLOR_LEVELS = 6
"""How far a color may be off: 8-bit limited-range chroma steps are 1.8 levels of B' apart, twice rounded."""


def read_all(path: Path) -> tuple[VideoInfo, list[Frame]]:
    source = FileSource(path)
    try:
        info, frames = source.open(), []
        while (frame := source.read(10)) is not None:
            frames.append(frame)
        return info, frames
    finally:
        source.close()


def chart() -> np.ndarray:
    """(H, W, 3) uint8: sixteen grays above, six colors below."""
    height, width = SIZE
    grays = np.repeat(GRAYS, width // 16)[None, :, None].repeat(height // 2, 0).repeat(3, 2)
    colors = COLORS[np.minimum(np.arange(width) * 6 // width, 5)][None].repeat(height // 2, 0)
    return np.concatenate([grays, colors])


def encode(path: Path, pixel_format: str, color_range: str, matrix: str, *codec: str) -> None:
    """Three pictures of the chart; `matrix` `unknown` is written as BT.601, and not named."""
    named = matrix != "unknown"
    way = {"bt709": "bt709", "smpte170m": "bt601", "bt2020nc": "bt2020"}.get(matrix, "bt601")
    scale = (
        f"scale=out_color_matrix={way}:out_range={color_range}:flags=accurate_rnd+full_chroma_int,"
        f"format={pixel_format},setparams=range={color_range}:colorspace={matrix}"
        + ":color_primaries=bt709:color_trc=bt709"
        * named
    )
    height, width = SIZE
    command = (
        f"ffmpeg -v error -y -f rawvideo -pix_fmt rgb24 -s {width}x{height} -r 10 -i - -vf {scale}"
        f" -color_range {color_range}" + f" -colorspace {matrix}" * named
    )
    subprocess.run([*command.split(), *codec, str(path)], input=chart().tobytes() * 3, check=True, timeout=60)


X264 = ("-c:v", "libx264", "-qp", "0")
X265 = ("-c:v", "libx265", "-x265-params", "lossless=1:log-level=none:pools=1")
CODECS = {
    "h264": ("a.mp4", "yuv420p", X264),
    "h264 in Matroska": ("a.mkv", "yuv420p", X264),
    "h264 in a transport stream": ("a.ts", "yuv420p", X264),
    "h264 10 bit": ("a.mp4", "yuv420p10le", X264),
    "h264 4:4:4": ("a.mp4", "yuv444p", X264),
    "hevc": ("a.mp4", "yuv420p", X265),
    "hevc 10 bit": ("a.mp4", "yuv420p10le", X265),
    "hevc 12 bit 4:2:2": ("a.mkv", "yuv422p12le", X265),
    "vp9": ("a.webm", "yuv420p", ("-c:v", "libvpx-vp9", "-lossless", "1", "-cpu-used", "8")),
    "ffv1": ("a.mkv", "yuv420p", ("-c:v", "ffv1")),
    "ffv1 10 bit": ("a.mkv", "yuv420p10le", ("-c:v", "ffv1")),
}
RANGES, MATRICES = ("tv", "pc"), ("unknown", "bt709", "smpte170m", "bt2020nc")


def expect_chart(frame: Frame) -> None:
    assert frame.is_color
    height, width = SIZE
    at = (np.arange(16) + 0.5) * width / 16
    grays = frame.pixels[height // 4, at.astype(int)].astype(int)
    assert np.abs(grays - GRAYS[:, None]).max() <= LEVELS, grays.tolist()
    at = (np.arange(6) + 0.5) * width / 6
    colors = frame.pixels[height * 3 // 4, at.astype(int)].astype(int)
    assert np.abs(colors - COLORS).max() <= COLOR_LEVELS, colors.tolist()


@pytest.mark.parametrize(("name", "color_range", "matrix"), list(itertools.product(CODECS, RANGES, MATRICES)))
def test_levels_and_colors_are_those_that_were_filmed(
    tmp_path: Path, name: str, color_range: str, matrix: str
) -> None:
    file, pixel_format, codec = CODECS[name]
    encode(tmp_path / file, pixel_format, color_range, matrix, *codec)
    _, frames = read_all(tmp_path / file)
    assert len(frames) == 3
    expect_chart(frames[0])


MOVING = "-f lavfi -i testsrc2=s=176x144:r={rate}:d=2"
B_FRAMES = "-c:v libx264 -pix_fmt yuv420p -bf 3"
FILES = {
    "a.mp4": (B_FRAMES, "30000/1001"),
    "fragments.mp4": (B_FRAMES + " -movflags frag_keyframe+empty_moov -g 10", "25"),
    "a.mov": ("-c:v prores_ks", "25"),
    "a.mkv": (B_FRAMES, "30000/1001"),
    "ffv1.mkv": ("-c:v ffv1 -pix_fmt gray16le", "9"),
    "a.ts": (B_FRAMES, "50"),
    "hevc.ts": ("-c:v libx265 -x265-params log-level=none:pools=1", "25"),
    "a.flv": (B_FRAMES, "25"),
    "b_frames.avi": ("-c:v mpeg4 -bf 2 -g 30", "25"),
    "packed.avi": ("-c:v libx264 -pix_fmt yuv420p -bf 2", "25"),
    "mjpeg.avi": ("-c:v mjpeg -pix_fmt yuvj420p", "15"),
    "gray.avi": ("-c:v rawvideo -pix_fmt gray", "9"),
    "a.mpg": ("-c:v mpeg2video -bf 2", "25"),
    "vp8.webm": ("-c:v libvpx -deadline realtime -auto-alt-ref 1", "30"),
    "vp9.webm": ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "30"),
    "av1.mkv": ("-c:v libaom-av1 -cpu-used 8 -usage realtime", "25"),
    "a.ogv": ("-c:v libtheora", "25"),
    "a.wmv": ("-c:v wmv2", "25"),
    "a.y4m": ("-pix_fmt yuv420p", "25"),
    "a.ivf": ("-c:v libvpx -deadline realtime", "30"),
    "a.mxf": ("-c:v mpeg2video", "25"),
    "a.dv": ("-target pal-dv", "25"),
    "mpeg2.ts": ("-c:v mpeg2video -bf 2", "25"),
    "a.h264": (B_FRAMES, "25"),
    "a.m4v": ("-c:v mpeg4", "25"),
}


@pytest.mark.parametrize("name", FILES)
def test_frames_times_and_size_are_those_that_ffprobe_sees(tmp_path: Path, name: str) -> None:
    codec, rate = FILES[name]
    path = tmp_path / name
    command = f"ffmpeg -v error -y {MOVING.format(rate=rate)} {codec} {path}"
    subprocess.run(command.split(), check=True, timeout=60)
    info, frames = read_all(path)
    assert len(frames) == round(2 * Fraction(rate)) == int(probe(path, "stream=nb_read_frames")[0])
    assert {f"{frame.size[1]},{frame.size[0]}" for frame in frames} == set(probe(path, "stream=width,height"))
    assert abs(info.rate - Fraction(rate)) < Fraction(rate) / 1000
    times = np.array([frame.pts_ns for frame in frames]) / 1e9
    even = np.arange(len(frames)) / float(Fraction(rate))
    # milliseconds of Matroska, FLV, ASF; GStreamer misplaces two frames where a program stream starts anew
    near_s = 0.085 if name == "a.mpg" else 0.0016
    assert np.abs(times - times[0] - even).max() < near_s
    seen = [text for text in probe(path, "frame=best_effort_timestamp_time") if text != "N/A"]
    if not name.endswith((".avi", ".h264", ".m4v", ".mpg")):  # FFmpeg has no times of some frames of these
        assert len(seen) == len(frames)
        seen_s = np.array([float(text) for text in seen])
        assert np.abs(times - times[0] - (seen_s - seen_s[0])).max() < 0.0016
    assert 0 <= times[0] < 0.1


def probe(path: Path, entries: str) -> list[str]:
    command = "ffprobe -v error -count_frames -select_streams v:0 -of csv=p=0 -show_entries"
    found = subprocess.run(
        [*command.split(), entries, str(path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=60,
    )
    return [line.rstrip(",") for line in found.stdout.split()]


@pytest.mark.parametrize(
    ("pixels", "layout", "dtype"),
    [
        ("gray", "mono", np.uint8),
        ("gray16le", "mono16", np.uint16),
        ("gray10le", "mono10", np.uint16),
        ("yuv420p16le", "420p16", np.uint8),
        ("yuv444p12le", "444p12", np.uint8),
        ("yuva444p", "444alpha", np.uint8),
        ("yuv411p", "411", np.uint8),
    ],
)
def test_y4m_of_other_layouts_says_what_is_expected_and_how_to_convert_it(
    tmp_path: Path, pixels: str, layout: str, dtype: type
) -> None:
    path, into = tmp_path / "a.y4m", tmp_path / "a.mkv"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x64:r=9:d=1", "-pix_fmt", pixels]
    subprocess.run([*make, "-strict", "-1", str(path)], check=True)
    with pytest.raises(
        SourceFormatError, match=f"Y4M of C{layout} is not read here, expected C420"
    ) as refused:
        read_all(path)
    command = str(refused.value).split(": ")[-1].removesuffix(" converts it").split()
    names = {"IN": str(path), "OUT.mkv": str(into)}
    subprocess.run([names.get(word, word) for word in command], check=True, stderr=subprocess.DEVNULL)
    frames = read_all(into)[1]
    assert len(frames) == 9
    assert frames[0].pixels.dtype == dtype


@pytest.mark.parametrize("pixels", ["yuv422p", "yuv444p"])
def test_y4m_of_eight_bits_is_read(tmp_path: Path, pixels: str) -> None:
    path = tmp_path / "a.y4m"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=128x64:r=9:d=1", "-pix_fmt", pixels]
    subprocess.run([*make, str(path)], check=True)
    assert len(read_all(path)[1]) == 9

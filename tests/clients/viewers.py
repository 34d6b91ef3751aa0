"""Other people's programs as viewers of a stream or a recording, and what they must have seen."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.engines.palette.tables import palette_table

SIZE, RATE = (240, 320), 25
GRAYS = (32, 96, 160, 224)
FRAMES = 30
VLC_FRAMES = 15  # of every fourth
OPUS_S = 0.0066  # ffmpeg counts from the start of the sound, and Opus begins 312 samples before the picture
TOLERANCE = 8  # of 255: a quantizer of 18 to 23, and chroma of half the size

COMPLAINT = re.compile(
    r"corrupt|conceal|error|invalid|non-existing|missing|missed|broken|no frame|out of range|discontinuity",
    re.IGNORECASE,
)
# FFmpeg's own words while it looks at the first picture of any multipart stream (which is whole), and those
# of its output, where two pictures came within one period.
HARMLESS = re.compile(r"\[mjpeg .*EOI missing, emulating|^\[rawvideo|^\[null .* stream 0:")


@dataclass
class Seen:
    """What a client got: (H, W, 3) uint8 R'G'B' each, their times where it tells them, what it said."""

    frames: list[np.ndarray]
    said: str
    times_s: list[float] = field(default_factory=list)

    def complaints(self) -> list[str]:
        return [
            line for line in self.said.splitlines() if COMPLAINT.search(line) and not HARMLESS.search(line)
        ]


def in_process(*command: str, timeout_s: float = 40, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )


def raw_frames(path: Path) -> list[np.ndarray]:
    data = np.fromfile(path, np.uint8)
    return list(data[: data.size // (SIZE[0] * SIZE[1] * 3) * SIZE[0] * SIZE[1] * 3].reshape(-1, *SIZE, 3))


def by_ffmpeg(url: str, transport: str, folder: Path) -> Seen:
    options = ["-rtsp_transport", transport] if transport else []
    out = folder / "frames.rgb"
    done = in_process(
        *("ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-y", *options, "-i", url),
        *("-map", "0:v:0", "-frames:v", str(FRAMES), "-vf", "showinfo", "-fps_mode", "passthrough"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", str(out)),
    )
    shown = [line for line in done.stdout.splitlines() if "Parsed_showinfo" in line]
    times = [float(found[1]) for line in shown if (found := re.search(r" pts_time:(-?[\d.]+)", line))]
    said = "\n".join(line for line in done.stdout.splitlines() if "Parsed_showinfo" not in line)
    assert done.returncode == 0, said
    return Seen(raw_frames(out), said, times)


_OPENCV = """
import sys, cv2
video = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
with open(sys.argv[2], "wb") as out:
    for _ in range(int(sys.argv[3])):
        there, bgr = video.read()
        if not there:
            break
        print("time", video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        out.write(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).tobytes())
"""

_PYAV = """
import sys, av, av.logging
av.logging.set_level(av.logging.WARNING)
av.logging.restore_default_callback()
options = {"rtsp_transport": sys.argv[4]} if sys.argv[4] else {}
with av.open(sys.argv[1], options=options, timeout=20) as video, open(sys.argv[2], "wb") as out:
    for number, frame in enumerate(video.decode(video=0)):
        print("time", frame.time)
        out.write(frame.to_ndarray(format="rgb24").tobytes())
        if number + 1 == int(sys.argv[3]):
            break
"""


def _by_python(script: str, url: str, transport: str, folder: Path) -> Seen:
    out = folder / "frames.rgb"
    done = in_process(
        *(sys.executable, "-c", script, url, str(out), str(FRAMES), transport),
        OPENCV_FFMPEG_LOGLEVEL="24",
        OPENCV_FFMPEG_CAPTURE_OPTIONS=f"rtsp_transport;{transport or 'tcp'}",
    )
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    # FFmpeg has no time for the first packet of an RTSP stream, of any server (its ticket 5018).
    times = [float(line[5:]) for line in lines if line.startswith("time ") and line != "time None"]
    return Seen(raw_frames(out), "\n".join(line for line in lines if not line.startswith("time ")), times)


def by_gstreamer(url: str, transport: str, folder: Path) -> Seen:
    out = folder / "frames.rgb"
    if transport:
        sound = "all. ! application/x-rtp,media=audio ! fakesink sync=false async=false"
        picture = "all. ! application/x-rtp,media=video ! decodebin"
        source = f"rtspsrc name=all location={url} protocols={transport} {sound} {picture}"
    elif url.endswith(".mjpg"):  # decodebin and uridecodebin would fill a large buffer first
        source = f"souphttpsrc location={url} ! multipartdemux ! jpegdec"
    elif url.startswith("srt:"):
        source = f"srtsrc uri={url} ! tsdemux ! h264parse ! avdec_h264"
    else:
        source = f"filesrc location={url} ! decodebin name=all all."
    ends = (
        f"videoconvert ! video/x-raw,format=RGB ! identity eos-after={FRAMES + 1} ! filesink location={out}"
    )
    command = ("gst-launch-1.0", "-q", *source.split(), "!", *ends.split())
    if transport:  # the sound of a stream has no end: it is left when the pictures are there
        whole = FRAMES * SIZE[0] * SIZE[1] * 3
        said = _until(lambda: out.exists() and out.stat().st_size >= whole, command, folder / "gst.log")
        return Seen(raw_frames(out)[: FRAMES + 1], said)
    done = in_process(*command)
    assert done.returncode == 0, done.stdout
    # Its H.265 decoder empties itself behind the end that the limit makes: a gray picture more.
    return Seen(raw_frames(out)[: FRAMES + 1], done.stdout)


def by_vlc(url: str, transport: str, folder: Path) -> Seen:
    """VLC until it has shown enough pictures or has ended, and what it said until then.

    It will not run as root, and does not end by itself behind a file that was cut off. Its picture output
    throws away what comes late, which on a busy machine may be nearly everything: here it may not. It has a
    place of its own: pytest takes others' rights from its folder whenever another session of it begins.
    """
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="irchroma-vlc-") as name:
        place = Path(name)
        place.chmod(0o777)
        if Path(url).is_file():
            url = str(shutil.copyfile(url, place / Path(url).name))
        shows = ("--intf=dummy", "--vout=dummy", "--no-audio", "--no-drop-late-frames")
        writes = (
            "--video-filter=scene",
            "--scene-format=png",
            f"--scene-path={place}",
            "--scene-prefix=seen",
        )
        words = ("timeout", "30", *nobody, "cvlc", *shows, *writes, "--scene-ratio=4", url, "vlc://quit")
        shown = functools.partial(place.glob, "seen*.png")
        log_text = _until(lambda: len(list(shown())) > VLC_FRAMES, words, folder / "vlc.log", HOME=str(place))
        # The last picture may be half written.
        found = [cv2.imread(str(path)) for path in sorted(shown())[:VLC_FRAMES]]
    # Its complaints of a machine without sound, desktop and picture output are none of a stream.
    said = [
        line for line in log_text.splitlines() if re.search(r" (demux|decoder|packetizer) |^\[h264", line)
    ]
    # The scene filter writes the decoder's rows beyond the picture's last one, too.
    frames = [cv2.cvtColor(bgr[: SIZE[0]], cv2.COLOR_BGR2RGB) for bgr in found if bgr is not None]
    return Seen(frames, "\n".join(said))


def _until(enough: Callable[[], bool], command: tuple[str, ...], log: Path, **environment: str) -> str:
    """Run it until there is enough or it has ended, 50 s at most; what it had said by then."""
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        wait_for(lambda: process.poll() is not None or enough(), 50)
        return log.read_text(encoding="utf-8", errors="replace")
    finally:
        process.terminate()
        process.wait(20)


by_opencv = functools.partial(_by_python, _OPENCV)
by_pyav = functools.partial(_by_python, _PYAV)

CLIENTS: dict[str, Callable[[str, str, Path], Seen]] = {
    "ffmpeg": by_ffmpeg,
    "opencv": by_opencv,
    "pyav": by_pyav,
    "gstreamer": by_gstreamer,
    "vlc": by_vlc,
}


@dataclass
class Served:
    """A run that serves all streams: name -> address, transport."""

    streams: dict[str, tuple[str, str]]
    process: subprocess.Popen[str]
    log: Path


def expected_colors() -> np.ndarray:
    """(4, 3) R'G'B' of the patches."""
    return palette_table("ironbow")[list(GRAYS)].astype(int)


def require(seen: Seen, fewest: int = FRAMES, tolerance: int = TOLERANCE) -> None:
    """Whole pictures, of the right size, color and spacing, and nothing that a decoder had to say."""
    assert not seen.complaints(), "\n".join(seen.complaints())
    assert len(seen.frames) >= fewest, seen.said
    for frame in seen.frames:
        assert frame.shape == (*SIZE, 3)
        patches = frame[20:140].reshape(120, 4, 80, 3)[:, :, 20:60]
        assert np.abs(patches.astype(int) - expected_colors()[:, None]).max() <= 3 * tolerance
        assert np.abs(patches.mean(axis=(0, 2)) - expected_colors()).max() <= tolerance
    if seen.times_s:
        steps = np.diff(seen.times_s)
        assert np.median(steps) == pytest.approx(1 / RATE, abs=0.004)
        assert steps[1:].min() > 0


def irchroma(*words: str, log: Path) -> subprocess.Popen[str]:
    with log.open("w", encoding="utf-8") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "irchroma.launch", *words],
            stdout=said,
            stderr=said,
            encoding="utf-8",
            errors="replace",
        )


def relay(camera: str, *outputs: str, log: Path) -> subprocess.Popen[str]:
    words = [word for output in outputs for word in ("--to", output)]
    return irchroma("run", camera, "--engine", "palette:ironbow", "--tone-map", "none", *words, log=log)

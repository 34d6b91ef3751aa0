"""What other people's programs see of every output: whole pictures of the right size, colors and times.

One run serves every stream from a file whose pictures are known: four gray patches through a palette, and a
white box that flashes while the sound beeps, a fifth of each second. Each client joins in the middle.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.browser import SHOWN, WIDTH, opened
from tests.waiting import free_port, wait_for

from irchroma.engines.palette.tables import palette_table

pytestmark = [pytest.mark.gst, pytest.mark.timeout(180)]

SIZE, RATE = (240, 320), 25
GRAYS = (32, 96, 160, 224)
FRAMES = 30
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


by_opencv = functools.partial(_by_python, _OPENCV)
by_pyav = functools.partial(_by_python, _PYAV)


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
    done = in_process(  # the sound of a stream has no end, so that a limit ends it
        *(("timeout", "10") if transport else ()),
        *("gst-launch-1.0", "-q", *source.split(), "!", "videoconvert", "!"),
        *("video/x-raw,format=RGB", "!", "identity", f"eos-after={FRAMES + 1}", "!"),
        *("filesink", f"location={out}"),
    )
    assert done.returncode in ((0, 124) if transport else (0,)), done.stdout
    # Its H.265 decoder empties itself behind the end that the limit makes: a gray picture more.
    return Seen(raw_frames(out)[: FRAMES + 1], done.stdout)


def by_vlc(url: str, transport: str, folder: Path) -> Seen:
    """VLC will not run as root, and does not end by itself behind a file that was cut off."""
    folder.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = in_process(
        *(
            "timeout",
            "12",
            *nobody,
            "cvlc",
            "--intf=dummy",
            "--vout=dummy",
            "--no-audio",
            "--video-filter=scene",
        ),
        *("--scene-format=png", f"--scene-path={folder}", "--scene-prefix=seen", "--scene-ratio=4"),
        *("--run-time=3", url, "vlc://quit"),
        HOME=str(folder),
    )
    found = [cv2.imread(str(path)) for path in sorted(folder.glob("seen*.png"))]
    # Its complaints of a machine without sound, desktop and picture output are none of a stream.
    said = [
        line for line in done.stdout.splitlines() if re.search(r" (demux|decoder|packetizer) |^\[h264", line)
    ]
    # The scene filter writes the decoder's rows beyond the picture's last one, too.
    frames = [cv2.cvtColor(bgr[: SIZE[0]], cv2.COLOR_BGR2RGB) for bgr in found if bgr is not None]
    return Seen(frames, "\n".join(said))


CLIENTS: dict[str, Callable[[str, str, Path], Seen]] = {
    "ffmpeg": by_ffmpeg,
    "opencv": by_opencv,
    "pyav": by_pyav,
    "gstreamer": by_gstreamer,
    "vlc": by_vlc,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of the known pictures and their sound, FFV1 and PCM: the run gets them as they are."""
    folder = tmp_path_factory.mktemp("clip")
    patches = np.repeat(np.array(GRAYS, np.uint8), SIZE[1] // 4)
    second = np.tile(patches, (RATE, SIZE[0], 1))
    second[:, 160:] = 10
    second[: RATE // 5, 160:] = 250
    one, many = folder / "second.mkv", folder / "clip.mkv"
    subprocess.run(
        (
            *("ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray"),
            *("-s", f"{SIZE[1]}x{SIZE[0]}", "-r", str(RATE), "-i", "-"),
            *("-f", "lavfi", "-i", "aevalsrc=0.5*sin(2*PI*1000*t)*lt(t\\,0.2):s=48000:d=1"),
            *("-c:v", "ffv1", "-color_range", "pc", "-c:a", "pcm_s16le", str(one)),
        ),
        input=second.tobytes(),
        check=True,
    )
    subprocess.run(
        [
            "ffmpeg",
            "-loglevel",
            "error",
            "-y",
            "-stream_loop",
            "599",
            "-i",
            str(one),
            "-c",
            "copy",
            str(many),
        ],
        check=True,
    )
    return many


@dataclass
class Served:
    """A run that serves all streams: name -> address, transport."""

    streams: dict[str, tuple[str, str]]
    process: subprocess.Popen[str]
    log: Path


@pytest.fixture(scope="module")
def served(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    rtsp, page, srt = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
    (folder / "hls").mkdir()
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    web = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder / "hls")))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    log = folder / "log"
    with log.open("w") as said:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "irchroma.launch", "run", str(clip), "--engine", "palette:ironbow"),
                *("--tone-map", "none", "--to", f"rtsp://127.0.0.1:{rtsp}/cam"),
                *("--to", f"hls:{folder / 'hls'}", "--to", f"http://127.0.0.1:{page}"),
                *("--to", f"srt://127.0.0.1:{srt}?mode=listener"),
            ),
            stdout=said,
            stderr=said,
            encoding="utf-8",
            errors="replace",
        )
    try:
        playlist = folder / "hls" / "live.m3u8"
        wait_for(lambda: playlist.exists() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield Served(
            {
                "rtsp-tcp": (f"rtsp://127.0.0.1:{rtsp}/cam", "tcp"),
                "rtsp-udp": (f"rtsp://127.0.0.1:{rtsp}/cam", "udp"),
                "srt": (f"srt://127.0.0.1:{srt}?mode=caller", ""),
                "hls": (f"http://127.0.0.1:{web.server_address[1]}/live.m3u8", ""),
                "page": (f"http://127.0.0.1:{page}/live.mjpg", ""),
            },
            process,
            log,
        )
    finally:
        web.shutdown()
        web.server_close()
        process.send_signal(signal.SIGINT)
        process.wait(40)


def expected_colors() -> np.ndarray:
    """(4, 3) R'G'B' of the patches."""
    return palette_table("ironbow")[list(GRAYS)].astype(int)


def require(seen: Seen, fewest: int = FRAMES, tolerance: int = TOLERANCE) -> None:
    """Whole pictures, of the right size, color and spacing, and nothing that a decoder had to say."""
    assert seen.complaints() == []
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


CELLS = [
    pytest.param(stream, client, id=f"{stream}-{client}")
    for stream in ("rtsp-tcp", "rtsp-udp", "srt", "hls", "page")
    for client in CLIENTS
    # Debian builds VLC without an RTSP client (live555), and its MJPEG pictures come out 16 rows at a time.
    if not (client == "vlc" and stream != "hls")
    # GStreamer's HLS client (1.22) waits for a playlist's end where nothing takes its pictures in real time.
    and (stream, client) != ("hls", "gstreamer")
    # The wheels' FFmpeg has no SRT.
    and not (stream == "srt" and client in ("opencv", "pyav"))
]


@pytest.mark.parametrize(("stream", "client"), CELLS)
def test_a_client_that_joins_sees_whole_pictures(
    served: Served, tmp_path: Path, stream: str, client: str
) -> None:
    if client == "vlc" and shutil.which("cvlc") is None:
        pytest.skip("VLC is not here: launch/setup --dev installs it")
    address, transport = served.streams[stream]
    seen = CLIENTS[client](address, transport, tmp_path)
    # VLC's scene filter writes every fourth picture, by the matrix of BT.601 whatever the stream says.
    require(seen, *((6, 3 * TOLERANCE) if client == "vlc" else ()))
    assert served.process.poll() is None, served.log.read_text()


def irchroma(*words: str, log: Path) -> subprocess.Popen[str]:
    with log.open("w", encoding="utf-8") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "irchroma.launch", *words],
            stdout=said,
            stderr=said,
            encoding="utf-8",
            errors="replace",
        )


@pytest.fixture(scope="module")
def recorded(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 4 s by one run, with one encoder for each codec; `killed.mp4` is of a run that was."""
    folder = tmp_path_factory.mktemp("recorded")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    short, log = folder / "short.mkv", folder / "log"
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-y", "-t", "4", "-i", str(clip), "-c", "copy", str(short)],
        check=True,
    )
    looks = ("--engine", "palette:ironbow", "--tone-map", "none", "--to")
    killed = irchroma("run", str(clip), *looks, str(folder / "killed.mp4"), log=folder / "killed.log")
    files = [str(folder / name) for name in ("a.mp4", "a.mkv", "a.webm")]
    all_three = irchroma("run", str(short), *looks, files[0], "--to", files[1], "--to", files[2], log=log)
    wait_for(
        lambda: (folder / "killed.mp4").exists() and (folder / "killed.mp4").stat().st_size > 150_000, 60
    )
    killed.kill()
    killed.wait(20)
    assert all_three.wait(60) == 0, log.read_text()
    return folder


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "killed.mp4"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_plays_a_recording(recorded: Path, tmp_path: Path, name: str, client: str) -> None:
    if client == "vlc" and shutil.which("cvlc") is None:
        pytest.skip("VLC is not here: launch/setup --dev installs it")
    seen = CLIENTS[client](str(recorded / name), "", tmp_path)
    require(seen, *((6, 3 * TOLERANCE) if client == "vlc" else ()))
    if seen.times_s:
        assert seen.times_s[0] == pytest.approx(0, abs=OPUS_S)


@pytest.fixture(scope="module")
def as_h265(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with recordings in H.265, and `address`, where a run streams it."""
    folder = tmp_path_factory.mktemp("h265")
    looks = ("--engine", "palette:ironbow", "--tone-map", "none", "--codec", "h265", "--to")
    address = f"rtsp://127.0.0.1:{free_port()}/cam"
    short, log = folder / "short.mkv", folder / "log"
    cut = ["ffmpeg", "-loglevel", "error", "-y", "-t", "4", "-i", str(clip), "-c", "copy", str(short)]
    subprocess.run(cut, check=True)
    files = (str(folder / "a.mp4"), "--to", str(folder / "a.mkv"))
    assert irchroma("run", str(short), *looks, *files, log=log).wait(90) == 0, log.read_text()
    streaming = irchroma("run", str(clip), *looks, address, log=folder / "streaming.log")
    wait_for(lambda: address in (folder / "streaming.log").read_text() or streaming.poll() is not None, 60)
    (folder / "address").write_text(address)
    watches = ("ffmpeg", "-nostdin", "-loglevel", "quiet", "-rtsp_transport", "tcp", "-i", address)
    stays = subprocess.Popen((*watches, "-c", "copy", "-f", "null", "-"))
    in_process(
        *watches, "-t", "2", "-c", "copy", "-f", "null", "-"
    )  # the encoder starts with its first viewer
    try:
        yield folder
    finally:
        stays.kill()
        stays.wait(20)
        streaming.send_signal(signal.SIGINT)
        streaming.wait(40)


@pytest.mark.parametrize("client", ["ffmpeg", "pyav", "gstreamer"])
@pytest.mark.parametrize("output", ["tcp", "udp", "a.mp4", "a.mkv"])
def test_a_client_plays_h265(as_h265: Path, tmp_path: Path, output: str, client: str) -> None:
    is_file = output.startswith("a.")
    address = str(as_h265 / output) if is_file else (as_h265 / "address").read_text()
    require(CLIENTS[client](address, "" if is_file else output, tmp_path))
    if is_file and client == "ffmpeg":
        facts = ["ffprobe", "-v", "error", "-select_streams", "v", "-of", "csv=p=0"]
        facts += ["-show_entries", "stream=codec_name,color_range,color_space", address]
        assert in_process(*facts).stdout.strip() == "hevc,tv,bt709"


PIXELS = """(async (shown) => {
  if (shown.readyState < 2) await new Promise((there) => { shown.onloadeddata = there; });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [320, 240];
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0);
  return [40, 120, 200, 280].map((x) => [...context.getImageData(x, 60, 1, 1).data].slice(0, 3));
})"""
"""JavaScript: an element's colors in the middle of the four patches."""


def require_colors(pixels: list[list[int]]) -> None:
    assert np.abs(np.array(pixels) - expected_colors()).max() <= 2 * TOLERANCE


@pytest.mark.browser
def test_chromium_shows_the_page(served: Served, tmp_path: Path) -> None:
    page = served.streams["page"][0].removesuffix("live.mjpg")
    with opened(page, tmp_path / "profile") as tab:
        tab.wait_for(f"{WIDTH} === {SIZE[1]}")
        require_colors(tab.value(f"{PIXELS}({SHOWN})"))


@pytest.mark.browser
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "killed.mp4"])
def test_chromium_plays_a_recording(recorded: Path, tmp_path: Path, name: str) -> None:
    with opened((recorded / name).as_uri(), tmp_path / "profile") as tab:
        tab.wait_for("document.querySelector('video').readyState >= 2")
        shown = tab.value("(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))")
        assert shown[:2] == [SIZE[1], SIZE[0]]
        assert name == "killed.mp4" or shown[2] == pytest.approx(4, abs=0.1)
        tab.screenshot(tmp_path / "seen.png")
    seen = cv2.cvtColor(cv2.imread(str(tmp_path / "seen.png")), cv2.COLOR_BGR2RGB)
    # A file's page is of no origin whose pixels a script may read: the picture stands in the middle of it.
    top, left = (seen.shape[0] - SIZE[0]) // 2, (seen.shape[1] - SIZE[1]) // 2
    require_colors([seen[top + 60, left + x].tolist() for x in (40, 120, 200, 280)])


def relay(camera: str, *outputs: str, log: Path) -> subprocess.Popen[str]:
    words = [word for output in outputs for word in ("--to", output)]
    return irchroma("run", camera, "--engine", "palette:ironbow", "--tone-map", "none", *words, log=log)


@pytest.mark.parametrize("client", ["ffmpeg", "pyav", "gstreamer"])
def test_a_client_joins_again_after_the_server_has_started_anew(
    clip: Path, tmp_path: Path, client: str
) -> None:
    address = f"rtsp://127.0.0.1:{free_port()}/cam"
    for start in ("first", "second"):
        log = tmp_path / start
        server = relay(str(clip), address, log=log)
        try:
            wait_for(lambda log=log: "sink: rtsp" in log.read_text())  # type: ignore[misc]
            (tmp_path / f"{start}-seen").mkdir()
            require(CLIENTS[client](address, "tcp", tmp_path / f"{start}-seen"))
        finally:
            server.kill()  # as a loss of power would
            server.wait(20)


def test_clients_stay_while_the_camera_is_away_and_others_join_after_it_is_back(
    clip: Path, tmp_path: Path
) -> None:
    camera, out = (f"rtsp://127.0.0.1:{free_port()}/{name}" for name in ("cam", "out"))
    first = relay(str(clip), camera, log=tmp_path / "first")
    wait_for(lambda: "sink: rtsp" in (tmp_path / "first").read_text())
    log = tmp_path / "log"
    stands = relay(camera, out, str(tmp_path / "all.mkv"), log=log)
    servers = [first]
    try:
        wait_for(lambda: "sink: rtsp" in log.read_text())
        stays = subprocess.Popen(
            (
                *("ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-rtsp_transport", "tcp", "-i", out),
                *("-f", "null", "-"),
            ),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        first.kill()
        first.wait(20)
        wait_for(lambda: "source lost" in log.read_text())
        servers.append(relay(str(clip), camera, log=tmp_path / "second"))
        wait_for(lambda: "source is back" in log.read_text(), 60)
        (tmp_path / "joined").mkdir()
        require(by_ffmpeg(out, "tcp", tmp_path / "joined"), tolerance=2 * TOLERANCE)
        assert stays.poll() is None
        stays.send_signal(signal.SIGINT)
        said = stays.communicate(timeout=20)[1]
        assert Seen([], said).complaints() == []
    finally:
        for server in servers:
            server.kill()
            server.wait(20)
        stands.send_signal(signal.SIGINT)
        assert stands.wait(40) == 0, log.read_text()
    done = in_process("ffmpeg", "-v", "warning", "-i", str(tmp_path / "all.mkv"), "-f", "null", "-")
    assert done.returncode == 0
    assert Seen([], done.stdout).complaints() == []


def test_two_cameras_on_one_port_both_play(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "two.toml"
    lines = ['engine = "palette:ironbow"']
    for name, kind in (("gate", "nir"), ("yard", "thermal")):
        lines += [
            "[[cameras]]",
            f'name = "{name}"',
            f'source = "test:{kind}?live=1&rate=8&size=320x256"',
            f'to = ["rtsp://viewer:secretpw@127.0.0.1:{port}/{name}"]',
        ]
    config.write_text("\n".join(lines))
    log = tmp_path / "log"
    run = irchroma("run", "--config", str(config), log=log)
    try:
        wait_for(lambda: log.read_text().count("sink: rtsp") == 2, 60)
        assert "secretpw" not in log.read_text()
        for name in ("gate", "yard", "gate"):
            done = in_process(
                *("ffmpeg", "-hide_banner", "-nostdin", "-rtsp_transport", "tcp"),
                *("-i", f"rtsp://viewer:secretpw@127.0.0.1:{port}/{name}"),
                *("-frames:v", "10", "-f", "null", "-"),
            )
            assert done.returncode == 0, done.stdout
            assert "320x256" in done.stdout
            assert Seen([], done.stdout).complaints() == []
    finally:
        run.send_signal(signal.SIGINT)
        assert run.wait(40) == 0


def flashes_s(address: str, *options: str) -> list[float]:
    """When the white box appears, by ffmpeg."""
    done = subprocess.run(
        (
            *("ffmpeg", "-nostdin", "-nostats", *options, "-i", address, "-map", "0:v:0"),
            *("-fps_mode", "passthrough", "-vf", "crop=iw:60:0:170,showinfo", "-t", "4", "-f", "null", "-"),
        ),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=40,
        check=True,
    )
    found = re.findall(r" pts_time:(-?[\d.]+) .* mean:\[(\d+)", done.stderr)
    bright = [(float(time), int(mean) > 120) for time, mean in found]
    return [after[0] for before, after in itertools.pairwise(bright) if after[1] and not before[1]]


def beeps_s(address: str, *options: str) -> list[float]:
    """When the sound begins, by ffmpeg."""
    done = subprocess.run(
        (
            *("ffmpeg", "-nostdin", "-loglevel", "error", *options, "-i", address, "-map", "0:a:0"),
            *("-t", "4", "-af", "aresample=8000:async=1:first_pts=0", "-ac", "1", "-f", "s16le", "-"),
        ),
        capture_output=True,
        timeout=40,
        check=True,
    )
    loud = np.abs(np.frombuffer(done.stdout, np.int16).astype(int))
    level = np.convolve(loud, np.ones(80) / 80, "same") > 2000  # over 10 ms
    return [float(at) / 8000 for at in np.flatnonzero(level[1:] & ~level[:-1])]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_picture_and_sound_of_a_stream_go_together(served: Served, tmp_path: Path, transport: str) -> None:
    out = tmp_path / "copied.mkv"
    done = in_process(
        *("ffmpeg", "-hide_banner", "-nostdin", "-rtsp_transport", transport, "-t", "4.5"),
        *("-i", served.streams["rtsp-tcp"][0], "-c", "copy", "-y", str(out)),
    )
    assert done.returncode == 0, done.stdout
    flashes, beeps = flashes_s(str(out)), beeps_s(str(out))
    assert len(flashes) >= 3
    # The first pictures wait for the encoder to start; the stream's clock follows those that come sooner.
    assert np.diff(flashes)[1:] == pytest.approx(1, abs=0.045)
    for flash in flashes[1:3]:
        assert min(abs(beep - flash) for beep in beeps) < 0.06, (flashes, beeps)


@pytest.fixture(scope="module")
def relayed(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run makes of a camera with sound: recordings, a row of them, HLS, and a copy of its stream."""
    folder = tmp_path_factory.mktemp("relayed")
    (folder / "hls").mkdir()
    address = f"rtsp://127.0.0.1:{free_port()}/again"
    outputs = [
        address,
        f"hls:{folder / 'hls'}",
        *(str(folder / f"a.{kind}") for kind in ("mp4", "mkv", "webm")),
    ]
    words = [word for output in outputs for word in ("--to", output)]
    log, camera = folder / "log", served.streams["rtsp-tcp"][0]
    relay = irchroma("run", camera, "--engine", "palette:ironbow", *words, log=log)
    row = irchroma(
        *("run", camera, "--engine", "palette:ironbow", "--segment", "3"),
        *("--to", str(folder / "row.mp4"), "--to", str(folder / "beside.mkv"), "--no-color-camera"),
        log=folder / "row.log",
    )
    try:
        # Picture and sound of an RTSP stream are put together by its RTCP reports, the first of which take
        # their time.
        ready = folder / "hls" / "segment00004.ts"
        wait_for(lambda: ready.exists() or relay.poll() is not None, 60)
        done = in_process(
            *("ffmpeg", "-hide_banner", "-nostdin", "-rtsp_transport", "tcp", "-t", "5"),
            *("-i", address, "-c", "copy", "-y", str(folder / "stream.mkv")),
        )
        assert done.returncode == 0, done.stdout
        wait_for(lambda: (folder / "row-00005.mp4").exists(), 40)
    finally:
        for run in (relay, row):
            run.send_signal(signal.SIGINT)
        codes = [run.wait(40) for run in (relay, row)]
    assert codes == [0, 0], log.read_text() + (folder / "row.log").read_text()
    return folder


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.mkv", "a.webm", "hls/live.m3u8", "stream.mkv", "row-00004.mp4", "beside-00004.mkv"]
)
def test_the_sound_of_a_camera_goes_on_in_step(relayed: Path, name: str) -> None:
    late = ("-ss", "7") if name in ("a.mp4", "a.mkv", "a.webm") else ()
    flashes, beeps = flashes_s(str(relayed / name), *late), beeps_s(str(relayed / name), *late)
    inner = [flash for flash in flashes if 0.3 < flash < max(beeps) + 0.5]  # sound ends a little earlier
    assert len(inner) >= 2, (flashes, beeps)
    for flash in inner:
        assert min(abs(beep - flash) for beep in beeps) < 0.08, (flashes, beeps)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_picture_and_sound_of_a_recording_go_together(recorded: Path, name: str) -> None:
    flashes, beeps = flashes_s(str(recorded / name)), beeps_s(str(recorded / name))
    assert flashes == pytest.approx([1, 2, 3], abs=OPUS_S)
    assert [beep for beep in beeps if beep > 0.5] == pytest.approx(flashes, abs=0.03)

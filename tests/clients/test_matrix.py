"""What other people's programs see of every output: whole pictures of the right size, colors and times.

One run serves every stream from a file whose pictures are known: four gray patches through a palette, and a
white box that flashes while the sound beeps, a fifth of each second. Each client joins in the middle.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.viewers import (
    CLIENTS,
    OPUS_S,
    TOLERANCE,
    Served,
    in_process,
    irchroma,
    require,
)
from tests.waiting import free_port, wait_for

pytestmark = [pytest.mark.gst, pytest.mark.timeout(180)]


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


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "killed.mp4", "cut.mp4"])
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

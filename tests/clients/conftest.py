"""What other people's programs are shown: a clip of known pictures, a run that serves it, recordings."""

from __future__ import annotations

import functools
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.clients.viewers import GRAYS, RATE, SIZE, Served, irchroma
from tests.waiting import free_port, wait_for

from irchroma.stream.media.mp4 import boxes_of


@pytest.fixture(scope="session")
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
                # SRT gives up what is later than its latency: a second, which a busy machine keeps, too.
                *("--to", f"srt://127.0.0.1:{srt}?mode=listener&latency=1000"),
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


@pytest.fixture(scope="session")
def recorded(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 4 s by one run, with one encoder for each codec; `killed.mp4` is of a run that was, and
    `cut.mp4` what is left of it where the power failed as well: fragments, and nothing of the next one."""
    folder = tmp_path_factory.mktemp("recorded")
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
    with (folder / "killed.mp4").open("rb") as file:
        end = max(box.end for box in boxes_of(file) if box.name == b"moof")
    (folder / "cut.mp4").write_bytes((folder / "killed.mp4").read_bytes()[:end])
    assert all_three.wait(60) == 0, log.read_text()
    return folder

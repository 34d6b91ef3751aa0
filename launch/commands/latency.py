"""`irchroma latency`: the time from a frame's making to its colored picture in a viewer's hands."""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.launch.arguments import size_of
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import spread, words_of, write_json
from irchroma.launch.progress import Progress
from irchroma.stream.errors import StreamError
from irchroma.stream.picture.stopwatch import MODULUS_MS, SMALLEST_PX, draw_stopwatch, read_stopwatch
from irchroma.stream.sinks.listening import free_port
from irchroma.stream.sources.whep_client import WhepClient

EXAMPLE = "irchroma latency --engine nir --over webrtc --over rtsp --json latency.json"

WAYS = ("webrtc", "mjpeg", "rtsp")
_STARTED_S = 60.0
_SETTLED_S = 3.0  # of every viewer, not counted: joining, the first keyframe, the jitter buffer
_PULL_S = 0.2
_LEAST_READ = 10

Pull = Callable[[], "NDArray[np.uint8] | None"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", default="nir", help="of the run (nir)")
    parser.add_argument("--size", type=size_of, default=(512, 640), metavar="WxH", help="of frames (640x512)")
    parser.add_argument("--rate", type=Fraction, default=Fraction(30), metavar="FPS", help="of frames (30)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each viewer (10)")
    parser.add_argument(
        "--over", action="append", choices=WAYS, help="how a viewer gets it; may be given again (all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here; - shows them")


def run(args: argparse.Namespace) -> int:
    """Run, look, print a line for each viewer."""
    if args.size[1] < SMALLEST_PX:
        raise ConfigError(f"--size: the stopwatch needs a width of {SMALLEST_PX} or more, got {args.size[1]}")
    if args.seconds <= 0 or args.rate <= 0:
        raise ConfigError("--seconds and --rate: expected more than 0")
    results = []
    ways, each_s = args.over or WAYS, _SETTLED_S + args.seconds
    progress = Progress(len(ways) * each_s)
    progress.update(0, "the run begins")
    with closing(progress), _running(args.engine, args.size, args.rate) as run_:
        for number, way in enumerate(ways):
            times_ms, unread = _watch(run_, way, args.seconds, partial(_draw, progress, number * each_s, way))
            progress.close()  # a line of its own comes
            told = spread(times_ms)
            results.append({"over": way, "milliseconds": told, "unread": unread})
            print(
                f"{way}: median {told['median']:.0f} ms, p95 {told['p95']:.0f} ms, {told['count']} pictures"
                + (f", {unread} without a time" if unread else ""),
                file=words_of(args.json),
                flush=True,
            )
    if args.json is not None:
        size = list(args.size)
        write_json(
            args.json,
            {
                "bench": "latency",
                "engine": args.engine,
                "size": size,
                "rate": float(args.rate),
                "from": "before a frame is given to the run, to after a viewer of this machine decoded it",
                "viewers": results,
            },
        )
    return 0


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that colors frames with stopwatches.

    Attributes:
        addresses: where its picture is, by the way.
        check: raises ConfigError where it has ended.
    """

    addresses: dict[str, str]
    check: Callable[[], None]


@contextmanager
def _running(engine: str, size: tuple[int, int], rate: Fraction) -> Iterator[_Run]:
    page, stream = free_port(), free_port()
    source = f"raw:-?size={size[1]}x{size[0]}&format=gray8&rate={rate}&live=1"
    with tempfile.TemporaryFile("w+b") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "irchroma.launch", "run", source, "--engine", engine, "--no-mark"),
                *("--to", f"http://127.0.0.1:{page}", "--to", f"rtsp://127.0.0.1:{stream}/latency"),
            ],
            stdin=subprocess.PIPE,
            stderr=said,
        )

        def check() -> None:
            if process.poll() is not None:
                said.seek(0)
                last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
                raise ConfigError(f"the run ended ({process.returncode}): {' '.join(last)}")

        camera = threading.Thread(target=_film, args=(process, size, rate), daemon=True)
        camera.start()
        try:
            _wait_for_page(page, check)
            yield _Run(
                {
                    "webrtc": f"http://127.0.0.1:{page}/whep",
                    "mjpeg": f"http://127.0.0.1:{page}/live.mjpg",
                    "rtsp": f"rtsp://127.0.0.1:{stream}/latency",
                },
                check,
            )
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            camera.join(5)
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()


def _film(process: subprocess.Popen[bytes], size: tuple[int, int], rate: Fraction) -> None:
    """Frames of a moving texture with the time in their corner, at their rate, until nobody reads."""
    height, width = size
    rough = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 4 + 1), dtype=np.uint8)
    texture = cv2.resize(rough, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    texture = cv2.GaussianBlur(texture, (0, 0), 3)
    pipe = process.stdin
    start_s, number = time.monotonic(), 0
    while pipe is not None and process.poll() is None:
        late_s = start_s + number / float(rate) - time.monotonic()
        if late_s > 0:
            time.sleep(late_s)
        shift = number % width
        frame = np.ascontiguousarray(texture[:, shift : shift + width])
        draw_stopwatch(frame, time.monotonic_ns() // 1_000_000)
        try:
            pipe.write(frame.data)
        except (OSError, ValueError):
            return
        number += 1


def _wait_for_page(port: int, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _STARTED_S
    while time.monotonic() < deadline:
        check()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/snapshot.jpg")
            ready = connection.getresponse().status == 200
            connection.close()
            if ready:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise ConfigError(f"the run showed no picture within {_STARTED_S:g} s")


def _draw(progress: Progress, before_s: float, way: str, done_s: float) -> None:
    progress.update(before_s + done_s, way)


def _watch(run_: _Run, way: str, seconds: float, draw: Callable[[float], None]) -> tuple[list[float], int]:
    """Milliseconds of every picture that a viewer got, and how many could not be read.

    Args:
        run_: what is watched.
        way: how.
        seconds: for so long.
        draw: is told the seconds that are over, at every picture.
    """
    times_ms: list[float] = []
    unread = 0
    with _VIEWERS[way](run_.addresses[way]) as pull:
        begin_s = time.monotonic()
        while time.monotonic() < begin_s + _SETTLED_S + seconds:
            draw(time.monotonic() - begin_s)
            luma = pull()
            now_ms = time.monotonic_ns() / 1e6
            if luma is None:
                run_.check()
                continue
            if time.monotonic() < begin_s + _SETTLED_S:
                continue
            told_ms = read_stopwatch(luma)
            if told_ms is None:
                unread += 1
            else:
                times_ms.append((now_ms - told_ms) % MODULUS_MS)
    if len(times_ms) < _LEAST_READ:
        raise ConfigError(
            f"{way}: {len(times_ms)} pictures with a time came in {seconds:g} s, {unread} without one"
        )
    return times_ms, unread


@contextmanager
def _over_webrtc(address: str) -> Iterator[Pull]:
    client = WhepClient(address)
    try:
        yield lambda: client.pull(_PULL_S)
    finally:
        client.close()


@contextmanager
def _over_mjpeg(address: str) -> Iterator[Pull]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()

        def pull() -> NDArray[np.uint8] | None:
            length = 0
            while line := answer.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not length:
                answer.readline()
                return None
            data = np.frombuffer(answer.read(length), np.uint8)
            answer.readline()
            return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)

        yield pull
    finally:
        connection.close()


@contextmanager
def _over_rtsp(address: str) -> Iterator[Pull]:
    from irchroma.stream.gstreamer.pipeline import Pipeline

    launch = (
        "rtspsrc name=in latency=0 ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert"
        " ! video/x-raw,format=GRAY8 ! appsink name=out sync=false max-buffers=1 drop=true"
    )
    pipeline = Pipeline(launch, {"in": {"location": address}})
    pipeline.start()

    def pull() -> NDArray[np.uint8] | None:
        sample = pipeline.pull("out", _PULL_S)
        return None if sample is None else sample.luma()

    try:
        yield pull
    except StreamError as error:
        raise ConfigError(f"rtsp: {error}") from error
    finally:
        pipeline.stop()


_VIEWERS = {"webrtc": _over_webrtc, "mjpeg": _over_mjpeg, "rtsp": _over_rtsp}

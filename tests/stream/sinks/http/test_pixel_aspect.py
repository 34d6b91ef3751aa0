"""Pixels that are no squares look as they are meant to, in whatever way the picture comes to a browser."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from tests.browser import WIDTH, opened
from tests.stream.sinks.feeding import fed
from tests.waiting import free_port, wait_for

from irchroma.stream.picture.picture import Halves, Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions
from irchroma.stream.sinks.onvif.sink import OnvifOptions, OnvifSink
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

pytestmark = [pytest.mark.gst, pytest.mark.browser, pytest.mark.timeout(180)]

SIZE = (120, 160)
DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def with_a_square(aspect: Fraction) -> Picture:
    """A white square on green, as wide as high once its pixels are `aspect` times as wide as high."""
    rgb = np.full((*SIZE, 3), (20, 90, 20), np.uint8)
    half = round(30 / aspect)
    rgb[30:90, 80 - half : 80 + half] = 255
    picture = Picture(rgb)
    picture.halves = Halves(rgb[..., 1].copy(), lambda: Picture(rgb), lambda: Picture(rgb))
    return picture


def square_of(path: Path) -> float:
    """Width to height of the white square on a screenshot."""
    seen = cv2.imread(str(path))
    # under the picture's upper rows, where words are written on it
    white = cv2.inRange(seen, (225, 225, 225), (255, 255, 255))
    count, _, stats, _ = cv2.connectedComponentsWithStats(white)
    assert count > 1
    largest = stats[1:][np.argmax(stats[1:, cv2.CC_STAT_AREA])]
    return float(largest[cv2.CC_STAT_WIDTH] / largest[cv2.CC_STAT_HEIGHT])


@pytest.mark.parametrize(
    ("via", "aspect"),
    [
        *(("webrtc", aspect) for aspect in (Fraction(1), Fraction(16, 11), Fraction(6, 11))),
        *((via, aspect) for via in ("hls", "jpeg") for aspect in (Fraction(16, 11), Fraction(6, 11))),
    ],
)
def test_a_square_is_one(via: str, aspect: Fraction, tmp_path: Path) -> None:
    sink = HttpSink("", 0)
    sink.open(VideoInfo(SIZE, Fraction(10), live=True, pixel_aspect=aspect), SIZE)
    with fed(sink, with_a_square(aspect), rate=10):
        address = f"http://127.0.0.1:{sink.port}/?via={via}"
        with opened(address, tmp_path / "profile") as tab:
            tab.look("dark", (800, 1200))
            way = {"webrtc": "WebRTC", "hls": "HLS", "jpeg": "motion JPEG"}[via]
            for view, shown in (("run", "picture()"), ("color", "view"), ("side", "view")):
                tab.value(f"document.querySelector('[data-value={view}]').click()")
                feed = "run" if view == "run" else "pair"
                tab.wait_for(f"{WIDTH} && picture().dataset.show === '{feed}' && !{shown}.hidden")
                tab.wait_for(f"at('way').textContent.startsWith('{way}') && aspect")
                tab.wait_for(f"Math.abs(aspect - {float(aspect)}) < 1e-6")
                tab.value(DRAWN)
                tab.screenshot(tmp_path / f"{view}.png")
                assert square_of(tmp_path / f"{view}.png") == pytest.approx(1, abs=0.06), view
            tab.press(" ")
            tab.wait_for("!still.hidden")
            tab.value(DRAWN)
            tab.screenshot(tmp_path / "still.png")
            assert square_of(tmp_path / "still.png") == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(2), Fraction(6, 11)])
def test_it_is_one_on_the_wall_of_all_cameras(aspect: Fraction, tmp_path: Path) -> None:
    sink = HttpSink("", 0, HttpSinkOptions(title="gate", name="gate"))
    sink.open(VideoInfo(SIZE, Fraction(10), live=True, pixel_aspect=aspect), SIZE)
    with (
        fed(sink, with_a_square(aspect), rate=10),
        opened(f"http://127.0.0.1:{sink.port}/", tmp_path / "profile") as tab,
    ):
        tab.look("dark", (800, 1200))
        tab.wait_for("document.querySelector('main img').naturalWidth > 0")
        tab.value(DRAWN)
        tab.screenshot(tmp_path / "wall.png")
        assert square_of(tmp_path / "wall.png") == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(6, 11)])
def test_it_is_one_in_images_that_others_take(aspect: Fraction, tmp_path: Path) -> None:
    """A snapshot, and motion JPEG as players read it: neither says what its pixels are like."""
    sink = HttpSink("", 0)
    sink.open(VideoInfo(SIZE, Fraction(10), live=True, pixel_aspect=aspect), SIZE)
    with fed(sink, with_a_square(aspect), rate=10):
        for name in ("snapshot.jpg", "snapshot.jpg?show=confidence", "live.mjpg"):
            file = tmp_path / "one.png"
            address = f"http://127.0.0.1:{sink.port}/{name}"
            taken = ["ffmpeg", "-v", "error", "-y", "-i", address, "-frames:v", "1", str(file)]
            subprocess.run(taken, check=True, timeout=60, stdin=subprocess.DEVNULL)
            assert square_of(file) == pytest.approx(1, abs=0.06), name


@pytest.mark.parametrize("view", ["run", "side"])
def test_it_is_one_in_what_a_browser_records(view: str, tmp_path: Path) -> None:
    sink, aspect = HttpSink("", 0), Fraction(16, 11)
    sink.open(VideoInfo(SIZE, Fraction(10), live=True, pixel_aspect=aspect), SIZE)
    with (
        fed(sink, with_a_square(aspect), rate=10),
        opened(f"http://127.0.0.1:{sink.port}/?via=webrtc", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} && !film.hidden && Math.abs(aspect - {float(aspect)}) < 1e-6")
        tab.value(f"document.querySelector('[data-value={view}]').click()")
        tab.wait_for(f"{'picture()' if view == 'run' else 'view'}.hidden === false && !film.hidden")
        tab.value("setup.ways = ['webrtc']; recorded_s = 1")  # as of a server that encodes no H.264
        tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        tab.press("r")
        wait_for(lambda: [*tmp_path.glob("irchroma*.mp4"), *tmp_path.glob("irchroma*.webm")])
        (file,) = [*tmp_path.glob("irchroma*.mp4"), *tmp_path.glob("irchroma*.webm")]
        with av.open(str(file)) as video:
            last = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)][-1]
        cv2.imwrite(str(tmp_path / "last.png"), last)
        assert square_of(tmp_path / "last.png") == pytest.approx(1, abs=0.06)


def test_it_is_one_in_a_recorder_s_snapshot(tmp_path: Path) -> None:
    """By ONVIF, whose snapshots are an image of their own."""
    aspect, port = Fraction(16, 11), free_port()
    address = f"rtsp://127.0.0.1:{port}/yard"
    sink = open_sink(address, SinkOptions(onvif=OnvifOptions(0)))
    assert isinstance(sink, OnvifSink)
    sink.open(VideoInfo(SIZE, Fraction(10), live=True, pixel_aspect=aspect), SIZE)
    file = tmp_path / "one.png"
    with fed(sink, with_a_square(aspect), rate=10):
        snapshot = f"http://127.0.0.1:{sink.port}/onvif/snapshot/yard.jpg"
        taken = ["ffmpeg", "-v", "error", "-y", "-i", snapshot, "-frames:v", "1", str(file)]
        subprocess.run(taken, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert square_of(file) == pytest.approx(1, abs=0.06)

"""A viewer's own view in a browser: theirs alone; over WebRTC, HLS and motion JPEG; back after a restart."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.browser import WIDTH, opened
from tests.launch.run.control.test_control import colorfulness, running
from tests.launch.run.control.test_page import Camera
from tests.waiting import wait_for

from irchroma.stream.picture.picture import Halves, Picture
from irchroma.stream.sinks.http.feeds import Feed
from irchroma.stream.view.views import ViewOptions

SOURCE = "test:nir?size=320x240&rate=10&live=1"
# How colored the left and the right third of what the page draws is, 0 to 255.
COLORED = """(() => {
  const small = document.createElement('canvas'); small.width = 60; small.height = 40;
  const pen = small.getContext('2d'); pen.drawImage(seen(), 0, 0, 60, 40);
  return [0, 40].map((x) => { const part = pen.getImageData(x, 0, 20, 40).data; let sum = 0;
    for (let i = 0; i < part.length; i += 4) sum += Math.max(part[i], part[i + 1], part[i + 2])
      - Math.min(part[i], part[i + 1], part[i + 2]);
    return sum / (part.length / 4); });
})()"""


def test_halves_lie_side_by_side_and_are_made_for_viewers_only() -> None:
    made = []

    def color() -> Picture:
        made.append(1)
        return Picture(np.full((48, 64, 3), (200, 30, 30), np.uint8))

    picture = Picture(np.full((48, 64, 3), 7, np.uint8))
    picture.halves = Halves(np.full((48, 64), 90, np.uint8), color, color)
    pair = Feed("pair")
    pair.put(picture, 0, 1)
    assert not made
    with pair.live_picture.watched(lambda: None):
        pair.put(picture, 1, 1)
        assert made == [1]
        newest = pair.live_picture.newer(0)
        assert newest is not None
        shown = cv2.imdecode(np.frombuffer(newest[1], np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (48, 128, 3)
        assert abs(int(shown[24, 20].mean()) - 90) < 4
        assert np.abs(shown[24, 110].astype(int) - (30, 30, 200)).max() < 12
        pair.put(Picture(np.full((48, 64, 3), 7, np.uint8)), 2, 1)  # a card is on both sides
        newest = pair.live_picture.newer(newest[0])
        assert newest is not None
        assert cv2.imdecode(np.frombuffer(newest[1], np.uint8), cv2.IMREAD_COLOR).std() < 2


@pytest.mark.gst
def test_feeds_are_asked_for_by_name() -> None:
    with running(source=SOURCE, engine="palette:lava") as run:
        status, jpeg = run.request("GET", "/snapshot.jpg?show=pair")
        assert status == 200
        pair = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert pair.shape == (240, 640, 3)
        assert colorfulness(pair[:, :300]) < 4 < 20 < colorfulness(pair[:, 340:])
        assert run.request("GET", "/snapshot.jpg?show=else")[0] == 404
        assert run.request("GET", "/hls/else/live.m3u8")[0] == 404
        assert run.request("GET", "/hls/run/..%2f..%2fetc%2fpasswd")[0] == 404
        assert run.picture().shape == (240, 320, 3)


@pytest.mark.gst
@pytest.mark.browser
@pytest.mark.parametrize(("via", "said"), [("webrtc", "WebRTC"), ("hls", "HLS, "), ("jpeg", "motion JPEG")])
def test_a_wipe_is_the_viewers_own_over_every_way(tmp_path: Path, via: str, said: str) -> None:
    with (
        running(source=SOURCE, engine="palette:lava") as run,
        opened(f"http://127.0.0.1:{run.port}/?via={via}", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320")
        tab.value("document.querySelector('[data-value=wipe]').click()")
        tab.wait_for("!view.hidden && view.width === 320")
        tab.wait_for(f"at('way').textContent.startsWith('{said}') && picture().dataset.show === 'pair'")
        if via != "jpeg":
            tab.wait_for("picture().videoWidth === 640")
            before = tab.value("picture().currentTime")
            tab.wait_for(f"picture().currentTime > {before} + 0.5")  # frames advance
        tab.wait_for(f"(([left, right]) => left < 12 && right > 20)({COLORED})")
        tab.value("move(0)")
        tab.wait_for(f"(([left, right]) => left > 20 && right > 20)({COLORED})")
        tab.value("move(1)")
        tab.wait_for(f"(([left, right]) => left < 12 && right < 12)({COLORED})")
        assert tab.value("at('real').textContent") == "real"
        assert tab.value("at('line').ariaValueNow") == "100"
        tab.value("document.querySelector('[data-value=side]').click()")
        tab.wait_for("view.width === 640")
        tab.value("document.querySelector('[data-value=raw]').click()")
        tab.wait_for(f"view.width === 320 && (([left, right]) => left < 12 && right < 12)({COLORED})")
        tab.wait_for("at('real').textContent === 'real: what the sensor sees'")
        middle = tab.value(
            "(({left, top, width, height}) => [left + width / 2, top + height / 2])"
            "(at('real').getBoundingClientRect())"
        )
        shines = "Number(getComputedStyle(at('real')).opacity)"
        assert tab.value(shines) == 1
        tab.drag(middle, middle)  # a camera's own time lies there
        tab.wait_for(f"{shines} < 0.2")
        tab.drag((middle[0], middle[1] + 100), (middle[0], middle[1] + 100))
        tab.wait_for(f"{shines} === 1")
        tab.value("document.querySelector('[data-value=blend]').click()")
        tab.value("own.blend = 1")
        tab.wait_for(f"(([left, right]) => left > 20 && right > 20)({COLORED})")
        assert colorfulness(run.picture()) > 20
        assert run.state()["view"] == "color"
        tab.value("document.querySelector('[data-value=run]').click()")
        tab.wait_for(f"view.hidden && {WIDTH} === 320")
        tab.screenshot(tmp_path / f"{via}.png")


@pytest.mark.gst
@pytest.mark.browser
def test_the_page_of_a_wipe_that_all_are_sent_begins_with_a_line_that_is_the_viewers_own(
    tmp_path: Path,
) -> None:
    with (
        running(source=SOURCE, engine="palette:lava", view=ViewOptions("wipe", 0.4)) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for("own.view === 'wipe' && own.wipe === 0.4 && !view.hidden && !line.hidden")
        tab.wait_for("at('real').textContent === 'real' && at('made').textContent === 'false color'")
        tab.value("move(0.5); look_at('run')")
        tab.wait_for(f"{WIDTH} === 320 && own.view === 'run' && document.body.matches('.wiping')")
        box = tab.value(
            "(({left, top, width, height}) => [left, top, width, height])(stage.getBoundingClientRect())"
        )
        middle = (box[0] + box[2] / 2, box[1] + box[3] / 2)
        tab.drag(middle, (middle[0] + 60, middle[1]))
        tab.wait_for("own.view === 'wipe' && own.wipe > 0.5 && !view.hidden && !line.hidden")
        assert run.state()["wipe"] == 0.4
        tab.value("look_at('run')")
        tab.press("ArrowLeft")
        tab.wait_for("own.view === 'wipe' && Math.abs(own.wipe - 0.38) < 0.001")
        tab.value("document.querySelector('[data-value=run]').click()")
        for _ in range(2):  # what is sent is what this viewer chose; to take it over is for who chose nothing
            tab.value("document.body.id = 'before'; location.reload()")
            tab.wait_for(
                "document.readyState === 'complete' && document.body.id !== 'before' && sent.view === 'wipe'"
            )
            tab.wait_for(f"{WIDTH} === 320 && own.view === 'run' && document.body.matches('.wiping')")
        tab.value("move(0.2); look_at('wipe')")  # and stays, though what is sent is told anew every second
        tab.wait_for("own.view === 'wipe' && opened")
        time.sleep(1.5)
        assert tab.value("own.wipe") == 0.2


@pytest.mark.gst
@pytest.mark.browser
def test_a_wipe_comes_back_after_a_restart(tmp_path: Path) -> None:
    camera = Camera()
    try:
        with opened(f"http://127.0.0.1:{camera.port}/gate/#wipe", tmp_path / "profile") as tab:
            tab.wait_for("!view.hidden && picture().dataset.show === 'pair'")
            camera.close()
            tab.wait_for("at('state').textContent === 'no server'")
            camera = Camera(camera.port)
            wait_for(lambda: camera.sink.feeds["pair"].viewers > 0)
            tab.wait_for("at('state').textContent === 'live' && !view.hidden")
            tab.wait_for("picture().dataset.show === 'pair' && sizes(picture())[0] === 640")
    finally:
        camera.close()

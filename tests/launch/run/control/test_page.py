"""The page in a browser: a camera that is lost, a server that is gone, and who may press what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.browser import SHOWN, WIDTH, Tab, opened

from irchroma.launch.run.control.run_control import choices
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.http.page import Choice
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

pytestmark = pytest.mark.browser

READY = f"{WIDTH} === 320"
BOX = f"(r => [r.width, r.height])({SHOWN}.getBoundingClientRect())"
LIVE = VideoInfo((240, 320), Fraction(25), live=True)
SIZES = {"phone": (740, 360), "lying": (360, 740), "projector": (1080, 1920)}


class Camera:
    """A page whose camera is in whatever state the test wants."""

    def __init__(
        self,
        port: int = 0,
        access: Access | None = None,
        name: str = "gate",
        blind: bool = False,
        control: bool = True,
    ) -> None:
        self.told: dict[str, Any] = {"state": "live", "reason": None, "since": "2026-01-01T10:00:00Z"}
        self.engines: tuple[Choice, ...] = choices()
        options = HttpSinkOptions(
            name, lambda: self.told, self if control else None, name, access or Access()
        )
        self.sink = HttpSink("127.0.0.1", port, options)
        self.sink.open(LIVE, (240, 320))
        self.port = self.sink.port
        self._ended = threading.Event()
        if blind:
            self.told = {"state": "waiting", "reason": "nobody answers", "since": "2026-01-01T10:00:00Z"}
            self._ended.set()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        ramp = np.add.outer(np.arange(240) // 3, np.arange(320) // 2).astype(np.uint8)
        picture = np.dstack([ramp, ramp[::-1], 255 - ramp])
        number = 0
        while not self._ended.wait(0.1):
            self.sink.write(picture, number * 100_000_000, 100_000_000)
            number += 1

    def state(self) -> dict[str, Any]:
        return {
            "view": "color",
            "wipe": 0.5,
            "blend": 0.5,
            "engine": "palette:ironbow",
            "changing": None,
            "error": None,
            "latency_ms": 17.0,
            "reason": None,
        }

    def change(self, wanted: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.sink.close()


@contextmanager
def watched(tmp_path: Path, camera: Camera, path: str = "gate/") -> Iterator[Tab]:
    try:
        with opened(f"http://127.0.0.1:{camera.port}/{path}", tmp_path / "profile") as tab:
            yield tab
    finally:
        camera.close()


def text(tab: Tab, name: str) -> str:
    return str(tab.value(f"document.getElementById('{name}').textContent"))


def fits(tab: Tab) -> bool:
    return bool(tab.value("document.documentElement.scrollWidth <= innerWidth"))


def test_a_page_says_what_its_camera_is(tmp_path: Path) -> None:
    camera = Camera()
    with watched(tmp_path, camera) as tab:
        tab.wait_for("document.getElementById('state').textContent === 'live'")
        tab.wait_for("document.getElementById('latency').textContent === '17 ms'")
        assert text(tab, "why") == ""
        camera.told = {"state": "lost", "reason": "the cable is out", "since": "2026-01-01T10:00:00Z"}
        tab.wait_for("document.getElementById('state').textContent === 'signal lost'")
        said = text(tab, "why")
        assert "signal lost since " in said
        assert "the cable is out" in said
        assert "The last picture stands" in said
        assert text(tab, "fps") == text(tab, "latency") == ""
        camera.told["state"] = "slate"
        tab.wait_for("document.getElementById('state').textContent === 'no signal'")
        tab.wait_for(
            "((state, why) => getComputedStyle(state).color === getComputedStyle(why).color)"
            "(document.getElementById('state'), document.getElementById('why'))"  # bad news, not good
        )
        camera.told = {"state": "live", "reason": "out of memory", "since": "2026-01-01T10:00:00Z"}
        tab.wait_for("document.getElementById('why').textContent === 'no color: out of memory'")
        camera.told["reason"] = "color is being prepared"
        tab.wait_for("document.getElementById('why').textContent === 'color is being prepared'")
        camera.told["reason"] = None
        tab.wait_for("document.getElementById('why').textContent === ''")


def test_a_page_that_changes_nothing_says_the_delay_too(tmp_path: Path) -> None:
    camera = Camera(control=False)
    camera.told["latency_ms"] = 23.0
    with watched(tmp_path, camera) as tab:
        tab.wait_for("document.getElementById('latency').textContent === '23 ms'")
        camera.told = {**camera.told, "state": "lost"}
        tab.wait_for("document.getElementById('latency').textContent === ''")


def test_a_page_says_that_its_server_is_gone_or_hangs_and_comes_back(tmp_path: Path) -> None:
    camera = Camera()
    with watched(tmp_path, camera) as tab:
        tab.wait_for("document.getElementById('fps').textContent.endsWith('fps')")
        camera.close()
        tab.wait_for("document.getElementById('state').textContent === 'no server'")
        assert "does not answer since" in text(tab, "why")
        assert text(tab, "fps") == text(tab, "latency") == text(tab, "size") == ""
        camera = Camera(camera.port)
        try:
            tab.wait_for("document.getElementById('state').textContent === 'live'")
            tab.wait_for(READY)
            tab.value(
                "window.fetch = (address, more) => new Promise((done, fail) =>"
                " more.signal.addEventListener('abort', () => fail(new Error())))"
            )
            tab.wait_for("document.getElementById('state').textContent === 'no server'")
        finally:
            camera.close()


def test_the_list_of_cameras_says_which_is_lost(tmp_path: Path) -> None:
    camera = Camera()
    yard = Camera(camera.port, name="yard")
    yard.told = {"state": "slate", "reason": "the cable is out", "since": "2026-01-01T10:00:00Z"}
    try:
        with watched(tmp_path, camera, "") as tab:
            said = "[...document.querySelectorAll('span')].map(one => one.textContent)"
            tab.wait_for(f"{said}[0].endsWith('17 ms') && {said}[1].startsWith('no signal since ')")
            whys = "[...document.querySelectorAll('p + p')].map(one => one.innerText)"
            assert tab.value(whys) == ["", "the cable is out"]
            for place, size in SIZES.items():
                for scheme in ("light", "dark"):
                    tab.look(scheme, size)
                    assert fits(tab)
                    tab.screenshot(tmp_path / f"index_{place}_{scheme}.png")
            yard.told = {**yard.told, "state": "failed", "reason": "the camera does not accept this user"}
            tab.wait_for(f"{whys}[1] === 'the camera does not accept this user'")
            camera.told = {**camera.told, "reason": "the engine failed"}
            tab.wait_for(f"{whys}[0] === 'no color: the engine failed'")
    finally:
        yard.close()


def test_a_camera_without_a_first_picture_is_waited_for_and_no_broken_picture_is_shown(
    tmp_path: Path,
) -> None:
    camera = Camera(blind=True)
    yard = Camera(camera.port, name="yard")
    try:
        with watched(tmp_path, camera) as tab:
            tab.wait_for("document.getElementById('state').textContent === 'waiting'")
            assert "nobody answers" in text(tab, "why")
            assert tab.value(f"getComputedStyle({SHOWN}).visibility") == "hidden"
            assert text(tab, "way") == ""
            assert tab.value("document.getElementById('empty').checkVisibility()")
            tab.screenshot(tmp_path / "waiting.png")
            tab.call("Page.navigate", url=f"http://127.0.0.1:{camera.port}/")
            said = "[...document.querySelectorAll('main span')].map(one => one.textContent)"
            tab.wait_for(f"{said}.length === 2 && {said}[0].startsWith('waiting since ')")
            assert tab.value("getComputedStyle(document.querySelector('img')).visibility") == "hidden"
            shown = "[...document.querySelectorAll('figcaption')].map(one => one.checkVisibility())"
            assert tab.value(shown) == [True, False]
            tab.wait_for("document.querySelectorAll('img')[1].naturalWidth === 320")
            tab.screenshot(tmp_path / "index_waiting.png")
    finally:
        yard.close()


def test_a_visitor_logs_in_and_a_viewer_has_no_buttons(tmp_path: Path) -> None:
    camera = Camera(access=Access("operators-token", "viewers-token"))
    with watched(tmp_path, camera) as tab:
        for token, buttons in (("viewers-token", False), ("operators-token", True)):
            tab.call("Network.clearBrowserCookies")
            tab.call("Page.navigate", url=f"http://127.0.0.1:{camera.port}/gate/")
            tab.wait_for("document.getElementById('token') !== null")
            tab.value(f"document.getElementById('token').value = '{token}'")
            tab.value("document.querySelector('button').click()")
            tab.wait_for(READY)
            tab.wait_for("document.getElementById('state').textContent === 'live'")
            assert tab.value("document.querySelectorAll('#engines button').length > 0") is buttons
            assert tab.value("location.pathname + location.search") == "/gate/"


def test_the_page_fits_a_phone_and_a_projector_in_light_and_dark(tmp_path: Path) -> None:
    camera = Camera()
    lost = {**camera.told, "state": "lost", "reason": "127.0.0.1 refuses connections at port 554: is it on?"}
    with watched(tmp_path, camera) as tab:
        for state, said in (("live", "false"), ("lost", "true")):
            camera.told = lost if state == "lost" else camera.told
            tab.wait_for(READY)
            tab.wait_for(f"Boolean(document.getElementById('why').textContent) === {said}")
            for place, size in SIZES.items():
                for scheme in ("light", "dark"):
                    tab.look(scheme, size)
                    assert fits(tab)
                    back = tab.value("getComputedStyle(document.body).backgroundColor")
                    assert (back == "rgb(12, 13, 15)") == (scheme == "dark")
                    assert min(tab.value(BOX)) > 100  # the picture is not squeezed away by the buttons
                    assert place != "lying" or tab.value(BOX)[1] == size[0]  # which stand beside it
                    tab.screenshot(tmp_path / f"{state}_{place}_{scheme}.png")


def test_a_phone_wastes_no_space_around_the_picture(tmp_path: Path) -> None:
    camera = Camera()
    box = "(r => [r.top, r.bottom, r.left, r.right])(document.querySelector('{}').getBoundingClientRect())"
    with watched(tmp_path, camera) as tab:
        tab.wait_for(READY)
        tab.wait_for("document.getElementById('state').textContent === 'live'")
        for height, width in ((844, 390), (667, 375), (1024, 768)):
            tab.look("dark", (height, width))
            tab.wait_for(f"innerWidth === {width} && {WIDTH} === 320")
            top, bottom, left, right = tab.value(box.format("main"))
            assert top == tab.value(box.format("header"))[1]
            assert (left, right) == (0, width)
            assert bottom - top == pytest.approx(width * 3 / 4, abs=1)
            assert tab.value(box.format("footer"))[:2] == [bottom, height]
        for height, width in ((390, 844), (360, 740)):
            tab.look("dark", (height, width))
            tab.wait_for(f"innerWidth === {width}")
            top, bottom, left, right = tab.value(box.format("main"))
            assert (top, bottom, left) == (0, height, 0)
            assert right == pytest.approx(min(height * 4 / 3, width - 15 * 14), abs=1)
            assert tab.value(box.format("footer"))[2:] == [right, width]

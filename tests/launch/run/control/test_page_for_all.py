"""The page for everybody: what axe finds, its keyboard, its address for phones, figures, a wall."""

from __future__ import annotations

import importlib.util
import json
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import pytest
from tests.browser import WIDTH, Tab, opened
from tests.launch.run.control.test_control import running
from tests.launch.run.control.test_page import Camera

from irchroma.stream.sensor.thermometer import ThermometerOptions

pytestmark = [pytest.mark.browser, pytest.mark.gst]

SIZES = {"phone": (740, 360), "desk": (800, 1200), "projector": (1080, 1920)}
MEASURED = ThermometerOptions(measure=("all=box 0.2,0.2 0.8,0.8",), alarm=("all above 0",))
SOURCE = "test:thermal?size=320x240&rate=10&live=1"


def faults(tab: Tab) -> list[str]:
    """What axe-core calls serious or critical."""
    package = importlib.util.find_spec("axe_core_python")
    assert package is not None
    assert package.origin is not None
    tab.value(Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8") + ";0")
    found: Any = tab.value(
        "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations"
        ".filter((one) => ['serious', 'critical'].includes(one.impact))"
        ".map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 120)).join(' | ')))"
    )
    return list(found)


@pytest.mark.skipif(importlib.util.find_spec("axe_core_python") is None, reason="axe-core-python is not here")
def test_axe_finds_nothing_serious_at_any_size_in_light_and_dark(tmp_path: Path) -> None:
    with (
        running(source=SOURCE, engine="palette:ironbow", thermometer=MEASURED) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && warmth")
        for opened_part in ("", "warm", "charts", "forall"):
            tab.value(
                "for (const one of document.querySelectorAll('details'))"
                f" one.open = one.id === '{opened_part}'"
            )
            tab.value("look_at('wipe')")
            tab.wait_for("!view.hidden && at('made').textContent")
            for place, size in SIZES.items():
                for scheme in ("light", "dark"):
                    tab.look(scheme, size)
                    tab.wait_for("stage.getBoundingClientRect().height > 90")
                    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
                    if place == "desk" or not opened_part:
                        assert faults(tab) == [], (opened_part, place, scheme)
                    tab.screenshot(tmp_path / f"{opened_part or 'page'}_{place}_{scheme}.png")


def test_the_line_and_every_button_are_reached_by_keyboard(tmp_path: Path) -> None:
    with (
        running(source=SOURCE, engine="palette:ironbow") as run,
        opened(f"http://127.0.0.1:{run.port}/#wipe", tmp_path / "profile") as tab,
    ):
        tab.wait_for("!view.hidden && !at('line').hidden")
        tab.value("at('line').focus()")
        tab.press("ArrowLeft")
        tab.wait_for("Math.abs(own.wipe - 0.48) < 0.001 && at('line').ariaValueNow === '48'")
        tab.press("Home")
        tab.wait_for("own.wipe === 0")
        seen: set[str] = set()
        for _ in range(60):
            for kind in ("keyDown", "keyUp"):
                tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            seen.add(str(tab.value("document.activeElement.id || document.activeElement.textContent")))
        assert {"tour", "freeze", "record", "save", "large", "line", "wipe", "side by side"} <= seen
        focused = "getComputedStyle(document.activeElement).outlineStyle"
        tab.value("document.querySelector('[data-value=raw]').focus()")
        assert tab.value(focused) == "solid"


def test_a_phone_reads_the_address_and_no_token_from_it(tmp_path: Path) -> None:
    with running(source=SOURCE, engine="gray") as run:
        status, svg = run.request("GET", "/address.svg?token=nobody-reads-this")
        assert status in (200, 303)
        status, svg = run.request("GET", "/address.svg")
        assert status == 200
        file = tmp_path / "address.svg"
        file.write_bytes(svg)
        with opened(file.as_uri(), tmp_path / "profile") as tab:
            tab.screenshot(tmp_path / "address.png")
        shown = cv2.imread(str(tmp_path / "address.png"))
        # OpenCV's reader misses a code here and there that telephones read, by its size in pixels
        sizes = (cv2.resize(shown, None, fx=scale, fy=scale) for scale in (1.0, 0.5, 0.75, 1.5))
        told = next(filter(None, (cv2.QRCodeDetector().detectAndDecode(one)[0] for one in sizes)), "")
        assert told == f"http://127.0.0.1:{run.port}/"


def test_figures_are_told_in_words_and_drawn(tmp_path: Path) -> None:
    with (
        running(source=SOURCE, engine="palette:ironbow") as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.value("at('charts').open = true")
        named = "[...document.querySelectorAll('#sparks b')].map((one) => one.textContent)"
        wanted = "['rate', 'delay', 'processor', 'dropped', 'compose']"
        tab.wait_for(f"{wanted}.every((name) => {named}.includes(name))")
        tab.wait_for("series.rate.values.length > 3")
        words = tab.value("document.querySelector('[data-of=rate] span').textContent")
        assert words.endswith("pictures a second")
        assert tab.value("document.querySelector('[data-of=rate] path').getTotalLength()") > 1
        assert "palette ironbow" in tab.value("at('runs').textContent")
        assert json.loads(run.request("GET", "/stats.json")[1])["cores"] >= 1


def test_a_gpu_is_among_the_figures_where_there_is_one(tmp_path: Path) -> None:
    camera = Camera()
    try:
        with opened(f"http://127.0.0.1:{camera.port}/gate/", tmp_path / "profile") as tab:
            tab.value("at('charts').open = true")
            named = "[...document.querySelectorAll('#sparks b')].map((one) => one.textContent)"
            tab.wait_for(f"{named}.includes('rate')")
            assert not tab.value(f"{named}.some((name) => name.startsWith('GPU'))")
            whole = {"name": "card", "busy": 0.37, "used_bytes": 2 << 30, "total_bytes": 8 << 30}
            camera.told["gpus"] = [whole, {**whole, "busy": None}]
            tab.wait_for(f"{named}.includes('GPU 1') && {named}.includes('GPU 2 memory')")
            assert not tab.value(f"{named}.includes('GPU 2')"), "what is not known is not zero"
            words = "[...document.querySelectorAll('#sparks span')].map((one) => one.textContent)"
            assert {"37 % of card", "2.0 of 8.0 GiB"} <= set(tab.value(words))
            told = urllib.request.urlopen(f"http://127.0.0.1:{camera.port}/metrics", timeout=10)
            with told as answer:
                text = answer.read().decode()
            assert 'irchroma_gpu_busy_ratio{camera="gate",gpu="0"} 0.37' in text
            assert 'gpu="1"} 0' not in text
    finally:
        camera.close()


def test_a_wall_of_cameras_is_laid_out_as_chosen_and_stays_so(tmp_path: Path) -> None:
    cameras = [Camera(name="gate")]
    cameras += [Camera(cameras[0].port, name=name) for name in ("roof", "yard", "yard2")]
    try:
        with opened(f"http://127.0.0.1:{cameras[0].port}/", tmp_path / "profile") as tab:
            places = (
                "[...document.querySelectorAll('main > a')]"
                ".map((one) => Math.round(one.getBoundingClientRect().left))"
            )
            tab.wait_for("[...document.querySelectorAll('img')].every((one) => one.naturalWidth === 320)")
            press = (
                "[...document.querySelectorAll('nav button')].find((one) => one.textContent === '{}').click()"
            )
            tab.value(press.format("4"))
            assert len(set(tab.value(places))) == 4
            tab.value(press.format("one large"))
            widths = tab.value("[...document.querySelectorAll('main > a')].map((one) => one.offsetWidth)")
            assert widths[0] > 2.5 * widths[1]
            for place, size in SIZES.items():
                for scheme in ("light", "dark"):
                    tab.look(scheme, size)
                    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
                    tab.screenshot(tmp_path / f"wall_{place}_{scheme}.png")
            if importlib.util.find_spec("axe_core_python") is not None:
                assert faults(tab) == []
            tab.value(press.format("2"))
            tab.call("Page.reload")
            tab.wait_for("document.querySelectorAll('main > a').length === 4")
            assert len(set(tab.value(places))) == 2
    finally:
        for camera in cameras:
            camera.close()

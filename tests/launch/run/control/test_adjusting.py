"""What operators set of the picture for all, on the page: by mouse, by keyboard alone, and not by viewers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.browser import WIDTH, Tab, opened
from tests.launch.run.control.test_control import running
from tests.waiting import wait_for

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.launch.run.settings.options import OutputOptions

pytestmark = [pytest.mark.browser, pytest.mark.gst]

SOURCE = "test:thermal?size=320x240&rate=10&live=1"


def to_element(tab: Tab, name: str) -> None:
    """Press Tab until that element has the focus."""
    for _ in range(80):
        if tab.value(f"document.activeElement.id === '{name}'"):
            return
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    raise AssertionError(f"{name} is not reached by the Tab key")


def typed(tab: Tab, text: str) -> None:
    tab.value("document.activeElement.select()")
    tab.call("Input.insertText", text=text)


def entered(tab: Tab) -> None:
    for kind in ("keyDown", "keyUp"):
        tab.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key="Enter",
            code="Enter",
            windowsVirtualKeyCode=13,
            text="\r",
        )


def test_an_operator_locks_a_range_by_keys_and_follows_the_scene_again_by_mouse(tmp_path: Path) -> None:
    with (
        running(source=SOURCE, engine="palette:ironbow") as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && adjusted && adjusted.tone.now")
        tab.value("document.querySelector('#forall summary').focus()")
        for kind in ("keyDown", "keyUp"):
            space = {"key": " ", "code": "Space", "windowsVirtualKeyCode": 32, "text": " "}
            tab.call("Input.dispatchKeyEvent", type=kind, **space)
        tab.wait_for("at('forall').open")
        assert tab.value("at('still').hidden"), "here the space bar opens, and holds no picture"
        told = "!at('bar').hidden && at('bar').textContent.startsWith('\\u2248') === {}"
        tab.wait_for(told.format("true") + " && at('follow').hidden")
        to_element(tab, "low")
        typed(tab, "-5.5")
        to_element(tab, "high")
        typed(tab, "25")
        entered(tab)
        wait_for(lambda: run.state()["tone"]["span"] == [-5.5, 25])
        tab.wait_for("!at('bar').hidden && at('bar').textContent.replace(/\\s+/g, ' ').includes('25.0 °C')")
        tab.wait_for(told.format("false"))
        assert tab.value("getComputedStyle(at('bar').querySelector('i')).backgroundImage").startswith(
            "linear"
        )
        for place, size in {"phone": (844, 390), "desk": (800, 1280)}.items():
            tab.look("dark" if place == "desk" else "light", size)
            tab.wait_for("document.documentElement.scrollWidth <= innerWidth")
            tab.screenshot(tmp_path / f"range_{place}.png")
        tab.value("at('follow').click()")
        wait_for(lambda: run.state()["tone"]["span"] is None)
        tab.wait_for(told.format("true"))


def test_settings_that_follow_the_machine_come_back_after_a_palette_and_with_another_smoothing() -> None:
    neural = NeuralOptions(network=NetworkOptions(threads=1))
    with running(
        automatic=True, source="test:nir?size=160x128&rate=25&live=1", neural=neural, engine="nir"
    ) as run:

        def colors(name: str) -> bool:
            state, guarded = run.state(), run.loop.guarded
            return state["changing"] is None and guarded is not None and guarded.name.startswith(name)

        wait_for(lambda: colors("nir auto"), 90)
        assert (run.state()["engine"], run.state()["band"]) == ("nir", "nir")
        run.change(smoothing_s=2)
        wait_for(lambda: colors("nir auto"), 90)
        for engine, name in (("palette:lava", "palette"), ("nir", "nir auto"), ("nir:best", "nir best")):
            assert run.change(engine=engine)[0] == 200
            wait_for(lambda name=name: colors(name), 90)
            assert run.state()["engine"] == engine
        run.change(engine="nir")  # as a tour does at its end
        wait_for(lambda: colors("nir auto"), 90)
        assert run.state()["error"] is None


def test_every_button_for_all_says_what_is_so(tmp_path: Path) -> None:
    neural = NeuralOptions(network=NetworkOptions(threads=1))
    with (
        running(source=SOURCE, engine="palette:ironbow", neural=neural) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for("adjusted && at('hold')")
        pressed = "document.querySelector('{}').ariaPressed === '{}'"
        for place, value in (
            ("[data-tone=linear]", lambda: run.state()["tone"]["method"] == "linear"),
            ("#hold", lambda: run.state()["tone"]["lock"]),
            ("[data-reading=rate]", lambda: run.state()["readings"] == ["rate"]),
            ("[data-reading=spot]", lambda: run.state()["readings"] == ["rate", "spot"]),
        ):
            assert tab.value(pressed.format(place, "false")), place
            tab.value(f"document.querySelector('{place}').click()")
            wait_for(value)
            tab.wait_for(pressed.format(place, "true"))
        tab.value("document.querySelector('[data-reading=rate]').click()")
        wait_for(lambda: run.state()["readings"] == ["spot"])
        assert tab.value("at('network').hidden"), "a palette has no network's color"
        run.change(engine="thermal:fast")
        wait_for(lambda: run.state()["engine"] == "thermal:fast", 90)
        tab.wait_for("!at('network').hidden")
        tab.value("document.querySelector('[data-mode=chroma]').click()")
        wait_for(lambda: run.state()["color"]["mode"] == "chroma")
        wait_for(lambda: run.state()["changing"] is None, 90)
        for name, value, told in (("limit-of-color", 20, "chroma_limit"), ("smoothing", 0, "smoothing_s")):
            tab.value(f"at('{name}').value = {value}; at('{name}').dispatchEvent(new Event('change'))")
            wait_for(lambda told=told, value=value: run.state()["color"][told] == value)
            wait_for(lambda: run.state()["changing"] is None, 90)
        tab.wait_for("at('limited').textContent === '20' && at('smoothed').textContent === 'off'")


def test_a_viewer_sees_the_range_and_sets_nothing(tmp_path: Path) -> None:
    output = OutputOptions(page_token="operators-token", page_viewer_token="viewers-token")
    with running(source=SOURCE, engine="palette:ironbow", output=output) as run:
        wish = '{"span": [0, 20]}'
        for role, status in (("viewers", 403), ("operators", 200)):
            headers = {"Authorization": f"Bearer {role}-token", "Content_Type": "application/json"}
            assert run.request("POST", "/control", wish, **headers)[0] == status
        with opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab:
            tab.value("document.getElementById('token').value = 'viewers-token'")
            tab.value("document.querySelector('button').click()")
            tab.wait_for("typeof at === 'function' && !at('bar').hidden")
            assert tab.value("at('forall').hidden")

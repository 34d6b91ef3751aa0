"""View and engine changed while a run goes on: by requests, and by the buttons of the page."""

from __future__ import annotations

import http.client
import http.server
import importlib.util
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests import daytime_scene
from tests.browser import SHOWN, WIDTH, opened
from tests.waiting import wait_for

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.retrieval.library import ReferenceLibrary
from irchroma.launch.run.automatic import prepare
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.settings.options import OutputOptions, RunConfig
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

pytestmark = pytest.mark.gst

SOURCE = "test:nir?size=160x128&rate=25&live=1"


class Running:
    """A run with a page on a free port."""

    def __init__(self, config: RunConfig, automatic: bool = False) -> None:
        config, governor = prepare(config, None, {}) if automatic else (config, None)
        monitor = Monitor(config, True, governor)
        monitor.loop = self.loop = build_loop(config, stats=monitor.stats, governor=governor)
        self._thread = threading.Thread(target=self.loop.run, args=(monitor.on_frame,), daemon=True)
        self._thread.start()
        wait_for(lambda: self.loop.writers[0].written > 2)
        sink: Any = self.loop.writers[0]._sink
        self.port = int(sink.port)

    def request(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    def change(self, **wanted: object) -> tuple[int, dict[str, Any]]:
        status, body = self.request("POST", "/control", json.dumps(wanted), Content_Type="application/json")
        return status, json.loads(body)

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.request("GET", "/stats.json")[1])["live"])

    def picture(self) -> np.ndarray:
        data = self.request("GET", "/snapshot.jpg")[1]
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def stop(self) -> None:
        self.loop.stop()
        self._thread.join(30)


@contextmanager
def running(automatic: bool = False, **settings: Any) -> Iterator[Running]:
    settings = {"source": SOURCE, "to": ("http://127.0.0.1:0",), "engine": "palette:lava", **settings}
    run = Running(RunConfig(**settings), automatic)
    try:
        yield run
    finally:
        run.stop()
        # A process that ends within the making of a network is aborted.
        wait_for(lambda: not any(one.name.endswith("engine exchange") for one in threading.enumerate()), 90)
    assert [writer.failure for writer in run.loop.writers] == [None] * len(run.loop.writers)


def colorfulness(bgr: np.ndarray) -> float:
    return float(np.ptp(bgr.astype(int), axis=2).mean())


def test_a_view_that_is_chosen_is_shown(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    with running(to=("http://127.0.0.1:0", str(video))) as run:
        assert run.state()["view"] == "color"
        assert run.picture().shape == (128, 160, 3)
        status, state = run.change(view="raw")
        assert (status, state["view"]) == (200, "raw")
        wait_for(lambda: colorfulness(run.picture()) < 4)
        run.change(view="side", engine="gray")
        wait_for(lambda: run.picture().shape == (128, 320, 3))
        run.change(view="wipe", wipe=0.75, engine="palette:rainbow")
        wait_for(lambda: run.picture().shape == (128, 160, 3))
        wait_for(lambda: colorfulness(run.picture()[:, 130:]) > 20)
        assert colorfulness(run.picture()[:, :110]) < 4
        assert run.state()["wipe"] == 0.75
    source = FileSource(video)
    source.open()
    frame = source.read(10)
    assert frame is not None
    assert frame.size == (128, 160)  # as it began
    source.close()


def test_an_engine_takes_over_without_a_gap_and_a_wrong_one_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), running() as run:
        status, state = run.change(engine="nir:fast")
        assert (status, state["changing"]) == (200, "nir:fast")
        wait_for(lambda: run.state()["engine"] == "nir:fast")
        wait_for(lambda: run.loop.guarded is not None and run.loop.guarded.name.startswith("nir fast"))
        assert run.state()["error"] is None
        assert run.state()["latency_ms"] > 0
        told = "nir:fast keeps its settings at any load: those of a run begun by --engine nir follow it"
        assert told in [record.getMessage() for record in caplog.records]
        for wanted, said in (
            ({"engine": "palette:iron"}, "did you mean palette:ironbow?"),
            ({"veiw": "raw"}, "unknown key veiw, did you mean view?"),
            ({"view": "sepia"}, "expected one of color, raw"),
            ({"wipe": 7}, "from 0 to 1"),
            ({"wipe": "left"}, "expected a number from 0 to 1"),
            ({"view": "raw", "engine": "uv"}, "no engine 'uv'"),
        ):
            status, answer = run.change(**wanted)
            assert status == 400
            assert said in answer["error"]
        assert (run.state()["view"], run.state()["engine"]) == ("color", "nir:fast")
        assert run.loop.guarded is not None
        assert run.loop.guarded.failures == 0


def test_a_network_s_color_may_be_changed_again_while_the_last_change_is_on_its_way() -> None:
    with running(engine="nir:fast", neural=NeuralOptions(network=NetworkOptions(threads=1))) as run:
        run.change(engine="thermal:fast")
        for wanted in ({"chroma_limit": 90}, {"mode": "chroma"}, {"chroma_limit": 30}):
            status, state = run.change(**wanted)
            assert (status, state["changing"]) == (200, "thermal:fast"), state
        wait_for(lambda: run.state()["changing"] is None, 90)
        state = run.state()
        assert (state["engine"], state["error"]) == ("thermal:fast", None)
        assert (state["color"]["mode"], state["color"]["chroma_limit"]) == ("chroma", 30)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_an_engine_that_cannot_be_had_leaves_the_old_one_and_says_why() -> None:
    with running(neural=NeuralOptions(network=NetworkOptions("tensorrt"))) as run:
        run.change(engine="nir:best")
        wait_for(lambda: run.state()["error"] is not None)
        state = run.state()
        assert state["error"].startswith("nir:best: ")
        assert "tensorrt" in state["error"].lower()
        assert (state["engine"], state["changing"]) == ("palette:lava", None)
        assert colorfulness(run.picture()) > 20


def test_other_sites_change_nothing() -> None:
    with running() as run:
        json_type = {"Content_Type": "application/json"}
        wanted = '{"view": "raw"}'
        own = f"http://127.0.0.1:{run.port}"
        for status, headers in (
            (403, {**json_type, "Origin": "http://evil.example"}),
            (403, {**json_type, "Origin": "null"}),
            (403, {**json_type, "Sec_Fetch_Site": "cross-site"}),
            (415, {"Content_Type": "text/plain"}),
            (415, {"Content_Type": "application/x-www-form-urlencoded"}),
            (415, {}),
        ):
            assert run.request("POST", "/control", wanted, **headers)[0] == status, headers
        assert run.request("POST", "/control", " " * 40_000, **json_type)[0] == 413
        assert run.request("POST", "/control", "[]", **json_type)[0] == 400
        assert run.request("POST", "/control", "{", **json_type)[0] == 400
        assert run.request("POST", "/else", wanted, **json_type)[0] == 404
        assert run.state()["view"] == "color"
        assert run.request("POST", "/control", wanted, Origin=own, **json_type)[0] == 200
        assert run.state()["view"] == "raw"


def test_a_page_may_be_for_looking_only() -> None:
    with running(output=OutputOptions(page_control=False)) as run:
        assert run.change(view="raw")[0] == 404
        page = run.request("GET", "/")[1].decode()
        assert '"control": null' in page
        assert "live" not in json.loads(run.request("GET", "/stats.json")[1])


@pytest.mark.browser
def test_the_buttons_of_the_page_do_what_they_say(tmp_path: Path) -> None:
    pressed = (
        "[...document.querySelectorAll('button[aria-pressed=true]')]"
        ".filter(b => b.dataset.value || b.dataset.shared).map(b => b.dataset.value)"
    )
    with (
        running(source=SOURCE.replace("160x128", "320x256")) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320")
        tab.wait_for("document.getElementById('fps').textContent.endsWith('fps')")
        tab.wait_for("document.getElementById('latency').textContent.endsWith('ms')")
        assert tab.value(pressed) == ["run", "palette:lava", None]
        tab.value("document.querySelector('[data-shared=raw]').click()")
        wait_for(lambda: run.state()["view"] == "raw")
        tab.wait_for("document.querySelector('[data-shared=raw]').ariaPressed === 'true'")
        tab.value("document.querySelector('[data-shared=color]').click()")
        wait_for(lambda: run.state()["view"] == "color")
        tab.value("document.querySelector('[data-value=wipe]').click()")
        tab.wait_for(f"String({pressed}).startsWith('wipe,palette:lava')")
        tab.wait_for("!document.getElementById('line').hidden")
        corners = "(r => [r.left, r.top, r.width, r.height])"
        box = tab.value(f"{corners}({SHOWN}.getBoundingClientRect())")
        middle, height = box[0] + box[2] / 2, box[1] + box[3] / 2
        tab.drag((middle, height), (middle + box[3] * 1.25 / 4, height))  # a quarter of the picture's width
        tab.wait_for("Math.abs(own.wipe - 0.75) < 0.02")
        tab.press("ArrowRight")
        tab.wait_for("Math.abs(own.wipe - 0.77) < 0.02")
        tab.press("3")
        tab.wait_for(f"String({pressed}).startsWith('raw,palette:lava')")
        tab.press("5")
        tab.wait_for(f"String({pressed}).startsWith('wipe,palette:lava')")
        tab.value("document.querySelector('[data-value=\"nir:fast\"]').click()")
        tab.wait_for(f"String({pressed}).startsWith('wipe,nir:fast')")
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        tab.screenshot(tmp_path / "page.png")
        shown = cv2.imread(str(tmp_path / "page.png"))
        place = np.s_[int(box[1]) : int(box[1] + box[3]), int(box[0]) : int(box[0] + box[2])]
        assert shown[place].std() > 20
        other = elsewhere()
        try:
            tab.call("Page.navigate", url=f"http://127.0.0.1:{other.server_port}/")
            tab.wait_for(f"location.port === '{other.server_port}' && document.readyState === 'complete'")
            for kind in ("text/plain", "application/json"):
                tab.value(
                    f"fetch('http://127.0.0.1:{run.port}/control', {{method: 'POST', mode: 'cors', body:"
                    f" '{{\"view\": \"raw\"}}', headers: {{'Content-Type': '{kind}'}}}}).catch(() => 0)"
                )
        finally:
            other.shutdown()
            other.server_close()
        assert (run.state()["view"], run.state()["wipe"]) == ("color", 0.5)  # a viewer's wipe is their own


PRESSED = "[...document.querySelectorAll('#references button[aria-pressed=true]')].map(b => b.dataset.value)"


@pytest.fixture
def library(tmp_path: Path) -> ReferenceLibrary:
    """The scene of the source by day, and others."""
    pytest.importorskip("voyager", reason="libraries are searched with voyager")
    made = ReferenceLibrary(tmp_path / "library", make=True)
    camera = SyntheticCamera(SyntheticOptions(band="nir", size=(240, 320), light="day"))
    pictures = {"the yard by day": camera.frame(30).rgb}
    pictures |= {f"scene {seed}": daytime_scene.draw(seed)[0] for seed in range(6)}
    with made.changing():
        for name, rgb in pictures.items():
            made.add(Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), name))
    return made


def with_library(library: ReferenceLibrary, **more: Any) -> dict[str, Any]:
    network = NetworkOptions(threads=1)
    neural = NeuralOptions(reference=AUTO, network=network)
    source = "test:nir?size=320x240&rate=10&live=1&light=day"
    return {"engine": "nir", "source": source, "neural": neural, "references": library.folder, **more}


def test_the_scene_chooses_a_reference_and_an_operator_may(library: ReferenceLibrary) -> None:
    yard, other = library.entries[0].key, library.entries[3].key
    with running(**with_library(library)) as run:
        wait_for(lambda: run.state()["reference"]["current"] == yard)
        assert run.state()["reference"]["auto"]
        status, state = run.change(reference=other, strength=0.4)
        assert (status, state["reference"]["current"], state["reference"]["auto"]) == (200, other, False)
        assert state["reference"]["strength"] == 0.4
        assert other in [one["key"] for one in state["reference"]["candidates"]]
        status, jpeg = run.request("GET", f"/references/{other}.jpg")
        assert status == 200
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[1] == 192
        assert run.request("GET", "/references/nothing.jpg")[0] == 404
        for wanted, said in (
            ({"reference": "nothing"}, "there is no reference 'nothing'"),
            ({"reference": 3}, "there is no reference 3 "),
            ({"strength": 3}, "from 0 to 2"),
            ({"strength": 3, "reference": yard}, "from 0 to 2"),
        ):
            status, answer = run.change(**wanted)
            assert status == 400
            assert said in answer["error"]
        assert run.state()["reference"]["current"] == other
        run.change(reference="none")
        assert run.state()["reference"]["current"] is None
        run.change(reference="auto")
        wait_for(lambda: run.state()["reference"]["current"] == yard)
    with running() as run:
        status, answer = run.change(reference="none")
        assert (status, run.state()["reference"]) == (400, None)
        assert "--reference FILE or auto" in answer["error"]


def test_a_reference_that_is_given_is_shown_and_may_be_weakened_and_left(library: ReferenceLibrary) -> None:
    entry = library.entries[0]
    settings = with_library(library, references=None)
    settings["neural"] = replace(settings["neural"], reference=library.folder / entry.file)
    with running(**settings) as run:
        shown = run.state()["reference"]
        assert (shown["auto"], shown["current"], shown["strength"]) == (True, "1", 1.0)
        assert [one["name"] for one in shown["candidates"]] == [entry.file]
        assert run.request("GET", "/references/1.jpg")[0] == 200
        assert run.change(strength=0.2)[1]["reference"]["strength"] == 0.2
        assert run.change(reference="none")[1]["reference"]["current"] is None
        assert run.change(reference=entry.key)[0] == 400


def test_a_viewer_sees_no_thumbnails(library: ReferenceLibrary) -> None:
    output = OutputOptions(page_token="operators-token", page_viewer_token="viewers-token")
    with running(**with_library(library, output=output)) as run:
        path = f"/references/{library.entries[0].key}.jpg"
        for token, status in (("operators-token", 200), ("viewers-token", 404)):
            assert run.request("GET", path, Authorization=f"Bearer {token}")[0] == status
        assert run.request("GET", path)[0] == 401


@pytest.mark.browser
def test_the_page_shows_the_reference_and_what_else_there_is(
    tmp_path: Path, library: ReferenceLibrary
) -> None:
    yard, other = library.entries[0].key, library.entries[2].key
    with (
        running(**with_library(library)) as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"document.querySelector('#references [data-value=\"{yard}\"].current')")
        tab.wait_for(f"String({PRESSED}) === 'auto'")
        image = f"document.querySelector('#references [data-value=\"{yard}\"] img')"
        tab.wait_for(f"{image}.complete && {image}.naturalWidth === 192")
        for place, size in {"phone": (740, 360), "desk": (800, 1200)}.items():
            for scheme in ("light", "dark"):
                tab.look(scheme, size)
                assert tab.value("document.documentElement.scrollWidth <= innerWidth")
                tab.screenshot(tmp_path / f"reference_{place}_{scheme}.png")
        turned = (
            "(() => { const all = () => [...document.querySelectorAll('#references .picture')].map("
            "one => one.dataset.value), before = all();"
            f"document.querySelector('#references [data-value=\"{yard}\"]').focus();"
            "offer({ auto: true, strength: 1, current: null, candidates: before.map("
            "key => ({ key, name: key, score: 1 })).reverse() });"
            "return [`${before}` === `${all()}`, document.activeElement.dataset.value]; })()"
        )
        for under, stays in {"#references .picture": True, "main": False}.items():  # about to click, or not
            box = f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('{under}')"
            x, y = tab.value(f"{box}.getBoundingClientRect())")
            tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
            assert tab.value(turned) == [stays, yard]
        tab.value("document.querySelector('#references button.picture:not(.current)').click()")
        tab.wait_for(f"String({PRESSED}) !== 'auto'")
        wait_for(lambda: not run.state()["reference"]["auto"])
        run.change(reference=other)
        tab.wait_for(f"String({PRESSED}) === '{other}'")
        tab.value(
            "(s => { s.value = 0.35; s.dispatchEvent(new Event('input')); })"
            "(document.querySelector('#strength input'))"
        )
        wait_for(lambda: run.state()["reference"]["strength"] == 0.35)
        tab.value("document.querySelector('#references [data-value=none]').click()")
        tab.wait_for(f"String({PRESSED}) === 'none'")
        wait_for(lambda: run.state()["reference"]["current"] is None)


def elsewhere() -> http.server.ThreadingHTTPServer:
    """Another site: an empty page on a port of its own."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

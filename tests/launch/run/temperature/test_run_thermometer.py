"""Temperatures of a run: asked for and changed on its port, drawn in a browser, told to a broker."""

from __future__ import annotations

import json
import socket
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.browser import WIDTH, opened
from tests.launch.run.control.test_control import running
from tests.waiting import free_port, wait_for

from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import OutputOptions, RunConfig
from irchroma.launch.run.settings.passwords import masked
from irchroma.launch.run.temperature.mqtt import MqttTeller
from irchroma.launch.run.temperature.run_thermometer import thermometer_of
from irchroma.stream.sensor.thermometer import ThermometerOptions

pytestmark = pytest.mark.gst

SOURCE = "test:thermal?size=160x120&rate=10&live=1"
MEASURED = ThermometerOptions(measure=("all=box 0,0 1,1",), alarm=("all above 0",))


class Broker:
    """Takes what one MQTT 3.1.1 client publishes, in as many words as that needs."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.told: dict[str, str] = {}
        self.connected: bytes = b""
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        with self._socket:
            client, _ = self._socket.accept()
        with client, client.makefile("rb") as came:
            while head := came.read(1):
                length, shift = 0, 0
                while True:
                    byte = came.read(1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body, kind = came.read(length), head[0] >> 4
                if kind == 1:
                    self.connected = body
                    client.sendall(b"\x20\x02\x00\x00")
                elif kind == 3:
                    end = 2 + int.from_bytes(body[:2], "big")
                    at_least_once = head[0] & 6
                    self.told[body[2:end].decode()] = body[end + 2 * bool(at_least_once) :].decode()
                    if at_least_once:
                        client.sendall(b"\x40\x02" + body[end : end + 2])
                elif kind == 12:
                    client.sendall(b"\xd0\x00")


def test_a_port_tells_temperatures_and_operators_change_what_is_measured() -> None:
    output = OutputOptions(page_token="operators-token", page_viewer_token="viewers-token")
    with running(source=SOURCE, engine="palette:ironbow", thermometer=MEASURED, output=output) as run:
        viewer = {"Authorization": "Bearer viewers-token"}
        operator = {"Authorization": "Bearer operators-token", "Content_Type": "application/json"}

        def told() -> dict[str, Any]:
            return dict(json.loads(run.request("GET", "/stats.json", **viewer)[1])["thermometer"])

        wait_for(lambda: told()["regions"][0]["celsius"])
        least, mean, most = told()["regions"][0]["celsius"]
        assert -60 < least < mean < most < 120
        assert told()["alarms"][0]["since"] is not None
        status, body = run.request("GET", "/temperature.json?x=0.5&y=0.9", **viewer)
        assert status == 200
        assert least - 1 <= json.loads(body)["celsius"] <= most + 1
        for wrong in ("", "?x=0.5", "?x=2&y=0", "?x=nan&y=0", "?x=a&y=0"):
            assert run.request("GET", f"/temperature.json{wrong}", **viewer)[0] == 400
        wanted = json.dumps({"measure": ["gate=point 0.5,0.5"], "alarm": [], "emissivity": 0.9})
        looking = {**viewer, "Content_Type": "application/json"}
        assert run.request("POST", "/thermometer", wanted, **looking)[0] == 403
        assert told()["regions"][0]["name"] == "all"
        assert run.request("POST", "/thermometer", '{"alarm": ["gate above x"]}', **operator)[0] == 400
        assert run.request("POST", "/thermometer", wanted, **operator)[0] == 200
        assert (told()["regions"][0]["name"], told()["emissivity"]) == ("gate", 0.9)
        described = json.loads(run.request("GET", "/openapi.json", **viewer)[1])["paths"]
        assert {"/thermometer", "/temperature.json"} <= set(described)
    looked_at = OutputOptions(page_control=False)
    with running(source=SOURCE, engine="gray", output=looked_at) as run:
        answer = run.request("POST", "/thermometer", '{"emissivity": 0.5}', Content_Type="application/json")
        assert answer[0] == 404, "a page for looking only"
    with running() as run:
        assert run.request("GET", "/temperature.json?x=0.5&y=0.5")[0] == 404, "luma has no temperature"
        assert "thermometer" not in json.loads(run.request("GET", "/stats.json")[1])


def test_alarms_are_told_to_a_command_and_a_broker_as_home_assistant_finds_them(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt")
    broker, file = Broker(), tmp_path / "told"
    keep = f"{sys.executable} -c \"import sys; open('{file}', 'a').write(sys.stdin.read() + chr(10))\""
    address = f"mqtt://me:secret-word@127.0.0.1:{broker.port}"
    with running(source=SOURCE, engine="gray", thermometer=MEASURED, mqtt=address, on_event=keep):
        wait_for(lambda: '"ON"' in broker.told.get("irchroma/camera/state", ""))
        wait_for(lambda: file.is_file() and '"alarm"' in file.read_text())
    state = json.loads(broker.told["irchroma/camera/state"])
    assert state["regions"]["all"]["min"] < state["regions"]["all"]["max"]
    assert state["alarms"] == {"all_above_0": "ON"}
    found = {topic: json.loads(told) for topic, told in broker.told.items() if topic.endswith("/config")}
    assert len(found) == 4
    sensor = next(told for topic, told in found.items() if topic.endswith("all_max/config"))
    assert sensor["device_class"] == "temperature"
    assert sensor["state_topic"] == "irchroma/camera/state"
    assert broker.told["irchroma/camera/online"] == "offline", "it says goodbye"
    assert b"secret-word" in broker.connected
    event = json.loads(file.read_text().splitlines()[0])
    assert (event["event"], event["region"], event["kind"], event["limit"]) == ("alarm", "all", "above", 0)


def test_what_cannot_be_measured_is_refused() -> None:
    for config, said in (
        (RunConfig(source="test:nir", thermometer=MEASURED), "need a scale"),
        (RunConfig(source="test:thermal?scale=raw14", thermometer=MEASURED), "need a scale"),
        (RunConfig(source="test:thermal", mqtt="http://broker"), "expected mqtt://"),
        (RunConfig(source="test:thermal", mqtt="mqtt://:port"), "expected mqtt://"),
    ):
        with pytest.raises(ConfigError, match=said):
            thermometer_of(config, "")
    assert thermometer_of(RunConfig(source="test:nir"), "") is None
    shown, left_out = masked(RunConfig(mqtt="mqtt://me:secret-word@broker"))
    assert "secret-word" not in shown.mqtt
    assert len(left_out) == 1


def test_a_scale_in_the_engine_s_name_is_the_thermometer_s_too() -> None:
    engine = "palette:above=37C,gain=0.01,offset=-273.15"
    source = "test:thermal?size=160x120&scale=raw14&rate=10&live=1"
    with running(source=source, engine=engine, thermometer=MEASURED) as run:
        wait_for(lambda: run.loop.writers[0].written > 3)
        told = json.loads(run.request("GET", "/stats.json")[1])["thermometer"]
        assert told["regions"][0]["celsius"]


@pytest.mark.browser
def test_a_page_draws_places_and_marks_their_alarms(tmp_path: Path) -> None:
    with (
        running(source=SOURCE.replace("160x120", "320x240"), engine="palette:ironbow") as run,
        opened(f"http://127.0.0.1:{run.port}/", tmp_path / "profile") as tab,
    ):
        tab.wait_for(f"{WIDTH} === 320 && warmth !== null")
        left, top, width, height = tab.value(
            "((box, v) => [box.left + v('--x'), box.top + v('--y'), v('--w'), v('--h')])"
            "(stage.getBoundingClientRect(), (n) => parseFloat(stage.style.getPropertyValue(n)))"
        )
        tab.value("at('warm').open = true")
        tab.wait_for("stage.getBoundingClientRect().height > 100")
        seen = "['nowhere', 'alarm', 'temperatures'].map((id) => at(id).checkVisibility())"
        assert tab.value(seen) == [True, False, False]  # nothing that could not be filled in
        tab.value("document.querySelector('[data-kind=box]').click()")
        left, top, width, height = tab.value(
            "new Promise((go) => setTimeout(() => go(((box, v) => [box.left + v('--x'), box.top + v('--y'),"
            " v('--w'), v('--h')])(stage.getBoundingClientRect(),"
            " (n) => parseFloat(stage.style.getPropertyValue(n)))), 400))"
        )
        tab.drag((left + 0.25 * width, top + 0.25 * height), (left + 0.75 * width, top + 0.75 * height))
        tab.wait_for("warmth.regions.length === 1 && warmth.regions[0].celsius")
        box = tab.value("warmth.regions[0].at")
        assert [value for place in box for value in place] == pytest.approx(
            [0.25, 0.25, 0.75, 0.75], abs=0.03
        )
        assert tab.value(seen) == [False, True, True]
        tab.wait_for("!at('under').hidden && at('under').textContent.endsWith('°C')")
        tab.value("at('limit').value = -50; at('alarm').requestSubmit()")
        tab.wait_for("document.querySelector('#marks .alarm') && document.querySelector('tr.alarm')")
        tab.screenshot(tmp_path / "thermometer.png")
        tab.value("document.querySelector('#temperatures td:first-child button').click()")
        tab.wait_for("warmth.regions.length === 0 && !document.querySelector('#marks *')")


@pytest.mark.skipif(find_spec("paho") is None, reason="paho-mqtt is not installed")
def test_a_broker_that_is_not_there_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A mistyped address told nobody anything, for as long as the run went on."""
    place = f"127.0.0.1:{free_port()}"
    teller = MqttTeller(f"mqtt://ada:s3cret@{place}", "gate", lambda: {"regions": [], "alarms": []})
    try:
        said = f"mqtt: mqtt://{place} does not answer; trying again until it does"
        wait_for(lambda: said in caplog.messages)
        teller.tell()  # never holds the run up
        teller._unreached(None, None)
        assert caplog.messages.count(said) == 1
        assert "s3cret" not in caplog.text
    finally:
        teller.close()

"""Log lines of many processes in one book; figures of many cameras on one page."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from irchroma.launch.config import ConfigError
from irchroma.launch.fleet.reports import FleetPage, LogBook, LogTail, shown
from irchroma.stream.errors import StreamError
from irchroma.stream.loop.threads import feed_name

STATUS = {
    "nodes": {"rack1": {"kind": "cpu", "draining": True, "load": 0.75}},
    "cameras": {
        "gate": {"node": "rack1", "moving_from": [], "state": "live", "frames": 7, "fps": 25.0},
        "roof": {"node": None, "moving_from": []},
    },
    "waiting": ["roof"],
}


@pytest.fixture
def tail() -> Iterator[LogTail]:
    logging.getLogger("irchroma").setLevel(logging.INFO)
    made = LogTail()
    made.attach()
    yield made
    made.detach()


def test_lines_carry_their_camera_and_are_given_once(tail: LogTail) -> None:
    token = feed_name.set("gate")
    logging.getLogger("irchroma.test").warning("lost: %s", "no answer")
    feed_name.reset(token)
    logging.getLogger("irchroma.test").info("x" * 5000)
    last, lines = tail.after(0)
    assert [(line.get("camera"), line["level"], line["from"]) for line in lines] == [
        ("gate", "warning", "test"),
        (None, "info", "test"),
    ]
    assert lines[0]["message"] == "lost: no answer"
    assert len(lines[1]["message"]) == 400
    assert tail.after(last) == (last, [])


def test_what_is_sent_at_once_never_needs_the_object_store(tail: LogTail) -> None:
    log = logging.getLogger("irchroma.test")
    for _ in range(3000):
        log.info("%s", "\N{GREEK SMALL LETTER ALPHA}" * 1000)
    last, lines = tail.after(0)
    assert len(lines) == 50
    assert last == 1050  # the older ones gave way
    assert len(json.dumps(lines, ensure_ascii=False).encode()) < 100_000


def test_a_book_gives_one_camera_s_lines_and_goes_on_where_it_was_left() -> None:
    book = LogBook(kept=500)
    book.add([{"message": str(n), "camera": ("gate", "roof")[n % 2]} for n in range(600)])
    after, lines = book.after(-3, "gate")
    assert [line["message"] for line in lines] == ["594", "596", "598"]
    book.add([{"message": "600", "camera": "gate"}, {"message": "all"}])
    after, lines = book.after(after, "gate")
    assert [line["message"] for line in lines] == ["600"]
    assert book.after(after, "gate")[1] == []
    met, after = [], 0
    while True:
        after, lines = book.after(after)
        if not lines:
            break
        met += [line["message"] for line in lines]
    assert met == [str(n) for n in range(102, 601)] + ["all"]


def test_a_line_for_people_says_where_and_who() -> None:
    line = {"time": "T", "level": "info", "message": "live", "node": "rack1", "camera": "gate"}
    assert shown(line) == "T  info  rack1  gate: live"
    assert shown({"time": "T", "level": "info", "message": "up"}) == "T  info  fleet: up"


@pytest.fixture
def page() -> Iterator[FleetPage]:
    made = FleetPage("127.0.0.1:0", lambda: STATUS)
    yield made
    made.close()


def read(page: FleetPage, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{page.port}{path}", timeout=20) as answer:
        body: bytes = answer.read()
    return body


def test_all_cameras_figures_are_on_one_page_with_their_machines(page: FleetPage) -> None:
    found = {
        (sample.name, *(sample.labels.get(key) for key in ("camera", "node", "state"))): sample.value
        for family in text_string_to_metric_families(read(page, "/metrics").decode())
        for sample in family.samples
    }
    assert found["irchroma_frames_total", "gate", "rack1", None] == 7
    assert found["irchroma_pictures_per_second", "gate", "rack1", None] == 25
    assert found["irchroma_state", "gate", "rack1", "live"] == 1
    assert found["irchroma_frames_total", "roof", "", None] == 0
    assert found["irchroma_node_load", None, "rack1", None] == 0.75
    assert found["irchroma_node_draining", None, "rack1", None] == 1


def test_the_status_is_there_as_json_and_nothing_else_is(page: FleetPage) -> None:
    assert json.loads(read(page, "/status")) == STATUS
    with pytest.raises(urllib.error.HTTPError) as refused:
        read(page, "/etc/passwd")
    assert refused.value.code == 404
    refused.value.close()


def test_what_is_no_address_is_one_line(page: FleetPage) -> None:
    with pytest.raises(ConfigError, match="expected :PORT"):
        FleetPage("nine", dict)
    with pytest.raises(StreamError, match="address already in use"):
        FleetPage(f"127.0.0.1:{page.port}", dict)

"""Several pages on one HTTP port."""

from __future__ import annotations

import http.client
import json
from fractions import Fraction

import numpy as np
import pytest

from irchroma.stream.errors import SinkError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.http.page import index_page, page
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

LIVE = VideoInfo((48, 64), Fraction(25), live=True)
PICTURE = np.full((48, 64, 3), 90, np.uint8)


def opened(name: str, port: int = 0, size: tuple[int, int] = (48, 64)) -> HttpSink:
    sink = HttpSink("127.0.0.1", port, HttpSinkOptions(title=name, name=name))
    sink.open(LIVE, size)
    sink.write(np.full((*size, 3), 90, np.uint8), 0, 40_000_000)
    return sink


def get(port: int, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers.get("Location", ""), body


def test_several_cameras_share_a_port_and_are_listed() -> None:
    gate = opened("gate")
    yard = opened("back yard", gate.port, (32, 96))
    try:
        assert yard.port == gate.port
        status, _, listed = get(gate.port, "/")
        assert status == 200
        assert '["back yard", "gate"]' in listed.decode()
        assert get(gate.port, "/gate")[:2] == (301, "/gate/")
        assert get(gate.port, "/back%20yard")[:2] == (301, "/back%20yard/")
        assert b"<h1>back yard</h1>" in get(gate.port, "/back%20yard/")[2]
        assert json.loads(get(gate.port, "/back%20yard/stats.json")[2])["width"] == 96
        figures = json.loads(get(gate.port, "/stats.json")[2])
        assert {name: one["height"] for name, one in figures.items()} == {"gate": 48, "back yard": 32}
        assert get(gate.port, "/gate/snapshot.jpg")[2].startswith(b"\xff\xd8")
        assert get(gate.port, "/roof/")[0] == get(gate.port, "/snapshot.jpg")[0] == 404
        gate.close()
        assert get(yard.port, "/gate/")[0] == 404
        assert get(yard.port, "/back%20yard/")[0] == 200
    finally:
        gate.close()
        yard.close()
    with pytest.raises(ConnectionRefusedError):
        get(yard.port, "/")
    again = opened("gate", gate.port)  # the port is free again
    again.close()


def test_a_name_or_a_port_that_is_taken_is_refused() -> None:
    gate, alone = opened("gate"), opened("")
    try:
        for port, name in ((gate.port, "gate"), (gate.port, ""), (alone.port, ""), (alone.port, "gate")):
            with pytest.raises(SinkError, match=rf"there is a page on 127.0.0.1:{port}/{name} already"):
                opened(name, port)
        assert get(gate.port, "/gate/")[0] == get(alone.port, "/")[0] == 200
    finally:
        gate.close()
        alone.close()


def test_pictures_keep_their_own_size() -> None:
    sink = opened("")
    try:
        sink.write(np.full((48, 128, 3), 90, np.uint8), 40_000_000, 40_000_000)
        assert json.loads(get(sink.port, "/stats.json")[2])["width"] == 128
    finally:
        sink.close()


def test_pictures_that_come_at_once_are_no_rate_of_thousands() -> None:
    live = LivePicture()
    for _ in range(3):
        live.put(Picture.of(np.zeros((4, 4, 3), np.uint8)))
    assert live.rate_hz() == pytest.approx(20)


def test_a_page_is_called_by_its_short_name_and_keeps_the_full_one() -> None:
    sink = HttpSink("127.0.0.1", 0, HttpSinkOptions("rtsp://10.0.0.5/s", heading="roof"))
    sink.prepare()
    try:
        shown = get(sink.port, "/")[2].decode()
        assert "<title>roof</title>" in shown
        assert '<h1 title="rtsp://10.0.0.5/s">roof</h1>' in shown
        assert json.loads(get(sink.port, "/stats.json")[2])["title"] == "rtsp://10.0.0.5/s"
    finally:
        sink.close()


def test_texts_cannot_break_out_of_the_pages() -> None:
    title = "</script><b>{{setup}}"
    assert title not in page(title)
    assert '"><b>' not in page("gate", full='"><b>')
    assert page(title).count("</script>") == 1
    assert index_page(["</script>"]).count("</script>") == 1

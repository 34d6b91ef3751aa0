"""What Prometheus scrapes, read back with its own parser."""

from __future__ import annotations

import http.client
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.http.metrics import exposition
from irchroma.stream.sinks.http.sink import HttpSink, HttpSinkOptions

STAGE = {"count": 4, "avg_ms": 5.0, "p50_ms": 4.0, "p95_ms": 8.0, "p99_ms": 9.0, "max_ms": 9.0}
TOLD: dict[str, Any] = {
    "state": "lost",
    "reason": "rtsp://ada:s3cret@10.0.0.5 is gone",
    "engine": 'nir "fast"',
    "frames": 4,
    "dropped_before_processing": 2,
    "reconnections": 1,
    "engine_failures": 0,
    "flicker": None,
    "fps": 0.0,
    "stages": {"color": STAGE},
    "sinks": {"out.mp4": {"written": 3, "dropped": 1, "reopened": 0}},
}


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_figures_become_metrics_and_nothing_secret_does() -> None:
    text = exposition({"gate": TOLD}).decode()
    assert "s3cret" not in text
    found = samples(text)
    assert found["irchroma_state", "gate", "lost"] == 1
    assert found["irchroma_state", "gate", "live"] == 0
    assert found["irchroma_engine_info", "gate", 'nir "fast"'] == 1
    assert found["irchroma_frames_total", "gate"] == 4
    assert found["irchroma_source_dropped_frames_total", "gate"] == 2
    assert found["irchroma_sink_pictures_total", "gate", "out.mp4"] == 3
    assert found["irchroma_stage_seconds_sum", "gate", "color"] == pytest.approx(0.02)
    assert found["irchroma_stage_quantile_seconds", "gate", "0.95", "color"] == pytest.approx(0.008)
    assert not [name for name in found if name[0] == "irchroma_flicker"]  # unknown is not zero


def test_a_port_is_scraped_by_those_who_may_look() -> None:
    access = Access("operators-token", "viewers-token")
    options = HttpSinkOptions("gate", lambda: TOLD, None, "gate", access)
    sink = HttpSink("127.0.0.1", 0, options)
    sink.open(VideoInfo((48, 64), Fraction(25), live=True), (48, 64))
    try:
        sink.write(np.zeros((48, 64, 3), np.uint8), 0, 40_000_000)
        for headers, status in (({}, 401), ({"Authorization": "Bearer viewers-token"}, 200)):
            connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=20)
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            assert answer.status == status
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert samples(text)["irchroma_page_viewers", "gate"] == 0
    finally:
        sink.close()

from __future__ import annotations

from typing import Any

import pytest

from irchroma.launch.bench.service.around import Sample
from irchroma.launch.bench.service.command import _FAULT, _SAID, failures
from irchroma.launch.bench.service.viewers import WAYS

QUIET = Sample(0.0, 180.0, 20, 22)


def results(**other: Any) -> dict[str, Any]:
    good = {"count": 9, "pictures": 90, "without_a_picture": 0, "problems": []}
    held = {"faults_in_the_log": [], "exit_code": 0, "growth_mb": 2.0, "changes_refused": []}
    held |= {"complaints_outside_a_reconnect": [], "frames_of_staying_clients": [9, 9]}
    return {**held, "visits": {way: dict(good) for way in WAYS}, **other}


def test_a_service_that_held_has_no_failures() -> None:
    assert failures(results(), QUIET, Sample(0.0, 300.0, 22, 23)) == []


@pytest.mark.parametrize(
    ("other", "after", "said"),
    [
        ({"growth_mb": 31.0}, QUIET, "memory grew by 31.0 MB"),
        ({"exit_code": 1}, QUIET, "exit code 1"),
        ({"faults_in_the_log": ["Traceback"]}, QUIET, "in the log: Traceback"),
        ({"complaints_outside_a_reconnect": ["tcp: corrupt"]}, QUIET, "FFmpeg: tcp: corrupt"),
        ({"frames_of_staying_clients": [9, 0]}, QUIET, "FFmpeg has seen no picture"),
        ({"changes_refused": ["{}: 500"]}, QUIET, "refused"),
        ({}, Sample(0.0, 180.0, 30, 22), "threads with nobody there: 20 before, 30 after"),
        ({}, Sample(0.0, 180.0, 20, 60), "descriptors with nobody there: 22 before, 60 after"),
    ],
)
def test_each_way_of_not_holding_is_named(other: dict[str, Any], after: Sample, said: str) -> None:
    found = failures(results(**other), QUIET, after)
    assert len(found) == 1
    assert said in found[0]


def test_a_way_that_brought_nothing_is_named() -> None:
    told = results()
    told["visits"]["hls"] |= {"pictures": 0, "without_a_picture": 3, "problems": ["HLS: 500"]}
    assert len(failures(told, QUIET, QUIET)) == 3


@pytest.mark.parametrize(
    ("line", "said", "fault"),
    [
        ("05:52:37 W source lost: trying again", True, False),
        ("05:52:37 I first client, encoder starts", False, False),
        ("05:52:37 E http: answering / failed", True, True),
        ("05:52:37 E gate http: answering / failed", True, True),
        ("Traceback (most recent call last):", True, True),
        ("h11._util.LocalProtocolError: can't handle it", True, True),
        ("(python:6524): GStreamer-RTSP-CRITICAL **: 05:53:36.797: assertion failed", True, True),
        ("(python:6524): GStreamer-WARNING **: 05:53:36.797: misordering", True, False),
    ],
)
def test_what_the_log_says_is_told_apart(line: str, said: bool, fault: bool) -> None:
    assert (bool(_SAID.search(line)), bool(_FAULT.search(line))) == (said, fault)

"""What a run says once."""

import logging

import pytest

from irchroma.stream.remarks import Remarks, run_remarks, tell_once
from irchroma.stream.sinks.encoding.encoders import choose_encoder
from irchroma.stream.sinks.encoding.task import ASSUMED_RATE, EncoderTask


def test_what_is_told_once_is_told_once_a_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):  # runs
        token = run_remarks.set(Remarks())
        tell_once("a")
        tell_once("b")
        tell_once("a")
        run_remarks.reset(token)
    assert caplog.messages == ["a", "b", "a", "b"]
    caplog.clear()
    tell_once("a")
    tell_once("a")
    assert caplog.messages == ["a", "a"]


@pytest.mark.gst
def test_a_run_names_its_encoder_once_and_not_for_each_of_its_files(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    token = run_remarks.set(Remarks())
    for size in ((48, 64), (48, 64), (96, 128)):
        choose_encoder(EncoderTask("h264", size, ASSUMED_RATE, live=True))
    run_remarks.reset(token)
    assert [text for text in caplog.messages if text.startswith("encoder: ")] == ["encoder: x264 (x264enc)"]

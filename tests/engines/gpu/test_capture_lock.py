"""Recordings and what waits for the whole device keep out of each other's way, across threads."""

from __future__ import annotations

import threading

import pytest

from irchroma.engines.gpu import capture_lock
from irchroma.engines.gpu.capture_lock import RecordingPutOff, Recordings


def test_recordings_go_side_by_side_and_so_do_those_that_wait_for_all() -> None:
    made = Recordings()
    with made.recording(), made.recording():
        pass
    with made.waiting_for_all(), made.waiting_for_all():
        pass


def test_a_recording_is_put_off_while_the_device_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_lock, "_PATIENCE_S", 0.001)
    made = Recordings()
    with made.waiting_for_all(), pytest.raises(RecordingPutOff, match="plan"), made.recording():
        pytest.fail("it was recorded")
    with made.recording():
        pass


def test_whoever_waits_for_the_device_waits_for_the_recording_first() -> None:
    made, order = Recordings(), []
    began = threading.Event()

    def wait_for_all() -> None:
        began.set()
        with made.waiting_for_all():
            order.append("all")

    thread = threading.Thread(target=wait_for_all, daemon=True)
    with made.recording():
        thread.start()
        assert began.wait(10)
        thread.join(0.05)
        order.append("recorded")
    thread.join(10)
    assert order == ["recorded", "all"]


def test_an_error_within_leaves_nothing_behind() -> None:
    made = Recordings()
    for kind in (made.recording, made.waiting_for_all):
        with pytest.raises(ValueError, match="broke"), kind():
            raise ValueError("broke")
    with made.recording():
        pass
    with made.waiting_for_all():
        pass

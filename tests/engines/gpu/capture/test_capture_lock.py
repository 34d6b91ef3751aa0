"""Recordings and what waits for the whole device keep out of each other's way, across threads."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest

from irchroma.engines.gpu.capture import capture_lock
from irchroma.engines.gpu.capture.capture_lock import RecordingPutOff, Recordings


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


def test_while_a_plan_builds_only_the_first_frame_of_a_second_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now_s = [100.0]
    monkeypatch.setattr(capture_lock.time, "monotonic", lambda: now_s[0])
    made = Recordings()

    def wait_for(ready: Callable[[], bool], patience_s: float) -> bool:
        waits.append(patience_s)
        return ready()

    monkeypatch.setattr(made._changed, "wait_for", wait_for)
    made._waiting_for_all = 1  # somebody builds
    for now_s[0] in (100.0, 100.04, 100.9, 101.1, 101.2):
        with pytest.raises(RecordingPutOff), made.recording():
            pytest.fail("it was recorded")
    assert waits == [capture_lock._PATIENCE_S, 0.0, 0.0, capture_lock._PATIENCE_S, 0.0]


def test_pythons_collector_rests_while_anything_is_recorded() -> None:
    made = Recordings()
    assert gc.isenabled()
    with made.recording():
        assert not gc.isenabled()
        with made.recording():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with made.recording():
            pass
        assert not gc.isenabled()  # as the program had it
    finally:
        gc.enable()


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

"""What a run has taken of the processor, of what was counted; and what a frame takes, before there is one."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.speed import frame_cost as costs
from irchroma.engines.neural.speed import measured_use
from irchroma.engines.neural.speed.frame_cost import SEEN_PX, _panning, _Prompt, frame_cost
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.neural.speed.measured_use import UseMeter, read_used

RUNG, LOWER = Rung("fast", 320, 3), Rung("fast", 192, 4)


def test_a_run_remembers_what_it_took_once_and_half_of_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(measured_use.time, "process_time", lambda: 1.2 * now_s)  # 1.2 cores: 40 ms a frame
    path = tmp_path / "used.json"
    meter = UseMeter(path, 1.0, lambda rung: 0.02 if rung == RUNG else 1.0, 30.0)
    for frames in range(30 * 25):
        now_s = frames / 30
        assert not path.exists() or now_s > measured_use.SETTLED_S + measured_use.WATCHED_S
        meter.note(now_s, RUNG, frames)
    assert read_used(path) == pytest.approx(2**0.5, abs=0.01)
    path.unlink()
    meter.note(60.0, RUNG, 9000)
    assert not path.exists()


def test_a_run_that_keeps_changing_and_a_camera_that_hardly_comes_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(measured_use.time, "process_time", lambda: 1.2 * now_s)
    path = tmp_path / "used.json"
    changing, seldom = (UseMeter(path, 1.0, lambda _: 0.02, 30.0) for _ in range(2))
    for frames in range(30 * 60):
        now_s = frames / 30
        changing.note(now_s, RUNG if now_s % 16 < 8 else LOWER, frames)
        seldom.note(now_s, RUNG, frames // 5)
    assert not path.exists()


@pytest.mark.parametrize("text", ["[1, 2", "{}", json.dumps({"used": 40.0}), json.dumps({"used": None})])
def test_what_makes_no_sense_is_not_believed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "used.json"
    assert read_used(path) == 1.0
    path.write_text(text)
    assert read_used(path) == 1.0


def test_a_frame_counts_as_what_a_colorizer_takes_for_it() -> None:
    """Its parts in a loop of their own, at their best, came to half of that at 192 pixels."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        size, options = (512, 640), NeuralOptions("nir", beside=True)
        frame_ms, models_ms, full_ms = frame_cost(options, size)
        temporal = replace(options.temporal, color_every=4)
        options = replace(options, size="fast", work_size_px=192, temporal=temporal)
        colorizer = NeuralColorizer(options, _Prompt())
        times_ms = []
        for number, luma in zip(range(24), _panning(size), strict=False):
            start_s = time.thread_time()
            colorizer.submit(luma, number * 33_333_333)
            colorizer.collect()
            times_ms.append(1e3 * (time.thread_time() - start_s))
        colorizer.close()
    finally:
        cv2.setNumThreads(threads)
    counted_ms = (frame_ms - 0.75 * models_ms) * (192 / SEEN_PX) ** 2 + full_ms
    assert 0.65 < counted_ms / float(np.mean(times_ms[4:])) < 1.6


@pytest.mark.parametrize(
    ("size", "half_color", "carried"),
    [
        ((512, 640), True, True),
        ((512, 640), False, False),
        ((256, 320), True, True),
        ((256, 320), False, False),
        ((120, 160), True, False),
    ],
)
def test_models_are_spared_only_where_they_are_carried(
    size: tuple[int, int], half_color: bool, carried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of 120x160 has whole models, made for each one: none that it could be spared are counted."""
    asked: list[NeuralOptions] = []

    def colored(options: NeuralOptions, size: tuple[int, int], works_px: tuple[int, ...]) -> list[float]:
        asked.append(options)
        return [7.0, 4.0]  # 4 grow with the area

    monkeypatch.setattr(costs, "_colored", colored)
    options = NeuralOptions("nir", beside=True)
    options = replace(options, temporal=replace(options.temporal, half_color=half_color))
    frame_ms, models_ms, full_ms = frame_cost(options, size)
    assert full_ms == pytest.approx(3.0)
    assert frame_ms - models_ms * 0.75 * carried == pytest.approx(4.0)
    assert (models_ms > 0) == carried
    assert [one.temporal.half_color for one in asked] == [carried]

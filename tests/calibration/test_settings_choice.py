"""Settings for machines that are made up: the best that fits is taken, and the file says just that."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from irchroma.calibration.machine_speed import Demand, MachineSpeed, Stage
from irchroma.calibration.settings_choice import (
    HEADROOM,
    cheapest,
    choose_encoder,
    predict,
    rank,
    settings_toml,
)
from irchroma.engines.neural.speed.ladder import MEASURED, Rung, candidates, quality
from irchroma.launch.commands.calibrate.speed import add_arguments
from irchroma.launch.run.settings.options import RunConfig, load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEMAND = Demand("nir", Fraction(30), (512, 640), 50.0)


def machine(slowness: float, cores: int = 2) -> MachineSpeed:
    """`slowness` ms for a call of `fast` at 320 pixels, other parts in proportion."""
    parts = {
        "tone map": 0.05,
        "steadying at 320 px": 0.4,
        "upsampling from 320 px": 0.3,
        "steadying at 416 px": 0.7,
        "upsampling from 416 px": 0.35,
        "encoder x264": 0.4,
        "encoder openh264": 0.2,
        "decode": 0.1,
    }
    stages = [Stage(name, slowness * part, 1.5 * slowness * part) for name, part in parts.items()]
    calls = {
        (size, px): Stage(f"{size} at {px} px", ms := slowness * Rung(size, px).work, 1.3 * ms)
        for size in ("fast", "best")
        for px in MEASURED["nir", size]
    }
    return MachineSpeed(tuple(stages), calls, "openvino bf16", cores)


def test_a_fast_machine_gets_the_best_there_is_and_slower_ones_less() -> None:
    chosen = [rank(machine(slowness, 8), DEMAND)[0].rung for slowness in (0.5, 8.0, 20.0, 40.0)]
    assert chosen[0] == candidates("nir")[0]
    scores = [quality("nir", rung) for rung in chosen]
    assert scores == sorted(scores, reverse=True)
    assert len(set(chosen)) >= 3


def test_what_is_chosen_keeps_rate_latency_and_processor_with_headroom() -> None:
    for slowness in (1.0, 5.0, 10.0):
        for one in rank(machine(slowness), DEMAND):
            assert one.engine_ms <= HEADROOM * 1000 / 30
            assert one.latency_ms <= HEADROOM * 50
            assert one.busy <= HEADROOM


def test_the_frame_on_which_the_network_runs_decides_the_latency() -> None:
    often, seldom = (predict(Rung("best", 416, every), machine(5.0), DEMAND) for every in (1, 4))
    assert often.latency_ms == seldom.latency_ms
    assert often.engine_ms > 2 * seldom.engine_ms


def test_a_machine_that_cannot_gets_nothing_and_the_cheapest_is_known() -> None:
    assert rank(machine(200.0), DEMAND) == []
    assert cheapest(machine(200.0), DEMAND).rung.seen_px == 160
    assert rank(machine(60.0), replace(DEMAND, rate=Fraction(4), latency_ms=400.0))


def test_sizes_that_were_not_measured_go_by_their_work() -> None:
    full = machine(4.0)
    quick = replace(full, calls={("fast", 320): full.calls["fast", 320]})
    for key, stage in full.calls.items():
        assert quick.call_ms(Rung(*key)) == pytest.approx(stage.median_ms)


def test_the_better_encoder_is_taken_where_there_is_time_for_it() -> None:
    quick, slow = (choose_encoder(machine(slowness), DEMAND) for slowness in (2.0, 60.0))
    assert quick is not None
    assert slow is not None
    assert (quick.name, slow.name) == ("encoder x264", "encoder openh264")
    assert choose_encoder(replace(machine(1.0), stages=()), DEMAND) is None


def test_the_file_is_a_configuration_with_the_measurement_in_its_comments(tmp_path: Path) -> None:
    speed = machine(10.0)
    chosen = rank(speed, DEMAND)[0]
    text = settings_toml(chosen, speed, DEMAND, ["live trial: holds"], "a machine")
    path = tmp_path / "speed.toml"
    path.write_text(text)
    config = load(path, {})
    assert config.auto
    assert config.engine == "nir"
    rung = Rung(config.neural.size, config.neural.work_size_px, int(config.neural.temporal.color_every))
    assert rung == chosen.rung
    assert config.output.encoder.name == "x264"
    assert config.neural.network.runtime == "openvino"
    for word in ("live trial: holds", "steadying at 320 px", "network best at 416 px", "chosen:", "2 cores"):
        assert word in text
    assert set(tomllib.loads(text)) == {"engine", "auto", "auto_latency_ms", "neural", "output"}


def test_a_latency_that_nobody_asked_for_is_the_run_s_own(tmp_path: Path) -> None:
    speed, path = machine(5.0), tmp_path / "speed.toml"
    words = argparse.ArgumentParser()
    add_arguments(words)
    assert words.parse_args([]).latency_ms == Demand().latency_ms == RunConfig().auto_latency_ms
    for demand, limit_ms in ((Demand(), RunConfig().auto_latency_ms), (DEMAND, 50)):
        chosen = rank(speed, demand)[0]
        path.write_text(settings_toml(chosen, speed, demand, (), "a machine"))
        assert ("auto_latency_ms" in path.read_text()) == (demand is DEMAND)
        assert load(path, {}).auto_latency_ms == limit_ms

"""`irchroma run --auto`: whose settings win, what is stored where, and what a run says of it."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, DeviceWish, open_colorizer
from irchroma.engines.network.eight_bit import twins
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed import frame_cost, pace
from irchroma.engines.neural.speed.ladder import Rung, candidates, quality
from irchroma.engines.processor import usable_cores
from irchroma.engines.temporal.stage import TemporalOptions
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run.automatic import FILE_COLOR_EVERY, Governor, fitted, prepare
from irchroma.launch.run.machine_settings import CHOSEN_KEYS, chosen_for, stored_path
from irchroma.launch.run.settings.options import RunConfig, load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.view.views import View, ViewOptions

pytestmark = pytest.mark.skipif(
    not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
)

ON_CPU = NetworkOptions(device="cpu")


def prepared(settings: dict[str, Any], given: Path | None = None) -> RunConfig:
    config, governor = prepare(load(given, settings), given, settings)
    assert governor is not None
    return config


def test_the_stored_calibration_is_used_and_named(stored: Path) -> None:
    assert stored.parent.name == "irchroma"
    config, governor = prepare(load(None, {"engine": "nir"}), None, {"engine": "nir"})
    assert governor is not None
    neural = config.neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("fast", 192, 3)
    assert config.auto_latency_ms == 80
    assert str(stored) in governor.chosen


def test_what_the_user_said_wins(stored: Path, tmp_path: Path) -> None:
    neural = prepared({"neural.temporal.color_every": 2}).neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("fast", 192, 2)
    given = tmp_path / "mine.toml"
    given.write_text('[neural]\nsize = "best"\nwork-size-px = 256\n')
    neural = prepared({}, given).neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == ("best", 256, 3)


def test_other_bands_have_calibrations_of_their_own(stored: Path) -> None:
    assert stored_path("thermal") != stored
    assert not stored_path("thermal").exists()


def test_palettes_have_nothing_to_choose(stored: Path) -> None:
    config = load(None, {"engine": "palette:ironbow"})
    assert prepare(config, None, {"engine": "palette:ironbow"}) == (config, None)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine counts as idle, whatever runs beside the tests."""
    monkeypatch.setattr(pace, "CALM", math.inf)


def rung_of(options: NeuralOptions) -> Rung:
    return Rung(options.size, options.work_size_px, int(options.temporal.color_every))


def chosen(rate: int, tmp_path: Path, **changes: Any) -> tuple[NeuralOptions, str]:
    network = NetworkOptions(cache=tmp_path / "compiled")
    (tmp_path / "compiled").mkdir(exist_ok=True)
    options = NeuralOptions("nir", beside=True, network=network, **changes)
    found, _, why = chosen_for(options, VideoInfo((480, 640), Fraction(rate), live=True), CHOSEN_KEYS)
    return found, why


def test_what_is_measured_beside_other_work_serves_until_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start does not wait for another measure; the least of both is what the machine can."""
    calls = iter(((50.0, False), (60.0, False), (40.0, True)))

    def call(path: Path, options: NetworkOptions, size: tuple[int, int]) -> tuple[float, float, bool]:
        found_ms, calm = next(calls)
        return found_ms, found_ms, calm

    monkeypatch.setattr(pace, "_call", call)
    monkeypatch.setattr(twins, "_ratio", lambda *_: (1.2, "bf16"))  # as where float is kept
    assert "(measured just now beside other work)" in chosen(5, tmp_path)[1]
    assert "(measured before beside other work)" in chosen(5, tmp_path)[1]
    network = NetworkOptions(cache=tmp_path / "compiled")
    demand = pace.Demand(NeuralOptions("nir", beside=True, network=network), (480, 640), 5.0)
    for least_ms, calm in ((50.0, False), (40.0, True), (40.0, True)):  # the last time nothing is measured
        pace.measure_again(demand)
        found = pace.measure(demand)
        assert (found.call_ms, found.calm) == (least_ms, calm)
    assert "(measured before)" in chosen(5, tmp_path)[1]


@pytest.mark.usefixtures("made_up")
def test_what_took_long_is_final_where_the_run_waited_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow machine is not told that it was busy; a run that did not wait has colored meanwhile."""
    monkeypatch.setattr(pace, "PATIENCE_S", 0.0)
    info = VideoInfo((480, 640), Fraction(5), live=True)
    for folder, until_s, said in (("waits", math.inf, ""), ("goes on", 0.0, ", which took long")):
        (tmp_path / folder / "compiled").mkdir(parents=True)
        monkeypatch.setattr(pace, "_fresh", {})
        options = NeuralOptions("nir", network=NetworkOptions(cache=tmp_path / folder / "compiled"))
        why = chosen_for(options, info, CHOSEN_KEYS, waits_until_s=until_s)[2]
        assert f"(measured just now{said})" in why
        (memory,) = (tmp_path / folder).glob("pace-*.json")
        assert json.loads(memory.read_text())["calm"] == (not said)
        assert f"(measured before{said})" in chosen_for(options, info, CHOSEN_KEYS)[2]


@pytest.mark.usefixtures("calm")
def test_a_run_measures_once_and_remembers(tmp_path: Path) -> None:
    (first, why), (second, again) = (chosen(5, tmp_path) for _ in range(2))
    assert "(measured just now)" in why
    assert "(measured before)" in again
    assert first == second
    assert again.startswith(f"nir {first.size} at {first.work_size_px} px, every ")
    (memory,) = tmp_path.glob("pace-*.json")
    memory.write_text("[1, 2")
    assert "(measured just now)" in chosen(5, tmp_path)[1]


@pytest.mark.usefixtures("made_up")
def test_a_faster_machine_gets_more_and_the_words_are_true(tmp_path: Path) -> None:
    chosen(5, tmp_path)
    (memory,) = tmp_path.glob("pace-*.json")
    found = {}
    for call_ms in (0.5, 40.0, 4000.0):
        memory.write_text(json.dumps({"ms": [call_ms, call_ms, 2.0, 0.5, 1.0], "calm": True}))
        options, why = chosen(30, tmp_path)
        found[call_ms] = quality("nir", rung_of(options))
        assert ("too slow" in why) == (call_ms == 4000.0)
    assert found[0.5] > found[40.0] > found[4000.0]
    assert found[0.5] == quality("nir", candidates("nir")[0])


@pytest.mark.usefixtures("made_up")
def test_large_frames_and_their_encoder_leave_less_to_the_network(tmp_path: Path) -> None:
    chosen(5, tmp_path)
    (memory,) = tmp_path.glob("pace-*.json")
    cores = usable_cores()
    info, found = VideoInfo((480, 640), Fraction(30), live=True), []
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=tmp_path / "compiled"))
    for full_ms, encoded in ((3.0, 2.3), (3.0, 1.0), (3.0, 0.0), (0.1, 0.0)):
        times_ms = [30.0 * cores, 30.0, 5.0 * cores, 1.0, full_ms * cores]
        memory.write_text(json.dumps({"ms": times_ms, "calm": True}))
        found.append(quality("nir", rung_of(chosen_for(options, info, CHOSEN_KEYS, encoded=encoded)[0])))
    assert found == sorted(found)
    assert len(set(found)) == 4


def test_pictures_side_by_side_are_more_to_encode_and_what_nobody_encodes_is_nothing() -> None:
    def told(place: str, view: View) -> float:
        config = RunConfig(source="test:nir", engine="nir", to=(place,), view=ViewOptions(view))
        governor, info = Governor(100, ""), VideoInfo((64, 96), Fraction(30), live=True)
        fitted("nir", config, info, ColorizerOptions(NeuralOptions("nir", network=ON_CPU)), governor)
        return governor.encoded

    assert told("null", "side") == 0
    assert told("out.mp4", "side") == 2 * told("out.mp4", "wipe") > 2 * told("out.mp4", "color")


def test_measuring_ends_in_time_beside_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pace, "_CALLS"), (frame_cost, "_FRAMES")):
        monkeypatch.setattr(module, name, 10**9)
        monkeypatch.setattr(module, "_LONGEST_S", 0.05)
    assert "(measured just now" in chosen(5, tmp_path)[1]


def test_cameras_of_one_process_measure_once_and_choose_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter((30.0, 90.0, 60.0, 45.0))

    def call(path: Path, options: NetworkOptions, size: tuple[int, int]) -> tuple[float, float, bool]:
        time.sleep(0.05)
        found_ms = next(calls)
        return found_ms, found_ms, False

    monkeypatch.setattr(pace, "_call", call)
    monkeypatch.setattr(pace, "_read", lambda memory: None)
    found: list[tuple[NeuralOptions, str]] = []
    cameras = [threading.Thread(target=lambda: found.append(chosen(30, tmp_path))) for _ in range(4)]
    for camera in cameras:
        camera.start()
    for camera in cameras:
        camera.join(60)
    assert len(found) == 4
    assert all(one == found[0] for one in found)
    assert next(calls) == 90.0
    monkeypatch.setattr(pace, "FRESH_S", 0.0)  # later on it is measured again
    chosen(30, tmp_path)
    assert next(calls) == 45.0


@pytest.mark.usefixtures("made_up")
def test_a_run_that_took_more_than_was_counted_has_the_next_one_take_less(tmp_path: Path) -> None:
    """Such as on two slow cores, where 43 ms of CPU a frame were counted and 65 used."""
    chosen(5, tmp_path)
    (memory,) = tmp_path.glob("pace-*.json")
    memory.write_text(json.dumps({"ms": [20.0, 20.0, 7.0, 2.8, 3.0], "calm": True}))
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=tmp_path / "compiled"))
    info = VideoInfo((480, 640), Fraction(30), live=True)
    before, counted, _ = chosen_for(options, info, CHOSEN_KEYS)
    rung = rung_of(before)
    used = counted.busy(rung)
    for _ in range(4):
        meter = chosen_for(options, info, CHOSEN_KEYS)[1].meter()
        assert meter.path is not None
        share = 1.5 * used / chosen_for(options, info, CHOSEN_KEYS)[1].busy(rung)
        meter._remember(share)
    after, measured, _ = chosen_for(options, info, CHOSEN_KEYS)
    assert measured.busy(rung) == pytest.approx(1.5 * used, rel=0.05)
    of = [quality("nir", rung_of(o)) for o in (before, after)]
    assert of[0] > of[1]
    several = chosen_for(options, info, CHOSEN_KEYS, cameras=4)[1]
    assert several.used == 1.0, "what one camera took says nothing of four"


def test_models_count_as_often_as_they_are_made(tmp_path: Path) -> None:
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=tmp_path))
    demand = pace.Demand(options, (480, 640), 30.0)
    made = pace.Pace(demand, 20.0, 20.0, 5.0, 3.0, 2.0, 2, "measured just now")
    plain = replace(made, models_ms=0.0)
    for every, spared_ms in ((1, 0.0), (2, 1.5), (3, 2.0), (4, 2.25)):
        rung = Rung("fast", 320, every)
        less = plain.busy(rung) - made.busy(rung)
        assert less * 2 * 1e3 / 30 == pytest.approx(pace.ALONE * spared_ms)


def test_large_frames_leave_more_of_the_processor_so_that_they_do_not_wait_for_each_other() -> None:
    demand = pace.Demand(NeuralOptions("nir", beside=True), (480, 640), 30.0, encoded=0.0)
    rung = Rung("fast", 320, 1)

    def most_of(frame_ms: float, cores: int) -> float:
        """The largest share that fits, by a network of growing work."""
        paces = (pace.Pace(demand, ms / 10, 1.0, 0.1, 0.0, frame_ms, cores, "") for ms in range(20_000))
        return max((one.busy(rung) for one in paces if one.fits(rung)), default=0.0)

    assert most_of(9.0, 2) == pytest.approx(0.75, abs=0.01)
    assert most_of(13.3, 2) == pytest.approx(0.70, abs=0.01)
    assert most_of(40.0, 16) == pytest.approx(0.50, abs=0.01)


def test_eight_bits_of_the_fast_network_make_the_best_no_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `fast` has an 8-bit twin; what is measured is that one, where it runs."""
    monkeypatch.setattr(pace, "_read", lambda _: ((10.0, 10.0, 3.0, 1.0, 1.0), ""))
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=tmp_path))
    demand = pace.Demand(options, (480, 640), 30.0)
    plain = pace.measure(demand)
    monkeypatch.setattr(pace, "gain", lambda kind, size, options: 1.4 if size == "fast" else 1.0)
    in_eight_bits = pace.measure(demand)
    fast, best = Rung("fast", 320, 2), Rung("best", 320, 2)
    assert in_eight_bits.busy(fast) == plain.busy(fast)
    more_ms = (in_eight_bits.busy(best) - plain.busy(best)) * plain.cores * 1e3 / 30
    assert more_ms == pytest.approx(pace.ALONE * 0.4 * 17.0 / 2)
    assert "24 ms a call" in in_eight_bits.sentence(best)
    assert pace.gain_of(replace(options, weights=tmp_path / "own.onnx")) == 1.0


def test_several_cameras_take_the_least_work_of_settings_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cameras: `best` at 320 px looks like `fast` at 416, where each frame is 1.7 times the work."""
    times = 2.66 * usable_cores(), 5.3, 1.65 * usable_cores(), 0.6 * usable_cores(), 0.4 * usable_cores()
    monkeypatch.setattr(pace, "_read", lambda _: (times, ""))
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=None))
    info = VideoInfo((512, 640), Fraction(30), live=True)
    found, measured, _ = chosen_for(options, info, CHOSEN_KEYS, cameras=4, encoded=0.0)
    fitting = [one for one in candidates("nir") if measured.fits(one)]
    assert quality("nir", rung_of(found)) >= quality("nir", fitting[0]) - 0.005
    assert measured.busy(rung_of(found)) < measured.busy(fitting[0]) - 0.1
    alone, measured, _ = chosen_for(options, info, CHOSEN_KEYS)
    assert rung_of(alone) == next(one for one in candidates("nir") if measured.fits(one))


def test_the_best_that_fits_is_chosen_at_a_work_size_that_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_read", lambda _: ((0.5, 0.5, 2.0, 0.5, 1.0), ""))
    options = NeuralOptions("nir", work_size_px=192, beside=True, network=NetworkOptions(cache=None))
    info = VideoInfo((480, 640), Fraction(10), live=True)
    keys = [key for key in CHOSEN_KEYS if key != "neural.work_size_px"]
    found = chosen_for(options, info, keys)[0]
    assert (found.size, found.work_size_px, found.temporal.color_every) == (catalog.SIZES[-1], 192, 1)


@pytest.mark.usefixtures("made_up")
def test_what_was_said_is_not_chosen() -> None:
    options = NeuralOptions("nir", work_size_px=192, beside=True, network=NetworkOptions(cache=None))
    info = VideoInfo((96, 128), Fraction(30), live=True)
    keys = [key for key in CHOSEN_KEYS if key != "neural.work_size_px"]
    assert chosen_for(options, info, keys)[0].work_size_px == 192
    kept = replace(options, temporal=replace(options.temporal, color_every=2))
    assert chosen_for(kept, info, CHOSEN_KEYS[:2])[0].temporal.color_every == 2
    assert chosen_for(options, info, CHOSEN_KEYS[1:])[0].size == "fast"


def test_files_have_the_same_settings_everywhere_and_the_best_when_asked() -> None:
    governor = prepare(load(None, {"engine": "nir"}), None, {"engine": "nir"})[1]
    assert governor is not None
    plain = governor.for_file(NeuralOptions("nir"), best=False)
    assert (plain.size, plain.temporal.color_every) == ("fast", FILE_COLOR_EVERY)
    best = governor.for_file(NeuralOptions("nir"), best=True)
    assert (best.size, best.temporal.color_every) == (catalog.SIZES[-1], 1)
    said = {"engine": "nir:fast", "neural.temporal.color_every": 2}
    governor = prepare(load(None, said), None, said)[1]
    assert governor is not None
    options = NeuralOptions("nir", temporal=TemporalOptions(color_every=2))
    assert governor.for_file(options, best=True) == options


@pytest.mark.parametrize("alone", [True, False])
def test_the_best_is_what_a_file_gets_whoever_has_calibrated_and_among_cameras(
    stored: Path, alone: bool
) -> None:
    settings = {"engine": "nir", "best": True}
    config = load(None, settings)
    config, governor = prepare(config, None, settings) if alone else (config, None)
    info = VideoInfo((64, 96), Fraction(30), live=False)
    neural = fitted("nir", config, info, ColorizerOptions(config.neural), governor).neural
    assert (neural.size, neural.work_size_px, neural.temporal.color_every) == (catalog.SIZES[-1], 0, 1)


def test_a_live_source_says_that_the_best_is_for_files(stored: Path) -> None:
    settings = {"engine": "nir", "best": True}
    config, governor = prepare(load(None, settings), None, settings)
    remarks = Remarks()
    token = run_remarks.set(remarks)
    try:
        info = VideoInfo((64, 96), Fraction(30), live=True)
        fitted("nir", config, info, ColorizerOptions(config.neural), governor)
    finally:
        run_remarks.reset(token)
    (said,) = remarks.listed()
    assert said["text"] == "--best is for files: a live source has the best settings that keep its rate"


@pytest.mark.parametrize("words", [{}, {"auto": True}, {"neural.work_size_px": 192}])
def test_the_engine_reference_has_a_ladder_live_and_files_none(stored: Path, words: dict[str, Any]) -> None:
    settings = {"engine": "reference:thermal", "neural.reference": "auto", **words}
    config, governor = prepare(load(None, settings), None, settings)
    info = VideoInfo((64, 96), Fraction(30), live=True)
    options = ColorizerOptions(config.neural, wish=DeviceWish(info.size))
    engine = open_colorizer(config.engine, fitted(config.engine, config, info, options, governor))
    assert isinstance(engine, AdjustableColorizer)
    assert engine.name.startswith("reference thermal auto, ")
    assert {rung.size for rung in engine.ladder} == {"fast"}
    assert len(engine.ladder) > 1
    assert engine.ladder[0].seen_px == 192 or not words.get("neural.work_size_px")
    engine.close()
    file = replace(info, live=False)
    governed = fitted(config.engine, config, file, options, governor).open_on_cpu is not None
    assert governed == ("auto" in words)


def test_auto_on_a_palette_runs_and_says_that_there_is_nothing_to_choose(stored: Path) -> None:
    arguments = ["run", "test:nir?size=96x64&frames=5", "--to", "null", "--engine", "palette:ironbow"]
    assert main([*arguments, "--auto"]) == 0
    config, governor = prepare(load(None, {"engine": "gray", "auto": True}), None, {})
    assert governor is None
    assert not config.auto


def test_auto_without_what_governs_it_is_refused_rather_than_ignored(stored: Path) -> None:
    config = load(None, {"source": "test:nir?frames=2", "to": ["null"], "engine": "nir", "auto": True})
    with pytest.raises(ConfigError, match="a run of one camera"):
        build_loop(config)

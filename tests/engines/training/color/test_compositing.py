"""Composites: the sky behind a foreground is another pair's, edges stay as soft, nothing else moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.training.color.compositing import Compositor
from irchroma.engines.training.color.nir import NirRecipe
from irchroma.engines.training.color.sky_matte import four_bands, stage_of
from irchroma.engines.training.pictures import Picture

SIDE, HORIZON = 128, 56
LEAVES = np.array([0.2, 0.3, 0.1, 0.7], np.float32)
CLEAR = np.array([0.45, 0.6, 0.85, 0.25], np.float32)
OVERCAST = np.array([0.85, 0.86, 0.88, 0.9], np.float32)


def _covered() -> np.ndarray:
    """(S, S) float32 how much of each pixel a wood covers, whose edge is ragged, and soft by a lens."""
    y, x = np.mgrid[0 : 4 * SIDE, 0 : 4 * SIDE] / 4.0
    edge = HORIZON + 6.0 * np.sin(x / 5.0) + 4.0 * np.sin(x / 1.7)
    drawn = (y > edge).astype(np.float32)
    return np.asarray(
        cv2.GaussianBlur(cv2.resize(drawn, (SIDE, SIDE), interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    )


def _wood(seed: int) -> np.ndarray:
    grain = np.random.default_rng(seed).standard_normal((SIDE, SIDE, 1), dtype=np.float32)
    return np.asarray(LEAVES * (1.0 + 0.22 * np.clip(grain, -2.0, 2.0)), np.float32)


def _mixed(sky: np.ndarray, seed: int) -> np.ndarray:
    covered = _covered()[..., None]
    return np.asarray(covered * _wood(seed) + (1.0 - covered) * sky, np.float32)


def _pair(sky: np.ndarray, seed: int) -> Picture:
    shown = (np.clip(_mixed(sky, seed), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Picture(f"pair{seed}", np.ascontiguousarray(shown[..., :3]), np.ascontiguousarray(shown[..., 3]))


def _compositor(
    monkeypatch: pytest.MonkeyPatch, shares: tuple[float, float, float], pairs: list[Picture]
) -> Compositor:
    for name, share in zip(("SWAP", "CROWNS", "RIDGE"), shares, strict=True):
        monkeypatch.setattr(f"irchroma.engines.training.color.compositing.{name}", share)
    return Compositor(pairs, np.full(len(pairs), 1.0 / len(pairs)))


def test_a_matte_is_as_soft_as_the_edge() -> None:
    stage = stage_of(3, _pair(CLEAR, 0))
    assert stage is not None
    assert stage.index == 3
    error = np.abs(stage.alpha / 255.0 - (1.0 - _covered()))
    assert error.mean() < 0.01
    mixed = (_covered() > 0.1) & (_covered() < 0.9)
    hard = np.abs((_covered() < 0.5) - (1.0 - _covered()))
    assert error[mixed].mean() < 0.6 * hard[mixed].mean()


def test_another_sky_leaves_no_fringe_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compositor = _compositor(monkeypatch, (1.0, 0.0, 0.0), [_pair(CLEAR, 0), _pair(OVERCAST, 1)])
    assert compositor.able
    compositor.stages, compositor.chances = compositor.stages[:1], np.ones(1)
    compositor.skies = compositor.skies[1:]
    made = four_bands(compositor.picture(np.random.default_rng(0)))
    new_sky = made[:20].mean((0, 1))
    assert new_sky[3] > 0.7  # dark in infrared before
    expected = _mixed(new_sky, 0)
    near = np.abs(np.arange(SIDE) - HORIZON) < 14
    fringe = np.abs(made - expected)[near].mean()
    assert fringe < 0.02
    untouched = four_bands(compositor.pairs[0])[HORIZON + 30 :]
    assert np.abs(made[HORIZON + 30 :] - untouched).max() < 1 / 254


def test_crowns_are_bright_in_infrared_and_dark_in_color_before_a_clear_sky(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compositor = _compositor(monkeypatch, (0.0, 1.0, 0.0), [_pair(CLEAR, 0)])
    before = four_bands(compositor.pairs[0])
    made = [four_bands(compositor.picture(np.random.default_rng(seed))) for seed in range(8)]
    changed = [(one[:40, :, 3] - before[:40, :, 3]) > 0.2 for one in made]
    assert sum(mask.any() for mask in changed) >= 6
    green = np.concatenate([one[:40][mask] for one, mask in zip(made, changed, strict=True)])
    assert green[:, :3].mean() < CLEAR[:3].mean() - 0.15
    assert (green[:, 1] > green[:, 2]).mean() > 0.9


def test_composites_repeat_from_their_dice_and_keep_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    compositor = _compositor(monkeypatch, (0.7, 0.5, 0.5), [_pair(CLEAR, 0), _pair(OVERCAST, 1)])
    for seed in range(4):
        one, again = (compositor.picture(np.random.default_rng(seed)) for _ in range(2))
        assert one.rgb.shape == (SIDE, SIDE, 3)
        assert np.array_equal(one.rgb, again.rgb)
        assert np.array_equal(one.infrared, again.infrared)


@pytest.mark.parametrize("enlarged", [3.0, 0.1])
def test_a_composite_is_no_pair_as_it_was_even_where_nothing_grows_or_no_sky_is_large_enough(
    monkeypatch: pytest.MonkeyPatch, enlarged: float
) -> None:
    compositor = _compositor(monkeypatch, (0.0, 1.0, 1.0), [_pair(CLEAR, 0), _pair(OVERCAST, 1)])
    monkeypatch.setattr("irchroma.engines.training.color.compositing.ENLARGED", enlarged)
    compositor.stages = [replace(compositor.stages[0], leaves=None)]
    compositor.chances, compositor.skies = np.ones(1), compositor.skies[1:]
    before = four_bands(compositor.pairs[0])
    for seed in range(4):
        assert np.abs(four_bands(compositor.picture(np.random.default_rng(seed))) - before)[:20].mean() > 0.1


def test_a_pair_without_a_sky_is_no_stage_and_pairs_without_one_are_not_able() -> None:
    ground = (np.clip(_wood(2), 0.0, 1.0) * 255.0).astype(np.uint8)
    pair = Picture("wood", np.ascontiguousarray(ground[..., :3]), np.ascontiguousarray(ground[..., 3]))
    assert stage_of(0, pair) is None
    assert not Compositor([pair], np.ones(1)).able


def _write(folder: Path, pairs: list[Picture]) -> Path:
    for pair in pairs:
        for name, pixels in (("ir", pair.infrared), ("rgb", pair.rgb[..., ::-1])):
            (folder / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / name / f"{pair.name}.png"), pixels)
    return folder


def test_the_recipe_mixes_composites_in_by_the_share_that_was_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data = _write(tmp_path / "pairs", [_pair(CLEAR, 0), _pair(OVERCAST, 1)])
    recipe = NirRecipe(data, cooperative=False, cache=tmp_path, composites=1.0)
    assert recipe.compositor is not None
    asked = []
    picture = recipe.compositor.picture
    recipe.compositor.picture = lambda random: (asked.append(1), picture(random))[1]
    batch = recipe.batch(6, 64, 0.0, np.random.default_rng(0))
    assert batch.luma.shape == (6, 1, 64, 64)
    assert len(asked) >= 5
    assert NirRecipe(data, cooperative=False, cache=tmp_path).compositor is None


def test_composites_of_pairs_without_a_sky_are_refused(tmp_path: Path) -> None:
    ground = (np.clip(_wood(2), 0.0, 1.0) * 255.0).astype(np.uint8)
    pair = Picture("wood", np.ascontiguousarray(ground[..., :3]), np.ascontiguousarray(ground[..., 3]))
    with pytest.raises(EngineOptionError, match="no pair has a sky"):
        NirRecipe(_write(tmp_path, [pair, replace(pair, name="held")]), False, tmp_path, composites=0.5)

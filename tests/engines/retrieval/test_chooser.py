"""The reference in use: it follows the scene, and whatever the scores do it never flickers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.chooser import LASTING_S, SceneChooser

ALIKE = 0.5
EVERY_S = 0.5


@pytest.fixture(autouse=True)
def _alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ALIKE", ALIKE)


def watched(
    chooser: SceneChooser, looks: list[dict[str, float]], start_s: float = 0.0, cuts: tuple[int, ...] = ()
) -> list[tuple[float, str | None]]:
    """When which picture was taken."""
    changes = []
    for number, scores in enumerate(looks):
        at_s = start_s + number * EVERY_S
        found = chooser.observe(at_s, scores, cut=number in cuts)
        if found is not None:
            chooser.take(found[0] if found else None)
            changes.append((at_s, chooser.chosen))
    return changes


def test_at_the_beginning_the_best_is_taken_after_a_moment() -> None:
    chooser = SceneChooser()
    assert watched(chooser, [{"a": 0.8, "b": 0.7}] * 40) == [(1.0, "a")]


def test_where_nothing_is_alike_nothing_is_taken() -> None:
    chooser = SceneChooser()
    assert watched(chooser, [{"a": 0.49, "b": 0.3}, {}] * 60) == []


def test_another_picture_has_to_win_clearly_and_for_long() -> None:
    chooser = SceneChooser()
    chooser.take("a")
    assert watched(chooser, [{"a": 0.7, "b": 0.79}] * 100) == []
    better = {"a": 0.7, "b": 0.85}
    assert watched(chooser, [better] * 19 + [{"a": 0.7, "b": 0.75}] + [better] * 19, 100.0) == []
    assert watched(chooser, [better] * 25, 200.0) == [(210.0, "b")]


def test_two_that_take_turns_in_winning_are_one_lasting_change() -> None:
    chooser = SceneChooser()
    chooser.take("a")
    looks = [{"a": 0.55, "b": 0.8, "c": 0.7}, {"a": 0.55, "b": 0.75, "c": 0.78}] * 20
    assert watched(chooser, looks) == [(10.0, "b")]


def test_a_cut_lets_another_in_at_once_and_keeps_the_same_scene() -> None:
    chooser = SceneChooser()
    chooser.take("a")
    assert watched(chooser, [{"a": 0.8, "b": 0.3}] * 10, cuts=(3,)) == []
    assert watched(chooser, [{"a": 0.2, "b": 0.8}] * 10, 100.0, cuts=(0,)) == [(101.0, "b")]
    assert watched(chooser, [{"b": 0.2, "c": 0.3}] * 10, 200.0, cuts=(0,)) == [(201.0, None)]


def test_what_no_longer_suits_goes_after_a_while_without_a_cut() -> None:
    chooser = SceneChooser()
    chooser.take("a")
    assert watched(chooser, [{"a": 0.3, "b": 0.2}] * 30) == [(10.0, None)]


def test_a_file_that_begins_anew_is_a_cut() -> None:
    chooser = SceneChooser()
    chooser.take("a")
    chooser.observe(50.0, {"a": 0.8})
    assert watched(chooser, [{"a": 0.2, "b": 0.8}] * 10) == [(1.0, "b")]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_scores_do_changes_are_few_and_far_apart(seed: int) -> None:
    """Random walks with noise; changes without a cut between them are as far apart as they have to last."""
    random = np.random.default_rng(seed)
    keys = "abcdef"[: random.integers(2, 7)]
    walk = np.cumsum(random.normal(0, random.uniform(0, 0.03), (1200, len(keys))), 0)
    scores = np.clip(random.uniform(0.2, 0.9, len(keys)) + walk, 0, 1)
    noisy = scores + random.uniform(-0.2, 0.2, scores.shape) * random.uniform(0, 1)
    looks = [dict(zip(keys, row.tolist(), strict=True)) for row in noisy]
    chooser = SceneChooser()
    changes = watched(chooser, looks)
    times = [at_s for at_s, _ in changes]
    assert all(later - before >= LASTING_S for before, later in pairwise(times))
    for at_s, key in changes:
        row = round(at_s / EVERY_S)
        if key is not None:
            assert max(look[key] for look in looks[max(0, row - 20) : row + 1]) >= ALIKE


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    chooser = SceneChooser()
    chooser.take("a")
    noise = random.uniform(-0.09, 0.09, (3000, 3))
    looks = [{"a": 0.62 + n[0], "b": 0.62 + n[1], "c": 0.6 + n[2]} for n in noise.tolist()]
    assert watched(chooser, looks) == []

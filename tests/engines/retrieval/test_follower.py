"""What one look after the other finds: cuts, the very scene, and a picture that has gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.follower import SceneFollower, Seen
from irchroma.engines.retrieval.index import Entry
from irchroma.engines.retrieval.library import ReferenceLibrary

pytest.importorskip("voyager", reason="libraries are searched with voyager")


@pytest.fixture
def library(tmp_path: Path) -> ReferenceLibrary:
    return daytime_scene.library(tmp_path / "library", 6)


def looked(follower: SceneFollower, luma: np.ndarray, looks: int) -> tuple[Entry | None, Seen]:
    """The picture in use after so many looks, two a second, and the last of them."""
    in_use = None
    for number in range(looks):
        seen = follower.look(luma, number / 2, in_use)
        if seen.changes:
            in_use = seen.entry
    return in_use, seen


def test_a_scene_that_is_hardly_seen_is_found_by_laying_pictures_over_it(library: ReferenceLibrary) -> None:
    """Noise as strong as the picture: not alike enough by content, but its edges lie where they should."""
    _, infrared = daytime_scene.draw(0)
    noise = np.random.default_rng(0).normal(0, 9, infrared.shape)
    faint = np.clip(infrared // 6 + noise + 60, 0, 255).astype(np.uint8)
    assert library.search(faint, 1)[0].score < features.ALIKE
    entry, seen = looked(SceneFollower(library), faint, 4)
    assert entry is not None
    assert entry.source == "scene 0"
    assert seen.matches[0].entry is entry
    assert seen.matches[0].score > features.ALIKE


def test_what_is_fixed_is_looked_at_and_not_changed(library: ReferenceLibrary) -> None:
    follower, other = SceneFollower(library), library.entries[5]
    for number in range(6):
        seen = follower.look(daytime_scene.draw(2)[1], number / 2, other, fixed=True)
        assert not seen.changes
    assert seen.matches[0].entry.source == "scene 2"


def test_a_cut_is_seen_by_the_pictures_alone(library: ReferenceLibrary) -> None:
    follower = SceneFollower(library)
    in_use, _ = looked(follower, daytime_scene.draw(0)[1], 4)
    changes = []
    for number in range(4):
        seen = follower.look(daytime_scene.draw(4)[1], 10 + number / 2, in_use)
        if seen.changes:
            changes.append(seen.entry.source if seen.entry is not None else None)
            in_use = seen.entry
    assert changes == ["scene 4"]

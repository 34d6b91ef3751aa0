"""A scene that has been painted once is read from the cache, and is the same to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.synthetic import plan
from irchroma.stream.synthetic.scene import Look, SyntheticScene


def pictures(seed: int = 3) -> list[np.ndarray]:
    scene = SyntheticScene((96, 128), seed, night=False, people=1, vehicles=1)
    return [scene.picture(band, Look(0.5)) for band in ("nir", "thermal", "rgb")] + [
        scene.label_map(Look(0.5))
    ]


def test_a_kept_scene_is_the_same_and_a_spoiled_one_is_painted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    painted = pictures()
    (file,) = (tmp_path / "irchroma" / "scenes").iterdir()
    monkeypatch.setattr("irchroma.stream.synthetic.scene.paint_static", None)  # not needed any more
    drawn = []
    make_tree = plan.make_tree
    monkeypatch.setattr(plan, "make_tree", lambda *a, **k: drawn.append(a) or make_tree(*a, **k))
    for one, again in zip(painted, pictures(), strict=True):
        np.testing.assert_array_equal(one, again)
    assert len(drawn) == 2  # those that sway; the others are in the picture already
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file.write_bytes(file.read_bytes()[:5000])
    for one, again in zip(painted, pictures(), strict=True):
        np.testing.assert_array_equal(one, again)
    assert file.stat().st_size > 5000


def test_few_scenes_are_kept_and_none_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("irchroma.stream.synthetic.scene._KEPT_SCENES", 2)
    first = pictures(1)
    for number, seed in enumerate((2, 3)):
        newest = max((tmp_path / "irchroma" / "scenes").iterdir(), key=os.path.getmtime)
        os.utime(newest, (1000 + number, 1000 + number))
        pictures(seed)
    assert len(list((tmp_path / "irchroma" / "scenes").iterdir())) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    for one, again in zip(first, pictures(1), strict=True):
        np.testing.assert_array_equal(one, again)

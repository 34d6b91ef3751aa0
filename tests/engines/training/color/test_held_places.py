"""Which places of a pair are held: not its sky, nor crowns before that, nor what a composite draws."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from irchroma.engines.training.color.compositing import Compositor
from irchroma.engines.training.color.held_places import NEAR_PX, held_places
from irchroma.engines.training.color.sky_matte import four_bands
from irchroma.engines.training.pictures import Picture

SIDE, HORIZON, TREE = 128, 56, (slice(20, 90), slice(70, 90))
"""A picture's side, where its sky ends, and a tree on its ground that reaches into the sky, pixels."""
SKY, CROWN, SOIL = (0.45, 0.6, 0.85, 0.25), (0.2, 0.3, 0.1, 0.7), (0.4, 0.35, 0.3, 0.42)
"""R', G', B' and infrared."""


def _pair(ground: tuple[float, float, float, float], tree: bool) -> Picture:
    grain = np.random.default_rng(0).standard_normal((SIDE, SIDE, 1), dtype=np.float32)
    rough = 1.0 + 0.22 * np.clip(grain, -2.0, 2.0)
    bands = np.empty((SIDE, SIDE, 4), np.float32)
    bands[:HORIZON], bands[HORIZON:] = SKY, np.array(ground, np.float32) * rough[HORIZON:]
    if tree:
        bands[TREE] = np.array(CROWN, np.float32) * rough[TREE]
    shown = (np.clip(bands, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Picture("pair", np.ascontiguousarray(shown[..., :3]), np.ascontiguousarray(shown[..., 3]))


def test_the_soil_is_held_but_not_the_sky_nor_its_border_nor_a_tree_before_it() -> None:
    held = held_places(_pair(SOIL, tree=True))
    assert held[: HORIZON + NEAR_PX // 2].max() < 128
    assert held[TREE][HORIZON - TREE[0].start :, 5:-5].max() < 128  # its foot, too
    assert held[HORIZON + 2 * NEAR_PX :, :50].min() == 255
    assert held[TREE[0].stop + 2 * NEAR_PX :].min() == 255


def test_a_composite_is_held_where_it_is_as_its_foreground_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, share in zip(("SWAP", "CROWNS", "RIDGE"), (1.0, 1.0, 0.0), strict=True):
        monkeypatch.setattr(f"irchroma.engines.training.color.compositing.{name}", share)
    own = np.full((SIDE, SIDE), 255, np.uint8)
    own[-20:, -20:] = 0
    known = replace(_pair(CROWN, tree=False), held=own)
    compositor = Compositor([known], np.ones(1))
    assert compositor.able
    for seed in range(4):
        made = compositor.picture(np.random.default_rng(seed))
        assert made.held is not None
        moved = np.abs(four_bands(made) - four_bands(known)).max(-1) > 0.05
        assert moved.any()
        assert made.held[cv2.erode(moved.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0].max() < 64
        assert made.held[-1, :20].min() == 255
        assert made.held[-20:, -20:].max() == 0, "what is free in the foreground is free in the composite"
    bare = Compositor([replace(known, held=None)], np.ones(1)).picture(np.random.default_rng(0))
    assert bare.held is None

"""A night's tone over a frame: dark as the reference is, nothing lost, nothing that is not there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.reference.dusk import BRIGHTER, toned

SIZE = (240, 320)


def person() -> NDArray[np.uint8]:
    """(240, 320) uint8: somebody warm before a cold wall with fine texture."""
    luma = np.random.default_rng(0).normal(50, 8, SIZE).clip(0, 255)
    luma[80:160, 140:170] += 130
    return np.asarray(luma, np.uint8)


def test_nothing_is_lost_in_the_dark() -> None:
    luma = person()
    gray = luma.astype(np.float32) / 255
    own = np.asarray(np.stack([gray + 0.15, gray * 0 + 0.1, gray * 0 - 0.1]), np.float32)
    made = toned(own, luma, np.zeros(SIZE, np.float32), 1.0)
    assert made[0].mean() < own[0].mean() - 0.1
    inside, beside = made[0, 90:150, 145:165].mean(), made[0, 90:150, 100:130].mean()
    assert inside - beside > 0.2
    shown = np.clip(made[0], 0.0, 1.0)
    for part in (np.s_[90:150, 118:132], np.s_[90:150, 145:165], np.s_[10:60, 10:60]):
        assert np.std(shown[part]) > 0.9 * np.std(gray[part])
    np.testing.assert_array_equal(made[1:], own[1:])


def test_what_only_the_reference_shows_is_a_soft_light_at_most() -> None:
    luma = np.full(SIZE, 60, np.uint8)
    own = np.stack([np.full(SIZE, value, np.float32) for value in (0.25, 0.0, 0.0)])
    given = np.full(SIZE, 0.2, np.float32)
    given[100:104, 100:104] = 1.0  # a lamp
    made = toned(own, luma, given, 1.0)[0]
    assert made.max() <= 60 / 255 + BRIGHTER + 1e-6
    slopes = np.abs(np.diff(made, axis=1)).max()
    assert slopes < 0.1 * np.abs(np.diff(given, axis=1)).max()


def test_no_share_changes_nothing() -> None:
    luma = person()
    own = np.asarray(np.stack([luma.astype(np.float32) / 255] * 3), np.float32)
    np.testing.assert_array_equal(toned(own, luma, np.zeros(SIZE, np.float32), 0.0), own)

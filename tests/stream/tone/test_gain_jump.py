from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.tone.gain_jump import GainJump, find_gain_jump, median

RNG = np.random.default_rng(3)
BEFORE = (8000 + 200 * RNG.random(4000)).astype(np.float32)
LIMITS = (8000.0, 8200.0)


def noisy(values: NDArray[np.float32], sd: float = 1.5) -> NDArray[np.float32]:
    return (values + np.random.default_rng(9).normal(0, sd, values.shape)).astype(np.float32)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 30.0), (1.4, -3000.0), (0.5, 4100.0), (3.0, -9000.0)])
@pytest.mark.parametrize("moved", [0.0, 0.2])
def test_a_jump_is_found_though_something_moves(gain: float, offset: float, moved: float) -> None:
    now = noisy(gain * BEFORE + np.float32(offset))
    part = int(moved * len(now))
    now[:part] += 500 * RNG.random(part).astype(np.float32)
    jump = find_gain_jump(BEFORE, now, LIMITS)
    assert jump is not None
    for value in LIMITS:
        assert jump(value) == pytest.approx(gain * value + offset, abs=3)


@pytest.mark.parametrize(
    "now",
    [
        noisy(BEFORE),
        noisy(BEFORE + 1),
        RNG.permutation(BEFORE),
        np.roll(BEFORE, 1),
        np.concatenate([BEFORE[:2500], BEFORE[2500:] + 900]),
        np.full_like(BEFORE, 12000),
        (30000 + 900 * RNG.random(4000)).astype(np.float32),
    ],
    ids=["noise", "drift", "cut", "pan", "object", "shutter", "another scene"],
)
def test_what_is_no_jump_is_not_taken_for_one(now: NDArray[np.float32]) -> None:
    found = find_gain_jump(BEFORE, now.astype(np.float32), LIMITS)
    assert found is None


def test_a_flat_picture_can_jump_by_an_offset() -> None:
    flat = np.full(1000, 8000, np.float32)
    jump = find_gain_jump(noisy(flat, 0.5), noisy(flat + 50, 0.5), (7968.0, 8032.0))
    assert jump is not None
    assert jump(8000) == pytest.approx(8050, abs=1)
    assert jump(9000) == pytest.approx(9050, abs=1)


@pytest.mark.parametrize("value", [0.0, 255.0])
@pytest.mark.parametrize("contrast", [10.0, 80.0])
def test_a_picture_that_takes_the_place_of_a_black_or_white_one_is_no_jump(
    value: float, contrast: float
) -> None:
    """The line to its mean explains more than half of the difference."""
    now = (130 + contrast * (2 * RNG.random(1500) - 1)).astype(np.float32)
    assert find_gain_jump(np.full(1500, value, np.float32), now, (value - 36, value + 36)) is None


def test_a_table_is_carried_over_to_the_new_values() -> None:
    table = np.linspace(0, 255, 65536).astype(np.float32)
    carried = GainJump.line(2.0, -4000.0).remapped(table)
    at = np.array([6000, 8000, 10000])
    assert np.allclose(carried[2 * at - 4000], table[at], atol=1e-3)
    assert carried[0] == pytest.approx(table[2000])
    assert (np.diff(carried) >= 0).all()


def test_a_histogram_is_carried_over_with_its_weights() -> None:
    histogram = np.zeros(65536, np.float32)
    histogram[8000:8100], histogram[8100:8200] = 0.0075, 0.0025
    carried = GainJump.line(2.0, -8000.0).remapped_histogram(histogram)
    assert carried.sum() == pytest.approx(1, abs=1e-3)
    assert carried[8000:8200].sum() == pytest.approx(0.75, abs=0.01)
    assert carried[8200:8400].sum() == pytest.approx(0.25, abs=0.01)


def test_a_camera_that_bends_its_8_bits_is_followed_along_the_curve() -> None:
    before = np.rint(180 * RNG.random(3000) ** 2).astype(np.float32)
    now = np.rint(np.clip(255 * (before / 190) ** 1.3, 0, 255)).astype(np.float32)
    now = noisy(now, 1.0)
    now[:600] = 120  # something moved
    jump = find_gain_jump(before, now, (0.0, 175.0))
    assert jump is not None
    for value in (20, 60, 100, 150):
        assert jump(value) == pytest.approx(255 * (value / 190) ** 1.3, abs=5)


def test_the_median_is_numpy_s_to_the_bit() -> None:
    random = np.random.default_rng(5)
    for count in (1, 2, 3, 8, 9, 300, 301):
        for scale in (1, 30_000):
            values = (scale * random.normal(0, 1, count)).astype(np.float32)
            assert median(values) == np.median(values)
            assert median(np.rint(values)) == np.median(np.rint(values))


def test_a_ground_that_loses_contrast_beneath_people_who_keep_theirs_is_no_jump() -> None:
    ground = (100 * RNG.random(4000)).astype(np.float32)
    now = noisy(np.float32(0.2) * ground, 0.3)
    ground[:160], now[200:360] = 180, 180  # who has walked on meanwhile
    assert find_gain_jump(ground, now, (0.0, 180.0)) is None
    ground[200:360], now[:160] = 180, 36  # all of it alike: a jump
    now[200:360] = 36
    assert find_gain_jump(ground, now, (0.0, 180.0)) is not None


@pytest.mark.parametrize("levels", [256, 65536])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_end_that_stays_speaks_against_a_jump_on_either_side(levels: int, mirrored: bool) -> None:
    scale = levels / 256
    before = (60 + 100 * RNG.random(4000)).astype(np.float32)
    now = noisy(60 + np.float32(0.2) * (before - 60), 0.3)
    before[:160], now[200:360] = 220, 220  # who has walked on meanwhile
    before, now = scale * before, scale * now
    limits = (60 * scale, 220 * scale)
    if mirrored:
        before, now, limits = (
            280 * scale - before,
            280 * scale - now,
            (280 * scale - limits[1], 280 * scale - limits[0]),
        )
    assert find_gain_jump(before, now, limits, levels) is None


@pytest.mark.parametrize("share", [0.012, 0.02, 0.05])
@pytest.mark.parametrize("codec", [0.0, 0.7])
def test_what_is_burnt_in_behind_the_camera_s_gain_speaks_against_no_jump(share: float, codec: float) -> None:
    before = (20 + 100 * RNG.random(4000)).astype(np.float32)
    now = noisy(np.float32(0.6) * before, 1.0)
    before[: round(share * 4000)] = 200
    now[: round(share * 4000)] = 200
    before = noisy(before, codec / 2)
    now[: round(share * 4000)] += RNG.normal(0, codec, round(share * 4000)).astype(np.float32)
    jump = find_gain_jump(np.rint(before), np.rint(now), (20.0, 200.0), 256)
    assert jump is not None
    assert jump(100) == pytest.approx(60, abs=3)

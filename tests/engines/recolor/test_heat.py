"""A thermal sky ends where its heat does, whatever a network paints."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.recolor import heat

Plane = NDArray[np.float32]
SIZE = (160, 208)
SKY, GREEN, SLATE = (0.7, 0.1, -0.06), (0.3, -0.06, -0.02), (0.15, 0.05, -0.03)
EDGE, LEAK = 60, 12
"""Row at which crowns begin, and rows of them that are painted sky, in work pixels."""


def guide_of(cold: float = 30, warm: float = 120, noise: float = 4) -> Plane:
    """(h, w) of whole levels: a cold sky over warm crowns."""
    luma = np.full(SIZE, cold, np.float64)
    luma[EDGE:] = warm
    luma += np.random.default_rng(3).normal(0, noise, SIZE)
    return (np.rint(luma).clip(0, 255) / 255).astype(np.float32)


def painted(edge: int) -> list[Plane]:
    """Y', Cb, Cr: sky down to that row, softly, and green below."""
    row = np.mgrid[: SIZE[0], : SIZE[1]][0]
    share = ((edge + 4 - row) / 8).clip(0, 1)
    return [
        (above * share + below * (1 - share)).astype(np.float32)
        for above, below in zip(SKY, GREEN, strict=True)
    ]


def parted(planes: list[Plane], guide: Plane, strength: float = 1.0) -> list[Plane]:
    made = [plane.copy() for plane in planes]
    heat.part_by_heat((made[0], made[1], made[2]), guide, False, strength)
    return made


def test_sky_that_is_painted_into_crowns_gets_their_color_and_tone_and_the_sky_stays() -> None:
    said = painted(EDGE + LEAK)
    made = parted(said, guide_of())
    leak, sky = np.s_[EDGE + 4 : EDGE + LEAK - 4], np.s_[: EDGE - 4]
    assert said[1][leak].mean() > 0.09
    for plane, before, green in zip(made, said, GREEN, strict=True):
        far = [float(abs(one[leak].mean() - green)) for one in (plane, before)]
        assert far[0] < 0.35 * far[1]
    assert made[1][leak].max() < 0.02
    for plane, before in zip(made, said, strict=True):
        np.testing.assert_allclose(plane[sky], before[sky], atol=0.002)


@pytest.mark.parametrize(("cold", "warm"), [(30, 60), (90, 200), (10, 250)])
def test_the_camera_s_gain_does_not_matter(cold: float, warm: float) -> None:
    made = parted(painted(EDGE + LEAK), guide_of(cold, warm, noise=2))
    assert made[1][EDGE + 4 : EDGE + LEAK - 4].mean() < -0.01
    assert made[1][: EDGE - 4].min() > 0.09


def test_where_a_sky_is_as_warm_as_what_is_before_it_nothing_is_said() -> None:
    said = painted(EDGE + LEAK)
    for plane, before in zip(parted(said, guide_of(100, 100)), said, strict=True):
        np.testing.assert_allclose(plane, before, atol=0.002)


def test_a_green_patch_amid_the_sky_is_sky() -> None:
    said = painted(EDGE)
    said[1][24:44, 80:110], said[2][24:44, 80:110] = GREEN[1:]
    made = parted(said, guide_of())
    patch = np.s_[28:40, 84:106]
    assert made[1][patch].min() > 0.05
    assert made[2][patch].max() < -0.03


def test_what_stands_in_nothing_but_a_sky_that_was_painted_over_it_is_dark_and_not_blue() -> None:
    """A pole, a sign and a palm's leaves, none of them with any color of their own nearby."""
    guide, said = guide_of(warm=30), painted(150)
    guide[:, 50:54] = guide[20:40, 90:112] = np.float32(75 / 255)
    guide[10:50, 140:180:4] = guide[10:50, 141:180:4] = np.float32(90 / 255)
    guide[150:] = np.float32(80 / 255)
    made = parted(said, guide)
    for place in (np.s_[4:140, 51:53], np.s_[23:37, 93:109]):
        assert made[1][place].max() < 0.01
        assert abs(made[2][place]).max() < 0.04
        assert made[0][place].max() < 0.45
    assert made[1][12:48, 140:180].mean() < 0.6 * said[1][12:48, 140:180].mean()
    for plane, before in zip(made, said, strict=True):
        np.testing.assert_allclose(plane[:140, :40], before[:140, :40], atol=0.002)


def test_a_sensor_s_noise_makes_no_specks_in_a_sky() -> None:
    guide, said = guide_of(), painted(EDGE)
    guide[4:50:9, 5:200:11] = np.float32(60 / 255)
    for plane, before in zip(parted(said, guide), said, strict=True):
        np.testing.assert_allclose(plane[: EDGE - 4], before[: EDGE - 4], atol=0.002)


def test_a_lavender_car_is_gray_and_a_night_s_slate_stays() -> None:
    said = painted(EDGE)
    for plane, car, dark in zip(said, (0.45, 0.025, 0.004), SLATE, strict=True):
        plane[100:130, 20:90], plane[100:130, 120:190] = car, dark
    made = parted(said, guide_of())
    assert np.abs(made[1][104:126, 24:86]).max() < 0.02
    assert made[1][104:126, 24:86].mean() < 0.004
    np.testing.assert_allclose(made[1][104:126, 124:186], SLATE[1], atol=0.002)


def test_it_comes_by_degrees() -> None:
    said, guide = painted(EDGE + LEAK), guide_of()
    leak = np.s_[EDGE + 4 : EDGE + LEAK - 4]
    none, half, all_of_it = (parted(said, guide, share)[1][leak].mean() for share in (0.0, 0.5, 1.0))
    assert none == pytest.approx(said[1][leak].mean())
    assert half == pytest.approx((none + all_of_it) / 2, abs=0.01)


def test_half_the_size_gives_nearly_the_same() -> None:
    said, guide = painted(EDGE + LEAK), guide_of()
    whole = parted(said, guide)
    *made, level = (half(plane) for plane in (*said, guide))
    level = np.rint(level * 255) / np.float32(255)
    heat.part_by_heat((made[0], made[1], made[2]), level.astype(np.float32), True)
    for plane, other in zip(made, whole, strict=True):
        assert np.abs(half(other) - plane).mean() < 0.01


def half(plane: Plane) -> Plane:
    size = (plane.shape[1] // 2, plane.shape[0] // 2)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def test_a_picture_without_sky_and_one_of_nothing_else_are_fine() -> None:
    for color in (SKY, GREEN, SLATE):
        said = [np.full((9, 7), value, np.float32) for value in color]
        luma = np.full((9, 7), np.float32(40 / 255))
        for plane, before in zip(parted(said, luma), said, strict=True):
            np.testing.assert_allclose(plane, before, atol=0.001)

"""A night's tone over a frame: dark as the reference is, nothing lost, nothing that is not there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor import color_space
from irchroma.engines.reference.dusk import (
    BRIGHTER,
    EXPOSED,
    LAMP_LIT,
    LAMPS_ADD,
    LAMPS_COLOR,
    LIGHTEST,
    STANDING,
    as_usual,
    exposed,
    in_tone,
    tone_of,
    without_lamps,
)
from irchroma.engines.reference.overlay import Laid, by_steady_light, in_calm_colors
from irchroma.engines.reference.pictures import Reference

SIZE = (240, 320)
PINK = np.exp(1j * np.pi / 3)


def toned(
    ycc: NDArray[np.float32],
    luma: NDArray[np.uint8],
    given: NDArray[np.float32],
    share: float,
    sky: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As a frame without color of its own is shown."""
    return in_tone(ycc, tone_of(luma, given, sky), share)


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


def test_people_are_as_bright_as_a_dark_street_allows_and_clear_before_its_wall() -> None:
    luma = person()
    gray = luma.astype(np.float32) / 255
    made = toned(np.asarray(np.stack([gray] * 3), np.float32), luma, np.full(SIZE, 0.06, np.float32), 1.0)[0]
    someone, as_seen = (one[90:150, 145:165].mean() for one in (made, gray))
    assert STANDING * as_seen - 0.01 < someone < as_seen - 0.1
    assert made[:, 20:100].mean() < gray[:, 20:100].mean() - 0.08
    assert someone > made[:, 20:100].mean() + 0.3


def test_nobody_stands_in_a_dark_halo() -> None:
    luma = np.full(SIZE, 50, np.uint8)
    luma[80:160, 140:170] = 180
    own = np.asarray(np.stack([luma.astype(np.float32) / 255] * 3), np.float32)
    made = toned(own, luma, np.full(SIZE, 0.12, np.float32), 1.0)[0]
    far, near = made[120, 20:60].mean(), made[85:155, 172:182]
    assert near.min() > far - 0.015


def test_an_evening_s_sky_is_as_bright_as_the_own_one_where_a_lamp_s_light_is_not() -> None:
    luma = np.full(SIZE, 100, np.uint8)
    luma[:100] = 8
    own = np.asarray(np.stack([luma.astype(np.float32) / 255] * 3), np.float32)
    given, sky = np.full(SIZE, 0.9, np.float32), np.zeros(SIZE, np.float32)
    sky[:100] = 0.7
    lamp, evening = (toned(own, luma, given, 1.0, bright)[0] for bright in (None, sky))
    assert lamp[20:60].max() < 0.03 + BRIGHTER + 0.05
    assert 0.65 < evening[20:60].mean() < 0.75
    np.testing.assert_allclose(evening[160:], lamp[160:], atol=1e-5)


def test_a_crown_before_a_sky_that_is_black_to_the_sensor_has_no_white_rim() -> None:
    luma = np.full(SIZE, 10, np.uint8)
    luma[:, 160:] = 90
    own = np.asarray(np.stack([luma.astype(np.float32) / 255] * 3), np.float32)
    given = np.where(luma < 50, np.float32(0.9), np.float32(0.1)).astype(np.float32)
    made = toned(own, luma, given, 1.0, np.where(luma < 50, np.float32(0.6), 0.0).astype(np.float32))[0]
    assert made[120, 162:200].max() < made[120, 60:120].mean() + 0.06


def test_what_stands_out_a_little_is_shaded_without_steps() -> None:
    """Surroundings in whole levels made bands on what is plain."""
    luma = np.full(SIZE, 30, np.uint8)
    luma[:, 130:190] = 150
    gray = luma.astype(np.float32) / 255
    given = np.zeros(SIZE, np.float32)
    made = toned(np.asarray(np.stack([gray] * 3), np.float32), luma, given, 1.0)[0, 120, 135:185]
    assert np.ptp(made) > 0.2
    assert np.abs(np.diff(made, 2)).max() < 0.006


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


def street(pool: float = 0.12, glow: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float32]:
    """(240, 320, 3) Y'CbCr: a dark street with paint on it, and a pool of light or color."""
    ycc = np.full((*SIZE, 3), (0.12, -0.02, 0.02), np.float32)
    ycc[:, 200:204, 0] = 0.18
    ycc[60:180, 20:160, 0] = pool
    light = np.zeros(SIZE, np.float32)
    light[60:180, 20:160] = 1.0
    ycc[..., 1:] += cv2.GaussianBlur(light, (0, 0), 12.0)[..., None] * np.float32(glow)
    return ycc


def test_a_headlamp_s_pool_is_no_light_of_now_and_the_street_stays_as_it_is() -> None:
    plain, lit = street(), street(pool=0.95)
    cast = complex(-0.02, 0.02)
    np.testing.assert_allclose(without_lamps(plain, cast, PINK, 0.4), plain, atol=0.004)
    made = without_lamps(lit, cast, PINK, 0.4)
    assert made[100:140, 70:110, 0].max() < 0.12 + LAMP_LIT + LAMPS_ADD + 0.02
    np.testing.assert_allclose(made[:, 260:], lit[:, 260:], atol=0.004)
    assert lit[100, 90, 0] == np.float32(0.95)  # the picture that was given is as it was


def test_the_glow_of_tail_lights_is_nearly_gone() -> None:
    red = street(glow=(0.03, 0.15))
    made = without_lamps(red, complex(-0.02, 0.02), PINK, 0.4)
    away = made[120, 90, 1:] - (-0.02, 0.02)
    assert np.hypot(*away) < LAMPS_COLOR + 0.01 < 0.4 * np.hypot(0.03, 0.15)
    np.testing.assert_allclose(made[..., 0], red[..., 0], atol=1e-4)


def test_a_panel_keeps_its_red_as_light_has_no_sharp_outline() -> None:
    painted = street()
    painted[60:150, 220:260, 1:] += np.float32((0.0, 0.15))
    made = without_lamps(painted, complex(-0.02, 0.02), PINK, 0.4)
    np.testing.assert_allclose(made[70:140, 230:250, 1:], painted[70:140, 230:250, 1:], atol=0.01)
    np.testing.assert_allclose(made[..., 280:, 1:], painted[..., 280:, 1:], atol=0.004)


def test_a_night_without_cars_is_lifted_as_most_moments_are_brighter_and_black_stays() -> None:
    dark = street()
    dark[..., 0] *= 0.7
    dark[:80, :, 0] = 0.0
    made = exposed(dark)
    assert abs(np.median(made[..., 0]) - EXPOSED) < 0.02
    assert made[:20, :, 0].max() < 0.002
    bright = street() + np.float32((0.06, 0.0, 0.0))
    assert exposed(bright) is bright


def test_a_night_that_headlamps_light_is_seen_as_dark_as_most_moments_and_a_light_one_as_it_is() -> None:
    lit, trust = street() + np.float32((0.09, 0.0, 0.0)), np.full(SIZE, 255, np.uint8)
    assert abs(np.median(as_usual(lit)[..., 0]) - LIGHTEST) < 0.001
    np.testing.assert_array_equal(as_usual(lit)[..., 1:], lit[..., 1:])
    for more, dimmed in ((0.0, True), (0.08, False)):
        rgb = color_space.ycc_to_rgb(lit + np.float32((more, 0.0, 0.0)))
        before, seen = (
            float(np.median(color_space.rgb_to_ycc(one)[..., 0]))
            for one in (rgb, in_calm_colors(Reference(rgb, trust, "night")).rgb)
        )
        assert (seen < before - 0.01) == dimmed, more


def test_a_network_sees_a_night_lighter_and_without_the_color_of_lamps_and_a_day_in_its_tone() -> None:
    lit = color_space.ycc_to_rgb(street(glow=(0.03, 0.15)))
    trust = np.full(SIZE, 255, np.uint8)
    before, made = (
        color_space.rgb_to_ycc(one) for one in (lit, in_calm_colors(Reference(lit, trust, "night")).rgb)
    )
    assert np.hypot(*made[120, 90, 1:]) < 0.4 * np.hypot(*before[120, 90, 1:])
    assert abs(float(np.median(made[..., 0])) - EXPOSED) < 0.01
    day = color_space.ycc_to_rgb(street() + np.float32((0.5, 0.0, 0.0)))
    seen = color_space.rgb_to_ycc(in_calm_colors(Reference(day, trust, "day")).rgb)
    np.testing.assert_allclose(seen[..., 0], color_space.rgb_to_ycc(day)[..., 0], atol=0.01)


def test_a_network_sees_no_lamp_s_color_in_a_night_that_its_camera_has_brightened() -> None:
    lit = street(glow=(0.0, 0.15))
    lit[..., 0] += np.float32(0.3)
    lit[:80, :, 0] = 0.5
    rgb = color_space.ycc_to_rgb(lit)
    made = color_space.rgb_to_ycc(in_calm_colors(Reference(rgb, np.full(SIZE, 255, np.uint8), "night")).rgb)
    assert np.hypot(*(made[120, 90, 1:] - (-0.02, 0.02))) < 0.4 * 0.15
    np.testing.assert_allclose(made[..., 0], color_space.rgb_to_ycc(rgb)[..., 0], atol=0.01)


def test_a_night_that_its_camera_has_brightened_is_laid_as_it_is() -> None:
    """Lit from below as by a car, gray up to its top: a street at 0.23 changes, one at 0.45 does not."""
    rows = np.linspace(0.7, 1.3, 60)[:, None, None]
    trust = np.full((60, 80), 255, np.uint8)
    for median, changed in ((0.23, True), (0.45, False)):
        rgb = np.broadcast_to(np.rint(255 * median * rows).astype(np.uint8), (60, 80, 3)).copy()
        made = by_steady_light(Reference(rgb, trust, "night"), thermal=True)
        assert bool(np.any(made.rgb != rgb)) == changed, median


def test_what_is_cut_out_of_a_day_s_picture_makes_no_night_of_it() -> None:
    rgb: NDArray[np.uint8] = np.full((90, 120, 3), 150, np.uint8)
    rgb[:40] = (150, 190, 230)
    trust: NDArray[np.uint8] = np.full((90, 120), 255, np.uint8)
    rgb[45:, :90], trust[45:, :90] = 0, 0
    made = by_steady_light(Reference(rgb, trust, "day"), thermal=True)
    np.testing.assert_array_equal(made.rgb, rgb)


def test_a_day_s_picture_is_none_of_a_night_where_it_lies_with_most_of_it_cut_out() -> None:
    rgb: NDArray[np.uint8] = np.full((*SIZE, 3), 150, np.uint8)
    rgb[:80] = (150, 190, 230)
    trust = np.full(SIZE, 255, np.uint8)
    rgb[:, :200], trust[:, :200] = 0, 0
    laid = Laid(Reference(rgb, trust, "day"), np.eye(2, 3), person())
    assert laid.light.by_night(thermal=True) == 0.0
    nothing = Laid(Reference(rgb, np.zeros(SIZE, np.uint8), "day"), np.eye(2, 3), person())
    assert nothing.light.dark == 1.0


def test_what_is_cut_out_of_a_night_s_picture_is_no_darkness_of_its_scene() -> None:
    whole = color_space.ycc_to_rgb(street(glow=(0.03, 0.15)))
    trust = np.full(SIZE, 255, np.uint8)
    cut, sure = whole.copy(), trust.copy()
    cut[:, 150:], sure[:, 150:] = 0, 0
    seen, known = (
        color_space.rgb_to_ycc(in_calm_colors(Reference(rgb, trusted, "night")).rgb)
        for rgb, trusted in ((cut, sure), (whole, trust))
    )
    assert abs(float(np.median(seen[:, :150, 0])) - EXPOSED) < 0.01
    np.testing.assert_allclose(seen[:, :130], known[:, :130], atol=0.012)


def test_a_picture_that_two_look_at_is_calmed_once() -> None:
    """For the network and for what geometry lays over it: an eighth of a second each."""
    rgb = color_space.ycc_to_rgb(street())
    night = Reference(rgb, np.full(SIZE, 255, np.uint8), "night")
    assert in_calm_colors(night) is in_calm_colors(night)
    other = Reference(rgb + np.uint8(40), night.trust, "night")
    assert in_calm_colors(other) is not in_calm_colors(night)


def test_a_dark_night_that_is_wished_for_lies_over_no_edges_that_it_lacks() -> None:
    rgb, luma = np.full((*SIZE, 3), (20, 26, 17), np.uint8), np.full(SIZE, 60, np.uint8)
    laid = Laid(Reference(rgb, np.full(SIZE, 255, np.uint8), "night"), np.eye(2, 3), luma)
    assert laid.light.dark == 1.0
    kept = np.tile(np.linspace(0.0, 1.0, 80, dtype=np.float32), (60, 1))
    sure = laid.where_sure(luma, np.ones_like(kept), kept, wished=1.0)
    np.testing.assert_allclose(sure, cv2.resize(kept, SIZE[::-1]), atol=0.02)

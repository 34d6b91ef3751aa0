"""What of a reference is shown: a night's hues on the own tone, and nothing where structure would be lost."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.catalog import BANDS
from irchroma.engines.recolor.band import CALM, BandLook
from irchroma.engines.recolor.night import LAMP, LAMP_LIFT
from irchroma.engines.reference.preference import BAND
from irchroma.engines.reference.visible_parts import (
    LAID_OVER,
    LAMPS,
    LIFTED,
    MOST,
    WISHED_LAID,
    Light,
    Own,
    Taken,
    by_night,
    kept,
    shown_alone,
    shown_of,
    surely,
)

Plane = NDArray[np.float32]
SIZE = (96, 128)
LOOK = BandLook(instead="palette", calm_luma=0.3)


def stripes() -> NDArray[np.uint8]:
    """(96, 128) uint8: clear slanted bars, as a sensor sees a fence."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray(np.where((x + y) // 12 % 2 == 0, 60, 180), np.uint8)


def flat(y: float, blue: float, red: float) -> Plane:
    """(3, 96, 128) of one color."""
    return np.stack([np.full(SIZE, value, np.float32) for value in (y, blue, red)])


def own_of(luma: NDArray[np.uint8], confidence: float = 1.0) -> Own:
    gray = luma.astype(np.float32) / 255
    return Own(
        np.stack([gray, gray * 0 + 0.02, gray * 0 - 0.02]), np.full(SIZE, confidence, np.float32), luma, LOOK
    )


def cells(y: float, blue: float = -0.02, red: float = 0.02) -> Plane:
    return np.tile(np.array([[y, blue, red]], np.float32), (20, 1))


def light_of(ycc: Plane) -> Light:
    return Light.of(ycc, np.linspace(-1.0, 1.0, len(ycc), dtype=np.float32))


def test_a_street_that_headlamps_light_to_the_top_is_no_day() -> None:
    bright, shadow = cells(0.75, 0.0, 0.0), cells(0.15, 0.0, 0.0)
    street = np.concatenate([bright, np.tile(shadow, (2, 1))])
    assert light_of(street).by_night(True) == 1.0
    assert light_of(street).by_night(False) == light_of(street).dark  # near infrared tells leaves
    day = np.concatenate([bright, np.tile(cells(0.35, 0.0, 0.0), (2, 1))])
    assert light_of(day).by_night(True) == 0.0


def chosen(strength: float) -> Taken:
    """By a machine."""
    return Taken.of(strength, wished=False)


def wished(strength: float) -> Taken:
    """By somebody who asks for it."""
    return Taken.of(strength, wished=True)


def test_a_night_keeps_the_own_tone_unless_strength_asks_for_its_own() -> None:
    own = own_of(stripes())
    ycc = np.stack([own.ycc[0] * 0.2, own.ycc[1] - 0.05, own.ycc[2] + 0.05])
    night = light_of(cells(0.12))
    shown, _ = shown_of(ycc, own.confidence, own, night, chosen(1.0))
    np.testing.assert_allclose(shown[0], own.ycc[0], atol=1e-6)
    assert np.abs(shown[1:] - own.ycc[1:]).mean() > 0.005
    darker, _ = shown_of(ycc, own.confidence, own, night, chosen(2.0))
    assert darker[0].mean() < 0.5 * own.ycc[0].mean()
    halfway, _ = shown_of(ycc, own.confidence, own, night, chosen(1.5))
    assert darker[0].mean() < halfway[0].mean() < shown[0].mean()


def test_by_day_the_tone_of_the_reference_is_shown_where_it_keeps_the_structure() -> None:
    own = own_of(stripes())
    ycc = np.stack([0.9 - 0.8 * own.ycc[0], own.ycc[1] - 0.05, own.ycc[2] + 0.05])
    shown, _ = shown_of(ycc, own.confidence, own, light_of(cells(0.5)), chosen(1.0))
    np.testing.assert_allclose(shown[:, 8:-8, 8:-8], ycc[:, 8:-8, 8:-8], atol=0.02)


def test_thermal_keeps_its_tone_in_a_band_by_day_unless_strength_asks_for_the_reference_s() -> None:
    near_infrared = own_of(np.asarray(stripes() // 2, np.uint8))
    own = replace(near_infrared, look=replace(LOOK, unlit=None))
    ycc = near_infrared.ycc.copy()
    ycc[0] += 0.4
    under_a_sky = cells(0.5)
    under_a_sky[:4, 0] = 0.9
    day = light_of(under_a_sky)
    middle = np.s_[0, 8:-8, 8:-8]
    for one, strength, more in ((near_infrared, 1.0, 0.4), (own, 1.0, BAND[1]), (own, 2.0, 0.4)):
        shown, _ = shown_of(ycc, one.confidence, one, day, chosen(strength))
        np.testing.assert_allclose(shown[middle], one.ycc[middle] + more, atol=0.02)


def test_green_stays_green_under_the_tone_of_a_duller_reference() -> None:
    own = own_of(stripes())
    own.ycc[1:] = -0.08
    duller = np.stack([own.ycc[0] * 0.9, own.ycc[1] * 0.2, own.ycc[2] * -0.3])
    shown, _ = shown_of(duller, own.confidence, own, light_of(cells(0.5)), chosen(1.0))
    inside = np.s_[:, 8:-8, 8:-8]
    np.testing.assert_allclose(shown[inside][0], duller[inside][0], atol=0.02)
    np.testing.assert_allclose(shown[inside][1:], own.ycc[inside][1:], atol=0.02)


def test_where_the_structure_of_the_infrared_is_lost_the_own_picture_is_shown() -> None:
    own = own_of(stripes(), 0.6)
    smeared = flat(0.5, -0.1, 0.1)
    shown, sure = shown_of(smeared, np.ones(SIZE, np.float32), own, light_of(cells(0.5)), chosen(1.0))
    inside = np.s_[..., 8:-8, 8:-8]
    np.testing.assert_allclose(shown[inside], own.ycc[inside], atol=1e-6)
    np.testing.assert_allclose(sure[inside], 0.6, atol=1e-6)
    all_of_it, _ = shown_of(smeared, np.ones(SIZE, np.float32), own, light_of(cells(0.5)), chosen(2.0))
    np.testing.assert_allclose(all_of_it, smeared, atol=1e-6)
    nothing = np.full(SIZE, 90, np.uint8)
    assert kept(smeared[0], nothing).min() == pytest.approx(1.0)


@pytest.mark.parametrize(("blue", "red"), [(0.4, 0.3), (0.45, -0.1), (-0.1, 0.45), (0.1, 0.4)])
def test_glare_and_tail_lights_are_held_back_by_night(blue: float, red: float) -> None:
    own = own_of(np.full(SIZE, 200, np.uint8))
    night = light_of(cells(0.12))
    made = by_night(flat(0.3, blue, red), own.as_shown(), night, 1.0)
    assert np.hypot(made[1], made[2]).max() < LIFTED * (MOST + abs(night.cast)) + 0.005
    assert float((made[1] + np.sqrt(3) * made[2]).max()) / 2 < 0.02


def test_shadows_stay_as_they_are_by_night() -> None:
    own = own_of(np.full(SIZE, 20, np.uint8))
    made = by_night(flat(0.1, -0.05, 0.05), own.as_shown(), light_of(cells(0.12)), 1.0)
    np.testing.assert_allclose(made, own.as_shown(), atol=1e-6)


def test_what_is_not_known_is_shown_in_the_palette_of_before() -> None:
    unsure = own_of(np.full(SIZE, 200, np.uint8), 0.0)
    shown = unsure.as_shown()
    gray = 200 / 255
    np.testing.assert_allclose(
        shown[:, 0, 0], [gray, (gray - 0.3) * CALM[0], (gray - 0.3) * CALM[1]], atol=1e-6
    )


def test_what_thermal_does_not_know_is_shown_as_a_night_under_lamps() -> None:
    """By the look that ships: lifted, slate where it is cold, sand where it is warm, and black is black."""
    look = BANDS["thermal"].look
    colors = {}
    for level in (0, 64, 200):
        unsure = replace(own_of(np.full(SIZE, level, np.uint8), 0.0), look=look)
        tone, blue, red = unsure.as_shown()[:, 0, 0]
        gray = level / 255
        assert tone == pytest.approx(gray + LAMP_LIFT * gray * (1 - gray) ** 2, abs=1e-5)
        colors[level] = blue, red
        (given,) = shown_alone(unsure.ycc.transpose(1, 2, 0), unsure.confidence, unsure.luma, look)[0, :1]
        np.testing.assert_allclose(given, (tone, blue, red), atol=1e-6)
    assert colors[0] == (0.0, 0.0)
    assert colors[64][0] > 0.01
    assert colors[64][1] < -0.006
    np.testing.assert_allclose(colors[200], LAMP, atol=1e-3)


def test_a_picture_is_dark_by_its_median() -> None:
    assert light_of(cells(0.12)).dark == 1.0
    assert 0.0 < light_of(cells(0.22)).dark < 1.0
    assert light_of(cells(0.4)).dark == 0.0
    lamp = np.concatenate([cells(0.1), np.full((5, 3), 0.9, np.float32)])
    assert light_of(lamp).dark == 1.0
    assert abs(light_of(cells(0.1, -0.3, 0.3)).cast) == pytest.approx(0.03)


def test_a_brightened_night_is_told_by_its_sky_beside_thermal() -> None:
    night, day = cells(0.5), cells(0.5)
    day[:3, 0] = 0.9
    assert light_of(night).by_night(thermal=True) == 1.0
    assert light_of(night).by_night(thermal=False) == 0.0
    assert light_of(day).by_night(thermal=True) == 0.0
    night[:, 1] = 0.15  # a deep blue sky
    assert light_of(night).by_night(thermal=True) == 0.0


def test_a_night_s_tone_comes_to_thermal_beyond_a_strength_of_1_and_under_the_sensor_s_detail() -> None:
    own = replace(own_of(stripes()), look=replace(LOOK, unlit=None))
    own.ycc[0] += 0.3
    gray, inside = stripes().astype(np.float32) / 255, np.s_[8:-8, 8:-8]
    reference, away = flat(0.12, -0.02, 0.02), []
    for strength in (1.0, 1.25, 1.5, 1.75, 2.0):
        shown, _ = shown_of(reference, own.confidence, own, light_of(cells(0.12)), chosen(strength))
        away.append(float(np.square(shown - reference).mean()))
        if strength == 1.0:
            np.testing.assert_allclose(shown[0], own.ycc[0], atol=1e-6)
    assert max(np.diff(away)) < 0.0
    assert shown[0][inside].mean() < own.ycc[0].mean() - 0.3
    assert np.std(np.clip(shown[0], 0.0, 1.0)[inside]) > 0.6 * np.std(gray[inside])  # dark bars reach black


def test_a_night_that_is_wished_for_gives_thermal_its_tone_and_colors_up_to_a_strength_of_1() -> None:
    own = replace(own_of(stripes()), look=replace(LOOK, unlit=None))
    own.ycc[0] += 0.3
    gray, inside = stripes().astype(np.float32) / 255, np.s_[8:-8, 8:-8]
    red = flat(0.12, -0.03, 0.05)
    dark, brightened = light_of(cells(0.12, -0.03, 0.05)), light_of(cells(0.5))
    for night in (dark, brightened):
        tones, colors = [], []
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
            shown, _ = shown_of(red, own.confidence, own, night, wished(strength))
            tones.append(float(shown[0][inside].mean()))
            colors.append(float(np.hypot(*(shown[1:] - red[1:]))[:, 8:-8].mean()))
            if strength == 1.0:
                assert np.std(np.clip(shown[0], 0.0, 1.0)[inside]) > 0.6 * np.std(gray[inside])
        assert max(np.diff(tones[:5])) < -0.01
        np.testing.assert_allclose(tones[4:], tones[4])
        assert colors[4] < 0.5 * colors[0]


def test_what_is_wished_for_by_day_and_in_near_infrared_is_what_a_machine_chooses() -> None:
    near_infrared = own_of(stripes())
    thermal = replace(near_infrared, look=replace(LOOK, unlit=None))
    ycc = np.stack([near_infrared.ycc[0] * 0.6, near_infrared.ycc[1] - 0.05, near_infrared.ycc[2] + 0.05])
    under_a_sky = cells(0.5)
    under_a_sky[:4, 0] = 0.9
    for own, light in ((near_infrared, light_of(cells(0.12))), (thermal, light_of(under_a_sky))):
        for strength in (0.5, 1.0, 1.5):
            both = [shown_of(ycc, own.confidence, own, light, one(strength)) for one in (chosen, wished)]
            np.testing.assert_array_equal(both[0][0], both[1][0])


def test_an_own_blue_is_dimmed_with_a_night_that_is_wished_for() -> None:
    own = replace(own_of(np.full(SIZE, 120, np.uint8)), look=replace(LOOK, unlit=None))
    own.ycc[0], own.ycc[1], own.ycc[2] = 0.7, 0.12, -0.07
    shown, _ = shown_of(flat(0.1, 0.0, 0.0), own.confidence, own, light_of(cells(0.5)), wished(1.0))
    assert shown[0].mean() < 0.25
    assert np.hypot(*shown[1:]).mean() < 0.03


def test_an_evening_s_sky_comes_wholly_with_what_is_wished_for_and_is_no_mustard() -> None:
    own = replace(own_of(np.full(SIZE, 10, np.uint8)), look=replace(LOOK, unlit=None))
    own.ycc[0], own.ycc[1], own.ycc[2] = 0.65, 0.1, -0.07
    evening = flat(0.95, -0.04, 0.025)
    shown, _ = shown_of(evening, own.confidence, own, light_of(cells(0.5)), wished(1.0))
    assert shown[0].mean() > 0.55
    np.testing.assert_allclose(shown[1:, 8:-8, 8:-8], evening[1:, 8:-8, 8:-8], atol=0.01)


def test_who_is_warm_wears_nobody_s_color_in_a_night_that_is_wished_for() -> None:
    luma = np.full(SIZE, 40, np.uint8)
    luma[30:70, 56:66] = 170
    own = replace(own_of(luma), look=replace(LOOK, unlit=None))
    own.ycc[1:] = 0.0
    red = flat(0.15, -0.02, 0.12)
    shown, _ = shown_of(red, own.confidence, own, light_of(cells(0.5)), wished(1.0))
    someone, ground = (
        np.hypot(*shown[1:, 34:66, columns]).mean() for columns in (slice(58, 64), slice(8, 40))
    )
    assert ground > 0.08
    assert someone < 0.2 * ground


def test_headlamps_of_a_night_that_is_wished_for_light_no_road_of_now() -> None:
    own = replace(own_of(np.full(SIZE, 70, np.uint8)), look=replace(LOOK, unlit=None))
    ycc = flat(0.1, 0.0, 0.0)
    ycc[0, :, 64:] = 0.9
    shown, _ = shown_of(ycc, own.confidence, own, light_of(cells(0.12)), wished(1.0))
    dark, lit = shown[0][:, 8:40], shown[0][:, 88:-8]
    assert dark.mean() < 0.6 * own.ycc[0].mean()
    assert lit.max() < own.ycc[0].mean() + LAMPS + 0.01


def test_half_of_a_night_lies_over_thermal_where_its_tone_comes_and_less_where_it_is_wished_for() -> None:
    dark = light_of(cells(0.12))
    assert dark.laid_over(chosen(1.0), thermal=True) == 0.0
    assert dark.laid_over(chosen(2.0), thermal=True) == LAID_OVER
    assert dark.laid_over(wished(1.0), thermal=True) == WISHED_LAID
    assert 0.0 < dark.laid_over(wished(0.5), thermal=True) < WISHED_LAID < LAID_OVER
    assert dark.laid_over(wished(2.0), thermal=True) == LAID_OVER
    for taken in (chosen, wished):
        assert dark.laid_over(taken(1.0), thermal=False) == 0.0
        assert dark.laid_over(taken(2.0), thermal=False) == 1.0


def test_a_light_picture_without_a_sky_lies_over_the_frame_at_every_strength() -> None:
    """Stairs under a roof, a wood, a street by dusk: in a night's tone, with the scene's own detail."""
    light = light_of(cells(0.5))
    assert light.night_sky == 1.0
    for strength in (0.25, 1.0, 1.5, 2.0):
        for taken in (chosen, wished):
            assert light.laid_over(taken(strength), thermal=True) == 1.0


def test_a_reference_fades_towards_its_borders_but_not_at_the_frames() -> None:
    luma = np.full(SIZE, 90, np.uint8)
    whole = surely(np.eye(2, 3), luma, None)
    np.testing.assert_allclose(whole, 1.0, atol=1e-3)
    beside = surely(np.array([[1.0, 0.0, 0.4], [0.0, 1.0, 0.0]]), luma, None)
    assert beside[:, :60].min() > 0.99
    assert beside[:, 80:].max() < 0.01
    assert np.abs(np.diff(beside, axis=1)).max() < 0.25


def test_leaves_before_the_sky_are_not_explained_away() -> None:
    supported = np.zeros(SIZE, np.float32)
    assert surely(np.eye(2, 3), stripes(), supported)[20:-20, 20:-20].max() < 0.01
    smooth = np.asarray(cv2.GaussianBlur(stripes(), (0, 0), 25), np.uint8)
    assert surely(np.eye(2, 3), smooth, supported)[20:-20, 20:-20].min() > 0.99

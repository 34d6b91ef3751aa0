"""Color on the sensor's picture: its luma, its detail and its neutral places are respected."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor import color_space, guided
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.recolor.work_picture import reduced

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]


def scene(size: tuple[int, int] = (240, 320)) -> Luma:
    """Dark left, bright right with an edge between, texture everywhere."""
    texture = np.random.default_rng(5).normal(0, 12, size)
    luma = np.where(np.arange(size[1]) < size[1] // 2, 80.0, 170.0)[None] + texture
    return np.clip(luma, 0, 255).astype(np.uint8)


def small_of(luma: Luma, factor: int = 4) -> Luma:
    size = (max(1, luma.shape[1] // factor), max(1, luma.shape[0] // factor))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


def color(small: Luma, cb: float, cr: float, tone: float | None = None) -> tuple[Plane, Plane]:
    """(ycc, confidence) of one color everywhere; `tone` None leaves the luma."""
    ycc = np.empty((*small.shape, 3), np.float32)
    ycc[..., 0] = small / 255 if tone is None else tone
    ycc[..., 1:] = cb, cr
    return ycc, np.ones(small.shape, np.float32)


def recolored(luma: Luma, options: RecolorOptions, cb: float, cr: float, tone: float | None = None) -> Luma:
    small = small_of(luma)
    return Recoloring(options).apply(luma, small, *color(small, cb, cr, tone))


def chroma_of(rgb: NDArray[np.uint8]) -> Plane:
    return np.asarray(np.hypot(*np.moveaxis(color_space.rgb_to_ycc(rgb)[..., 1:], 2, 0)), np.float32)


@pytest.mark.parametrize(("cb", "cr"), [(0.0, 0.0), (-0.2, 0.1), (0.5, 0.5), (-0.5, -0.5), (0.1, 0.4)])
def test_chroma_mode_keeps_the_luma_within_rounding_even_where_the_gamut_ends(cb: float, cr: float) -> None:
    luma = np.random.default_rng(6).integers(0, 256, (60, 80), np.uint8)
    rgb = recolored(luma, RecolorOptions("chroma"), cb, cr)
    assert np.abs(color_space.rgb_to_luma(rgb).astype(int) - luma).max() <= 1


def test_the_color_is_the_networks_where_the_gamut_holds_it() -> None:
    rgb = recolored(scene(), RecolorOptions("chroma"), -0.1, 0.05)
    ycc = color_space.rgb_to_ycc(rgb)
    np.testing.assert_allclose(np.median(ycc[..., 1:], (0, 1)), [-0.1, 0.05], atol=0.005)


def test_full_mode_takes_the_base_tone_and_leaves_the_detail() -> None:
    from irchroma.engines.measures.metrics import detail_kept

    luma = scene()
    rgb = recolored(luma, RecolorOptions("full"), 0.0, 0.0, tone=0.5)
    out = color_space.rgb_to_luma(rgb)
    assert abs(float(out[:, :120].mean()) - 127.5) < 12  # from 80
    assert abs(float(out[:, 200:].mean()) - 127.5) < 12  # from 170
    kept, worst = detail_kept(luma, rgb)
    assert kept > 0.9
    assert worst > 0.5


def test_a_tone_at_the_end_of_the_range_does_not_clip_the_detail_away() -> None:
    from irchroma.engines.measures.metrics import detail_kept

    luma = scene()
    for tone in (0.0, 1.0):
        kept, _ = detail_kept(luma, recolored(luma, RecolorOptions("full"), 0.0, 0.0, tone))
        assert kept > 0.7


def test_where_the_network_is_unsure_its_tone_goes_too() -> None:
    luma = scene()
    small = small_of(luma)
    ycc, confidence = color(small, 0.2, -0.1, tone=0.9)
    confidence[:] = 0.0
    rgb = Recoloring(RecolorOptions("full")).apply(luma, small, ycc, confidence)
    assert np.abs(rgb.astype(int) - luma[..., None]).mean() < 2


def test_a_calm_palette_may_stand_for_color_that_is_not_known() -> None:
    luma = scene()
    small = small_of(luma)
    ycc, confidence = color(small, 0.2, -0.1)
    confidence[:] = 0.0
    rgb = Recoloring(RecolorOptions("chroma", instead="palette")).apply(luma, small, ycc.copy(), confidence)
    cb = color_space.rgb_to_ycc(rgb)[..., 1]
    assert float(np.median(cb[:, :100])) > 0.01 > -0.01 > float(np.median(cb[:, -100:]))
    assert float(chroma_of(rgb).mean()) < 0.08
    look = BandLook(instead="palette")
    by_look = Recoloring(RecolorOptions("chroma"), look).apply(luma, small, ycc.copy(), confidence)
    assert np.array_equal(by_look, rgb)
    asked = Recoloring(RecolorOptions("chroma", instead="gray"), look)
    assert chroma_of(asked.apply(luma, small, ycc.copy(), confidence)).max() < 0.01
    with pytest.raises(EngineOptionError, match="gray or palette"):
        RecolorOptions(instead="sepia")  # type: ignore[arg-type]
    with pytest.raises(EngineOptionError, match="unsure < sure"):
        RecolorOptions(unsure=0.5, sure=0.4)


def test_unsure_color_fades_to_neutral() -> None:
    luma = scene()
    small = small_of(luma)
    ycc, confidence = color(small, 0.2, -0.1)
    confidence[:, : small.shape[1] // 2] = 0.0
    chroma = chroma_of(Recoloring(RecolorOptions("chroma")).apply(luma, small, ycc, confidence))
    assert chroma[:, :120].max() < 0.02
    assert np.median(chroma[:, 200:]) > 0.2


def test_saturated_black_borders_and_text_stay_neutral() -> None:
    luma = scene((240, 320))
    luma[:20] = 16
    luma[100:140, 40:80] = 255
    text = np.zeros_like(luma)
    cv2.putText(text, "12:34:56", (170, 220), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    luma = np.maximum(luma, text)
    chroma = chroma_of(recolored(luma, RecolorOptions("chroma"), 0.15, 0.1))
    assert chroma[:20].max() < 0.01
    assert chroma[102:138, 42:78].max() < 0.01
    assert np.median(chroma[text == 255]) < 0.01
    assert np.median(chroma[30:90]) > 0.15


def test_a_leaf_that_clips_the_sensor_stays_green_in_near_infrared() -> None:
    luma = scene((240, 320))
    luma[100:140, 60:100] = 255
    small = small_of(luma)
    for band, least, most in (("nir", 0.05, 0.2), ("thermal", 0.0, 0.001)):
        recoloring = Recoloring(look=replace(catalog.BANDS["nir"].look, unlit=catalog.BANDS[band].look.unlit))
        rgb = recoloring.apply(luma, small, *color(small, -0.08, -0.05, 0.4))
        y, _, _ = recoloring.planes(luma, small, *color(small, -0.08, -0.05, 0.4))
        assert y[110:130, 70:90].max() < 170
        assert least <= chroma_of(rgb)[110:130, 70:90].mean() < most


def test_the_chroma_limit_is_never_passed() -> None:
    chroma = chroma_of(recolored(scene(), RecolorOptions("chroma", chroma_limit=20.0), 0.3, -0.2))
    assert chroma.max() * 255 <= 21.5
    assert np.median(chroma) * 255 > 18
    gray = recolored(scene(), RecolorOptions("chroma", chroma_limit=0.0), 0.3, -0.2)
    assert np.ptp(gray, axis=2).max() == 0


def test_color_does_not_bleed_over_a_strong_edge() -> None:
    luma = scene((480, 640))
    small = small_of(luma, 8)
    ycc, confidence = color(small, 0.0, 0.0)
    ycc[:, small.shape[1] // 2 :, 1] = 0.2
    ycc[..., 1] = cv2.blur(ycc[..., 1], (5, 5))  # as blurred as a network's color at stride 4
    cb = color_space.rgb_to_ycc(Recoloring(RecolorOptions("chroma")).apply(luma, small, ycc, confidence))[
        ..., 1
    ]
    assert np.median(cb[:, 300:318]) < 0.03
    assert np.median(cb[:, 322:340]) > 0.15


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (16, 16), (33, 47), (3, 900)])
def test_tiny_and_odd_sizes_work_one_after_the_other(size: tuple[int, int]) -> None:
    recoloring = Recoloring()
    for shape in ((24, 40), size):
        luma = np.random.default_rng(8).integers(0, 256, shape, np.uint8)
        small = small_of(luma, 2)
        rgb = recoloring.apply(luma, small, *color(small, 0.1, 0.1))
        assert rgb.shape == (*shape, 3)
        assert rgb.dtype == np.uint8


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(EngineOptionError, match="use full or chroma"):
        RecolorOptions("luma")  # type: ignore[arg-type]
    with pytest.raises(EngineOptionError, match="outside 0"):
        RecolorOptions(chroma_limit=300)


def test_black_borders_come_out_as_they_went_in_whatever_the_network_wants() -> None:
    luma = scene((240, 320))
    luma[:24], luma[:, 300:] = 16, 16
    rgb = recolored(luma, RecolorOptions("full"), 0.1, 0.1, tone=0.8)
    assert np.abs(rgb[:24].astype(int) - luma[:24, :, None]).max() <= 1
    assert np.abs(rgb[24:, 300:].astype(int) - 16).max() <= 1
    assert color_space.rgb_to_luma(rgb)[60:200, 40:260].mean() > 170


def test_colors_are_calmer_in_a_night_that_is_mostly_unlit() -> None:
    day = scene((240, 320))
    night = day.copy()
    night[:120] = np.linspace(5, 30, 120)[:, None]
    by_day, by_night = (
        chroma_of(recolored(luma, RecolorOptions("chroma"), -0.12, 0.05)) for luma in (day, night)
    )
    assert by_night[:80].max() < 0.03
    assert 0.45 < np.median(by_night[140:]) / np.median(by_day[140:]) < 0.7
    thermal = Recoloring(RecolorOptions("chroma"), BandLook(unlit=None))
    small = small_of(night)
    kept = chroma_of(thermal.apply(night, small, *color(small, 0.03, -0.01)))
    assert np.median(kept[50:110]) > 0.025  # dark is cold there, not unlit


def test_a_day_is_brightened_and_a_dark_scene_is_not() -> None:
    day = scene((240, 320))
    dark = (day * 0.3).astype(np.uint8)
    bright = catalog.BANDS["thermal"].look
    plain = replace(bright, tone=replace(bright.tone, exponent=1.0))
    lift = {}
    for name, luma in (("day", day), ("dark", dark)):
        small = small_of(luma)
        shown = [
            color_space.rgb_to_luma(Recoloring(None, look).apply(luma, small, *color(small, 0.0, 0.0, 0.4)))
            for look in (plain, bright)
        ]
        lift[name] = float(np.median(shown[1].astype(int) - shown[0]))
    assert lift["day"] > 15
    assert lift["dark"] == 0


def test_near_infrared_gets_the_contrast_that_a_mean_of_what_may_be_lacks() -> None:
    luma = scene()
    small = small_of(luma)
    shown = {}
    for tone in (0.15, 0.37, 0.7):
        rgb = Recoloring(look=catalog.look_of("nir", "best")).apply(luma, small, *color(small, 0, 0, tone))
        shown[tone] = float(color_space.rgb_to_luma(rgb)[:, :120].mean()) / 255
    assert shown[0.15] < 0.15 - 0.01
    assert shown[0.37] == pytest.approx(0.37, abs=0.02)
    assert shown[0.7] > 0.7 + 0.015


def test_contrast_goes_with_the_light_of_day_in_near_infrared_alone() -> None:
    nir, thermal = (catalog.BANDS[band].look.tone for band in ("nir", "thermal"))
    assert nir.in_scene(0.0).curve > 0
    assert nir.in_scene(0.5).curve == pytest.approx(nir.curve / 2)
    assert nir.in_scene(1.0).curve == 0
    assert thermal.in_scene(1.0).curve == thermal.curve


def test_brightening_glides_with_darkness() -> None:
    tone = catalog.BANDS["thermal"].look.tone
    exponents = [tone.in_scene(darkness).exponent for darkness in np.linspace(0, 1, 101)]
    assert exponents[0] == tone.exponent
    assert exponents[-1] == 1
    steps = np.diff(exponents)
    assert steps.min() >= 0
    assert steps.max() < 0.02, "nothing jumps"


def test_what_no_lamp_reaches_is_late_dusk() -> None:
    """Blue and brighter than the sensor has it; by day it is not."""
    night = scene((240, 320))
    night[:120] = np.random.default_rng(3).integers(10, 24, (120, 320))
    day = night.copy()
    day[20:120] = scene((240, 320))[20:120]
    by_day, by_night = (
        color_space.rgb_to_ycc(recolored(luma, RecolorOptions(), 0.0, 0.0)) for luma in (day, night)
    )
    assert np.median(by_night[30:100, :, 1]) > 0.015
    assert np.median(by_night[30:100, :, 2]) < 0.0
    assert np.median(by_night[30:100, :, 0]) > np.median(night[30:100]) / 255 + 0.03
    assert np.median(by_day[:12, :, 1]) < 0.005


def test_nothing_that_a_lamp_lights_is_blue() -> None:
    day = scene((240, 320))
    night = day.copy()
    night[:120] = np.linspace(5, 30, 120)[:, None]
    by_day, by_night = (
        chroma_of(recolored(luma, RecolorOptions("chroma"), 0.12, -0.05)) for luma in (day, night)
    )
    assert np.median(by_day[140:]) > 0.1
    assert np.median(by_night[140:]) < 0.01


def test_patches_of_color_on_one_surface_are_evened_out_by_night_alone() -> None:
    lamp = np.full((120, 160), 14, np.uint8)
    lamp[50:, 20:140] = 110
    ycc = np.zeros((120, 160, 3), np.float32)
    ycc[..., 0] = lamp / np.float32(255)
    ycc[50:, 20:80, 1], ycc[50:, 80:140, 2] = -0.1, 0.1
    sure = np.ones((120, 160), np.float32)

    def difference(luma: np.ndarray) -> float:
        rgb = Recoloring().apply(luma, luma, ycc, sure).astype(int)
        return float(np.abs(rgb[90, 70] - rgb[90, 90]).max())

    day = np.where(lamp < 50, np.uint8(90), lamp)
    assert difference(day) > 20
    assert difference(lamp) < 0.4 * difference(day)  # 0.6 without evening out


@pytest.mark.parametrize("band", ["nir", "thermal"])
@pytest.mark.parametrize("mode", ["full", "chroma"])
def test_planes_are_the_packed_picture(band: str, mode: str) -> None:
    random = np.random.default_rng(3)
    coarse = cv2.resize(random.normal(120, 60, (12, 16)), (640, 480), interpolation=cv2.INTER_CUBIC)
    luma = np.clip(coarse + random.normal(0, 4, coarse.shape), 0, 255).astype(np.uint8)
    luma[:40], luma[300:320, 100:140] = 0, 255
    small = reduced(luma, (240, 320))
    ycc = cv2.GaussianBlur(random.normal(0, 1, (240, 320, 3)), (0, 0), 12).astype(np.float32) * 3
    ycc[..., 0] = np.clip(ycc[..., 0] + small / np.float32(255), 0, 1)
    confidence = np.full((240, 320), 0.8, np.float32)
    recoloring = Recoloring(RecolorOptions(mode=mode), catalog.BANDS[band].look)  # type: ignore[arg-type]
    rgb = recoloring.apply(luma, small, ycc, confidence)
    found = recoloring.planes(luma, small, ycc, confidence)
    half = cv2.resize(rgb, (320, 240), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    level = {"y": rgb.astype(np.float32) / 255 @ np.float32([0.2126, 0.7152, 0.0722])}
    light = half @ np.float32([0.2126, 0.7152, 0.0722])
    expected = (
        16 + 219 * level["y"],
        128 + 224 * (half[..., 2] - light) / 1.8556,
        128 + 224 * (half[..., 0] - light) / 1.5748,
    )
    for plane, wanted, least_db in zip(found, expected, (45.0, 38.0, 38.0), strict=True):
        assert plane.shape == wanted.shape
        error = float(np.mean((plane - wanted) ** 2))
        assert 10 * np.log10(255**2 / error) > least_db


def test_planes_of_a_warm_roof_before_a_cold_sky_have_no_dashes_in_it() -> None:
    row, column = np.mgrid[:480, :640].astype(np.float32)
    roof = np.clip((row - 120 - np.float32(0.6) * column) * np.float32(0.7), 0, 1)
    luma = (90 + 130 * roof).astype(np.uint8)
    small, there = reduced(luma, (240, 320)), reduced((roof * 255).astype(np.uint8), (240, 320)) / 255
    ycc = np.dstack([0.75 - 0.1 * there, 0.1 - 0.12 * there, 0.06 * there - 0.05]).astype(np.float32)
    recoloring = Recoloring(look=catalog.BANDS["thermal"].look)
    parts = (luma, small, ycc, np.ones(small.shape, np.float32))
    y, _, _ = recoloring.planes(*parts)
    wanted = 16 + 219 / 255 * (recoloring.apply(*parts) @ np.float32([0.2126, 0.7152, 0.0722]))
    assert np.abs(y - wanted).max() < 3  # 25 where slopes were enlarged otherwise than their offsets


def test_planes_of_odd_sizes_round_up() -> None:
    recoloring = Recoloring()
    luma = np.full((61, 83), 90, np.uint8)
    ycc = np.zeros((61, 83, 3), np.float32)
    y, cb, cr = recoloring.planes(luma, luma, ycc + np.float32([0.35, 0, 0]), ycc[..., 0] + 1)
    assert y.shape == (61, 83)
    assert cb.shape == cr.shape == (31, 42)
    assert np.ptp(cb) == np.ptp(cr) == 0
    assert cb[0, 0] == cr[0, 0] == 128


@pytest.mark.parametrize("factor", [1, 4])
def test_planes_stay_within_the_range_of_video_and_borders_of_black_black(factor: int) -> None:
    luma = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (240, 320), np.uint8), (0, 0), 1.5)
    luma = np.clip((luma.astype(int) - 128) * 4 + 128, 0, 255).astype(np.uint8)
    luma[:40] = 0
    small = small_of(luma, factor)
    for tone in (0.0, 1.0):
        y, _, _ = Recoloring().planes(luma, small, *color(small, 0.1, 0.1, tone))
        assert y.min() >= 16
        assert y.max() <= 235
        assert (y[:40] == 16).all()


@pytest.mark.parametrize("mode", ["full", "chroma"])
def test_a_large_picture_in_strips_is_the_same_to_the_byte(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    luma = scene((480, 640))
    small = small_of(luma)
    ycc, confidence = color(small, 0.05, -0.04, 0.6)
    made = []
    for pixels in (480 * 640, 50 * 640):
        monkeypatch.setattr(guided, "STRIP", pixels)
        recoloring = Recoloring(RecolorOptions(mode=mode))  # type: ignore[arg-type]
        made.append(recoloring.planes(luma, small, ycc, confidence))
    for whole, parts in zip(*made, strict=True):
        np.testing.assert_array_equal(whole, parts)

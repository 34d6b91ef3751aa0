"""The base tone: follows the network in the large, leaves the sensor's small things and casts no halos."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.recolor import guided
from irchroma.engines.recolor.base_tone import ToneOptions, base_tone, mean_square
from irchroma.engines.recolor.smooth_places import lead_by_smooth_places

Plane = NDArray[np.float32]
THERMAL = catalog.BANDS["thermal"].look.tone
NIR = replace(catalog.BANDS["nir"].look.tone, curve=0.0, pivot=0.55)


def shown(luma: NDArray[np.uint8], tone: Plane, options: ToneOptions) -> Plane:
    """The luma that comes out, [0, 1], of a picture at work size."""
    guide = luma.astype(np.float32) / 255
    change = base_tone(guided.windows(guide, options.radius_px), mean_square(luma, luma.shape), tone, options)
    return np.asarray(guide + change.slope * guide + change.offset, np.float32)


def test_a_picture_that_the_network_leaves_alone_stays_as_it_is() -> None:
    luma = np.random.default_rng(1).integers(40, 200, (120, 160), np.uint8)
    out = shown(luma, luma.astype(np.float32) / 255, NIR)
    np.testing.assert_allclose(out, luma / 255, atol=0.02)


def test_a_flat_region_takes_the_networks_tone() -> None:
    luma = np.full((120, 160), 60, np.uint8)
    tone = np.full(luma.shape, 0.7, np.float32)
    assert abs(float(shown(luma, tone, NIR).mean()) - 0.7) < 0.01
    hot = shown(np.full((120, 160), 220, np.uint8), np.full(luma.shape, 0.4, np.float32), THERMAL)
    assert abs(float(hot.mean()) - 0.4**0.75) < 0.06, "a hot person's dark jacket is dark"


def test_a_dark_pole_in_a_brightened_sky_has_no_halo() -> None:
    luma = np.full((120, 160), 190, np.uint8)
    luma[:, 78:81] = 50
    tone = np.full(luma.shape, 0.93, np.float32)
    tone[:, 78:81] = 0.2
    out = shown(luma, cv2.GaussianBlur(tone, (0, 0), 2.0), NIR)
    sky = out[:, 20:50].mean()
    assert np.abs(out[:, 55:75] - sky).max() < 0.06
    assert out[:, 79].max() < sky - 0.4


def test_a_sunlit_tree_in_a_brightened_sky_has_no_dark_ring() -> None:
    luma = np.full((120, 160), 95.0)
    luma[40:80, 60:100] = np.random.default_rng(2).normal(210, 25, (40, 40))
    luma = np.clip(luma, 0, 250).astype(np.uint8)
    tone = np.full(luma.shape, 0.65, np.float32)
    tone[40:80, 60:100] = luma[40:80, 60:100] / np.float32(255)
    out = shown(luma, cv2.GaussianBlur(tone, (0, 0), 1.5), NIR)
    sky = out[:20].mean()
    for beside in (out[30:37, 60:100], out[83:90, 60:100], out[40:80, 50:57], out[40:80, 103:110]):
        assert np.abs(beside - sky).max() < 0.03


def test_bright_foliage_before_a_dark_sky_is_turned_around_with_its_texture_kept() -> None:
    random = np.random.default_rng(3)
    luma = np.full((120, 160), 90.0)
    luma[:, 80:] = 190
    luma = np.clip(luma + random.normal(0, 8, luma.shape), 0, 255).astype(np.uint8)
    tone = 0.95 - luma.astype(np.float32) / 255 * 0.9
    out = shown(luma, tone, replace(NIR, radius_px=2, contrast=0.02))
    assert out[:, 20:70].mean() - out[:, 90:140].mean() > 0.25
    edge = out[:, 76:84].mean(axis=0)
    assert (np.diff(edge) < 0.02).all(), "no seam on the way from one side to the other"
    kept = np.corrcoef(luma[20:100, 100:140].ravel(), out[20:100, 100:140].ravel())[0, 1]
    assert kept < -0.9
    assert 0.0 <= out.min() <= out.max() <= 1.0


def test_a_curve_makes_what_is_dark_darker_and_what_is_bright_brighter() -> None:
    luma = np.repeat(np.linspace(10, 245, 160).astype(np.uint8)[None], 120, axis=0)
    plain, curved = (
        shown(luma, luma.astype(np.float32) / 255, replace(NIR, curve=curve)) for curve in (0.0, 1.5)
    )
    assert curved[60, 50] < plain[60, 50] - 0.05
    assert curved[60, 125] > plain[60, 125] + 0.02
    assert abs(float(curved[60, 88] - plain[60, 88])) < 0.02
    assert (np.diff(curved[60, 8:-8]) > -0.01).all(), "no tone is turned around"
    assert 0.0 <= curved.min() <= curved.max() <= 1.0


def test_detail_gains_what_is_asked_where_the_curve_would_take_some() -> None:
    texture = np.random.default_rng(5).normal(190, 9, (120, 160))  # bright: an exponent below 1 flattens it
    luma = np.clip(texture, 0, 255).astype(np.uint8)
    tone = np.full(luma.shape, 0.75, np.float32)
    options = replace(NIR, curve=0.6, exponent=0.75)
    plain, gained = (shown(luma, tone, replace(options, detail_gain=gain)) for gain in (1.0, 1.12))
    assert gained[10:-10, 10:-10].mean() == pytest.approx(plain[10:-10, 10:-10].mean(), abs=0.01)
    assert gained[10:-10, 10:-10].std() / plain[10:-10, 10:-10].std() == pytest.approx(1.12, abs=0.02)


def test_an_exponent_below_1_makes_a_picture_brighter_and_turns_no_tone_around() -> None:
    luma = np.tile(np.linspace(20, 235, 160).astype(np.uint8), (120, 1))
    options = replace(NIR, curve=0.6)
    plain, bright = (
        shown(luma, luma.astype(np.float32) / 255, replace(options, exponent=exponent))
        for exponent in (1.0, 0.75)
    )
    # The base is x ** 0.75: 0.5 becomes 0.59; black and white stay.
    middle = float(plain[60, 80])
    assert float(bright[60, 80]) == pytest.approx(middle**0.75, abs=0.02)
    assert abs(float(bright[60, 150]) - float(plain[60, 150])) < 0.05
    assert (np.diff(bright[60, 8:-8]) > -0.01).all()


def test_a_thermal_sky_brightens_and_the_trees_below_keep_their_texture() -> None:
    """Without smooth places, which lead the tone of what is shown."""
    luma = np.full((180, 320), 25, np.uint8)
    texture = np.random.default_rng(2).normal(130, 30, (100, 320))
    luma[80:] = np.clip(texture, 0, 255).astype(np.uint8)
    tone = np.full(luma.shape, 0.3, np.float32)
    tone[:80] = 0.8
    out = shown(luma, cv2.GaussianBlur(tone, (0, 0), 3.0), THERMAL)
    assert out[:60].mean() > 0.8
    before, after = luma[110:] / 255, out[110:]
    assert after.std() > 0.8 * before.std()
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def before_a_sky(luma: Plane, tone: Plane, turned: float, cb: float | Plane = 0.1, cr: float = 0.0) -> Plane:
    """What comes out, [0, 1], of a thermal picture (h, w) with that Cb where it is cold, or with a plane of
    Cb, with that Cr all over, and of its tone, by smooth places too."""
    guide, tone = luma.astype(np.float32), tone.copy()
    blue = np.where(luma < 0.2, np.float32(cb), np.float32(0)) if isinstance(cb, float) else cb.copy()
    smooth = lead_by_smooth_places(guide, (tone, blue, np.full_like(blue, cr)), halved=True, lead=0.7)
    options = replace(THERMAL, turned=turned, curve=0.0, exponent=1.0, detail_gain=1.0)
    seen, square = guided.windows(guide, options.radius_px), guide * guide
    change = base_tone(seen, square, tone, options, smooth)
    return np.asarray(guide + change.slope * guide + change.offset, np.float32)


def test_a_warm_wire_before_a_brightened_cold_sky_is_dark() -> None:
    luma = np.full((120, 160), 0.1, np.float32)
    luma[:, 80:82] = 0.3
    tone = luma + np.float32(0.6)  # a network that keeps the sensor's detail paints it white
    white, dark = (before_a_sky(luma, tone, turned) for turned in (0.0, 1.2))
    assert white[60, 80] > white[60, 40] + 0.1
    assert dark[60, 80] < dark[60, 40] - 0.1
    assert np.abs(dark[20:100, 60:70] - 0.7).max() < 0.03, "no glow beside it"


def test_a_ridge_before_a_brightened_cold_sky_has_no_seam() -> None:
    luma = np.full((120, 160), 0.1, np.float32)
    luma[60:] = 0.5
    flat = np.where(luma < 0.3, np.float32(0.7), np.float32(0.5))
    tone = cv2.GaussianBlur(flat, (0, 0), 3) + luma - cv2.GaussianBlur(luma, (0, 0), 3)
    seamed, clean = (before_a_sky(luma, tone, turned) for turned in (0.0, 1.2))
    assert seamed[60:66, 20:140].max() > 0.6
    assert clean[60:66, 20:140].max() < 0.56
    assert clean[52:60, 20:140].min() > 0.58 > seamed[52:60, 20:140].min()


def test_a_warm_cloud_before_a_brightened_cold_sky_is_bright_and_has_no_rim() -> None:
    row, column = np.mgrid[:120, :160].astype(np.float32)
    cover = 0.5 + 0.5 * np.sin(row / 9) * np.cos(column / 11)  # wisps a dozen pixels wide, soft as clouds are
    luma = np.float32(0.1) + np.float32(0.3) * cover
    tone = np.float32(0.65) + np.float32(0.5) * (luma - np.float32(0.1))
    blue = np.full_like(luma, 0.1)
    found = before_a_sky(luma, tone, 1.6, blue)
    np.testing.assert_allclose(found, before_a_sky(luma, tone, 0.0, blue), atol=0.01)
    wire = luma.copy()
    wire[:, 80:82] += 0.2
    crossed = before_a_sky(wire, tone + wire - luma, 1.6, blue)
    beside = (crossed[:, 70] + crossed[:, 90]) / 2
    assert (crossed[20:100, 80] < beside[20:100]).mean() > 0.9, "a wire before the cloud is dark"


@pytest.mark.parametrize("side_px", [160, 320, 416])
def test_a_pole_is_told_from_a_cloud_by_how_soft_it_is_in_its_picture(side_px: int) -> None:
    row, column = np.mgrid[:120, :side_px].astype(np.float32) * np.float32(320 / side_px)
    cover = 0.5 + 0.5 * np.sin(row / 6) * np.cos(column / 7)
    pole = np.float32(0.25) * np.exp(-(((column - 160) / 3) ** 2))  # out of focus
    pale, dark = np.float32(0.1) + np.float32(0.25) * cover, np.float32(0.1) + pole
    blue = np.full_like(pale, 0.1)
    tone = pale * np.float32(0.5) + np.float32(0.6)
    as_it_is, cloud = (before_a_sky(pale, tone, turned, blue) for turned in (0.0, 1.6))
    np.testing.assert_allclose(cloud, as_it_is, atol=0.02)
    made = before_a_sky(dark, dark + np.float32(0.6), 1.6, blue)
    assert made[60, side_px // 2] < made[60, side_px // 4] - 0.1


def test_a_wall_before_a_brightened_cold_sky_has_no_black_outline() -> None:
    luma = np.full((120, 160), 0.1, np.float32)
    luma[:, 60:100], luma[:, 60:63], luma[:, 97:100] = 0.3, 0.5, 0.5  # its edges warmer, as seen at night
    tone = cv2.GaussianBlur(np.where(luma < 0.2, np.float32(0.63), np.float32(0.5)), (0, 0), 2)
    made = before_a_sky(luma, tone, 1.6)
    assert made[20:100].min() > 0.16  # 0.04 where nothing held it
    wire = np.full_like(luma, 0.1)
    wire[:, 80:82] = 0.3
    assert before_a_sky(wire, wire + np.float32(0.6), 1.6)[60, 80] < 0.45


def test_noise_in_a_brightened_cold_sky_is_calm_and_a_cloud_and_a_bird_are_seen() -> None:
    noise = np.random.default_rng(4).normal(0, 0.012, (120, 160)).astype(np.float32)
    row, column = np.mgrid[:120, :160].astype(np.float32)
    cloud = np.float32(0.02) * (1 + np.sin(row / 9) * np.cos(column / 11))
    bird = np.zeros_like(noise)
    bird[60, 80] = 0.15
    spread = {}
    for name, seen in (("noise", noise), ("cloud", cloud), ("bird", bird)):
        luma = np.float32(0.1) + seen
        before, made = (
            before_a_sky(luma, luma + np.float32(0.6), turned, np.full_like(luma, 0.1))
            for turned in (0.0, 1.6)
        )
        spread[name] = float(made[20:100, 20:140].std() / before[20:100, 20:140].std())
    assert spread["noise"] < 0.5
    assert spread["cloud"] > 0.9
    assert spread["bird"] > 0.9


def test_a_crown_that_is_darker_than_its_sky_is_turned_around_however_soft_it_is() -> None:
    row, column = np.mgrid[:120, :160].astype(np.float32)
    crown = row > 60 + 6 * np.sin(column / 3)
    luma = cv2.GaussianBlur(np.where(crown, np.float32(0.22), np.float32(0.1)), (0, 0), 2)
    tone = np.where(row > 60, np.float32(0.4), np.float32(0.7))
    tone = cv2.GaussianBlur(tone, (0, 0), 6) + luma - cv2.GaussianBlur(luma, (0, 0), 6)
    tips, between = (part & (row > 52) & (row < 60) for part in (luma > 0.18, luma < 0.14))
    pale, dark = (before_a_sky(luma, tone, turned) for turned in (0.0, 1.6))
    assert pale[between].mean() - pale[tips].mean() < 0.04
    assert dark[between].mean() - dark[tips].mean() > 0.08


def test_a_brightened_wall_that_is_no_sky_is_not_turned_around() -> None:
    luma = np.full((120, 160), 0.1, np.float32)
    luma[:, 80:82] = 0.3
    made = [before_a_sky(luma, luma + np.float32(0.6), turned, cb=-0.03) for turned in (1.2, 0.0)]
    np.testing.assert_array_equal(*made)


def test_what_is_cold_and_stays_dark_is_not_turned_around() -> None:
    luma = np.full((120, 160), 0.1, np.float32)
    luma[:, 80:82] = 0.3
    np.testing.assert_array_equal(before_a_sky(luma, luma, 1.2), before_a_sky(luma, luma, 0.0))


def test_a_gap_among_leaves_is_no_black_speck_and_a_dark_window_stays_dark() -> None:
    luma = np.full((120, 160), 0.4, np.float32)
    luma[58:61, 78:81] = 0.1
    tone = luma - np.float32(0.1)
    made = {cb: before_a_sky(luma, tone, 1.6, np.full_like(luma, cb)) for cb in (-0.09, -0.01)}
    plain = before_a_sky(luma, tone, 0.0)
    np.testing.assert_array_equal(made[-0.01], plain)
    assert plain[59, 79] < 0.05
    assert 0.12 < made[-0.09][59, 79] < made[-0.09][59, 40] - 0.08
    np.testing.assert_allclose(made[-0.09][:40], plain[:40], atol=1e-3)


@pytest.mark.parametrize(
    ("cb", "cr"), [(-0.055, 0.1), (-0.06, 0.03), (-0.09, 0.04)], ids=["brick", "beige", "sand"]
)
def test_a_cold_window_in_a_warm_wall_is_no_gap_among_leaves(cb: float, cr: float) -> None:
    luma = np.full((120, 160), 150 / 255, np.float32)
    for row, column in ((30, 40), (58, 78), (80, 110)):
        luma[row : row + 4, column : column + 6] = 20 / 255
    tone = luma - np.float32(0.05)
    of_color = np.full_like(luma, cb)
    np.testing.assert_array_equal(
        before_a_sky(luma, tone, 1.6, of_color, cr), before_a_sky(luma, tone, 0.0, of_color, cr)
    )
    green = before_a_sky(luma, tone, 1.6, of_color, -0.01)
    assert green[60, 80] > before_a_sky(luma, tone, 1.6, of_color, cr)[60, 80] + 0.1

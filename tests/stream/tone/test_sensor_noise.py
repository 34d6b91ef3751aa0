from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.tone import sensor_noise
from irchroma.stream.tone.options import ToneMapOptions
from irchroma.stream.tone.sensor_noise import NoiseMeter, StripeRemoval
from irchroma.stream.tone.tone_map import NOISE_LEVELS, ToneMap

SIZE = (120, 160)
SECOND = 1_000_000_000


def noise(number: int, deviation: float) -> NDArray[np.float64]:
    return np.random.default_rng(number).normal(0, deviation, SIZE)


def scene(span: float) -> NDArray[np.float64]:
    """Slopes, and a textured quarter as of foliage."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    made = 8000 + span * (0.5 + 0.25 * np.sin(x / 30) + 0.25 * np.cos(y / 25))
    made[:60, :80] += np.random.default_rng(99).normal(0, span / 8, (60, 80))
    return made


def counts(span: float, deviation: float, number: int = 0) -> NDArray[np.uint16]:
    return np.rint(scene(span) + noise(number, deviation)).astype(np.uint16)


@pytest.mark.parametrize("deviation", [2.0, 5.0, 20.0])
def test_noise_is_measured_beside_slopes_and_texture(deviation: float) -> None:
    meter = NoiseMeter()
    meter.look(counts(1000, deviation), 0.0)
    assert meter.deviation == pytest.approx(deviation, rel=0.2)


def test_a_pattern_that_stands_still_counts_as_noise_and_a_pan_over_texture_does_not() -> None:
    still, panned = NoiseMeter(), NoiseMeter()
    wide = np.random.default_rng(1).normal(0, 1, (140, 400))
    smooth = np.stack([np.roll(wide, k, 1) for k in range(9)]).mean(0) * 60 + 8000
    for number in range(8):
        still.look(counts(500, 4.0), 0.5)
        panned.look(np.rint(smooth[:120, 9 * number : 160 + 9 * number]).astype(np.uint16), 0.5)
    assert still.deviation == pytest.approx(4.0, rel=0.2)
    assert panned.deviation < 20  # the frames themselves differ by 28


@pytest.mark.parametrize("method", ["linear", "plateau"])
@pytest.mark.parametrize("span", [20.0, 120.0])
def test_noise_stays_below_the_visible_level_however_little_contrast_there_is(
    method: str, span: float
) -> None:
    options = ToneMapOptions(method=method)  # type: ignore[arg-type]
    tone_map = ToneMap(options)
    for number in range(60):
        luma = tone_map.apply(counts(span, 5.0, number), number * SECOND // 9)
    clean = tone_map.apply(np.rint(scene(span)).astype(np.uint16), 7 * SECOND, held=True)
    shown = (luma.astype(float) - clean)[60:]
    assert shown.std() < 1.15 * NOISE_LEVELS


def test_a_scene_with_contrast_is_shown_as_if_there_were_no_noise() -> None:
    options = ToneMapOptions(method="linear")
    quiet = ToneMap(options).apply(np.rint(scene(2000)).astype(np.uint16), 0).astype(int)
    assert np.abs(quiet - ToneMap(options).apply(counts(2000, 5.0), 0)).mean() < 3


def test_noise_that_grows_gives_up_contrast_without_a_jump() -> None:
    tone_map, before, worst = ToneMap(), None, 0.0
    at = np.rint(scene(300)).astype(int)[::7, ::7]
    for number in range(180):
        tone_map.apply(counts(300, 3.0 if number < 60 else 9.0, number), number * SECOND // 9)
        assert tone_map.lut is not None
        luma = tone_map.lut[at].astype(float)
        worst = max(worst, float(np.abs(luma - before).max()) if before is not None else 0.0)
        before = luma
    assert worst <= 2


def stripes(deviation: float) -> NDArray[np.float64]:
    return np.random.default_rng(3).normal(0, deviation, SIZE[1])[None]


def removed(frames: list[NDArray[np.uint16]], deviation: float) -> NDArray[np.uint16]:
    removal = StripeRemoval()
    for frame in frames:
        cleaned = removal.apply(frame, deviation)
    return cleaned


def test_stripes_are_found_and_taken_out() -> None:
    frames = [np.rint(scene(400) + stripes(3.0) + noise(n, 4.0)).astype(np.uint16) for n in range(80)]
    cleaned = removed(frames, 4.0)
    assert cleaned is not frames[-1]
    clean = np.rint(scene(400) + noise(79, 4.0))
    left = (cleaned - clean)[60:].mean(0)
    before = (frames[-1] - clean)[60:].mean(0)
    sharp = np.array([-0.5, 1, -0.5])
    assert np.convolve(left, sharp, "valid").std() < 0.4 * np.convolve(before, sharp, "valid").std()


def test_noise_alone_and_a_single_picture_have_no_stripes_taken_out() -> None:
    frames = [counts(400, 4.0, n) for n in range(40)]
    cleaned = removed(frames, 4.0)
    assert cleaned is frames[-1]
    striped = np.rint(scene(400) + stripes(3.0)).astype(np.uint16)
    assert StripeRemoval().apply(striped, 4.0) is striped


def dim(gain: float = 1.0) -> NDArray[np.uint8]:
    """A thermal camera's 8 bits at dusk: all dark, two people hot."""
    y, x = np.mgrid[:120, :160]
    made = 26 + 8 * np.sin(x / 14) * np.cos(y / 11) + 3 * np.sin(x / 3)
    made[60:90, 70:78] = 210
    return np.rint(np.clip(gain * made, 0, 255)).astype(np.uint8)


def test_dim_8_bit_luma_is_spread_and_a_full_range_is_left_alone() -> None:
    luma = ToneMap().apply(dim(), 0)
    assert luma[:60].std() > 2 * dim()[:60].std()
    assert luma[75, 74] > 205
    bright = np.rint(dim().astype(float) * 0.8 + 90).astype(np.uint8)
    assert ToneMap().apply(bright, 0) is bright
    none = ToneMap(ToneMapOptions(method="none"))
    assert none.apply(dim(), 0) is not None
    assert none.lut is None


def test_flat_8_bit_luma_is_spread() -> None:
    flat = (100 + np.arange(120 * 160).reshape(120, 160) // 600).astype(np.uint8)
    assert np.ptp(ToneMap().apply(flat, 0)) > 2 * np.ptp(flat)


def test_a_gain_jump_of_a_dim_camera_is_not_seen() -> None:
    tone_map = ToneMap()
    for number in range(10):
        before = tone_map.apply(dim(), number * SECOND // 30).astype(int)
    worst = 0.0
    for number in range(10, 40):
        after = tone_map.apply(dim(0.7), number * SECOND // 30)
        worst = max(worst, float(np.abs(after - before).mean()))
    assert worst < 5


def test_when_a_lamp_goes_on_in_a_dim_scene_it_is_shown_as_it_comes() -> None:
    """It was taken for the camera's own gain, and shown flat and dim for two minutes more."""
    tone_map = ToneMap()
    for number in range(60):
        picture = dim(1.0 if number < 30 else 3.0)
        luma = tone_map.apply(picture, number * SECOND // 30)
        assert (luma is picture) == (number >= 30)


def test_a_scene_that_gets_dim_is_spread_without_a_jump() -> None:
    tone_map, before, worst = ToneMap(), None, 0.0
    for number in range(600):
        light = float(np.interp(number, (100, 400), (3.0, 1.0)))
        luma = tone_map.apply(dim(light), number * SECOND // 30).astype(float)
        if before is not None:
            worst = max(worst, abs(float(luma.mean()) - before))
        before = float(luma.mean())
    assert worst < 1.5
    assert luma[:60].std() > 1.5 * dim()[:60].std()


@pytest.mark.parametrize("steps", [15, 30, 300])
def test_a_camera_whose_gain_climbs_step_by_step_is_shown_without_a_jump(steps: int) -> None:
    """The step that left nothing to lift was taken for a lamp: the mean rose from 31 to 58 in one frame."""
    tone_map, before, worst = ToneMap(), None, 0.0
    for number in range(600):
        gain = 1 + 2 * min(max(number - 100, 0) // (300 // steps), steps) / steps
        luma = float(tone_map.apply(dim(gain), number * SECOND // 30).mean())
        if before is not None:
            worst = max(worst, abs(luma - before))
        before = luma
    assert worst < 2


def test_every_level_of_a_lifted_picture_fills_the_gap_to_the_next() -> None:
    wide = np.tile(dim(), (4, 4))
    luma = ToneMap().apply(wide, 0)
    used = np.unique(luma[:240])
    assert len(used) > 2 * len(np.unique(wide[:240]))
    assert np.array_equal(luma, ToneMap().apply(wide, 0))


@pytest.mark.parametrize("side", [4, 5])
def test_quantile_and_medians_are_numpys(side: int) -> None:
    rng = np.random.default_rng(side)
    values = rng.normal(0, 3, (8, side, 8, side + 2)).astype(np.float32)
    parts = np.abs(values).mean(axis=(1, 3)) * sensor_noise.MEAN_TO_DEVIATION
    expected = np.quantile(parts, sensor_noise.SMOOTHEST)
    assert sensor_noise._smoothest(values) == pytest.approx(float(expected), rel=1e-6)
    medians = np.median(values, axis=(1, 3), keepdims=True)
    np.testing.assert_allclose(sensor_noise._medians(values), medians, rtol=1e-6)

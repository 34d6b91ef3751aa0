from __future__ import annotations

import time
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError, StreamOptionError
from irchroma.stream.tone.options import ToneMapOptions
from irchroma.stream.tone.tone_map import ToneMap

SIZE = (128, 160)
SECOND = 1_000_000_000


@cache
def shape() -> NDArray[np.float64]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    return 150 * np.sin(x / 22) * np.cos(y / 17) + 100 * y / SIZE[0] + 20 * np.sin(x / 3) * np.sin(y / 4)


@cache
def noise(number: int) -> NDArray[np.float64]:
    return np.random.default_rng(number).normal(0, 2, SIZE)


def scene(offset: float = 8000.0, gain: float = 1.0) -> NDArray[np.uint16]:
    """(128, 160) uint16 counts of a calm scene, about 400 counts from end to end."""
    return np.rint(offset + gain * shape()).astype(np.uint16)


def with_object(counts: NDArray[np.uint16], share: float = 0.05, times: float = 8.0) -> NDArray[np.uint16]:
    side = round((share * counts.size) ** 0.5)
    out = counts.copy()
    out[40 : 40 + side, 50 : 50 + side] += np.uint16(times * np.ptp(counts))
    return out


def noisy(counts: NDArray[np.uint16], number: int) -> NDArray[np.uint16]:
    return np.rint(counts + noise(number % 8)).astype(np.uint16)


def pump_of(options: ToneMapOptions, rate: int, stay_s: float) -> int:
    """`pump` as defined in tone_map's docstring: a hot object comes at 10 s and stays for `stay_s`."""
    tone_map, calm = ToneMap(options), scene()
    before, worst, hot = None, 0, with_object(calm)
    for number in range(int((20 + stay_s) * rate)):
        at = number / rate
        picture = hot if 10 <= at < 10 + stay_s else calm
        tone_map.apply(noisy(picture, number), int(at * SECOND))
        assert tone_map.lut is not None
        background = tone_map.lut[calm].astype(int)
        if before is not None:
            worst = max(worst, int(np.abs(background - before).max()))
        elif at >= 9.5:
            before = background
    return worst


@pytest.mark.parametrize(("method", "rate"), [("linear", 9), ("plateau", 9), ("plateau", 30)])
def test_a_hot_object_that_comes_and_goes_does_not_make_the_background_pump(method: str, rate: int) -> None:
    assert pump_of(ToneMapOptions(method=method), rate, stay_s=10) <= 1  # type: ignore[arg-type]


def test_even_an_object_that_stays_long_moves_the_background_no_faster_than_the_eye_forgives() -> None:
    assert pump_of(ToneMapOptions(method="linear"), 9, stay_s=25) <= 8


def test_with_clahe_the_background_moves_beside_the_object_only() -> None:
    tone_map, calm, hot = ToneMap(ToneMapOptions(method="clahe")), scene(), with_object(scene())
    before = tone_map.apply(calm, 0).astype(int)
    moved = np.abs(tone_map.apply(hot, SECOND // 9) - before)[hot == calm]
    assert moved.mean() < 0.5
    assert np.percentile(moved, 98) <= 6


def test_the_pump_measure_sees_a_tone_map_without_memory() -> None:
    def per_frame(picture: NDArray[np.uint16]) -> NDArray[np.float64]:
        lo, hi = np.percentile(picture, [0.5, 99.5])
        return np.clip((scene() - lo) / (hi - lo), 0, 1) * 255

    assert np.abs(per_frame(with_object(scene())) - per_frame(scene())).max() > 150


def test_the_object_itself_is_seen_at_once_and_keeps_its_detail() -> None:
    tone_map, calm = ToneMap(ToneMapOptions(method="linear")), scene()
    tone_map.apply(calm, 0)
    hot = with_object(calm, times=1.5)
    hot[45:50, 55:60] += np.ptp(calm)
    luma = tone_map.apply(hot, SECOND // 30)
    assert luma[42, 52] > 235
    assert luma[47, 57] > luma[42, 52]


@pytest.mark.parametrize("method", ["linear", "plateau"])
@pytest.mark.parametrize(("offset", "gain"), [(9500, 2.5), (8040, 1.0), (8000, 1.25), (7000, 0.5)])
def test_a_gain_jump_of_the_camera_is_not_seen_at_all(method: str, offset: float, gain: float) -> None:
    tone_map = ToneMap(ToneMapOptions(method=method))  # type: ignore[arg-type]
    for number in range(6):
        before = tone_map.apply(noisy(with_object(scene()), number), number * SECOND // 30)
    for number in range(6, 12):
        after = tone_map.apply(noisy(with_object(scene(offset, gain)), number), number * SECOND // 30)
        assert np.abs(before.astype(int) - after).mean() < 4


def test_a_fade_to_black_does_not_bring_up_the_noise() -> None:
    tone_map = ToneMap(ToneMapOptions(method="linear"))
    for number in range(60):
        faded = scene(gain=max(1 - number / 30, 0.0))
        luma = tone_map.apply(noisy(faded, number), number * SECOND // 30)
    assert luma.std() < 16


def test_another_scene_is_shown_well_at_once() -> None:
    tone_map = ToneMap(ToneMapOptions(method="linear"))
    other = (20000 + np.random.default_rng(5).integers(0, 900, SIZE)).astype(np.uint16)
    tone_map.apply(scene(), 0)
    luma = tone_map.apply(other, SECOND // 30)
    assert np.array_equal(luma, ToneMap(ToneMapOptions(method="linear")).apply(other, 0))


def in_8_bits(counts: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.clip((counts.astype(float) - 7700) / 2.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("frames", [3, 90])
@pytest.mark.parametrize("disturbance", ["black", "white", "dark"])
@pytest.mark.parametrize("kind", ["luma", "counts"])
def test_after_black_frames_or_a_flash_the_scene_is_shown_as_before(
    kind: str, disturbance: str, frames: int
) -> None:
    """A camera switches its filter or lamp, or somebody shines into it: the picture was white or torn in
    contrast for a second or two."""
    calm = in_8_bits(scene()) if kind == "luma" else scene()
    disturbed = {"black": calm * 0, "white": calm * 0 + np.iinfo(calm.dtype).max, "dark": calm // 5}
    pictures = [calm] * 60 + [disturbed[disturbance].astype(calm.dtype)] * frames + [calm] * 40
    tone_map = ToneMap()
    shown = [tone_map.apply(one, number * SECOND // 25).astype(int) for number, one in enumerate(pictures)]
    for luma in shown[60 + frames :]:
        assert np.abs(luma - shown[59]).mean() < 2


@pytest.mark.parametrize("value", [0, 255])
def test_after_black_or_white_another_scene_is_shown_well_at_once(value: int) -> None:
    other = np.clip(in_8_bits(scene()).astype(int) // 4 + 5, 0, 255).astype(np.uint8)
    tone_map = ToneMap()
    for number, picture in enumerate([in_8_bits(scene())] * 30 + [np.full(SIZE, value, np.uint8)] * 30):
        tone_map.apply(picture, number * SECOND // 25)
    luma = tone_map.apply(other, 60 * SECOND // 25)
    assert np.array_equal(luma, ToneMap().apply(other, 0))


def test_a_partial_change_of_the_scene_is_followed_in_seconds() -> None:
    tone_map, calm = ToneMap(ToneMapOptions(method="linear")), scene()
    half = calm.copy()
    half[:, :100] += 1500  # 62 % of the picture: a truck parks in front of the camera
    for number in range(30):
        tone_map.apply(calm, number * SECOND // 30)
    for number in range(30, 150):
        luma = tone_map.apply(half, number * SECOND // 30)
    fresh = ToneMap(ToneMapOptions(method="linear")).apply(half, 0)
    assert np.abs(luma.astype(int) - fresh).mean() < 8


def test_a_slow_drift_of_all_counts_is_followed_without_steps() -> None:
    tone_map, previous, worst = ToneMap(ToneMapOptions(method="linear")), None, 0.0
    for number in range(5 * 60):
        drift = 400 * number / (5 * 60)  # one whole range in a minute
        luma = tone_map.apply(scene(8000 + drift), number * SECOND // 5).astype(float)
        if previous is not None:
            worst = max(worst, float(np.abs(luma - previous).mean()))
        previous = luma
    assert worst < 5
    assert previous is not None
    assert 80 < previous.mean() < 190


def test_the_curve_depends_on_time_and_not_on_the_frame_rate() -> None:
    curves = []
    for rate in (10, 60):
        tone_map = ToneMap(ToneMapOptions(method="plateau"))
        for number in range(4 * rate + 1):
            late = scene(8150) if number >= rate else scene()
            tone_map.apply(late, number * SECOND // rate)
        assert tone_map.lut is not None
        curves.append(tone_map.lut[np.unique(scene(8150))].astype(int))
    assert np.abs(curves[0] - curves[1]).max() <= 3


def test_in_a_steady_scene_the_curve_does_not_move_at_all() -> None:
    tone_map = ToneMap()
    curves = []
    for number in range(300):
        tone_map.apply(noisy(scene(), number), number * SECOND // 30)
        curves.append(tone_map.lut)
    assert all(curve is not None and np.array_equal(curve, curves[0]) for curve in curves)


def test_a_lock_holds_the_curve_and_unlock_lets_it_follow() -> None:
    tone_map = ToneMap(ToneMapOptions(method="linear"))
    tone_map.apply(scene(), 0)
    curve = tone_map.lut
    tone_map.lock()
    tone_map.apply(scene(12000), SECOND)
    assert tone_map.locked
    assert tone_map.lut is curve
    tone_map.unlock()
    luma = tone_map.apply(scene(12000), 2 * SECOND)
    assert luma.std() > 30


def test_a_frame_that_the_camera_holds_teaches_nothing() -> None:
    tone_map = ToneMap(ToneMapOptions(method="linear"))
    tone_map.apply(scene(), 0)
    curve = tone_map.lut
    tone_map.apply(np.full(SIZE, 20000, np.uint16), SECOND, held=True)
    assert tone_map.lut is curve


def test_a_manual_span_is_an_exact_line() -> None:
    tone_map = ToneMap(ToneMapOptions(span=(1000, 1510)))
    counts = np.arange(900, 1600, dtype=np.uint16)[None]
    expected = np.rint(np.clip((counts.astype(float) - 1000) / 2, 0, 255))
    assert np.abs(tone_map.apply(counts, 0) - expected).max() <= 1
    assert tone_map.limits == (1000, 1510)
    assert np.array_equal(tone_map.apply(counts, 1), tone_map.apply(counts + np.uint16(0), 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_another_size_or_a_step_back_in_time_starts_afresh(dtype: type) -> None:
    tone_map = ToneMap(ToneMapOptions(method="linear"))
    dark = (np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 40).astype(dtype)
    bright = dark + dtype(150)
    tone_map.apply(dark, 10 * SECOND)
    assert tone_map.apply(bright[:32], 10 * SECOND).min() < 60
    assert tone_map.apply(dark, 9 * SECOND).max() > 130


def test_8_bit_luma_is_passed_on_untouched_by_default() -> None:
    luma = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tone_map = ToneMap()
    assert tone_map.apply(luma, 0) is luma
    assert tone_map.lut is None


@pytest.mark.parametrize("method", ["linear", "plateau", "clahe"])
def test_8_bit_luma_is_spread_when_asked(method: str) -> None:
    luma = (100 + np.arange(64 * 64).reshape(64, 64) // 103).astype(np.uint8)
    out = ToneMap(ToneMapOptions(method=method)).apply(luma, 0)  # type: ignore[arg-type]
    assert np.ptp(out) > 180
    assert out.dtype == np.uint8


def night(dim: bool, number: int) -> NDArray[np.uint8]:
    """A thermal camera by night that sets its own contrast: of the ground, while people are 180 always."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    luma = 50 + 45 * np.sin(x / 22) * np.cos(y / 17) + 20 * y / SIZE[0]
    luma = luma**2 / 240 if dim else luma
    for person in range(3):
        at = (37 * number + 50 * person) % 140
        luma[40 + 20 * person : 70 + 20 * person, at : at + 12] = 180
    return np.rint(np.clip(luma + noise(number % 8) / 4, 0, 255)).astype(np.uint8)


def test_a_camera_that_starts_on_dim_frames_is_not_washed_out_afterwards() -> None:
    tone_map, dim_frames = ToneMap(), (0, 2, 6, 9)
    for number in range(40):
        seen = night(number in dim_frames, number)
        luma = tone_map.apply(seen, number * SECOND // 7)
        if number not in dim_frames:
            assert luma.mean() < seen.mean() + 12, number
        assert np.mean(luma > 220) < 0.06, number


def test_a_caption_behind_the_camera_s_gain_keeps_no_jump_from_being_followed() -> None:
    tone_map, means = ToneMap(ToneMapOptions(method="linear")), []
    calm = 40 + (shape() + 200) * 0.3
    for number in range(40):
        luma = np.rint(calm * (1.0 if number < 20 else 0.6) + noise(number % 8) / 4).astype(np.uint8)
        luma[4:12, 8:60] = 200  # 2 % of the picture
        means.append(float(tone_map.apply(luma, number * SECOND // 10).mean()))
    assert np.ptp(means[10:]) < 3


def test_counts_are_never_cut_to_8_bits() -> None:
    with pytest.raises(StreamOptionError, match="16-bit counts"):
        ToneMap(ToneMapOptions(method="none")).apply(scene(), 0)
    narrow = (8000 + np.arange(64 * 64).reshape(64, 64) % 60).astype(np.uint16)
    assert len(np.unique(ToneMap().apply(narrow, 0))) >= 50


@pytest.mark.parametrize("method", ["linear", "plateau"])
@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((16, 16), np.uint16),
        np.full((16, 16), 65535, np.uint16),
        np.full((17, 31), 8000, np.uint16),
        np.array([[0, 65535]] * 16, np.uint16),
        np.random.default_rng(1).integers(0, 65536, (40, 40)).astype(np.uint16),
    ],
)
def test_odd_pictures_give_a_rising_curve(method: str, counts: NDArray[np.uint16]) -> None:
    tone_map = ToneMap(ToneMapOptions(method=method))  # type: ignore[arg-type]
    assert tone_map.apply(counts, 0).shape == counts.shape
    assert tone_map.lut is not None
    assert len(tone_map.lut) == 65536
    assert (np.diff(tone_map.lut.astype(int)) >= 0).all()


def test_the_noise_of_a_flat_scene_stays_small() -> None:
    flat = np.full(SIZE, 8000, np.uint16)
    assert ToneMap().apply(noisy(flat, 0), 0).std() < 20


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"method": "gamma"}, "choose one of"),
        ({"span": (9000, 8000)}, "lo < hi"),
        ({"span": (0, float("nan"))}, "finite"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_clear_line(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(StreamOptionError, match=message) as caught:
        ToneMapOptions(**kwargs)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_counts_and_large_8_bit_pictures_are_mapped_in_time() -> None:
    counts = np.random.default_rng(0).normal(8000, 150, (512, 640)).astype(np.uint16)
    luma = np.random.default_rng(0).normal(120, 30, (1080, 1920)).clip(0, 255).astype(np.uint8)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for pixels, limit_ms in ((counts, 1.5), (luma, 2.0)):
            tone_map = ToneMap(ToneMapOptions(method="plateau"))
            tone_map.apply(pixels, 0)
            spent = []
            for number in range(1, 41):
                start = time.thread_time_ns()
                tone_map.apply(pixels, number * SECOND // 30)
                spent.append((time.thread_time_ns() - start) / 1e6)
            assert np.median(spent) < limit_ms * 2  # twice the aim, for a busy machine
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("kind", ["counts", "striped", "dim", "dark"])
def test_one_that_recalls_goes_on_to_the_last_bit(kind: str) -> None:
    columns = 40 * np.random.default_rng(1).standard_normal(SIZE[1]) * (kind == "striped")

    def picture(number: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        drifting = noisy(scene(8000.0 + 3 * number, 1 + number / 500 + 0.4 * (number > 180)), number)
        if kind in ("counts", "striped"):
            return np.rint(drifting + columns).astype(np.uint16)
        dark = kind == "dark" and 140 < number < 160  # it has been told of black frames, not of their end
        levels = (drifting.astype(float) - 7700) / (24 if kind == "dim" else 4) * (not dark)
        return np.clip(levels, 0, 255).astype(np.uint8)

    first = ToneMap()
    for number in range(150):
        first.apply(picture(number), number * SECOND // 10)
    second = ToneMap()
    second.recall(first.remembered())
    fresh, differs = ToneMap(), False
    for number in range(150, 300):
        at_ns = number * SECOND // 10
        luma = first.apply(picture(number), at_ns)
        np.testing.assert_array_equal(second.apply(picture(number), at_ns), luma)
        differs |= bool((fresh.apply(picture(number), at_ns) != luma).any())
    assert differs


def test_what_is_no_memory_is_refused() -> None:
    with pytest.raises(StreamError, match="no tone map's memory"):
        ToneMap().recall({"told": np.zeros(3, np.uint8)})


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((4, 6, 3), np.uint8), ((4, 6), np.float32), ((4, 6), np.int16), ((6,), np.uint16), ((0, 6), np.uint16)],
)
def test_what_is_no_picture_of_a_sensor_is_refused_by_its_shape_and_type(
    shape: tuple[int, ...], kind: type
) -> None:
    with pytest.raises(StreamOptionError, match=r"expected \(H, W\) uint8 luma or uint16 counts, got \("):
        ToneMap().apply(np.zeros(shape, kind), 0)


def test_a_name_is_no_picture() -> None:
    with pytest.raises(StreamOptionError, match="got str"):
        ToneMap().apply("night.png", 0)  # type: ignore[arg-type]

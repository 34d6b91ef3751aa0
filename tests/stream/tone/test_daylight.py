from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.tone import daylight
from irchroma.stream.tone.daylight import ColorCameraDetector

SECOND = 1_000_000_000
Rgb = NDArray[np.uint8]


def gray_scene(size: tuple[int, int] = (360, 480)) -> Rgb:
    y, x = np.mgrid[: size[0], : size[1]] / 60.0
    luma = 110 + 60 * np.sin(x) * np.cos(y * 1.3) + 30 * np.sin(3 * x + y)
    return np.repeat(luma[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def color_scene() -> Rgb:
    """A dull day: pale sky, dark grass, gray road in the lower right."""
    picture = gray_scene().astype(float)
    picture[:150] += [-9, 0, 12]
    picture[150:] += [-2, 8, -10]
    picture[200:, 240:] = gray_scene()[200:, 240:]
    return picture.clip(0, 255).astype(np.uint8)


def decided(picture: Rgb) -> bool:
    return ColorCameraDetector().update(picture, 0)


def noisy(picture: Rgb, seed: int = 0) -> Rgb:
    noise = np.random.default_rng(seed).normal(0, 14, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def with_captions(picture: Rgb) -> Rgb:
    out = picture.copy()
    cv2.putText(out, "2026-01-01 03:12:44", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 230, 0), 3)
    out[330:352, 380:470] = (0, 230, 60)
    return out


def through_jpeg(picture: Rgb) -> Rgb:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 55])[1], 1))


@pytest.mark.parametrize(
    "picture",
    [
        gray_scene(),
        noisy(gray_scene()),
        with_captions(gray_scene()),
        through_jpeg(with_captions(noisy(gray_scene()))),
        (gray_scene() * np.array([1.04, 1.0, 0.95])).clip(0, 255).astype(np.uint8),
        (gray_scene() + np.array([7, 0, -8])).clip(0, 255).astype(np.uint8),
        with_captions(noisy((gray_scene() * np.array([1.03, 0.98, 1.05])).clip(0, 255).astype(np.uint8))),
        np.zeros((16, 16, 3), np.uint8),
        np.full((11, 17, 3), 200, np.uint8),
        noisy(np.full((360, 480, 3), 12, np.uint8)),
        gray_scene((1080, 1920)),
    ],
    ids=["gray", "noise", "captions", "jpeg", "tint", "cast", "all", "black", "tiny", "dark", "1080p"],
)
def test_a_monochrome_picture_is_not_taken_for_color(picture: Rgb) -> None:
    assert not decided(picture)


@pytest.mark.parametrize(
    "picture",
    [color_scene(), noisy(color_scene()), with_captions(color_scene()), through_jpeg(color_scene())],
    ids=["dull", "noise", "captions", "jpeg"],
)
def test_even_a_dull_day_is_color(picture: Rgb) -> None:
    assert decided(picture)


def run(
    detector: ColorCameraDetector, picture: Rgb, start_s: float, seconds: float, rate: int
) -> float | None:
    """Feed a picture; the time in seconds after which the answer changed, None if it did not."""
    before = detector.is_color
    for number in range(int(seconds * rate)):
        if detector.update(picture, int((start_s + number / rate) * SECOND)) != before:
            return number / rate
    return None


@pytest.mark.parametrize("rate", [5, 30])
def test_dusk_and_dawn_are_noticed_in_about_a_second_or_two(rate: int) -> None:
    detector = ColorCameraDetector()
    assert run(detector, color_scene(), 0, 3, rate) == 0  # the first frame decides
    dusk = run(detector, gray_scene(), 3, 5, rate)
    dawn = run(detector, color_scene(), 8, 5, rate)
    assert dusk is not None
    assert dawn is not None
    assert 0.8 <= dusk <= 3
    assert 0.5 <= dawn <= 3  # after a silence, which counts as one step


def test_a_flash_of_color_at_night_changes_nothing() -> None:
    detector = ColorCameraDetector()
    run(detector, gray_scene(), 0, 2, 30)
    assert run(detector, color_scene(), 2, 0.3, 30) is None
    assert run(detector, gray_scene(), 2.3, 5, 30) is None


def test_a_picture_between_the_bounds_keeps_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daylight, "COLOR_ABOVE", 30.0)
    monkeypatch.setattr(daylight, "GRAY_BELOW", 0.5)
    vivid = gray_scene()
    vivid[:, :160, 0], vivid[:, 160:320, 2] = 255, 255
    for first, answer in ((gray_scene(), False), (vivid, True)):
        detector = ColorCameraDetector()
        assert detector.update(first, 0) == answer
        assert run(detector, color_scene(), 0.1, 4, 10) is None


def test_reset_lets_the_next_frame_decide() -> None:
    detector = ColorCameraDetector()
    detector.update(gray_scene(), 0)
    detector.reset()
    assert detector.update(color_scene(), SECOND)


def test_looking_costs_little() -> None:
    picture, detector, spent = gray_scene((1080, 1920)), ColorCameraDetector(), []
    for number in range(60):
        start = time.thread_time_ns()
        detector.update(picture, number * SECOND // 30)
        spent.append((time.thread_time_ns() - start) / 1e6)
    assert np.mean(spent[1:]) < 1.0  # twice the aim of 0.5 ms, for a busy machine

"""A time in a picture comes back, or nothing does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from irchroma.stream.picture.stopwatch import MODULUS_MS, draw_stopwatch, read_stopwatch


def scene(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(60, 200, size, dtype=np.uint8)


@pytest.mark.parametrize("size", [(120, 160), (512, 640), (1080, 1920)])
@pytest.mark.parametrize("time_ms", [0, 1, 123456, MODULUS_MS - 1, MODULUS_MS + 7])
def test_a_time_survives_coding_and_contrast(size: tuple[int, int], time_ms: int) -> None:
    luma = scene(size)
    draw_stopwatch(luma, time_ms)
    paler = (luma * 0.4 + 90).astype(np.uint8)
    for picture in (luma, paler):
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
        assert read_stopwatch(decoded) == time_ms % MODULUS_MS


def test_a_picture_without_a_time_and_one_torn_in_two_have_none() -> None:
    assert read_stopwatch(np.full((512, 640), 128, np.uint8)) is None
    assert all(read_stopwatch(scene((512, 640 + n))) is None for n in range(40))
    upper, lower = scene((512, 640)), scene((512, 640))
    draw_stopwatch(upper, 1000)
    draw_stopwatch(lower, 1000 ^ 1)
    torn = np.vstack([upper[:32], lower[32:]])
    assert read_stopwatch(torn) is None

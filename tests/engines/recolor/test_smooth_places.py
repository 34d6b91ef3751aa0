"""Smooth places take color and tone from smooth places further from edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from irchroma.engines.recolor.smooth_places import lead_by_smooth_places


def moved(luma: np.ndarray, values: np.ndarray, halved: bool, lead: float = 1.0) -> np.ndarray:
    planes = tuple(values.transpose(2, 0, 1).copy())
    lead_by_smooth_places(luma, planes, halved, lead)
    return np.stack(planes, -1)


def twigs_before_a_sky() -> tuple[np.ndarray, np.ndarray]:
    """Luma of one mean, rough on the left alone, and values that are 0 there and 1 in the sky."""
    luma = np.full((120, 160), 0.5, np.float32)
    luma[:, :80] += np.random.default_rng(4).normal(0, 0.2, (120, 80)).astype(np.float32)
    values = np.zeros((120, 160, 3), np.float32)
    values[:, 80:] = 1
    return luma, values


@pytest.mark.parametrize("plane", [0, 1, 2])
@pytest.mark.parametrize(("halved", "sigma", "from_px"), [(False, 6, 4), (True, 3, 2)])
def test_a_sky_is_a_sky_up_to_the_twigs(plane: int, halved: bool, sigma: int, from_px: int) -> None:
    luma, values = twigs_before_a_sky()
    blurred = cv2.GaussianBlur(values, (0, 0), sigma)
    made = moved(luma, blurred, halved)
    beside = np.s_[20:100, 80 + from_px : 92, plane]
    assert np.abs(made[beside] - 1).mean() < 0.4 * np.abs(blurred[beside] - 1).mean()


def test_a_smooth_edge_of_luma_stays_where_it_is() -> None:
    luma = np.full((120, 160), 0.3, np.float32)
    luma[:, 80:] = 0.7
    values = np.repeat((luma[..., None] > 0.5).astype(np.float32), 3, axis=2)
    made = moved(luma, values, halved=False)
    assert np.abs(made[:, :76]).max() < 0.1
    assert np.abs(made[:, 84:] - 1).max() < 0.1


def test_leaves_keep_what_the_network_says_of_them() -> None:
    luma, _ = twigs_before_a_sky()
    noise = np.random.default_rng(5).random((120, 160, 3)).astype(np.float32)
    patches = 4 * (cv2.GaussianBlur(noise, (0, 0), 3) - np.float32(0.5))
    made = moved(luma, patches, halved=False)
    assert np.abs(made[:, 10:70] - patches[:, 10:70]).mean() < 0.1 * patches.std()
    assert made[:, 110:].std() < 0.5 * patches[:, 110:].std()


def test_faint_detail_of_the_sensor_in_a_smooth_place_stays() -> None:
    luma = np.full((120, 160), 0.5, np.float32)
    luma += 0.01 * np.sin(np.arange(160, dtype=np.float32) / 4)
    values = np.stack([luma + 0.2, np.zeros_like(luma), np.zeros_like(luma)], -1)
    made = moved(luma, values, halved=False)[..., 0]
    np.testing.assert_allclose(made, values[..., 0], atol=2e-3)
    flat = moved(luma, values, halved=False, lead=0.0)[..., 0]
    assert flat.std() < 0.8 * made.std()


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (33, 2)])
def test_the_smallest_pictures_have_finite_colors(size: tuple[int, int]) -> None:
    random = np.random.default_rng(2)
    luma, values = random.random(size).astype(np.float32), random.random((*size, 3)).astype(np.float32)
    made = moved(luma, values, halved=False)
    assert made.shape == values.shape
    assert np.isfinite(made).all()

"""The guided filter: what it must do on pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from irchroma.engines.recolor import guided


def ramp(height: int = 40, width: int = 60) -> guided.Plane:
    return np.tile(np.linspace(0.1, 0.9, width, dtype=np.float32), (height, 1))


def applied(model: guided.Affine, luma: guided.Plane) -> guided.Plane:
    return model.slope * luma + model.offset


def test_a_value_that_is_affine_in_the_luma_comes_back_as_that_model() -> None:
    luma = np.random.default_rng(1).random((40, 60), np.float32)
    model = guided.fit(guided.windows(luma, 3), -0.4 * luma + 0.3, 1e-3)
    np.testing.assert_allclose(model.slope, -0.4, atol=1e-3)
    np.testing.assert_allclose(model.offset, 0.3, atol=1e-3)


def test_a_value_on_flat_luma_is_smoothed() -> None:
    value = np.random.default_rng(2).random((40, 60), np.float32)
    model = guided.fit(guided.windows(np.full_like(value, 0.5), 3), value, 0.05)
    assert np.abs(model.slope).max() < 1e-2
    assert applied(model, np.full_like(value, 0.5)).std() < value.std() / 5


def test_a_blurred_color_edge_snaps_to_the_full_size_edge_of_the_luma() -> None:
    large = np.zeros((240, 320), np.float32)
    large[:, 161:] = 0.8
    small = large.reshape(60, 4, 80, 4).mean((1, 3))
    color = guided.box(guided.box(small, 5), 5) * 0.5  # blurred over ten work pixels
    model = guided.fit(guided.windows(small, 4), color, 0.02)
    slope, offset = guided.enlarge(model.slope, large.shape), guided.enlarge(model.offset, large.shape)
    sharp = slope * large + offset
    assert np.abs(sharp[:, 161] - sharp[:, 160]).min() > 0.2  # the step is between these two columns
    assert np.ptp(sharp[:, 150:161]) < 0.05
    assert np.ptp(sharp[:, 161:172]) < 0.05


def test_constants_stay_constant_up_to_the_border() -> None:
    model = guided.fit(guided.windows(ramp(), 5), np.full((40, 60), 0.25, np.float32), 0.02)
    np.testing.assert_allclose(applied(model, ramp()), 0.25, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (16, 16)])
def test_pictures_smaller_than_a_window_work(size: tuple[int, int]) -> None:
    luma = np.random.default_rng(3).random(size, np.float32)
    model = guided.fit(guided.windows(luma, 6), luma, 0.1)
    assert np.isfinite(model.slope).all()
    assert guided.enlarge(model.offset, (7, 9)).shape == (7, 9)


@pytest.mark.parametrize("times", [2, 5, 12])
def test_strips_of_an_enlarged_plane_are_those_of_the_whole(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = np.random.default_rng(times).random((9, 16)).astype(np.float32)
    size = (9 * times, 16 * times)
    monkeypatch.setattr(guided, "STRIP", size[0] * size[1] / 4)
    rows = guided.strips(size, [plane])
    memory = np.empty(size, np.float32)
    parts = [guided.enlarged_rows(plane, size, part, memory).copy() for part in rows]
    assert [len(part) for part in parts] == [part.stop - part.start for part in rows]
    assert len(parts) == 4
    np.testing.assert_array_equal(np.vstack(parts), guided.enlarge(plane, size))
    assert guided.strips((9 * times + 1, 16), [plane]) == [slice(0, 9 * times + 1)]

"""Guided filtering on a device gives what `guided` gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.on_device import OnDevice

from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import Fit, Night, Windows
from irchroma.engines.recolor import guided
from irchroma.engines.recolor.smooth_places import lead_by_smooth_places

ROUNDING = 2e-5
"""Sums of up to 17x17 float32 values in another order, divided by variances of 1e-3 and more."""


def planes(depth: int, height: int, width: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    noise = rng.random((height, width, depth)).astype(np.float32)
    return np.ascontiguousarray(
        cv2.GaussianBlur(noise, (0, 0), 1.2).reshape(height, width, depth).transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    ("size", "radius"),
    [((40, 56), 3), ((33, 47), 8), ((5, 9), 8), ((33, 47), 0), ((33, 47), 17), ((70, 90), 50)],
)
def test_means_over_windows_are_mirrored_at_the_borders(
    on_device: OnDevice, size: tuple[int, int], radius: int
) -> None:
    values = planes(2, *size)
    steps: list[Launch] = []
    means = Windows(on_device.space, steps).box(on_device.put(values), radius, "box")
    on_device.run(*steps)
    expected = np.stack([guided.box(plane, 2 * radius + 1) for plane in values])
    np.testing.assert_allclose(on_device.get(means), expected, atol=1e-6)


@pytest.mark.parametrize(("size", "radius"), [((33, 47), 2), ((33, 47), 0), ((61, 70), 20), ((5, 9), 7)])
def test_what_is_least_and_most_in_windows_is_what_opencv_finds(
    on_device: OnDevice, size: tuple[int, int], radius: int
) -> None:
    luma = np.round(255 * planes(1, *size)[0]).astype(np.uint8)
    given, side = on_device.put(luma), 2 * radius + 1
    for largest, expected in enumerate((cv2.erode, cv2.dilate)):
        out = on_device.room(size, np.uint8)
        how = {"width": size[1], "height": size[0], "radius": radius, "largest": largest}
        on_device.run(launch("extreme", (size[1], size[0], 1), **{"in": given}, out=out, **how))
        np.testing.assert_array_equal(on_device.get(out), expected(luma, np.ones((side, side), np.uint8)))


def test_windows_that_only_a_night_needs_are_left_alone_by_day(on_device: OnDevice) -> None:
    """They are the widest of all: by day they took more than all other windows together."""
    guide = planes(1, 40, 56)[0]
    steps: list[Launch] = []
    count = on_device.put(np.array([0], np.int32))
    night = Night(count, 0.2, 0.4)
    seen = Windows(on_device.space, steps).seen(on_device.put(guide), 9, "night", night=night)
    on_device.run(*steps)
    assert not on_device.get(seen).any()
    by_night = on_device.put(np.array([40 * 56 // 2], np.int32))
    steps = []
    windows = Windows(on_device.space, steps)
    seen = windows.seen(on_device.put(guide), 9, "dark", night=Night(by_night, 0.2, 0.4))
    on_device.run(*steps)
    expected = [guided.box(one, 19) for one in (guide, guide * guide)]
    np.testing.assert_allclose(on_device.get(seen), expected, atol=1e-6)


@pytest.mark.parametrize(("size", "halved"), [((40, 56), False), ((41, 55), True), ((37, 51), False)])
@pytest.mark.parametrize("lead", [1.0, 0.7])
def test_smooth_places_lead_as_on_the_cpu(
    on_device: OnDevice, size: tuple[int, int], halved: bool, lead: float
) -> None:
    values, guide = planes(4, *size)[:3].copy(), planes(4, *size)[3].copy()
    guide[:, 28:] = guide[:, 28:].mean() + 0.01 * (guide[:, 28:] - guide[:, 28:].mean())
    steps: list[Launch] = []
    windows = Windows(on_device.space, steps)
    made, said = windows.led_by_smooth_places(on_device.put(guide), on_device.put(values), halved, lead)
    on_device.run(*steps)
    expected = values.copy()
    smooth = lead_by_smooth_places(guide, tuple(expected), halved, lead)
    assert np.abs(expected - values).max() > 0.1
    np.testing.assert_allclose(on_device.get(made), expected, atol=2e-4)
    found = on_device.get(said)
    names = ("believed", "slope", "offset", "blue_slope", "blue_offset", "sides")
    for plane, name in zip(found[[0, 1, 2, 3, 4, -1]], names, strict=True):
        np.testing.assert_allclose(plane, getattr(smooth, name), atol=2e-4, err_msg=name)


@pytest.mark.parametrize("contrast", [0.03, 0.3])
def test_affine_models_are_those_of_the_guided_filter(on_device: OnDevice, contrast: float) -> None:
    values, guide = planes(3, 40, 56)[1:], planes(3, 40, 56)[0]
    steps: list[Launch] = []
    windows = Windows(on_device.space, steps)
    at = on_device.put(guide)
    seen = windows.seen(at, 2, "guide")
    models = windows.fit(on_device.put(values), at, seen, Fit(2, contrast, lift=0.5), "fit")
    on_device.run(*steps)
    found = on_device.get(models)
    for plane, (slope, offset) in zip(values, found, strict=True):
        expected = guided.fit(guided.windows(guide, 2), plane, contrast)
        np.testing.assert_allclose(slope, expected.slope, atol=ROUNDING / contrast)
        np.testing.assert_allclose(offset, expected.offset + 0.5, atol=ROUNDING / contrast)

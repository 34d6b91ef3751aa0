"""Recoloring on a device gives the picture that `recolor.Recoloring` gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import texture
from tests.engines.on_device import OnDevice

from irchroma.engines import catalog
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import sizes
from irchroma.engines.gpu.steps.recolor import FrameArrays, RecolorSteps, find_borders
from irchroma.engines.recolor import color_space, neutral
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]

MEAN_LEVELS, FAR_LEVELS, FAR_SHARE = 0.01, 2, 3e-4
"""The picture's mean difference, and how many values may be further off than 2 levels: float32 sums in
another order round a luma or a chroma the other way here and there, which near black and white, where
color fades within three levels, shows as more than a level."""


@dataclass(frozen=True)
class Scene:
    luma: Luma
    small: Luma
    ycc: Plane
    confidence: Plane


def scene(size: tuple[int, int], work: tuple[int, int]) -> Scene:
    """A textured picture with black borders, burnt-in strokes, clipped spots, unlit parts; and some color."""
    luma = texture(size, 0, 330, seed=1, scale=4).clip(0, 255).astype(np.uint8)
    luma[: size[0] // 12] = 3
    luma[:, -9:] = 16
    luma[size[0] // 3 : size[0] // 3 + 24, 40:43] = 255
    luma[size[0] // 2 : size[0] // 2 + 40, 60:100] = 60
    luma[size[0] // 2 + 8 : size[0] // 2 + 32, 70:73] = 220  # a blade of grass beside a character
    luma[size[0] // 2 + 8 : size[0] // 2 + 32, 85:88] = 240
    small = np.asarray(cv2.resize(luma, work[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    ycc = np.dstack(
        [texture(work, low, high, seed, 3) for low, high, seed in ((0, 1, 2), (-0.4, 0.4, 3), (-0.3, 0.5, 4))]
    )
    return Scene(luma, small, np.ascontiguousarray(ycc), texture(work, 0, 1, 5, 3))


def recolored(
    on_device: OnDevice, given: Scene, band: str, options: RecolorOptions, size: str = "fast"
) -> Luma:
    color = np.concatenate([given.ycc.transpose(2, 0, 1), given.confidence[None]])
    frame = FrameArrays(
        luma=on_device.put(given.luma),
        small=on_device.put(given.small),
        color=on_device.put(color),
        out=on_device.room((*given.luma.shape, 3), np.uint8),
    )
    steps = RecolorSteps(on_device.space, options, catalog.look_of(band, size)).build(frame)
    on_device.run(*steps)
    first = on_device.get(frame.out)
    on_device.run(*steps)  # nothing may be left over from the frame before
    np.testing.assert_array_equal(first, on_device.get(frame.out))
    return first


def assert_alike(found: Luma, expected: Luma) -> None:
    off = np.abs(found.astype(int) - expected)
    assert off.mean() < MEAN_LEVELS
    assert (off > FAR_LEVELS).mean() < FAR_SHARE


@pytest.mark.parametrize("band", ["nir", "thermal"])
@pytest.mark.parametrize(
    ("size", "work"),
    [
        ((240, 320), (240, 320)),  # seen as it is
        ((481, 641), (240, 320)),  # odd sides, chroma at half size
        ((300, 400), (240, 320)),  # enlarged by less than HALVED_MODELS
    ],
)
def test_the_whole_way_gives_the_picture_of_the_cpu(
    on_device: OnDevice, band: str, size: tuple[int, int], work: tuple[int, int]
) -> None:
    given = scene(size, work)
    expected = Recoloring(RecolorOptions(), catalog.look_of(band, "best")).apply(
        given.luma, given.small, given.ycc.copy(), given.confidence.copy()
    )
    assert_alike(recolored(on_device, given, band, RecolorOptions(), "best"), expected)


@pytest.mark.parametrize("cloud", [0, 40])
def test_wires_before_a_cold_sky_are_turned_around_by_the_same_amount(
    on_device: OnDevice, cloud: int
) -> None:
    row, column = np.mgrid[:240, :320].astype(np.float32)
    luma = texture((240, 320), 20, 30, seed=6, scale=4)
    luma += cloud * (1 + np.sin(row / 7) * np.cos(column / 9)) * (column > 160)
    luma[:, 40::40] += 40
    luma[140:] = texture((100, 320), 110, 150, seed=7, scale=4)
    luma = luma.astype(np.uint8)
    tone = np.where(row < 140, np.float32(0.7) + luma / np.float32(600), np.float32(0.45))
    blue = np.where(row < 140, np.float32(0.09), np.float32(-0.09))
    ycc = np.dstack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in (tone, blue, -blue)])
    given = Scene(luma, luma, np.ascontiguousarray(ycc), np.ones((240, 320), np.float32))
    look = catalog.BANDS["thermal"].look
    expected = Recoloring(RecolorOptions(), look).apply(luma, luma, given.ycc.copy(), given.confidence)
    assert expected[40:100, 80].mean() < expected[40:100, 60].mean() - 20, "the scene has nothing to turn"
    assert_alike(recolored(on_device, given, "thermal", RecolorOptions()), expected)


def test_a_cold_sky_is_rid_of_its_noise_by_the_same_amount(on_device: OnDevice) -> None:
    row, _ = np.mgrid[:240, :320].astype(np.float32)
    noise = np.random.default_rng(8).normal(30, 3, (240, 320))
    luma = np.where(row < 140, noise, texture((240, 320), 110, 150, seed=7, scale=4)).astype(np.uint8)
    tone = np.where(row < 140, np.float32(0.7) + luma / np.float32(600), np.float32(0.45))
    blue = np.where(row < 140, np.float32(0.09), np.float32(-0.09))
    ycc = np.dstack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in (tone, blue, -blue)])
    given = Scene(luma, luma, np.ascontiguousarray(ycc), np.ones((240, 320), np.float32))
    expected = Recoloring(RecolorOptions(), catalog.BANDS["thermal"].look).apply(
        luma, luma, given.ycc.copy(), given.confidence
    )
    assert expected[40:100, :, 1].std() < 0.6 * luma[40:100].std(), "the scene has no noise to lose"
    assert_alike(recolored(on_device, given, "thermal", RecolorOptions()), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "chroma"},
        {"chroma_limit": 20.0},
        {"chroma_limit": 0.0},
        {"sure": 0.9, "radius_px": 5},
        {"unsure": 0.3, "sure": 0.7, "instead": "palette"},
    ],
)
def test_options_mean_the_same(on_device: OnDevice, change: dict[str, object]) -> None:
    options = replace(RecolorOptions(), **change)  # type: ignore[arg-type]
    given = scene((480, 640), (240, 320))
    expected = Recoloring(options, catalog.BANDS["nir"].look).apply(
        given.luma, given.small, given.ycc.copy(), given.confidence.copy()
    )
    assert_alike(recolored(on_device, given, "nir", options), expected)


def test_a_night_is_calm_by_the_same_amount(on_device: OnDevice) -> None:
    given = scene((240, 320), (240, 320))
    dark = (given.luma * 0.3).astype(np.uint8)
    given = replace(given, luma=dark, small=dark)
    expected = Recoloring(RecolorOptions(), catalog.BANDS["nir"].look).apply(
        dark, dark, given.ycc.copy(), given.confidence.copy()
    )
    assert_alike(recolored(on_device, given, "nir", RecolorOptions()), expected)


@pytest.mark.parametrize(("brightness", "dark"), [(0.46, (0.5, 0.6)), (0.3, (0.7, 1.0))])
def test_a_dark_scene_is_brightened_by_the_same_amount(
    on_device: OnDevice, brightness: float, dark: tuple[float, float]
) -> None:
    given = scene((240, 320), (240, 320))
    luma = (given.luma * brightness).astype(np.uint8)
    given = replace(given, luma=luma, small=luma)
    look = catalog.BANDS["thermal"].look
    share = np.mean(cv2.blur(luma, (7, 7)) < 255 * look.dark)
    assert dark[0] <= share <= dark[1]
    expected = Recoloring(RecolorOptions(), look).apply(luma, luma, given.ycc.copy(), given.confidence.copy())
    assert_alike(recolored(on_device, given, "thermal", RecolorOptions()), expected)


@pytest.mark.parametrize(
    "borders", [(0, 0, 0, 0), (20, 0, 0, 0), (12, 30, 70, 1), (0, 0, 5, 80), (120, 0, 0, 0), (60, 60, 0, 0)]
)
def test_borders_are_found_line_for_line(on_device: OnDevice, borders: tuple[int, int, int, int]) -> None:
    luma = texture((120, 160), 40, 250, seed=7).astype(np.uint8)
    top, bottom, left, right = borders
    luma[:top], luma[120 - bottom :], luma[:, :left], luma[:, 160 - right :] = 16, 17, 2, 5
    steps: list[Launch] = []
    at = on_device.put(luma)
    where = find_borders(on_device.space, steps, at, "borders")
    kept = on_device.room(luma.shape, np.uint8)
    models = np.stack([np.zeros((2, 2)), np.full((2, 2), 77 / 255)])[None].astype(np.float32)
    given = {"luma": at, "borders": where, "out": kept, "models": on_device.put(models)}
    steps.append(launch("apply_models", (160, 120, 1), **given, **sizes((2, 2), luma.shape)))
    on_device.run(*steps)
    expected = np.full(luma.shape, 77, np.uint8)
    top, bottom, left, right = neutral.borders(luma)
    for part in (np.s_[:top], np.s_[120 - bottom :], np.s_[:, :left], np.s_[:, 160 - right :]):
        expected[part] = luma[part]
    np.testing.assert_array_equal(on_device.get(kept), expected)


def test_every_luma_and_chroma_becomes_the_color_of_the_cpu(on_device: OnDevice) -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    luma, cb, cr = (plane.reshape(52, -1) for plane in np.meshgrid(levels, levels, levels, indexing="ij"))
    out = on_device.room((*luma.shape, 3), np.uint8)
    height, width = luma.shape
    on_device.run(
        launch(
            "compose",
            (width, height, 1),
            shown=on_device.put(luma),
            chroma=on_device.put(np.stack([cb, cr])),
            out=out,
            width=width,
            height=height,
            fine_width=width,
            fine_height=height,
            limit=-1.0,
        )
    )
    expected = color_space.color_luma(*(np.ascontiguousarray(plane) for plane in (luma, cb, cr)))
    assert np.abs(on_device.get(out).astype(int) - expected).max() <= 1  # float32 where gamut ends

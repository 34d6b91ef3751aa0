"""Recoloring on a device gives the picture that `recolor.Recoloring` gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import texture
from tests.engines.on_device import OnDevice, planes_of

from irchroma.engines import catalog
from irchroma.engines.gpu.device import Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import sizes
from irchroma.engines.gpu.steps.i420 import Layout, packed_bytes
from irchroma.engines.gpu.steps.recolor import FrameArrays, RecolorSteps, find_borders
from irchroma.engines.recolor import base_tone, color_space, fog, heat, neutral
from irchroma.engines.recolor.band import BandLook, Unsure
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
    on_device: OnDevice, given: Scene, look: BandLook, options: RecolorOptions, layout: Layout | None = None
) -> Luma:
    """(H, W, 3) R'G'B', or a packed picture."""
    size, color = (given.luma.shape[0], given.luma.shape[1]), given.ycc.transpose(2, 0, 1)
    frame = FrameArrays(
        luma=on_device.put(given.luma),
        small=on_device.put(given.small),
        color=on_device.put(np.concatenate([color[:3], given.confidence[None], color[3:]])),
        out=on_device.room((*size, 3) if layout is None else (packed_bytes(size),), np.uint8),
        layout=layout,
    )
    space = Workspace(on_device.device)
    steps = RecolorSteps(space, options, look).build(frame)
    on_device.run(*steps)
    first = on_device.get(frame.out)
    on_device.run(*steps)  # nothing may be left over from the frame before
    np.testing.assert_array_equal(first, on_device.get(frame.out))
    space.close()
    return first


def assert_alike(found: Luma, expected: Luma) -> None:
    off = np.abs(found.astype(int) - expected)
    assert off.mean() < MEAN_LEVELS
    assert (off > FAR_LEVELS).mean() < FAR_SHARE


def assert_as_on_the_cpu(
    on_device: OnDevice, given: Scene, look: BandLook, options: RecolorOptions | None = None
) -> Luma:
    """As R'G'B', and as encoders take it; gives the CPU's R'G'B'."""
    options = options or RecolorOptions()
    parts = given.luma, given.small
    cpu = Recoloring(options, look)
    expected = cpu.apply(*parts, given.ycc.copy(), given.confidence.copy())
    planes = cpu.planes(*parts, given.ycc.copy(), given.confidence.copy())
    assert_alike(recolored(on_device, given, look, options), expected)
    layouts: tuple[Layout, Layout] = ("i420", "nv12")
    size = (given.luma.shape[0], given.luma.shape[1])
    for layout in layouts:
        packed = recolored(on_device, given, look, options, layout)
        for one, other in zip(planes_of(packed, size, layout), planes, strict=True):
            assert_alike(one, other)
    return expected


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
    assert_as_on_the_cpu(on_device, scene(size, work), catalog.look_of(band, "best"))


@pytest.mark.parametrize("cloud", [0, 40])
def test_wires_before_a_cold_sky_are_turned_around_by_the_same_amount(
    on_device: OnDevice, cloud: int
) -> None:
    row, column = np.mgrid[:240, :320].astype(np.float32)
    luma = texture((240, 320), 20, 30, seed=6, scale=4)
    luma += cloud * (1 + np.sin(row / 7) * np.cos(column / 9)) * (column > 160)
    luma[:, 40::40] += 40
    luma[140:] = texture((100, 320), 110, 150, seed=7, scale=4)
    shown = assert_as_on_the_cpu(
        on_device, before_a_sky(luma.astype(np.uint8)), catalog.BANDS["thermal"].look
    )
    assert shown[40:100, 80].mean() < shown[40:100, 60].mean() - 20, "the scene has nothing to turn"


def test_a_cold_sky_is_rid_of_its_noise_by_the_same_amount(on_device: OnDevice) -> None:
    row, _ = np.mgrid[:240, :320].astype(np.float32)
    noise = np.random.default_rng(8).normal(30, 3, (240, 320))
    luma = np.where(row < 140, noise, texture((240, 320), 110, 150, seed=7, scale=4)).astype(np.uint8)
    shown = assert_as_on_the_cpu(on_device, before_a_sky(luma), catalog.BANDS["thermal"].look)
    assert shown[40:100, :, 1].std() < 0.6 * luma[40:100].std(), "the scene has no noise to lose"


def test_hot_wires_before_a_cold_sky_are_not_black_by_the_same_amount(on_device: OnDevice) -> None:
    luma = np.random.default_rng(9).normal(30, 1, (240, 320)).clip(0, 255)
    luma[140:] = texture((100, 320), 110, 150, seed=7, scale=4)
    luma[:140, 40::40] = luma[:140, 41::40] = 230
    luma = luma.astype(np.uint8)
    given, look = before_a_sky(luma), catalog.BANDS["thermal"].look
    shown = assert_as_on_the_cpu(on_device, given, look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_tone, "DARKEST", -1.0)
        black = Recoloring(RecolorOptions(), look).apply(luma, luma, given.ycc.copy(), given.confidence)
    assert black[20:100].min() < shown[20:100].min() - 20, "the scene has nothing that would be black"


def before_a_sky(luma: Luma) -> Scene:
    """What a network says of such a picture: a blue sky in the upper part, something brown below."""
    row, _ = np.mgrid[: luma.shape[0], : luma.shape[1]]
    tone = np.where(row < 140, np.float32(0.7) + luma / np.float32(600), np.float32(0.45))
    blue = np.where(row < 140, np.float32(0.09), np.float32(-0.09))
    ycc = np.dstack([cv2.GaussianBlur(plane, (0, 0), 3) for plane in (tone, blue, -blue)])
    return Scene(luma, luma, np.ascontiguousarray(ycc), np.ones(luma.shape, np.float32))


def test_snow_is_white_and_leaves_are_green_by_the_same_amount(on_device: OnDevice) -> None:
    """Every tone, luma and chroma around the bounds of both."""
    size = (240, 320)
    luma = texture(size, 110, 250, seed=1, scale=8).astype(np.uint8)
    planes = ((0.4, 0.8, 2), (-0.1, 0.02, 3), (-0.05, 0.06, 4))
    ycc = np.dstack([texture(size, low, high, seed, 8) for low, high, seed in planes])
    given = Scene(luma, luma, np.ascontiguousarray(ycc), np.ones(size, np.float32))
    look = catalog.BANDS["nir"].look
    assert look.decided
    shown = assert_as_on_the_cpu(on_device, given, look)
    plain = Recoloring(RecolorOptions(), replace(look, decided=False)).apply(
        luma, luma, given.ycc.copy(), given.confidence
    )
    off = np.abs(shown.astype(int) - plain)
    assert (off > 4).mean() > 0.05, "the scene has neither snow nor leaves"


def test_colors_of_no_day_are_something_else_by_the_same_amount(on_device: OnDevice) -> None:
    """Every tone, luma, chroma and sureness around the bounds of dark blue, brown and violet."""
    size = (240, 320)
    luma = texture(size, 20, 200, seed=1, scale=8).astype(np.uint8)
    planes = ((0.05, 0.6, 2), (-0.1, 0.1, 3), (-0.06, 0.08, 4))
    ycc = np.dstack([texture(size, low, high, seed, 8) for low, high, seed in planes])
    given = Scene(luma, luma, np.ascontiguousarray(ycc), texture(size, 0.05, 0.2, 5, 8))
    look = catalog.BANDS["thermal"].look
    assert look.unmixed
    shown = assert_as_on_the_cpu(on_device, given, look)
    plain = Recoloring(RecolorOptions(), replace(look, unmixed=False)).apply(
        luma, luma, given.ycc.copy(), given.confidence
    )
    off = np.abs(shown.astype(int) - plain)
    assert (off > 4).mean() > 0.05, "the scene has nothing to unmix"


def with_and_without(
    module: object, rule: str, on_device: OnDevice, luma: Plane, ycc: Plane, look: BandLook, steered: bool
) -> tuple[Luma, Luma]:
    """The R'G'B' of both, and what the CPU shows where a rule of the recoloring does nothing."""
    work = ycc.shape[:2]
    bytes_ = luma.astype(np.uint8)
    small = np.asarray(cv2.resize(bytes_, work[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    share = [texture(work, -0.2, 1.2, 9, 8).clip(0, 1)[..., None]] if steered else []
    sure = np.ones(work, np.float32)
    given = Scene(bytes_, small, np.concatenate([ycc, *share], 2).astype(np.float32), sure)
    shown = assert_as_on_the_cpu(on_device, given, look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, rule, lambda *_: None)
        plain = Recoloring(RecolorOptions(), look).apply(bytes_, small, given.ycc.copy(), sure)
    return shown, plain


@pytest.mark.parametrize("size", [(240, 320), (480, 640)], ids=["whole", "at half"])
@pytest.mark.parametrize("steered", [False, True], ids=["alone", "beside a reference"])
def test_a_sky_ends_where_its_heat_does_by_the_same_amount(
    on_device: OnDevice, size: tuple[int, int], steered: bool
) -> None:
    """Sky painted into crowns, a green cloud, lavender and olive things in the sun."""
    work, look = (240, 320), catalog.BANDS["thermal"].look
    luma = texture(size, 20, 50, seed=6, scale=8)
    luma[size[0] // 2 :] = texture((size[0] // 2, size[1]), 90, 240, seed=7, scale=16)
    row, column = np.mgrid[: work[0], : work[1]]
    above = ((150 + 12 * np.sin(column / 20) - row) / 10).clip(0, 1)
    above[40:60, 100:140] = 0
    ycc = np.dstack([sky * above + low * (1 - above) for sky, low in ((0.7, 0.4), (0.1, 0), (-0.06, 0))])
    ycc[:, :, 1] += (1 - above) * texture(work, -0.09, 0.03, 8, 16)
    ycc = np.ascontiguousarray(ycc, np.float32)
    shown, plain = with_and_without(heat, "part_by_heat", on_device, luma, ycc, look, steered)
    assert (np.abs(shown.astype(int) - plain) > 4).mean() > 0.05, "the scene has nothing to part"


@pytest.mark.parametrize("size", [(240, 320), (482, 644)], ids=["whole", "at half"])
@pytest.mark.parametrize("steered", [False, True], ids=["alone", "beside a reference"])
def test_blue_whose_luma_is_green_is_green_by_the_same_amount(
    on_device: OnDevice, size: tuple[int, int], steered: bool
) -> None:
    """A dark meadow, blue here and there, beside a darker lake."""
    look = catalog.BANDS["nir"].look
    work = {240: (240, 320), 482: (241, 322)}[size[0]]
    luma = texture(size, 90, 150, seed=1, scale=8)
    luma[:, : size[1] // 4] = texture((size[0], size[1] // 4), 60, 80, seed=2, scale=8)
    planes = ((0.2, 0.45, 3), (0, 1, 4), (-0.03, 0.01, 5))
    ycc = np.dstack([texture(work, low, high, seed, 16) for low, high, seed in planes])
    ycc[..., 1] = np.interp(ycc[..., 1], np.quantile(ycc[..., 1], (0.75, 0.85)), (-0.04, 0.07))
    ycc[:, : work[1] // 4, 1:] = 0.05, -0.04
    shown, plain = with_and_without(fog, "out_of_fog", on_device, luma, ycc, look, steered)
    off = np.abs(shown.astype(int) - plain)
    assert (off > 4).mean() > 0.01, "the scene has no fog"
    assert (off[:, : size[1] // 4 - 32] > 4).mean() < 0.01, "the lake stays"


@pytest.mark.parametrize("band", ["nir", "thermal"])
@pytest.mark.parametrize("size", [(240, 320), (480, 640)], ids=["whole", "at half"])
def test_what_a_reference_gave_is_left_alone_by_the_same_amount(
    on_device: OnDevice, band: str, size: tuple[int, int]
) -> None:
    work, look = (240, 320), catalog.BANDS[band].look
    reds = {"nir": (-0.16, 0.06), "thermal": (-0.06, 0.12)}[band]  # mint and teal, violet and brown
    planes = ((0.05, 0.6, 2), (-0.1, 0.1, 3), (*reds, 4))
    ycc = np.dstack([texture(work, low, high, seed, 8) for low, high, seed in planes])
    seen = scene(size, work)
    plain = Scene(seen.luma, seen.small, np.ascontiguousarray(ycc), texture(work, 0.1, 0.5, 5, 8))
    steered = np.dstack([ycc, texture(work, -0.2, 1.2, 6, 8).clip(0, 1)])
    shown = assert_as_on_the_cpu(
        on_device, Scene(plain.luma, plain.small, np.asarray(steered, np.float32), plain.confidence), look
    )
    alone = Recoloring(RecolorOptions(), look).apply(
        plain.luma, plain.small, plain.ycc.copy(), plain.confidence
    )
    assert (np.abs(shown.astype(int) - alone) > 4).mean() > 0.05, "the scene has nothing to leave alone"


def test_gaps_among_leaves_are_not_black_by_the_same_amount(on_device: OnDevice) -> None:
    luma = texture((240, 320), 110, 150, seed=7, scale=4)
    for row, column in np.random.default_rng(10).integers(8, 230, (60, 2)):
        luma[row : row + 4, column : column + 4] = 10
    luma = luma.astype(np.uint8)
    tone = (luma / np.float32(255) - np.float32(0.15)).clip(0, 1)
    green = np.full_like(tone, -0.09)
    given = Scene(luma, luma, np.ascontiguousarray(np.dstack([tone, green, green / 2])), np.ones_like(tone))
    look = catalog.BANDS["thermal"].look
    shown = assert_as_on_the_cpu(on_device, given, look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_tone, "GAP", -9.0)
        black = Recoloring(RecolorOptions(), look).apply(luma, luma, given.ycc.copy(), given.confidence)
    assert shown[luma == 10].mean() > black[luma == 10].mean() + 10, "the scene has no black gaps"


def test_windows_in_walls_from_green_to_red_are_as_dark(on_device: OnDevice) -> None:
    luma = np.full((240, 320), 150, np.uint8)
    for row, column in np.random.default_rng(10).integers(8, (230, 310), (60, 2)):
        luma[row : row + 4, column : column + 6] = 20
    tone = (luma / np.float32(255) - np.float32(0.05)).clip(0, 1)
    red = np.broadcast_to(np.linspace(-0.03, 0.06, 320, dtype=np.float32), tone.shape)
    ycc = np.ascontiguousarray(np.dstack([tone, np.full_like(tone, -0.07), red]))
    given = Scene(luma, luma, ycc, np.ones_like(tone))
    shown = assert_as_on_the_cpu(on_device, given, catalog.BANDS["thermal"].look)
    green, brick = (shown[:, part][luma[:, part] == 20].mean() for part in (slice(80), slice(240, None)))
    assert green > brick + 20


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "chroma"},
        {"mode": "chroma", "chroma_limit": 20.0},
        {"chroma_limit": 20.0},
        {"chroma_limit": 0.0},
        {"sure": 0.9, "radius_px": 5},
        {"unsure": 0.3, "sure": 0.7, "instead": "palette"},
    ],
)
def test_options_mean_the_same(on_device: OnDevice, change: dict[str, object]) -> None:
    options = replace(RecolorOptions(), **change)  # type: ignore[arg-type]
    assert_as_on_the_cpu(on_device, scene((480, 640), (240, 320)), catalog.BANDS["nir"].look, options)


@pytest.mark.parametrize("instead", ["auto", "gray"])
def test_what_is_not_known_of_heat_is_lit_by_the_same_lamps(on_device: OnDevice, instead: Unsure) -> None:
    options = RecolorOptions(unsure=0.4, sure=0.8, instead=instead)
    assert_as_on_the_cpu(on_device, scene((480, 640), (240, 320)), catalog.BANDS["thermal"].look, options)


def test_a_night_is_calm_by_the_same_amount(on_device: OnDevice) -> None:
    given = scene((120, 160), (120, 160))
    dark = (given.luma * 0.3).astype(np.uint8)
    assert_as_on_the_cpu(on_device, replace(given, luma=dark, small=dark), catalog.BANDS["nir"].look)


@pytest.mark.parametrize(("brightness", "dark"), [(0.46, (0.5, 0.6)), (0.3, (0.7, 1.0))])
def test_a_dark_scene_is_brightened_by_the_same_amount(
    on_device: OnDevice, brightness: float, dark: tuple[float, float]
) -> None:
    given = scene((240, 320), (240, 320))
    luma = (given.luma * brightness).astype(np.uint8)
    look = catalog.BANDS["thermal"].look
    share = np.mean(cv2.blur(luma, (7, 7)) < 255 * look.dark)
    assert dark[0] <= share <= dark[1]
    assert_as_on_the_cpu(on_device, replace(given, luma=luma, small=luma), look)


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

"""The neural colorizer: its contract, several streams at once, and every runtime on the shipped networks."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed, open_network
from irchroma.engines.neural.colorizer import (
    NeuralColorizer,
    NeuralOptions,
    padded,
    work_size,
)
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.temporal.stage import TemporalOptions
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions
from irchroma.stream.tone.tone_map import ToneMap

pytestmark = pytest.mark.skipif(not any(map(installed, RUNTIMES)), reason="no runtime is installed")

QUICK = NetworkOptions(cache=None, threads=2)
FRAME_NS = 33_366_667


def scene(number: int = 0, size: tuple[int, int] = (128, 160)) -> NDArray[np.uint8]:
    """Sky over ground with a block that moves."""
    rows = np.linspace(0, 1, size[0])[:, None] * np.ones(size[1])
    luma = np.where(rows < 0.4, 90 + 40 * rows, 160 - 30 * rows)
    luma += cv2.GaussianBlur(np.random.default_rng(9).normal(0, 18, size), (0, 0), 1.0)
    left = 20 + 3 * number
    luma[size[0] // 2 : size[0] * 3 // 4, left : left + size[1] // 8] = 40
    return np.clip(luma, 0, 255).astype(np.uint8)


class Noting:
    """A network that notes the shapes it is asked for."""

    name, lanes, best_batch = "noting", 1, 1

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.shapes.append(luma.shape)
        return np.concatenate([luma, 0 * luma, 0 * luma], axis=1), np.ones_like(luma)

    def close(self) -> None:
        pass


@pytest.fixture
def options(tiny_network: Path) -> NeuralOptions:
    return NeuralOptions(weights=tiny_network, network=QUICK)


def test_frames_come_back_in_order_at_their_own_size_with_a_confidence(options: NeuralOptions) -> None:
    colorizer = NeuralColorizer(options)
    assert colorizer.synthetic
    assert colorizer.name.startswith("nir fast of ")
    sizes = [(512, 640), (480, 853), (37, 51), (16, 16), (1080, 1920), (1, 1)]
    for number in range(0, len(sizes), colorizer.depth):
        for step in range(colorizer.depth):
            colorizer.submit(scene(0, sizes[number + step]), (number + step) * FRAME_NS)
        for step in range(colorizer.depth):
            colored = colorizer.collect()
            assert colored.rgb.shape == (*sizes[number + step], 3)
            assert colored.rgb.dtype == np.uint8
            assert colored.confidence is not None
            assert max(colored.confidence.shape) <= 320
    with pytest.raises(EngineError, match="collect without submit"):
        colorizer.collect()
    colorizer.close()
    colorizer.close()


def test_the_frame_is_not_written_to_and_the_same_frame_gives_the_same_color(options: NeuralOptions) -> None:
    colorizer = NeuralColorizer(options)
    luma = scene()
    luma.flags.writeable = False
    colorizer.submit(luma, 0)
    first = colorizer.collect().rgb
    colorizer.reset()
    colorizer.submit(luma, 0)
    np.testing.assert_array_equal(colorizer.collect().rgb, first)


def test_a_frame_that_its_owner_writes_to_after_collect_does_no_harm(options: NeuralOptions) -> None:
    shared, fresh = NeuralColorizer(options), NeuralColorizer(options)
    buffer = np.empty((128, 160), np.uint8)
    for number in range(3):
        buffer[:] = scene(number)
        shared.submit(buffer, number * FRAME_NS)
        fresh.submit(scene(number), number * FRAME_NS)
        np.testing.assert_array_equal(shared.collect().rgb, fresh.collect().rgb)


@pytest.mark.parametrize("every", [1, 3])
def test_frames_given_ahead_get_the_same_pictures(options: NeuralOptions, every: int) -> None:
    options = replace(options, temporal=TemporalOptions(color_every=every))
    plain, ahead = NeuralColorizer(options), NeuralColorizer(replace(options, ahead=True))
    assert ahead.depth > plain.depth
    found = []
    for number in range(12):
        plain.submit(scene(number), number * FRAME_NS, held=number == 5)
        ahead.submit(scene(number), number * FRAME_NS, held=number == 5)
        found.append(plain.collect().rgb)
        if number >= ahead.depth - 1:
            np.testing.assert_array_equal(ahead.collect().rgb, found.pop(0))
    assert len(found) == ahead.depth - 1
    for expected in found:
        np.testing.assert_array_equal(ahead.collect().rgb, expected)
    for colorizer in (plain, ahead):
        colorizer.close()


def test_a_network_that_fails_on_a_frame_given_ahead_says_so_when_it_is_collected(
    options: NeuralOptions,
) -> None:
    class Failing:
        name, lanes, best_batch = "failing", 1, 1

        def infer(self, luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            raise EngineError("no memory")

        def close(self) -> None:
            pass

    colorizer = NeuralColorizer(replace(options, ahead=True), Failing())
    colorizer.submit(scene(), 0)
    with pytest.raises(EngineError, match="no memory"):
        colorizer.collect()
    colorizer.close()


def test_reset_drops_what_is_in_flight(options: NeuralOptions) -> None:
    colorizer = NeuralColorizer(options)
    colorizer.submit(scene(), 0)
    colorizer.reset()
    with pytest.raises(EngineError, match="collect without submit"):
        colorizer.collect()


@pytest.mark.parametrize("beside", [False, True])
def test_a_closed_colorizer_is_gone_at_once(options: NeuralOptions, beside: bool) -> None:
    """Its memory is the network's: a service whose engine is changed often cannot wait for a collection."""
    colorizer = NeuralColorizer(replace(options, beside=beside))
    parts = [weakref.ref(part) for part in (colorizer, colorizer.network, colorizer._stage)]
    gc.disable()
    try:
        for number in range(4):
            colorizer.submit(scene(number), number * FRAME_NS)
            colorizer.collect()
        colorizer.close()
        del colorizer
        assert [part() for part in parts] == [None] * len(parts)
    finally:
        gc.enable()


def test_streams_that_share_a_network_get_what_each_would_get_alone(options: NeuralOptions) -> None:
    options = replace(options, network=NetworkOptions(cache=None, exact=True))
    network = open_network(options.weights or Path(), options.network)
    shapes = [(128, 160), (96, 100), (128, 160)]
    alone, together = ([NeuralColorizer(options, owned) for _ in shapes] for owned in (None, network))
    for number in range(3):
        lumas = [scene(number + 4 * stream, shape) for stream, shape in enumerate(shapes)]
        for colorizer, luma in zip(together, lumas, strict=True):
            colorizer.submit(luma, number * FRAME_NS)
        for one, other, luma in zip(alone, together, lumas, strict=True):
            one.submit(luma, number * FRAME_NS)
            assert np.abs(one.collect().rgb.astype(int) - other.collect().rgb).max() <= 1
    for colorizer in (*alone, *together):
        colorizer.close()
    network.infer(padded(scene()))  # a shared network is still its owner's
    network.close()


def test_frames_between_runs_of_the_network_are_colored_too(tiny_network: Path) -> None:
    options = NeuralOptions(weights=tiny_network, temporal=TemporalOptions(color_every=3), network=QUICK)
    colorizer = NeuralColorizer(options)
    for number in range(7):
        colorizer.submit(scene(number), number * FRAME_NS, held=number == 5)
        rgb = colorizer.collect().rgb
        assert np.ptp(rgb.astype(int), axis=2).mean() > 3


def test_work_size_keeps_the_shape_and_never_enlarges() -> None:
    assert work_size((512, 640), 320) == (256, 320)
    assert work_size((1080, 1920), 320) == (180, 320)
    assert work_size((120, 160), 320) == (120, 160)
    assert work_size((16, 7680), 320) == (1, 320)


def test_padding_mirrors_to_multiples_of_32() -> None:
    luma = scene(0, (45, 64))
    batch = padded(luma)
    assert batch.shape == (1, 1, 64, 64)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, 0, 45:], luma[-2:-21:-1] / 255, atol=1e-6)
    assert padded(scene(0, (1, 1))).shape == (1, 1, 32, 32)


def test_options_and_frames_that_make_no_sense_are_refused(options: NeuralOptions, tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="unknown engine 'uv'"):
        NeuralOptions(engine="uv")
    with pytest.raises(EngineOptionError, match="use fast or best"):
        NeuralOptions(size="huge")
    with pytest.raises(EngineOptionError, match="below 32"):
        NeuralOptions(work_size_px=8)
    with pytest.raises(EngineUnavailable, match="no weights at"):
        NeuralColorizer(NeuralOptions(weights=tmp_path / "none.onnx"))
    with pytest.raises(EngineOptionError, match=r"expected \(H, W\) uint8 luma"):
        NeuralColorizer(options).submit(np.zeros((4, 4, 3), np.uint8), 0)


def test_a_prepared_network_has_met_the_pictures_to_come(options: NeuralOptions) -> None:
    network = Noting()
    colorizer = NeuralColorizer(options, network=network)
    colorizer.prepare((480, 640))
    colorizer.submit(scene(0, (480, 640)), 0)
    assert len(network.shapes) == 2
    assert network.shapes[0] == network.shapes[1]


def camera_picture(kind: str) -> NDArray[np.uint8]:
    """(240, 320) uint8 luma of the synthetic camera of that band."""
    camera = SyntheticCamera(SyntheticOptions(band=kind, size=(240, 320)))
    return ToneMap().apply(camera.frame(20).pixels, 0)


SHIPPED = [(kind, size) for kind in catalog.BANDS for size in catalog.SIZES]


QUICK_MEAN = {"nir": 0.5, "thermal": 1.2}
"""Largest mean CIEDE2000 that bf16 (8 bits of mantissa) may cost; on real thermal pictures it is 0.23, on
the synthetic ones, whose sky is all one level, up to 0.93."""
TWIN_MEAN = 0.7
"""As much of a network of 8 bits, where it is faster: 0.4 to 0.6 on real pictures, on the synthetic near
infrared one 0.53, and 0.64 where its other layers run in bf16."""
DETAIL = {"nir": 0.85, "thermal": 0.83}
"""Least that a picture keeps of it: in thermal, what changes from bright to dark before the sky passes
through nothing on the way."""


@pytest.mark.parametrize(("kind", "size"), SHIPPED)
def test_all_runtimes_give_one_picture_of_a_shipped_network(kind: str, size: str) -> None:
    metrics = pytest.importorskip("irchroma.engines.measures.metrics")
    pytest.importorskip("skimage")
    if not catalog.weights_path(kind, size).is_file():
        pytest.skip(f"weights of {kind} {size} are not here")
    pictures = {}
    luma = camera_picture(kind)
    for runtime in filter(installed, RUNTIMES):
        for exact in (True, False):
            network = NetworkOptions(runtime, cache=None, threads=2, exact=exact)
            colorizer = NeuralColorizer(NeuralOptions(kind, size, steady=False, network=network))
            if colorizer.name not in pictures:
                colorizer.submit(luma, 0)
                pictures[colorizer.name] = colorizer.collect().rgb
            colorizer.close()
    reference = next(iter(pictures.values()))
    for name, picture in pictures.items():
        difference = deltaE_ciede2000(metrics.rgb_to_lab(picture), metrics.rgb_to_lab(reference))
        floats = QUICK_MEAN[kind] if name.endswith("bf16") else 0.5
        allowed = max(TWIN_MEAN, floats) if " int8," in name else floats
        assert difference.mean() < allowed, name
        assert difference.max() < 5, name


@pytest.mark.parametrize(("kind", "size"), SHIPPED)
def test_a_shipped_network_keeps_the_detail_and_shows_color(kind: str, size: str) -> None:
    metrics = pytest.importorskip("irchroma.engines.measures.metrics")
    if not catalog.weights_path(kind, size).is_file():
        pytest.skip(f"weights of {kind} {size} are not here")
    luma = camera_picture(kind)
    for mode, least in (("full", DETAIL[kind]), ("chroma", 0.97)):
        recolor = RecolorOptions(mode)  # type: ignore[arg-type]
        colorizer = NeuralColorizer(NeuralOptions(kind, size, steady=False, recolor=recolor, network=QUICK))
        colorizer.submit(luma, 0)
        assert metrics.detail_kept(luma, colorizer.collect().rgb)[0] >= least

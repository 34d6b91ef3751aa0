"""The engine `reference` with the networks that ship: what a picture given with a frame changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines.catalog import BANDS, WEIGHTS, WORK_SIZE_PX, look_of
from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.network.network import GRAPH_RUNTIMES, NetworkOptions, installed
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.exemplar import ExemplarNetwork, PreparedNetwork, evenly
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.neural.tokens import encoded_size, places
from irchroma.engines.recolor.work_picture import padded, work_size
from irchroma.engines.reference.influence import CHOSEN
from irchroma.engines.reference.pictures import AUTO, Reference, load_references, save_references

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")

FRAME_NS = 33_366_667
ENGINES = tuple(band for band in BANDS if (WEIGHTS / f"reference_{band}.onnx").is_file())


def scene(seed: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W) infrared and (H, W, 3) color of sky, trees and ground."""
    random = np.random.default_rng(seed)
    height, width = 192, 256
    infrared = np.zeros((height, width), np.float32)
    rgb = np.zeros((height, width, 3), np.float32)
    infrared[:], rgb[:] = 70, (225, 230, 235)
    infrared[120:], rgb[120:] = 150, (120, 118, 112)
    for _ in range(12):
        middle = (int(random.integers(0, width)), int(random.integers(90, 130)))
        radius = int(random.integers(12, 30))
        cv2.circle(infrared, middle, radius, 110.0, -1)
        cv2.circle(rgb, middle, radius, (60.0, 84.0, 50.0), -1)
    grain = cv2.GaussianBlur(random.normal(0, 14, (height, width)), (0, 0), 1.0)
    return (
        np.clip(infrared + grain, 0, 255).astype(np.uint8),
        np.clip(rgb + grain[..., None], 0, 255).astype(np.uint8),
    )


def opened(band: str, **options: object) -> NeuralColorizer:
    network = options.pop("network", NetworkOptions("openvino", threads=1, cache=None, exact=True))
    return NeuralColorizer(NeuralOptions(engine="reference", size=band, network=network, **options))  # type: ignore[arg-type]


def opened_beside(options: NeuralOptions, size: tuple[int, int]) -> NeuralColorizer:
    """Prepared for pictures of (H, W), compiled in this thread first: the one beside the frames comes last of
    all on a busy machine, and counts as hung before it has compiled."""
    engine = NeuralColorizer(replace(options, beside=True))
    seen = work_size(size, options.work_size_px or WORK_SIZE_PX[engine.options.size])
    PreparedNetwork(engine.network).infer(padded(np.zeros(seen, np.uint8)))
    engine.prepare(size)
    return engine


def shown(
    colorizer: NeuralColorizer | AdjustableColorizer, luma: NDArray[np.uint8], at: int = 0
) -> NDArray[np.int_]:
    colorizer.submit(luma, at * FRAME_NS)
    return colorizer.collect().rgb.astype(int)


def live(
    colorizer: NeuralColorizer,
    luma: NDArray[np.uint8],
    enough: Callable[[NDArray[np.int_], NDArray[np.int_]], bool],
) -> list[NDArray[np.int_]]:
    """Twenty pictures, and more until the last two are enough: what works beside them takes its time."""
    pictures: list[NDArray[np.int_]] = []
    deadline_s = time.monotonic() + 240  # a machine with ten times more to do than cores took over 60
    while len(pictures) < 20 or not enough(pictures[-1], pictures[-2]):
        assert time.monotonic() < deadline_s
        pictures.append(shown(colorizer, luma, len(pictures)))
    return pictures


def error(shown: NDArray[np.int_], truth: NDArray[np.int_] | NDArray[np.uint8]) -> float:
    """Mean square."""
    return float(np.square(shown - truth.astype(int)).mean())


def given(rgb: NDArray[np.uint8]) -> Reference:
    return Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "given")


@pytest.mark.parametrize("band", ENGINES)
def test_without_a_reference_and_at_strength_0_it_is_the_band_s_network(band: str) -> None:
    luma, rgb = scene()
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    alone = NeuralColorizer(NeuralOptions(engine=band, steady=False, network=network))
    known = shown(alone, luma)
    alone.close()
    engine = opened(band, steady=False)
    np.testing.assert_array_equal(shown(engine, luma), known)
    engine.exchange_references([given(rgb)])
    assert np.abs(shown(engine, luma) - known).mean() > 1
    engine.set_reference_strength(0.0)
    np.testing.assert_array_equal(shown(engine, luma), known)
    engine.close()
    engine.close()


@pytest.mark.parametrize("band", ENGINES)
def test_more_strength_is_further_from_the_band_s_answer(band: str) -> None:
    luma, rgb = scene()
    engine = opened(band, steady=False)
    known = shown(engine, luma)
    engine.exchange_references([given(rgb)])
    away = []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        engine.set_reference_strength(strength)
        away.append(float(np.abs(shown(engine, luma) - known).mean()))
    engine.close()
    assert away[0] == 0
    assert min(np.diff(away)) > 0.5  # the tone's share saturates when it is put on the frame
    with pytest.raises(EngineOptionError, match="0 to 2"):
        engine.set_reference_strength(2.01)


@pytest.mark.parametrize("band", ENGINES)
def test_beyond_1_a_mood_grows_and_nothing_of_the_scene_s_own_picture_is_held_back(band: str) -> None:
    luma, rgb = scene()
    meadow = np.zeros_like(rgb)
    meadow[:], meadow[70:] = (90, 150, 240), (60, 125, 50)
    street, _ = daytime_scene.draw(9)
    cold = np.clip(street.astype(int) + np.array((-40, 0, 40)), 0, 255).astype(np.uint8)
    engine = opened(band, steady=False)
    known = shown(engine, luma)
    pictures = {}
    for name, picture in (("own", rgb), ("cold", cold), ("meadow", meadow)):
        engine.exchange_references([given(picture)])
        for strength in (1.0, 2.0):
            engine.set_reference_strength(strength)
            pictures[name, strength] = shown(engine, luma)
    engine.close()
    assert error(pictures["own", 2.0], rgb) <= error(pictures["own", 1.0], rgb)
    # Meadow and sky change leaves and sky alone; thermal's network shows next to none of them in this frame.
    for name in ("cold", "meadow") if band == "nir" else ("cold",):
        away = [float(np.abs(pictures[name, strength] - known).mean()) for strength in (1.0, 2.0)]
        assert 0.3 < 1.3 * away[0] < away[1]


@pytest.mark.skipif("thermal" not in ENGINES, reason="no weights of reference:thermal")
def test_a_night_s_tone_comes_by_the_scene_s_picture_that_is_named_alone(tmp_path: Path) -> None:
    rgb, luma = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    path = tmp_path / "night.png"
    save_references(path, [given(rgb // 4)])
    engine = opened("thermal", reference=AUTO, steady=False)
    known = shown(engine, luma).mean()
    (night,) = load_references(path)
    engine.exchange_references([night])
    named = []
    for strength in (0.25, 0.5, 0.75, 1.0):
        engine.set_reference_strength(strength)
        named.append(shown(engine, luma).mean())
    assert max(np.diff([known, *named])) < -3
    engine.exchange_references([given(rgb // 4)])  # as of a library
    assert shown(engine, luma).mean() > known - 10 > named[-1] + 10
    engine.exchange_references([replace(night, rgb=other // 4)])
    assert shown(engine, luma).mean() > known - 10
    engine.close()


@pytest.mark.parametrize("band", ENGINES)
def test_pictures_of_other_scenes_give_their_light(band: str) -> None:
    luma, _ = scene()
    engine = opened(band, steady=False)
    street, _ = daytime_scene.draw(9)
    warmth = []
    for tint in ((40, 0, -40), (0, 0, 0), (-40, 0, 40)):
        other = np.clip(street.astype(int) + tint, 0, 255).astype(np.uint8)
        engine.exchange_references([given(other)])
        steered = shown(engine, luma)
        warmth.append(float((steered[..., 0] - steered[..., 2]).mean()))
    engine.close()
    # Of as much light as a mood gives at most: over half of it each way, and never more than both.
    warm, cold = (255 * most * np.hypot(1.402, 1.772) for most in (CHOSEN.warm_most, CHOSEN.cold_most))
    assert warmth[0] > warmth[1] + 0.5 * warm
    assert warmth[1] > warmth[2] + 0.5 * cold > warmth[2] + 4
    assert warmth[0] < warmth[2] + warm + cold


@pytest.mark.parametrize("band", ENGINES)
def test_another_scene_s_picture_makes_nothing_surer_and_switches_no_rule_off(band: str) -> None:
    """In a dark picture all was sure with it: a sky appeared in a corner of a yard by night."""
    luma, rgb = scene()
    other, _ = daytime_scene.draw(9)
    engine = opened(band, steady=False)
    network = engine.network
    assert isinstance(network, ExemplarNetwork)
    seen = padded(np.ascontiguousarray(luma // 5))
    _, alone = network.infer(seen)
    engine.exchange_references([given(other)])
    _, sure = network.infer(seen)
    np.testing.assert_array_equal(sure, alone)
    shown(engine, luma)
    assert engine._recoloring.look == BANDS[band].look
    engine.exchange_references([given(rgb)])
    engine.reset()
    shown(engine, luma)
    assert engine._recoloring.look == look_of("reference", band) != BANDS[band].look
    engine.close()


def test_matches_by_content_take_no_color_away_and_where_they_differ_nothing_is_taken() -> None:
    random = np.random.default_rng(2)
    own = np.zeros((3, 128, 192), np.float32)
    own[0] = np.linspace(0.2, 0.8, 192)
    own[1], own[2] = -0.05, 0.06
    paler = own[None].copy()
    paler[0, 1:] *= 0.6
    np.testing.assert_allclose(evenly(paler, own)[0], own, atol=1e-5)
    agreed = own[None].copy()
    agreed[0, 1:] *= 1.2
    taken = (evenly(agreed, own)[0] - own)[1:] / own[1:]
    np.testing.assert_allclose(taken, 0.2 * 0.0061 / 0.007, atol=5e-3)
    patches = cv2.resize(random.choice([-1, 1], (16, 24)).astype(np.float32), (192, 128), interpolation=0)
    blotchy = own[None].copy()
    blotchy[0, 1] += 0.03 * patches
    assert np.sqrt(np.square(evenly(blotchy, own)[0] - own).mean()) < 0.1 * 0.03
    gray = own.copy()
    gray[1:] = 0.0
    assert np.abs(evenly(gray[None] + np.float32(0.03), gray)[0] - gray).max() < 1e-6


@pytest.mark.parametrize("band", ENGINES)
def test_the_same_scene_s_picture_brings_the_frame_nearer_to_the_truth(band: str) -> None:
    luma, rgb = scene()
    engine = opened(band, steady=False)
    alone = shown(engine, luma)
    engine.exchange_references([given(rgb)])
    steered = shown(engine, luma)
    engine.close()
    error = [float(np.square(one - rgb).mean()) for one in (alone, steered)]
    assert error[1] < 0.7 * error[0]


@pytest.mark.parametrize("band", ENGINES)
def test_what_is_transparent_in_the_reference_gives_no_color(band: str) -> None:
    luma, rgb = scene()
    painted, trust = rgb.copy(), np.full(rgb.shape[:2], 255, np.uint8)
    painted[:, :128], trust[:, :128] = (230, 20, 200), 0
    engine = opened(band, steady=False)
    engine.exchange_references([given(painted)])
    trusting = shown(engine, luma)
    engine.exchange_references([Reference(painted, trust)])
    doubting = shown(engine, luma)
    engine.close()

    def purple(picture: NDArray[np.int_]) -> float:
        return float((picture[..., 0] + picture[..., 2] - 2 * picture[..., 1]).mean())

    assert purple(doubting) < purple(trusting) - 5


@pytest.mark.parametrize("band", ENGINES)
def test_both_runtimes_say_the_same(band: str) -> None:
    luma, rgb = scene()
    found = []
    for runtime in GRAPH_RUNTIMES:
        if not installed(runtime):
            pytest.skip(f"{runtime} is not installed")
        engine = opened(
            band, steady=False, network=NetworkOptions(runtime, threads=1, cache=None, exact=True)
        )
        engine.exchange_references([given(rgb)])
        found.append(shown(engine, luma))
        engine.close()
    # OpenVINO's takes what the band's network knows, whose first layers have moved by 0.7 % in thermal.
    assert np.abs(found[0] - found[1]).max() <= 4
    assert error(found[0], found[1]) < 0.2  # 55 dB


@pytest.mark.parametrize("band", ENGINES)
def test_beside_the_frames_and_with_a_file_it_colors_a_live_video(band: str, tmp_path: Path) -> None:
    luma, rgb = scene()
    path = tmp_path / "day.png"
    save_references(path, [given(rgb)])
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(engine="reference", size=band, network=network, reference=path)
    engine = opened_beside(options, luma.shape)
    gray = float(np.square(luma[..., None] - rgb.astype(int)).mean())
    pictures = live(engine, luma, lambda now, before: error(now, rgb) < gray and error(now, before) < 4)
    engine.close()
    assert isinstance(engine.network, ExemplarNetwork)
    assert engine.network.given.name == "day.png"
    assert error(pictures[-1], rgb) < gray


@pytest.mark.parametrize("band", ENGINES)
def test_a_reference_is_taken_away_again(band: str) -> None:
    luma, rgb = scene()
    engine = opened(band, reference=AUTO, steady=False)
    known = shown(engine, luma)
    engine.exchange_references([given(rgb)])
    assert np.abs(shown(engine, luma) - known).mean() > 1
    engine.exchange_references([])
    np.testing.assert_array_equal(shown(engine, luma), known)
    engine.close()


def test_the_places_of_cells_are_counted_once_for_all_frames() -> None:
    assert places(2, 3) is places(2, 3)
    np.testing.assert_allclose(places(2, 3)[0, :, 1], [[-2 / 3, 0, 2 / 3], [0.5, 0.5, 0.5]], atol=1e-6)


def test_a_reference_of_any_shape_is_encoded_in_about_as_many_cells() -> None:
    for size in ((480, 640), (640, 480), (1080, 1920), (100, 100), (90, 1200)):
        height, width = encoded_size(size)
        assert height % 32 == width % 32 == 0
        assert 500 <= height * width / 64 <= 1100
        if max(size) / min(size) < 3:
            assert width / height == pytest.approx(size[1] / size[0], rel=0.25)


@pytest.mark.parametrize("band", ENGINES)
def test_torch_is_refused_by_name(band: str) -> None:
    with pytest.raises(EngineError, match=r"openvino and onnxruntime only|not installed"):
        opened(band, network=NetworkOptions("torch", cache=None))


def test_nothing_of_it_ships_by_halves() -> None:
    for band in ENGINES:
        assert (WEIGHTS / f"reference_{band}_picture.onnx").is_file()
    assert ExemplarNetwork.best_batch == 1


def test_a_band_s_engine_with_a_reference_is_steered_beside_its_network_too(tmp_path: Path) -> None:
    rgb, infrared = daytime_scene.draw(3)
    path = tmp_path / "day.png"
    save_references(path, [given(rgb)])
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(engine="thermal", network=network)
    errors = []
    for one in (options, replace(options, reference=path)):
        engine = opened_beside(one, infrared.shape)
        assert engine.network_s > 0  # by the thread beside the frames
        known = min(errors, default=math.inf)
        pictures = live(engine, infrared, lambda now, _, known=known: error(now, rgb) < 0.5 * known)
        engine.close()
        errors.append(error(pictures[-1], rgb))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("band", ENGINES)
def test_every_rung_of_a_ladder_colors_by_the_same_reference(band: str) -> None:
    luma, rgb = scene()
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(
        engine="reference", size=band, reference=AUTO, steady=False, work_size_px=256, network=network
    )
    engine = AdjustableColorizer(options, (Rung("fast", 256), Rung("fast", 160)), size=luma.shape)
    assert engine.name.startswith(f"reference {band} auto, ")
    known = shown(engine, luma)
    engine.exchange_references([given(rgb)])
    steered = [shown(engine, luma)]
    engine.wish(1)
    assert engine.wait_ready()
    steered.append(shown(engine, luma))
    assert engine.rung == 1
    errors = [float(np.square(one - rgb).mean()) for one in (known, *steered)]
    assert max(errors[1:]) < 0.7 * errors[0]
    engine.set_reference_strength(0.0)
    assert np.abs(shown(engine, luma) - steered[1]).mean() > 1
    engine.close()
    engine.close()


@pytest.mark.parametrize("band", ENGINES)
def test_what_is_compiled_before_the_first_frame_looks_for_no_reference(band: str, tmp_path: Path) -> None:
    luma, rgb = scene()
    path = tmp_path / "day.png"
    save_references(path, [given(rgb)])
    engine = opened(band, reference=path, steady=False)
    assert isinstance(engine.network, ExemplarNetwork)
    assert engine.network.given.usual_tokens()["keys"].shape == (1, 64, 560)
    engine.prepare(luma.shape)
    ready = shown(engine, luma)
    engine.close()
    engine = opened(band, reference=path, steady=False)
    np.testing.assert_array_equal(shown(engine, luma), ready)
    engine.close()

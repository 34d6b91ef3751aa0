"""At an exchange of references nothing that is done to the color jumps, nor what is shown for it."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests import daytime_scene
from tests.waiting import wait_for

from irchroma.engines.network.network import NetworkOptions, Tensor, installed
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.exemplar import ExemplarNetwork
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.recolor.band import Unsure
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.reference.pictures import AUTO, Reference
from irchroma.engines.reference.steering import FADE_S

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")

FRAME_NS = 33_366_667


@pytest.mark.parametrize("band", ["nir", "thermal"])
def test_a_picture_that_comes_and_goes_changes_no_look_at_once(band: str) -> None:
    """The picture is of another scene: its mood alone, which geometry has nothing to do with."""
    _, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    other = np.clip(other.astype(int) + np.array((-30, 0, 30)), 0, 255).astype(np.uint8)  # in cold light
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    engine = NeuralColorizer(NeuralOptions(engine="reference", size=band, reference=AUTO, network=network))
    shown = []
    for number in range(90):
        if number == 20:
            engine.exchange_references([Reference(other, np.full(other.shape[:2], 255, np.uint8), "other")])
        if number == 55:
            engine.exchange_references([])
        engine.submit(infrared, number * FRAME_NS)
        shown.append(engine.collect().rgb.astype(int))
    engine.close()
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(shown)]
    assert np.abs(shown[50] - shown[18]).mean() > 1, "the picture changes nothing"
    for at in (20, 55):
        assert max(steps[at - 1 : at + 30]) < 0.2 * np.abs(shown[50] - shown[18]).mean()


def test_what_is_done_to_colors_fades_with_the_picture() -> None:
    """Of pictures that do not follow one another there is nothing to fade, nor after a cut."""
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    engine = NeuralColorizer(
        NeuralOptions(engine="reference", size="thermal", reference=AUTO, network=network)
    )
    assert isinstance(engine.network, ExemplarNetwork)
    picture = engine.network.given
    rgb, infrared = daytime_scene.draw(3)
    reference = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")
    assert picture.counts_at(0) == 0.0
    picture.give(reference)
    assert picture.encoded is not None
    assert picture.encoded.placing.at(infrared)[1] == 1.0  # of another scene nothing would count
    half_ns = round(FADE_S / 2 * 1e9)
    assert picture.counts_at(half_ns) == pytest.approx(0.5)
    assert picture.counts_at(half_ns) == pytest.approx(0.5)
    assert picture.counts_at(2 * half_ns) == pytest.approx(1.0)
    picture.set_strength(0.0)
    assert picture.counts_at(3 * half_ns) == pytest.approx(0.5)
    picture.set_strength(1.0)
    picture.forget()
    picture.encoded.placing.at(infrared)
    assert picture.counts_at(None) == 1.0
    picture.give(None)
    assert picture.counts_at(None) == 0.0
    engine.close()


@pytest.mark.parametrize("adjustable", [False, True])
def test_a_picture_lies_over_what_is_wished_for_where_nobody_is_sure(adjustable: bool) -> None:
    """With `gray` wished for, the least of a reference brought thermal's night under lamps."""
    rgb, infrared = daytime_scene.draw(3)
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    wishes: tuple[Unsure, ...] = ("auto", "gray")
    pictures = []
    for wish in wishes:
        options = NeuralOptions(
            engine="reference",
            size="thermal",
            reference=AUTO,
            steady=False,
            network=network,
            recolor=RecolorOptions(instead=wish),
        )
        engine = (
            AdjustableColorizer(options, (Rung("fast", 320),)) if adjustable else NeuralColorizer(options)
        )
        engine.submit(infrared, 0)
        pictures.append(engine.collect().rgb.astype(int))
        engine.exchange_references([Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")])
        engine.set_reference_strength(0.02)
        engine.submit(infrared, FRAME_NS)
        little = engine.collect().rgb.astype(int)
        engine.close()
    lamplit, gray = pictures
    assert np.ptp(gray, axis=2).max() <= 1
    apart = np.abs(lamplit - gray).mean()
    assert np.abs(little - gray).mean() < 0.25 * apart
    assert np.abs(little - lamplit).mean() > 0.75 * apart


def test_a_picture_that_is_asked_for_late_has_the_mood_of_its_own_time() -> None:
    _, infrared = daytime_scene.draw(3)
    other, _ = daytime_scene.draw(4)
    cold = np.clip(other.astype(int) + np.array((-30, 0, 30)), 0, 255).astype(np.uint8)
    reference = Reference(cold, np.full(cold.shape[:2], 255, np.uint8), "other", wished=True)
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(engine="reference", size="nir", reference=AUTO, network=network)
    found = {}
    for late in (False, True):
        engine = NeuralColorizer(options)
        engine.exchange_references([reference])
        engine.submit(infrared, 0)
        first = engine.collect()
        if not late:
            _ = first.rgb
        engine.exchange_references([])
        engine.submit(infrared, 2_000_000_000)
        last = engine.collect().rgb
        found[late] = first.rgb.astype(int)
        engine.close()
    np.testing.assert_array_equal(found[True], found[False])
    assert np.abs(found[True] - last).mean() > 1, "the picture changes nothing"


def test_after_a_cut_nothing_wears_the_colors_of_the_scene_before() -> None:
    """The picture of that was believed to lie there for some frames more."""
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(engine="reference", size="thermal", reference=AUTO, network=network)
    (rgb, before), (_, after) = daytime_scene.draw(3), daytime_scene.draw(4)
    day = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")
    shown = []
    for frames in ([before] * 4 + [after], [after]):
        engine = NeuralColorizer(options)
        engine.exchange_references([day])
        for number, luma in enumerate(frames):
            engine.submit(luma, number * FRAME_NS)
            last = engine.collect().rgb.astype(int)
        shown.append(last)
        engine.close()
    assert np.abs(shown[0] - shown[1]).mean() < 0.5


def test_a_live_frame_that_waits_over_a_cut_is_not_looked_for_as_the_new_scene(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network may have been asked of it, and not have begun yet, when the new scene comes."""
    asked, let = threading.Semaphore(0), threading.Semaphore(0)
    placings: list[object] = []
    infer = ExemplarNetwork.infer

    def late(self: ExemplarNetwork, luma: Tensor) -> tuple[Tensor, Tensor]:
        asked.release()
        assert let.acquire(timeout=60)
        assert self.given.encoded is not None
        placings.append(self.given.encoded.placing)
        return infer(self, luma)

    monkeypatch.setattr(ExemplarNetwork, "infer", late)
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    options = NeuralOptions(engine="reference", size="thermal", reference=AUTO, network=network, beside=True)
    engine = NeuralColorizer(options)
    (rgb, before), after = daytime_scene.draw(3), np.full((192, 256), 20, np.uint8)
    after[::8] = 250
    engine.exchange_references([Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")])
    for number, luma in enumerate([before, before, after, after]):
        engine.submit(luma, number * FRAME_NS)
        engine.collect()
        if number == 0:
            assert asked.acquire(timeout=60)
    let.release(1000)
    numbers = itertools.count(4)

    def has_looked_again() -> bool:
        engine.submit(after, next(numbers) * FRAME_NS)
        engine.collect()
        return len(placings) >= 3

    wait_for(has_looked_again)
    engine.close()
    old, new, same = placings[:3]
    assert old is not new
    assert new is same


def test_over_cuts_pictures_are_the_same_however_far_frames_are_ahead() -> None:
    """A scene's last frames are on their way when the next one comes."""
    network = NetworkOptions("openvino", threads=1, cache=None, exact=True)
    (rgb, first), (_, second) = daytime_scene.draw(3), daytime_scene.draw(9)
    day = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "day")
    frames = [first] * 14 + [second] * 14 + [first] * 6
    found = []
    for ahead in (False, True):
        options = NeuralOptions(engine="reference", size="thermal", reference=AUTO, network=network)
        engine = NeuralColorizer(replace(options, ahead=ahead))
        engine.exchange_references([day])
        shown, depth = [], engine.depth if ahead else 1
        for number, luma in enumerate(frames):
            if number >= depth:
                shown.append(engine.collect().rgb)
            engine.submit(luma, number * FRAME_NS)
        shown += [engine.collect().rgb for _ in range(depth)]
        engine.close()
        found.append(shown)
    for number, (alone, ahead_of) in enumerate(zip(*found, strict=True)):
        np.testing.assert_array_equal(ahead_of, alone, f"frame {number}")

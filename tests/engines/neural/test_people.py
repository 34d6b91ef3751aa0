from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.neural import people
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions

SIZE = (120, 160)


def scene(ambient: float = 14.0) -> NDArray[np.float32]:
    """Degrees: ground, a wall; a walker of cloth and skin, a hot engine, a warm pipe across."""
    celsius = np.full(SIZE, ambient, np.float32)
    celsius[:40] -= 6
    celsius[50:90, 40:52] = 29.0
    celsius[42:52, 43:49] = 34.0
    celsius[70:90, 110:130] = 70.0
    celsius[100:104, 10:150] = 33.0
    return celsius


def test_a_walker_is_found_and_neither_an_engine_nor_a_pipe() -> None:
    found = people.person(scene())
    assert found[45:85, 44:48].mean() > 0.9
    assert found[60:, 100:].max() < 0.01
    assert found[:30].max() == 0


def test_a_face_close_by_is_found_though_it_is_wide() -> None:
    celsius = np.full(SIZE, 21.0, np.float32)
    celsius[30:, 30:130] = 33.5
    assert people.person(celsius)[60:100, 50:110].mean() > 0.95


def test_in_a_place_as_warm_as_people_nothing_is_painted() -> None:
    celsius = scene(ambient=32.0)
    celsius[:40] = 31.0
    assert people.person(celsius).max() < 0.01


def test_skin_is_warmer_in_color_than_cloth_and_both_are_believed() -> None:
    celsius = scene()
    found = people.person(celsius)
    ycc, confidence = np.zeros((*SIZE, 3), np.float32), np.zeros(SIZE, np.float32)
    people.paint(ycc, confidence, people.Warm(celsius, found))
    assert ycc[46, 46, 2] > 0.06 > 0.0 > ycc[75, 46, 2]
    assert confidence[46, 46] > 0.4
    assert np.abs(ycc[100:]).max() < 1e-6


@pytest.mark.skipif(not catalog.weights_path("thermal", "fast").is_file(), reason="weights are not here")
def test_a_run_with_degrees_paints_people_and_one_without_does_not() -> None:
    celsius = scene()
    counts = np.rint((celsius + 273.15) * 100).astype(np.uint16)
    luma = np.clip(40 + 6 * celsius, 0, 255).astype(np.uint8)
    shown = []
    for scale in ((0.01, -273.15), None):
        colorizer = NeuralColorizer(NeuralOptions(engine="thermal", celsius=scale))
        for number in range(3):
            colorizer.submit(luma, number * 40_000_000, counts=counts)
            rgb = np.asarray(colorizer.collect().rgb, int)
        colorizer.close()
        shown.append(rgb)
    face = np.s_[45:49, 44:48]
    painted, plain = (rgb[face].reshape(-1, 3).mean(axis=0) for rgb in shown)
    assert painted[0] > painted[2] + 15
    assert painted.mean() < 0.8 * plain.mean()
    assert np.abs(shown[0][105:, :100] - shown[1][105:, :100]).mean() < 3

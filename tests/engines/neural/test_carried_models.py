"""Models carried along the motion: how seldom they are made, where they lie then, what pictures they give."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.neural.carried_models import MOST_CARRIED, CarriedModels
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.neural.speed.ladder import COLOR_EVERY
from irchroma.engines.recolor.guided import Affine
from irchroma.engines.recolor.recoloring import Models, Recoloring
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import pixel_grid
from irchroma.engines.temporal.stage import TemporalOptions

SIZE = (64, 80)
LOOK = catalog.BANDS["nir"].look
STILL = Observation(False, False, False)


def models(seed: int = 0, tone: bool = True) -> Models:
    random = np.random.default_rng(seed)

    def affine() -> Affine:
        return Affine(*(random.normal(0, 1, (2, *SIZE)).astype(np.float32)))

    return Models(affine() if tone else None, (affine(), affine()))


def panned(by: tuple[int, int], area: tuple[slice, slice]) -> Observation:
    source = pixel_grid(SIZE)[area] + np.float32(by)
    return Observation(False, False, False, half_area=area, half_source=source.astype(np.float32))


def test_models_are_made_anew_for_news_and_after_the_most_that_they_are_carried() -> None:
    carried, made = CarriedModels(), []

    def make() -> Models:
        made.append(models(len(made)))
        return made[-1]

    given = [carried.of(STILL, news, make) for news in (True, *[False] * (MOST_CARRIED + 1), True)]
    assert len(made) == 3
    assert [one is made[0] for one in given] == [True] * (MOST_CARRIED + 1) + [False, False]
    assert given[-2:] == made[1:]


@pytest.mark.parametrize(
    "seen",
    [
        Observation(False, True, False),
        Observation(False, False, False, gain_jump=True),
        Observation(False, False, False, luma_levels=np.arange(256, dtype=np.float32)),
    ],
    ids=["a cut", "a jump of the gain", "luma that glides"],
)
def test_models_are_made_anew_where_the_luma_is_another(seen: Observation) -> None:
    carried, second = CarriedModels(), models(1)
    carried.of(STILL, True, models)
    assert carried.of(seen, False, lambda: second) is second


def test_nothing_is_carried_over_a_reset() -> None:
    carried, second = CarriedModels(), models(1)
    carried.of(STILL, True, models)
    carried.forget()
    assert carried.of(STILL, False, lambda: second) is second


@pytest.mark.parametrize("tone", [True, False])
def test_models_come_from_where_the_motion_says_and_the_first_ones_stay_as_they_are(tone: bool) -> None:
    carried, first = CarriedModels(), models(tone=tone)
    before = [plane.copy() for plane in planes_of(first)]
    carried.of(STILL, True, lambda: first)
    area = np.s_[8:40, 16:64]
    moved = carried.of(panned((3, 2), area), False, models)
    assert (moved.tone is None) == (not tone)
    for plane, old, kept in zip(planes_of(moved), before, planes_of(first), strict=True):
        np.testing.assert_allclose(plane[area], old[10:42, 19:67], atol=1e-6)
        outside = np.ones(SIZE, bool)
        outside[area] = False
        np.testing.assert_array_equal(plane[outside], old[outside])
        np.testing.assert_array_equal(kept, old)


def planes_of(some: Models) -> list[NDArray[np.float32]]:
    affine = [*([some.tone] if some.tone is not None else []), *some.chroma]
    return [plane for one in affine for plane in (one.slope, one.offset)]


class Painting:
    """A network that paints the bright yellow, the dark blue, and nothing as it came."""

    name, lanes, best_batch = "painting", 1, 1

    def infer(self, luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        color = 0.2 * (luma - 0.5)
        return np.concatenate([0.2 + 0.6 * luma, -color, color], axis=1), np.ones_like(luma)

    def close(self) -> None:
        pass


def street(number: int) -> NDArray[np.uint8]:
    """(240, 320) uint8 texture that pans by three pixels a frame, with noise."""
    wide = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 1, (240, 480)), (0, 0), 6.0)
    wide = 120 + 40 * wide / wide.std()
    noise = np.random.default_rng(number).normal(0, 1.0, (240, 320))
    return np.clip(wide[:, 3 * number : 3 * number + 320] + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("every", COLOR_EVERY[1:])
def test_pictures_with_carried_models_are_those_of_models_made_anew(every: int) -> None:
    options = NeuralOptions(work_size_px=160, temporal=TemporalOptions(color_every=every))
    colorizer, making = NeuralColorizer(options, Painting()), Recoloring(options.recolor, LOOK)
    inside = np.s_[:, :-16]  # what comes in at the right has no past
    for number in range(12):
        colorizer.submit(street(number), number * 33_333_333)
        picture = colorizer.collect()
        anew = making.planes(*picture._parts[:-1])
        assert picture.planes is not None
        pairs = zip(picture.planes, anew, strict=True)
        errors = [float(np.mean((one[inside].astype(float) - other[inside]) ** 2)) for one, other in pairs]
        assert max(errors) < 255**2 / 10**4.5  # 45 dB
        assert (max(errors) > 0) == (number % every != 0)
    colorizer.close()


@pytest.mark.parametrize(("size", "anew"), [((256, 320), 3), ((120, 160), 12)])
def test_beside_the_frames_a_small_camera_s_models_are_carried_too(
    size: tuple[int, int], anew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    plain = Recoloring.models

    def counted(self: Recoloring, *args: Any, **given: Any) -> Models:
        made.append(args)
        return plain(self, *args, **given)

    monkeypatch.setattr(Recoloring, "models", counted)
    options = NeuralOptions(beside=True, temporal=TemporalOptions(color_every=4))
    colorizer = NeuralColorizer(options, Painting())
    for number in range(20):
        colorizer.submit(cv2.resize(street(number), size[::-1]), number * 33_333_333)
        colorizer.collect()
        if number == 7:
            made.clear()
    colorizer.close()
    assert len(made) == pytest.approx(anew, abs=anew / 3)

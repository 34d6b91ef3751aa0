from __future__ import annotations

import numpy as np
import pytest

from irchroma.calibration.confidence import ERROR_SCALE, Places, calibrate, logistic
from irchroma.calibration.errors import CalibrationError
from irchroma.engines.network.confidence import MOST_STRANGE

CHANNELS, MEANS = 6, 10


def picture(number: int, beyond: bool) -> list[Places]:
    """Errors that grow with a feature, which the network's own confidence knows nothing of."""
    rng = np.random.default_rng(number + 1000 * beyond)
    mean = rng.uniform(-1.0, 1.0, MEANS) + (5.0 if beyond else 0.0)
    scales = []
    for _ in range(2):
        features = rng.random((40, CHANNELS))
        error = 4 + 20 * features[:, 2] + rng.normal(0, 1, 40) + 4 * beyond
        scales.append(Places(mean, features, rng.random(40), error, np.full(40, 12.0)))
    return scales


def test_logistic_regression_finds_the_curve_that_made_the_data() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(2, 3, (4000, 3))
    wanted = 1 / (1 + np.exp(-(features @ np.array([0.5, -0.2, 0.0]) + 0.3)))
    weight, bias = logistic(features, wanted)
    np.testing.assert_allclose(weight, [0.5, -0.2, 0.0], atol=0.02)
    assert bias == pytest.approx(0.3, abs=0.05)


def falls(values: tuple[float, ...]) -> bool:
    return all(np.diff(np.array(values)) > 0)


def test_errors_fall_with_the_confidence_and_strangers_lose_their_color() -> None:
    own, others = ([picture(n, beyond) for n in range(80)] for beyond in (False, True))
    result = calibrate(own, {"others": others})
    assert not falls(result.before["known"].error)
    assert falls(result.after["known"].error)
    known = result.after["known"]
    error = np.exp(-np.array(known.error) / ERROR_SCALE)
    np.testing.assert_allclose(known.confidence, error, atol=0.1)
    assert known.shown > 0.97
    assert result.after["beyond"].shown < 0.3


def test_what_is_new_in_no_way_that_others_are_is_no_stranger() -> None:
    own, others = ([picture(n, beyond) for n in range(80)] for beyond in (False, True))
    (found,) = calibrate(own, {"others": others}).trust.strangeness
    usual = np.full((1, MEANS), 0.0)
    assert found.of(usual)[0] == 0.0
    assert found.of(usual - 3.0)[0] == 0.0  # another camera, say; a distance from the mean would doubt it
    assert found.of(usual + 5.0)[0] == pytest.approx(MOST_STRANGE)


def test_what_is_set_apart_is_strange_too_and_its_errors_are_learned_from() -> None:
    own, others, rooms = ([picture(n, beyond) for n in range(80)] for beyond in (False, True, False))
    for pictures in rooms:
        for places in pictures:
            places.scene[0] += 8.0
    result = calibrate(own, {"others": others}, rooms)
    assert set(result.after) == {"known", "beyond", "beyond others", "apart", "both"}
    assert result.after["known"].shown > 0.97
    assert result.after["apart"].shown < 0.3 < result.before["apart"].shown
    assert result.after["beyond"].shown < 0.3
    with pytest.raises(CalibrationError, match="at least 12"):
        calibrate(own, {"others": others}, rooms[:5])


def moved(numbers: range, feature: int, way: float, off: float = 0.0) -> list[list[Places]]:
    """Pictures of the known kind but for one feature of their scene, and errors that are `off` by more."""
    made = [picture(number, False) for number in numbers]
    for pictures in made:
        for place in pictures:
            place.scene[feature] += way
            place.error[:] += off
    return made


def test_kinds_of_strangers_on_either_side_of_what_is_known_are_told_apart_from_it() -> None:
    own = [picture(number, False) for number in range(120)]
    thermal, photographs = (moved(range(200, 260), 3, 3.0, 9.0), moved(range(300, 360), 3, -3.0, 9.0))
    result = calibrate(own, {"thermal": thermal, "photographs": photographs})
    assert len(result.trust.strangeness) == 2
    assert result.after["known"].shown > 0.95
    for kind in ("beyond thermal", "beyond photographs"):
        assert result.after[kind].shown < 0.4, kind
    for group in ("known", "beyond", "both"):
        assert falls(result.after[group].error), group


def test_strangers_whose_color_comes_out_right_keep_it_and_the_order_of_errors_holds() -> None:
    own = [picture(number, False) for number in range(120)]
    wrong, streets = moved(range(200, 260), 3, 3.0, 9.0), moved(range(300, 360), 4, 3.0, -4.0)
    kinds = {"wrong": wrong, "streets": streets}
    spared, doubted = (calibrate(own, kinds, spare_right=spare) for spare in (True, False))
    assert spared.after["beyond streets"].shown > 0.95
    assert spared.after["beyond wrong"].shown < 0.4
    assert doubted.after["beyond streets"].shown < 0.4
    assert falls(spared.after["both"].error)
    assert not falls(doubted.after["both"].error)


def test_a_kind_that_nothing_known_is_near_to_leaves_the_known_picture_that_is_nearest_alone() -> None:
    own = [picture(number, False) for number in range(120)]
    noise = moved(range(200, 260), 3, 12.0, 9.0)
    (found,) = calibrate(own, {"noise": noise}, quantile=0.2).trust.strangeness
    assert found.of(np.stack([places[0].scene for places in own])).max() == 0.0
    fresh = np.stack([places[0].scene for places in moved(range(400, 460), 3, 12.0)])
    assert np.mean(found.of(fresh) == MOST_STRANGE) > 0.8


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least 40"):
        calibrate([picture(0, False)] * 50, {"others": [picture(0, True)] * 3})

from __future__ import annotations

import numpy as np
import pytest

from irchroma.calibration.confidence import ERROR_SCALE, Places, calibrate, logistic
from irchroma.calibration.errors import CalibrationError
from irchroma.engines.network.trust import MOST_STRANGE

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
    result = calibrate(own, others)
    assert not falls(result.before["known"].error)
    assert falls(result.after["known"].error)
    known = result.after["known"]
    error = np.exp(-np.array(known.error) / ERROR_SCALE)
    np.testing.assert_allclose(known.confidence, error, atol=0.1)
    assert known.shown > 0.97
    assert result.after["beyond"].shown < 0.3


def test_what_is_new_in_no_way_that_others_are_is_no_stranger() -> None:
    own, others = ([picture(n, beyond) for n in range(80)] for beyond in (False, True))
    (found,) = calibrate(own, others).trust.strangeness
    usual = np.full((1, MEANS), 0.0)
    assert found.of(usual)[0] == 0.0
    assert found.of(usual - 3.0)[0] == 0.0  # another camera, say; a distance from the mean would doubt it
    assert found.of(usual + 5.0)[0] == pytest.approx(MOST_STRANGE)


def test_what_is_set_apart_is_strange_too_and_its_errors_are_learned_from() -> None:
    own, others, rooms = ([picture(n, beyond) for n in range(80)] for beyond in (False, True, False))
    for pictures in rooms:
        for places in pictures:
            places.scene[0] += 8.0
    result = calibrate(own, others, rooms)
    assert set(result.after) == {"known", "beyond", "apart", "both"}
    assert result.after["known"].shown > 0.97
    assert result.after["apart"].shown < 0.3 < result.before["apart"].shown
    assert result.after["beyond"].shown < 0.3
    with pytest.raises(CalibrationError, match="at least 12"):
        calibrate(own, others, rooms[:5])


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least 40"):
        calibrate([picture(0, False)] * 50, [picture(0, True)] * 3)

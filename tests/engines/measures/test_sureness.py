"""The error of fifths of the pixels, from sure to unsure."""

from __future__ import annotations

import numpy as np
import pytest

from irchroma.engines.measures.metrics import FIFTHS, SurenessCurve


def _rows_off_by(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rgb, truth): gray, and rows that are redder by so many levels."""
    rgb = np.full((len(levels), 40, 3), 120, np.uint8)
    truth = rgb.copy()
    truth[..., 0] += levels[:, None].astype(np.uint8)
    return rgb, truth


def test_errors_grow_where_confidence_falls_with_them() -> None:
    levels = np.repeat(np.arange(FIFTHS) * 20, 40)
    confidence = np.repeat((250 - levels).astype(np.uint8)[::2, None], 20, axis=1)  # at half the size
    curve = SurenessCurve()
    curve.add(confidence, *_rows_off_by(levels))
    errors = curve.errors()
    assert len(errors) == FIFTHS
    assert errors == sorted(errors)
    assert errors[0] < 4.0
    assert errors[-1] > 30.0


def test_confidence_that_means_nothing_shows_as_a_flat_curve() -> None:
    random = np.random.default_rng(0)
    levels = random.permutation(np.repeat(np.arange(FIFTHS) * 20, 400))
    curve = SurenessCurve()
    curve.add(random.integers(0, 255, (2000, 40), np.uint8), *_rows_off_by(levels))
    assert max(curve.errors()) == pytest.approx(min(curve.errors()), rel=0.1)


def test_no_picture_gives_no_curve() -> None:
    assert SurenessCurve().errors() == []

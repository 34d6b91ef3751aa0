"""Training triples: partners lie where they should, casts are shared, what is pasted is hidden."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.exemplar import pairs  # noqa: E402
from irchroma.engines.training.exemplar.objective import contrast  # noqa: E402

SIDE = 96


def test_a_partner_shows_the_same_place_of_the_picture() -> None:
    random = np.random.default_rng(4)
    y, x = np.mgrid[0:240, 0:320]
    atlas = np.dstack([x * 255 / 320, y * 255 / 240, np.zeros_like(x)]).astype(np.uint8)  # color says where
    known = 0
    for _ in range(12):
        way, there = (pairs.window(atlas.shape[:2], SIDE, random, turns) for turns in (False, True))
        here, given = (pairs.taken(atlas, one, SIDE).astype(float) for one in (way, there))
        cells = SIDE // pairs.CELL_PX
        small, other = (
            cv2.resize(one, (cells, cells), interpolation=cv2.INTER_AREA).reshape(-1, 3)
            for one in (here, given)
        )
        partner = pairs.partners(way, there, SIDE)
        found = partner != pairs.NOTHING
        known += int(found.sum())
        off = np.abs(small[found] - other[partner[found]])[:, :2]
        assert off.size == 0 or np.percentile(off, 90) < 10  # a cell is 4 to 10 levels wide
    assert known > 300


def test_truth_and_reference_share_a_cast() -> None:
    cast = pairs.Cast.drawn(np.random.default_rng(3), strong=True)
    gray, color = np.full((4, 4, 3), 0.5, np.float32), np.full((4, 4, 3), (0.6, 0.4, 0.3), np.float32)
    np.testing.assert_array_equal(cast.of(color), cast.of(color.copy()))
    assert np.abs(cast.of(color) - color).max() > 0.05
    plain = pairs.Cast(np.ones(3, np.float32), 1.0, 1.0, 0.0, 0.0)
    np.testing.assert_allclose(plain.of(color), color, atol=1e-3)
    assert np.ptp(pairs.Cast(np.ones(3, np.float32), 0.7, 1.0, 2.0, 0.1).of(gray)[0, 0]) < 1e-5


def test_what_is_pasted_is_marked_and_nothing_else_changes() -> None:
    given = np.zeros((SIDE, SIDE, 3), np.float32)
    made, hidden = pairs.pasted(given, np.ones_like(given), np.random.default_rng(1))
    cells = made.reshape(SIDE // 8, 8, SIDE // 8, 8, 3).mean((1, 3, 4)).ravel()
    assert hidden.any()
    assert not hidden.all()
    assert cells[hidden].min() > 0.2
    assert cells[~hidden].max() < 0.45


def test_the_contrast_wants_the_partner() -> None:
    partner = torch.tensor([[1, pairs.NOTHING, 2]])
    right = torch.zeros(1, 3, 4)
    right[0, 0, 1] = right[0, 2, 2] = 8.0
    wrong = torch.zeros(1, 3, 4)
    wrong[0, 0, 3] = wrong[0, 2, 0] = 8.0
    assert contrast(right, partner) < contrast(torch.zeros(1, 3, 4), partner) < contrast(wrong, partner)
    nobody = torch.full((1, 3), pairs.NOTHING)
    assert float(contrast(right, nobody)) == 0.0

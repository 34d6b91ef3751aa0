from __future__ import annotations

import numpy as np
import pytest

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.view.views import VIEWS, View, ViewOptions, color_columns, compose

LUMA = np.random.default_rng(0).integers(0, 256, (120, 200)).astype(np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (120, 200, 3)).astype(np.uint8)
GRAY = np.repeat(LUMA[..., None], 3, axis=2)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (33, 47), (120, 200)])
def test_every_view_has_the_promised_size_and_leaves_its_inputs_alone(
    view: View, size: tuple[int, int]
) -> None:
    luma, rgb = LUMA[: size[0], : size[1]].copy(), RGB[: size[0], : size[1]].copy()
    kept = luma.copy(), rgb.copy()
    for confidence in (None, np.zeros((4, 5), np.uint8)):
        out = compose(luma, rgb, ViewOptions(view), confidence)
        assert out.shape == (size[0], size[1] * (2 if view == "side" else 1), 3)
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
    assert np.array_equal(luma, kept[0])
    assert np.array_equal(rgb, kept[1])


def test_color_is_the_color_and_raw_is_the_luma() -> None:
    assert compose(LUMA, RGB) is RGB
    assert np.array_equal(compose(LUMA, RGB, ViewOptions("raw")), GRAY)


def test_side_shows_raw_left_and_color_right_of_a_thin_line() -> None:
    out = compose(LUMA, RGB, ViewOptions("side"))
    assert np.array_equal(out[:, :195], GRAY[:, :195])
    assert np.array_equal(out[:, 205:], RGB[:, 5:])
    assert (out[:, 199:201] == 235).all()


@pytest.mark.parametrize("wipe", [0.1, 0.5, 0.75])
def test_a_wipe_shows_raw_left_and_color_right_of_its_line(wipe: float) -> None:
    out, line = compose(LUMA, RGB, ViewOptions("wipe", wipe=wipe)), round(200 * wipe)
    assert np.array_equal(out[:, : line - 2], GRAY[:, : line - 2])
    assert np.array_equal(out[:, line + 2 :], RGB[:, line + 2 :])
    assert (out[:, line - 1 : line + 1] == 235).all()


def test_a_wipe_at_its_ends_is_one_picture_without_a_line() -> None:
    assert np.array_equal(compose(LUMA, RGB, ViewOptions("wipe", wipe=0)), RGB)
    assert np.array_equal(compose(LUMA, RGB, ViewOptions("wipe", wipe=1)), GRAY)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_blend_is_the_weighted_mean(share: float) -> None:
    out = compose(LUMA, RGB, ViewOptions("blend", blend=share))
    assert np.abs(out - (share * RGB + (1 - share) * GRAY)).max() <= 1


def test_the_confidence_view_tells_sure_from_guessed_and_keeps_the_luma() -> None:
    confidence = np.zeros((12, 20), np.uint8)
    confidence[:, 10:] = 255
    out = compose(LUMA, RGB, ViewOptions("confidence"), confidence).astype(int)[:80]
    assert (out[:, :90, 0] > out[:, :90, 2]).all()  # vermilion
    assert (out[:, 110:, 2] > out[:, 110:, 0]).all()  # teal
    for half in (np.s_[:, :90], np.s_[:, 110:]):
        assert np.corrcoef(out[half].sum(axis=2).ravel(), LUMA[:80][half].ravel())[0, 1] > 0.99


def test_the_confidence_view_says_so_where_there_is_none() -> None:
    luma, rgb = np.zeros((480, 640), np.uint8), np.full((480, 640, 3), 90, np.uint8)
    out = compose(luma, rgb, ViewOptions("confidence"), None)
    assert (out[:400] == 90).all()
    assert out[400:].max() > 200


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        (ViewOptions("color"), (0, 200)),
        (ViewOptions("raw"), (200, 200)),
        (ViewOptions("side"), (200, 400)),
        (ViewOptions("wipe", wipe=0.25), (50, 200)),
        (ViewOptions("wipe", wipe=1), (200, 200)),
        (ViewOptions("blend"), (0, 200)),
    ],
)
def test_it_is_known_where_the_color_is(options: ViewOptions, columns: tuple[int, int]) -> None:
    assert color_columns(options, 200) == columns


def test_what_makes_no_sense_is_one_clear_line() -> None:
    with pytest.raises(StreamOptionError, match="choose one of color, raw, side"):
        ViewOptions("both")  # type: ignore[arg-type]
    with pytest.raises(StreamOptionError, match="from 0 to 1"):
        ViewOptions("wipe", wipe=1.5)
    with pytest.raises(StreamOptionError, match="one size"):
        compose(LUMA[:50], RGB)

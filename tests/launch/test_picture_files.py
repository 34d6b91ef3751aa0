from __future__ import annotations

import numpy as np
import pytest

from irchroma.launch.picture_files import GROUND, contact_sheet

LUMA = np.full((96, 128), 200, np.uint8)
RED = np.zeros((48, 64, 3), np.uint8)
RED[..., 0] = 255


def test_pictures_stand_side_by_side_in_their_own_colors() -> None:
    sheet = contact_sheet([[("input", LUMA), ("output", RED)]], cell_width=240)
    assert sheet.dtype == np.uint8
    assert np.any((sheet[:, :250] == 200).all(axis=2), axis=1).sum() == 180
    assert ((sheet == (255, 0, 0)).all(axis=2)).sum() == 240 * 180
    assert not (sheet[:, :250] == (255, 0, 0)).all(axis=2).any()


def test_titles_and_heading_stand_above() -> None:
    bare = contact_sheet([[("", LUMA)]], cell_width=240)
    titled = contact_sheet([[("night", LUMA)]], cell_width=240)
    headed = contact_sheet([[("night", LUMA)]], cell_width=240, heading="irchroma demo")
    assert len(bare) < len(titled) < len(headed)
    assert titled[: len(titled) - 190].max() > 200
    assert np.array_equal(headed[-len(titled) :], titled)


def test_rows_may_differ_in_length_and_pictures_in_shape() -> None:
    sheet = contact_sheet([[("a", LUMA)], [("b", LUMA), ("c", RED[:20]), ("d", LUMA[:, :40])], []])
    assert sheet.shape[1] > 3 * 480
    corner = sheet[60:200, 600:]  # beside the first row's only picture
    assert (corner == GROUND).all()


@pytest.mark.parametrize("cell_width", [16, 33, 1000])
def test_any_cell_width_and_a_long_title_do(cell_width: int) -> None:
    sheet = contact_sheet([[("a title that does not fit " * 9, LUMA)]], cell_width=cell_width)
    assert sheet.shape[1] == cell_width + 2 * max(4, round(cell_width / 40))


def test_no_pictures_give_an_empty_sheet() -> None:
    assert contact_sheet([]).size > 0


def test_a_long_title_runs_over_pictures_without_one() -> None:
    title = "0042: PSNR 17.6 dB, SSIM 0.58, hue agreement 0.75"
    alone = contact_sheet([[(title, LUMA), ("x", RED)]], cell_width=200)
    shared = contact_sheet([[(title, LUMA), ("", RED)]], cell_width=200)
    # letters in the gap between the pictures, where the title goes on
    assert alone[:20, 206:209].max() < 60 < shared[:20, 195:300].max()


def test_many_rows_go_on_in_blocks_of_like_height() -> None:
    rows = [[(str(number), LUMA), ("", RED)] for number in range(23)]
    one = contact_sheet(rows, cell_width=100, tallest_px=100_000)
    several = contact_sheet(rows, cell_width=100, tallest_px=700)
    assert several.shape[1] == 4 * one.shape[1]
    assert len(several) < 800
    red = (several == (255, 0, 0)).all(axis=2).sum()
    assert red == (one == (255, 0, 0)).all(axis=2).sum()

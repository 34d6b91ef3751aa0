from __future__ import annotations

import numpy as np
import pytest

from irchroma.stream.errors import StreamError
from irchroma.stream.picture.picture import Palette, Picture
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer, even_size, fit_picture

# BT.709-6 3.2 and 4.6: 100 % color bars as 8-bit limited-range Y', Cb, Cr, by hand.
BARS = {
    (255, 255, 255): (235, 128, 128),
    (0, 0, 0): (16, 128, 128),
    (255, 0, 0): (63, 102, 240),
    (0, 255, 0): (173, 42, 26),
    (0, 0, 255): (32, 240, 118),
    (128, 128, 128): (126, 128, 128),
}


def planes(data: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    height, width = size
    luma_stride, chroma_stride = -(-width // 4) * 4, -(-(width // 2) // 4) * 4
    split = luma_stride * height
    chroma = data[split:].reshape(2, height // 2, chroma_stride)[:, :, : width // 2]
    return [data[:split].reshape(height, luma_stride)[:, :width], chroma[0], chroma[1]]


@pytest.mark.parametrize(("rgb", "ycc"), BARS.items())
def test_colors_become_the_values_of_bt709(rgb: tuple[int, ...], ycc: tuple[int, ...]) -> None:
    picture = np.full((18, 22, 3), rgb, np.uint8)
    for plane, expected in zip(planes(Yuv420Packer((18, 22)).pack(picture), (18, 22)), ycc, strict=True):
        assert np.abs(plane.astype(int) - expected).max() <= 1


def test_luma_alone_gives_the_same_as_gray_in_three_channels() -> None:
    luma = np.random.default_rng(1).integers(0, 256, (34, 50), dtype=np.uint8)
    packer = Yuv420Packer(luma.shape)
    color = packer.pack(np.dstack([luma] * 3)).copy()
    for alone, three in zip(planes(packer.pack(luma), luma.shape), planes(color, luma.shape), strict=True):
        assert np.abs(alone.astype(int) - three).max() <= 1


def test_color_after_gray_leaves_no_gray_chroma_behind() -> None:
    packer = Yuv420Packer((16, 16))
    packer.pack(np.zeros((16, 16), np.uint8))
    red = np.full((16, 16, 3), (255, 0, 0), np.uint8)
    assert planes(packer.pack(red), (16, 16))[2].min() > 200
    assert planes(packer.pack(np.zeros((16, 16), np.uint8)), (16, 16))[2].max() == 128


def test_an_odd_picture_gets_its_last_row_and_column_twice() -> None:
    picture = np.arange(15, dtype=np.uint8).reshape(3, 5)
    fitted = fit_picture(picture, even_size((3, 5)))
    assert fitted.shape == (4, 6)
    assert np.array_equal(fitted[:3, :5], picture)
    assert np.array_equal(fitted[3], fitted[2])
    assert np.array_equal(fitted[:, 5], fitted[:, 4])


def test_another_size_is_scaled_with_its_aspect_kept_and_black_around() -> None:
    fitted = fit_picture(np.full((100, 100, 3), 200, np.uint8), (60, 120))
    assert fitted.shape == (60, 120, 3)
    assert (fitted[:, 30:90] == 200).all()
    assert not fitted[:, :30].any()
    assert not fitted[:, 90:].any()


def test_counts_are_refused_rather_than_crushed() -> None:
    with pytest.raises(StreamError, match="counts"):
        Yuv420Packer((16, 16)).pack(np.zeros((16, 16), np.uint16))


def test_a_palette_picture_packs_the_same_by_table_as_by_rgb() -> None:
    rng = np.random.default_rng(3)
    luma = rng.integers(0, 256, (48, 64), dtype=np.uint8)
    table = rng.integers(0, 256, (256, 1, 3), dtype=np.uint8)
    packer = Yuv420Packer((48, 64))
    picture = Picture(palette=Palette(luma, table))
    by_table = packer.pack(picture).copy()
    assert np.abs(by_table.astype(int) - packer.pack(picture.rgb)).max() <= 1  # rounding of the 2x2 mean

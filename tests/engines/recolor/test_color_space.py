"""Color conversions there and back, and against values of BT.601 and of scikit-image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.recolor import color_space


def every_color(step: int = 15) -> NDArray[np.uint8]:
    levels = np.arange(0, 256, step, np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, levels.size, 3)


@pytest.mark.parametrize(
    ("rgb", "ycc"),
    [
        ((255, 255, 255), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (0.299, -0.168736, 0.5)),  # BT.601-7, table 1 and 2.5.1
        ((0, 0, 255), (0.114, 0.5, -0.081312)),
    ],
)
def test_ycc_of_the_corners_is_that_of_bt601(
    rgb: tuple[int, int, int], ycc: tuple[float, float, float]
) -> None:
    got = color_space.rgb_to_ycc(np.full((1, 1, 3), rgb, np.uint8))
    np.testing.assert_allclose(got[0, 0], ycc, atol=1e-5)


def test_ycc_there_and_back_is_exact() -> None:
    rgb = every_color()
    np.testing.assert_array_equal(color_space.ycc_to_rgb(color_space.rgb_to_ycc(rgb)), rgb)


def test_lab_there_and_back_is_within_one_level_and_agrees_with_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    rgb = every_color()
    lab = color_space.rgb_to_lab(rgb)
    np.testing.assert_allclose(lab, color.rgb2lab(rgb), atol=0.6)  # OpenCV interpolates a table
    assert np.abs(color_space.lab_to_rgb(lab).astype(int) - rgb).max() <= 1


def test_luma_is_opencvs_gray_and_neutral_rgb_keeps_it() -> None:
    rgb = every_color()
    luma = color_space.rgb_to_luma(rgb)
    np.testing.assert_array_equal(luma, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    assert np.abs(color_space.rgb_to_ycc(rgb)[..., 0] * 255 - luma).max() < 0.51
    np.testing.assert_array_equal(color_space.rgb_to_luma(color_space.luma_to_rgb(luma)), luma)


def test_whole_numbers_that_stand_for_the_matrix_of_video_give_its_very_levels() -> None:
    """A device reckons with them: rounded once more, its planes would be a level off in places."""
    rgb = every_color(5)
    matrix = np.array(color_space.rgb_to_video_in_1024ths()).reshape(3, 4)
    levels = (rgb.astype(int) @ matrix[:, :3].T + matrix[:, 3]) >> 10
    np.testing.assert_array_equal(np.clip(levels, 0, 255), color_space.rgb_to_video(rgb))


def test_video_planes_and_back_are_the_same_color() -> None:
    levels = np.array([[[200, 90, 60], [30, 120, 200]], [[90, 90, 90], [10, 250, 120]]], np.uint8)
    rgb = np.kron(levels, np.ones((8, 8, 1), np.uint8))
    ycc = color_space.rgb_to_ycc(rgb)
    chroma = np.ascontiguousarray(ycc[::2, ::2, 1:] * np.float32(255))
    video = cv2.transform(chroma, color_space.CHROMA_TO_VIDEO)
    lift = np.kron(video[..., 0], np.ones((2, 2), np.float32))
    y = np.rint(16 + ycc[..., 0] * 219 + lift).astype(np.uint8)
    cb, cr = (np.rint(video[..., place] + 128).astype(np.uint8) for place in (1, 2))
    back = color_space.video_to_rgb(y, cb, cr)
    middle = np.s_[3:5, 3:5]
    for corner in (np.s_[:8, :8], np.s_[:8, 8:], np.s_[8:, :8], np.s_[8:, 8:]):
        off = np.abs(back[corner][middle].astype(int) - rgb[corner][middle])
        assert off.max() <= 3  # 8-bit rounding of chroma, times 1.86


@pytest.mark.parametrize("chroma", [0, 3, 40, 90])
def test_a_gamut_looked_at_in_few_places_is_that_of_all(chroma: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(chroma)
    luma = np.clip(rng.normal(128, 45, (96, 128)), 0, 255).astype(np.uint8)
    plain = [(rng.normal(0, chroma, luma.shape) / 3).astype(np.float32) for _ in range(2)]
    made = []
    for few in (-1.0, 2.0):  # all at once, single places
        monkeypatch.setattr(color_space, "FEW", few)
        cb, cr = (plane.copy() for plane in plain)
        color_space.fit_gamut(luma, cb, cr)
        made.append((cb, cr))
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0][0] != plain[0]).any() == (chroma >= 40)

"""The measures against known answers and against direct computation window by window."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines.measures import metrics

pytest.importorskip("skimage")


def noise(seed: int, size: tuple[int, int] = (24, 31)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def gray(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(luma[..., None], 3, axis=2)


def flat(rgb: tuple[int, int, int], size: tuple[int, int] = (20, 20)) -> NDArray[np.uint8]:
    return np.full((*size, 3), rgb, np.uint8)


def test_psnr_of_a_constant_difference_of_ten_levels() -> None:
    assert metrics.psnr(flat((100, 100, 100)), flat((110, 110, 110))) == pytest.approx(
        20 * math.log10(25.5), abs=1e-9
    )
    assert metrics.psnr(flat((1, 2, 3)), flat((1, 2, 3))) == math.inf


def test_ssim_is_scikit_images_default() -> None:
    from skimage.metrics import structural_similarity

    one, other = noise(1), noise(2)
    assert metrics.ssim(one, one) == pytest.approx(1.0)
    assert metrics.ssim(one, other) == structural_similarity(one, other, channel_axis=2)
    assert math.isnan(metrics.ssim(noise(1, (5, 9)), noise(2, (5, 9))))


def test_ciede2000_of_srgb_primaries_is_the_known_distance() -> None:
    # CIELAB (53.24, 80.09, 67.20) and (87.73, -86.18, 83.18): 86.608 in every CIEDE2000 calculator
    assert metrics.ciede2000(flat((255, 0, 0)), flat((0, 255, 0))) == pytest.approx(86.608, abs=0.01)
    assert metrics.ciede2000(flat((255, 255, 255)), flat((0, 0, 0))) == pytest.approx(100.0, abs=0.01)


def test_colorfulness_of_gray_is_zero_and_of_two_known_colors_is_computed_by_hand() -> None:
    assert metrics.colorfulness(gray(noise(3)[..., 0])) == 0
    picture = flat((255, 0, 0))
    picture[:10] = (0, 255, 0)
    # rg = +-255 (mean 0, sd 255); yb = 127.5 everywhere
    assert metrics.colorfulness(picture) == pytest.approx(255 + 0.3 * 127.5)


def test_hue_agreement_counts_only_colored_truth_and_wants_color_in_the_output() -> None:
    truth = flat((200, 40, 40))
    truth[:10] = (128, 128, 128)
    output = truth.copy()
    assert metrics.hue_agreement(output, truth) == 1.0
    output[:10] = (0, 0, 255)  # where the truth is gray, anything goes
    assert metrics.hue_agreement(output, truth) == 1.0
    output[10:15] = (110, 110, 110)
    assert metrics.hue_agreement(output, truth) == 0.5
    output[10:15] = (40, 200, 40)
    assert metrics.hue_agreement(output, truth) == 0.5
    assert math.isnan(metrics.hue_agreement(output, flat((128, 128, 128))))


def test_detail_kept_of_a_copy_is_one_of_its_negative_too_and_of_fog_nothing() -> None:
    luma = noise(4)[..., 0]
    assert metrics.detail_kept(luma, gray(luma)) == pytest.approx((1.0, 1.0))
    assert metrics.detail_kept(luma, gray(255 - luma)) == pytest.approx((1.0, 1.0))
    assert metrics.detail_kept(luma, flat((90, 90, 90), luma.shape)) == (0.0, 0.0)
    assert all(map(math.isnan, metrics.detail_kept(flat((9, 9, 9))[..., 0], flat((9, 9, 9)))))


def test_detail_kept_halves_with_the_contrast_but_does_not_grow_with_it() -> None:
    luma = (noise(5)[..., 0] // 4 * 2).astype(np.uint8)  # even levels up to 126
    assert metrics.detail_kept(luma, gray(luma // 2))[0] == pytest.approx(0.5)
    assert metrics.detail_kept(luma, gray(luma * 2))[0] == pytest.approx(1.0)


def test_detail_kept_equals_the_definition_window_by_window() -> None:
    luma = noise(6)[..., 0]
    luma[:, :15] //= 24  # some windows below the threshold
    output = cv2.GaussianBlur(noise(7), (0, 0), 1.0)
    after = cv2.cvtColor(output, cv2.COLOR_RGB2GRAY).astype(float)
    kept = []
    for y in range(luma.shape[0] - 6):
        for x in range(luma.shape[1] - 6):
            one, other = luma[y : y + 7, x : x + 7].astype(float), after[y : y + 7, x : x + 7]
            if one.std() > 4:
                correlation = abs(np.corrcoef(one.ravel(), other.ravel())[0, 1])
                kept.append(correlation * min(1.0, other.std() / one.std()))
    assert len(kept) < (luma.shape[0] - 6) * (luma.shape[1] - 6)
    worst = np.mean(sorted(kept)[: len(kept) // 10])
    assert metrics.detail_kept(luma, output) == pytest.approx((np.mean(kept), worst), abs=1e-9)


def test_edges_kept_of_a_copy_and_a_negative_are_all_and_follow_the_contrast() -> None:
    luma = (noise(5)[..., 0] // 4 * 2).astype(np.uint8)  # even levels up to 126
    assert metrics.edges_kept(luma, gray(luma)) == pytest.approx(1.0)
    assert metrics.edges_kept(luma, gray(255 - luma)) == pytest.approx(1.0)
    assert metrics.edges_kept(luma, gray(luma // 2)) == pytest.approx(0.5)
    assert metrics.edges_kept(luma, gray(luma * 2)) == pytest.approx(1.0)
    assert metrics.edges_kept(luma, flat((90, 90, 90), luma.shape)) == 0.0
    assert math.isnan(metrics.edges_kept(flat((9, 9, 9))[..., 0], flat((9, 9, 9))))
    assert metrics.edges_kept(luma, gray(np.rot90(luma, 2))) < 0.5


def test_one_of_two_wires_turned_around_keeps_all_edges_and_loses_detail() -> None:
    luma = np.full((30, 30), 100, np.uint8)
    luma[:, 12], luma[:, 16] = 140, 140
    turned = luma.copy()
    turned[:, 12] = 60
    assert metrics.edges_kept(luma, gray(turned)) == pytest.approx(1.0)
    assert metrics.detail_kept(luma, gray(turned))[0] < 0.75


def test_edges_across_those_of_the_input_are_none_of_its() -> None:
    across = np.zeros((20, 20), np.uint8)
    across[:, 10:] = 200
    assert metrics.edges_kept(across, gray(across.T)) == pytest.approx(0.0, abs=0.11)


def test_score_gathers_every_measure_and_means_skip_what_has_no_meaning() -> None:
    one = metrics.score(noise(1), noise(2), noise(3)[..., 0])
    assert one.psnr_db == metrics.psnr(noise(1), noise(2))
    assert one.hue_agreement == metrics.hue_agreement(noise(1), noise(2))
    assert one.ciede2000 == pytest.approx(metrics.ciede2000(noise(1), noise(2)))
    grayish = metrics.score(noise(1), gray(noise(2)[..., 0]), noise(3)[..., 0])
    assert math.isnan(grayish.hue_agreement)
    assert metrics.mean_scores([one, grayish]).hue_agreement == one.hue_agreement


def test_a_picture_with_a_bright_upper_third_was_taken_by_day() -> None:
    picture = flat((20, 20, 20), (30, 30))
    assert not metrics.taken_by_day(picture)
    picture[:10] = 200
    assert metrics.taken_by_day(picture)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        metrics.psnr(noise(1), noise(2, (9, 9)))
    with pytest.raises(ValueError, match="one size"):
        metrics.detail_kept(noise(1)[..., 0], noise(2, (9, 9)))
    with pytest.raises(ValueError, match="one size"):
        metrics.edges_kept(noise(1)[..., 0], noise(2, (9, 9)))

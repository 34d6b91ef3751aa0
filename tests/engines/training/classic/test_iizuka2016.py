"""What defines the method: the fusion layer's broadcast, the global features' fixed picture, the classes."""

import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.training.classic.iizuka2016 import Fusion, Iizuka2016, IizukaNetwork  # noqa: E402
from irchroma.engines.training.classic.method import ClassicBatch, scene_of  # noqa: E402


def test_fusion_is_one_matrix_over_global_and_local_at_every_place() -> None:
    fusion = Fusion(3, 2, 4)
    local, whole = torch.rand(1, 3, 2, 5), torch.rand(1, 2)
    said = fusion(local, whole)
    assert said.shape == (1, 4, 2, 5)
    matrix = torch.cat([fusion.whole.weight, fusion.local.weight[:, :, 0, 0]], dim=1)  # W of eq. 1
    place = torch.cat([whole[0], local[0, :, 1, 3]])
    by_hand = torch.relu(fusion.local.bias + matrix @ place)
    assert torch.allclose(said[0, :, 1, 3], by_hand, atol=1e-6)


def test_the_global_features_see_the_whole_picture_whatever_its_size() -> None:
    network = IizukaNetwork(0.05).eval()
    for height, width in ((64, 96), (128, 64)):
        luma = torch.rand(1, 1, height, width, requires_grad=True)
        ab, scene = network(luma)
        assert ab.shape == (1, 2, height // 2, width // 2)
        assert scene.shape == (1, 10)
        ab[0, :, 0, 0].sum().backward()
        assert luma.grad[0, 0, -8:, -8:].abs().sum() > 0  # the far corner reaches the first place


def test_a_scene_that_no_name_tells_is_not_learned_from() -> None:
    method = Iizuka2016()
    batch = ClassicBatch(
        torch.rand(2, 1, 64, 64),
        torch.rand(2, 3, 64, 64),
        torch.full((2, 8, 8), 11),
        torch.tensor([-1, -1]),
    )
    value, parts = method.loss(batch, 0.5)
    assert set(parts) == {"color"}
    batch.scene[0] = 2
    more, parts = method.loss(batch, 0.5)
    assert set(parts) == {"color", "scene"}
    assert float((more - value).detach()) == pytest.approx(parts["scene"] / 300, rel=0.05)


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("train/vcip_forest_0012", 2),
        ("train/epfl_oldbuilding_003", 5),
        ("camvid/0001TP", 9),
        ("bsds/100", -1),
    ],
)
def test_the_scene_is_told_by_the_name(name: str, scene: int) -> None:
    assert scene_of(name) == scene

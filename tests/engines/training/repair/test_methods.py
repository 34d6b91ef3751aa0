"""What defines each method of repair, held against numbers worked out by hand."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irchroma.engines.errors import EngineError, EngineOptionError  # noqa: E402
from irchroma.engines.network.network import GRAPH_RUNTIMES, NetworkOptions, open_graph  # noqa: E402
from irchroma.engines.training.repair.context_encoder import ChannelWise, ContextEncoder  # noqa: E402
from irchroma.engines.training.repair.glcic import CompletionNetwork, Glcic  # noqa: E402
from irchroma.engines.training.repair.method import SIDE, Exported, RepairBatch, known_mean  # noqa: E402
from irchroma.engines.training.repair.partial_convolution import (  # noqa: E402
    PartialConv,
    PartialNetwork,
)
from irchroma.engines.training.repair.training import (  # noqa: E402
    METHODS,
    RepairPictures,
    RepairTraining,
    RepairTrainingOptions,
)


def batch(count: int = 2) -> RepairBatch:
    random = torch.Generator().manual_seed(0)
    hole = torch.zeros(count, 1, SIDE, SIDE)
    hole[:, :, 40:80, 50:90] = 1.0
    return RepairBatch(
        torch.rand(count, 1, SIDE, SIDE, generator=random), hole, torch.tensor([[28, 38]] * count)
    )


def test_the_channel_wise_layer_has_m_times_n_to_the_fourth_parameters() -> None:
    layer = ChannelWise(channels=3, side=4)
    assert sum(one.numel() for one in layer.parameters()) == 3 * 4**4  # all connected: 3^2 * 4^4 = 2304


def test_the_channel_wise_layer_connects_all_places_of_a_channel_and_no_other_channel() -> None:
    layer = ChannelWise(channels=2, side=4)
    x = torch.zeros(1, 2, 4, 4)
    x[0, 0, 3, 1] = 1.0
    answer = layer(x)
    assert answer.shape == (1, 2, 4, 4)
    assert (answer[0, 0] != 0).all()
    assert (answer[0, 1] == 0).all()


def test_the_dilated_stack_sees_what_the_paper_s_layers_add_up_to() -> None:
    # 1 + 4 | stride 1: +2 | stride 2: +4, +4 | stride 4: 2 * +8, dilations 2 4 8 16: +16 +32 +64 +128, 2 * +8
    by_hand = 1 + 4 + 2 + 4 + 4 + 2 * 8 + (16 + 32 + 64 + 128) + 2 * 8
    assert by_hand == 287
    field, stride = 1, 1
    for layer in CompletionNetwork(0.05).layers:
        if isinstance(layer, torch.nn.ConvTranspose2d):  # it goes up again
            break
        if isinstance(layer, torch.nn.Conv2d):
            field += (layer.kernel_size[0] - 1) * layer.dilation[0] * stride
            stride *= layer.stride[0]
    assert field == by_hand


def test_the_completion_network_s_layers_are_those_of_table_1() -> None:
    kinds = [
        (type(layer).__name__, layer.kernel_size[0], layer.stride[0], layer.dilation[0], layer.out_channels)
        for layer in CompletionNetwork(1.0).layers
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
    ]
    same = ("Conv2d", 3, 1, 1, 256)
    assert kinds == [
        ("Conv2d", 5, 1, 1, 64),
        ("Conv2d", 3, 2, 1, 128),
        ("Conv2d", 3, 1, 1, 128),
        ("Conv2d", 3, 2, 1, 256),
        same,
        same,
        *(("Conv2d", 3, 1, dilation, 256) for dilation in (2, 4, 8, 16)),
        same,
        same,
        ("ConvTranspose2d", 4, 2, 1, 128),
        ("Conv2d", 3, 1, 1, 128),
        ("ConvTranspose2d", 4, 2, 1, 64),
        ("Conv2d", 3, 1, 1, 32),
        ("Conv2d", 3, 1, 1, 1),
    ]


def test_glcic_trains_in_three_phases() -> None:
    method, one = Glcic(), batch()
    made = torch.rand(2, 1, SIDE, SIDE)
    plain, parts = method.loss(one, made, 0.1)
    assert plain is not None
    assert list(parts) == ["squared"]
    assert method.judgement(one, made, 0.1) is None
    assert method.loss(one, made, 0.19)[0] is None
    assert method.judgement(one, made, 0.19) is not None
    both, parts = method.loss(one, made, 0.5)
    assert both is not None
    assert both.item() == pytest.approx(parts["squared"] + 0.0004 * parts["adversarial"], rel=1e-4)
    assert method.judgement(one, made, 0.5) is not None


def test_the_local_picture_is_the_half_sized_square_around_the_hole() -> None:
    one = batch()
    assert one.local(one.hole).shape == (2, 1, 64, 64)
    assert one.local(one.hole).sum() == one.hole.sum()


def test_the_context_encoder_s_loss_is_0999_of_errors_and_0001_of_the_judge() -> None:
    method, one = ContextEncoder(), batch()
    value, parts = method.loss(one, torch.rand(2, 1, SIDE, SIDE), 0.5)
    assert value is not None
    assert value.item() == pytest.approx(0.999 * parts["squared"] + 0.001 * parts["adversarial"], rel=1e-4)


def test_a_partial_convolution_makes_up_for_what_is_missing_under_its_kernel() -> None:
    layer = PartialConv((1,), 1, 3)
    torch.nn.init.constant_(layer.conv.weight, 1.0)
    torch.nn.init.constant_(layer.bias, 0.25)
    x, mask = torch.full((1, 1, 5, 5), 2.0), torch.ones(1, 1, 5, 5)
    mask[0, 0, :, 3:] = 0.0
    answer, valid = layer((x, mask))
    # 9 places under the kernel: of six valid ones their sum 12, times 9 / 6, plus the bias
    assert answer[0, 0, 2, 2].item() == pytest.approx(12 * 9 / 6 + 0.25, rel=1e-5)
    assert answer[0, 0, 2, 1].item() == pytest.approx(18.25, rel=1e-5)
    assert answer[0, 0, 2, 3].item() == pytest.approx(6 * 9 / 3 + 0.25, rel=1e-5)
    # one step further no valid place is under the kernel: nothing, not even the bias, and still missing
    assert answer[0, 0, 2, 4].item() == 0.0
    assert valid[0, 0].tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0]] * 5


def test_a_partial_convolution_does_not_look_at_what_a_hole_holds() -> None:
    torch.manual_seed(0)
    network = PartialNetwork().eval()
    one = batch()
    other = one.holed + one.hole * torch.rand(2, 1, SIDE, SIDE)
    with torch.no_grad():
        assert torch.allclose(network(one.holed, one.hole), network(other * (1 - one.hole), one.hole))


def test_one_valid_channel_of_two_parts_counts_by_its_width() -> None:
    layer = PartialConv((3, 1), 1, 1)
    torch.nn.init.constant_(layer.conv.weight, 1.0)
    there, missing = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    answer, _ = layer((torch.ones(1, 3, 1, 1), missing), (torch.full((1, 1, 1, 1), 5.0), there))
    assert answer.item() == pytest.approx(5.0 * 4)  # sum(1) / sum(M) = 4 / 1


def test_the_mean_is_of_known_pixels() -> None:
    one = batch()
    assert known_mean(one.holed, one.hole)[0].item() == pytest.approx(
        one.luma[0][one.hole[0] == 0].mean().item(), rel=1e-3
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        (folder / "nir" / part / "ir").mkdir(parents=True)
        for number in range(3):
            small = random.integers(0, 255, (6, 8)).astype(np.uint8)
            picture = cv2.resize(small, (192, 160), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / "nir" / part / "ir" / f"{number}.png"), picture)
    return folder


@pytest.mark.timeout(600)  # the largest two take 35 s of CPU each on AVX2: over 120 s on a busy machine
@pytest.mark.parametrize("name", METHODS)
def test_a_run_repeats_from_its_seed_and_resumes(name: str, data: Path, tmp_path: Path) -> None:
    pictures = RepairPictures(data)
    options = RepairTrainingOptions(tmp_path / "whole", steps=3, batch=2, epoch=3)
    whole = RepairTraining(name, pictures, options)
    whole.run()
    begun = RepairTraining(name, pictures, RepairTrainingOptions(tmp_path / "parts", steps=3, batch=2))
    for _ in range(2):
        begun.advance(begun.make(begun.steps.done))
        begun.steps.done += 1
    begun.steps.save()
    rest = RepairTraining(
        name, pictures, RepairTrainingOptions(tmp_path / "parts", steps=3, batch=2, resume=True)
    )
    assert rest.steps.done == 2
    rest.run()
    for one, other in zip(whole.average.parameters(), rest.average.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert (tmp_path / "parts" / "sheet.png").is_file()


def test_the_averaged_network_has_statistics_of_its_own(data: Path, tmp_path: Path) -> None:
    training = RepairTraining("partial-conv", RepairPictures(data), RepairTrainingOptions(tmp_path, batch=2))
    shown = batch()
    with torch.no_grad():
        right = training.settled_average()(shown.holed, shown.hole)
        for norm in training.average.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):  # as those of a network whose weights have gone on
                norm.running_mean.fill_(3.0)
                norm.running_var.fill_(9.0)
        wrong = training.average.eval()(shown.holed, shown.hole)
        assert not torch.allclose(wrong, right, atol=1e-3)
        assert torch.allclose(training.settled_average()(shown.holed, shown.hole), right)


@dataclass
class Answered:
    """A graph, what it was asked, and what the network that it was made of answered."""

    graph: Path
    holed: np.ndarray
    filled: np.ndarray
    confidence: np.ndarray


@pytest.fixture(scope="module", params=METHODS)
def exported(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Answered:
    folder = tmp_path_factory.mktemp("exported")
    training = RepairTraining(
        request.param, RepairPictures(data), RepairTrainingOptions(folder, steps=1, batch=2, epoch=1)
    )
    training.run()
    holed = np.random.default_rng(1).random((1, 2, SIDE, SIDE), np.float32)
    holed[:, 1] = 0.0
    holed[:, 1, 30:70, 60:100] = 1.0
    with torch.no_grad():
        known, sure = Exported(training.settled_average())(torch.from_numpy(holed))
    return Answered(training.export(folder / "repair.onnx"), holed, known.numpy(), sure.numpy())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_the_exported_graph_says_what_the_network_says(exported: Answered, runtime: str) -> None:
    pytest.importorskip(runtime)
    assert exported.graph.stat().st_size < 1.3e6
    holed = exported.holed
    network = open_graph(exported.graph, NetworkOptions(runtime=runtime, cache=None))
    answer = network.run({"holed": holed})
    filled, confidence = answer["filled"], answer["confidence"]
    assert np.abs(filled - exported.filled).max() < 0.02  # weights are float16 in the file
    assert np.abs(confidence - exported.confidence).max() < 1e-3
    there = holed[:, 1] == 0
    assert np.array_equal(np.array(filled)[:, 0][there], holed[:, 0][there])
    network.close()


def test_what_makes_no_sense_is_one_clear_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="2 crops or more"):
        RepairTrainingOptions(tmp_path, batch=1)
    with pytest.raises(EngineError, match="no infrared pictures"):
        RepairPictures(tmp_path)
    (tmp_path / "black" / "ir").mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / "black" / "ir" / "0.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(EngineError, match=r"no picture has anything to learn: left out 1, .*0\.png"):
        RepairPictures(tmp_path / "black")
    with pytest.raises(EngineError, match="nothing to resume"):
        RepairTraining("glcic", RepairPictures(data), RepairTrainingOptions(tmp_path / "x", resume=True))
    RepairTraining(
        "glcic", RepairPictures(data), RepairTrainingOptions(tmp_path / "y", steps=1, batch=2)
    ).steps.save()
    with pytest.raises(EngineError, match="of another method"):
        RepairTraining(
            "partial-conv", RepairPictures(data), RepairTrainingOptions(tmp_path / "y", resume=True)
        )

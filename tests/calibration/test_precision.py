"""The search for layers that may run in 8 bits: what it promises, and that it refuses what it cannot keep."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantizing needs onnx")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")
pytest.importorskip("skimage", reason="color differences need scikit-image")

from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.precision import equivalent_loss_db
from irchroma.calibration.recordings import gather
from irchroma.engines.network.record import read_record
from irchroma.launch.cli import main

QUICK = ("--runtime", "onnxruntime", "--threads", "2")  # nothing is compiled for each group of layers


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of a horizon, 96x64."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(1)
    for number in range(12):
        noise = cv2.GaussianBlur(random.normal(0, 60, (64, 96)), (0, 0), 3) * 3
        luma = np.clip(np.linspace(170, 70, 64)[:, None] + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"frame{number:02}.png"), luma)
    return folder


def test_the_loss_that_is_worked_out_is_that_of_errors_that_add_up() -> None:
    random = np.random.default_rng(0)
    truth = random.random(100_000)
    answer = truth + random.normal(0, 10 ** (-17.3 / 20), truth.size)
    rounded = answer + random.normal(0, 10 ** (-30 / 20), truth.size)
    db = [-10 * np.log10(np.mean((one - truth) ** 2)) for one in (answer, rounded)]
    assert db[0] - db[1] == pytest.approx(equivalent_loss_db(30, 17.3), abs=0.02)
    assert equivalent_loss_db(99, 17.3) < 1e-6


def test_held_out_frames_are_the_last_quarter_of_each_source(frames: Path) -> None:
    found = gather([str(frames), str(frames)])
    assert len(found.measured) == 18
    assert len(found.held_out) == 6
    last = cv2.imread(str(frames / "frame11.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(found.held_out[2], last)
    assert not any(np.array_equal(one, last) for one in found.measured)
    thinned = gather([str(frames), str(frames)], most=8)
    assert len(thinned.measured) + len(thinned.held_out) == 12
    with pytest.raises(CalibrationError, match="3 frames, expected at least 8"):
        gather(["test:nir?size=64x48&frames=3"])


@pytest.mark.slow
def test_a_network_is_calibrated_reported_drawn_and_used(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made.onnx"
    arguments = ["calibrate", "precision", str(frames), "--engine", "nir", "--work-size", "96"]
    assert main([*arguments, *QUICK, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "alone in int8" in said
    assert "times as fast" in said
    record = read_record(out)
    assert record is not None
    assert (record.engine, record.size, record.precision, record.frames) == ("nir", "fast", "int8", 9)
    report = json.loads((tmp_path / "made-report.json").read_text())
    assert report["quality"]["loss_db"] <= 0.3
    assert report["quality"]["difference"] <= 1.0
    assert report["kept"] == list(record.kept)
    assert {one["group"] for one in report["sensitivities"]} > {"stem", "head", "stages.2.0"}
    assert cv2.imread(str(tmp_path / "made-overview.png")) is not None
    picture = tmp_path / "colored.png"
    image = ["image", str(frames / "frame00.png"), str(picture), "--weights", str(out)]
    assert main([*image, "--engine", "nir"]) == 0
    assert "nir fast int8" in capsys.readouterr().out
    assert main([*image, "--engine", "nir:best"]) == 1
    assert "asked for is nir:best" in capsys.readouterr().err


def test_more_quality_than_there_is_fails_without_a_file(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made.onnx"
    arguments = ["calibrate", "precision", str(frames), "--engine", "nir", "--work-size", "64"]
    # Not even pictures that are equal to the last bit meet that: 99 dB stand for them.
    assert main([*arguments, "--max-loss-db", "1e-9", *QUICK, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "groups of layers in float" in said
    assert not list(tmp_path.iterdir())

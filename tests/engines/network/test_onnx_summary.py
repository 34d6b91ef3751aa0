"""Inspection of a network whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from irchroma.engines import catalog
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.onnx_summary import inspect

pytest.importorskip("onnx")


def test_inputs_precision_parameters_and_macs_of_the_tiny_network(tiny_network: Path) -> None:
    seen = inspect(tiny_network)
    assert seen.inputs == ("luma float32 (n, 1, h, w)",)
    assert seen.outputs == ("ycc float32 (n, 3, h, w)", "confidence float32 (n, 1, h, w)")
    assert seen.precision == "float32"
    assert seen.storage == "float32"
    assert seen.parameters == 16 + 4 + 4  # the 4x4 mean, the 1x1 head and its bias
    assert seen.macs == 64 * 80 * (16 + 4)  # at stride 4 of 256x320
    assert seen.operators["Conv"] == 2
    assert seen.bytes == tiny_network.stat().st_size


def test_what_looks_at_a_reference_is_counted_with_its_matrix_products() -> None:
    path = catalog.weights_path(catalog.REFERENCE.name, "thermal")
    seen = inspect(path)
    frame, cells = 32 * 40, 560
    attention = frame * cells * (64 + 10 + 2 * 16 + 2)  # likeness, what is taken, the way back, geometry
    assert seen.operators["MatMul"] == 5
    assert 0.37e9 < seen.macs < 0.39e9
    convolutions = inspect(path.with_name(f"{path.stem}_picture.onnx")).macs  # the same but look and gate
    assert seen.macs == attention + convolutions + frame * 9 * (90 * 32 + 32 * 4) + frame * 64 * 16


def test_what_is_no_network_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no such file"):
        inspect(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xffnothing")
    with pytest.raises(EngineUnavailable, match="not an ONNX file"):
        inspect(tmp_path / "bad.onnx")

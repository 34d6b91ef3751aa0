"""Inspection of a network whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_what_is_no_network_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no such file"):
        inspect(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xffnothing")
    with pytest.raises(EngineUnavailable, match="not an ONNX file"):
        inspect(tmp_path / "bad.onnx")

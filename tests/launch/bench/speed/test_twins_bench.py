"""Twins beside their float networks: each mask a process, numbers of both, colors where there are pairs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")

from irchroma.engines import catalog
from irchroma.engines.network.eight_bit.quantization import Quantizer
from irchroma.engines.network.record import NetworkRecord
from irchroma.launch.bench.speed import twins
from irchroma.launch.config import ConfigError


def test_a_twin_is_measured_beside_its_float_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = catalog.weights_path("nir", "fast")
    (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    monkeypatch.setattr(twins, "SIZES", ((64, 96),))
    monkeypatch.setattr(twins, "MASKS", {"AVX2": "AVX2"})
    random = np.random.default_rng(0)
    for name, shape in (("ir", (64, 96)), ("rgb", (64, 96, 3))):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        picture = cv2.GaussianBlur(random.integers(0, 256, shape).astype(np.uint8), (0, 0), 4)
        assert cv2.imwrite(str(tmp_path / "pairs" / name / "one.png"), picture)
    out = tmp_path / "twins.json"
    asked = argparse.Namespace(json=out, nir=tmp_path / "pairs", thermal=None, turns=1, every=1)
    with pytest.raises(ConfigError, match="irchroma engines twins"):
        twins.run(asked)
    quantizer = Quantizer(path, "int8", for_processor=True)
    quantizer.collect(np.full((1, 1, 64, 96), 0.5, np.float32))
    quantizer.twin(tmp_path / "nir_fast_int8.onnx", [], NetworkRecord("nir", "fast", "int8", "0" * 64))
    quantizer.close()
    assert twins.run(asked) == 0
    (found,) = json.loads(out.read_text("utf-8"))["twins"]
    assert found["network"] == "nir:fast"
    (row,) = found["speed"]
    assert row["runtime"] == "openvino f32"
    assert row["float_cpu_ms"] > 0
    assert row["twin_cpu_ms"] > 0
    assert found["convolutions"]["u8"] >= 24
    assert 5 < found["quality"]["to_float_db"] < 60
    assert found["quality"]["truth_before_db"] - found["quality"]["truth_after_db"] == pytest.approx(
        found["quality"]["loss_db"]
    )

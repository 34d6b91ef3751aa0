"""Which file a run opens: a twin where it is one of these weights, and clearly faster."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")

from irchroma.engines import catalog
from irchroma.engines.network import twins
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.quantization import Quantizer
from irchroma.engines.network.record import NetworkRecord
from irchroma.engines.network.twins import twin_path, weights_for

FLOAT = catalog.weights_path("nir", "fast")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with `nir:fast` and its twin."""
    record = NetworkRecord("nir", "fast", "int8", hashlib.sha256(FLOAT.read_bytes()).hexdigest())
    quantizer = Quantizer(FLOAT, "int8")
    for seed in range(3):
        quantizer.collect(np.random.default_rng(seed).random((1, 1, 64, 96), np.float32))
    (tmp_path / FLOAT.name).write_bytes(FLOAT.read_bytes())
    quantizer.twin(tmp_path / "nir_fast_int8.onnx", ["head"], record)
    quantizer.close()
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    return tmp_path


def test_a_twin_is_measured_once_and_taken_where_it_is_faster(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (weights / "cache").mkdir()
    options = NetworkOptions(threads=1, cache=weights / "cache")
    first = weights_for("nir", "fast", options)
    (memory,) = (weights / "cache").glob("twin-*")
    ratio = float(memory.read_text().split()[1])
    assert (first == twin_path("nir", "fast")) == (ratio >= twins.CLEARLY)
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured again"))
    assert weights_for("nir", "fast", options) == first
    memory.write_text("twin: 9.00 times")
    assert weights_for("nir", "fast", options) == twin_path("nir", "fast")


def test_who_asks_for_something_else_gets_the_float_network(weights: Path) -> None:
    for options in (NetworkOptions(exact=True, cache=None), NetworkOptions("onnxruntime", cache=None)):
        assert weights_for("nir", "fast", options) == weights / FLOAT.name
    assert weights_for("nir", "best", NetworkOptions(cache=None)) == catalog.weights_path("nir", "best")


def test_a_twin_of_other_weights_is_passed_over_and_that_is_said(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = weights / FLOAT.name
    path.write_bytes(path.read_bytes() + b"\n")
    assert weights_for("nir", "fast", replace(NetworkOptions(), cache=None)) == path
    assert "made of other weights" in caplog.text


@pytest.mark.parametrize("path", sorted(catalog.WEIGHTS.glob("*_int8.onnx")), ids=lambda path: path.stem)
def test_twins_that_ship_are_of_the_weights_that_ship(path: Path) -> None:
    from irchroma.engines.network.record import read_record

    record = read_record(path)
    assert record is not None
    source = path.with_name(path.name.replace("_int8", ""))
    assert record.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest(), (
        f"{path.name} is stale: run irchroma engines twins"
    )

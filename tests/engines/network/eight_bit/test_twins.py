"""Which file a run opens: a twin where it is one of these weights, and clearly faster."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import pytest

pytest.importorskip("openvino")
onnx = pytest.importorskip("onnx", reason="quantizing needs onnx")
pytest.importorskip("onnxruntime.quantization", reason="quantizing needs onnxruntime")

from tests import daytime_scene  # noqa: E402
from tests.engines.network.other_answer import give_other_answer  # noqa: E402

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineOptionError  # noqa: E402
from irchroma.engines.network.eight_bit import twins  # noqa: E402
from irchroma.engines.network.eight_bit.quantization import Quantizer, base_hash, renew  # noqa: E402
from irchroma.engines.network.eight_bit.twins import gain, settled, twin_path, weights_for  # noqa: E402
from irchroma.engines.network.network import NetworkOptions, open_network  # noqa: E402
from irchroma.engines.network.record import NetworkRecord, read_record  # noqa: E402
from irchroma.engines.recolor.work_picture import padded  # noqa: E402

FLOAT = catalog.weights_path("nir", "fast")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with `nir:fast` and its twin."""
    hashes = hashlib.sha256(FLOAT.read_bytes()).hexdigest(), base_hash(FLOAT)
    record = NetworkRecord("nir", "fast", "int8", hashes[0], base_sha256=hashes[1])
    quantizer = Quantizer(FLOAT, "int8", for_processor=True)
    for seed in range(3):
        quantizer.collect(np.random.default_rng(seed).random((1, 1, 64, 96), np.float32))
    (tmp_path / FLOAT.name).write_bytes(FLOAT.read_bytes())
    quantizer.twin(tmp_path / "nir_fast_int8.onnx", [], record)
    quantizer.close()
    monkeypatch.setattr(catalog, "WEIGHTS", tmp_path)
    monkeypatch.setattr(twins, "_known", {})
    return tmp_path


def test_a_twin_is_measured_once_and_taken_where_it_is_faster(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (weights / "cache").mkdir()
    options = NetworkOptions(threads=1, cache=weights / "cache")
    first = weights_for("nir", "fast", options)
    (memory,) = (weights / "cache").glob("twin-*")
    said = memory.read_text().split()
    least = twins.CLEARLY_BF16 if "bf16" in said else twins.CLEARLY
    assert (first == twin_path("nir", "fast")) == (float(said[1]) >= least)
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured again"))
    assert weights_for("nir", "fast", options) == first
    memory.write_text("twin: 9.00 times")
    assert weights_for("nir", "fast", options) == twin_path("nir", "fast")


@pytest.mark.parametrize("keeps", [True, False])
def test_cameras_that_begin_together_measure_once(
    weights: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """Each compiled the same into one cache at once, and read there what was half written."""
    (weights / "cache").mkdir()
    options = NetworkOptions(threads=1, cache=weights / "cache" if keeps else None)
    begun, meet, measured = threading.Barrier(4), threading.Barrier(2), list[int]()

    def ratio(*_: object) -> tuple[float, str]:
        measured.append(1)
        with suppress(threading.BrokenBarrierError):
            meet.wait(0.5)  # where another measures too
        return 2.0, "f32"

    def begin() -> Path:
        begun.wait(10)
        return weights_for("nir", "fast", options)

    monkeypatch.setattr(twins, "_ratio", ratio)
    with ThreadPoolExecutor(4) as cameras:
        found = [one.result(10) for one in [cameras.submit(begin) for _ in range(4)]]
    assert set(found) == {twin_path("nir", "fast")}
    assert len(measured) == 1


def test_float_is_kept_where_the_twin_is_not_clearly_faster_and_more_so_in_bf16(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cases = ((1.14, "f32", False), (1.16, "f32", True), (1.45, "bf16", False), (1.55, "bf16", True))
    for ratio, precision, taken in cases:
        (weights / f"cache {ratio}").mkdir()
        options = NetworkOptions(threads=1, cache=weights / f"cache {ratio}")
        monkeypatch.setattr(twins, "_ratio", lambda *_, found=(ratio, precision): found)
        assert (weights_for("nir", "fast", options) == twin_path("nir", "fast")) == taken
        assert f"{ratio:.2f} times as fast in 8 bits as in {precision}" in caplog.messages[-1]


def test_who_does_not_wait_gets_the_float_network_until_it_is_known(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (weights / "cache").mkdir()
    options = NetworkOptions(threads=1, cache=weights / "cache")
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured"))
    assert weights_for("nir", "fast", options, wait=False) == weights / FLOAT.name
    assert not settled("nir", "fast", options)
    monkeypatch.setattr(twins, "_ratio", lambda *_: (2.0, "f32"))
    assert weights_for("nir", "fast", options) == twin_path("nir", "fast")
    assert settled("nir", "fast", options)
    assert weights_for("nir", "fast", options, wait=False) == twin_path("nir", "fast")
    for nothing_to_choose in (replace(options, exact=True), replace(options, runtime="onnxruntime")):
        assert settled("nir", "fast", nothing_to_choose)


def test_what_the_twin_gains_is_known_once_it_is_taken(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ratio, told in ((1.38, 1.38), (1.02, 1.0)):
        (weights / f"cache {ratio}").mkdir()
        options = NetworkOptions(threads=1, cache=weights / f"cache {ratio}")
        monkeypatch.setattr(twins, "_ratio", lambda *_, found=(ratio, "f32"): found)
        assert gain("nir", "fast", options) == 1.0
        weights_for("nir", "fast", options)
        assert gain("nir", "fast", options) == told
        assert gain("nir", "best", options) == 1.0


def test_without_a_cache_it_is_measured_once_a_process(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "_ratio", lambda *_: (2.0, "f32"))
    assert weights_for("nir", "fast", NetworkOptions(cache=None)) == twin_path("nir", "fast")
    monkeypatch.setattr(twins, "_ratio", lambda *_: pytest.fail("measured again"))
    assert weights_for("nir", "fast", NetworkOptions(cache=None)) == twin_path("nir", "fast")


def test_a_twin_that_colors_differently_here_is_passed_over(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # float32, also where there is bf16
    path = twin_path("nir", "fast")
    give_other_answer(path)
    assert weights_for("nir", "fast", NetworkOptions(threads=1, cache=None)) == weights / FLOAT.name
    assert "gives other colors on this processor" in caplog.text


def test_who_asks_for_something_else_gets_the_float_network(weights: Path) -> None:
    plain = NetworkOptions(cache=None)
    for change in ({"exact": True}, {"runtime": "onnxruntime"}, {"device": "cuda:1"}):
        assert weights_for("nir", "fast", replace(plain, **change)) == weights / FLOAT.name  # type: ignore[arg-type]
    assert weights_for("nir", "best", NetworkOptions(cache=None)) == catalog.weights_path("nir", "best")


def test_a_start_reads_both_files_once_for_their_hashes_and_again_when_one_has_changed(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    opened = Path.open

    def counted(path: Path, *how: Any, **named: Any) -> IO[Any]:
        read.append(path.name)
        return opened(path, *how, **named)

    options = NetworkOptions(threads=1, cache=None)
    monkeypatch.setattr(twins, "_ratio", lambda *_: (2.0, "f32"))
    monkeypatch.setattr(Path, "open", counted)
    for _ in range(4):
        assert weights_for("nir", "fast", options) == twin_path("nir", "fast")
    assert read.count(FLOAT.name) == 1
    path = weights / FLOAT.name
    with opened(path, "ab") as file:
        file.write(b"\n")
    assert weights_for("nir", "fast", options) == path
    assert read.count(FLOAT.name) == 2


def test_a_twin_of_other_weights_is_passed_over_and_that_is_said(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = weights / FLOAT.name
    path.write_bytes(path.read_bytes() + b"\n")
    assert weights_for("nir", "fast", replace(NetworkOptions(), cache=None)) == path
    assert "made of other weights" in caplog.text


def test_a_twin_takes_over_a_confidence_that_was_calibrated_anew(weights: Path) -> None:
    path, source = twin_path("nir", "fast"), weights / FLOAT.name
    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if tensor.name == "trust_bias":
            changed = onnx.numpy_helper.to_array(tensor) - 1.5
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed.astype(np.float32), tensor.name))
    onnx.save(model, str(source))
    _, infrared = daytime_scene.draw(3)  # noise is nothing that a network is sure of, moved or not
    luma = padded(cv2.resize(infrared, (96, 64), interpolation=cv2.INTER_AREA))
    options = NetworkOptions("openvino", 1, cache=None, exact=True)

    def said(file: Path) -> tuple[np.ndarray, np.ndarray]:
        network = open_network(file, options)
        ycc, confidence = (one.copy() for one in network.infer(luma))
        network.close()
        return ycc, confidence

    ycc, before = said(path)
    assert renew(path, source)
    assert not renew(path, source)
    same, after = said(path)
    np.testing.assert_array_equal(same, ycc)
    _, wanted = said(source)
    assert np.abs(before - wanted).mean() > 0.1
    assert np.abs(after - wanted).mean() < 0.05
    record = read_record(path)
    assert record is not None
    assert record.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    for tensor in model.graph.initializer:
        if tensor.name.startswith("decoder.head.bias"):
            other = onnx.numpy_helper.to_array(tensor) + 1
            tensor.CopyFrom(onnx.numpy_helper.from_array(other, tensor.name))
    onnx.save(model, str(source))
    with pytest.raises(EngineOptionError, match="make it anew"):
        renew(path, source)


@pytest.mark.parametrize("path", sorted(catalog.WEIGHTS.glob("*_int8.onnx")), ids=lambda path: path.stem)
def test_twins_that_ship_are_of_the_weights_that_ship(path: Path) -> None:
    record = read_record(path)
    assert record is not None
    source = path.with_name(path.name.replace("_int8", ""))
    assert record.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest(), (
        f"{path.name} is stale: run irchroma engines twins --renew"
    )
